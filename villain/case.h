// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_VILLAIN_CASE_H_
#define PARLEY_VILLAIN_CASE_H_

// One attack of docs/ATTACKS.md as a program: what it does, to whom, and what an honest end must
// make of it.
//
// Trust: an AttackFunction is the attacker and runs in a process of its own.
// Threads: values.
//
//   for (const Case& c : AllCases()) Print(c.name, c.sentence);

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/villain/notes.h"

namespace parley::villain {

// The program under attack.
enum class VictimKind {
  kAccept,         // the accepting side of a socketpair; receives and sends
  kConnect,        // the connecting side of a socketpair; receives and sends
  kBlob,           // takes one descriptor and reads it as a sealed blob
  kListener,       // accepts by name and serves; an honest client must be served meanwhile
  kMedia,          // as kAccept, and parses what comes as a stream of pictures and sound
  kDial,           // connects to the attacker by name, again where that failed; receives and sends
  kFrames,         // as kAccept, and sends and receives frames of an arena
  kJobs,           // the host of a worker that gets jobs, as in a pool; streamed input
  kRequestServer,  // as kAccept, and answers requests
  kRequestClient,  // as kAccept, and sends requests
  kStream,         // as kAccept, and makes a file of what comes, as `parley recv` does
};

// How it uses its channel.
enum class Style {
  kBlocking,    // calls with deadlines, both directions by turns
  kTry,         // Try calls alone, once in a millisecond, as a real-time caller
  kEventLoop,   // Try calls and poll
  kWaitSet,     // Try calls in a WaitSet, beside a timer that has to come in time
  kTwoThreads,  // a thread for each direction, with deadlines that are far away
};

// What an honest victim locks itself down to before it serves (sandbox/profile.h). A careless one
// takes a filter of its own making.
enum class Confinement { kNone, kHeap, kEventfd, kThreads };

// A mistake of a naive victim beside those that all naive victims make (naive.cc): the one that a
// case is about, where it takes one more.
enum class Flaw {
  kNone,
  kLocksFile,         // takes a lock on a shared file
  kAsksForHoles,      // asks a shared file a question that takes the inode's lock
  kReadsBack,         // takes its own position from shared memory
  kWaitsForSignal,    // sleeps until it is woken, without a deadline
  kBelievesTwice,     // checks one fetch of a position, and uses another
  kUsesReleased,      // looks at a record again that it has released
  kSpinsOnPeer,       // waits for a word of the peer's to change, as for a lock
  kTakesAll,          // takes records until there are no more
  kSignalIsRecord,    // takes a record for each wake-up
  kGeometryIsShared,  // takes the ring's size from shared memory
  kAwaitsRoom,        // waits for free space, and looks again whenever it is woken
  kReadsLate,         // takes a wake-up a moment after it saw it
  kWakesAll,          // wakes every sleeper of a futex
  kAssertsNumber,     // asserts that the peer's numbers are usable
  kGrantsAnything,    // agrees to messages of any length, and takes those of its usual one
  kSignalsByPipe,     // signals through a pipe, whose other end the peer reads
};

struct VictimSetup {
  VictimKind kind = VictimKind::kAccept;
  absl::Duration handshake = absl::Seconds(20);
  bool confined = false;   // believes the peer confined: eventfd doorbells
  bool futex = false;      // asks for a futex doorbell
  bool signaller = false;  // a thread of its own signals the peer
  Confinement confinement = Confinement::kNone;
  bool ours = false;  // about Parley's sandbox: says nothing about another peer
  bool late = false;  // starts only once the attack is on its way
  // Its socket comes from a pair of somebody else's making, so that the kernel lets descriptors in.
  bool foreign_pair = false;
  int spare_descriptors = -1;  // how many more it may have; -1: plenty
  // The processor time that it may use while it is under attack, of each 100 ms.
  int cpu_percent = 100;
  int64_t peak_growth_kb = 48 << 10;
  Style style = Style::kBlocking;
  Flaw flaw = Flaw::kNone;  // of a naive victim
  // How many helpers it may leave hanging, each with a descriptor of ours by which it is watched.
  int max_helpers = 0;
  // How many calls it may make, at most; 0: any number.
  uint64_t max_calls = 0;
  bool admits_anyone = false;  // not its own user alone
  // Whether its options leave the rings to the peer, and the limits are the default ones.
  bool open_options = false;
  // How long the attack goes on where the victim may be served meanwhile.
  absl::Duration attack_time = absl::Milliseconds(250);
  // For kConnect: takes latest values as well, where the host has a broadcast of them.
  bool reads_latest = false;
  // For kFrames: sends by a fan-out, of which the attacker is a receiver.
  bool fan_out = false;
  // For kStream: of which kind it is, "y4m", "wav", "lines" or "nut".
  std::string stream = {};
  // For kListener: whether an honest client tries its luck, and how soon it has to be served.
  bool client = true;
  absl::Duration client_within = absl::Seconds(20);
};

// What an attacker has.
struct Attacker {
  Notes& notes;
  UniqueFd socket;   // connected to the victim; not for kListener and kDial
  std::string name;  // the victim's name, for kListener; the attacker's, for kDial
  pid_t victim_pid;  // 0: not known
  Deadline until;    // when it will have been long enough
  // Whether a worker that it hijacks had locked itself down: not where everybody is careless.
  bool confine = true;

  // From here on the attack is going on. `what`: what was observed so far.
  void Mounted(const std::string& what);
  // The attacker got what it must not get.
  void Leaked(const std::string& what);
  // Why the attack could not be mounted; ends this process.
  [[noreturn]] void CannotMount(const std::string& why);
  // Pauses for ever, keeping all descriptors.
  [[noreturn]] static void Stay();
};
using AttackFunction = std::function<void(Attacker&)>;
// Empty if this machine has what the case needs, else what is missing.
using NeedFunction = std::string (*)();

struct Case {
  const char* name;
  const char* row;  // of docs/ATTACKS.md
  const char* sentence;
  VictimSetup victim;
  AttackFunction attack;
  uint32_t allowed;  // ends (End) that an honest victim may come to
  NeedFunction need = nullptr;
  const char* needs = "";
};

// All of them, in the order of docs/ATTACKS.md.
const std::vector<Case>& AllCases();

// The parts of it.
std::vector<Case> ControlCases();
std::vector<Case> MemoryCases();
std::vector<Case> BroadcastCases();
std::vector<Case> DescriptorCases();
std::vector<Case> WakingCases();
std::vector<Case> SandboxCases();
std::vector<Case> JobCases();
std::vector<Case> RingCases();
std::vector<Case> FrameCases();
std::vector<Case> WrapCases();
std::vector<Case> LatestCases();
std::vector<Case> RequestCases();
std::vector<Case> StreamCases();
std::vector<Case> FanOutCases();
std::vector<Case> DenialCases();
std::vector<Case> LeakCases();
std::vector<Case> HandshakeCases();
std::vector<Case> PayloadCases();
std::vector<Case> KernelCases();
std::vector<Case> BoundCases();

}  // namespace parley::villain

#endif  // PARLEY_VILLAIN_CASE_H_

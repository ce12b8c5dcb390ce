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
  kAccept,    // the accepting side of a socketpair; receives and sends
  kConnect,   // the connecting side of a socketpair; receives and sends
  kBlob,      // takes one descriptor and reads it as a sealed blob
  kListener,  // accepts by name and serves; an honest client must be served meanwhile
  kMedia,     // as kAccept, and parses what comes as a stream of pictures and sound
};

// What an honest victim locks itself down to before it serves (sandbox/profile.h). A careless one
// takes a filter of its own making.
enum class Confinement { kNone, kHeap, kEventfd, kThreads };

struct VictimSetup {
  VictimKind kind = VictimKind::kAccept;
  absl::Duration handshake = absl::Seconds(20);
  bool confined = false;  // believes the peer confined: eventfd doorbells
  bool futex = false;     // asks for a futex doorbell
  Confinement confinement = Confinement::kNone;
  bool ours = false;           // about Parley's sandbox: says nothing about another peer
  bool late = false;           // starts only once the attack is on its way
  int spare_descriptors = -1;  // how many more it may have; -1: plenty
  // The processor time that it may use while it is under attack, of each 100 ms.
  int cpu_percent = 100;
  int64_t peak_growth_kb = 48 << 10;
};

// What an attacker has.
struct Attacker {
  Notes& notes;
  UniqueFd socket;   // connected to the victim; not for kListener
  std::string name;  // the listener's name, for kListener
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
std::vector<Case> DescriptorCases();
std::vector<Case> WakingCases();
std::vector<Case> SandboxCases();
std::vector<Case> RingCases();
std::vector<Case> DenialCases();
std::vector<Case> LeakCases();
std::vector<Case> HandshakeCases();
std::vector<Case> PayloadCases();

}  // namespace parley::villain

#endif  // PARLEY_VILLAIN_CASE_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_VILLAIN_HIJACKED_H_
#define PARLEY_VILLAIN_HIJACKED_H_

// A worker of ours that is taken over after it has locked itself down: real processes, each with a
// channel to the listening victim, that try one thing from inside.
//
// Trust: the worker's code is the attacker's from LockDown on. What it could do is judged by the
// kernel's word on how it ended; what it says of a call that came back is believed, since it was
// our code that ran it.
// Threads: forks; one.
//
//   FromInside({{"ptrace", [](const Hands& h) { return Raw(SYS_ptrace, ...); }}})

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "parley/sandbox/profile.h"
#include "parley/villain/case.h"
#include "parley/villain/raw_peer.h"

namespace parley::villain {

// What the worker has when it is taken over: its channel, and descriptors of every kind that it may
// have opened before it locked itself down.
struct Hands {
  const RawPeer& peer;
  pid_t victim_pid;
  int victim_pidfd;
  int file;
  int directory;
  int pipe;
};

// One system call, made bare. `call` is its name in the man pages.
struct Attempt {
  const char* call;
  std::function<long(const Hands&)> make;
};

struct NamedProfile {
  std::string name;
  Profile profile;
};
// Each that sandbox/ has, alone and together; `fd` is what they name where they name one, and
// `channel` what a channel has.
std::vector<NamedProfile> AllProfiles(int fd, const std::vector<int>& channel = {});

// Whether a process of this build can lock itself down as an honest worker does.
std::string CanBeConfined();

// Each attempt in a worker of its own, under each profile: the filter must end the worker, or
// answer in the kernel's place as the profile says. Without the filter (Attacker::confine) one
// worker makes all of them in a row and must succeed.
AttackFunction FromInside(std::vector<Attempt> attempts);

// Rows S3 and S4 have workers of their own kind.

// What a forked worker leaves for the attacker's main process.
struct WorkerSheet {
  std::atomic<int> locked;    // the lock-down is over
  std::atomic<int> returned;  // the attempt came back
  std::atomic<long> result;
  std::atomic<int> error;
  std::atomic<int> number;  // what the case wants
  char text[300];

  void Say(const std::string& sentence);
  std::string Said() const;
};
// Zeroed, shared with children; lives as long as the process.
WorkerSheet* NewSheet();

// Forks; the child runs `body` and ends. Its wait status; ended by SIGKILL at the latest after five
// seconds.
int RunWorker(const std::function<void()>& body);
// As sandbox/spawn.h does before there are threads, so that threads have none either.
void GiveUpCapabilities();
bool EndedByFilter(int status);

}  // namespace parley::villain

#endif  // PARLEY_VILLAIN_HIJACKED_H_

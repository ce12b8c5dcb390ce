// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_VILLAIN_PROCESS_H_
#define PARLEY_VILLAIN_PROCESS_H_

// A process of a case: forked into a group of its own, held at a gate until the supervisor opens
// it, measured from outside, killed and reaped whatever it does.
//
// Trust: the process may be hostile or out of its mind; nothing here waits for it without a bound.
// Threads: one; fork only while the process has one thread.
//
//   Process victim([&] { return Victim(notes); });
//   victim.OpenGate();
//   const std::optional<int> status = victim.Reap(deadline);

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"

namespace parley::villain {

// What the kernel says of a process.
struct Footprint {
  int descriptors = 0;
  int memfd_mappings = 0;
  int64_t mapped_kb = 0;
  int64_t resident_kb = 0;
  int64_t peak_resident_kb = 0;
  int64_t cpu_ms = 0;
  int64_t wake_ups = 0;  // voluntary context switches of all its threads
};
Footprint FootprintOf(pid_t pid);
// The children of this process, a subreaper's too, that have not ended and are of none of these
// process groups.
std::vector<pid_t> ProcessesBeside(const std::vector<pid_t>& groups);

class Gate;

class Process {
 public:
  // Runs `body(gate)` in a child, which ends with its result and without any destructors.
  explicit Process(const std::function<int(Gate& gate)>& body);
  Process(const Process&) = delete;
  // Kills the group and reaps, for at most ten seconds.
  ~Process();

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }
  // Lets it pass one Gate::Wait.
  void OpenGate() const;
  void KillGroup() const;
  // Its wait status; nothing if it has not ended by the deadline.
  std::optional<int> Reap(Deadline deadline);
  // Bytes that it wrote to its standard output and error.
  int64_t printed_bytes() const;
  // Of much, the first and the last 256 KiB.
  std::string printed() const;

 private:
  pid_t pid_ = -1;
  bool reaped_ = false;
  int status_ = 0;
  UniqueFd pidfd_;
  UniqueFd gate_;
  UniqueFd output_;
};

// The child's side.
class Gate {
 public:
  explicit Gate(UniqueFd pipe) : pipe_(std::move(pipe)) {}
  // Until the supervisor opens it. Ends the process if there is no supervisor any more.
  void Wait() const;
  int fd() const { return pipe_.get(); }

 private:
  UniqueFd pipe_;
};

// Reaps every child of this process (a subreaper), killing what still runs; true if none is left.
bool ReapEverything(Deadline deadline);

// "exit 3" or "signal 11".
std::string WaitStatusText(int status);

}  // namespace parley::villain

#endif  // PARLEY_VILLAIN_PROCESS_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_WORKER_H_
#define PARLEY_SANDBOX_WORKER_H_

// The sole owner of one child process: whatever happens, it is killed and reaped; no zombie, and no
// orphan where it has a pid namespace. Made by Spawn (sandbox/spawn.h).
//
// Trust: the worker may be hijacked at any moment. It decides when it ends; it cannot delay Kill,
// the destructor or a Wait beyond its deadline, and cannot make us signal another process
// (everything goes through the pidfd, or through the process group before its leader is reaped).
// Threads: one at a time, except pidfd(), which may be polled from anywhere while the Worker lives.
//
//   absl::StatusOr<Worker> worker = Spawn({.program = path, .name = "decoder"});
//   ... poll worker->pidfd() for POLLIN next to the channel: the worker has ended ...
//   absl::StatusOr<ExitReport> report = worker->Wait(Deadline::After(absl::Seconds(2)));

#include <sys/types.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/exit_report.h"
#include "parley/sandbox/output_relay.h"
#include "parley/sandbox/refusal.h"
#include "parley/sandbox/second_wall.h"

namespace parley {

namespace internal {
struct StartedProcess;
}  // namespace internal

class Worker {
 public:
  Worker(Worker&&) noexcept = default;
  // Kills and reaps the process that was held before.
  Worker& operator=(Worker&& other) noexcept;
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  // Kills and reaps. Waits for the kernel to end the process, which SIGKILL makes prompt: 2 s at
  // most, for one that is stuck in a driver or traced; a later Spawn reaps it then.
  ~Worker();

  const std::string& name() const { return name_; }
  pid_t pid() const { return pid_; }
  // Readable (POLLIN) once the process has ended, even while a grandchild keeps its sockets open
  // (attack W8). Identifies the worker to the handshake: no other process can get it. Owned here.
  int pidfd() const { return pidfd_.get(); }
  // What LockDown says that no file of the kernel's shows; for VerifyConfined
  // (sandbox/confinement_proof.h). Absent until the worker has locked itself down.
  std::optional<internal::LockDownWord> lock_down_word() const {
    return refusals_.has_value() ? refusals_->word() : std::nullopt;
  }
  // Readable (POLLIN) once there is such a word, and from then on. -1 where none will come
  // (dies_with_parent = false). Owned here.
  int lock_down_fd() const { return refusals_.has_value() ? refusals_->word_fd() : -1; }

  // What stands behind the filter. Never changes.
  const SecondWall& second_wall() const { return wall_; }

  // What the worker prints (OutputTo::kRelayed) waits in a socket until RelayOutput is called, by
  // any loop in the thread that uses this object. Wait does so too, and passes on the rest once the
  // worker has ended; so does the destructor. Without a call the worker goes on, and what does not
  // fit into 128 KiB is lost.
  //
  // The descriptor to poll for POLLIN: readable when there is something to pass on. -1 (which poll
  // ignores) while there is nothing to wait for: no output is relayed, it is closed, or the worker
  // has printed more than 32 KiB and 1 KiB a second since, or 256 KiB in all. Ask before each poll.
  int output_fd();
  // Passes on 4 KiB at most, as printable lines that begin with the worker's name, to
  // SpawnOptions::output or our stderr. One read that can't block; so a worker that floods costs us
  // 4096 calls in its life, whatever it does.
  void RelayOutput();
  // The last line that was passed on, printable, without the worker's name; empty if there is none.
  std::string last_line() const { return output_.has_value() ? output_->last_line() : ""; }

  // SIGKILL to the worker and to all that it made: whatever it is where the worker has a pid
  // namespace (second_wall().pid), else what is left in its process group, which a process can
  // leave (setsid). Idempotent; nothing once the worker has been reaped. Does not wait.
  void Kill();

  // Waits for the end and reaps; whatever is left of what it made is killed. kDeadlineExceeded
  // if it still runs at the deadline (it is left running), or has ended and is held by a process
  // that traces it (strace for a moment, a hijacked worker's child for as long as it likes). Once
  // ended, gives the same report again.
  // An expired deadline asks without waiting.
  absl::StatusOr<ExitReport> Wait(Deadline deadline);

 private:
  friend class WorkerMaker;  // sandbox/spawn.cc
  Worker(std::string name, internal::StartedProcess process,
         std::optional<internal::RefusalWatch> refusals,
         std::optional<internal::OutputRelay> output);
  void KillAndReap();
  void ReapHolder(Deadline deadline);
  bool HasEndedBy(Deadline deadline);

  std::string name_;
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  UniqueFd holder_;  // the pidfd of its namespaces' process 1; closed once reaped
  SecondWall wall_;
  std::optional<internal::RefusalWatch> refusals_;
  std::optional<internal::OutputRelay> output_;
  std::optional<ExitReport> ended_;
};

}  // namespace parley

#endif  // PARLEY_SANDBOX_WORKER_H_

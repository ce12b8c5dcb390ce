// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_CONFINEMENT_PROOF_H_
#define PARLEY_SANDBOX_CONFINEMENT_PROOF_H_

// The parent's side of lock-down: asks the kernel whether a worker confined itself, before it gets
// trust or hostile input. A worker that forgot LockDown streams just as well.
//
//   absl::StatusOr<ConfinementProof> proof =
//       AwaitConfined(*worker, Deadline::After(absl::Seconds(10)));
//   if (!proof.ok()) return proof.status();  // names the thread and what it lacks
//   ... now send it the input ...
//
// Of each thread: more system call filters than the calling thread has (which may be in a container
// that has one), no new privileges, no capability in any set but the bounding one. Of the process:
// no child. Which calls its filter lists the kernel tells nobody: that the program is ours, and
// calls LockDown if it confines itself at all, is assumed.
//
// Trust: the answers are the kernel's (/proc/PID/task/*/status). The worker's word counts for
// Landlock and MDWE alone, which no file shows: it was sent by LockDown, before hostile input.
// Threads: one at a time for a Worker.

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "parley/os/deadline.h"
#include "parley/sandbox/worker.h"

namespace parley {

// What must hold besides.
struct ConfinementWanted {
  bool landlock = false;  // in force for all threads
  bool mdwe = false;
};

// That a worker was confined when it was asked; for good, since there is no way back.
class [[nodiscard]] ConfinementProof {
 public:
  ConfinementProof(ConfinementProof&&) = default;
  ConfinementProof& operator=(ConfinementProof&&) = default;
  ConfinementProof(const ConfinementProof&) = delete;
  ConfinementProof& operator=(const ConfinementProof&) = delete;

  pid_t pid() const { return pid_; }
  int threads() const { return threads_; }

 private:
  friend absl::StatusOr<ConfinementProof> VerifyConfined(const Worker&, const ConfinementWanted&);
  ConfinementProof(pid_t pid, int threads) : pid_(pid), threads_(threads) {}
  pid_t pid_;
  int threads_;
};

// Asks once. Reads a file of /proc for each thread, a millisecond for fifty.
//   kPermissionDenied    it is not confined: "decoder (pid 71) is not confined: thread 72 has no
//                        system call filter". A worker that said it is has broken its word.
//   kFailedPrecondition  it has ended
//   kUnavailable         the kernel's answer cannot be had (no /proc, hidepid, before Linux 5.9
//                        inside of another filter): give no trust
absl::StatusOr<ConfinementProof> VerifyConfined(const Worker& worker,
                                                const ConfinementWanted& wanted = {});

// Asks until it is confined; at the deadline the last answer.
absl::StatusOr<ConfinementProof> AwaitConfined(const Worker& worker, Deadline deadline,
                                               const ConfinementWanted& wanted = {});

namespace internal {

// What a thread with this /proc/PID/status lacks, or nullopt; `filters_around` is the caller's own
// number of filters, -1 if the kernel does not say.
std::optional<std::string> ConfinementGap(std::string_view status, int filters_around);

// The number of filters in a /proc/PID/status: 0 without one, -1 if the kernel does not say.
int FilterCount(std::string_view status);

}  // namespace internal
}  // namespace parley

#endif  // PARLEY_SANDBOX_CONFINEMENT_PROOF_H_

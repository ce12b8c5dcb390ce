// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SEALING_SEAL_SHARED_H_
#define PARLEY_SEALING_SEAL_SHARED_H_

// Adds seals to a memfd whose descriptor the peer holds as well, by a deadline.
//
// Trust: F_ADD_SEALS waits for the inode's lock, and the peer can hold that lock for ever (how:
// verify.h). A thread that waits for it can't be killed and keeps its whole process from ending.
// So the call is made by a helper process (seal_helper.h; why: docs/decisions/seal-helper.md),
// which is left behind at the deadline. One that hangs has the memfd, a page of code, and nothing
// of ours: not our memory, not one descriptor. At most kMaxLeftovers hang at once, of which
// kMaxLeftoversOfOneMaker on files that one user made, so that a hostile service does not keep us
// from connecting to another user's; then the call is refused at once.
// Threads: any. The helper raises no SIGCHLD and is invisible to wait and waitpid(-1).
// Cost: 0.1 ms and two processes for that time, whatever this process's memory; 60 ns for each
// descriptor that it has open.

#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/os/deadline.h"
#include "parley/sealing/seals.h"

namespace parley {

namespace internal {
absl::Status AddSealsAlone(int fd, SealSet seals, Deadline deadline);
}  // namespace internal

// Helpers that were killed and have not ended, since their peers hold them.
inline constexpr int kMaxLeftovers = 16;
inline constexpr int kMaxLeftoversOfOneMaker = 4;

// OK once `seals` are on. Pages that the file has beyond its end are freed before that.
// kDeadlineExceeded if the peer held them off; kResourceExhausted if too many helpers hang, or this
// user is at its limit of processes; otherwise as AddSeals.
absl::Status AddSealsToShared(int fd, SealSet seals, Deadline deadline);

// The same in two halves, with work of the caller's between them. Both in one thread: the helper
// ends with the thread that started it.
class SharedSealing {
 public:
  // Errors as of AddSealsToShared. `fd` stays open until Finish or destruction.
  static absl::StatusOr<SharedSealing> Start(int fd, SealSet seals);
  SharedSealing(SharedSealing&&) noexcept;
  SharedSealing& operator=(SharedSealing&&) = delete;
  // Without Finish: kills the helper, and waits a millisecond at most for its end.
  ~SharedSealing();

  // Call it once.
  absl::Status Finish(Deadline deadline);

 private:
  friend absl::Status internal::AddSealsAlone(int fd, SealSet seals, Deadline deadline);
  struct Job;
  explicit SharedSealing(std::unique_ptr<Job> job);
  static absl::StatusOr<SharedSealing> Start(int fd, SealSet seals, bool free_beyond_end);

  std::unique_ptr<Job> job_;  // null where all seals are on, or after Finish
};

namespace internal {
// The same for a file whose pages beyond its end don't matter. In AddSealsToShared the call that
// frees those comes first and takes the same lock; on Linux 6.18 it can be killed while it waits,
// so that there a peer has to be lucky to make a helper hang. This one always can.
absl::Status AddSealsAlone(int fd, SealSet seals, Deadline deadline);
// Of those that were killed: how many have not ended.
std::size_t SealHelpersLeft();
}  // namespace internal

}  // namespace parley

#endif  // PARLEY_SEALING_SEAL_SHARED_H_

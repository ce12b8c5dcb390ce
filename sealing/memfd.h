// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SEALING_MEMFD_H_
#define PARLEY_SEALING_MEMFD_H_

// Anonymous shared memory whose pages all exist from the start.
//
// Trust: nothing in here comes from the peer. The name that /proc shows is the same for all, so it
// tells nobody anything.
// Threads: any.
//
//   absl::StatusOr<UniqueFd> fd = CreateMemfd(size_bytes);

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"

namespace parley {

// A new memfd of exactly `size_bytes` zero bytes, close-on-exec, not executable, sealable, with all
// of its memory allocated: what can't be had is an error here and no SIGBUS later. Zero bytes are
// allowed. kResourceExhausted says what ran out: memory (more than the machine has is not even
// tried), descriptors, or RLIMIT_FSIZE, which counts memfds; no SIGXFSZ reaches the process. A
// cgroup's memory limit is enforced by the kernel's OOM killer and can't be an error code.
absl::StatusOr<UniqueFd> CreateMemfd(uint64_t size_bytes);

// The same in slices, for a caller that has other things to do meanwhile. Dropped before its end,
// it leaves nothing.
//
//   absl::StatusOr<MemfdBuilder> builder = MemfdBuilder::Start(size_bytes);
//   while (true) {
//     absl::StatusOr<bool> done = builder->Step(Deadline::After(absl::Milliseconds(1)));
//     if (!done.ok()) return done.status();
//     if (*done) return std::move(*builder).Take();
//     ... something else ...
//   }
class MemfdBuilder {
 public:
  // A file of its final size, with no memory yet.
  static absl::StatusOr<MemfdBuilder> Start(uint64_t size_bytes);

  // Allocates pieces of kPieceBytes until all are there (true) or `until` is past (false); one
  // piece at least. Errors as of CreateMemfd; then nothing but destruction is left to do.
  absl::StatusOr<bool> Step(Deadline until);

  // Still owned here, for questions about the file.
  int fd() const { return fd_.get(); }
  // After Step returned true; before is the caller's bug and aborts.
  UniqueFd Take() &&;

  // One piece takes about 0.1 ms.
  static constexpr uint64_t kPieceBytes = uint64_t{256} << 10;

 private:
  MemfdBuilder(UniqueFd fd, uint64_t size_bytes) : fd_(std::move(fd)), size_bytes_(size_bytes) {}

  UniqueFd fd_;
  uint64_t size_bytes_ = 0;
  uint64_t allocated_bytes_ = 0;
};

// Changes the size of a memfd of ours that is not sealed yet; new bytes are zero and allocated.
// Errors as above.
absl::Status ResizeMemfd(int fd, uint64_t old_size_bytes, uint64_t new_size_bytes);

}  // namespace parley

#endif  // PARLEY_SEALING_MEMFD_H_

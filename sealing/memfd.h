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

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/os/unique_fd.h"

namespace parley {

// A new memfd of exactly `size_bytes` zero bytes, close-on-exec, not executable, sealable, with all
// of its memory allocated: what can't be had is an error here and no SIGBUS later. Zero bytes are
// allowed. kResourceExhausted says what ran out: memory (more than the machine has is not even
// tried), descriptors, or RLIMIT_FSIZE, which counts memfds; no SIGXFSZ reaches the process. A
// cgroup's memory limit is enforced by the kernel's OOM killer and can't be an error code.
absl::StatusOr<UniqueFd> CreateMemfd(uint64_t size_bytes);

// Changes the size of a memfd of ours that is not sealed yet; new bytes are zero and allocated.
// Errors as above.
absl::Status ResizeMemfd(int fd, uint64_t old_size_bytes, uint64_t new_size_bytes);

}  // namespace parley

#endif  // PARLEY_SEALING_MEMFD_H_

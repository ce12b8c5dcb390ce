// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_EVENTFD_H_
#define PARLEY_WAIT_EVENTFD_H_

// Eventfds: made by us, or received from a supervisor.
//
// Trust: VerifyEventfd asks the kernel what a descriptor is; its other owner can still clear
// O_NONBLOCK and saturate it (wait/doorbell.h says who may share one).
// Threads: any.
//
//   absl::StatusOr<UniqueFd> fd = CreateEventfd();

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/os/unique_fd.h"

namespace parley {

// A new non-blocking, close-on-exec eventfd.
absl::StatusOr<UniqueFd> CreateEventfd();

// Connecting side: that a descriptor from the supervisor really is a plain eventfd (no semaphore,
// whose counter one read does not empty). Reads its entry in /proc/self.
absl::Status VerifyEventfd(int fd);

}  // namespace parley

#endif  // PARLEY_WAIT_EVENTFD_H_

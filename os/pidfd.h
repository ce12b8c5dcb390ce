// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_OS_PIDFD_H_
#define PARLEY_OS_PIDFD_H_

// Process descriptors: a process that cannot be mistaken for another one that got its number.
//
// Trust: a pid that the peer names is never opened; only pids of our own children, or what the
// kernel says of a socket (handshake/credentials.h).
// Threads: any.

#include <sys/types.h>

#include "absl/status/statusor.h"
#include "parley/os/unique_fd.h"

namespace parley {

// The descriptor (close-on-exec) of a process; readable once it has ended. For our own child that
// has not been waited for, there is no race with reuse of the number.
absl::StatusOr<UniqueFd> OpenPidfd(pid_t pid);

// True once the process behind `pidfd` has ended. Never blocks.
bool ProcessHasEnded(int pidfd);

}  // namespace parley

#endif  // PARLEY_OS_PIDFD_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_OS_POLL_H_
#define PARLEY_OS_POLL_H_

// Waiting on descriptors until a deadline.
//
// Trust: the peer decides when a descriptor is ready, never how long we wait: EINTR restarts with
// the time that is left.
// Threads: any.

#include <poll.h>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/os/deadline.h"

namespace parley {

// The number of ready entries, 0 at the deadline. One look is taken even if the deadline is past.
// System calls: ppoll, once, and once more for each signal that arrives.
absl::StatusOr<int> PollUntil(absl::Span<pollfd> descriptors, Deadline deadline);

}  // namespace parley

#endif  // PARLEY_OS_POLL_H_

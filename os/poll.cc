// SPDX-License-Identifier: Apache-2.0
#include "parley/os/poll.h"

#include <cerrno>

#include "parley/os/errors.h"

namespace parley {

absl::StatusOr<int> PollUntil(absl::Span<pollfd> descriptors, Deadline deadline) {
  while (true) {
    const timespec remaining = deadline.RemainingTimespec();
    const int ready = ::ppoll(descriptors.data(), descriptors.size(), &remaining, nullptr);
    if (ready >= 0) return ready;
    if (errno != EINTR) return ErrnoStatus(errno, "poll");
  }
}

}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/placement.h"

#include <sched.h>

#include <cerrno>

#include "parley/os/errors.h"

namespace parley::bench {

std::vector<int> AllowedProcessors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> processors;
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return processors;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) processors.push_back(i);
  }
  return processors;
}

absl::Status Place(Placement placement, Side side) {
  if (placement == Placement::kUnpinned) return absl::OkStatus();
  const std::vector<int> processors = AllowedProcessors();
  const std::size_t which =
      placement == Placement::kApart && side == Side::kReceiver ? std::size_t{1} : std::size_t{0};
  if (which >= processors.size()) {
    return absl::FailedPreconditionError("two processors are needed to run apart");
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(processors[which]), &set);
  if (::sched_setaffinity(0, sizeof(set), &set) != 0)
    return ErrnoStatus(errno, "pin to a processor");
  return absl::OkStatus();
}

}  // namespace parley::bench

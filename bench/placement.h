// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_PLACEMENT_H_
#define PARLEY_BENCH_PLACEMENT_H_

// On which processors the two ends run.
//
// Threads: Place binds the calling thread and those that it starts.

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "parley/bench/cell.h"

namespace parley::bench {

// The processors that this process may use.
std::vector<int> AllowedProcessors();

// Apart: the first two of them; one core: the first. kFailedPrecondition if there are too few.
absl::Status Place(Placement placement, Side side);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_PLACEMENT_H_

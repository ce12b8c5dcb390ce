// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_PRESETS_ENDS_H_
#define PARLEY_BENCH_PRESETS_ENDS_H_

// The two ends of one sample: one sends at a rate, the other waits as its preset says.
//
// Each message carries the time at which it was sent, its number, and what it is: the receiver
// starts to measure after the last one of the warm-up and stops at the last one. So both ends are
// measured over as many periods, and neither waits for anything but messages meanwhile.
//
// Threads: as many processes as ends.

#include "absl/status/statusor.h"
#include "parley/bench/arena.h"
#include "parley/bench/presets/load.h"

namespace parley::bench {

// Starts both and waits for their end. Latencies are those of the arena afterwards.
absl::StatusOr<LoadResult> RunLoad(const Load& load, Arena& arena);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_PRESETS_ENDS_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_PAIR_H_
#define PARLEY_BENCH_PAIR_H_

// Two fresh processes for one sample, and their end, whatever happens.
//
// The process that starts them measures nothing itself: libraries with threads of their own are
// only ever initialised in the two. They die with it.
//
// Threads: one at a time.

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "parley/bench/arena.h"
#include "parley/bench/cell.h"
#include "parley/bench/row.h"

namespace parley::bench {

struct PairOptions {
  Placement placement = Placement::kApart;
  absl::Duration limit = absl::Seconds(20);  // then both are killed
  bool count_system_calls = false;
};

struct SystemCalls {
  std::array<uint64_t, 2> by_side = {};  // while measuring; all threads
};

// Runs body(side) in both. kDeadlineExceeded, kCancelled (interrupted), kAborted with what a side
// said or the signal that ended it. `calls` is filled if they are counted.
absl::Status RunPair(Body body, Arena& arena, const PairOptions& options, SystemCalls* calls);

// From now on SIGINT and SIGTERM end RunPair with kCancelled instead of this process.
void CatchInterrupts();
bool Interrupted();

}  // namespace parley::bench

#endif  // PARLEY_BENCH_PAIR_H_

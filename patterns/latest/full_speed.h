// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_PATTERNS_LATEST_FULL_SPEED_H_
#define PARLEY_PATTERNS_LATEST_FULL_SPEED_H_

// A writer at full speed and reader processes that check each value they get: for a test of a
// second, and for the record (measure.cc).
//
// Trust: for tests; all processes are ours.
// Threads: one; the calling process must have no other where it forks.
//
//   auto result = testing::RunFullSpeed({.readers = 8, .time = absl::Seconds(60)});

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace parley::testing {

struct FullSpeedOptions {
  int readers = 8;
  uint64_t value_bytes = 4096;
  uint32_t slots = 4;
  absl::Duration time = absl::Seconds(1);
  // How many readers are killed half-way, to see that nobody else cares.
  int killed = 0;
};

struct FullSpeedResult {
  uint64_t written = 0;
  double write_ns = 0;        // of one write, on average, with all readers at it
  double write_alone_ns = 0;  // the same before the first reader looked
  struct Reader {
    uint64_t reads = 0;      // whole values
    uint64_t overtaken = 0;  // reads that gave up
    uint64_t wrong = 0;      // values that were torn, old or of another size: 0, or there is a bug
    int exit_code = 0;       // -1: killed by us
  };
  std::vector<Reader> readers;
};

absl::StatusOr<FullSpeedResult> RunFullSpeed(const FullSpeedOptions& options);

// What a read costs next to a memcpy of as many bytes out of shared memory in the same state.
struct ReadCostOptions {
  uint64_t value_bytes = 64;
  int rounds = 4001;
  // True: each value was just written by a thread on another processor. False: by this thread.
  bool apart = true;
};
struct ReadCost {
  // Of the rounds, in turns, each less what the clock takes: the one below which a tenth lies (the
  // others were interrupted, or not), and the middle one.
  struct Quantiles {
    double p10_ns = 0;
    double p50_ns = 0;
  };
  Quantiles read;
  Quantiles memcpy;
};
// kFailedPrecondition: apart, and this process may use one processor only.
absl::StatusOr<ReadCost> MeasureReadCost(const ReadCostOptions& options);

}  // namespace parley::testing

#endif  // PARLEY_PATTERNS_LATEST_FULL_SPEED_H_

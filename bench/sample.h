// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_SAMPLE_H_
#define PARLEY_BENCH_SAMPLE_H_

// One sample: a row in a cell, run once in two fresh processes.
//
// Threads: one at a time.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "parley/bench/cell.h"
#include "parley/bench/pair.h"
#include "parley/bench/regime.h"
#include "parley/bench/row.h"
#include "parley/bench/usage.h"

namespace parley::bench {

struct Percentiles {
  double p50 = 0, p90 = 0, p99 = 0, p999 = 0, p9999 = 0, max = 0;
};

// All times in nanoseconds per message, or per round trip.
struct Sample {
  std::size_t row = 0;  // index
  Cell cell;
  int pass = 0;
  uint64_t messages = 0;
  double mean_ns = 0;
  Percentiles percentiles;
  std::array<Usage, 2> usage;  // by side, of the measured stretch
  Probe probe;                 // zeros where there is none
  double wall_s = 0;           // of the measured stretch
};

struct SampleTimes {
  double ticks_per_ns = 1;
  double warm_up_ms = 5;
  double measured_ms = 30;
  uint64_t fixed_count = 0;  // of messages, instead of measured_ms
  bool probe = true;
  absl::Duration limit = absl::Seconds(20);  // for a whole sample; it fails then
};

absl::StatusOr<Sample> TakeSample(const Row& row, const Cell& cell, const SampleTimes& times);

// System calls per message and end, in a sample of its own.
absl::StatusOr<std::array<double, 2>> CountSystemCalls(const Row& row, const Cell& cell,
                                                       const SampleTimes& times);

// Why the row has no such cell; empty: it has.
std::string Refusal(const Row& row, const Cell& cell);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_SAMPLE_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_SCALE_DRIFT_H_
#define PARLEY_BENCH_SCALE_DRIFT_H_

// Flat out for minutes: whether the throughput, the memory or the descriptors drift.
//
// Threads: one at a time.

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "parley/bench/scale/footprint.h"

namespace parley::bench {

struct DriftOptions {
  double seconds = 600;
  double window_s = 10;
};

struct DriftResult {
  static constexpr std::size_t kMaxWindows = 10'000;

  uint64_t messages = 0;  // all of them, each checked
  std::size_t windows = 0;
  std::array<double, kMaxWindows> per_second = {};  // messages, by window
  std::array<Footprint, 2> begin;                   // by side, after the first messages
  std::array<Footprint, 2> end;
};

// Messages of 64 B in place, spinning, each end on a processor of its own. Tells on standard error
// how far it is. Windows beyond kMaxWindows are left out; the last one, if it is short, too.
absl::StatusOr<DriftResult> MeasureDrift(const DriftOptions& options);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_SCALE_DRIFT_H_

// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/clock.h"

#include "parley/os/deadline.h"

namespace parley::bench {

double MeasureTicksPerNs() {
  constexpr int64_t kLongEnoughNs = 20'000'000;
  const int64_t begin_ns = MonotonicNowNs();
  const uint64_t begin = Ticks();
  int64_t end_ns = begin_ns;
  while (end_ns - begin_ns < kLongEnoughNs) end_ns = MonotonicNowNs();
  const uint64_t end = Ticks();
  return static_cast<double>(end - begin) / static_cast<double>(end_ns - begin_ns);
}

}  // namespace parley::bench

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_SCALE_RINGS_H_
#define PARLEY_BENCH_SCALE_RINGS_H_

// Rings from a page to a gigabyte: how long a channel takes to be made, and what a message costs.
//
// Threads: one at a time.

#include <cstddef>

#include "absl/status/statusor.h"
#include "parley/bench/sample.h"

namespace parley::bench {

struct RingSample {
  std::size_t ring_bytes = 0;
  std::size_t size_bytes = 0;
  double set_up_s = 0;    // of the slower end: handshake, memory with every page, mappings
  double message_ns = 0;  // one way, in place, spinning
  Probe probe;
};

// False: a message of this size is longer than such a ring takes.
bool Fits(std::size_t ring_bytes, std::size_t size_bytes);
absl::StatusOr<RingSample> MeasureRing(std::size_t ring_bytes, std::size_t size_bytes,
                                       const SampleTimes& times);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_SCALE_RINGS_H_

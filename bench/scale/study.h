// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_SCALE_STUDY_H_
#define PARLEY_BENCH_SCALE_STUDY_H_

// "Where it grows": many channels, large rings, long runs.
//
// Threads: one at a time.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "parley/bench/scale/channels.h"
#include "parley/bench/scale/drift.h"
#include "parley/bench/scale/rings.h"

namespace parley::bench {

struct ScaleOptions {
  std::vector<std::size_t> channels = {1, 10, 100, 1'000};
  std::vector<std::size_t> ring_bytes;  // empty: none
  int passes = 3;
  SampleTimes times;
  std::optional<DriftOptions> drift;
};
// A page to a gigabyte, by steps of four.
std::vector<std::size_t> AllRingBytes();

struct ScaleResult {
  std::vector<ChannelsResult> channels;
  std::vector<RingSample> rings;
  std::optional<DriftResult> drift;
  std::vector<std::string> failed;  // what, and why
};

// Tells on standard error how far it is.
ScaleResult MeasureScale(const ScaleOptions& options);

std::string ToJson(const ScaleOptions& options, const ScaleResult& result,
                   const std::string& commit);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_SCALE_STUDY_H_

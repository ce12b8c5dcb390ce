// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_PRESETS_STUDY_H_
#define PARLEY_BENCH_PRESETS_STUDY_H_

// "Knowing when to sleep": latency and processor time of each waiting preset, at each rate.
//
// Threads: one at a time.

#include <string>
#include <vector>

#include "parley/bench/presets/load.h"
#include "parley/bench/sample.h"

namespace parley::bench {

struct Rate {
  double hz = 0;  // 0: flat out
  double measured_s = 1;
};

struct PresetOptions {
  int passes = 3;
  std::vector<Rate> rates;
};
PresetOptions FullPresets();
PresetOptions QuickPresets();

struct PresetSample {
  Load load;
  int pass = 0;
  LoadResult result;
  Percentiles percentiles;  // ns
  std::string failed;       // why; empty: it did not
};

// Tells on standard error how far it is.
std::vector<PresetSample> MeasurePresets(const PresetOptions& options);

std::string ToJson(const std::vector<PresetSample>& samples, const std::string& commit);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_PRESETS_STUDY_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_SAFETY_STUDY_H_
#define PARLEY_BENCH_SAFETY_STUDY_H_

// "Cost of safety": each case in turn, again and again, so that on and off lie close in time.
//
// Threads: one.

#include <string>
#include <vector>

#include "parley/bench/safety/case.h"

namespace parley::bench {

struct SafetyTimes {
  std::string what;
  std::string variant;
  std::vector<double> ns;  // for each time, by turn
  std::string failed;      // why; empty: it did not
};

// Tells on standard error how far it is.
std::vector<SafetyTimes> MeasureSafety(const std::vector<Case>& cases, int turns);

// The median, and the range, of each: what bench/instructions/ joins to its counts.
std::string TimesToJson(const std::vector<SafetyTimes>& times);

std::string ToJson(const std::vector<SafetyTimes>& times, const std::string& commit);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_SAFETY_STUDY_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_ENDURANCE_OPTIONS_H_
#define PARLEY_ENDURANCE_OPTIONS_H_

// How long and how hard; values.

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace parley::endurance {

// What a survivor does wrong on purpose once in each session, for the tests of the verdicts.
enum class Fault { kNone, kLeakDescriptor, kLeakMapping, kLeakMemory, kTimedOut, kDie, kWrongData };

struct Options {
  int64_t kills = 10'000;                   // in total
  absl::Duration time = absl::Seconds(30);  // of each of the other lanes
  uint64_t seed = 1;
  int64_t growth_kb = 1024;     // what a survivor's memory may grow by, end to end
  bool set_clock = false;       // may set the machine's clock, and set it back
  std::string folder = "/tmp";  // for socket files
  std::string tag;              // makes names unique on the machine
  Fault fault = Fault::kNone;   // of a survivor, for tests
};

}  // namespace parley::endurance

#endif  // PARLEY_ENDURANCE_OPTIONS_H_

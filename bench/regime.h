// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_REGIME_H_
#define PARLEY_BENCH_REGIME_H_

// Which samples may be compared. Two virtual processors are moved about by their host: now they are
// two threads of one core, now two cores, now cores of different chips, and each cache line costs
// accordingly. So a bare exchange of two lines is timed before and after each sample; samples with
// about the same answer form a regime, and rows are compared within one regime alone.
//
// Threads: pure functions.

#include <cstddef>
#include <vector>

namespace parley::bench {

// Nanoseconds for one bare round trip, before a sample and after it.
struct Probe {
  double before_ns = 0;
  double after_ns = 0;
};

struct Regime {
  double centre_ns = 0;  // the median of its probes
  std::size_t samples = 0;
};

struct Regimes {
  std::vector<Regime> regimes;  // the one with the most samples first
  std::vector<int> of_sample;   // index into `regimes`; kMixed: the machine changed meanwhile
};

inline constexpr int kMixed = -1;
// Probes of one regime differ by at most this factor from its centre.
inline constexpr double kWithin = 1.25;

// The densest window of probes is the first regime, the densest of what is left the next. A sample
// belongs to a regime if both its probes lie within it.
Regimes Classify(const std::vector<Probe>& probes);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_REGIME_H_

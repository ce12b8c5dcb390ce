// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_QUANTILE_H_
#define PARLEY_BENCH_QUANTILE_H_

// Of a few values. For millions: histogram.h.
//
// Threads: pure functions.

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace parley::bench {

// The value below which `part` of them lie, 0 to 1; 0 if there is none.
inline double Quantile(std::vector<double> values, double part) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto index = static_cast<std::size_t>(part * static_cast<double>(values.size()));
  return values[std::min(values.size() - 1, index)];
}
inline double Median(std::vector<double> values) { return Quantile(std::move(values), 0.5); }

}  // namespace parley::bench

#endif  // PARLEY_BENCH_QUANTILE_H_

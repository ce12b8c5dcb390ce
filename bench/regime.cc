// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/regime.h"

#include <algorithm>

namespace parley::bench {
namespace {

bool Within(double value, double centre) {
  return value <= centre * kWithin && value * kWithin >= centre;
}

// The middle of the window [v, v * kWithin^2] that holds the most of `sorted`.
double DensestCentre(const std::vector<double>& sorted) {
  std::size_t best_begin = 0;
  std::size_t best_count = 0;
  std::size_t end = 0;
  for (std::size_t begin = 0; begin < sorted.size(); ++begin) {
    while (end < sorted.size() && sorted[end] <= sorted[begin] * kWithin * kWithin) ++end;
    if (end - begin > best_count) {
      best_begin = begin;
      best_count = end - begin;
    }
  }
  return sorted[best_begin + best_count / 2];
}

}  // namespace

Regimes Classify(const std::vector<Probe>& probes) {
  Regimes result;
  result.of_sample.assign(probes.size(), kMixed);
  std::vector<double> left;
  for (const Probe& probe : probes) {
    for (const double ns : {probe.before_ns, probe.after_ns}) {
      if (ns > 0) left.push_back(ns);
    }
  }
  std::sort(left.begin(), left.end());
  while (!left.empty()) {
    Regime regime;
    regime.centre_ns = DensestCentre(left);
    const int index = static_cast<int>(result.regimes.size());
    for (std::size_t i = 0; i < probes.size(); ++i) {
      if (result.of_sample[i] == kMixed && Within(probes[i].before_ns, regime.centre_ns) &&
          Within(probes[i].after_ns, regime.centre_ns)) {
        result.of_sample[i] = index;
        ++regime.samples;
      }
    }
    std::erase_if(left, [&](double ns) { return Within(ns, regime.centre_ns); });
    if (regime.samples != 0) result.regimes.push_back(regime);
  }
  // By size, with the samples renamed accordingly.
  std::vector<int> order(result.regimes.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  const auto samples_of = [&](int i) {
    return result.regimes[static_cast<std::size_t>(i)].samples;
  };
  // In the order of before where there are as many. (std::stable_sort of libstdc++ 12 warns with
  // clang 19.)
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return samples_of(a) != samples_of(b) ? samples_of(a) > samples_of(b) : a < b;
  });
  std::vector<int> rank(order.size());
  std::vector<Regime> sorted(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto from = static_cast<std::size_t>(order[i]);
    rank[from] = static_cast<int>(i);
    sorted[i] = result.regimes[from];
  }
  result.regimes = std::move(sorted);
  for (int& index : result.of_sample) {
    if (index != kMixed) index = rank[static_cast<std::size_t>(index)];
  }
  return result;
}

}  // namespace parley::bench

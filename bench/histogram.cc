// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/histogram.h"

#include <cmath>

namespace parley::bench {

uint64_t Histogram::Percentile(double part) const {
  if (total_ == 0) return 0;
  const auto wanted = static_cast<uint64_t>(std::ceil(part * static_cast<double>(total_)));
  uint64_t seen = 0;
  for (std::size_t bucket = 0; bucket < counts_.size(); ++bucket) {
    seen += counts_[bucket];
    if (seen >= std::max<uint64_t>(wanted, 1)) return std::min(UpperEnd(bucket), max_);
  }
  return max_;
}

}  // namespace parley::bench

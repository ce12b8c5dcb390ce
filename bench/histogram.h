// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_HISTOGRAM_H_
#define PARLEY_BENCH_HISTOGRAM_H_

// Counts of values in buckets that grow with the value: 32 to each doubling, so that a percentile
// is right to about 3 per cent, in 15 KiB and two instructions or so per value. The maximum is
// exact. Plain data, so that it can lie in memory that two processes share.
//
// Threads: one at a time.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace parley::bench {

class Histogram {
 public:
  void Add(uint64_t value) {
    ++counts_[Bucket(value)];
    ++total_;
    max_ = std::max(max_, value);
  }

  void Clear() { *this = Histogram(); }
  uint64_t total() const { return total_; }
  uint64_t max() const { return max_; }

  // The value that `part` (0 to 1) of all values do not exceed: the upper end of its bucket, and
  // never more than the maximum. 0 without values.
  uint64_t Percentile(double part) const;

  // How many values lie in a bucket; bucket < kBuckets.
  uint64_t count(std::size_t bucket) const { return counts_[bucket]; }

  static constexpr std::size_t Bucket(uint64_t value) {
    if (value < kPerDoubling) return static_cast<std::size_t>(value);
    const int shift = static_cast<int>(std::bit_width(value)) - kBits;
    return (static_cast<std::size_t>(shift) << (kBits - 1)) +
           static_cast<std::size_t>(value >> shift);
  }
  // The largest value in a bucket.
  static constexpr uint64_t UpperEnd(std::size_t bucket) {
    if (bucket < kPerDoubling) return bucket;
    const std::size_t shift = (bucket >> (kBits - 1)) - 1;
    const uint64_t leading = bucket - (shift << (kBits - 1));
    return ((leading + 1) << shift) - 1;
  }

 private:
  static constexpr int kBits = 6;  // 32 buckets to a doubling
  static constexpr std::size_t kPerDoubling = std::size_t{1} << kBits;

 public:
  static constexpr std::size_t kBuckets = (std::size_t{65 - kBits} << (kBits - 1)) + kPerDoubling;

 private:
  std::array<uint64_t, kBuckets> counts_ = {};
  uint64_t total_ = 0;
  uint64_t max_ = 0;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_HISTOGRAM_H_

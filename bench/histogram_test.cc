// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/histogram.h"

#include <limits>
#include <memory>

#include "gtest/gtest.h"

namespace parley::bench {
namespace {

TEST(HistogramTest, BucketsAreInOrderWithoutGapsAndNarrow) {
  EXPECT_EQ(Histogram::Bucket(0), 0u);
  std::size_t bucket = 0;
  uint64_t next = 1;  // the first value above the last bucket
  while (next < uint64_t{1} << 40) {
    ++bucket;
    ASSERT_EQ(Histogram::Bucket(next), bucket) << next;
    const uint64_t last = Histogram::UpperEnd(bucket);
    ASSERT_GE(last, next);
    ASSERT_EQ(Histogram::Bucket(last), bucket);
    ASSERT_LE(last - next, next / 32);
    next = last + 1;
  }
  const uint64_t largest = std::numeric_limits<uint64_t>::max();
  EXPECT_EQ(Histogram::UpperEnd(Histogram::Bucket(largest)), largest);
}

TEST(HistogramTest, PercentilesOfAKnownDistribution) {
  auto histogram = std::make_unique<Histogram>();
  EXPECT_EQ(histogram->Percentile(0.5), 0u);
  for (uint64_t value = 1; value <= 100'000; ++value) histogram->Add(value);
  EXPECT_EQ(histogram->total(), 100'000u);
  EXPECT_EQ(histogram->max(), 100'000u);
  for (const double part : {0.01, 0.5, 0.9, 0.99, 0.999, 0.9999}) {
    const auto percentile = static_cast<double>(histogram->Percentile(part));
    EXPECT_GE(percentile, part * 100'000);
    EXPECT_LE(percentile, part * 100'000 * 1.04);
  }
  EXPECT_EQ(histogram->Percentile(1), 100'000u);
}

TEST(HistogramTest, OneOutlierIsOnlyInTheTail) {
  auto histogram = std::make_unique<Histogram>();
  for (int i = 0; i < 9'999; ++i) histogram->Add(10);
  histogram->Add(1'000'000);
  EXPECT_EQ(histogram->Percentile(0.5), 10u);
  EXPECT_EQ(histogram->Percentile(0.9999), 10u);
  EXPECT_EQ(histogram->Percentile(1), 1'000'000u);
  histogram->Clear();
  EXPECT_EQ(histogram->total(), 0u);
  EXPECT_EQ(histogram->max(), 0u);
}

}  // namespace
}  // namespace parley::bench

// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "gtest/gtest.h"
#include "parley/bench/waiting/study.h"

namespace parley::bench {
namespace {

// That it measures what it says; how much that is, is not judged here.
TEST(WaitingTest, EachConditionIsMeasuredOnceInEachPass) {
  WaitingOptions options;
  options.channels = {10, 30};
  options.among = 30;
  options.passes = 2;
  options.rounds = 5;
  options.windows = 2;
  options.window_s = 0.05;
  const WaitingResult result = MeasureWaiting(options);
  for (const std::string& failed : result.failed) ADD_FAILURE() << failed;
  ASSERT_EQ(result.ready.size(), 2u);
  for (const auto& ready : result.ready) EXPECT_EQ(ready.ns.size(), 2u);
  ASSERT_EQ(result.round_trips.size(), 5u);
  for (const auto& trips : result.round_trips) {
    ASSERT_EQ(trips.p99_ns.size(), 2u);
    for (const double count : trips.count) EXPECT_GE(count, 20) << ToString(trips.flood);
    for (std::size_t i = 0; i < 2; ++i) EXPECT_GE(trips.p99_ns[i], trips.p50_ns[i]);
  }
  EXPECT_NE(ToJson(result, "abc").find("\"messages\""), std::string::npos);
}

}  // namespace
}  // namespace parley::bench

// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/adaptive_spin.h"

#include <cstdint>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace parley::internal {
namespace {

constexpr int64_t kMicro = 1'000;
constexpr int64_t kMilli = 1'000'000;

// A stream in which news come `gap_ns` after each wait began; a sleep takes 40 us longer than that.
struct Stream {
  explicit Stream(const WaitOptions& options) : plan(options) {}

  void Run(int waits, int64_t gap_ns) {
    for (int i = 0; i < waits; ++i) {
      const int64_t allowed_ns = plan.Allowance(now_ns);
      max_ns = allowed_ns > max_ns ? allowed_ns : max_ns;
      if (gap_ns <= allowed_ns) {
        plan.Paid(gap_ns);
        ++spins_that_paid;
        now_ns += gap_ns;
      } else {
        wasted_ns += allowed_ns;
        if (allowed_ns != 0) plan.Failed(allowed_ns);
        plan.Slept(gap_ns + 40 * kMicro);
        ++sleeps;
        now_ns += gap_ns + 40 * kMicro;
      }
    }
  }

  AdaptiveSpin plan;
  int64_t now_ns = 12345 * kMilli;
  int64_t max_ns = 0;
  int64_t wasted_ns = 0;
  int sleeps = 0;
  int spins_that_paid = 0;
};

TEST(AdaptiveSpinTest, ShortGapsAreSpunThrough) {
  for (const int64_t gap_ns : {int64_t{100}, kMicro, 10 * kMicro, 40 * kMicro}) {
    Stream stream(WaitOptions::Balanced());
    stream.Run(1000, gap_ns);
    EXPECT_GE(stream.spins_that_paid, 980) << gap_ns;
  }
}

TEST(AdaptiveSpinTest, LongGapsAreSleptThroughForNextToNothing) {
  for (const int64_t gap_ns : {kMilli, 17 * kMilli, 1000 * kMilli}) {
    Stream stream(WaitOptions::Balanced());
    const int64_t start_ns = stream.now_ns;
    stream.Run(1000, gap_ns);
    EXPECT_EQ(stream.sleeps, 1000) << gap_ns;
    EXPECT_LE(stream.wasted_ns, (stream.now_ns - start_ns) / 100) << gap_ns;
  }
}

TEST(AdaptiveSpinTest, TheChangeFromSlowToFastIsNoticed) {
  Stream stream(WaitOptions::Balanced());
  stream.Run(100, 100 * kMilli);
  stream.sleeps = 0;
  stream.Run(1000, 5 * kMicro);
  EXPECT_LE(stream.sleeps, 20);
}

// Whatever the pattern, what is wasted stays within the budget (and one filling of it).
TEST(AdaptiveSpinTest, PromiseP3WorkTheWasteIsBoundedForEveryPattern) {
  for (int64_t gap_ns = kMicro; gap_ns < 5 * kMilli; gap_ns += gap_ns / 3) {
    for (const int short_ones : {0, 1, 3, 10}) {
      Stream stream(WaitOptions::Balanced());
      const int64_t start_ns = stream.now_ns;
      for (int i = 0; i < 500; ++i) {
        stream.Run(short_ones, 100);
        stream.Run(1, gap_ns);
      }
      const int64_t budget_ns = (stream.now_ns - start_ns) / 50 + kMilli;
      EXPECT_LE(stream.wasted_ns, budget_ns) << gap_ns << " after " << short_ones;
    }
  }
}

// Data that come in the short sleep of a long spin, again and again, came because it made way.
TEST(AdaptiveSpinTest, ASharedProcessorIsNoticed) {
  AdaptiveSpin spin(WaitOptions::LowestLatency());
  int64_t now_ns = 5 * 1000 * kMilli;
  ASSERT_EQ(spin.Allowance(now_ns), 1000 * kMilli);
  for (int i = 0; i < AdaptiveSpin::kProbesToSleep; ++i) spin.Probed(now_ns, true);
  EXPECT_EQ(spin.Allowance(now_ns), 0);
  now_ns += AdaptiveSpin::kSharedNs;
  EXPECT_EQ(spin.Allowance(now_ns), 1000 * kMilli);
  spin.Probed(now_ns, true);  // still so: one is enough
  EXPECT_EQ(spin.Allowance(now_ns), 0);
  now_ns += AdaptiveSpin::kSharedNs;
  for (int i = 0; i < 10; ++i) {  // by chance, now and then
    spin.Probed(now_ns, false);
    spin.Probed(now_ns, true);
    EXPECT_EQ(spin.Allowance(now_ns), 1000 * kMilli);
  }
}

TEST(AdaptiveSpinTest, ThePresetsAreWhatTheyAreCalled) {
  Stream low_power(WaitOptions::LowestPower());
  low_power.Run(100, 100);
  EXPECT_EQ(low_power.sleeps, 100);
  Stream low_latency(WaitOptions::LowestLatency());
  low_latency.Run(100, 900 * kMilli);
  EXPECT_EQ(low_latency.spins_that_paid, 100);
  Stream balanced(WaitOptions::Balanced());
  balanced.Run(1000, 20 * kMilli);
  EXPECT_LE(balanced.max_ns, absl::ToInt64Nanoseconds(WaitOptions().max_spin));
}

}  // namespace
}  // namespace parley::internal

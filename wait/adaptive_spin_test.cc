// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/adaptive_spin.h"

#include <algorithm>
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

// Milliseconds of `spin_budget` and of time, and what is allowed after all that was there is spent.
TEST(AdaptiveSpinTest, TimeGivesBackThePartOfAProcessorThatIsAllowed) {
  for (const double part : {0.02, 0.5, 0.999}) {
    WaitOptions options;
    options.max_spin = absl::Seconds(1);
    options.spin_budget = part;
    const auto per_us = static_cast<int64_t>(part * 1000);
    for (const int64_t start_ns : {kMicro, 12345 * kMilli}) {
      AdaptiveSpin spin(options);
      spin.Slept(1000 * kMilli);  // what it wishes is more than there is
      EXPECT_EQ(spin.Allowance(start_ns), kMilli);
      int64_t now_ns = start_ns;
      for (const int64_t pass_ns :
           {int64_t{0}, kMicro - 1, int64_t{1}, 7 * kMicro, kMilli + 999, int64_t{1}}) {
        spin.Failed(10 * kMilli);
        const int64_t before_us = (now_ns - start_ns) / kMicro;
        now_ns += pass_ns;
        const int64_t passed_us = (now_ns - start_ns) / kMicro - before_us;
        EXPECT_EQ(spin.Allowance(now_ns), std::min(kMilli, passed_us * per_us))
            << part << " " << start_ns << " " << pass_ns;
      }
      // A long while gives no more than there was at first, and rounding loses nothing.
      spin.Failed(kMilli / 4);
      now_ns += 1000 * kMilli + 999;
      EXPECT_EQ(spin.Allowance(now_ns), kMilli);
      spin.Failed(kMilli / 4);
      EXPECT_EQ(spin.Allowance(now_ns), kMilli - kMilli / 4);
      now_ns += 100'000 * kMilli;
      EXPECT_EQ(spin.Allowance(now_ns), kMilli);
    }
  }
}

TEST(AdaptiveSpinTest, NothingIsLostByLookingOften) {
  WaitOptions options;
  options.max_spin = absl::Seconds(1);
  AdaptiveSpin spin(options);
  spin.Slept(1000 * kMilli);
  int64_t now_ns = 777 * kMilli;
  EXPECT_EQ(spin.Allowance(now_ns), kMilli);
  spin.Failed(kMilli);
  now_ns += 1000 * kMilli + 999;  // a second, and all but one nanosecond of a step
  EXPECT_EQ(spin.Allowance(now_ns), kMilli);
  spin.Failed(kMilli);
  EXPECT_EQ(spin.Allowance(now_ns), 0);
  EXPECT_EQ(spin.Allowance(now_ns + 1), 20);
}

// About twice what the last waits took; a glance where they took longer than the longest spin.
TEST(AdaptiveSpinTest, WhatIsWishedFollowsTheLastWaits) {
  constexpr int64_t kGlanceNs = 2 * kMicro;
  const int64_t longest_ns = absl::ToInt64Nanoseconds(WaitOptions().max_spin);
  for (const bool slept : {false, true}) {
    AdaptiveSpin spin(WaitOptions::Balanced());
    int64_t now_ns = 777 * kMilli;
    const auto learn = [&](int64_t waited_ns) {
      slept ? spin.Slept(waited_ns) : spin.Paid(waited_ns);
      return spin.Allowance(now_ns += kMilli);
    };
    EXPECT_EQ(spin.Allowance(now_ns), kGlanceNs);
    EXPECT_EQ(learn(40 * kMicro + 3), 20 * kMicro);  // a quarter of it, twice
    EXPECT_EQ(learn(40 * kMicro), 2 * 17'500);       // and of what is left
    EXPECT_EQ(learn(17'500), 2 * 17'500);
    EXPECT_EQ(learn(1'500), 2 * 13'500);
    for (int i = 0; i < 20; ++i) learn(0);
    EXPECT_EQ(spin.Allowance(now_ns), kGlanceNs);
  }
  AdaptiveSpin spin(WaitOptions::Balanced());
  int64_t now_ns = 777 * kMilli;
  EXPECT_EQ(spin.Allowance(now_ns), kGlanceNs);
  spin.Slept(1000 * kMilli);  // counts as four times the longest spin, and a quarter of that
  EXPECT_EQ(spin.Allowance(now_ns), longest_ns);
  spin.Slept(1000 * kMilli);
  EXPECT_EQ(spin.Allowance(now_ns), kGlanceNs);
  // However long that went on, some short ones bring it back.
  for (int i = 0; i < 1000; ++i) spin.Slept(1000 * kMilli);
  EXPECT_EQ(spin.Allowance(now_ns), kGlanceNs);
  for (int i = 0; i < 5; ++i) spin.Slept(0);
  EXPECT_EQ(spin.Allowance(now_ns), longest_ns);
}

TEST(AdaptiveSpinTest, OneProbeOrTwoAreChance) {
  AdaptiveSpin spin(WaitOptions::LowestLatency());
  EXPECT_EQ(spin.Allowance(0), 1000 * kMilli);
  const int64_t now_ns = 777 * kMilli;
  for (int round = 0; round < 3; ++round) {
    for (int i = 1; i < AdaptiveSpin::kProbesToSleep; ++i) spin.Probed(now_ns, true);
    EXPECT_EQ(spin.Allowance(now_ns), 1000 * kMilli) << round;
    spin.Probed(now_ns, false);
  }
  for (int i = 0; i < AdaptiveSpin::kProbesToSleep; ++i) spin.Probed(now_ns, true);
  EXPECT_EQ(spin.Allowance(now_ns + AdaptiveSpin::kSharedNs - 1), 0);
  EXPECT_EQ(spin.Allowance(now_ns + AdaptiveSpin::kSharedNs), 1000 * kMilli);
}

TEST(AdaptiveSpinTest, WithoutALongestSpinThereIsNone) {
  for (const double part : {0.0, 0.02, 1.0, 2.0}) {
    WaitOptions options = WaitOptions::LowestPower();
    options.spin_budget = part;
    AdaptiveSpin spin(options);
    EXPECT_EQ(spin.Allowance(777 * kMilli), 0) << part;
    spin.Paid(0);
    EXPECT_EQ(spin.Allowance(778 * kMilli), 0) << part;
  }
}

// From a whole processor on there is nothing to learn.
TEST(AdaptiveSpinTest, AWholeProcessorIsAlwaysTheLongestSpin) {
  for (const double part : {0.999, 1.0, 1.5}) {
    WaitOptions options;
    options.spin_budget = part;
    AdaptiveSpin spin(options);
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(spin.Allowance(777 * kMilli), part < 1 ? 2 * kMicro : 100 * kMicro);
    }
    spin.Failed(10 * kMilli);
    EXPECT_EQ(spin.Allowance(777 * kMilli), part < 1 ? 0 : 100 * kMicro);
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

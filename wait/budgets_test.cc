// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/budgets.h"

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/wait/wait_options.h"

namespace parley::internal {
namespace {

using Verdict = WakeBudget::Verdict;

constexpr int64_t kMillisecondNs = 1'000'000;
constexpr int64_t kSecondNs = 1'000 * kMillisecondNs;
constexpr int64_t kDayNs = 86'400 * kSecondNs;
constexpr int64_t kStartNs = 5 * kDayNs;

// The old budget was a number: 129 spurious wake-ups, at whatever pace, were a flood.
TEST(WakeBudgetTest, ASlowPaceIsNeverAFloodInSimulatedDays) {
  for (const int64_t pace_ns :
       {5 * kMillisecondNs, 100 * kMillisecondNs, kSecondNs, 60 * kSecondNs}) {
    WakeBudget budget({});
    int64_t now_ns = kStartNs;
    for (int i = 0; i < 1'000'000 && now_ns < kStartNs + 10 * kDayNs; ++i) {
      now_ns += pace_ns;
      ASSERT_EQ(budget.Spurious(now_ns), Verdict::kGoOn) << pace_ns << " ns, wake-up " << i;
    }
  }
}

TEST(WakeBudgetTest, AFloodIsThrottledThenAViolation) {
  const WaitOptions options;
  WakeBudget budget(options);
  int64_t now_ns = kStartNs;
  int wakeups = 0;
  int throttles = 0;
  for (; wakeups < 10'000; ++wakeups) {
    const Verdict verdict = budget.Spurious(now_ns);
    if (verdict == Verdict::kFlood) break;
    now_ns += 1000;
    if (verdict != Verdict::kThrottle) continue;
    ++throttles;
    now_ns += absl::ToInt64Nanoseconds(options.throttle_time);
  }
  EXPECT_EQ(throttles, options.throttles);
  EXPECT_LE(wakeups, options.spurious_wakeups + options.throttles + 10);
}

// Four times the pace that is tolerated ends as well, though each throttle takes a while.
TEST(WakeBudgetTest, FourTimesTheToleratedPaceIsAViolationInTheEnd) {
  WakeBudget budget({});
  int64_t now_ns = kStartNs;
  int wakeups = 0;
  while (budget.Spurious(now_ns) != Verdict::kFlood && wakeups < 10'000) {
    ++wakeups;
    now_ns += kMillisecondNs;
  }
  EXPECT_LT(wakeups, 200);
}

// A peer that makes a little progress for ever is throttled for longer and longer, up to a limit,
// and like any other once it has behaved for a while.
TEST(WakeBudgetTest, ThrottlesThatDoNotHelpGrowUpToALimit) {
  const WaitOptions options;
  const int64_t base_ns = absl::ToInt64Nanoseconds(options.throttle_time);
  WakeBudget budget(options);
  int64_t now_ns = kStartNs;
  int64_t max_ns = 0;
  int short_ones = 0;
  int verdicts = 0;
  for (; now_ns < kStartNs + 10 * kSecondNs; ++verdicts) {
    if (budget.Little(now_ns) == Verdict::kThrottle) {
      if (max_ns <= base_ns) ++short_ones;
      max_ns = std::max(max_ns, budget.throttle_ns());
      now_ns += budget.throttle_ns();
    }
    now_ns += 1000;
  }
  EXPECT_EQ(max_ns, WakeBudget::kMaxThrottleFactor * base_ns);
  EXPECT_GE(short_ones, options.throttles);
  // 64 at once, 64 short throttles, and one each 16 ms.
  EXPECT_LE(verdicts, 64 + 64 + 10 * 1000 / 16 + 32);
  now_ns += 65 * absl::ToInt64Nanoseconds(options.spurious_refill);
  for (int i = 0; i < 64; ++i) ASSERT_EQ(budget.Little(now_ns), Verdict::kGoOn);
  ASSERT_EQ(budget.Little(now_ns), Verdict::kThrottle);
  EXPECT_EQ(budget.throttle_ns(), base_ns);
}

TEST(WakeBudgetTest, LittleProgressIsThrottledForEverAndNoViolation) {
  WakeBudget budget({});
  int64_t now_ns = kStartNs;
  int throttles = 0;
  for (int i = 0; i < 100'000; ++i) {
    const Verdict verdict = budget.Little(now_ns);
    ASSERT_NE(verdict, Verdict::kFlood);
    if (verdict == Verdict::kThrottle) {
      ++throttles;
      now_ns += kMillisecondNs;
    }
    now_ns += 1000;
  }
  EXPECT_GT(throttles, 80'000);
}

// Two for each step of progress, as an honest peer needs, and no more: all of them were given back
// for one record, so that 64 wake-ups for each were free (villain: futex-storm,
// drip-in-event-loop).
TEST(WakeBudgetTest, ProgressGivesBackInProportion) {
  WakeBudget honest({});
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_EQ(honest.Spurious(kStartNs), Verdict::kGoOn);
    ASSERT_EQ(honest.Spurious(kStartNs), Verdict::kGoOn);
    honest.Refund(1);
  }
  WakeBudget hostile({});
  int free = 0;
  for (int i = 0; i < 10'000; ++i) {
    free += hostile.Spurious(kStartNs) == Verdict::kGoOn ? 1 : 0;
    if (i % 64 == 63) hostile.Refund(1);
  }
  EXPECT_LE(free, 64 + 2 * 10'000 / 64);
  // Progress is no violation, however little it is.
  WakeBudget much({});
  while (much.Spurious(kStartNs) == Verdict::kGoOn) {
  }
  much.Refund(~uint64_t{0});
  for (int i = 0; i < 64; ++i) EXPECT_EQ(much.Spurious(kStartNs), Verdict::kGoOn);
  EXPECT_EQ(much.Spurious(kStartNs), Verdict::kThrottle);
}

TEST(RateBudgetTest, TimeGivesBackNoMoreThanTheBurst) {
  RateBudget budget(3, kSecondNs);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(budget.Take(kStartNs));
  EXPECT_FALSE(budget.Take(kStartNs + kSecondNs - 1));
  EXPECT_TRUE(budget.Take(kStartNs + kSecondNs));
  EXPECT_FALSE(budget.Take(kStartNs + kSecondNs));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(budget.Take(kStartNs + kDayNs));
  EXPECT_FALSE(budget.Take(kStartNs + kDayNs));
  // A clock that stands still or goes back gives nothing.
  EXPECT_FALSE(budget.Take(kStartNs));
}

// What a peer takes in all, with signals that cost `each_ns`, by a victim that signals each
// `pace_ns`; -1: no violation in ten seconds.
int64_t TakenBy(int64_t each_ns, int64_t pace_ns) {
  SignalBudget budget(0);
  int64_t now_ns = kStartNs;
  int64_t taken_ns = 0;
  while (now_ns < kStartNs + 10 * kSecondNs) {
    now_ns += pace_ns;
    now_ns += each_ns;
    taken_ns += each_ns;
    const bool fine = budget.measures(now_ns) ? budget.SentMeasured(now_ns, each_ns)
                                              : budget.SentUnmeasured(now_ns, each_ns);
    if (!fine) return taken_ns;
  }
  return -1;
}

TEST(SignalBudgetTest, AttackW11ExpensiveSignalsTakeFiftyMillisecondsAndOneCall) {
  for (const int64_t each_ns : {100'000, 300'000, 1'000'000, 5'000'000, 25'000'000, 313'000'000}) {
    const int64_t taken_ns = TakenBy(each_ns, 2 * kMillisecondNs);
    EXPECT_NE(taken_ns, -1) << each_ns;
    EXPECT_LE(taken_ns, 50 * kMillisecondNs + each_ns) << each_ns;
    EXPECT_GE(taken_ns, 12 * kMillisecondNs) << each_ns;
  }
}

TEST(SignalBudgetTest, UsualSignalsAreNeverTooExpensive) {
  for (const int64_t each_ns : {1'000, 5'000, 19'000, 49'000}) {
    EXPECT_EQ(TakenBy(each_ns, 1'000), -1);
  }
}

// A thread that wakes its peer on its own processor is slow on the wall each time.
TEST(SignalBudgetTest, SlowOnTheWallAloneIsNotCharged) {
  SignalBudget budget(0);
  int64_t now_ns = kStartNs;
  for (int i = 0; i < 1'000'000; ++i) {
    now_ns += 3 * kMillisecondNs;
    ASSERT_TRUE(budget.measures(now_ns) ? budget.SentMeasured(now_ns, 4'000)
                                        : budget.SentUnmeasured(now_ns, 3 * kMillisecondNs));
  }
}

// Interrupts are charged to whoever runs: a few slow ones among many are no sign of anything.
TEST(SignalBudgetTest, AFewSlowOnesArePaidForByTheCheapOnes) {
  SignalBudget budget(0);
  int64_t now_ns = kStartNs;
  for (int i = 0; i < 1'000'000; ++i) {
    const int64_t cost_ns = i % 100 == 0 ? 400'000 : 5'000;
    now_ns += 10'000 + cost_ns;
    ASSERT_TRUE(budget.measures(now_ns) ? budget.SentMeasured(now_ns, cost_ns)
                                        : budget.SentUnmeasured(now_ns, cost_ns))
        << i;
  }
}

}  // namespace
}  // namespace parley::internal

// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/budgets.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/wait/wait_options.h"
#include "parley/wait/wait_stats.h"

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

TEST(RateBudgetTest, NoTimeForAUnitIsTheShortestTime) {
  for (const int64_t refill_ns : {int64_t{1}, int64_t{0}, int64_t{-7}}) {
    RateBudget budget(1, refill_ns);
    EXPECT_TRUE(budget.was_full()) << refill_ns;
    EXPECT_TRUE(budget.Take(kStartNs)) << refill_ns;
    EXPECT_FALSE(budget.Take(kStartNs)) << refill_ns;
    EXPECT_TRUE(budget.Take(kStartNs + 1)) << refill_ns;
  }
}

TEST(RateBudgetTest, WasFullSaysWhetherTheLastTakeFoundAll) {
  RateBudget budget(2, kSecondNs);
  EXPECT_TRUE(budget.Take(kStartNs));
  EXPECT_TRUE(budget.was_full());
  EXPECT_TRUE(budget.Take(kStartNs));
  EXPECT_FALSE(budget.was_full());
  budget.GiveBack(1);
  EXPECT_TRUE(budget.Take(kStartNs));
  EXPECT_FALSE(budget.was_full());
  EXPECT_TRUE(budget.Take(kStartNs + 3 * kSecondNs));
  EXPECT_TRUE(budget.was_full());
  budget.GiveAllBack();
  EXPECT_TRUE(budget.Take(kStartNs + 3 * kSecondNs));
  EXPECT_TRUE(budget.was_full());
  EXPECT_TRUE(budget.Take(kStartNs + 3 * kSecondNs));
  EXPECT_FALSE(budget.Take(kStartNs + 3 * kSecondNs));
}

// What is left of a unit's time counts for the next one, and none of it before `EarnFrom`.
TEST(RateBudgetTest, TimeIsCountedFromWhereTheLastUnitWasEarned) {
  RateBudget budget(1, kSecondNs);
  EXPECT_TRUE(budget.Take(kStartNs));
  budget.GiveBack(1);
  EXPECT_TRUE(budget.Take(kStartNs));
  EXPECT_FALSE(budget.Take(kStartNs + kSecondNs - 1));
  EXPECT_TRUE(budget.Take(kStartNs + kSecondNs));
  budget.EarnFrom(kStartNs + 10 * kSecondNs);
  budget.EarnFrom(kStartNs);  // earlier than that: nothing new
  EXPECT_FALSE(budget.Take(kStartNs + 11 * kSecondNs - 1));
  EXPECT_TRUE(budget.Take(kStartNs + 11 * kSecondNs));
}

// Few wake-ups and few throttles, which time does not give back within a test.
WaitOptions Frugal(int wakeups, int throttles) {
  WaitOptions options;
  options.spurious_wakeups = wakeups;
  options.spurious_refill = absl::Hours(1000);
  options.throttles = throttles;
  options.throttle_refill = absl::Hours(1000);
  options.throttle_time = absl::Milliseconds(3);
  return options;
}

// "gggtttf": what one wake-up after another is answered by.
std::string Verdicts(WakeBudget& budget, const std::string& wakeups, int64_t now_ns = kStartNs) {
  std::string verdicts;
  for (const char wakeup : wakeups) {
    switch (wakeup == 's' ? budget.Spurious(now_ns) : budget.Little(now_ns)) {
      case Verdict::kGoOn:
        verdicts += 'g';
        break;
      case Verdict::kThrottle:
        verdicts += 't';
        break;
      case Verdict::kFlood:
        verdicts += 'f';
        break;
    }
  }
  return verdicts;
}

TEST(WakeBudgetTest, EachVerdictComesAfterSoMany) {
  for (const int wakeups : {0, 1, 2, 5}) {
    for (const int throttles : {0, 1, 3}) {
      WakeBudget budget(Frugal(wakeups, throttles));
      const auto go_on = static_cast<std::size_t>(wakeups);
      const auto throttle = static_cast<std::size_t>(throttles);
      EXPECT_EQ(Verdicts(budget, std::string(go_on + throttle + 2, 's')),
                std::string(go_on, 'g') + std::string(throttle, 't') + "ff");
      // Progress gives the throttles back, and two wake-ups for each step of it.
      budget.Refund(0);
      EXPECT_EQ(Verdicts(budget, std::string(throttle + 1, 's')), std::string(throttle, 't') + "f");
      budget.Refund(1);
      const auto two = static_cast<std::size_t>(std::min(2, wakeups));
      EXPECT_EQ(Verdicts(budget, std::string(two + throttle + 1, 's')),
                std::string(two, 'g') + std::string(throttle, 't') + "f");
    }
  }
}

// A little progress is throttled without end, and shows that the peer is no enemy: the throttles
// for wake-ups that bring nothing are all there again.
TEST(WakeBudgetTest, ALittleProgressGivesTheThrottlesBack) {
  WakeBudget budget(Frugal(2, 3));
  EXPECT_EQ(Verdicts(budget,
                     "sl"
                     "sss"
                     "l"
                     "sss"
                     "s"
                     "lll"
                     "sss"
                     "s"),
            "gg"
            "ttt"
            "t"
            "ttt"
            "f"
            "ttt"
            "ttt"
            "f");
}

TEST(WakeBudgetTest, AThrottleIsTwiceAsLongEachTimeOnceTheFirstDidNotHelp) {
  for (const int throttles : {0, 1, 3}) {
    WakeBudget budget(Frugal(4, throttles));
    EXPECT_EQ(budget.throttle_ns(), 3 * kMillisecondNs);
    for (const bool again : {false, true}) {
      EXPECT_EQ(Verdicts(budget, "llll"), "gggg");
      int64_t expected_ns = 3 * kMillisecondNs;
      for (int i = 1; i <= throttles + 100; ++i) {
        ASSERT_EQ(Verdicts(budget, "l"), "t");
        if (i > throttles) expected_ns = std::min(2 * expected_ns, 16 * 3 * kMillisecondNs);
        EXPECT_EQ(budget.throttle_ns(), expected_ns) << throttles << " " << i << " " << again;
      }
      budget.Refund(2);  // all the wake-ups: as at first
    }
  }
}

TEST(WaitOptionsTest, TheDefaultsAreTheOnesOfTheManual) {
  for (const WaitOptions& options : {WaitOptions(), WaitOptions::Balanced()}) {
    EXPECT_EQ(options.max_spin, absl::Microseconds(100));
    EXPECT_EQ(options.spin_budget, 0.02);
    EXPECT_EQ(options.spurious_wakeups, 64);
    EXPECT_EQ(options.spurious_refill, absl::Milliseconds(4));
    EXPECT_EQ(options.throttles, 64);
    EXPECT_EQ(options.throttle_refill, absl::Seconds(1));
    EXPECT_EQ(options.throttle_time, absl::Milliseconds(1));
    EXPECT_EQ(options.signaller, nullptr);
  }
  EXPECT_EQ(WaitOptions::LowestLatency().max_spin, absl::Seconds(1));
  EXPECT_EQ(WaitOptions::LowestLatency().spin_budget, 1);
  EXPECT_EQ(WaitOptions::LowestPower().max_spin, absl::ZeroDuration());
}

TEST(WaitStatsTest, NothingIsCountedAtFirst) {
  const WaitStats stats;
  EXPECT_EQ(stats.waits, 0u);
  EXPECT_EQ(stats.sleeps, 0u);
  EXPECT_EQ(stats.wakeups, 0u);
  EXPECT_EQ(stats.spurious_wakeups, 0u);
  EXPECT_EQ(stats.throttles, 0u);
  EXPECT_EQ(stats.signals, 0u);
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

constexpr int64_t kUsualNs = SignalBudget::kMinUsualNs;
constexpr int64_t kMaxNs = SignalBudget::kMaxSpentNs;
constexpr int64_t kEachNs = SignalBudget::kMeasuredEachNs;

// A signal is measured where the last measurement is old, and some times after a slow one.
TEST(SignalBudgetTest, WhichSignalsAreMeasured) {
  EXPECT_FALSE(SignalBudget(0).measures(kEachNs - 1));
  EXPECT_TRUE(SignalBudget(0).measures(kEachNs));
  EXPECT_TRUE(SignalBudget(0).measures(kStartNs));

  SignalBudget budget(0);
  EXPECT_TRUE(budget.SentMeasured(kStartNs, kUsualNs));  // as much as is free: not slow
  EXPECT_FALSE(budget.measures(kStartNs));
  EXPECT_FALSE(budget.measures(kStartNs + kEachNs - 1));
  EXPECT_TRUE(budget.measures(kStartNs + kEachNs));
  EXPECT_TRUE(budget.SentUnmeasured(kStartNs, kUsualNs));
  EXPECT_FALSE(budget.measures(kStartNs));
  for (const bool measured : {false, true}) {
    // Slow by either clock.
    EXPECT_TRUE(measured ? budget.SentMeasured(kStartNs, kUsualNs + 1)
                         : budget.SentUnmeasured(kStartNs, kUsualNs + 1));
    for (int i = 0; i < SignalBudget::kMeasuredAfterSlow; ++i) {
      EXPECT_TRUE(budget.measures(kStartNs)) << i;
      EXPECT_TRUE(budget.SentMeasured(kStartNs, 0));
    }
    EXPECT_FALSE(budget.measures(kStartNs));
    EXPECT_TRUE(budget.SentMeasured(kStartNs, 0));
    EXPECT_FALSE(budget.measures(kStartNs));
  }
}

// The bound is exact: what was spent beyond the usual may be kMaxSpentNs, and no more.
TEST(SignalBudgetTest, TheBoundIsExact) {
  for (const int64_t over_ns : {0, 1}) {
    SignalBudget at_once(0);
    EXPECT_EQ(at_once.SentMeasured(kStartNs, kMaxNs + kUsualNs + over_ns), over_ns == 0);
    SignalBudget after_a_cheap_one(0);
    EXPECT_TRUE(after_a_cheap_one.SentMeasured(kStartNs, 0));
    EXPECT_EQ(after_a_cheap_one.SentMeasured(kStartNs, kMaxNs + kUsualNs + over_ns), over_ns == 0);
    SignalBudget in_two(0);
    EXPECT_TRUE(in_two.SentMeasured(kStartNs, kMaxNs / 2 + kUsualNs));
    EXPECT_EQ(in_two.SentMeasured(kStartNs, kMaxNs / 2 + kUsualNs + over_ns), over_ns == 0);
    // A cheap one pays for an expensive one.
    SignalBudget paid(0);
    EXPECT_TRUE(paid.SentMeasured(kStartNs, kMaxNs + kUsualNs));
    EXPECT_TRUE(paid.SentMeasured(kStartNs, 0));
    EXPECT_EQ(paid.SentMeasured(kStartNs, 2 * kUsualNs + over_ns), over_ns == 0);
    // Time gives back a thousandth of itself, once.
    SignalBudget later(0);
    EXPECT_TRUE(later.SentMeasured(kStartNs, kMaxNs + kUsualNs));
    EXPECT_EQ(later.SentMeasured(kStartNs + kSecondNs, kMillisecondNs + kUsualNs + over_ns),
              over_ns == 0);
    SignalBudget twice(0);
    EXPECT_TRUE(twice.SentMeasured(kStartNs, kMaxNs + kUsualNs));
    EXPECT_TRUE(twice.SentMeasured(kStartNs + kSecondNs, kMillisecondNs + kUsualNs));
    EXPECT_EQ(twice.SentMeasured(kStartNs + kSecondNs, kUsualNs + over_ns), over_ns == 0);
  }
}

// One that was slow on the wall and not measured is charged as the next one: at most as long as it
// took itself, and once.
TEST(SignalBudgetTest, ASlowOneIsChargedAsTheOneAfterIt) {
  struct Row {
    int64_t wall_ns, cpu_ns, charged_ns;
  };
  for (const Row& row :
       {Row{10'000'000, 10'000'000, 2 * (10'000'000 - kUsualNs)},
        Row{3'000'000, 10'000'000, 13'000'000 - 2 * kUsualNs},
        Row{90'000'000, 7'000'000, 2 * (7'000'000 - kUsualNs)}, Row{90'000'000, kUsualNs, 0},
        Row{kUsualNs, 5'000'000, 5'000'000 - kUsualNs}}) {
    for (const int64_t over_ns : {0, 1}) {
      SignalBudget budget(0);
      EXPECT_TRUE(budget.SentUnmeasured(kStartNs, row.wall_ns));
      EXPECT_TRUE(budget.SentMeasured(kStartNs, row.cpu_ns));
      EXPECT_EQ(budget.SentMeasured(kStartNs, kMaxNs - row.charged_ns + kUsualNs + over_ns),
                over_ns == 0)
          << row.wall_ns << " " << row.cpu_ns;
    }
  }
}

// What a signal usually costs on a slow machine is free there.
TEST(SignalBudgetTest, WhatIsUsualIsFree) {
  for (const int64_t usual_ns : {kUsualNs - 1, kUsualNs, 2 * kUsualNs, 9 * kUsualNs}) {
    const int64_t free_ns = std::max(usual_ns, kUsualNs);
    SignalBudget budget(usual_ns);
    EXPECT_TRUE(budget.SentUnmeasured(kStartNs, free_ns));
    EXPECT_FALSE(budget.measures(kEachNs - 1));
    EXPECT_TRUE(budget.SentMeasured(kStartNs, free_ns + kMaxNs));
    EXPECT_FALSE(budget.SentMeasured(kStartNs, free_ns + 1));
  }
}

}  // namespace
}  // namespace parley::internal

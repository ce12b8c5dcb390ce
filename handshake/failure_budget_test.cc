// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/failure_budget.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

namespace parley::internal {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

struct Taken {
  int64_t count = 0;
  int64_t spent_ns = 0;
  int64_t longest_pause_ns = 0;
};
// A queue that is never empty, for a second, as a server takes it: each costs `cpu_ns`.
Taken TakeForASecond(FailureBudget& budget, int64_t cpu_ns) {
  Taken taken;
  int64_t now_ns = 5 * kSecondNs;
  for (const int64_t end_ns = now_ns + kSecondNs; now_ns < end_ns;) {
    int64_t pause_ns = 0;
    for (int i = 0; i < 16 && pause_ns < FailureBudget::kWorthwhilePauseNs; ++i) {
      now_ns += cpu_ns + FailureBudget::kEachNs;
      taken.spent_ns += cpu_ns + FailureBudget::kEachNs;
      ++taken.count;
      budget.Charge(now_ns, cpu_ns);
      pause_ns = budget.PauseNs(now_ns);
    }
    taken.longest_pause_ns = std::max(taken.longest_pause_ns, pause_ns);
    now_ns += pause_ns;
  }
  return taken;
}

// 30 us is what a stranger costs whom the policy refuses at accept. An honest peer waits behind
// fifteen hundred of them for less than a second.
TEST(FailureBudgetTest, AttackH15AQueueOfCheapOnesIsGoneThroughQuickly) {
  FailureBudget budget;
  const Taken taken = TakeForASecond(budget, 30'000);
  EXPECT_GT(taken.count, 2000);
  EXPECT_LT(taken.longest_pause_ns, 5'000'000);
}

TEST(FailureBudgetTest, PromiseP3WorkTheyTakeATenthOfAProcessor) {
  for (const int64_t cpu_ns : {0, 1'000, 30'000, 100'000, 1'000'000, 1'900'000}) {
    FailureBudget budget;
    const Taken taken = TakeForASecond(budget, cpu_ns);
    EXPECT_LE(taken.spent_ns, kSecondNs / FailureBudget::kPart + FailureBudget::kBurstNs +
                                  2 * (cpu_ns + FailureBudget::kEachNs) +
                                  FailureBudget::kWorthwhilePauseNs / FailureBudget::kPart)
        << cpu_ns;
    EXPECT_GE(taken.spent_ns, kSecondNs / 12) << cpu_ns;
  }
}

// However expensive one is, it stops nobody else from being let in for longer, and is the only one
// in that time.
TEST(FailureBudgetTest, PromiseP2TimeNoPauseIsLongerThanTheLongest) {
  FailureBudget budget;
  const Taken taken = TakeForASecond(budget, 5'000'000);
  EXPECT_EQ(taken.longest_pause_ns, FailureBudget::kMaxPauseNs);
  EXPECT_LE(taken.count, 1 + kSecondNs / (FailureBudget::kMaxPauseNs + 5'000'000) + 2);
  budget.Charge(10 * kSecondNs, 100 * kSecondNs);
  EXPECT_EQ(budget.PauseNs(10 * kSecondNs), FailureBudget::kMaxPauseNs);
  EXPECT_EQ(budget.PauseNs(10 * kSecondNs + FailureBudget::kMaxPauseNs), 0);
}

TEST(FailureBudgetTest, TimeGivesItBackAndNoMoreThanABurst) {
  FailureBudget budget;
  budget.Charge(kSecondNs, FailureBudget::kBurstNs);
  EXPECT_GT(budget.PauseNs(kSecondNs), 0);
  EXPECT_EQ(budget.PauseNs(1000 * kSecondNs), 0);
  budget.Charge(1000 * kSecondNs, FailureBudget::kBurstNs - FailureBudget::kEachNs);
  EXPECT_EQ(budget.PauseNs(1000 * kSecondNs), 0);
  budget.Charge(1000 * kSecondNs, 0);
  EXPECT_GT(budget.PauseNs(1000 * kSecondNs), 0);
  // A clock that stands still, or a time before the last one, gives nothing.
  EXPECT_GT(budget.PauseNs(999 * kSecondNs), 0);
}

}  // namespace
}  // namespace parley::internal

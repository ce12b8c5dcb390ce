// SPDX-License-Identifier: Apache-2.0
#include "parley/wait_set/timer_queue.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace parley::internal {
namespace {

TEST(TimerQueueTest, AnEmptyQueueHasNothing) {
  TimerQueue queue;
  EXPECT_EQ(queue.next_ns(), TimerQueue::kNever);
  EXPECT_EQ(queue.PopExpired(TimerQueue::kNever - 1), nullptr);
}

TEST(TimerQueueTest, TheEarliestComesFirstAndOnlyWhenItIsDue) {
  TimerQueue queue;
  std::vector<Timer> timers(3);
  queue.Set(&timers[0], 30);
  queue.Set(&timers[1], 10);
  queue.Set(&timers[2], 20);
  EXPECT_EQ(queue.PopExpired(9), nullptr);
  EXPECT_EQ(queue.PopExpired(25), &timers[1]);
  EXPECT_FALSE(timers[1].set());
  EXPECT_EQ(queue.PopExpired(25), &timers[2]);
  EXPECT_EQ(queue.PopExpired(25), nullptr);
  EXPECT_EQ(queue.next_ns(), 30);
}

// Next to an ordered set of (time, timer), by random steps.
TEST(TimerQueueTest, AgreesWithAnOrderedSet) {
  std::mt19937 random(1);
  std::vector<Timer> timers(100);
  TimerQueue queue;
  std::set<std::pair<int64_t, Timer*>> model;
  for (int step = 0; step < 20'000; ++step) {
    Timer* const timer = &timers[random() % timers.size()];
    switch (random() % 3) {
      case 0: {
        const int64_t at_ns = static_cast<int64_t>(random() % 50);
        model.erase({timer->at_ns, timer});
        queue.Set(timer, at_ns);
        model.insert({at_ns, timer});
        break;
      }
      case 1:
        model.erase({timer->at_ns, timer});
        queue.Cancel(timer);
        break;
      default: {
        const int64_t now_ns = static_cast<int64_t>(random() % 50);
        Timer* const popped = queue.PopExpired(now_ns);
        const bool due = !model.empty() && model.begin()->first <= now_ns;
        ASSERT_EQ(popped != nullptr, due);
        if (!due) break;
        // Of several that are due at once any may come first.
        ASSERT_EQ(popped->at_ns, model.begin()->first);
        ASSERT_EQ(model.erase({popped->at_ns, popped}), 1u);
        break;
      }
    }
    ASSERT_EQ(queue.size(), model.size());
    ASSERT_EQ(queue.next_ns(), model.empty() ? TimerQueue::kNever : model.begin()->first);
  }
}

}  // namespace
}  // namespace parley::internal

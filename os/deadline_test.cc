// SPDX-License-Identifier: Apache-2.0
#include "parley/os/deadline.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/time.h>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/poll.h"
#include "parley/os/unique_fd.h"

namespace parley {
namespace {

TEST(DeadlineTest, PastAndHugeDurations) {
  EXPECT_TRUE(Deadline::After(absl::Seconds(-5)).Expired());
  EXPECT_EQ(Deadline::After(absl::Seconds(-5)).Remaining(), absl::ZeroDuration());
  const Deadline huge = Deadline::After(absl::InfiniteDuration());
  EXPECT_FALSE(huge.Expired());
  EXPECT_GT(huge.Remaining(), absl::Hours(24 * 365 * 9));
}

TEST(DeadlineTest, OrTakesTheEarlier) {
  const Deadline early = Deadline::AtMonotonicNs(5);
  const Deadline late = Deadline::AtMonotonicNs(9);
  EXPECT_EQ(early.Or(late).monotonic_ns(), 5);
  EXPECT_EQ(late.Or(early).monotonic_ns(), 5);
}

TEST(DeadlineTest, SignalsDoNotStretchAPoll) {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  struct sigaction before = {};
  ASSERT_EQ(::sigaction(SIGALRM, &action, &before), 0);
  itimerval storm = {};
  storm.it_interval.tv_usec = 1000;
  storm.it_value.tv_usec = 1000;
  ASSERT_EQ(::setitimer(ITIMER_REAL, &storm, nullptr), 0);

  UniqueFd never(::eventfd(0, EFD_CLOEXEC));
  pollfd entry = {never.get(), POLLIN, 0};
  const int64_t start_ns = MonotonicNowNs();
  auto ready = PollUntil(absl::MakeSpan(&entry, 1), Deadline::After(absl::Milliseconds(50)));
  const int64_t took_ns = MonotonicNowNs() - start_ns;

  storm = {};
  ::setitimer(ITIMER_REAL, &storm, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  ASSERT_TRUE(ready.ok());
  EXPECT_EQ(*ready, 0);
  EXPECT_GE(took_ns, 50'000'000);
  // A restart with the full time would take for ever under this storm; a loaded machine may be
  // late.
  EXPECT_LT(took_ns, 5'000'000'000);
}

TEST(PollTest, LooksOnceEvenWhenTheDeadlineIsPast) {
  UniqueFd ready_fd(::eventfd(1, EFD_CLOEXEC));
  pollfd entry = {ready_fd.get(), POLLIN, 0};
  auto ready = PollUntil(absl::MakeSpan(&entry, 1), Deadline::AtMonotonicNs(0));
  ASSERT_TRUE(ready.ok());
  EXPECT_EQ(*ready, 1);
}

}  // namespace
}  // namespace parley

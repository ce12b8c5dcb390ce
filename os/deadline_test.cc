// SPDX-License-Identifier: Apache-2.0
#include "parley/os/deadline.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/poll.h"
#include "parley/os/unique_fd.h"

namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
std::atomic<int64_t> frozen_at_ns{-1};

int RealClock(clockid_t clock, timespec* now) {
  using Function = int (*)(clockid_t, timespec*);
  // SAFETY: dlsym gives functions as void*; this one has that type in every C library.
  static const auto next = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "clock_gettime"));
  return next(clock, now);
}

}  // namespace

// Before the C library's, for all of this program.
extern "C" int clock_gettime(clockid_t clock, timespec* now) noexcept {
  const int64_t at_ns = frozen_at_ns.load();
  if (at_ns < 0 || clock != CLOCK_MONOTONIC) return RealClock(clock, now);
  *now = {at_ns / kSecondNs, at_ns % kSecondNs};
  return 0;
}

namespace parley {
namespace {

class FrozenClock {
 public:
  explicit FrozenClock(int64_t at_ns) { frozen_at_ns.store(at_ns); }
  ~FrozenClock() { frozen_at_ns.store(-1); }
  FrozenClock(const FrozenClock&) = delete;
  FrozenClock& operator=(const FrozenClock&) = delete;
};

TEST(DeadlineTest, ToTheNanosecond) {
  constexpr int64_t kNow = 5 * kSecondNs + 700;
  constexpr int64_t kTenYears = int64_t{10} * 365 * 24 * 3600 * kSecondNs;
  const FrozenClock clock(kNow);
  EXPECT_EQ(MonotonicNowNs(), kNow);

  const struct {
    absl::Duration from_now;
    int64_t then_ns;
  } durations[] = {
      {-absl::InfiniteDuration(), 0},
      {absl::Nanoseconds(-1), 0},
      {absl::ZeroDuration(), 0},
      {absl::Nanoseconds(1), 1},
      {absl::Seconds(3), 3 * kSecondNs},
      {absl::Nanoseconds(kTenYears), kTenYears},
      {absl::Nanoseconds(kTenYears + 1), kTenYears},
      {absl::InfiniteDuration(), kTenYears},
  };
  for (const auto& row : durations) {
    EXPECT_EQ(Deadline::After(row.from_now).monotonic_ns(), kNow + row.then_ns) << row.from_now;
  }
  EXPECT_EQ(Deadline::Never().monotonic_ns(), kNow + kTenYears);

  const struct {
    int64_t from_now_ns;
    bool expired;
    int64_t remaining_ns;
    timespec remaining;
  } points[] = {
      {-kNow, true, 0, {0, 0}},
      {-1, true, 0, {0, 0}},
      {0, true, 0, {0, 0}},
      {1, false, 1, {0, 1}},
      {kSecondNs - 1, false, kSecondNs - 1, {0, kSecondNs - 1}},
      {kSecondNs, false, kSecondNs, {1, 0}},
      {2 * kSecondNs + 5, false, 2 * kSecondNs + 5, {2, 5}},
  };
  for (const auto& row : points) {
    const Deadline deadline = Deadline::AtMonotonicNs(kNow + row.from_now_ns);
    EXPECT_EQ(deadline.Expired(), row.expired) << row.from_now_ns;
    EXPECT_EQ(deadline.Remaining(), absl::Nanoseconds(row.remaining_ns)) << row.from_now_ns;
    EXPECT_EQ(deadline.RemainingTimespec().tv_sec, row.remaining.tv_sec) << row.from_now_ns;
    EXPECT_EQ(deadline.RemainingTimespec().tv_nsec, row.remaining.tv_nsec) << row.from_now_ns;
  }
}

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

// The number of those that are ready, whatever an earlier call left in errno.
TEST(PollTest, CountsThoseThatAreReady) {
  const UniqueFd ready(::eventfd(1, EFD_CLOEXEC));
  const UniqueFd idle(::eventfd(0, EFD_CLOEXEC));
  const struct {
    std::vector<int> descriptors;
    int ready;
  } rows[] = {
      {{}, 0},
      {{idle.get()}, 0},
      {{ready.get()}, 1},
      {{ready.get(), idle.get(), ready.get()}, 2},
  };
  for (const auto& row : rows) {
    std::vector<pollfd> entries;
    for (const int fd : row.descriptors) entries.push_back({fd, POLLIN, 0});
    for (const int error : {0, EINTR, EBADF}) {
      errno = error;
      const auto answer = PollUntil(absl::MakeSpan(entries), Deadline::AtMonotonicNs(0));
      ASSERT_TRUE(answer.ok()) << answer.status();
      EXPECT_EQ(*answer, row.ready);
    }
  }
}

TEST(PollTest, AnErrorIsNoTimeout) {
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few = {16, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  std::vector<pollfd> too_many(17, pollfd{-1, POLLIN, 0});
  const auto answer = PollUntil(absl::MakeSpan(too_many), Deadline::After(absl::Seconds(5)));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_FALSE(answer.ok());
  EXPECT_EQ(std::string(answer.status().message()).find("cannot poll: "), 0u) << answer.status();
}

}  // namespace
}  // namespace parley

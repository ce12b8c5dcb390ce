// SPDX-License-Identifier: Apache-2.0

// Which reason wakes whom, and how often the descriptor is written: each state, each reason.

#include "parley/wait/local_wake.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"

namespace parley::internal {
namespace {

constexpr uint32_t kSignal = LocalWake::kSignal;
constexpr uint32_t kCheck = LocalWake::kCheck;
constexpr uint32_t kInterrupt = LocalWake::kInterrupt;
constexpr int64_t kNowNs = 5'000'000'000;

struct LocalWakeTest : ::testing::Test {
  LocalWake wake{UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))};

  // How often it was written since the last call.
  uint64_t Writes() {
    uint64_t count = 0;
    return ::read(wake.fd(), &count, sizeof(count)) == sizeof(count) ? count : 0;
  }
  bool Readable() {
    pollfd entry = {wake.fd(), POLLIN, 0};
    return ::poll(&entry, 1, 0) == 1;
  }
};

// Each subset of the reasons, before and after; asleep or not; throttled or not.
TEST_F(LocalWakeTest, APostWritesOnceWhereItWakesASleeper) {
  for (const bool throttled : {false, true}) {
    const auto wakes = [&](uint32_t reasons) {
      return (reasons & (kCheck | kInterrupt)) != 0 || ((reasons & kSignal) != 0 && !throttled);
    };
    wake.SetThrottled(throttled ? kNowNs : 0);
    for (const bool asleep : {false, true}) {
      for (uint32_t before = 0; before < 8; ++before) {
        for (const uint32_t reason : {kSignal, kCheck, kInterrupt}) {
          SCOPED_TRACE(::testing::Message() << throttled << asleep << before << reason);
          if (asleep) wake.BeginPolledSleep();
          for (const uint32_t one : {kSignal, kCheck, kInterrupt}) {
            if ((before & one) != 0) {
              EXPECT_TRUE(wake.Post(one));
            }
          }
          EXPECT_EQ(Writes(), asleep && wakes(before) ? 1u : 0u);
          EXPECT_EQ(wake.Post(reason), (before & reason) == 0);
          EXPECT_EQ(Writes(), asleep && !wakes(before) && wakes(before | reason) ? 1u : 0u);
          // All of them are there, and are taken once each.
          for (const uint32_t one : {kSignal, kCheck, kInterrupt}) {
            const bool there = ((before | reason) & one) != 0;
            EXPECT_EQ(wake.Has(one), there);
            EXPECT_EQ(wake.Take(one), there);
            EXPECT_FALSE(wake.Has(one));
            EXPECT_FALSE(wake.Take(one));
          }
          EXPECT_FALSE(wake.Has(kSignal | kCheck | kInterrupt));
          wake.EndSleep();
        }
      }
    }
  }
}

TEST_F(LocalWakeTest, AReasonThatIsThereLetsNobodySleep) {
  for (const bool throttled : {false, true}) {
    wake.SetThrottled(throttled ? kNowNs : 0);
    for (uint32_t there = 0; there < 8; ++there) {
      SCOPED_TRACE(::testing::Message() << throttled << there);
      const bool sleeps =
          (there & (kCheck | kInterrupt)) == 0 && ((there & kSignal) == 0 || throttled);
      for (const uint32_t one : {kSignal, kCheck, kInterrupt}) {
        if ((there & one) != 0) wake.Post(one);
      }
      EXPECT_EQ(wake.BeginSleep(), sleeps);
      EXPECT_FALSE(Readable());
      wake.EndSleep();
      // For an event loop it is the descriptor that says so.
      wake.BeginPolledSleep();
      EXPECT_EQ(Readable(), !sleeps);
      EXPECT_EQ(Writes(), sleeps ? 0u : 1u);
      wake.EndSleep();
      static_cast<void>(wake.Take(kSignal | kCheck | kInterrupt));
    }
  }
}

TEST_F(LocalWakeTest, WhoeverIsAwakeCostsNoWrite) {
  ASSERT_TRUE(wake.BeginSleep());
  wake.EndSleep();
  wake.Post(kInterrupt);
  EXPECT_EQ(Writes(), 0u);
  EXPECT_FALSE(wake.BeginSleep());  // and is awake after that
  EXPECT_TRUE(wake.Take(kInterrupt));
  wake.Post(kInterrupt);
  EXPECT_EQ(Writes(), 0u);
  EXPECT_TRUE(wake.Take(kInterrupt));
  ASSERT_TRUE(wake.BeginSleep());
  wake.Post(kSignal);
  EXPECT_EQ(Writes(), 1u);
}

TEST_F(LocalWakeTest, AThrottleEndsAtItsTimeAndIsTakenBackByZero) {
  EXPECT_EQ(wake.ThrottleEnd(0), 0);
  EXPECT_EQ(wake.ThrottleEnd(kNowNs), 0);
  wake.SetThrottled(kNowNs);
  EXPECT_EQ(wake.ThrottleEnd(kNowNs - 1), kNowNs);
  EXPECT_EQ(wake.ThrottleEnd(kNowNs), 0);
  EXPECT_EQ(wake.ThrottleEnd(kNowNs + 1), 0);
  wake.Post(kSignal);
  ASSERT_TRUE(wake.BeginSleep());  // deaf, until somebody ends it
  wake.EndSleep();
  wake.SetThrottled(0);
  EXPECT_EQ(wake.ThrottleEnd(kNowNs - 1), 0);
  EXPECT_FALSE(wake.BeginSleep());
}

// From a signal handler, say.
TEST_F(LocalWakeTest, APostKeepsTheErrorNumber) {
  const uint64_t full = UINT64_MAX - 1;
  ASSERT_EQ(::write(wake.fd(), &full, sizeof(full)), static_cast<ssize_t>(sizeof(full)));
  ASSERT_TRUE(wake.BeginSleep());
  errno = EXDEV;
  EXPECT_TRUE(wake.Post(kInterrupt));
  EXPECT_EQ(errno, EXDEV);
}

TEST_F(LocalWakeTest, WhatIsTakenIsAllThatWasWrittenAndTheForeignPartIsTold) {
  const auto add = [&](uint64_t count) {
    ASSERT_EQ(::write(wake.fd(), &count, sizeof(count)), static_cast<ssize_t>(sizeof(count)));
  };
  for (const uint64_t foreign : {uint64_t{0}, uint64_t{1}, uint64_t{5}}) {
    wake.BeginPolledSleep();
    for (int i = 0; i < 3; ++i) {
      wake.Post(kInterrupt);
      wake.Take(kInterrupt);
    }
    if (foreign != 0) add(foreign);
    EXPECT_TRUE(Readable());
    EXPECT_EQ(wake.TakeForeignCount(), foreign);
    EXPECT_FALSE(Readable());
    EXPECT_EQ(wake.TakeForeignCount(), 0u);  // and does not wait
  }
  // Who takes ours hides as many of its own, and no more.
  wake.Post(kInterrupt);
  EXPECT_EQ(Writes(), 1u);
  add(3);
  EXPECT_EQ(wake.TakeForeignCount(), 2u);
  add(1);
  EXPECT_EQ(wake.TakeForeignCount(), 1u);
  // Nor later than the next time.
  wake.Post(kCheck);
  EXPECT_EQ(Writes(), 0u);  // it has a reason already
  wake.Take(kInterrupt | kCheck);
  wake.Post(kInterrupt);
  EXPECT_EQ(Writes(), 1u);
  EXPECT_EQ(wake.TakeForeignCount(), 0u);
  add(1);
  EXPECT_EQ(wake.TakeForeignCount(), 1u);
}

TEST(LocalWakeWithoutDescriptorTest, SaysAllTheSameWhatIsThere) {
  LocalWake none(-1);
  EXPECT_EQ(none.fd(), -1);
  EXPECT_TRUE(none.BeginSleep());
  EXPECT_TRUE(none.Post(kSignal));
  EXPECT_FALSE(none.Post(kSignal));
  EXPECT_FALSE(none.BeginSleep());
  none.BeginPolledSleep();
  none.TakeForeignCount();
  EXPECT_TRUE(none.Take(kSignal));
}

TEST(LocalWakeWithoutDescriptorTest, OneOfSomebodyElsesIsNotClosed) {
  const UniqueFd shared(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  {
    const LocalWake wake(shared.get());
  }
  const uint64_t one = 1;
  EXPECT_EQ(::write(shared.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
}

}  // namespace
}  // namespace parley::internal

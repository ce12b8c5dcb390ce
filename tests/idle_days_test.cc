// SPDX-License-Identifier: Apache-2.0

// An honest pair that has little to say, for simulated days: no calling pattern looks like a flood,
// and no wake-up is lost. The clock that the library reads runs ahead of the kernel's by as much as
// this test wishes; sleeps are relative, so they take their real time. (Not with futexes: there the
// kernel compares a deadline with its own clock.)

#include <dlfcn.h>
#include <poll.h>
#include <time.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/channel/channel.h"
#include "parley/os/deadline.h"
#include "parley/testing/channel_pair.h"
#include "parley/tests/resources.h"

namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
std::atomic<int64_t> ahead_ns{0};

int RealClock(clockid_t clock, timespec* now) {
  using Function = int (*)(clockid_t, timespec*);
  // SAFETY: dlsym gives functions as void*; this one has that type in every C library.
  static const auto next = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "clock_gettime"));
  return next(clock, now);
}

}  // namespace

// Before the C library's, for all of this program.
extern "C" int clock_gettime(clockid_t clock, timespec* now) noexcept {
  const int result = RealClock(clock, now);
  if (result != 0 || clock != CLOCK_MONOTONIC) return result;
  const int64_t ns = now->tv_sec * kSecondNs + now->tv_nsec + ahead_ns.load();
  *now = {ns / kSecondNs, ns % kSecondNs};
  return 0;
}

namespace parley {
namespace {

constexpr int kCalls = 30'000;
// From the pace of a busy application to that of one which lies idle; 30 s on average, so that
// kCalls are ten days.
constexpr std::array<int64_t, 4> kPacesNs = {kSecondNs / 200, kSecondNs / 10, kSecondNs,
                                             120 * kSecondNs};
constexpr int kCallsPerMessage = 100;

Deadline Now() { return Deadline::AtMonotonicNs(MonotonicNowNs()); }
Deadline RealSeconds(int seconds) { return Deadline::After(absl::Seconds(seconds)); }

struct Kind {
  const char* name;
  bool eventfd;
};

class IdleDaysTest : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (IsSanitized()) GTEST_SKIP() << "a sanitizer has clock functions of its own";
    testing::ChannelPairOptions options;
    options.eventfd = GetParam().eventfd;
    options.wait = WaitOptions::LowestPower();
    auto made = testing::ChannelPair::Create(options);
    ASSERT_TRUE(made.ok()) << made.status();
    pair_ = *std::move(made);
    buffer_.resize(a().receiver.max_message_bytes());
    began_ns_ = MonotonicNowNs();
  }

  Channel& a() { return pair_->accepting(); }
  Channel& b() { return pair_->connecting(); }

  // `a` makes an idle call, time passes, and `b` waits for a moment; now and then there is a
  // message, which arrives.
  void IdleFor(const std::function<void()>& call_of_a, const std::function<bool()>& wait_of_b) {
    std::minstd_rand random(1);
    int got = 0;
    for (int i = 0; i < kCalls; ++i) {
      call_of_a();
      ahead_ns.fetch_add(kPacesNs[random() % kPacesNs.size()]);
      if (i % kCallsPerMessage == 0) {
        ASSERT_EQ(a().sender.TrySend(1, {}), Outcome::kOk) << i;
      }
      if (wait_of_b()) ++got;
      if (i % kCallsPerMessage == kCallsPerMessage - 1) {
        ASSERT_EQ(got, i / kCallsPerMessage + 1) << i;
      }
    }
    ExpectAllWell();
  }

  void ExpectAllWell() {
    EXPECT_GE(MonotonicNowNs() - began_ns_, 9 * 86'400 * kSecondNs);
    for (Channel* const end : {&a(), &b()}) {
      EXPECT_EQ(end->sender.violation(), Violation::kNone);
      EXPECT_EQ(end->receiver.violation(), Violation::kNone);
      EXPECT_EQ(end->sender.stats().throttles, 0u);
      EXPECT_EQ(end->receiver.stats().throttles, 0u);
    }
  }

  // True: a message.
  bool TryB() {
    Record record;
    return b().receiver.TryReceive(absl::MakeSpan(buffer_), &record) == Outcome::kOk;
  }
  bool BlockingB() { return b().receiver.Receive(absl::MakeSpan(buffer_), Now()).ok(); }
  // One round of a loop that polls both ends.
  static bool Round(Channel& channel, absl::Span<std::byte> buffer) {
    Record record;
    if (channel.receiver.TryReceive(buffer, &record) == Outcome::kOk) return true;
    const bool waits = channel.sender.PrepareToWait(1024);
    EXPECT_FALSE(waits);  // there is room all the time
    if (!channel.receiver.PrepareToWait()) return false;
    pollfd entry = {channel.receiver.descriptor(), POLLIN, 0};
    ::poll(&entry, 1, 0);
    EXPECT_TRUE(channel.receiver.FinishWait().ok());
    return channel.receiver.TryReceive(buffer, &record) == Outcome::kOk;
  }

  std::unique_ptr<testing::ChannelPair> pair_;
  std::vector<std::byte> buffer_;
  int64_t began_ns_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Doorbells, IdleDaysTest,
                         ::testing::Values(Kind{"Socket", false}, Kind{"Eventfd", true}),
                         [](const auto& kind) { return std::string(kind.param.name); });

TEST_P(IdleDaysTest, PublishWithNothingStaged) {
  IdleFor([&] { a().sender.Publish(); }, [&] { return BlockingB(); });
}

TEST_P(IdleDaysTest, PrepareAndFinish) {
  IdleFor(
      [&] {
        static_cast<void>(a().sender.PrepareToWait(8));
        if (a().receiver.PrepareToWait()) {
          EXPECT_TRUE(a().receiver.FinishWait().ok());
        }
      },
      [&] { return BlockingB(); });
}

TEST_P(IdleDaysTest, AwaitDrained) {
  IdleFor([&] { static_cast<void>(a().sender.AwaitDrained(Now())); }, [&] { return BlockingB(); });
}

TEST_P(IdleDaysTest, TriesAlone) {
  IdleFor(
      [&] {
        Record record;
        EXPECT_EQ(a().receiver.TryReceive(absl::MakeSpan(buffer_), &record), Outcome::kWouldBlock);
      },
      [&] { return TryB(); });
}

TEST_P(IdleDaysTest, EventLoops) {
  IdleFor([&] { EXPECT_FALSE(Round(a(), absl::MakeSpan(buffer_))); },
          [&] { return Round(b(), absl::MakeSpan(buffer_)); });
}

// A message for each call, each of which finds the other end asleep.
TEST_P(IdleDaysTest, SendToASleeper) {
  IdleFor(
      [&] {
        ASSERT_TRUE(a().sender.Send(2, {}, RealSeconds(20)).ok());
        ASSERT_TRUE(BlockingB());
        ASSERT_FALSE(BlockingB());  // announces a sleep, and finds nothing
      },
      [&] { return BlockingB(); });
}

// A thread waits at each end of `b`, an hour at a time, while `a` idles in all of these ways; what
// ends each wait is a wake-up.
TEST_P(IdleDaysTest, AThreadForEachDirection) {
  std::atomic<int> received{0};
  std::atomic<int> sent{0};
  std::thread receiving([&] {
    std::vector<std::byte> into(b().receiver.max_message_bytes());
    absl::Status status;
    while (status.ok() || absl::IsDeadlineExceeded(status)) {
      status = b().receiver.Receive(absl::MakeSpan(into), Deadline::After(absl::Hours(1))).status();
      received.fetch_add(status.ok() ? 1 : 0);
    }
  });
  const std::vector<std::byte> large(1024);
  std::thread sending([&] {
    absl::Status status;
    while (status.ok() || absl::IsDeadlineExceeded(status)) {
      status = b().sender.Send(1, large, Deadline::After(absl::Hours(1)));
      sent.fetch_add(status.ok() ? 1 : 0);
    }
  });
  const auto reaches = [](const std::atomic<int>& count, int wanted) {
    for (int i = 0; i < 200'000 && count.load() < wanted; ++i) {
      const timespec moment = {0, 100'000};
      ::nanosleep(&moment, nullptr);
    }
    return count.load() >= wanted;
  };
  EXPECT_TRUE(reaches(sent, 3));  // the ring of 4096 bytes is full
  std::minstd_rand random(1);
  int messages = 0;
  int taken = 0;
  for (int i = 0; i < kCalls && !HasFailure(); ++i) {
    a().sender.Publish();
    static_cast<void>(a().sender.PrepareToWait(8));
    static_cast<void>(a().sender.AwaitDrained(Now()));
    ahead_ns.fetch_add(kPacesNs[random() % kPacesNs.size()]);
    if (i % kCallsPerMessage != 0) continue;
    EXPECT_EQ(a().sender.TrySend(1, {}), Outcome::kOk);
    EXPECT_TRUE(reaches(received, ++messages)) << i;
    Record record;
    EXPECT_EQ(a().receiver.TryReceive(absl::MakeSpan(buffer_), &record), Outcome::kOk) << i;
    EXPECT_TRUE(reaches(sent, 3 + ++taken)) << i;
  }
  ExpectAllWell();
  a() = Channel();
  receiving.join();
  sending.join();
}

}  // namespace
}  // namespace parley

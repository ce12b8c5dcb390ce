// SPDX-License-Identifier: Apache-2.0

// A set and ports that do what the test says: what each is asked, what its handler is told, what
// the epoll costs; and what comes where the kernel refuses.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/testing/filter.h"
#include "parley/wait/waitable.h"
#include "parley/wait_set/wait_set.h"

namespace parley {
namespace {

using Armed = Waitable::Armed;
using Mode = WaitSet::Mode;
using Ran = WaitSet::Ran;
using absl::StatusCode;

Deadline In(int ms) { return Deadline::After(absl::Milliseconds(ms)); }
Deadline Now() { return Deadline::AtMonotonicNs(0); }
Deadline At(int64_t ns) { return Deadline::AtMonotonicNs(ns); }

// Of the sets of this file: so that timers expire when the test says so.
int64_t clock_ns = 1;
std::unique_ptr<WaitSet> MakeSet() {
  clock_ns = 1;
  return *WaitSet::Create([] { return clock_ns; });
}
// Those that wait for the kernel have its clock.
std::unique_ptr<WaitSet> MakeRealSet() { return *WaitSet::Create(); }

bool Readable(int fd, int ms = 0) {
  pollfd entry = {fd, POLLIN, 0};
  return ::poll(&entry, 1, ms) == 1;
}

// Readable while it is rung.
struct Bell {
  std::array<UniqueFd, 2> ends;
  Bell() {
    std::array<int, 2> made;
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, made.data()), 0);
    ends = {UniqueFd(made[0]), UniqueFd(made[1])};
  }
  int fd() const { return ends[0].get(); }
  void Ring() const { EXPECT_EQ(::write(ends[1].get(), "x", 1), 1); }
  void Quiet() const {
    char bytes[64];
    while (::read(fd(), bytes, sizeof(bytes)) > 0) {
    }
  }
  // Neither end can write any more.
  void Fill() const {
    const std::vector<char> much(1 << 16);
    while (::write(fd(), much.data(), much.size()) > 0) {
    }
  }
  void Drain() const {
    std::vector<char> much(1 << 16);
    while (::read(ends[1].get(), much.data(), much.size()) > 0) {
    }
  }
};

struct Port : Waitable {
  explicit Port(std::size_t descriptors = 2) : bells(descriptors) {
    for (const Bell& bell : bells) entries.push_back({bell.fd(), POLLIN, 0});
  }
  absl::Span<const pollfd> polled() override { return entries; }
  Armed Arm() override {
    ++armed;
    if (arms.empty()) return Armed::kSleeping;
    const Armed next = arms.front();
    arms.pop_front();
    return next;
  }
  void Disarm() override { ++disarmed; }
  bool TakeWakeUps(absl::Span<const short> revents, absl::Status* status) override {
    seen.emplace_back(revents.begin(), revents.end());
    if (on_take) on_take();
    if (tells.empty()) return false;
    *status = tells.front();
    tells.pop_front();
    return true;
  }
  int64_t throttled_until_ns() const override { return throttled_ns; }
  bool ended() const override { return is_ended; }

  std::vector<Bell> bells;
  std::vector<pollfd> entries;
  std::deque<Armed> arms;          // then it sleeps
  std::deque<absl::Status> tells;  // then wake-ups are for nothing
  std::function<void()> on_take;
  int64_t throttled_ns = 0;
  bool is_ended = false;

  int armed = 0;
  int disarmed = 0;
  std::vector<std::vector<short>> seen;
};

struct Told {
  std::vector<StatusCode> codes;
  absl::Status last;
  WaitSet::Handler handler() {
    return [this](const absl::Status& status) {
      codes.push_back(status.code());
      last = status;
    };
  }
};
using Codes = std::vector<StatusCode>;

// --- ports --------------------------------------------------------------------------------------

TEST(ScriptedPortTest, NothingIsCountedAtFirst) {
  auto set = MakeSet();
  EXPECT_EQ(set->stats().polls, 0u);
  EXPECT_EQ(set->stats().events, 0u);
  EXPECT_EQ(set->stats().handlers, 0u);
  EXPECT_EQ(set->stats().spurious, 0u);
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  EXPECT_EQ(set->stats().polls, 1u);
}

// An expired deadline is one look, whatever the clock does meanwhile.
TEST(ScriptedPortTest, ADeadlineThatIsNowHasPassed) {
  auto set = MakeSet();
  clock_ns = 100;
  EXPECT_EQ(set->RunOnce(At(100)), Ran::kDeadline);
  EXPECT_EQ(set->stats().polls, 1u);
}

TEST(ScriptedPortTest, APortIsArmedWhereItsModeSaysSo) {
  for (const Mode mode : {Mode::kAlways, Mode::kOnce}) {
    auto set = MakeSet();
    Port port;
    Told told;
    auto added = set->Add(&port, told.handler(), mode);
    ASSERT_TRUE(added.ok());
    EXPECT_TRUE(static_cast<bool>(*added));
    EXPECT_NE(port.watcher(), nullptr);
    EXPECT_EQ(port.armed, mode == Mode::kAlways ? 1 : 0);
    for (int i = 1; i <= 3; ++i) {
      added->Resume();
      added->Resume();  // it waits already
      EXPECT_EQ(port.armed, i);
      port.bells[0].Ring();
      port.tells = {absl::OkStatus()};
      EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
      port.bells[0].Quiet();
      EXPECT_EQ(told.codes, Codes(static_cast<std::size_t>(i), StatusCode::kOk));
      if (mode == Mode::kAlways) {
        EXPECT_EQ(port.armed, i + 1);
      }
      EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    }
  }
}

// What poll said of each descriptor, of this round alone; one call, however many are readable.
TEST(ScriptedPortTest, APortIsHandedWhatPollSaid) {
  for (std::size_t count = 1; count <= Waitable::kMaxDescriptors; ++count) {
    auto set = MakeSet();
    Port port(count);
    Told told;
    auto added = set->Add(&port, told.handler());
    ASSERT_TRUE(added.ok());
    for (std::size_t rung = 0; rung < count; ++rung) {
      port.bells[rung].Ring();
      EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
      std::vector<short> expected(count, 0);
      expected[rung] = POLLIN;
      ASSERT_EQ(port.seen.size(), rung + 1);
      EXPECT_EQ(port.seen.back(), expected);
      port.bells[rung].Quiet();
    }
    EXPECT_EQ(set->stats().spurious, count);
    for (const Bell& bell : port.bells) bell.Ring();
    EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    EXPECT_EQ(port.seen.size(), count + 1);
    EXPECT_EQ(port.seen.back(), std::vector<short>(count, POLLIN));
    for (const Bell& bell : port.bells) bell.Quiet();
    // Each time it announced its sleep anew, and once it was awake before that.
    EXPECT_EQ(port.armed, static_cast<int>(count) + 2);
    EXPECT_EQ(port.disarmed, static_cast<int>(count) + 1);
    EXPECT_EQ(set->stats().spurious, count + 1);
    EXPECT_TRUE(told.codes.empty());
    EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    EXPECT_EQ(port.seen.size(), count + 1);
  }
}

TEST(ScriptedPortTest, AHangUpIsHandedOverToo) {
  auto set = MakeSet();
  Port port(2);
  Told told;
  auto added = set->Add(&port, told.handler());
  ASSERT_TRUE(added.ok());
  port.bells[1].ends[1].Reset();
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  ASSERT_EQ(port.seen.size(), 1u);
  EXPECT_EQ(port.seen[0][0], 0);
  EXPECT_NE(port.seen[0][1] & POLLHUP, 0);
}

// What each answer of Arm comes to: with something to poll, and without.
TEST(ScriptedPortTest, WhatArmSaysIsDone) {
  for (const Mode mode : {Mode::kAlways, Mode::kOnce}) {
    {
      auto set = MakeSet();
      Port port;
      Told told;
      port.arms = {Armed::kReady};
      auto added = *set->Add(&port, told.handler(), mode);
      if (mode == Mode::kOnce) added.Resume();
      EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
      EXPECT_EQ(told.codes, Codes{StatusCode::kOk});
      EXPECT_TRUE(port.seen.empty());
    }
    {
      auto set = MakeSet();
      Port port;
      Told told;
      port.arms = {Armed::kWoken};
      port.tells = {absl::CancelledError("interrupted")};
      auto added = *set->Add(&port, told.handler(), mode);
      if (mode == Mode::kOnce) added.Resume();
      EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
      EXPECT_EQ(told.codes, Codes{StatusCode::kCancelled});
      ASSERT_EQ(port.seen.size(), 1u);
      EXPECT_EQ(port.seen[0], (std::vector<short>{0, 0}));
    }
    {
      // The end of a stream: told to one that asked once more, and then for good.
      auto set = MakeSet();
      Port port;
      Told told;
      port.arms = {Armed::kOver};
      auto added = *set->Add(&port, told.handler(), mode);
      if (mode == Mode::kOnce) added.Resume();
      port.bells[0].Ring();  // nobody polls it any more
      EXPECT_EQ(set->RunOnce(Now()), mode == Mode::kOnce ? Ran::kHandlers : Ran::kDeadline);
      EXPECT_EQ(set->stats().events, 0u);
      EXPECT_EQ(told.codes.size(), mode == Mode::kOnce ? 1u : 0u);
      added.Resume();
      EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
      EXPECT_EQ(told.last.code(), StatusCode::kOutOfRange);
      EXPECT_EQ(told.last.message(), "the end of the stream");
      EXPECT_EQ(port.armed, 1);
      EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
      EXPECT_EQ(set->stats().events, 0u);
    }
  }
}

// A final word is said once, and again to one that asks again; the port is not armed any more.
TEST(ScriptedPortTest, AfterAFinalWordThePortIsLeftAlone) {
  for (const absl::Status& final : {absl::UnavailableError("gone"), absl::DataLossError("lies"),
                                    absl::OutOfRangeError("end")}) {
    auto set = MakeSet();
    Port port;
    Told told;
    auto added = *set->Add(&port, told.handler());
    port.bells[0].Ring();
    port.is_ended = true;
    port.tells = {final};
    EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
    const uint64_t events = set->stats().events;
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
      if (i == 1) added.Pause();
      added.Resume(At(5));
      EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
      EXPECT_EQ(told.last, final);
    }
    EXPECT_EQ(told.codes.size(), 4u);
    EXPECT_EQ(set->stats().events, events);
    EXPECT_EQ(port.armed, 1);
    EXPECT_EQ(port.seen.size(), 1u);
  }
}

// What is no end: the port goes on.
TEST(ScriptedPortTest, AfterAnyOtherWordThePortGoesOn) {
  for (const absl::Status& word : {absl::OkStatus(), absl::CancelledError("interrupted"),
                                   absl::DeadlineExceededError("late")}) {
    auto set = MakeSet();
    Port port;
    Told told;
    auto added = *set->Add(&port, told.handler());
    for (int i = 1; i <= 3; ++i) {
      port.bells[0].Ring();
      port.tells = {word};
      EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
      port.bells[0].Quiet();
      EXPECT_EQ(told.codes.size(), static_cast<std::size_t>(i));
      EXPECT_EQ(port.armed, 1 + i);
    }
  }
}

// Ready when it was armed, and its end is seen in the same round: the end is what is told.
TEST(ScriptedPortTest, AnEndTakesThePlaceOfWhatWasReady) {
  auto set = MakeSet();
  Port port;
  Told told;
  port.arms = {Armed::kReady};
  auto added = *set->Add(&port, told.handler());
  port.bells[0].Ring();
  port.tells = {absl::DataLossError("lies")};
  port.is_ended = true;
  EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
  EXPECT_EQ(told.codes, Codes{StatusCode::kDataLoss});
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
}

// --- pauses -------------------------------------------------------------------------------------

TEST(ScriptedPortTest, APauseDisarmsWhatIsArmed) {
  auto set = MakeSet();
  Port port;
  Told told;
  auto added = *set->Add(&port, told.handler(), Mode::kOnce);
  added.Pause();  // it does not wait
  EXPECT_EQ(port.disarmed, 0);
  added.Resume();
  added.Pause();
  EXPECT_EQ(port.disarmed, 1);
  added.Pause();
  EXPECT_EQ(port.disarmed, 1);
  added.Resume();
  EXPECT_EQ(port.armed, 2);
  added.Reset();
  EXPECT_EQ(port.disarmed, 2);
  EXPECT_EQ(port.watcher(), nullptr);
  EXPECT_FALSE(static_cast<bool>(added));
  added.Reset();  // of nothing
}

TEST(ScriptedPortTest, WhatIsQueuedOrToBeTakenWaitsForTheResume) {
  for (const Armed first : {Armed::kReady, Armed::kWoken}) {
    auto set = MakeSet();
    Port port;
    Told told;
    port.arms = {first};
    auto added = *set->Add(&port, told.handler());
    added.Pause();
    EXPECT_EQ(port.disarmed, first == Armed::kWoken ? 1 : 0);
    EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    EXPECT_TRUE(port.seen.empty());
    EXPECT_TRUE(told.codes.empty());
    // It is asked anew.
    added.Resume();
    EXPECT_EQ(port.armed, 2);
    EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    EXPECT_TRUE(told.codes.empty());
    port.bells[0].Ring();
    port.tells = {absl::OkStatus()};
    EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
    EXPECT_EQ(told.codes, Codes{StatusCode::kOk});
  }
}

// A last word that was queued and not said is said at the next Resume.
TEST(ScriptedPortTest, APauseKeepsTheLastWord) {
  auto set = MakeSet();
  Port port;
  Told told;
  Registration victim;
  auto pauses = set->AddTimer([&](const absl::Status&) { victim.Pause(); });
  victim = *set->Add(&port, told.handler());
  port.bells[0].Ring();
  port.tells = {absl::DataLossError("lies")};
  // The timer is ready first, so its handler runs before the port's.
  pauses.Resume(Now());
  clock_ns = 2;
  port.is_ended = true;
  set->RunOnce(Now());
  if (!told.codes.empty()) GTEST_SKIP() << "the other order";
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  EXPECT_TRUE(told.codes.empty());
  victim.Resume();
  EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
  EXPECT_EQ(told.codes, Codes{StatusCode::kDataLoss});
  EXPECT_EQ(port.armed, 1);
}

TEST(ScriptedPortTest, APausedDescriptorIsAskedAnew) {
  auto set = MakeSet();
  const Bell bell;
  Told told;
  auto added = *set->AddDescriptor(bell.fd(), POLLIN, told.handler());
  added.Pause();
  added.Resume();
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  EXPECT_TRUE(told.codes.empty());
  bell.Ring();
  EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
  EXPECT_EQ(told.codes, Codes{StatusCode::kOk});
}

// --- deadlines ----------------------------------------------------------------------------------

TEST(ScriptedPortTest, ADeadlineIsToldOnceAndAtItsTime) {
  for (const Mode mode : {Mode::kAlways, Mode::kOnce}) {
    auto set = MakeSet();
    Port port;
    const Bell bell;
    Told told;
    Told descriptor;
    auto added = *set->Add(&port, told.handler(), mode);
    auto other = *set->AddDescriptor(bell.fd(), POLLIN, descriptor.handler(), mode);
    added.Resume(At(50));
    other.Resume(At(60));
    clock_ns = 49;
    EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    clock_ns = 50;
    EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
    EXPECT_EQ(told.last, absl::DeadlineExceededError("nothing came in time"));
    EXPECT_TRUE(descriptor.codes.empty());
    // A last look was taken, and its announcement taken back.
    EXPECT_EQ(port.armed, mode == Mode::kAlways ? 3 : 2);
    EXPECT_EQ(port.disarmed, 1);
    clock_ns = 60;
    EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
    EXPECT_EQ(descriptor.last, absl::DeadlineExceededError("nothing came in time"));
    clock_ns = 1000;
    EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    EXPECT_EQ(told.codes.size(), 1u);
    EXPECT_EQ(descriptor.codes.size(), 1u);
  }
}

TEST(ScriptedPortTest, WhatTheLastLookFindsCounts) {
  auto set = MakeSet();
  Port port;
  Told told;
  port.arms = {Armed::kSleeping, Armed::kReady};
  auto added = *set->Add(&port, told.handler(), Mode::kOnce);
  added.Resume(At(50));
  clock_ns = 50;
  EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
  EXPECT_EQ(told.codes, Codes{StatusCode::kOk});
  EXPECT_EQ(port.disarmed, 0);
}

// Each way in which what a deadline was for has ended: nothing is told at its time.
TEST(ScriptedPortTest, ADeadlineEndsWithWhatItWasFor) {
  enum { kCame, kWithout, kLater, kPaused, kReset, kGone };
  for (const int way : {kCame, kWithout, kLater, kPaused, kReset, kGone}) {
    SCOPED_TRACE(way);
    auto set = MakeSet();
    const int descriptor = *set->descriptor();
    auto port = std::make_unique<Port>();
    Told told;
    auto added = *set->Add(port.get(), told.handler());
    added.Resume(At(50));
    EXPECT_TRUE(Readable(descriptor, 10'000));  // 50 ns after the machine's start have passed
    switch (way) {
      case kCame:
        port->bells[0].Ring();
        port->tells = {absl::OkStatus()};
        break;
      case kWithout:
        added.Resume();
        break;
      case kLater:
        added.Resume(At(INT64_MAX - 1));
        break;
      case kPaused:
        added.Pause();
        break;
      case kReset:
        added.Reset();
        break;
      default:
        port.reset();
        break;
    }
    const bool told_something = way == kCame || way == kGone;
    EXPECT_EQ(set->RunOnce(Now()), told_something ? Ran::kHandlers : Ran::kDeadline);
    if (way == kCame) port->bells[0].Quiet();
    clock_ns = 100;
    EXPECT_FALSE(Readable(descriptor));  // no timer is left
    EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    EXPECT_EQ(told.codes.size(), told_something ? 1u : 0u);
    if (told_something) {
      EXPECT_EQ(told.codes[0], way == kCame ? StatusCode::kOk : StatusCode::kCancelled);
    }
  }
}

// --- throttles ----------------------------------------------------------------------------------

// The doorbell, which is the first, is left alone; the others are polled. At its end it is taken
// once more, as if it were readable.
TEST(ScriptedPortTest, AThrottledDoorbellLeavesTheEpollUntilItsTime) {
  for (std::size_t count = 1; count <= 3; ++count) {
    auto set = MakeSet();
    Port port(count);
    Told told;
    auto added = *set->Add(&port, told.handler());
    port.bells[0].Ring();
    port.throttled_ns = 50;
    EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    ASSERT_EQ(port.seen.size(), 1u);
    const uint64_t events = set->stats().events;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    EXPECT_EQ(port.seen.size(), 1u);
    EXPECT_EQ(set->stats().events, events);
    for (std::size_t other = 1; other < count; ++other) {
      port.bells[other].Ring();
      EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
      std::vector<short> expected(count, 0);
      expected[other] = POLLIN;
      EXPECT_EQ(port.seen.back(), expected);
      port.bells[other].Quiet();
    }
    EXPECT_EQ(port.seen.size(), count);
    // Its end, and no earlier.
    clock_ns = 49;
    EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    EXPECT_EQ(port.seen.size(), count);
    clock_ns = 50;
    port.throttled_ns = 0;
    port.tells = {absl::OkStatus()};
    EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
    EXPECT_EQ(port.seen.size(), count + 1);
    // It is polled again, and no timer is left.
    EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    EXPECT_EQ(port.seen.size(), count + 2);
    EXPECT_EQ(port.seen.back()[0], POLLIN);
    port.bells[0].Quiet();
    clock_ns = 1000;
    EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    EXPECT_EQ(port.seen.size(), count + 2);
  }
}

TEST(ScriptedPortTest, AThrottleThatIsTakenBackLeavesNoTimer) {
  auto set = MakeSet();
  const int descriptor = *set->descriptor();
  Port port(2);
  Told told;
  auto added = *set->Add(&port, told.handler());
  port.bells[0].Ring();
  port.throttled_ns = 50;
  set->RunOnce(Now());
  EXPECT_TRUE(Readable(descriptor, 10'000));  // that time has passed for the machine
  // A later one, of the same throttle, moves its end.
  port.throttled_ns = 80;
  port.bells[1].Ring();
  set->RunOnce(Now());
  EXPECT_EQ(port.seen.size(), 2u);
  port.bells[1].Quiet();
  clock_ns = 60;
  set->RunOnce(Now());
  EXPECT_EQ(port.seen.size(), 2u);
  // Enough came, by another way: it is over.
  port.bells[0].Quiet();
  port.bells[1].Ring();
  port.throttled_ns = 0;
  set->RunOnce(Now());
  EXPECT_EQ(port.seen.size(), 3u);
  port.bells[1].Quiet();
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  EXPECT_FALSE(Readable(descriptor));
  clock_ns = 100;
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  EXPECT_EQ(port.seen.size(), 3u);
}

// Paused meanwhile: when it waits again, its doorbell is polled again.
TEST(ScriptedPortTest, AThrottleThatEndsDuringAPauseHasEnded) {
  auto set = MakeSet();
  Port port(2);
  Told told;
  auto added = *set->Add(&port, told.handler());
  port.bells[0].Ring();
  port.throttled_ns = 50;
  set->RunOnce(Now());
  EXPECT_EQ(port.seen.size(), 1u);
  added.Pause();
  clock_ns = 50;
  port.throttled_ns = 0;
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  EXPECT_EQ(port.seen.size(), 1u);
  added.Resume();
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  EXPECT_EQ(port.seen.size(), 2u);
}

// --- ports that end -----------------------------------------------------------------------------

TEST(ScriptedPortTest, APortThatEndsIsToldWhateverItWaitedFor) {
  enum { kSleeping, kReady, kWoken, kThrottled, kPaused };
  for (const int state : {kSleeping, kReady, kWoken, kThrottled, kPaused}) {
    SCOPED_TRACE(state);
    auto set = MakeSet();
    const int descriptor = *set->descriptor();
    auto port = std::make_unique<Port>();
    Told told;
    Told others;
    // That it leaves its place to others: one before it and one after it in the queue.
    Port before;
    Port after;
    before.arms = {Armed::kReady};
    after.arms = {Armed::kReady};
    auto first = *set->Add(&before, others.handler(), Mode::kOnce);
    if (state == kReady) port->arms = {Armed::kReady};
    if (state == kWoken) port->arms = {Armed::kWoken};
    first.Resume();
    auto added = *set->Add(port.get(), told.handler());
    auto last = *set->Add(&after, others.handler(), Mode::kOnce);
    last.Resume();
    if (state == kThrottled) {
      port->bells[0].Ring();
      port->throttled_ns = 50;
      set->RunOnce(Now());
    }
    if (state == kPaused) {
      set->RunOnce(Now());
      added.Pause();
      EXPECT_FALSE(Readable(descriptor));
    }
    // Its descriptors stay, and stay readable.
    const Bell bell = std::move(port->bells[0]);
    port.reset();
    bell.Ring();
    const uint64_t events = set->stats().events;
    EXPECT_EQ(Readable(descriptor), state != kPaused);
    set->RunOnce(Now());
    EXPECT_EQ(others.codes, Codes(2, StatusCode::kOk));
    if (state == kPaused) {
      EXPECT_TRUE(told.codes.empty());
      added.Resume();
      EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
    }
    EXPECT_EQ(told.codes, Codes{StatusCode::kCancelled});
    EXPECT_EQ(told.last.message(), "the port was destroyed");
    clock_ns = 100;
    EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    EXPECT_FALSE(Readable(descriptor));
    EXPECT_EQ(set->stats().events, events);
    added.Resume();
    EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
    EXPECT_EQ(told.codes.size(), 2u);
  }
}

// --- registrations that end ---------------------------------------------------------------------

TEST(ScriptedPortTest, TheOthersStayInWhateverOrderTheyAreReset) {
  for (int gone = 0; gone < 8; ++gone) {
    auto set = MakeSet();
    std::array<Port, 3> ports;
    std::array<Told, 3> told;
    std::array<Registration, 3> added;
    for (std::size_t i = 0; i < 3; ++i) added[i] = *set->Add(&ports[i], told[i].handler());
    for (std::size_t i = 0; i < 3; ++i) {
      if ((gone >> i & 1) != 0) added[i].Reset();
    }
    for (std::size_t i = 0; i < 3; ++i) {
      const bool stays = (gone >> i & 1) == 0;
      EXPECT_EQ(ports[i].watcher() != nullptr, stays);
      ports[i].bells[0].Ring();
      ports[i].tells = {absl::OkStatus()};
    }
    set->RunOnce(Now());
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(told[i].codes.size(), (gone >> i & 1) == 0 ? 1u : 0u) << gone << i;
    }
    // The end of the set is the end of each.
    set.reset();
    for (Port& port : ports) EXPECT_EQ(port.watcher(), nullptr) << gone;
    for (const Registration& one : added) static_cast<void>(one);
  }
}

TEST(ScriptedPortTest, ARegistrationThatIsReplacedEnds) {
  auto set = MakeSet();
  Port first;
  Port second;
  Told told;
  Registration added = *set->Add(&first, told.handler());
  added = *set->Add(&second, told.handler());
  EXPECT_EQ(first.watcher(), nullptr);
  EXPECT_NE(second.watcher(), nullptr);
  Registration moved = std::move(added);
  EXPECT_TRUE(static_cast<bool>(moved));
  EXPECT_NE(second.watcher(), nullptr);
  Registration& same = moved;
  moved = std::move(same);
  EXPECT_NE(second.watcher(), nullptr);
  second.bells[0].Ring();
  second.tells = {absl::OkStatus()};
  EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
}

// Of several that are ready: a handler removes any of those that have not run yet.
TEST(ScriptedPortTest, AHandlerTakesOthersOutOfTheQueue) {
  for (int gone = 0; gone < 16; ++gone) {
    auto set = MakeSet();
    std::array<Port, 4> ports;
    std::array<Registration, 4> added;
    std::vector<std::size_t> ran;
    Registration remover;
    Port first;
    first.arms = {Armed::kReady};
    remover = *set->Add(&first, [&](const absl::Status&) {
      for (std::size_t i = 0; i < 4; ++i) {
        if ((gone >> i & 1) != 0) added[i].Reset();
      }
    });
    for (std::size_t i = 0; i < 4; ++i) {
      ports[i].arms = {Armed::kReady};
      added[i] = *set->Add(&ports[i], [&ran, i](const absl::Status&) { ran.push_back(i); });
    }
    EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
    std::vector<std::size_t> expected;
    for (std::size_t i = 0; i < 4; ++i) {
      if ((gone >> i & 1) == 0) expected.push_back(i);
    }
    EXPECT_EQ(ran, expected) << gone;
    EXPECT_EQ(set->stats().handlers, 1 + expected.size());
    EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  }
}

// What was left of an old one must not be taken for the next one, which may lie where it lay.
TEST(ScriptedPortTest, ANewRegistrationIsNotTakenForAnOldOne) {
  enum { kQueued, kToBeTaken, kDeadline, kThrottle };
  for (const int left : {kQueued, kToBeTaken, kDeadline, kThrottle}) {
    SCOPED_TRACE(left);
    auto set = MakeSet();
    Port old_port;
    Port new_port;
    Told old_told;
    Told new_told;
    if (left == kQueued) old_port.arms = {Armed::kReady};
    if (left == kToBeTaken) old_port.arms = {Armed::kWoken};
    auto added = *set->Add(&old_port, old_told.handler());
    if (left == kDeadline) added.Resume(At(50));
    if (left == kThrottle) {
      old_port.bells[0].Ring();
      old_port.throttled_ns = 50;
      set->RunOnce(Now());
    }
    added.Reset();
    const std::size_t seen = old_port.seen.size();
    auto next = *set->Add(&new_port, new_told.handler());
    clock_ns = 100;
    EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    EXPECT_TRUE(old_told.codes.empty());
    EXPECT_TRUE(new_told.codes.empty());
    EXPECT_EQ(old_port.seen.size(), seen);
    EXPECT_TRUE(new_port.seen.empty());
    EXPECT_EQ(new_port.disarmed, 0);
  }
}

// One that is to be taken, and another that ends before that.
TEST(ScriptedPortTest, WhoEndsTakesNobodyElsesPlace) {
  for (const bool first_ends : {false, true}) {
    auto set = MakeSet();
    Port ports[2];
    Told told;
    std::array<Registration, 2> added;
    for (std::size_t i = 0; i < 2; ++i) {
      ports[i].arms = {Armed::kWoken};
      added[i] = *set->Add(&ports[i], told.handler());
    }
    added[first_ends ? 0 : 1].Reset();
    set->RunOnce(Now());
    EXPECT_EQ(ports[0].seen.size(), first_ends ? 0u : 1u);
    EXPECT_EQ(ports[1].seen.size(), first_ends ? 1u : 0u);
  }
}

// A set that comes to lie where another one lay has nothing of it.
TEST(ScriptedPortTest, ARegistrationOfASetThatEndedDoesNothing) {
  auto set = MakeSet();
  Port port;
  Told told;
  Registration timer = set->AddTimer(told.handler());
  auto added = *set->Add(&port, told.handler());
  set.reset();
  EXPECT_EQ(port.watcher(), nullptr);
  set = MakeSet();
  timer.Resume(Now());
  added.Resume();
  added.Pause();
  timer.Pause();
  timer.Resume(Now());
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  EXPECT_TRUE(told.codes.empty());
  EXPECT_EQ(port.armed, 1);
}

// --- descriptors --------------------------------------------------------------------------------

TEST(ScriptedPortTest, EachRegistrationOfADescriptorIsTold) {
  auto set = MakeSet();
  const Bell bell;
  std::array<Told, 3> told;
  std::array<Registration, 3> added;
  for (std::size_t i = 0; i < 3; ++i) {
    added[i] = *set->AddDescriptor(bell.fd(), POLLIN, told[i].handler());
  }
  bell.Ring();
  EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
  EXPECT_EQ(set->stats().events, 1u);
  for (const Told& one : told) EXPECT_EQ(one.codes, Codes{StatusCode::kOk});
  added[1].Reset();
  set->RunOnce(Now());
  EXPECT_EQ(told[0].codes.size(), 2u);
  EXPECT_EQ(told[1].codes.size(), 1u);
  EXPECT_EQ(told[2].codes.size(), 2u);
}

// Both directions of one descriptor by two registrations: neither is told of the other's, none is
// polled for what nobody waits for.
TEST(ScriptedPortTest, EachDirectionIsPolledWhileSomebodyWaitsForIt) {
  auto set = MakeRealSet();
  const Bell bell;
  bell.Fill();
  Told in;
  Told out;
  auto reads = *set->AddDescriptor(bell.fd(), POLLIN, in.handler());
  auto writes = *set->AddDescriptor(bell.fd(), POLLOUT, out.handler());
  bell.Ring();
  EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
  EXPECT_EQ(in.codes.size(), 1u);
  EXPECT_TRUE(out.codes.empty());
  // Readable, and nobody waits for that: one event, then it is left out.
  reads.Pause();
  const uint64_t events = set->stats().events;
  EXPECT_EQ(set->RunOnce(In(20)), Ran::kDeadline);
  EXPECT_EQ(set->RunOnce(In(20)), Ran::kDeadline);
  EXPECT_EQ(set->stats().events, events + 1);
  EXPECT_EQ(in.codes.size(), 1u);
  // The other direction is polled all the time.
  bell.Drain();
  EXPECT_EQ(set->RunOnce(In(20'000)), Ran::kHandlers);
  EXPECT_EQ(out.codes.size(), 1u);
  EXPECT_EQ(in.codes.size(), 1u);
  bell.Fill();
  reads.Resume();
  EXPECT_EQ(set->RunOnce(In(20'000)), Ran::kHandlers);
  EXPECT_EQ(in.codes.size(), 2u);
  EXPECT_EQ(out.codes.size(), 1u);
  // And the other way round.
  bell.Quiet();
  bell.Drain();
  writes.Pause();
  EXPECT_EQ(set->RunOnce(In(20)), Ran::kDeadline);
  bell.Ring();
  EXPECT_EQ(set->RunOnce(In(20'000)), Ran::kHandlers);
  EXPECT_EQ(in.codes.size(), 3u);
  EXPECT_EQ(out.codes.size(), 1u);
}

// Nobody waits for reading: that it is readable costs nothing.
TEST(ScriptedPortTest, OneDirectionAloneIsPolledAlone) {
  auto set = MakeRealSet();
  const Bell bell;
  bell.Fill();
  bell.Ring();
  Told out;
  auto writes = *set->AddDescriptor(bell.fd(), POLLOUT, out.handler());
  EXPECT_EQ(set->RunOnce(In(20)), Ran::kDeadline);
  EXPECT_EQ(set->stats().events, 0u);
  // What is added for later takes nothing away from it.
  Told in;
  auto reads = *set->AddDescriptor(bell.fd(), POLLIN, in.handler(), Mode::kOnce);
  bell.Drain();
  EXPECT_EQ(set->RunOnce(In(20'000)), Ran::kHandlers);
  EXPECT_EQ(out.codes.size(), 1u);
}

TEST(ScriptedPortTest, WhatIsAddedForLaterTakesNothingAway) {
  auto set = MakeRealSet();
  const Bell bell;
  bell.Fill();
  Told in;
  Told out;
  auto reads = *set->AddDescriptor(bell.fd(), POLLIN, in.handler());
  auto writes = *set->AddDescriptor(bell.fd(), POLLOUT, out.handler(), Mode::kOnce);
  bell.Ring();
  EXPECT_EQ(set->RunOnce(In(20'000)), Ran::kHandlers);
  EXPECT_EQ(in.codes.size(), 1u);
  EXPECT_TRUE(out.codes.empty());
}

// A hang-up of what was removed, or paused, costs one event at most.
TEST(ScriptedPortTest, WhatWasRemovedIsPolledNoMore) {
  for (const bool paused : {false, true}) {
    auto set = MakeRealSet();
    Bell bell;
    Told told;
    auto added = *set->AddDescriptor(bell.fd(), POLLIN, told.handler());
    paused ? added.Pause() : added.Reset();
    bell.Ring();
    bell.ends[1].Reset();
    EXPECT_EQ(set->RunOnce(In(20)), Ran::kDeadline);
    EXPECT_EQ(set->RunOnce(In(20)), Ran::kDeadline);
    EXPECT_EQ(set->stats().events, paused ? 1u : 0u);
    EXPECT_TRUE(told.codes.empty());
    // The same descriptor once more.
    Told again;
    auto next = *set->AddDescriptor(bell.fd(), POLLIN, again.handler());
    EXPECT_EQ(set->RunOnce(In(20'000)), Ran::kHandlers);
    EXPECT_EQ(again.codes.size(), 1u);
  }
}

// Places are used again: each descriptor keeps its own.
TEST(ScriptedPortTest, ThePlaceOfOneThatIsGoneIsGivenToOneOther) {
  auto set = MakeSet();
  std::array<Bell, 6> bells;
  std::array<Told, 6> told;
  std::array<Registration, 6> added;
  const auto add = [&](std::size_t i) {
    added[i] = *set->AddDescriptor(bells[i].fd(), POLLIN, told[i].handler());
  };
  for (const std::size_t i : {0u, 1u, 2u}) add(i);
  added[0].Reset();
  added[2].Reset();
  for (const std::size_t i : {3u, 4u, 5u}) add(i);
  for (const std::size_t i : {1u, 3u, 4u, 5u}) {
    bells[i].Ring();
    EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
    bells[i].Quiet();
    for (std::size_t j = 0; j < 6; ++j) {
      EXPECT_EQ(told[j].codes.size(), j != 0 && j != 2 && j <= i ? 1u : 0u) << i << j;
    }
  }
}

// One that was closed too early, and lives on elsewhere, stays in the epoll: what it brings is
// nobody's.
TEST(ScriptedPortTest, AnEventOfAClosedDescriptorIsNobodys) {
  auto set = MakeSet();
  Bell bell;
  const UniqueFd elsewhere(::fcntl(bell.fd(), F_DUPFD_CLOEXEC, 100));
  Told told;
  auto added = *set->AddDescriptor(bell.fd(), POLLIN, told.handler());
  bell.ends[0].Reset();
  added.Reset();
  bell.Ring();
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  const Bell other;
  Told others;
  auto next = *set->AddDescriptor(other.fd(), POLLIN, others.handler());
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  EXPECT_TRUE(told.codes.empty());
  EXPECT_TRUE(others.codes.empty());
  other.Ring();
  EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
  EXPECT_EQ(others.codes.size(), 1u);
}

// --- somebody else's loop -----------------------------------------------------------------------

TEST(ScriptedPortTest, TheDescriptorSaysThatThereIsSomethingToDo) {
  enum { kAddedReady, kResumedReady, kAddedWoken, kTimer, kInterrupt };
  for (const int what : {kAddedReady, kResumedReady, kAddedWoken, kTimer, kInterrupt}) {
    for (const bool before : {false, true}) {  // it was asked for before that, or after it
      SCOPED_TRACE(::testing::Message() << what << before);
      auto set = MakeSet();
      Port port;
      Told told;
      Registration added;
      Registration timer = set->AddTimer(told.handler());
      std::optional<int> descriptor;
      if (before) descriptor = *set->descriptor();
      if (before) {
        EXPECT_FALSE(Readable(*descriptor));
      }
      if (what == kAddedWoken) port.arms = {Armed::kWoken};
      if (what == kAddedReady || what == kResumedReady) port.arms = {Armed::kReady};
      if (what == kAddedReady || what == kAddedWoken) added = *set->Add(&port, told.handler());
      if (what == kResumedReady) {
        added = *set->Add(&port, told.handler(), Mode::kOnce);
        added.Resume();
      }
      if (what == kTimer) timer.Resume(At(50));
      if (what == kInterrupt) set->Interrupt();
      if (!before) descriptor = *set->descriptor();
      EXPECT_EQ(*set->descriptor(), *descriptor);
      EXPECT_TRUE(Readable(*descriptor, 10'000));
      clock_ns = 50;
      set->RunOnce(Now());
      EXPECT_FALSE(Readable(*descriptor));
    }
  }
}

// Its timer is no event of anybody's, nor is an interrupt.
TEST(ScriptedPortTest, ItsOwnDescriptorsCallNobody) {
  auto set = MakeSet();
  const Bell bell;
  Told told;
  Told timers;
  auto added = *set->AddDescriptor(bell.fd(), POLLIN, told.handler());
  const int descriptor = *set->descriptor();
  Registration timer = set->AddTimer(timers.handler());
  timer.Resume(At(50));
  EXPECT_TRUE(Readable(descriptor, 10'000));
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  clock_ns = 50;
  EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
  set->Interrupt();
  EXPECT_EQ(set->RunOnce(Now()), Ran::kInterrupted);
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  EXPECT_EQ(set->stats().events, 0u);
  EXPECT_EQ(timers.codes, Codes{StatusCode::kOk});
  EXPECT_TRUE(told.codes.empty());
}

// What a handler makes ready is for the next round, and is not forgotten.
TEST(ScriptedPortTest, WhatAHandlerMakesReadyIsForTheNextRound) {
  auto set = MakeSet();
  const int descriptor = *set->descriptor();
  Port port;
  int calls = 0;
  Registration added;
  port.arms = {Armed::kReady, Armed::kReady, Armed::kReady};
  added = *set->Add(&port, [&](const absl::Status&) { ++calls; });
  for (int i = 1; i <= 3; ++i) {
    EXPECT_TRUE(Readable(descriptor, 10'000));
    EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
    EXPECT_EQ(calls, i);
  }
  EXPECT_FALSE(Readable(descriptor));
}

// --- the kernel's refusals ----------------------------------------------------------------------

using testing::Answer;
using testing::InAProcessOfItsOwn;
using testing::Refuse;

TEST(ScriptedPortTest, ASetThatCannotBeMadeIsAnError) {
  const testing::RefusedCall calls[] = {
      {SYS_epoll_create1, EMFILE}, {SYS_eventfd2, EMFILE}, {SYS_epoll_ctl, ENOSPC}};
  for (const testing::RefusedCall& call : calls) {
    EXPECT_EQ(InAProcessOfItsOwn([&] {
                Refuse(call);
                return static_cast<int>(WaitSet::Create().status().code());
              }),
              static_cast<int>(StatusCode::kResourceExhausted))
        << call.call;
  }
}

TEST(ScriptedPortTest, ADescriptorThatCannotBeMadeIsAnError) {
  const testing::RefusedCall calls[] = {{SYS_timerfd_create, EMFILE}, {SYS_epoll_ctl, ENOSPC}};
  for (const testing::RefusedCall& call : calls) {
    EXPECT_EQ(InAProcessOfItsOwn([&] {
                auto set = MakeSet();
                Refuse(call);
                for (int i = 0; i < 2; ++i) {
                  if (set->descriptor().status().code() != StatusCode::kResourceExhausted) return 1;
                }
                return set->RunOnce(Now()) == Ran::kDeadline ? 0 : 2;
              }),
              0)
        << call.call;
  }
}

// What the kernel refuses to poll is refused when it is added, and leaves nothing behind.
TEST(ScriptedPortTest, WhatCannotBePolledIsRefused) {
  struct Row {
    uint32_t error;
    StatusCode code;
  };
  for (const Row& row :
       {Row{EPERM, StatusCode::kInvalidArgument}, Row{EBADF, StatusCode::kInvalidArgument},
        Row{ENOSPC, StatusCode::kResourceExhausted}, Row{ENOMEM, StatusCode::kResourceExhausted},
        Row{EACCES, StatusCode::kPermissionDenied}}) {
    EXPECT_EQ(InAProcessOfItsOwn([&] {
                auto set = MakeSet();
                Port port(3);
                Told told;
                // The second of the three.
                const auto fd = static_cast<uint32_t>(port.bells[1].fd());
                Refuse({SYS_epoll_ctl, row.error, 2, ~0u, fd});
                if (set->Add(&port, told.handler()).status().code() != row.code) return 1;
                if (port.watcher() != nullptr || port.armed != 0) return 2;
                const auto added = set->AddDescriptor(port.bells[1].fd(), POLLIN, told.handler());
                if (added.status().code() != row.code) return 3;
                port.bells[0].Ring();
                if (set->RunOnce(Now()) != Ran::kDeadline) return 4;
                return set->stats().events == 0 && told.codes.empty() ? 0 : 5;
              }),
              0)
        << row.error;
  }
}

// Refused later, when it is to be polled again: its handler is told, as the last word.
TEST(ScriptedPortTest, WhatCannotBePolledAgainIsTold) {
  for (const bool is_port : {false, true}) {
    EXPECT_EQ(InAProcessOfItsOwn([&] {
                auto set = MakeSet();
                Port port(2);
                Told told;
                const int fd = port.bells[0].fd();
                auto added = is_port ? *set->Add(&port, told.handler(), Mode::kOnce)
                                     : *set->AddDescriptor(fd, POLLIN, told.handler(), Mode::kOnce);
                port.bells[0].Ring();
                set->RunOnce(Now());  // nobody waits: it leaves the epoll
                if (set->stats().events != 1) return 1;
                Refuse({SYS_epoll_ctl, ENOSPC, 1, ~0u, 1});  // EPOLL_CTL_ADD
                added.Resume();
                // What the other descriptor brings meanwhile does not take its place.
                port.bells[1].Ring();
                port.tells = {absl::OkStatus()};
                if (set->RunOnce(Now()) != Ran::kHandlers) return 2;
                if (told.codes != Codes{StatusCode::kResourceExhausted}) return 3;
                const uint64_t events = set->stats().events;
                if (set->RunOnce(Now()) != Ran::kDeadline) return 4;
                if (set->stats().events != events) return 5;
                added.Resume();
                if (set->RunOnce(Now()) != Ran::kHandlers) return 6;
                return told.codes == Codes(2, StatusCode::kResourceExhausted) ? 0 : 7;
              }),
              0)
        << is_port;
  }
}

// Waiting again for what is in the epoll already needs no call of the kernel.
TEST(ScriptedPortTest, WhoeverWaitsAgainNeedsNoCall) {
  EXPECT_EQ(InAProcessOfItsOwn([] {
              auto set = MakeSet();
              const Bell bell;
              Told in;
              Told out;
              auto reads = *set->AddDescriptor(bell.fd(), POLLIN, in.handler(), Mode::kOnce);
              auto writes = *set->AddDescriptor(bell.fd(), POLLOUT, out.handler(), Mode::kOnce);
              reads.Resume();
              writes.Resume();
              Answer({SYS_epoll_ctl}, SECCOMP_RET_KILL_PROCESS);
              bell.Ring();
              for (std::size_t i = 1; i <= 3; ++i) {
                if (set->RunOnce(Now()) != Ran::kHandlers) return 1;
                if (in.codes.size() != i || out.codes.size() != i) return 2;
                reads.Resume();
                writes.Resume();
              }
              ::_exit(0);  // the ends of the registrations are calls
            }),
            0);
}

// epoll_pwait2, which not all kernels have: one call for each wait, and no other.
TEST(ScriptedPortTest, AWaitIsOneCallAndHasAnOtherWhereThatIsMissing) {
#if defined(SYS_epoll_pwait2) && defined(SYS_epoll_wait)
  const auto waits = [](WaitSet& set) {
    for (int i = 0; i < 3; ++i) {
      const Deadline soon = In(3);
      errno = i == 0 ? 0 : i == 1 ? ENOSYS : EPERM;  // of somebody's earlier call
      if (set.RunOnce(soon) != Ran::kDeadline) return false;
      if (!soon.Expired()) return false;
    }
    return true;
  };
  // What musl and glibc call where there is a limit in milliseconds.
  const auto forbid_the_other = [] {
#ifdef SYS_epoll_wait
    Answer({SYS_epoll_wait}, SECCOMP_RET_KILL_PROCESS);
#endif
    Answer({SYS_epoll_pwait}, SECCOMP_RET_KILL_PROCESS);
  };
  const bool has_it =
      InAProcessOfItsOwn([] {
        return ::syscall(SYS_epoll_pwait2, -1, nullptr, 1, nullptr, nullptr, 0) == -1 &&
                       errno == ENOSYS
                   ? 1
                   : 0;
      }) == 0;
  if (has_it) {
    EXPECT_EQ(InAProcessOfItsOwn([&] {
                auto set = MakeRealSet();
                forbid_the_other();
                return waits(*set) ? 0 : 1;
              }),
              0);
  }
  for (const uint32_t error : {uint32_t{ENOSYS}, uint32_t{EPERM}}) {
    EXPECT_EQ(InAProcessOfItsOwn([&] {
                auto set = MakeRealSet();
                Refuse({SYS_epoll_pwait2, error});
                const uint64_t polls = set->stats().polls;
                if (set->RunOnce(In(5)) != Ran::kDeadline) return 1;
                // In whole milliseconds, rounded up: no busy loop in the last one.
                if (set->stats().polls - polls > 3) return 2;
                // Once is enough to know.
                Answer({SYS_epoll_pwait2}, SECCOMP_RET_KILL_PROCESS);
                return waits(*set) ? 0 : 3;
              }),
              0)
        << error;
  }
#else
  GTEST_SKIP() << "this machine has no such pair of calls";
#endif
}

TEST(ScriptedPortTest, AnInterruptKeepsTheErrorNumber) {
  EXPECT_EQ(InAProcessOfItsOwn([] {
              auto set = MakeSet();
              Refuse({SYS_write, EIO});
              errno = EXDEV;
              set->Interrupt();
              if (errno != EXDEV) return 1;
              return set->RunOnce(Now()) == Ran::kInterrupted ? 0 : 2;
            }),
            0);
}

// --- our caller's bugs --------------------------------------------------------------------------

TEST(ScriptedPortDeathTest, OurCallersBugsAbort) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  auto set = MakeSet();
  EXPECT_DEATH(Registration().Pause(), "an empty Registration waits for nothing");
  EXPECT_DEATH(Registration().Resume(), "an empty Registration waits for nothing");
  EXPECT_DEATH(
      {
        Port many(Waitable::kMaxDescriptors + 1);
        static_cast<void>(set->Add(&many, [](const absl::Status&) {}));
      },
      "a port has at most kMaxDescriptors");
  EXPECT_DEATH(
      {
        ::close(*set->descriptor());
        set->RunOnce(Now());
      },
      "the epoll of a WaitSet was closed");
}

// Everything that would change the parent's epoll; what ends is no use of it.
TEST(ScriptedPortDeathTest, AForkedChildUsesNothing) {
  auto set = MakeSet();
  Port port;
  const Bell bell;
  Told told;
  auto added = *set->AddDescriptor(bell.fd(), POLLIN, told.handler());
  auto timer = set->AddTimer(told.handler());
  const std::function<void()> uses[] = {
      [&] { static_cast<void>(set->Add(&port, told.handler())); },
      [&] { static_cast<void>(set->AddDescriptor(bell.fd(), POLLIN, told.handler())); },
      [&] { static_cast<void>(set->AddTimer(told.handler())); },
      [&] { timer.Resume(Now()); },
      [&] { set->RunOnce(Now()); },
  };
  for (const auto& use : uses) {
    const pid_t child = ::fork();
    if (child == 0) {
      use();
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  }
  EXPECT_EQ(InAProcessOfItsOwn([&] {
              added.Reset();
              timer.Reset();
              set.reset();
              return 0;
            }),
            0);
  bell.Ring();
  EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
}

}  // namespace
}  // namespace parley

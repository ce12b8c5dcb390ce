// SPDX-License-Identifier: Apache-2.0

// A waiter over a doorbell that does what the test says: each result, each count, each charge.

#include "parley/wait/waiter.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/boundary/violation.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/testing/filter.h"
#include "parley/wait/adaptive_spin.h"
#include "parley/wait/doorbell.h"
#include "parley/wait/event_count.h"
#include "parley/wait/local_wake.h"
#include "parley/wait/signaller.h"
#include "parley/wait/termination.h"
#include "parley/wait/wait_options.h"
#include "parley/wait/wait_stats.h"
#include "parley/wait/waitable.h"

namespace parley::internal {
namespace {

using Drained = Doorbell::Drained;
using Progress = Waiter::Progress;
using Result = Waiter::Result;

Deadline In(int milliseconds) { return Deadline::After(absl::Milliseconds(milliseconds)); }
const Deadline kExpired = Deadline::AtMonotonicNs(0);

void SleepUntilNs(int64_t at_ns) {
  const timespec at = {at_ns / 1'000'000'000, at_ns % 1'000'000'000};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr) == EINTR) {
  }
}

int64_t ThreadNs() {
  timespec now;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

// Uses up so much of a processor.
void Burn(int milliseconds) {
  const int64_t until_ns = ThreadNs() + milliseconds * int64_t{1'000'000};
  while (ThreadNs() < until_ns) {
  }
}

class ScriptedDoorbell final : public Doorbell {
 public:
  explicit ScriptedDoorbell(Kind kind)
      : Doorbell(std::make_shared<LocalWake>(UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)))),
        kind_(kind) {}

  void Signal() override {
    ++signals;
    if (on_signal) on_signal();
  }
  void Prepare() override { ++prepared; }
  bool Sleep(Deadline deadline) override {
    deadlines.push_back(deadline.monotonic_ns());
    entered_ns.push_back(MonotonicNowNs());
    if (on_sleep) return on_sleep(deadline);
    SleepUntilNs(deadline.monotonic_ns());
    return false;
  }
  Drained Drain() override {
    ++drained;
    if (drains.empty()) return Drained::kQuiet;
    const Drained next = drains.front();
    drains.pop_front();
    return next;
  }
  Kind kind() const override { return kind_; }
  int descriptor() override { return 77; }
  absl::Span<const pollfd> polled() const override { return {&entry_, 1}; }
  void EndPolledSleep(absl::Span<const short> revents) override {
    wake_->EndSleep();
    handed_over.assign(revents.begin(), revents.end());
  }
  void BeginPolledSleep() override {
    ++begun;
    wake_->BeginPolledSleep();
  }
  void EndPolledSleep() override {
    ++ended_sleeps;
    wake_->EndSleep();
  }
  void Throttle(int64_t until_ns) override { throttled.push_back(until_ns); }
  void EndThrottle() override { ++ended_throttles; }
  int64_t OtherThrottleEnd(int64_t now_ns) const override {
    return other_throttle_ns > now_ns ? other_throttle_ns : 0;
  }
  void AddDescriptors(std::vector<int>&, std::vector<int>&) const override {}
  void WatchForEnd(int, int) override {}
  bool PeerHasEnded() override {
    ++asked;
    return ended;
  }

  bool Woken() {  // its eventfd was written
    pollfd entry = {wake_->fd(), POLLIN, 0};
    return ::poll(&entry, 1, 0) == 1;
  }

  std::function<void()> on_signal;
  std::function<bool(Deadline)> on_sleep;
  std::deque<Drained> drains;  // then it is quiet
  int64_t other_throttle_ns = 0;
  bool ended = false;

  std::atomic<int> signals{0};
  int prepared = 0;
  std::vector<int64_t> deadlines;   // of each sleep
  std::vector<int64_t> entered_ns;  // when it began
  int drained = 0;
  int begun = 0;
  int ended_sleeps = 0;
  std::vector<short> handed_over;
  std::vector<int64_t> throttled;
  int ended_throttles = 0;
  int asked = 0;

 private:
  const Kind kind_;
  const pollfd entry_ = {55, POLLIN, 0};
};

// Sleeps at once; so many wake-ups and throttles, which time does not give back within a test, and
// throttles that are over at once.
WaitOptions Frugal(int wakeups, int throttles) {
  WaitOptions options = WaitOptions::LowestPower();
  options.spurious_wakeups = wakeups;
  options.spurious_refill = absl::Hours(1000);
  options.throttles = throttles;
  options.throttle_refill = absl::Hours(1000);
  options.throttle_time = absl::Nanoseconds(1);
  return options;
}

struct End {
  explicit End(const WaitOptions& options, Doorbell::Kind kind = Doorbell::Kind::kSocket)
      : doorbell(kind) {
    termination.Wakes(&doorbell, nullptr);
    waiter = *Waiter::Create(&events, &doorbell, &termination, options, &stats);
  }

  Result Wait(Deadline deadline, uint64_t enough = 1) {
    return waiter->Wait(Ready(), [this] { return progress; }, enough, deadline);
  }
  bool Arm() { return waiter->Arm(Ready()); }
  Waitable::Armed ArmForSet() { return waiter->ArmForSet(Ready()); }

  // What a wake-up of that kind comes to: 'g' go on, 't' throttled, 'v' a violation.
  char WakeUp(Progress brought, Drained drained = Drained::kSignalled) {
    const std::size_t throttles = doorbell.throttled.size();
    doorbell.drains = {drained};
    const Result result = waiter->TakeWakeUps(brought);
    doorbell.drains.clear();
    if (result == Result::kViolation) return 'v';
    EXPECT_EQ(result, Result::kReady);
    return doorbell.throttled.size() == throttles ? 'g' : 't';
  }
  std::string WakeUps(std::size_t count, Progress brought, Drained drained = Drained::kSignalled) {
    std::string all;
    while (all.size() < count) all += WakeUp(brought, drained);
    return all;
  }
  // How many that bring nothing are still free; after this none is.
  int WakeUpsLeft() {
    int left = 0;
    while (WakeUp(Progress::kNone) == 'g') ++left;
    return left;
  }

  alignas(8) uint64_t ours[1] = {};
  alignas(8) uint64_t theirs[1] = {};
  EventCount events{EventCountPlaces{
      OwnMemory(reinterpret_cast<std::byte*>(ours), sizeof(ours)),
      PeerMemory(reinterpret_cast<std::byte*>(theirs), sizeof(theirs)), 0, 0, false, false}};
  ScriptedDoorbell doorbell;
  Termination termination;
  WaitStats stats;
  bool ready = false;
  std::function<bool()> on_poll;  // instead of `ready`
  int polls = 0;
  uint64_t progress = 0;
  std::unique_ptr<Waiter> waiter;

 private:
  std::function<bool()> poll_ = [this] {
    ++polls;
    return on_poll ? on_poll() : ready;
  };
  absl::FunctionRef<bool()> Ready() { return poll_; }
};

int OpenDescriptors() {
  int open = 0;
  for (int fd = 0; fd < 200; ++fd) open += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return open;
}

bool SeveralProcessors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return ::sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) >= 2;
}

// --- how one is made ----------------------------------------------------------------------------

// What is measured once for a process must not have been measured yet: the first of the file, and
// GoogleTest runs what is called a death test before everything else.
TEST(FirstWaiterDeathTest, TheFirstOfAProcessLeavesNoDescriptorBehind) {
  for (const bool refused : {false, true}) {
    EXPECT_EQ(testing::InAProcessOfItsOwn([&] {
                if (refused) testing::Refuse({SYS_socketpair, EMFILE});
                const int before = OpenDescriptors();
                {
                  End end((WaitOptions()));
                  for (uint64_t epoch = 1; epoch <= 5; ++epoch) {
                    end.theirs[0] = epoch;
                    end.waiter->SignalIfAwaited();
                  }
                  if (end.doorbell.signals.load() != 5) return 1;
                  if (end.termination.ended()) return 2;
                }
                return OpenDescriptors() == before ? 0 : 3;
              }),
              0);
  }
}

// Under a filter whose answer to opening a file is death: how many processors there are is known
// without one.
TEST(WaiterTest, OneIsMadeWithoutOpeningAFile) {
  if (!SeveralProcessors()) GTEST_SKIP() << "one processor: files are asked whether there are more";
  EXPECT_EQ(testing::InAProcessOfItsOwn([] {
              testing::Answer({SYS_openat}, SECCOMP_RET_KILL_PROCESS);
#ifdef SYS_open
              testing::Answer({SYS_open}, SECCOMP_RET_KILL_PROCESS);
#endif
              const End end(WaitOptions::LowestLatency());
              return end.waiter != nullptr ? 0 : 1;
            }),
            0);
}

TEST(WaiterTest, NothingHasHappenedAtFirst) {
  End end((WaitOptions()));
  EXPECT_EQ(end.waiter->throttled_until_ns(), 0);
  EXPECT_EQ(end.waiter->signaller(), nullptr);
  EXPECT_EQ(end.waiter->descriptor(), 77);
  ASSERT_EQ(end.waiter->polled().size(), 1u);
  EXPECT_EQ(end.waiter->polled()[0].fd, 55);
  EXPECT_EQ(end.doorbell.prepared, 0);
  EXPECT_EQ(end.ours[0], 0u);
}

TEST(WaiterTest, EachHasANumberOfItsOwnWithTheSignallerAndGivesItBack) {
  WaitOptions options = WaitOptions::LowestPower();
  options.signaller = *Signaller::Create();
  std::vector<std::unique_ptr<End>> ends;
  for (int i = 0; i < 3; ++i) ends.push_back(std::make_unique<End>(options));
  for (std::size_t i = 0; i < ends.size(); ++i) {
    EXPECT_EQ(ends[i]->waiter->signaller(), options.signaller.get());
    ends[i]->theirs[0] = 1;
    ends[i]->waiter->SignalIfAwaited();
    EXPECT_EQ(ends[i]->stats.signals, 1u);
    ends[i]->waiter->SignalIfAwaited();  // not for the same epoch
    EXPECT_EQ(ends[i]->stats.signals, 1u);
    const Deadline give_up = In(30'000);
    while (ends[i]->doorbell.signals.load() == 0 && !give_up.Expired()) std::this_thread::yield();
    for (std::size_t j = 0; j < ends.size(); ++j) {
      EXPECT_EQ(ends[j]->doorbell.signals.load(), j <= i ? 1 : 0) << i << j;
    }
  }
  // One that ends takes no place any more, and is not signalled for.
  struct Nothing : Signaller::Task {
    void SignalNow() override {}
  } nothing;
  EXPECT_EQ(*options.signaller->Add(&nothing), 3u);
  ends[1].reset();
  EXPECT_EQ(*options.signaller->Add(&nothing), 1u);
  for (const std::size_t number : {1u, 3u}) options.signaller->Remove(number);
}

TEST(WaiterTest, ASignallerThatIsFullIsAnError) {
  WaitOptions options = WaitOptions::LowestPower();
  options.signaller = *Signaller::Create();
  struct Nothing : Signaller::Task {
    void SignalNow() override {}
  } nothing;
  for (std::size_t i = 0; i < Signaller::kMaxTasks; ++i) {
    ASSERT_TRUE(options.signaller->Add(&nothing).ok());
  }
  End end(WaitOptions::LowestPower());
  EXPECT_EQ(Waiter::Create(&end.events, &end.doorbell, &end.termination, options, &end.stats)
                .status()
                .code(),
            absl::StatusCode::kResourceExhausted);
  options.signaller->Remove(7);
  EXPECT_TRUE(
      Waiter::Create(&end.events, &end.doorbell, &end.termination, options, &end.stats).ok());
}

// --- signals ------------------------------------------------------------------------------------

TEST(WaiterTest, OneSignalForEachEpoch) {
  End end(WaitOptions::LowestPower());
  end.waiter->SignalIfAwaited();
  EXPECT_EQ(end.doorbell.signals.load(), 0);
  for (int epoch = 1; epoch <= 50; ++epoch) {
    end.theirs[0] = static_cast<uint64_t>(epoch);
    for (int i = 0; i < 3; ++i) end.waiter->SignalIfAwaited();
    EXPECT_EQ(end.doorbell.signals.load(), epoch);
    EXPECT_EQ(end.stats.signals, static_cast<uint64_t>(epoch));
  }
  EXPECT_FALSE(end.termination.ended());
}

TEST(WaiterTest, WhatTheCallerUsedOfAProcessorIsNotTheSignals) {
  Burn(60);
  End end(WaitOptions::LowestPower());
  for (uint64_t epoch = 1; epoch <= 100; ++epoch) end.waiter->Signal(epoch);
  EXPECT_FALSE(end.termination.ended());
  EXPECT_EQ(end.doorbell.signals.load(), 100);
}

TEST(WaiterTest, ASignalThatTakesTooMuchIsAViolation) {
  End end(WaitOptions::LowestPower());
  end.doorbell.on_signal = [] { Burn(30); };
  end.waiter->Signal(1);
  EXPECT_EQ(end.termination.poison(), Violation::kSignalsTooExpensive);
  EXPECT_EQ(end.doorbell.signals.load(), 1);
}

// Measured or not: two that take more than half of what is allowed are too much, whichever clock
// was asked first.
TEST(WaiterTest, ASlowSignalThatWasNotMeasuredIsChargedAfterwards) {
  End end(WaitOptions::LowestPower());
  end.waiter->Signal(1);  // measured, and cheap; so the next one is not
  end.doorbell.on_signal = [] { Burn(12); };
  end.waiter->Signal(2);
  EXPECT_FALSE(end.termination.ended());
  end.waiter->Signal(3);
  EXPECT_EQ(end.termination.poison(), Violation::kSignalsTooExpensive);
}

TEST(WaiterTest, ACheapSignalThatWasNotMeasuredIsNotChargedAfterwards) {
  for (int tries = 0; tries < 50; ++tries) {
    End end(WaitOptions::LowestPower());
    end.waiter->Signal(1);
    const int64_t before_ns = MonotonicNowNs();
    end.waiter->Signal(2);
    // Somebody else had the processor meanwhile: it looked slow.
    if (MonotonicNowNs() - before_ns > 1'000'000) continue;
    end.doorbell.on_signal = [] { Burn(12); };
    end.waiter->Signal(3);
    EXPECT_FALSE(end.termination.ended());
    return;
  }
  FAIL() << "each signal took more than a millisecond";
}

// --- an end that only tries ---------------------------------------------------------------------

TEST(WaiterTest, EmptyPollsAskForTheEndNowAndThen) {
  for (int tries = 0; tries < 50; ++tries) {
    End end(WaitOptions::LowestPower());
    const auto poll = [&](int count) {
      for (int i = 0; i < count; ++i) EXPECT_FALSE(end.waiter->PeerGoneAtEmptyPoll());
      return end.doorbell.asked;
    };
    EXPECT_EQ(poll(Waiter::kEmptyPollsPerCheck - 1), 0);
    const int64_t before_ns = MonotonicNowNs();
    EXPECT_EQ(poll(1), 1);
    const int64_t checked_ns = MonotonicNowNs();
    const int asked = poll(4 * Waiter::kEmptyPollsPerCheck);
    if (MonotonicNowNs() - before_ns >= Waiter::kCheckEachNs) continue;  // somebody else's turn
    EXPECT_EQ(asked, 1);
    SleepUntilNs(checked_ns + Waiter::kCheckEachNs);
    EXPECT_EQ(poll(Waiter::kEmptyPollsPerCheck - 1), 1);
    EXPECT_EQ(poll(1), 2);
    EXPECT_FALSE(end.termination.peer_gone());

    // What the peer had published before its end is seen by the call after the one that asked.
    end.doorbell.ended = true;
    SleepUntilNs(MonotonicNowNs() + Waiter::kCheckEachNs);
    EXPECT_EQ(poll(Waiter::kEmptyPollsPerCheck), 3);
    EXPECT_TRUE(end.termination.peer_gone());
    for (int i = 0; i < 200; ++i) EXPECT_TRUE(end.waiter->PeerGoneAtEmptyPoll());
    EXPECT_EQ(end.doorbell.asked, 3);
    return;
  }
  FAIL() << "256 polls took ten milliseconds each time";
}

TEST(WaiterTest, EmptyPollsBelieveTheOtherEndAboutTheEnd) {
  End end(WaitOptions::LowestPower());
  end.termination.SetPeerGone();
  // Between its news and the look of this call the peer may have published something.
  EXPECT_FALSE(end.waiter->PeerGoneAtEmptyPoll());
  EXPECT_TRUE(end.waiter->PeerGoneAtEmptyPoll());
  EXPECT_EQ(end.doorbell.asked, 0);
}

// --- event loops --------------------------------------------------------------------------------

TEST(WaiterTest, ArmingIsForWhereNothingIsReady) {
  End end(WaitOptions::LowestPower());
  EXPECT_TRUE(end.Arm());
  EXPECT_EQ(end.doorbell.begun, 1);
  EXPECT_EQ(end.doorbell.prepared, 1);
  EXPECT_EQ(end.ours[0], 1u);
  EXPECT_EQ(end.polls, 1);
  end.ready = true;
  EXPECT_FALSE(end.Arm());
  EXPECT_EQ(end.doorbell.begun, 1);
  EXPECT_EQ(end.doorbell.prepared, 2);
  EXPECT_EQ(end.ours[0], 2u);
}

// First what was noted, then what was announced, then the look: the order is the protocol.
TEST(WaiterTest, TheAnnouncementComesBeforeTheLastLook) {
  End end(WaitOptions::LowestPower());
  end.on_poll = [&] {
    EXPECT_EQ(end.doorbell.prepared, 1);
    EXPECT_EQ(end.ours[0], 1u);
    return false;
  };
  EXPECT_TRUE(end.Arm());
}

TEST(WaiterTest, ArmingForASetSaysWhatThereIsToDo) {
  using Armed = Waitable::Armed;
  for (const bool poisoned : {false, true}) {
    for (const bool ready : {false, true}) {
      for (const bool gone : {false, true}) {
        for (const bool interrupted : {false, true}) {
          SCOPED_TRACE(::testing::Message() << poisoned << ready << gone << interrupted);
          End end(WaitOptions::LowestPower());
          end.ready = ready;
          if (poisoned) end.termination.Poison(Violation::kMetadataInvalid);
          if (gone) end.termination.SetPeerGone();
          static_cast<void>(end.doorbell.wake().Take(LocalWake::kCheck));
          if (interrupted) end.waiter->Interrupt();
          const Armed expected = poisoned              ? Armed::kWoken
                                 : ready               ? Armed::kReady
                                 : gone || interrupted ? Armed::kWoken
                                                       : Armed::kSleeping;
          EXPECT_EQ(end.ArmForSet(), expected);
          EXPECT_EQ(end.ours[0], poisoned ? 0u : 1u);
          // Asleep: a wake-up has to write.
          end.doorbell.Wake(LocalWake::kCheck);
          EXPECT_EQ(end.doorbell.Woken(), expected == Armed::kSleeping);
        }
      }
    }
  }
}

TEST(WaiterTest, WhoIsDisarmedIsAwake) {
  End end(WaitOptions::LowestPower());
  ASSERT_EQ(end.ArmForSet(), Waitable::Armed::kSleeping);
  end.waiter->Disarm();
  end.waiter->Interrupt();
  EXPECT_FALSE(end.doorbell.Woken());
}

TEST(WaiterTest, EachWayToTakeWakeUpsEndsThePolledSleep) {
  End end(WaitOptions::LowestPower());
  ASSERT_TRUE(end.Arm());
  EXPECT_EQ(end.waiter->TakeWakeUps(Progress::kNone), Result::kReady);
  EXPECT_EQ(end.doorbell.ended_sleeps, 1);
  EXPECT_TRUE(end.doorbell.handed_over.empty());
  const std::vector<short> revents = {POLLIN};
  EXPECT_EQ(end.waiter->TakeWakeUps(Progress::kNone, revents), Result::kReady);
  EXPECT_EQ(end.doorbell.ended_sleeps, 1);
  EXPECT_EQ(end.doorbell.handed_over, revents);
}

// 64 of these, 3 of those: what each kind of wake-up is answered by, and what is counted.
TEST(WaiterTest, WhatAWakeUpIsChargedAs) {
  for (const Drained drained : {Drained::kSignalled, Drained::kRedundant}) {
    End none(Frugal(4, 3));
    EXPECT_EQ(none.WakeUps(8, Progress::kNone, drained), "ggggtttv");
    EXPECT_EQ(none.termination.poison(), Violation::kDoorbellFlood);
    EXPECT_EQ(none.stats.wakeups, 8u);
    EXPECT_EQ(none.stats.spurious_wakeups, 8u);
    EXPECT_EQ(none.stats.throttles, 3u);

    End little(Frugal(4, 3));
    EXPECT_EQ(little.WakeUps(12, Progress::kLittle, drained), "ggggtttttttt");
    EXPECT_EQ(little.stats.wakeups, 12u);
    EXPECT_EQ(little.stats.spurious_wakeups, 0u);
    EXPECT_EQ(little.stats.throttles, 8u);
    EXPECT_FALSE(little.termination.ended());

    End enough(Frugal(4, 3));
    EXPECT_EQ(enough.WakeUps(12, Progress::kEnough, drained), "gggggggggggg");
    EXPECT_EQ(enough.stats.wakeups, 12u);
    EXPECT_EQ(enough.stats.spurious_wakeups, 0u);
    EXPECT_EQ(enough.stats.throttles, 0u);
  }
  // What was not the peer's signal is not the peer's fault.
  End quiet(Frugal(0, 0));
  EXPECT_EQ(quiet.WakeUps(5, Progress::kNone, Drained::kQuiet), "ggggg");
  EXPECT_EQ(quiet.WakeUps(5, Progress::kNone, Drained::kThrottled), "ggggg");
  EXPECT_EQ(quiet.stats.wakeups, 0u);
  EXPECT_EQ(quiet.stats.throttles, 0u);
  EXPECT_EQ(quiet.doorbell.ended_throttles, 0);
}

// Enough progress gives the throttles back; the wake-ups only by Refund, in proportion.
TEST(WaiterTest, EnoughGivesBackTheThrottlesAlone) {
  End end(Frugal(4, 3));
  EXPECT_EQ(end.WakeUps(7, Progress::kNone), "ggggttt");
  EXPECT_EQ(end.WakeUp(Progress::kEnough), 'g');
  EXPECT_EQ(end.WakeUps(4, Progress::kNone), "tttv");
}

TEST(WaiterTest, AThrottleLastsAsLongAsTheOptionsSay) {
  WaitOptions options = Frugal(0, 3);
  options.throttle_time = absl::Milliseconds(3);
  for (const Progress brought : {Progress::kNone, Progress::kLittle}) {
    End end(options);
    const int64_t before_ns = MonotonicNowNs();
    EXPECT_EQ(end.WakeUp(brought), 't');
    const int64_t after_ns = MonotonicNowNs();
    ASSERT_EQ(end.doorbell.throttled.size(), 1u);
    EXPECT_GE(end.doorbell.throttled[0], before_ns + 3'000'000);
    EXPECT_LE(end.doorbell.throttled[0], after_ns + 3'000'000);
    EXPECT_EQ(end.waiter->throttled_until_ns(), end.doorbell.throttled[0]);
  }
  // As long as the other end's, where the signals were for that one.
  End end(options);
  end.doorbell.other_throttle_ns = In(3'600'000).monotonic_ns();
  EXPECT_EQ(end.WakeUp(Progress::kNone, Drained::kThrottled), 't');
  EXPECT_EQ(end.doorbell.throttled, std::vector<int64_t>{end.doorbell.other_throttle_ns});
  EXPECT_EQ(end.waiter->throttled_until_ns(), end.doorbell.other_throttle_ns);
  EXPECT_EQ(end.stats.throttles, 1u);
  EXPECT_EQ(end.stats.wakeups, 0u);
}

// Throttled or not, over or not, for each thing that a wake-up brought: whether the doorbell is
// looked at.
TEST(WaiterTest, AThrottledDoorbellIsLeftAlone) {
  for (const int throttle : {0, 1, 2}) {  // none; one that is over; one that is on
    for (const Progress brought : {Progress::kNone, Progress::kLittle, Progress::kEnough}) {
      SCOPED_TRACE(::testing::Message() << throttle << static_cast<int>(brought));
      WaitOptions options = Frugal(0, 9);
      if (throttle == 2) options.throttle_time = absl::Hours(1);
      End end(options);
      if (throttle != 0) {
        ASSERT_EQ(end.WakeUp(Progress::kNone), 't');
      }
      const int64_t until_ns = end.waiter->throttled_until_ns();
      EXPECT_EQ(until_ns != 0, throttle != 0);
      const int drained = end.doorbell.drained;
      ASSERT_TRUE(end.Arm());
      end.doorbell.wake().Post(LocalWake::kCheck);  // writes the descriptor
      EXPECT_TRUE(end.doorbell.Woken());
      EXPECT_EQ(end.waiter->TakeWakeUps(brought), Result::kReady);
      EXPECT_FALSE(end.doorbell.wake().Has(LocalWake::kCheck));
      const bool left_alone = throttle == 2 && brought != Progress::kEnough;
      EXPECT_EQ(end.doorbell.drained - drained, left_alone ? 0 : 1);
      EXPECT_EQ(end.doorbell.asked, left_alone ? 1 : 0);
      EXPECT_EQ(end.doorbell.ended_throttles, throttle != 0 && !left_alone ? 1 : 0);
      EXPECT_EQ(end.waiter->throttled_until_ns(), left_alone ? until_ns : 0);
      // The scripted doorbell leaves that to its waiter.
      if (left_alone) {
        EXPECT_FALSE(end.doorbell.Woken());
      }
    }
  }
}

TEST(WaiterTest, WhileThrottledAnEndAndAnInterruptAreSeen) {
  WaitOptions options = Frugal(0, 9);
  options.throttle_time = absl::Hours(1);
  End end(options);
  ASSERT_EQ(end.WakeUp(Progress::kNone), 't');
  end.waiter->Interrupt();
  EXPECT_EQ(end.waiter->TakeWakeUps(Progress::kNone), Result::kInterrupted);
  EXPECT_EQ(end.waiter->TakeWakeUps(Progress::kNone), Result::kReady);
  end.doorbell.ended = true;
  EXPECT_EQ(end.waiter->TakeWakeUps(Progress::kNone), Result::kPeerGone);
  EXPECT_TRUE(end.termination.peer_gone());
  EXPECT_EQ(end.waiter->TakeWakeUps(Progress::kNone), Result::kPeerGone);
}

TEST(WaiterTest, WhatTakingWakeUpsSays) {
  {
    End end(WaitOptions::LowestPower());
    end.doorbell.drains = {Drained::kUnexpected};
    EXPECT_EQ(end.waiter->TakeWakeUps(Progress::kEnough), Result::kViolation);
    EXPECT_EQ(end.termination.poison(), Violation::kUnexpectedMessage);
    EXPECT_FALSE(end.termination.peer_gone());
    // For good; and nobody looks at the doorbell again.
    const int drained = end.doorbell.drained;
    EXPECT_EQ(end.waiter->TakeWakeUps(Progress::kEnough), Result::kViolation);
    EXPECT_EQ(end.doorbell.drained, drained);
  }
  {
    End end(WaitOptions::LowestPower());
    end.doorbell.drains = {Drained::kPeerGone};
    EXPECT_EQ(end.waiter->TakeWakeUps(Progress::kNone), Result::kPeerGone);
    EXPECT_TRUE(end.termination.peer_gone());
    EXPECT_EQ(end.termination.poison(), Violation::kNone);
    end.waiter->Interrupt();
    EXPECT_EQ(end.waiter->TakeWakeUps(Progress::kNone), Result::kInterrupted);
    EXPECT_EQ(end.waiter->TakeWakeUps(Progress::kNone), Result::kPeerGone);
  }
  {
    End end(WaitOptions::LowestPower());
    end.waiter->Interrupt();
    EXPECT_EQ(end.waiter->TakeWakeUps(Progress::kNone), Result::kInterrupted);
    EXPECT_EQ(end.waiter->TakeWakeUps(Progress::kNone), Result::kReady);
  }
}

TEST(WaiterDeathTest, AFutexHasNothingToPoll) {
  End end(WaitOptions::LowestPower(), Doorbell::Kind::kFutex);
  const char why[] = "a channel with a futex doorbell has no descriptor to poll";
  EXPECT_DEATH(end.Arm(), why);
  EXPECT_DEATH(end.waiter->TakeWakeUps(Progress::kNone), why);
  EXPECT_DEATH(end.waiter->TakeWakeUps(Progress::kNone, {}), why);
  EXPECT_EQ(end.Wait(kExpired), Result::kDeadline);
}

// --- refunds ----------------------------------------------------------------------------------

TEST(WaiterTest, ProgressIsRefundedInSteps) {
  struct Row {
    uint64_t steps_per_refund, enough, progress;
    int wakeups;
  };
  const Row rows[] = {{1, 1, 0, 0},  {1, 1, 1, 2},  {1, 1, 3, 6},  {1, 8, 7, 0},   {1, 8, 8, 2},
                      {1, 8, 15, 2}, {1, 8, 16, 4}, {2, 8, 15, 0}, {2, 8, 16, 2},  {2, 8, 47, 4},
                      {4, 1, 3, 0},  {4, 1, 4, 2},  {3, 2, 6, 2},  {1, 1, 50, 40}, {8, 8, 640, 20}};
  for (const Row& row : rows) {
    SCOPED_TRACE(::testing::Message()
                 << row.steps_per_refund << " " << row.enough << " " << row.progress);
    End end(Frugal(40, 1000));
    end.waiter = *Waiter::Create(&end.events, &end.doorbell, &end.termination, Frugal(40, 1000),
                                 &end.stats, row.steps_per_refund);
    EXPECT_EQ(end.WakeUpsLeft(), 40);
    end.waiter->Refund(row.progress, row.enough);
    EXPECT_EQ(end.WakeUpsLeft(), row.wakeups);
    // Once; and what was not enough for a step counts for the next one.
    end.waiter->Refund(row.progress, row.enough);
    EXPECT_EQ(end.WakeUpsLeft(), 0);
    const uint64_t step = row.steps_per_refund * row.enough;
    end.waiter->Refund((row.progress / step + 1) * step - 1, row.enough);
    EXPECT_EQ(end.WakeUpsLeft(), 0);
    end.waiter->Refund((row.progress / step + 1) * step, row.enough);
    EXPECT_EQ(end.WakeUpsLeft(), 2);
  }
  // Unless told otherwise each `enough` is a step.
  End end(Frugal(40, 1000));
  EXPECT_EQ(end.WakeUpsLeft(), 40);
  end.waiter->Refund(3, 3);
  EXPECT_EQ(end.WakeUpsLeft(), 2);
}

TEST(WaiterTest, AWaitRefundsWhatWasDoneSinceTheLastOne) {
  End end(Frugal(9, 1000));
  EXPECT_EQ(end.WakeUpsLeft(), 9);
  end.ready = true;
  end.progress = 2;
  EXPECT_EQ(end.Wait(kExpired), Result::kReady);
  EXPECT_EQ(end.WakeUpsLeft(), 4);
  EXPECT_EQ(end.Wait(kExpired), Result::kReady);
  EXPECT_EQ(end.WakeUpsLeft(), 0);
}

// A signal that brought what was waited for: two, as for a step.
TEST(WaiterTest, AWakeUpThatBroughtItIsRefunded) {
  for (const bool ready : {true, false}) {
    End end(Frugal(9, 1000));
    EXPECT_EQ(end.WakeUpsLeft(), 9);
    end.doorbell.on_sleep = [&](Deadline) {
      end.ready = ready;
      return true;
    };
    EXPECT_EQ(end.Wait(kExpired), ready ? Result::kReady : Result::kDeadline);
    EXPECT_EQ(end.WakeUpsLeft(), ready ? 2 : 0);
  }
}

// --- waits, without a spin ----------------------------------------------------------------------

TEST(WaiterTest, WhatIsReadyNeedsNoSleep) {
  for (const absl::Duration spin : {absl::ZeroDuration(), absl::Nanoseconds(-1)}) {
    WaitOptions options;
    options.max_spin = spin;
    End end(options);
    end.ready = true;
    EXPECT_EQ(end.Wait(kExpired), Result::kReady);
    EXPECT_EQ(end.stats.waits, 1u);
    EXPECT_EQ(end.stats.sleeps, 0u);
    EXPECT_EQ(end.polls, 1);
    EXPECT_EQ(end.doorbell.prepared, 1);
    EXPECT_EQ(end.doorbell.drained, 0);
    EXPECT_EQ(end.ours[0], 1u);
  }
}

TEST(WaiterTest, AWaitThatFindsNothingEndsAtItsDeadline) {
  End end(WaitOptions::LowestPower());
  const Deadline deadline = In(10);
  EXPECT_EQ(end.Wait(deadline), Result::kDeadline);
  EXPECT_TRUE(deadline.Expired());
  EXPECT_EQ(end.doorbell.deadlines, std::vector<int64_t>{deadline.monotonic_ns()});
  EXPECT_EQ(end.polls, 2);  // before the sleep and after it
  EXPECT_EQ(end.stats.waits, 1u);
  EXPECT_EQ(end.stats.sleeps, 1u);
  EXPECT_EQ(end.stats.wakeups, 0u);
  EXPECT_EQ(end.stats.throttles, 0u);
  EXPECT_EQ(end.doorbell.drained, 0);
  EXPECT_EQ(end.Wait(kExpired), Result::kDeadline);
  EXPECT_EQ(end.stats.waits, 2u);
  EXPECT_EQ(end.stats.sleeps, 2u);
}

TEST(WaiterTest, WhatCameAtTheDeadlineIsTaken) {
  End end(WaitOptions::LowestPower());
  end.doorbell.on_sleep = [&](Deadline) {
    end.ready = true;
    return false;
  };
  EXPECT_EQ(end.Wait(kExpired), Result::kReady);
  EXPECT_EQ(end.doorbell.drained, 0);
  EXPECT_EQ(end.stats.sleeps, 1u);
}

// A futex sleeps in slices.
TEST(WaiterTest, ASleepThatEndsEarlyIsFollowedByTheNext) {
  End end(WaitOptions::LowestPower());
  end.doorbell.on_sleep = [&](Deadline) {
    end.ready = end.doorbell.deadlines.size() == 5;
    return false;
  };
  EXPECT_EQ(end.Wait(In(60'000)), Result::kReady);
  EXPECT_EQ(end.stats.sleeps, 5u);
  EXPECT_EQ(end.stats.waits, 1u);
  EXPECT_EQ(end.stats.wakeups, 0u);
  EXPECT_EQ(end.doorbell.drained, 0);
  EXPECT_EQ(end.ours[0], 5u);  // announced each time
}

TEST(WaiterTest, AWakeUpThatBroughtItIsDrainedAndCounted) {
  for (const Drained drained : {Drained::kSignalled, Drained::kRedundant, Drained::kQuiet,
                                Drained::kThrottled, Drained::kPeerGone}) {
    End end(Frugal(0, 0));
    end.doorbell.other_throttle_ns = In(3'600'000).monotonic_ns();
    end.doorbell.on_sleep = [&](Deadline) {
      end.ready = true;
      end.doorbell.drains = {drained};
      end.doorbell.Wake(LocalWake::kCheck);
      return true;
    };
    EXPECT_EQ(end.Wait(In(60'000)), Result::kReady);
    const bool signalled = drained == Drained::kSignalled || drained == Drained::kRedundant;
    EXPECT_EQ(end.stats.wakeups, signalled ? 1u : 0u);
    EXPECT_EQ(end.stats.spurious_wakeups, 0u);
    EXPECT_EQ(end.stats.throttles, 0u);
    EXPECT_EQ(end.stats.sleeps, 1u);
    EXPECT_EQ(end.doorbell.drained, 1);
    EXPECT_EQ(end.doorbell.prepared, 1);
    // What is found now is news for this end as well.
    EXPECT_EQ(end.doorbell.wake().Has(LocalWake::kCheck), drained == Drained::kPeerGone);
    EXPECT_EQ(end.termination.peer_gone(), drained == Drained::kPeerGone);
  }
}

// What each step of progress between two polls makes of a wake-up: nothing, a little, enough.
TEST(WaiterTest, AWakeUpIsChargedByTheProgressThatItBrought) {
  struct Row {
    uint64_t step, spurious, throttles;
  };
  for (const Row& row : {Row{0, 6, 2}, Row{1, 0, 2}, Row{7, 0, 2}, Row{8, 0, 0}, Row{9, 0, 0}}) {
    for (const Drained drained : {Drained::kSignalled, Drained::kRedundant}) {
      End end(Frugal(4, 3));
      end.progress = 100;
      end.ready = true;
      EXPECT_EQ(end.Wait(kExpired, 8), Result::kReady);  // 100 are known
      end.ready = false;
      end.doorbell.on_sleep = [&](Deadline) {
        if (end.doorbell.deadlines.size() == 7) {
          end.ready = true;
          return false;
        }
        end.doorbell.drains = {drained};
        end.progress += row.step;
        return true;
      };
      EXPECT_EQ(end.Wait(In(60'000), 8), Result::kReady);
      EXPECT_EQ(end.stats.wakeups, 6u) << row.step;
      EXPECT_EQ(end.stats.spurious_wakeups, row.spurious) << row.step;
      EXPECT_EQ(end.stats.throttles, row.throttles) << row.step;
    }
  }
}

TEST(WaiterTest, AFloodEndsTheWait) {
  End end(Frugal(2, 1));
  end.doorbell.on_sleep = [&](Deadline) {
    end.doorbell.drains = {Drained::kSignalled};
    return true;
  };
  EXPECT_EQ(end.Wait(In(60'000)), Result::kViolation);
  EXPECT_EQ(end.termination.poison(), Violation::kDoorbellFlood);
  EXPECT_EQ(end.stats.sleeps, 4u);
  EXPECT_EQ(end.stats.wakeups, 4u);
  EXPECT_EQ(end.stats.throttles, 1u);
}

// It is what is told, also where the deadline has passed meanwhile.
TEST(WaiterTest, AFloodAtTheDeadlineIsAViolation) {
  End end(Frugal(0, 0));
  end.doorbell.on_sleep = [&](Deadline) {
    end.doorbell.drains = {Drained::kSignalled};
    return true;
  };
  EXPECT_EQ(end.Wait(kExpired), Result::kViolation);
}

// While it is throttled the thread sleeps without the doorbell, and everybody can see that.
TEST(WaiterTest, AThrottleIsSleptThrough) {
  for (const bool others : {false, true}) {  // this end's own, or the other end's
    WaitOptions options = Frugal(0, 9);
    options.throttle_time = absl::Milliseconds(30);
    End end(options);
    int64_t until_ns = 0;
    end.doorbell.on_sleep = [&](Deadline) {
      if (end.doorbell.deadlines.size() == 1) {
        until_ns = In(30).monotonic_ns();
        if (others) end.doorbell.other_throttle_ns = until_ns;
        end.doorbell.drains = {others ? Drained::kThrottled : Drained::kSignalled};
        return true;
      }
      // It is over: signals wake again.
      end.doorbell.wake().Post(LocalWake::kSignal);
      EXPECT_FALSE(end.doorbell.wake().BeginSleep());
      static_cast<void>(end.doorbell.wake().Take(LocalWake::kSignal));
      end.ready = true;
      return false;
    };
    std::atomic<bool> done{false};
    std::atomic<bool> seen{false};
    std::thread other([&] {
      while (!done.load()) {
        if (end.doorbell.wake().ThrottleEnd(MonotonicNowNs()) != 0) seen.store(true);
        std::this_thread::yield();
      }
    });
    EXPECT_EQ(end.Wait(In(60'000)), Result::kReady);
    done.store(true);
    other.join();
    EXPECT_TRUE(seen.load());
    EXPECT_EQ(end.stats.throttles, 1u);
    ASSERT_EQ(end.doorbell.entered_ns.size(), 2u);
    EXPECT_GE(end.doorbell.entered_ns[1], until_ns);
  }
}

TEST(WaiterTest, AThrottleIsNoLongerThanTheDeadline) {
  WaitOptions options = Frugal(0, 9);
  options.throttle_time = absl::Hours(1);
  End end(options);
  end.doorbell.on_sleep = [&](Deadline) {
    end.doorbell.drains = {Drained::kSignalled};
    return true;
  };
  const Deadline deadline = In(20);
  EXPECT_EQ(end.Wait(deadline), Result::kDeadline);
  EXPECT_TRUE(deadline.Expired());
  EXPECT_EQ(end.stats.throttles, 1u);
  EXPECT_EQ(end.stats.sleeps, 1u);
}

// The other end's signals came, and its throttle is over: nothing to wait for.
TEST(WaiterTest, AThrottleOfTheOtherEndThatIsOverIsNone) {
  End end(Frugal(0, 0));
  end.doorbell.other_throttle_ns = 1;
  end.doorbell.on_sleep = [&](Deadline) {
    end.ready = end.doorbell.deadlines.size() == 3;
    end.doorbell.drains = {Drained::kThrottled};
    return true;
  };
  EXPECT_EQ(end.Wait(In(60'000)), Result::kReady);
  EXPECT_EQ(end.stats.throttles, 0u);
  EXPECT_EQ(end.stats.wakeups, 0u);
}

// Wake-ups that never end do not stretch a wait.
TEST(WaiterTest, AWakeUpAfterTheDeadlineIsTheLast) {
  End end(WaitOptions::LowestPower());
  end.doorbell.on_sleep = [](Deadline) { return true; };
  EXPECT_EQ(end.Wait(kExpired), Result::kDeadline);
  EXPECT_EQ(end.stats.sleeps, 1u);
  EXPECT_EQ(end.doorbell.drained, 1);
  // What came with the very last look is taken.
  end.polls = 0;
  end.on_poll = [&] { return end.polls == 3; };
  EXPECT_EQ(end.Wait(kExpired), Result::kReady);
}

TEST(WaiterTest, WhatEndsAWaitBeforeItSleeps) {
  {
    End end(WaitOptions::LowestPower());
    end.ready = true;
    end.termination.Poison(Violation::kMetadataInvalid);
    EXPECT_EQ(end.Wait(In(60'000)), Result::kViolation);
    EXPECT_EQ(end.doorbell.prepared, 0);
  }
  {
    End end(WaitOptions::LowestPower());
    end.waiter->Interrupt();
    end.ready = true;
    EXPECT_EQ(end.Wait(In(60'000)), Result::kInterrupted);
    EXPECT_EQ(end.Wait(In(60'000)), Result::kReady);
  }
  {
    End end(WaitOptions::LowestPower());
    end.termination.SetPeerGone();
    EXPECT_EQ(end.Wait(In(60'000)), Result::kPeerGone);
    EXPECT_EQ(end.stats.sleeps, 0u);
    end.ready = true;  // what the peer had published is there
    EXPECT_EQ(end.Wait(In(60'000)), Result::kReady);
    EXPECT_EQ(end.stats.sleeps, 0u);
  }
}

TEST(WaiterTest, WhatEndsASleep) {
  const auto result = [](End& end, std::function<void()> during) {
    end.doorbell.on_sleep = [&end, during = std::move(during)](Deadline) {
      EXPECT_EQ(end.doorbell.deadlines.size(), 1u);
      during();
      return true;
    };
    return end.Wait(In(60'000));
  };
  {
    End end(WaitOptions::LowestPower());
    EXPECT_EQ(result(end, [&] { end.waiter->Interrupt(); }), Result::kInterrupted);
  }
  {
    End end(WaitOptions::LowestPower());
    EXPECT_EQ(result(end, [&] { end.termination.Poison(Violation::kMetadataInvalid); }),
              Result::kViolation);
  }
  {
    End end(WaitOptions::LowestPower());
    EXPECT_EQ(result(end, [&] { end.termination.SetPeerGone(); }), Result::kPeerGone);
  }
  {
    End end(WaitOptions::LowestPower());
    EXPECT_EQ(result(end, [&] { end.doorbell.drains = {Drained::kPeerGone}; }), Result::kPeerGone);
    EXPECT_TRUE(end.termination.peer_gone());
  }
  for (const bool ready : {false, true}) {
    End end(WaitOptions::LowestPower());
    EXPECT_EQ(result(end,
                     [&] {
                       end.ready = ready;
                       end.doorbell.drains = {Drained::kUnexpected};
                     }),
              Result::kViolation);
    EXPECT_EQ(end.termination.poison(), Violation::kUnexpectedMessage);
    EXPECT_FALSE(end.termination.peer_gone());
  }
}

// A barrier that is denied: a wake-up may be missed, so no sleep is longer than a millisecond.
TEST(WaiterTest, WithoutItsBarrierAnEndSleepsForAMillisecond) {
  EXPECT_EQ(testing::InAProcessOfItsOwn([] {
              testing::Refuse({SYS_membarrier, EPERM});
              End end(WaitOptions::LowestPower());
              EventCount events(EventCountPlaces{
                  OwnMemory(reinterpret_cast<std::byte*>(end.ours), sizeof(end.ours)),
                  PeerMemory(reinterpret_cast<std::byte*>(end.theirs), sizeof(end.theirs)), 0, 0,
                  false, true});
              end.waiter = *Waiter::Create(&events, &end.doorbell, &end.termination,
                                           WaitOptions::LowestPower(), &end.stats);
              end.doorbell.on_sleep = [&](Deadline) {
                end.ready = end.doorbell.deadlines.size() == 20;
                return false;
              };
              if (end.Wait(In(60'000)) != Result::kReady) return 1;
              for (std::size_t i = 0; i < 20; ++i) {
                if (end.doorbell.deadlines[i] > end.doorbell.entered_ns[i] + 1'000'000) return 2;
              }
              // Nor longer than the caller's deadline.
              end.ready = false;
              end.doorbell.on_sleep = nullptr;
              if (end.Wait(kExpired) != Result::kDeadline) return 3;
              const bool kept = end.doorbell.deadlines.back() == 0;
              end.waiter.reset();
              return kept ? 0 : 4;
            }),
            0);
}

// --- spins --------------------------------------------------------------------------------------

// A spin that goes on makes way by a short sleep after half a millisecond. So whether an end spins
// can be seen by its first sleep: is that a probe's, or is it the wait's own?
struct WaiterSpinTest : ::testing::Test {
  void SetUp() override {
    if (!SeveralProcessors()) GTEST_SKIP() << "no spins on one processor";
  }
  const Deadline full = In(600'000);

  // The first sleep of the next wait, which finds data in its own one.
  bool Spins(End& end) {
    end.ready = false;
    bool probed = false;
    bool first = true;
    end.doorbell.on_sleep = [&](Deadline deadline) {
      const bool own = deadline.monotonic_ns() == full.monotonic_ns();
      if (first) probed = !own;
      first = false;
      if (!own) return false;
      SleepUntilNs(MonotonicNowNs() + 3'000'000);
      end.ready = true;
      end.doorbell.drains = {Drained::kSignalled};
      return true;
    };
    EXPECT_EQ(end.Wait(full), Result::kReady);
    EXPECT_FALSE(first);
    end.doorbell.on_sleep = nullptr;
    return probed;
  }

  // Data come so long after the wait began, without a sleep.
  static void ReadyAfter(End& end, int microseconds) {
    const int64_t at_ns = MonotonicNowNs() + microseconds * int64_t{1000};
    end.on_poll = [at_ns] { return MonotonicNowNs() >= at_ns; };
    EXPECT_EQ(end.Wait(In(60'000)), Result::kReady);
    end.on_poll = nullptr;
  }

  // Up to a millisecond of spin, which comes back with the time that passes.
  static WaitOptions Learning(double part = 0.9) {
    WaitOptions options;
    options.max_spin = absl::Seconds(1);
    options.spin_budget = part;
    return options;
  }
};

TEST_F(WaiterSpinTest, WhatIsReadyAtTheFirstPollCostsNothing) {
  End end(WaitOptions::LowestLatency());
  end.ready = true;
  EXPECT_EQ(end.Wait(kExpired), Result::kReady);
  EXPECT_EQ(end.polls, 1);
  EXPECT_EQ(end.stats.waits, 1u);
  EXPECT_EQ(end.doorbell.prepared, 0);
  EXPECT_EQ(end.ours[0], 0u);
}

TEST_F(WaiterSpinTest, AShortGapIsSpunThroughWithoutACall) {
  for (int tries = 0; tries < 50; ++tries) {
    End end(WaitOptions::LowestLatency());
    ReadyAfter(end, 150);
    if (end.stats.sleeps != 0) continue;  // somebody else had the processor: it made way
    if (end.polls <= 16) continue;        // it was ready before the wait began
    EXPECT_EQ(end.doorbell.prepared, 0);
    EXPECT_EQ(end.doorbell.asked, 0);
    return;
  }
  FAIL() << "no spin of 150 us found what it waited for";
}

TEST_F(WaiterSpinTest, TheFirstProbeComesAfterHalfAMillisecond) {
  End end(WaitOptions::LowestLatency());
  const int64_t start_ns = MonotonicNowNs();
  EXPECT_TRUE(Spins(end));
  EXPECT_GE(end.doorbell.entered_ns[0], start_ns + AdaptiveSpin::kProbeAfterNs);
}

// A probe sleeps for a moment, is made less and less often, and the kernel is asked for the peer's
// end each millisecond.
TEST_F(WaiterSpinTest, ALongSpinMakesWayNowAndThen) {
  End end(WaitOptions::LowestLatency());
  const Deadline deadline = In(60);
  const int64_t start_ns = MonotonicNowNs();
  EXPECT_EQ(end.Wait(deadline), Result::kDeadline);
  const int64_t took_ns = MonotonicNowNs() - start_ns;
  EXPECT_TRUE(deadline.Expired());
  // After 0.5, 1, 2, 4, 8, 16 and again 16 ms of spin, and the one of the wait itself.
  const auto more = static_cast<std::size_t>(took_ns / AdaptiveSpin::kMaxProbeGapNs);
  EXPECT_GE(end.doorbell.deadlines.size(), 2u);
  EXPECT_LE(end.doorbell.deadlines.size(), 6 + more + 1);
  EXPECT_GE(end.doorbell.asked, 1);
  EXPECT_LE(end.doorbell.asked, took_ns / 1'000'000 + 1);
  // None is longer than the wait, and not all of them were over before they began.
  int real = 0;
  for (std::size_t i = 0; i < end.doorbell.deadlines.size(); ++i) {
    EXPECT_LE(end.doorbell.deadlines[i], deadline.monotonic_ns());
    real += end.doorbell.deadlines[i] > end.doorbell.entered_ns[i] ? 1 : 0;
  }
  EXPECT_GE(real, 1);
}

// What ends a probe's sleep ends the wait.
TEST_F(WaiterSpinTest, WhatAProbeFindsIsTheResult) {
  const auto result = [&](End& end, std::function<void()> during) {
    end.doorbell.on_sleep = [&end, this, during = std::move(during)](Deadline deadline) {
      EXPECT_NE(deadline.monotonic_ns(), full.monotonic_ns());
      EXPECT_EQ(end.doorbell.deadlines.size(), 1u);
      during();
      return true;
    };
    return end.Wait(full);
  };
  {
    End end(WaitOptions::LowestLatency());
    EXPECT_EQ(result(end, [&] { end.waiter->Interrupt(); }), Result::kInterrupted);
  }
  {
    End end(WaitOptions::LowestLatency());
    EXPECT_EQ(result(end, [&] { end.doorbell.drains = {Drained::kUnexpected}; }),
              Result::kViolation);
  }
  {
    End end(WaitOptions::LowestLatency());
    EXPECT_EQ(result(end, [&] { end.doorbell.drains = {Drained::kPeerGone}; }), Result::kPeerGone);
  }
  {
    End end(WaitOptions::LowestLatency());
    EXPECT_EQ(result(end,
                     [&] {
                       end.ready = true;
                       end.doorbell.drains = {Drained::kSignalled};
                     }),
              Result::kReady);
    EXPECT_EQ(end.doorbell.prepared, 1);
  }
}

// The kernel says that the peer has ended: no more spin, but the sleep that finds out.
TEST_F(WaiterSpinTest, AnEndThatIsNearEndsTheSpin) {
  End end(WaitOptions::LowestLatency());
  end.doorbell.ended = true;
  end.doorbell.on_sleep = [&](Deadline deadline) {
    if (deadline.monotonic_ns() != full.monotonic_ns()) return false;
    end.doorbell.drains = {Drained::kPeerGone};
    return true;
  };
  EXPECT_EQ(end.Wait(full), Result::kPeerGone);
  EXPECT_EQ(end.doorbell.asked, 1);
}

TEST_F(WaiterSpinTest, AnInterruptAndAViolationEndTheSpin) {
  for (const bool interrupt : {false, true}) {
    End end(WaitOptions::LowestLatency());
    end.on_poll = [&] {
      if (end.polls == 40 && interrupt) end.waiter->Interrupt();
      if (end.polls == 40 && !interrupt) end.termination.Poison(Violation::kMetadataInvalid);
      return false;
    };
    end.doorbell.on_sleep = [](Deadline) { return false; };
    EXPECT_EQ(end.Wait(full), interrupt ? Result::kInterrupted : Result::kViolation);
  }
}

// Data that come in a probe's sleep, three times in a row: the two share a processor.
TEST_F(WaiterSpinTest, WhereProbesFindDataThereIsNoSpin) {
  End end(WaitOptions::LowestLatency());
  for (int i = 0; i < AdaptiveSpin::kProbesToSleep; ++i) {
    end.ready = false;
    end.doorbell.on_sleep = [&](Deadline deadline) {
      EXPECT_NE(deadline.monotonic_ns(), full.monotonic_ns()) << i;
      end.ready = true;
      end.doorbell.drains = {Drained::kSignalled};
      return true;
    };
    EXPECT_EQ(end.Wait(full), Result::kReady);
  }
  EXPECT_FALSE(Spins(end));
}

TEST_F(WaiterSpinTest, ProbesThatFindNothingAreNoReasonToStop) {
  End end(WaitOptions::LowestLatency());
  EXPECT_EQ(end.Wait(In(30)), Result::kDeadline);
  EXPECT_GE(end.doorbell.deadlines.size(), 2u);
  EXPECT_TRUE(Spins(end));
}

// What a wait took is learned, where it brought something: by a sleep, ...
TEST_F(WaiterSpinTest, ASleepTeachesHowLongToSpin) {
  End end(Learning());
  EXPECT_FALSE(Spins(end));  // a glance, and three milliseconds of sleep
  EXPECT_TRUE(Spins(end));
  EXPECT_TRUE(Spins(end));
  EXPECT_TRUE(Spins(end));
}

TEST_F(WaiterSpinTest, ATimeoutTeachesNothing) {
  End end(Learning());
  for (int i = 0; i < 4; ++i) EXPECT_EQ(end.Wait(In(3)), Result::kDeadline);
  EXPECT_FALSE(Spins(end));
}

// ... by a spin, ...
TEST_F(WaiterSpinTest, ASpinThatPaidTeachesItsLength) {
  End end(Learning());
  EXPECT_FALSE(Spins(end));
  for (int i = 0; i < 3; ++i) ReadyAfter(end, 300);
  EXPECT_TRUE(Spins(end));
  for (int tries = 0; tries < 20; ++tries) {
    End shorter(Learning());
    EXPECT_FALSE(Spins(shorter));
    for (int i = 0; i < 20; ++i) ReadyAfter(shorter, 60);
    if (!Spins(shorter)) return;  // twice 60 us and no more
  }
  FAIL() << "spins of 60 us taught to spin for 500";
}

// ... by what was there at once, ...
TEST_F(WaiterSpinTest, WhatIsThereAtOnceTeachesToGlance) {
  End end(Learning());
  EXPECT_FALSE(Spins(end));
  end.ready = true;
  for (int i = 0; i < 60; ++i) EXPECT_EQ(end.Wait(full), Result::kReady);
  EXPECT_FALSE(Spins(end));
}

// ... and by a probe.
TEST_F(WaiterSpinTest, WhatAProbeFoundTeachesHowLongItTook) {
  End end(Learning());
  EXPECT_FALSE(Spins(end));
  for (int i = 0; i + 1 < AdaptiveSpin::kProbesToSleep; ++i) {
    end.ready = false;
    end.doorbell.on_sleep = [&](Deadline deadline) {
      EXPECT_NE(deadline.monotonic_ns(), full.monotonic_ns()) << i;
      end.ready = true;
      end.doorbell.drains = {Drained::kSignalled};
      return true;
    };
    EXPECT_EQ(end.Wait(full), Result::kReady);
    SleepUntilNs(MonotonicNowNs() + 3'000'000);  // so that the budget is there again
  }
  EXPECT_TRUE(Spins(end));
}

// A spin for nothing is paid from a budget of a millisecond, of which next to nothing comes back.
TEST_F(WaiterSpinTest, SpinsForNothingUseUpTheBudget) {
  for (int tries = 0; tries < 20; ++tries) {
    End end(Learning(0.001));
    EXPECT_FALSE(Spins(end));
    const bool first = Spins(end);
    const bool second = Spins(end);
    EXPECT_FALSE(second);
    if (first) return;  // else somebody else had the processor while it glanced
  }
  FAIL() << "a glance used up the budget each time";
}

// --- the end of a session -----------------------------------------------------------------------

TEST(TerminationTest, TheFirstViolationIsKeptAndWakesBothEndsOnce) {
  for (const bool send : {false, true}) {
    for (const bool receive : {false, true}) {
      ScriptedDoorbell sends(Doorbell::Kind::kSocket);
      ScriptedDoorbell receives(Doorbell::Kind::kSocket);
      const auto woken = [](ScriptedDoorbell& doorbell) {
        return doorbell.wake().Take(LocalWake::kCheck);
      };
      Termination termination;
      termination.Wakes(send ? &sends : nullptr, receive ? &receives : nullptr);
      EXPECT_EQ(termination.poison(), Violation::kNone);
      EXPECT_FALSE(termination.peer_gone());
      EXPECT_FALSE(termination.ended());
      termination.Poison(Violation::kMetadataInvalid);
      EXPECT_EQ(woken(sends), send);
      EXPECT_EQ(woken(receives), receive);
      termination.Poison(Violation::kDoorbellFlood);
      EXPECT_FALSE(woken(sends) || woken(receives));
      EXPECT_EQ(termination.poison(), Violation::kMetadataInvalid);
      EXPECT_FALSE(termination.peer_gone());
      EXPECT_TRUE(termination.ended());
      // The death is news once more.
      termination.SetPeerGone();
      EXPECT_EQ(woken(sends), send);
      EXPECT_EQ(woken(receives), receive);
      termination.SetPeerGone();
      EXPECT_FALSE(woken(sends) || woken(receives));
      EXPECT_TRUE(termination.peer_gone());
      EXPECT_EQ(termination.poison(), Violation::kMetadataInvalid);
      EXPECT_TRUE(termination.ended());
    }
  }
}

TEST(TerminationTest, ADeathAloneIsAnEndAndNoViolation) {
  Termination termination;
  termination.SetPeerGone();
  EXPECT_TRUE(termination.ended());
  EXPECT_TRUE(termination.peer_gone());
  EXPECT_EQ(termination.poison(), Violation::kNone);
}

// --- a port's end -------------------------------------------------------------------------------

TEST(WaitableTest, AWatcherLearnsOfThePortsEndOnce) {
  struct Port : Waitable {
    absl::Span<const pollfd> polled() override { return {}; }
    Armed Arm() override { return Armed::kReady; }
    void Disarm() override {}
    bool TakeWakeUps(absl::Span<const short>, absl::Status*) override { return false; }
    int64_t throttled_until_ns() const override { return 0; }
    bool ended() const override { return false; }
  };
  struct Counting : Waitable::Watcher {
    int ends = 0;
    void PortEnds() override { ++ends; }
  };
  Counting watcher;
  {
    Port unwatched;
    EXPECT_EQ(unwatched.watcher(), nullptr);
  }
  {
    Port watched;
    watched.SetWatcher(&watcher);
    EXPECT_EQ(watched.watcher(), &watcher);
    EXPECT_EQ(watcher.ends, 0);
  }
  EXPECT_EQ(watcher.ends, 1);
  {
    Port no_longer;
    no_longer.SetWatcher(&watcher);
    no_longer.SetWatcher(nullptr);
  }
  EXPECT_EQ(watcher.ends, 1);
}

}  // namespace
}  // namespace parley::internal

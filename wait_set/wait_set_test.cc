// SPDX-License-Identifier: Apache-2.0
#include "parley/wait_set/wait_set.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/violation.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/ring/ring_types.h"
#include "parley/sealing/file_registry.h"
#include "parley/testing/channel_pair.h"
#include "parley/wait/doorbell.h"
#include "parley/wait/wait_options.h"
#include "parley/wait_set/listener.h"

namespace parley {
namespace {

using testing::ChannelPair;
using testing::ChannelPairOptions;
using Ran = WaitSet::Ran;
using Mode = WaitSet::Mode;

Deadline In(int ms) { return Deadline::After(absl::Milliseconds(ms)); }
Deadline Now() { return Deadline::AtMonotonicNs(0); }
Deadline Generous() { return In(20'000); }

absl::Span<const std::byte> Bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::unique_ptr<WaitSet> MakeSet() {
  auto set = WaitSet::Create();
  EXPECT_TRUE(set.ok()) << set.status();
  return *std::move(set);
}

std::unique_ptr<ChannelPair> MakePair(const ChannelPairOptions& options = {}) {
  auto pair = ChannelPair::Create(options);
  EXPECT_TRUE(pair.ok()) << pair.status();
  return *std::move(pair);
}

std::array<std::byte, 1024> buffer;

// Takes one message; what came instead, if none.
Outcome TakeOne(Receiver& receiver) {
  Record record;
  return receiver.TryReceive(absl::MakeSpan(buffer), &record);
}
int TakeAll(Receiver& receiver) {
  int taken = 0;
  while (TakeOne(receiver) == Outcome::kOk) ++taken;
  return taken;
}

// One of a port's handlers that notes what it is told.
struct Told {
  int calls = 0;
  absl::Status last;
  WaitSet::Handler handler() {
    return [this](const absl::Status& status) {
      ++calls;
      last = status;
    };
  }
};

// Runs until `done`, or for too long.
template <typename Done>
bool RunUntil(WaitSet& set, Done done) {
  const Deadline give_up = Generous();
  while (!done() && !give_up.Expired()) set.RunOnce(In(50));
  return done();
}

// --- what is told --------------------------------------------------------------------------------

struct WaitSetTest : ::testing::TestWithParam<bool> {
  ChannelPairOptions Options() const {
    ChannelPairOptions options;
    options.eventfd = GetParam();
    return options;
  }
  std::unique_ptr<WaitSet> set = MakeSet();
  std::unique_ptr<ChannelPair> pair = MakePair(Options());
  Sender& theirs = pair->connecting().sender;
  Receiver& receiver = pair->accepting().receiver;
};
INSTANTIATE_TEST_SUITE_P(Doorbells, WaitSetTest, ::testing::Bool(),
                         [](const auto& eventfd) { return eventfd.param ? "Eventfd" : "Socket"; });

TEST_P(WaitSetTest, DataCallsTheHandlerAndNothingElseDoes) {
  int taken = 0;
  int calls = 0;
  auto data = set->Add(receiver.waitable(), [&](const absl::Status& status) {
    EXPECT_TRUE(status.ok()) << status;
    ++calls;
    taken += TakeAll(receiver);
  });
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(set->RunOnce(In(10)), Ran::kDeadline);
  for (int i = 1; i <= 100; ++i) {
    ASSERT_EQ(theirs.TrySend(1, Bytes("hello")), Outcome::kOk);
    EXPECT_EQ(set->RunOnce(Generous()), Ran::kHandlers);
    EXPECT_EQ(taken, i);
  }
  EXPECT_EQ(set->RunOnce(In(10)), Ran::kDeadline);
  EXPECT_EQ(calls, 100);
}

TEST_P(WaitSetTest, WhatWasThereBeforeIsTold) {
  ASSERT_EQ(theirs.TrySend(1, Bytes("hello")), Outcome::kOk);
  int taken = 0;
  auto data =
      set->Add(receiver.waitable(), [&](const absl::Status&) { taken += TakeAll(receiver); });
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(set->RunOnce(Generous()), Ran::kHandlers);
  EXPECT_EQ(taken, 1);
}

TEST_P(WaitSetTest, FreeSpaceIsToldOnceForEachResume) {
  Sender& sender = pair->accepting().sender;
  const std::string message(1000, 'x');
  Told told;
  auto space = set->Add(sender.waitable(message.size()), told.handler(), Mode::kOnce);
  ASSERT_TRUE(space.ok());
  for (int i = 0; i < 20; ++i) {
    while (sender.TrySend(1, Bytes(message)) == Outcome::kOk) {
    }
    space->Resume();
    EXPECT_EQ(set->RunOnce(In(5)), Ran::kDeadline);
    EXPECT_GT(TakeAll(pair->connecting().receiver), 0);
    EXPECT_EQ(set->RunOnce(Generous()), Ran::kHandlers);
    EXPECT_TRUE(told.last.ok()) << told.last;
    EXPECT_EQ(set->RunOnce(In(5)), Ran::kDeadline);  // although there is free space
    EXPECT_EQ(told.calls, i + 1);
  }
}

// One connection, two ports: a signal that one of them takes for the other is not lost.
TEST_P(WaitSetTest, BothEndsOfAChannelAreServed) {
  Sender& sender = pair->accepting().sender;
  Receiver& theirs_in = pair->connecting().receiver;
  const std::string message(1000, 'x');
  int taken = 0;
  int spaces = 0;
  auto data =
      set->Add(receiver.waitable(), [&](const absl::Status&) { taken += TakeAll(receiver); });
  auto space = set->Add(
      sender.waitable(message.size()), [&](const absl::Status&) { ++spaces; }, Mode::kOnce);
  ASSERT_TRUE(data.ok() && space.ok());
  for (int i = 1; i <= 200; ++i) {
    while (sender.TrySend(1, Bytes(message)) == Outcome::kOk) {
    }
    space->Resume();
    EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
    if (i % 3 != 0) {
      ASSERT_EQ(theirs.TrySend(1, Bytes("hello")), Outcome::kOk);
    }
    if (i % 3 != 1) TakeAll(theirs_in);
    const int expected = i - i / 3;
    ASSERT_TRUE(RunUntil(*set, [&] { return taken == expected; })) << i;
    if (i % 3 == 1) TakeAll(theirs_in);
    ASSERT_TRUE(RunUntil(*set, [&] { return spaces == i; })) << i;
  }
}

TEST_P(WaitSetTest, ADeadlineIsToldAndThePortGoesOn) {
  Told told;
  auto data = set->Add(receiver.waitable(), told.handler(), Mode::kOnce);
  ASSERT_TRUE(data.ok());
  data->Resume(In(5));
  EXPECT_EQ(set->RunOnce(Generous()), Ran::kHandlers);
  EXPECT_EQ(told.last.code(), absl::StatusCode::kDeadlineExceeded);
  data->Resume(Generous());
  ASSERT_EQ(theirs.TrySend(1, Bytes("hello")), Outcome::kOk);
  EXPECT_EQ(set->RunOnce(Generous()), Ran::kHandlers);
  EXPECT_TRUE(told.last.ok());
  // What is there counts, however late it is.
  data->Resume(Now());
  EXPECT_EQ(set->RunOnce(Generous()), Ran::kHandlers);
  EXPECT_TRUE(told.last.ok());
}

TEST_P(WaitSetTest, TheEndOfTheStreamIsToldAndThenNothing) {
  ASSERT_EQ(theirs.TrySend(1, Bytes("last")), Outcome::kOk);
  theirs.Close();
  int taken = 0;
  int closed = 0;
  auto data = set->Add(receiver.waitable(), [&](const absl::Status&) {
    const Outcome outcome = TakeOne(receiver);
    taken += outcome == Outcome::kOk ? 1 : 0;
    closed += outcome == Outcome::kClosed ? 1 : 0;
  });
  ASSERT_TRUE(data.ok());
  ASSERT_TRUE(RunUntil(*set, [&] { return closed > 0; }));
  EXPECT_EQ(taken, 1);
  // A handler that ignores it is not called for ever.
  while (set->RunOnce(In(20)) == Ran::kHandlers) {
  }
  EXPECT_LE(closed, 2);
}

// A hang-up stays readable. It is told, once, and leaves the epoll.
TEST_P(WaitSetTest, ADeathIsToldOnceAfterWhatWasSent) {
  ASSERT_EQ(theirs.TrySend(1, Bytes("last")), Outcome::kOk);
  int taken = 0;
  int ends = 0;
  auto data = set->Add(receiver.waitable(), [&](const absl::Status& status) {
    if (status.ok()) {
      taken += TakeOne(receiver) == Outcome::kOk ? 1 : 0;
    } else {
      EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
      ++ends;
    }
  });
  ASSERT_TRUE(data.ok());
  pair->connecting() = Channel();
  ASSERT_TRUE(RunUntil(*set, [&] { return ends > 0; }));
  EXPECT_EQ(taken, 1);
  const uint64_t polls = set->stats().polls;
  EXPECT_EQ(set->RunOnce(In(50)), Ran::kDeadline);
  EXPECT_EQ(ends, 1);
  EXPECT_LE(set->stats().polls - polls, 2u);
  // Who asks again is told again.
  data->Resume();
  EXPECT_EQ(set->RunOnce(Generous()), Ran::kHandlers);
  EXPECT_EQ(ends, 2);
}

// A handler's own Try calls are the first that say so. It is told all the same.
TEST_P(WaitSetTest, ADeathThatATryCallLearntOfIsToldOnce) {
  const std::string message(1000, 'x');
  for (const bool of_sender : {true, false}) {
    SCOPED_TRACE(of_sender);
    auto both = MakePair(Options());
    Channel& ours = both->accepting();
    const auto attempt = [&] {
      return of_sender ? ours.sender.TrySend(1, Bytes(message)) : TakeOne(ours.receiver);
    };
    ASSERT_EQ(both->connecting().sender.TrySend(1, Bytes("hello")), Outcome::kOk);
    Told told;
    auto port =
        set->Add(of_sender ? ours.sender.waitable(message.size()) : ours.receiver.waitable(),
                 [&](const absl::Status& status) {
                   told.handler()(status);
                   if (!status.ok()) return;
                   const Deadline give_up = Generous();
                   while (attempt() != Outcome::kClosed && !give_up.Expired()) {
                   }
                 });
    ASSERT_TRUE(port.ok()) << port.status();
    // The set takes the hang-up, and there is something yet.
    both->connecting() = Channel();
    for (int i = 0; i < 20 && told.last.ok(); ++i) set->RunOnce(Generous());
    EXPECT_EQ(told.last.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(told.calls, 2);
    EXPECT_EQ(set->RunOnce(In(20)), Ran::kDeadline);
    EXPECT_EQ(told.calls, 2);
  }
}

// Nobody waits for a paused port, so nothing that its peer does wakes the set more than once.
TEST_P(WaitSetTest, AttackW16APausedPortCostsOnePoll) {
  Told told;
  auto data = set->Add(receiver.waitable(), told.handler());
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  data->Pause();
  for (int i = 0; i < 1000; ++i) HostileAccess::DoorbellOf(theirs).Signal();
  EXPECT_EQ(set->RunOnce(In(30)), Ran::kDeadline);
  pair->connecting() = Channel();
  EXPECT_EQ(set->RunOnce(In(30)), Ran::kDeadline);
  EXPECT_LE(set->stats().polls, 8u);
  EXPECT_EQ(told.calls, 0);
  data->Resume();
  ASSERT_TRUE(RunUntil(*set, [&] { return told.calls > 0; }));
  EXPECT_EQ(told.last.code(), absl::StatusCode::kUnavailable);
}

// Signals without end: taken here, throttled, then a violation. No handler runs for them, and the
// port beside it is served all the time.
TEST_P(WaitSetTest, AttackW15AFloodIsThatPortsViolationAlone) {
  auto other = MakePair(Options());
  Receiver& others = other->accepting().receiver;
  std::atomic<bool> stop{false};
  std::thread flood([&] {
    while (!stop.load()) HostileAccess::DoorbellOf(theirs).Signal();
  });
  Told told;
  int taken = 0;
  auto flooded = set->Add(receiver.waitable(), told.handler());
  auto honest = set->Add(others.waitable(), [&](const absl::Status&) { taken += TakeAll(others); });
  ASSERT_TRUE(flooded.ok() && honest.ok());
  int sent = 0;
  const Deadline give_up = Generous();
  while (told.calls == 0 && !give_up.Expired()) {
    ASSERT_EQ(other->connecting().sender.TrySend(1, Bytes("hello")), Outcome::kOk);
    ++sent;
    ASSERT_TRUE(RunUntil(*set, [&] { return taken == sent; }));
    set->RunOnce(In(1));
  }
  stop.store(true);
  flood.join();
  EXPECT_EQ(told.calls, 1);
  EXPECT_EQ(told.last.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(receiver.violation(), Violation::kDoorbellFlood);
  EXPECT_GT(receiver.stats().throttles, 0u);
  EXPECT_TRUE(others.violation() == Violation::kNone);
}

TEST_P(WaitSetTest, AViolationIsToldToBothEnds) {
  Told data;
  Told space;
  Sender& sender = pair->accepting().sender;
  while (sender.TrySend(1, Bytes("hello")) == Outcome::kOk) {
  }
  auto first = set->Add(receiver.waitable(), data.handler());
  auto second = set->Add(sender.waitable(5), space.handler());
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  receiver.Poison(Violation::kMetadataInvalid);
  ASSERT_TRUE(RunUntil(*set, [&] { return data.calls > 0 && space.calls > 0; }));
  EXPECT_EQ(data.last.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(space.last.code(), absl::StatusCode::kDataLoss);
}

TEST_P(WaitSetTest, AnInterruptOfAPortIsToldAndItGoesOn) {
  Told told;
  auto data = set->Add(receiver.waitable(), told.handler());
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  std::thread other([&] { receiver.Interrupt(); });
  EXPECT_EQ(set->RunOnce(Generous()), Ran::kHandlers);
  other.join();
  EXPECT_EQ(told.last.code(), absl::StatusCode::kCancelled);
  ASSERT_EQ(theirs.TrySend(1, Bytes("hello")), Outcome::kOk);
  EXPECT_EQ(set->RunOnce(Generous()), Ran::kHandlers);
  EXPECT_TRUE(told.last.ok());
}

// --- lifetimes -----------------------------------------------------------------------------------

TEST_P(WaitSetTest, APortThatEndsIsToldOnce) {
  Told told;
  auto data = set->Add(receiver.waitable(), told.handler());
  ASSERT_TRUE(data.ok());
  pair->accepting() = Channel();
  EXPECT_EQ(set->RunOnce(Generous()), Ran::kHandlers);
  EXPECT_EQ(told.last.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(set->RunOnce(In(5)), Ran::kDeadline);
  data->Resume();
  EXPECT_EQ(set->RunOnce(Generous()), Ran::kHandlers);
  EXPECT_EQ(told.calls, 2);
}

TEST_P(WaitSetTest, AHandlerDestroysItsPortAndItsRegistration) {
  std::optional<Registration> data;
  std::optional<Registration> space;
  int calls = 0;
  auto added =
      set->Add(receiver.waitable(), [&, kept = std::make_shared<int>(7)](const absl::Status&) {
        ++calls;
        pair->accepting() = Channel();
        data.reset();
        space.reset();
        EXPECT_EQ(*kept, 7);  // what it captured is still there
      });
  ASSERT_TRUE(added.ok());
  data = *std::move(added);
  // The other end of the channel is ready in the same round.
  auto other =
      set->Add(pair->accepting().sender.waitable(1), [&](const absl::Status&) { ++calls; });
  ASSERT_TRUE(other.ok());
  space = *std::move(other);
  ASSERT_EQ(theirs.TrySend(1, Bytes("hello")), Outcome::kOk);
  ASSERT_TRUE(RunUntil(*set, [&] { return !data.has_value(); }));
  while (set->RunOnce(In(5)) == Ran::kHandlers) {
  }
  EXPECT_LE(calls, 3);
}

TEST_P(WaitSetTest, RegistrationsMayOutliveTheSet) {
  Told told;
  auto data = set->Add(receiver.waitable(), told.handler());
  ASSERT_TRUE(data.ok());
  Registration timer = set->AddTimer(told.handler());
  timer.Resume(Now());
  set.reset();
  data->Pause();
  data->Resume();
  timer.Resume(Now());
  EXPECT_EQ(told.calls, 0);
  // The port is free for another set.
  set = MakeSet();
  auto again = set->Add(receiver.waitable(), told.handler());
  ASSERT_TRUE(again.ok());
  data->Reset();
  ASSERT_EQ(theirs.TrySend(1, Bytes("hello")), Outcome::kOk);
  EXPECT_EQ(set->RunOnce(Generous()), Ran::kHandlers);
}

// --- descriptors, timers, fairness ---------------------------------------------------------------

TEST(WaitSetBasics, APortThatIsAlwaysReadyLeavesTheOthersTheirTurn) {
  auto set = MakeSet();
  auto busy = MakePair();
  auto quiet = MakePair();
  for (int i = 0; i < 50; ++i) ASSERT_EQ(busy->connecting().sender.TrySend(1, {}), Outcome::kOk);
  int taken = 0;
  int quiet_after = -1;
  auto first = set->Add(busy->accepting().receiver.waitable(), [&](const absl::Status&) {
    taken += TakeOne(busy->accepting().receiver) == Outcome::kOk ? 1 : 0;
  });
  auto second = set->Add(quiet->accepting().receiver.waitable(), [&](const absl::Status&) {
    TakeAll(quiet->accepting().receiver);
    quiet_after = taken;
  });
  ASSERT_TRUE(first.ok() && second.ok());
  for (int i = 0; i < 10; ++i) set->RunOnce(Now());
  EXPECT_EQ(taken, 10);
  ASSERT_EQ(quiet->connecting().sender.TrySend(1, {}), Outcome::kOk);
  for (int i = 0; i < 3; ++i) set->RunOnce(Now());
  EXPECT_GE(quiet_after, 10);
  EXPECT_LE(quiet_after, 12);
}

TEST(WaitSetBasics, ADescriptorIsLevelTriggeredAndMayBeAddedTwice) {
  auto set = MakeSet();
  std::array<int, 2> ends;
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd own(ends[0]);
  UniqueFd peer(ends[1]);
  Told in;
  Told out;
  auto read = set->AddDescriptor(own.get(), POLLIN, in.handler());
  auto write = set->AddDescriptor(own.get(), POLLOUT, out.handler(), Mode::kOnce);
  ASSERT_TRUE(read.ok() && write.ok());
  EXPECT_EQ(set->RunOnce(In(5)), Ran::kDeadline);
  write->Resume();
  EXPECT_EQ(set->RunOnce(Generous()), Ran::kHandlers);
  EXPECT_EQ(out.calls, 1);
  EXPECT_EQ(in.calls, 0);
  EXPECT_EQ(set->RunOnce(In(5)), Ran::kDeadline);
  ASSERT_EQ(::write(peer.get(), "x", 1), 1);
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(set->RunOnce(Generous()), Ran::kHandlers);
    EXPECT_EQ(in.calls, i);
  }
  char byte = 0;
  ASSERT_EQ(::read(own.get(), &byte, 1), 1);
  EXPECT_EQ(set->RunOnce(In(5)), Ran::kDeadline);
  read->Pause();
  peer.Reset();
  EXPECT_EQ(set->RunOnce(In(20)), Ran::kDeadline);
  read->Resume();
  EXPECT_EQ(set->RunOnce(Generous()), Ran::kHandlers);
}

TEST(WaitSetBasics, AFileIsRefused) {
  auto set = MakeSet();
  FILE* const file = ::tmpfile();
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(set->AddDescriptor(::fileno(file), POLLIN, [](const absl::Status&) {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  ::fclose(file);
  EXPECT_EQ(set->AddDescriptor(999'999, POLLIN, [](const absl::Status&) {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(WaitSetBasics, AFutexDoorbellIsRefused) {
  auto set = MakeSet();
  ChannelPairOptions options;
  options.futex = true;
  auto pair = MakePair(options);
  EXPECT_EQ(
      set->Add(pair->accepting().receiver.waitable(), [](const absl::Status&) {}).status().code(),
      absl::StatusCode::kFailedPrecondition);
}

int64_t simulated_ns = 0;

TEST(WaitSetBasics, TimersRunInOrderOverSimulatedDays) {
  simulated_ns = 1;
  auto made = WaitSet::Create([] { return simulated_ns; });
  ASSERT_TRUE(made.ok());
  WaitSet& set = **made;
  constexpr int64_t kHourNs = int64_t{3600} * 1'000'000'000;
  int ticks = 0;
  Registration hourly;
  hourly = set.AddTimer([&](const absl::Status& status) {
    EXPECT_TRUE(status.ok());
    ++ticks;
    hourly.Resume(Deadline::AtMonotonicNs(simulated_ns + kHourNs));
  });
  hourly.Resume(Deadline::AtMonotonicNs(kHourNs));
  for (int minute = 0; minute < 60 * 24 * 30; ++minute) {
    simulated_ns += kHourNs / 60;
    set.RunOnce(Now());
  }
  EXPECT_EQ(ticks, 24 * 30);
}

// Both have come, and the handler of the one puts the other off: an idle timeout, say.
TEST(WaitSetBasics, AnExpiryIsPutOffUntilItIsTold) {
  auto pair = MakePair();
  for (const bool is_port : {false, true}) {
    simulated_ns = 1;
    auto made = WaitSet::Create([] { return simulated_ns; });
    ASSERT_TRUE(made.ok());
    WaitSet& set = **made;
    Told told;
    Registration late =
        is_port ? *set.Add(pair->accepting().receiver.waitable(), told.handler(), Mode::kOnce)
                : set.AddTimer(told.handler());
    Registration early =
        set.AddTimer([&](const absl::Status&) { late.Resume(Deadline::AtMonotonicNs(1000)); });
    early.Resume(Deadline::AtMonotonicNs(10));
    late.Resume(Deadline::AtMonotonicNs(20));
    simulated_ns = 100;
    set.RunOnce(Now());
    set.RunOnce(Now());
    EXPECT_EQ(told.calls, 0) << is_port;
    simulated_ns = 2000;
    set.RunOnce(Now());
    EXPECT_EQ(told.calls, 1) << is_port;
  }
}

TEST(WaitSetBasics, AStormOfTimersIsTakenInSlices) {
  simulated_ns = 1;
  auto made = WaitSet::Create([] { return simulated_ns; });
  ASSERT_TRUE(made.ok());
  WaitSet& set = **made;
  int expired = 0;
  std::vector<Registration> timers;
  for (int i = 0; i < 10'000; ++i) {
    timers.push_back(set.AddTimer([&](const absl::Status&) { ++expired; }));
    timers.back().Resume(Deadline::AtMonotonicNs(2 + i % 7));
  }
  auto pair = MakePair();
  int after = -1;
  auto data = set.Add(pair->accepting().receiver.waitable(), [&](const absl::Status&) {
    TakeAll(pair->accepting().receiver);
    after = expired;
  });
  ASSERT_TRUE(data.ok());
  ASSERT_EQ(pair->connecting().sender.TrySend(1, {}), Outcome::kOk);
  simulated_ns = 100;
  set.RunOnce(Now());
  EXPECT_EQ(expired, 256);
  set.RunOnce(Now());
  EXPECT_GE(after, 0);
  EXPECT_LE(after, 512);
  while (set.RunOnce(Now()) == Ran::kHandlers) {
  }
  EXPECT_EQ(expired, 10'000);
}

TEST(WaitSetBasics, InterruptEndsTheWaitOrTheNextOne) {
  auto set = MakeSet();
  set->Interrupt();
  set->Interrupt();
  EXPECT_EQ(set->RunOnce(Generous()), Ran::kInterrupted);
  EXPECT_EQ(set->RunOnce(In(5)), Ran::kDeadline);
  for (int i = 0; i < 50; ++i) {
    std::thread other([&] { set->Interrupt(); });
    EXPECT_EQ(set->RunOnce(Generous()), Ran::kInterrupted);
    other.join();
  }
  while (set->RunOnce(In(5)) == Ran::kInterrupted) {
  }
  const uint64_t polls = set->stats().polls;
  EXPECT_EQ(set->RunOnce(In(20)), Ran::kDeadline);
  EXPECT_LE(set->stats().polls - polls, 2u);
}

std::atomic<WaitSet*> interrupted_by_signal{nullptr};

TEST(WaitSetBasics, InterruptFromASignalHandler) {
  auto set = MakeSet();
  interrupted_by_signal.store(set.get());
  struct sigaction action = {};
  struct sigaction before = {};
  action.sa_handler = [](int) { interrupted_by_signal.load()->Interrupt(); };
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  const pthread_t self = ::pthread_self();
  std::thread other([&] {
    ::usleep(30'000);
    ::pthread_kill(self, SIGUSR1);
  });
  EXPECT_EQ(set->RunOnce(Generous()), Ran::kInterrupted);
  other.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

bool Readable(int fd, int ms) {
  pollfd entry = {fd, POLLIN, 0};
  return ::poll(&entry, 1, ms) == 1;
}

TEST(WaitSetBasics, TheDescriptorIsReadableWhenThereIsSomethingToDo) {
  auto set = MakeSet();
  auto pair = MakePair();
  Receiver& receiver = pair->accepting().receiver;
  const auto fd = set->descriptor();
  ASSERT_TRUE(fd.ok());
  EXPECT_FALSE(Readable(*fd, 0));
  Told told;
  auto data = set->Add(receiver.waitable(), told.handler());
  ASSERT_TRUE(data.ok());
  EXPECT_FALSE(Readable(*fd, 0));
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(pair->connecting().sender.TrySend(1, {}), Outcome::kOk);
  }
  // As long as there is something left.
  for (int i = 1; i <= 5; ++i) {
    EXPECT_TRUE(Readable(*fd, 10'000));
    EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
    EXPECT_EQ(told.calls, i);
  }
  TakeAll(receiver);
  while (Readable(*fd, 0)) set->RunOnce(Now());
  EXPECT_FALSE(Readable(*fd, 20));
  Registration timer = set->AddTimer(told.handler());
  const int before = told.calls;
  timer.Resume(In(20));
  EXPECT_FALSE(Readable(*fd, 0));
  EXPECT_TRUE(Readable(*fd, 10'000));
  EXPECT_EQ(set->RunOnce(Now()), Ran::kHandlers);
  EXPECT_EQ(told.calls, before + 1);
  EXPECT_FALSE(Readable(*fd, 0));
  set->Interrupt();
  EXPECT_TRUE(Readable(*fd, 10'000));
  EXPECT_EQ(set->RunOnce(Now()), Ran::kInterrupted);
  EXPECT_FALSE(Readable(*fd, 0));
  // A port that is ready when it is resumed.
  data->Pause();
  ASSERT_EQ(pair->connecting().sender.TrySend(1, {}), Outcome::kOk);
  while (Readable(*fd, 0)) set->RunOnce(Now());
  data->Resume();
  EXPECT_TRUE(Readable(*fd, 10'000));
}

TEST(WaitSetBasics, AThousandThatEndAtOnceAreToldOnceEach) {
  constexpr int kChannels = 300;
  auto set = MakeSet();
  std::vector<std::unique_ptr<ChannelPair>> pairs;
  std::vector<Registration> registrations;
  std::vector<int> ends(kChannels);
  for (int i = 0; i < kChannels; ++i) {
    pairs.push_back(MakePair());
    for (Waitable* port : {pairs.back()->accepting().receiver.waitable(),
                           pairs.back()->accepting().sender.waitable(1)}) {
      auto added = set->Add(
          port,
          [&ends, i](const absl::Status& status) {
            if (!status.ok()) ++ends[static_cast<std::size_t>(i)];
          },
          Mode::kOnce);
      ASSERT_TRUE(added.ok()) << added.status();
      registrations.push_back(*std::move(added));
    }
    registrations[registrations.size() - 2].Resume();
  }
  EXPECT_EQ(set->RunOnce(Now()), Ran::kDeadline);
  for (auto& pair : pairs) pair->connecting() = Channel();
  ASSERT_TRUE(RunUntil(*set, [&] {
    for (const int end : ends) {
      if (end != 1) return false;
    }
    return true;
  }));
  const uint64_t polls = set->stats().polls;
  EXPECT_EQ(set->RunOnce(In(30)), Ran::kDeadline);
  EXPECT_LE(set->stats().polls - polls, 3u);
  // The ends of a channel that nobody waited for are destroyed in any order.
  for (std::size_t i = 0; i < registrations.size(); i += 3) registrations[i].Reset();
  pairs.clear();
  while (set->RunOnce(Now()) == Ran::kHandlers) {
  }
}

// A consumer that takes 8 bytes and signals, again and again (W13), beside one that is honest.
TEST(WaitSetBasics, AttackW15ADripIsThrottledAndTheOtherPortIsServed) {
  auto set = MakeSet();
  ChannelPairOptions options;
  options.ring = {1 << 20, (1 << 20) - 8};
  auto pair = MakePair(options);
  Sender& sender = pair->accepting().sender;
  while (sender.TrySend(1, {}) == Outcome::kOk) {
  }
  std::atomic<bool> stop{false};
  std::vector<std::byte> into(1 << 20);
  std::thread peer([&] {
    while (!stop.load()) {
      Record record;
      pair->connecting().receiver.TryReceive(absl::MakeSpan(into), &record);
      HostileAccess::DoorbellOf(pair->connecting().receiver).Signal();
      ::usleep(20);
    }
  });
  Told told;
  auto space = set->Add(sender.waitable((1 << 20) - 8), told.handler());
  ASSERT_TRUE(space.ok());
  const Deadline second = In(1000);
  while (!second.Expired()) set->RunOnce(second);
  stop.store(true);
  peer.join();
  // 64 at once, 100 more in the second, and one for each throttle, with its timer.
  EXPECT_LT(set->stats().polls, 64u + 100 + 2200);
  EXPECT_GT(sender.stats().throttles, 0u);
}

TEST(WaitSetBasics, AListenerHandsOverItsChannels) {
  auto set = MakeSet();
  const std::string name = "@parley-wait-set-" + std::to_string(::getpid());
  AcceptOptions accept;
  accept.receive.max_message_bytes = 1024;
  FileRegistry connecting_registry;
  auto listener = ChannelListener::Listen(name, accept);
  ASSERT_TRUE(listener.ok()) << listener.status();
  std::vector<Channel> channels;
  channels.reserve(16);
  std::vector<Registration> registrations;
  int taken = 0;
  auto listening = AddListener(set.get(), &*listener, [&](absl::StatusOr<Channel> channel) {
    ASSERT_TRUE(channel.ok()) << channel.status();
    channels.push_back(*std::move(channel));
  });
  ASSERT_TRUE(listening.ok()) << listening.status();
  std::thread peer([&] {
    ConnectOptions options;
    options.registry = &connecting_registry;
    for (int i = 0; i < 5; ++i) {
      auto channel = ConnectChannel(name, options, Generous());
      ASSERT_TRUE(channel.ok()) << channel.status();
      EXPECT_TRUE(channel->sender.Send(1, Bytes("hello"), Generous()).ok());
      EXPECT_TRUE(channel->sender.AwaitDrained(Generous()).ok());
    }
  });
  std::size_t added = 0;
  EXPECT_TRUE(RunUntil(*set, [&] {
    for (; added < channels.size(); ++added) {
      Receiver* const receiver = &channels[added].receiver;
      auto data = set->Add(receiver->waitable(), [&, added = added](const absl::Status&) {
        taken += TakeAll(channels[added].receiver);
      });
      EXPECT_TRUE(data.ok());
      registrations.push_back(*std::move(data));
    }
    return taken == 5;
  }));
  peer.join();
}

// A handler may end what it is for, whoever else has connected meanwhile.
TEST(WaitSetBasics, AHandlerMayEndItsListener) {
  auto set = MakeSet();
  const std::string name = "@parley-wait-set-end-" + std::to_string(::getpid());
  AcceptOptions accept;
  accept.receive.max_message_bytes = 1024;
  auto made = ChannelListener::Listen(name, accept);
  ASSERT_TRUE(made.ok()) << made.status();
  auto listener = std::make_unique<ChannelListener>(*std::move(made));
  std::vector<Channel> channels;
  Registration registration;
  auto listening = AddListener(set.get(), listener.get(), [&](absl::StatusOr<Channel> channel) {
    if (channel.ok()) channels.push_back(*std::move(channel));
    registration.Reset();
    listener.reset();
  });
  ASSERT_TRUE(listening.ok()) << listening.status();
  registration = *std::move(listening);
  FileRegistry connecting_registry;
  std::vector<std::thread> peers;
  for (int i = 0; i < 3; ++i) {
    peers.emplace_back([&] {
      ConnectOptions options;
      options.registry = &connecting_registry;
      ConnectChannel(name, options, Generous()).status().IgnoreError();
    });
  }
  // All three are there before the first is handed over.
  for (const Deadline soon = In(300); !soon.Expired();) {
    listener->Tend();
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_TRUE(RunUntil(*set, [&] { return listener == nullptr; }));
  for (std::thread& peer : peers) peer.join();
  EXPECT_EQ(channels.size(), 1u);
}

// --- our caller's bugs ---------------------------------------------------------------------------

TEST(WaitSetDeathTest, OurCallersBugsAbort) {
  // Not in a forked child, which may not use a set.
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  auto set = MakeSet();
  auto pair = MakePair();
  auto data = set->Add(pair->accepting().receiver.waitable(), [](const absl::Status&) {});
  ASSERT_TRUE(data.ok());
  auto other = MakeSet();
  EXPECT_DEATH((void)other->Add(pair->accepting().receiver.waitable(), [](const absl::Status&) {}),
               "one WaitSet");
  Registration timer = set->AddTimer([&](const absl::Status&) { set->RunOnce(Now()); });
  EXPECT_DEATH((timer.Resume(Now()), set->RunOnce(Now())), "by one of its handlers");
  Registration last = set->AddTimer([&](const absl::Status&) { set.reset(); });
  EXPECT_DEATH((last.Resume(Now()), set->RunOnce(Now())), "must not end in one of its handlers");
  // Nor by what the handler holds.
  EXPECT_DEATH(
      {
        std::shared_ptr<WaitSet> held = MakeSet();
        WaitSet* const running = held.get();
        Registration only;
        only = running->AddTimer([&only, own = std::move(held)](const absl::Status&) {
          only.Reset();
          EXPECT_NE(own, nullptr);
        });
        only.Resume(Now());
        running->RunOnce(Now());
      },
      "must not end in one of its handlers");
  EXPECT_DEATH(Registration().Resume(), "an empty Registration");
}

// The child shares the epoll: what it changed would be changed for its parent.
TEST(WaitSetDeathTest, AForkedChildAbortsAndChangesNothing) {
  auto set = MakeSet();
  std::array<int, 2> ends;
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  Told told;
  auto data = set->AddDescriptor(read_end.get(), POLLIN, told.handler());
  ASSERT_TRUE(data.ok());
  const pid_t destroys = ::fork();
  if (destroys == 0) {
    data->Reset();
    set.reset();
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(destroys, &status, 0), destroys);
  EXPECT_EQ(status, 0);
  ASSERT_EQ(::write(write_end.get(), "x", 1), 1);
  EXPECT_EQ(set->RunOnce(Generous()), Ran::kHandlers);
  const pid_t uses = ::fork();
  if (uses == 0) {
    set->RunOnce(Now());
    ::_exit(0);
  }
  ASSERT_EQ(::waitpid(uses, &status, 0), uses);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

}  // namespace
}  // namespace parley

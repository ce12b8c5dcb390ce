// SPDX-License-Identifier: Apache-2.0

// What a link that restarts its worker does between one worker and the next, and at its limits.

#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/supervise/link_wire.h"
#include "parley/supervise/restart.h"
#include "parley/supervise/testing_link.h"
#include "parley/supervise/testing_program.h"
#include "parley/supervise/worker_end.h"

namespace parley {
namespace {

using testing::BytesOf;
using testing::HasEndedByItself;
using ::testing::HasSubstr;
using testing::kLong;
using Kind = RestartEvent::Kind;
using Cause = WorkerEnd::Cause;

RestartOptions Options(Delivery delivery, absl::Duration first_delay = absl::Milliseconds(1)) {
  RestartOptions options;
  options.link = testing::LinkOptions("numbered");
  options.policy.first_delay = first_delay;
  options.delivery = delivery;
  return options;
}

RestartingLink Start(RestartOptions options) {
  auto worker = RestartingLink::Start(std::move(options), Deadline::After(kLong));
  EXPECT_TRUE(worker.ok()) << worker.status();
  return *std::move(worker);
}

absl::StatusOr<uint64_t> Send(RestartingLink& worker, uint32_t tag, const std::string& text) {
  return worker.Send(tag, BytesOf(text), Deadline::After(kLong));
}

struct News {
  absl::Status status;
  RestartEvent event;
  std::string text;
};

News NextBy(RestartingLink& worker, Deadline deadline) {
  std::vector<std::byte> buffer(worker.link().max_message_bytes());
  auto event = worker.Receive(absl::MakeSpan(buffer), deadline);
  if (!event.ok()) return {event.status(), {}, ""};
  News news = {absl::OkStatus(), *std::move(event), ""};
  if (news.event.kind == Kind::kMessage) {
    buffer.resize(news.event.record.size_bytes);
    news.text = testing::TextOf(buffer);
  }
  return news;
}

News Next(RestartingLink& worker) { return NextBy(worker, Deadline::After(kLong)); }

// The news that the worker was replaced, and why.
Cause NextCause(RestartingLink& worker) {
  const News news = Next(worker);
  EXPECT_EQ(news.event.kind, Kind::kRestarted) << news.status << news.text;
  if (!news.event.end.has_value()) return Cause::kUnknown;
  return news.event.end->cause;
}

constexpr char kNotEndedYet[] = "the old worker has not ended yet";
constexpr char kNotStartedYet[] = "the next worker is not started yet";

// Receives until the back-off is what it waits for.
void EnterBackOff(RestartingLink& worker) {
  const Deadline give_up = Deadline::After(kLong);
  absl::Status status;
  do {
    status = NextBy(worker, Deadline::After(absl::Milliseconds(20))).status;
  } while (absl::IsDeadlineExceeded(status) && status.message() != kNotStartedYet &&
           !give_up.Expired());
  EXPECT_EQ(status, absl::DeadlineExceededError(kNotStartedYet));
}

// Interrupts it from another thread, after a while, as long as this exists.
class LaterInterrupt {
 public:
  LaterInterrupt(const RestartingLink& worker, absl::Duration after)
      : thread_([&worker, after] {
          absl::SleepFor(after);
          worker.Interrupt();
        }) {}
  ~LaterInterrupt() { thread_.join(); }
  LaterInterrupt(const LaterInterrupt&) = delete;
  LaterInterrupt& operator=(const LaterInterrupt&) = delete;

 private:
  std::thread thread_;
};

// Long enough for all that a test does meanwhile.
constexpr absl::Duration kBackOff = absl::Seconds(2);

// ---- Starts.

TEST(RestartStartTest, WhatCannotBeStartedIsAnError) {
  RestartOptions options = Options(Delivery::kAtMostOnce);
  options.link.program.path += "_that_is_not_there";
  EXPECT_TRUE(
      absl::IsNotFound(RestartingLink::Start(std::move(options), Deadline::After(kLong)).status()));
  options = Options(Delivery::kAtMostOnce);
  options.link.source.read = [](uint64_t, absl::Span<std::byte>) {
    return absl::StatusOr<std::size_t>(0);
  };
  EXPECT_EQ(RestartingLink::Start(std::move(options), Deadline::After(kLong)).status(),
            absl::InvalidArgumentError(
                "RestartOptions::link.source is set; allowed: a sealed input, or none"));
}

TEST(RestartStartTest, TheFirstWorkerIsEpochOneAndHasNothing) {
  RestartingLink worker = Start(Options(Delivery::kAtLeastOnce));
  EXPECT_EQ(worker.epoch(), 1u);
  EXPECT_EQ(worker.unacknowledged(), 0u);
  EXPECT_EQ(Send(worker, 1, "x").value_or(0), 1u);
  const News news = Next(worker);
  EXPECT_EQ(news.text, "1 x");
  EXPECT_EQ(news.event.undelivered, 0u);
  EXPECT_EQ(news.event.first_undelivered, 0u);
  EXPECT_FALSE(news.event.end.has_value());
}

// ---- Waits that end early.

TEST(RestartWaitTest, ADeadlineOrAnInterruptIsNotTheWorkersEnd) {
  RestartingLink worker = Start(Options(Delivery::kAtLeastOnce));
  EXPECT_TRUE(absl::IsDeadlineExceeded(NextBy(worker, Deadline::AtMonotonicNs(0)).status));
  worker.link().Interrupt();
  EXPECT_TRUE(absl::IsCancelled(Next(worker).status));
  EXPECT_EQ(Send(worker, 1, "x").value_or(0), 1u);
  EXPECT_EQ(Next(worker).text, "1 x");
  EXPECT_EQ(worker.epoch(), 1u);
}

// In the back-off, whether it comes before the call or within it.
TEST(RestartWaitTest, AnInterruptEndsTheBackOffsWait) {
  RestartingLink worker = Start(Options(Delivery::kAtMostOnce, kBackOff));
  worker.Interrupt();
  EXPECT_TRUE(absl::IsCancelled(Next(worker).status));
  ASSERT_TRUE(Send(worker, 3, "fatal").ok());
  EnterBackOff(worker);
  worker.Interrupt();
  EXPECT_TRUE(absl::IsCancelled(Next(worker).status));
  EnterBackOff(worker);
  {
    const LaterInterrupt interrupt(worker, absl::Milliseconds(50));
    EXPECT_TRUE(absl::IsCancelled(Next(worker).status));
  }
  EnterBackOff(worker);
  EXPECT_EQ(Next(worker).event.kind, Kind::kRestarted);
}

TEST(RestartWaitTest, AnInterruptEndsTheWaitForAnOldWorkersEnd) {
  RestartingLink worker = Start(Options(Delivery::kAtMostOnce));
  ASSERT_TRUE(Send(worker, 12, "x").ok());
  EXPECT_EQ(Next(worker).text, "1 x");
  const LaterInterrupt interrupt(worker, absl::Milliseconds(100));
  EXPECT_TRUE(absl::IsCancelled(Next(worker).status));
  EXPECT_EQ(NextBy(worker, Deadline::AtMonotonicNs(0)).status,
            absl::DeadlineExceededError(kNotEndedYet));
  EXPECT_EQ(NextCause(worker), Cause::kKilled);
}

// Whatever happens meanwhile, a start as well: it ends one call, and no other.
TEST(RestartWaitTest, NoInterruptIsLostBetweenOneWorkerAndTheNext) {
  RestartOptions options = Options(Delivery::kAtMostOnce);
  options.policy.max_restarts = 100;
  options.policy.max_delay = options.policy.first_delay;
  RestartingLink worker = Start(std::move(options));
  for (int ms = 0; ms < 60; ms += 3) {
    ASSERT_EQ(::kill(worker.link().worker().pid(), SIGKILL), 0);
    const LaterInterrupt interrupt(worker, absl::Milliseconds(ms));
    bool restarted = false;
    bool cancelled = false;
    while (!restarted || !cancelled) {
      const News news = Next(worker);
      const bool is_cancelled = absl::IsCancelled(news.status);
      ASSERT_TRUE(is_cancelled ? !cancelled : news.event.kind == Kind::kRestarted)
          << ms << ": " << news.status;
      (is_cancelled ? cancelled : restarted) = true;
    }
    EXPECT_TRUE(absl::IsDeadlineExceeded(NextBy(worker, Deadline::AtMonotonicNs(0)).status));
  }
}

TEST(RestartWaitTest, AnOrderlyEndIsTheWorkersOwn) {
  RestartingLink worker = Start(Options(Delivery::kAtMostOnce));
  EXPECT_EQ(Send(worker, 1, "x").value_or(0), 1u);
  EXPECT_EQ(Next(worker).text, "1 x");
  const WorkerEnd end = worker.End(Deadline::After(kLong));
  EXPECT_EQ(end.cause, Cause::kDone) << end.ToString();
}

// ---- The back-off.

TEST(RestartBackOffTest, WhatIsSentMeanwhileGoesToTheNextAndIsNoDuplicate) {
  RestartingLink worker = Start(Options(Delivery::kAtLeastOnce, kBackOff));
  ASSERT_TRUE(Send(worker, 4, "fatal once").ok());
  ASSERT_TRUE(HasEndedByItself(worker.link()));
  EnterBackOff(worker);
  EXPECT_EQ(worker.epoch(), 1u);
  EXPECT_EQ(Send(worker, 2, "meanwhile").value_or(0), 2u);
  EXPECT_EQ(worker.unacknowledged(), 2u);
  // Asked again, it goes on waiting for the same one.
  EnterBackOff(worker);
  const News news = Next(worker);
  ASSERT_EQ(news.event.kind, Kind::kRestarted) << news.status;
  EXPECT_EQ(news.event.epoch, 2u);
  EXPECT_EQ(news.event.undelivered, 1u);
  EXPECT_EQ(news.event.first_undelivered, 1u);
  EXPECT_EQ(Next(worker).text, "1 again fatal once");
  EXPECT_EQ(Next(worker).text, "2 meanwhile");
}

// The end of a worker closes its link; what our caller does with that link meanwhile is no bug.
TEST(RestartBackOffTest, ASendOverTheOldLinkIsAnError) {
  RestartingLink worker = Start(Options(Delivery::kAtMostOnce, kBackOff));
  ASSERT_TRUE(Send(worker, 3, "fatal").ok());
  EnterBackOff(worker);
  EXPECT_FALSE(worker.link().Send(1, BytesOf("x"), Deadline::AtMonotonicNs(0)).ok());
}

// Whatever room there is: of what is kept, as much as the deadline lets.
TEST(RestartFlushTest, PromiseP2TimeACallSendsOfWhatIsKeptWithinItsDeadline) {
  constexpr uint64_t kKept = 2'000;
  RestartOptions options = Options(Delivery::kAtLeastOnce);
  options.link.to_worker.capacity_bytes = 1 << 20;
  RestartingLink worker = Start(std::move(options));
  ASSERT_TRUE(Send(worker, 1, "first").ok());
  Receiver& receiver = worker.link().channel().receiver;
  while (receiver.PrepareToWait()) {
    pollfd entry = {receiver.descriptor(), POLLIN, 0};
    ASSERT_EQ(::poll(&entry, 1, static_cast<int>(absl::ToInt64Milliseconds(kLong))), 1);
    ASSERT_TRUE(receiver.FinishWait().ok());
  }
  Sender& sender = worker.link().channel().sender;
  ASSERT_TRUE(sender.Reserve(10, Deadline::After(kLong)).ok());
  for (uint64_t i = 0; i < kKept; ++i) {
    ASSERT_TRUE(worker.Send(10, BytesOf("x"), Deadline::AtMonotonicNs(0)).ok());
  }
  sender.DropReserved();
  const auto sent_by = [&sender](const auto& call) {
    const uint64_t before = sender.stats().messages;
    call();
    return sender.stats().messages - before;
  };
  // What the worker has said waits for a few of them.
  EXPECT_EQ(sent_by([&] { EXPECT_EQ(Next(worker).text, "1 first"); }), 64u);
  EXPECT_EQ(
      sent_by([&] {
        EXPECT_TRUE(absl::IsDeadlineExceeded(NextBy(worker, Deadline::AtMonotonicNs(0)).status));
      }),
      1u);
  EXPECT_EQ(sent_by([&] {
              EXPECT_TRUE(worker.Send(1, BytesOf("the last"), Deadline::AtMonotonicNs(0)).ok());
            }),
            1u);
  EXPECT_EQ(Next(worker).text, std::to_string(kKept + 2) + " the last");
}

// What our caller fills in place by itself does not stand in the way either.
TEST(RestartFlushTest, WhatIsKeptIsSentAfterAReservedMessage) {
  RestartingLink worker = Start(Options(Delivery::kAtLeastOnce));
  Sender& sender = worker.link().channel().sender;
  ASSERT_TRUE(sender.Reserve(10, Deadline::After(kLong)).ok());
  ASSERT_TRUE(worker.Send(1, BytesOf("kept"), Deadline::AtMonotonicNs(0)).ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(NextBy(worker, Deadline::AtMonotonicNs(0)).status));
  sender.DropReserved();
  EXPECT_EQ(Next(worker).text, "1 kept");
}

TEST(RestartBackOffTest, AtMostOnceNothingIsTakenMeanwhile) {
  RestartingLink worker = Start(Options(Delivery::kAtMostOnce, kBackOff));
  ASSERT_TRUE(Send(worker, 5, "lie").ok());
  EXPECT_EQ(Next(worker).text, "1 lie");
  EnterBackOff(worker);
  EXPECT_EQ(Send(worker, 1, "x").status(), absl::UnavailableError("the worker has ended"));
  EXPECT_EQ(NextCause(worker), Cause::kBrokeProtocol);
  EXPECT_EQ(worker.unacknowledged(), 0u);
  EXPECT_EQ(Send(worker, 1, "x").value_or(0), 2u);
  EXPECT_EQ(Next(worker).text, "2 x");
}

// One restart is counted once, however often Receive is asked meanwhile.
TEST(RestartBackOffTest, IsOneRestartHoweverOftenItIsWaitedFor) {
  RestartOptions options = Options(Delivery::kAtMostOnce, kBackOff);
  options.policy.max_restarts = 1;
  RestartingLink worker = Start(std::move(options));
  ASSERT_EQ(::kill(worker.link().worker().pid(), SIGKILL), 0);
  ASSERT_TRUE(HasEndedByItself(worker.link()));
  for (int i = 0; i < 3; ++i) EnterBackOff(worker);
  EXPECT_EQ(NextCause(worker), Cause::kOutOfMemory);
  EXPECT_EQ(worker.epoch(), 2u);
}

// At least so long, and twice as long each time; one that was healthy for a while begins anew.
TEST(RestartBackOffTest, IsTwiceAsLongEachTime) {
  RestartOptions options = Options(Delivery::kAtMostOnce, absl::Milliseconds(50));
  options.policy.healthy_after = absl::Seconds(2);
  RestartingLink worker = Start(std::move(options));
  absl::SleepFor(absl::Milliseconds(2100));
  for (const int ms : {50, 100, 200, 400}) {
    ASSERT_EQ(::kill(worker.link().worker().pid(), SIGKILL), 0);
    ASSERT_TRUE(HasEndedByItself(worker.link()));
    const int64_t before_ns = MonotonicNowNs();
    ASSERT_EQ(NextCause(worker), Cause::kOutOfMemory);
    EXPECT_GE(absl::Nanoseconds(MonotonicNowNs() - before_ns), absl::Milliseconds(ms));
  }
}

// ---- A program that is not there for a while.

class RestartProgramTest : public ::testing::Test {
 protected:
  RestartOptions OptionsOfLink(absl::Duration first_delay) {
    RestartOptions options = Options(Delivery::kAtLeastOnce, first_delay);
    target_ = options.link.program.path;
    options.link.program.path = path_;
    options.link.program.name = "tester";
    Show();
    return options;
  }
  void Show() {
    Hide();
    std::filesystem::create_symlink(target_, path_);
  }
  void Hide() { std::filesystem::remove(path_); }

  std::string target_;
  std::string path_ = ::testing::TempDir() + "program";
};

TEST_F(RestartProgramTest, IsTriedAgainUntilItIsThere) {
  RestartOptions options = OptionsOfLink(absl::Milliseconds(20));
  options.policy.max_restarts = 12;
  RestartingLink worker = Start(std::move(options));
  Hide();
  ASSERT_TRUE(Send(worker, 4, "fatal once").ok());
  ASSERT_TRUE(HasEndedByItself(worker.link()));
  // After 20, 60 and 140 ms, say, it is not there.
  const absl::Status status = NextBy(worker, Deadline::After(absl::Milliseconds(250))).status;
  EXPECT_EQ(status, absl::DeadlineExceededError(kNotStartedYet));
  Show();
  EXPECT_NE(NextCause(worker), Cause::kUnknown);
  EXPECT_EQ(worker.epoch(), 2u);
  EXPECT_EQ(Next(worker).text, "1 again fatal once");
}

TEST_F(RestartProgramTest, IsGivenUpForGood) {
  RestartOptions options = OptionsOfLink(absl::Milliseconds(1));
  options.policy.max_restarts = 3;
  RestartingLink worker = Start(std::move(options));
  Hide();
  ASSERT_TRUE(Send(worker, 4, "fatal once").ok());
  const absl::Status status = Next(worker).status;
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("too many restarts; the last one: "));
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
  // Also where it is there again.
  Show();
  EXPECT_EQ(Next(worker).status, status);
  EXPECT_EQ(Send(worker, 1, "x").status(), status);
  EXPECT_EQ(worker.epoch(), 1u);
}

// ---- More than the rings hold.

RestartOptions WithSmallRings() {
  RestartOptions options = Options(Delivery::kAtLeastOnce);
  for (RingRequest* ring : {&options.link.to_worker, &options.link.from_worker}) {
    ring->capacity_bytes = 16 << 10;
    ring->max_message_bytes = 4 << 10;
  }
  return options;
}

constexpr uint64_t kMany = 120;  // more than fit into rings of a page of 64 KiB

void SendMany(RestartingLink& worker, uint32_t tag) {
  const std::string kilobyte(1000, 'x');
  for (uint64_t i = 0; i < kMany; ++i) {
    ASSERT_TRUE(worker.Send(tag, BytesOf(kilobyte), Deadline::AtMonotonicNs(0)).ok());
  }
}

// The next worker waits for room for its answers before it has taken all: that is no reason for
// Receive to wait for it.
TEST(RestartFlushTest, PromiseP2TimeANewWorkerThatTakesNoMoreIsReportedAtOnce) {
  RestartingLink worker = Start(WithSmallRings());
  ASSERT_TRUE(Send(worker, 4, "fatal once").ok());
  ASSERT_TRUE(HasEndedByItself(worker.link()));
  SendMany(worker, 1);
  const News restarted = NextBy(worker, Deadline::Never());
  ASSERT_EQ(restarted.event.kind, Kind::kRestarted) << restarted.status;
  EXPECT_EQ(restarted.event.undelivered, 1 + kMany);
  EXPECT_EQ(NextBy(worker, Deadline::Never()).text, "1 again fatal once");
  for (uint64_t number = 2; number <= 1 + kMany; ++number) {
    const News news = NextBy(worker, Deadline::Never());
    ASSERT_EQ(news.text.substr(0, news.text.find(' ')), std::to_string(number)) << news.status;
  }
}

// What finds room while Receive waits is sent then, whether the worker answers or not.
TEST(RestartFlushTest, PromiseP2TimeWhatFoundNoRoomIsSentWhileReceiveWaits) {
  RestartingLink worker = Start(WithSmallRings());
  ASSERT_EQ(::kill(worker.link().worker().pid(), SIGSTOP), 0);
  SendMany(worker, 10);
  ASSERT_TRUE(worker.Send(1, BytesOf("the last"), Deadline::AtMonotonicNs(0)).ok());
  ASSERT_EQ(::kill(worker.link().worker().pid(), SIGCONT), 0);
  EXPECT_EQ(Next(worker).text, std::to_string(1 + kMany) + " the last");
  EXPECT_TRUE(absl::IsDeadlineExceeded(NextBy(worker, Deadline::AtMonotonicNs(0)).status));
}

// It is kept all the same, under a number of its own.
TEST(RestartFlushTest, AnInterruptedSendHasItsNumber) {
  RestartingLink worker = Start(WithSmallRings());
  ASSERT_EQ(::kill(worker.link().worker().pid(), SIGSTOP), 0);
  SendMany(worker, 10);
  worker.link().channel().sender.Interrupt();
  EXPECT_EQ(worker.Send(1, BytesOf("interrupted"), Deadline::After(kLong)).value_or(0), kMany + 1);
  EXPECT_EQ(worker.Send(1, BytesOf("next"), Deadline::AtMonotonicNs(0)).value_or(0), kMany + 2);
  ASSERT_EQ(::kill(worker.link().worker().pid(), SIGCONT), 0);
  EXPECT_EQ(Next(worker).text, std::to_string(kMany + 1) + " interrupted");
  EXPECT_EQ(Next(worker).text, std::to_string(kMany + 2) + " next");
}

// ---- Ends of the old worker.

// What it has said is delivered; then it is replaced, whatever the deadlines of our caller.
TEST(RestartEndTest, AWorkerThatTakesNoMoreIsReplaced) {
  for (const Delivery delivery : {Delivery::kAtMostOnce, Delivery::kAtLeastOnce}) {
    for (const absl::Duration patience : {absl::ZeroDuration(), kLong}) {
      RestartOptions options = WithSmallRings();
      options.link.program.arguments = {"take_nothing"};
      options.delivery = delivery;
      RestartingLink worker = Start(std::move(options));
      EXPECT_EQ(Next(worker).text, "said after");
      const std::string kilobyte(1000, 'x');
      absl::Status sent;
      uint64_t accepted = 0;
      while (accepted < kMany && sent.ok()) {
        sent = worker.Send(1, BytesOf(kilobyte), Deadline::AtMonotonicNs(0)).status();
        if (sent.ok()) ++accepted;
      }
      EXPECT_EQ(sent.code(), delivery == Delivery::kAtMostOnce ? absl::StatusCode::kOutOfRange
                                                               : absl::StatusCode::kOk);
      EXPECT_EQ(Next(worker).text, "said after");
      News news;
      news.status = absl::DeadlineExceededError("");
      for (const Deadline give_up = Deadline::After(kLong);
           absl::IsDeadlineExceeded(news.status) && !give_up.Expired();) {
        news = NextBy(worker, Deadline::After(patience));
      }
      EXPECT_EQ(news.event.kind, Kind::kRestarted) << news.status;
      EXPECT_EQ(news.event.undelivered, accepted);
    }
  }
}

TEST(RestartEndTest, AWorkerThatEndsByItselfHasTheTimeForIt) {
  RestartingLink worker = Start(Options(Delivery::kAtMostOnce));
  ASSERT_TRUE(Send(worker, 9, "x").ok());
  EXPECT_EQ(Next(worker).text, "1 x");
  EXPECT_EQ(NextCause(worker), Cause::kDone);
}

// It has a second to go, whatever the deadlines of our caller.
TEST(RestartEndTest, PromiseP2TimeAWorkerThatHangsUpAndStaysHoldsNoReceive) {
  RestartingLink worker = Start(Options(Delivery::kAtMostOnce));
  ASSERT_TRUE(Send(worker, 12, "x").ok());
  EXPECT_EQ(Next(worker).text, "1 x");
  const int64_t begun_ns = MonotonicNowNs();
  News news;
  absl::Duration longest;
  for (const Deadline give_up = Deadline::After(kLong); !give_up.Expired();) {
    const int64_t before_ns = MonotonicNowNs();
    news = NextBy(worker, Deadline::After(absl::Milliseconds(10)));
    if (!absl::IsDeadlineExceeded(news.status)) break;
    longest = std::max(longest, absl::Nanoseconds(MonotonicNowNs() - before_ns));
    if (news.status.message() == kNotEndedYet) {
      EXPECT_EQ(Send(worker, 1, "x").status(), absl::UnavailableError("the worker has ended"));
    }
  }
  EXPECT_LT(longest, absl::Milliseconds(500));
  EXPECT_GE(absl::Nanoseconds(MonotonicNowNs() - begun_ns), absl::Milliseconds(900));
  ASSERT_EQ(news.event.kind, Kind::kRestarted) << news.status;
  EXPECT_EQ(news.event.end->cause, Cause::kKilled) << news.event.end->ToString();
  EXPECT_EQ(news.event.undelivered, 1u);
  EXPECT_EQ(Send(worker, 1, "y").value_or(0), 2u);
  EXPECT_EQ(Next(worker).text, "2 y");
}

// No call of ours goes on beyond its deadline for an old worker; the next one is another call's.
TEST(RestartEndTest, PromiseP2TimeNoStartIsBegunAfterTheDeadline) {
  RestartingLink worker = Start(Options(Delivery::kAtMostOnce, absl::ZeroDuration()));
  ASSERT_EQ(::kill(worker.link().worker().pid(), SIGKILL), 0);
  ASSERT_TRUE(HasEndedByItself(worker.link()));
  int calls = 1;
  News news = NextBy(worker, Deadline::AtMonotonicNs(0));
  EXPECT_EQ(worker.epoch(), 1u);
  for (; absl::IsDeadlineExceeded(news.status) && calls < 5; ++calls) {
    news = NextBy(worker, Deadline::AtMonotonicNs(0));
  }
  EXPECT_EQ(news.event.kind, Kind::kRestarted) << news.status;
  EXPECT_EQ(worker.epoch(), 2u);
}

TEST(RestartEndTest, AfterOurEndNothingIsSentOrStarted) {
  for (const Delivery delivery : {Delivery::kAtMostOnce, Delivery::kAtLeastOnce}) {
    RestartOptions options = Options(delivery);
    RestartingLink worker = Start(std::move(options));
    ASSERT_TRUE(Send(worker, 10, "x").ok());
    EXPECT_EQ(worker.End(Deadline::After(kLong)).cause, Cause::kDone);
    EXPECT_TRUE(absl::IsUnavailable(Send(worker, 1, "y").status()));
    EXPECT_TRUE(absl::IsUnavailable(Next(worker).status));
    EXPECT_EQ(worker.epoch(), 1u);
  }
}

TEST(RestartEndTest, AWorkerThatGivesUpSaysWhy) {
  RestartingLink worker = Start(Options(Delivery::kAtMostOnce));
  ASSERT_TRUE(Send(worker, 6, "x").ok());
  EXPECT_EQ(Next(worker).text, "1 x");
  const News news = Next(worker);
  ASSERT_TRUE(news.event.end.has_value()) << news.status;
  EXPECT_EQ(news.event.end->cause, Cause::kSaidWhy);
  EXPECT_EQ(news.event.end->what, "gave up: it is enough");
}

TEST(RestartEndTest, AcknowledgementsOfWhatTheNewWorkerHasNotGotAreALie) {
  RestartingLink worker = Start(Options(Delivery::kAtMostOnce));
  ASSERT_TRUE(Send(worker, 3, "fatal").ok());
  static_cast<void>(NextCause(worker));
  // The number before it went to the worker before.
  EXPECT_EQ(Send(worker, 7, "x").value_or(0), 2u);
  EXPECT_EQ(Next(worker).text, "2 x");
  EXPECT_EQ(NextCause(worker), Cause::kBrokeProtocol);
}

// ---- Sending to one that has gone.

TEST(RestartSendTest, AtMostOnceAnErrorIsOfWhatWasNotSent) {
  RestartingLink worker = Start(Options(Delivery::kAtMostOnce));
  ASSERT_EQ(::kill(worker.link().worker().pid(), SIGKILL), 0);
  ASSERT_TRUE(HasEndedByItself(worker.link()));
  // What finds room in its ring was sent.
  uint64_t sent = 0;
  absl::Status status;
  const std::string kilobyte(1000, 'x');
  while (status.ok()) {
    const auto number = Send(worker, 1, kilobyte);
    status = number.status();
    if (status.ok()) {
      EXPECT_EQ(*number, ++sent);
    }
  }
  EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsOutOfRange(status)) << status;
  EXPECT_EQ(worker.unacknowledged(), sent);
  const News news = Next(worker);
  ASSERT_EQ(news.event.kind, Kind::kRestarted) << news.status;
  EXPECT_EQ(news.event.undelivered, sent);
  EXPECT_EQ(Send(worker, 1, "x").value_or(0), sent + 1);
}

// A worker that takes whatever comes and acknowledges none of it.
TEST(RestartSendTest, PromiseP7ResourcesAtMostOnceNothingIsHeldForWhatIsNotAcknowledged) {
  RestartingLink worker = Start(Options(Delivery::kAtMostOnce));
  constexpr uint64_t kMessages = 50'000;
  const auto in_use = [] { return ::mallinfo2().uordblks + ::mallinfo2().hblkhd; };
  const std::size_t before_bytes = in_use();
  for (uint64_t i = 0; i < kMessages; ++i) ASSERT_TRUE(Send(worker, 11, "x").ok());
  // A sanitizer's allocator does not say how much is in use.
  if (!testing::HasSanitizer()) {
    EXPECT_LT(in_use(), before_bytes + kMessages);
  }
  EXPECT_EQ(worker.unacknowledged(), kMessages);
  ASSERT_EQ(::kill(worker.link().worker().pid(), SIGKILL), 0);
  const News news = Next(worker);
  ASSERT_EQ(news.event.kind, Kind::kRestarted) << news.status;
  EXPECT_EQ(news.event.undelivered, kMessages);
  EXPECT_EQ(news.event.first_undelivered, 1u);
  EXPECT_EQ(worker.unacknowledged(), 0u);
}

// By death, by an orderly end or by a lie.
TEST(RestartSendTest, AtLeastOnceItIsKeptHoweverTheWorkerWentAway) {
  for (const uint32_t tag : {4u, 5u, 9u}) {
    RestartingLink worker = Start(Options(Delivery::kAtLeastOnce));
    ASSERT_TRUE(Send(worker, tag, "goodbye").ok());
    if (tag == 5) {
      EXPECT_EQ(Next(worker).text, "1 goodbye");
      // The violation is found, and the channel ends.
      std::vector<std::byte> buffer(worker.link().max_message_bytes());
      EXPECT_TRUE(absl::IsDataLoss(
          worker.link().Receive(absl::MakeSpan(buffer), Deadline::After(kLong)).status()));
    } else {
      ASSERT_TRUE(HasEndedByItself(worker.link()));
    }
    EXPECT_EQ(Send(worker, 2, "kept").value_or(0), 2u) << tag;
    EXPECT_EQ(worker.unacknowledged(), 2u) << tag;
  }
}

TEST(RestartSendTest, SizesAreBoundedToTheByte) {
  RestartOptions options = Options(Delivery::kAtLeastOnce);
  options.link.to_worker.max_message_bytes = 1000;
  options.max_kept_bytes = 2000 + 3 * RestartOptions::kMessageCost;
  RestartingLink worker = Start(std::move(options));
  constexpr std::size_t kMax = 1000 - sizeof(internal::NumberedWire);
  for (const std::size_t more : {1u, 24u, 48u}) {
    const absl::Status status = Send(worker, 1, std::string(kMax + more, 'x')).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(std::to_string(kMax + more) + " bytes; allowed: 976"));
  }
  EXPECT_EQ(worker.unacknowledged(), 0u);
  EXPECT_EQ(Send(worker, 2, std::string(kMax, 'x')).value_or(0), 1u);
  EXPECT_EQ(Next(worker).text, "1 " + std::string(kMax, 'x'));
  EXPECT_EQ(Send(worker, 2, std::string(kMax, 'x')).value_or(0), 2u);
  // As much as may be kept, to the byte.
  const std::size_t left = 2000 - 2 * kMax;
  EXPECT_TRUE(absl::IsResourceExhausted(Send(worker, 2, std::string(left + 1, 'x')).status()));
  EXPECT_EQ(worker.unacknowledged(), 2u);
  EXPECT_EQ(Send(worker, 2, std::string(left, 'x')).value_or(0), 3u);
  EXPECT_TRUE(absl::IsResourceExhausted(Send(worker, 2, "").status()));
}

// What a message costs besides its bytes counts, and is given back.
TEST(RestartSendTest, PromiseP7ResourcesAtLeastOnceEmptyMessagesAreBounded) {
  constexpr uint64_t kFits = 100;
  RestartOptions options = Options(Delivery::kAtLeastOnce);
  options.max_kept_bytes = kFits * RestartOptions::kMessageCost;
  RestartingLink worker = Start(std::move(options));
  for (uint64_t round = 0; round < 3; ++round) {
    for (uint64_t i = 1; i < kFits; ++i) ASSERT_TRUE(Send(worker, 11, "").ok());
    // Acknowledged, and all before it.
    ASSERT_TRUE(Send(worker, 10, "").ok());
    ASSERT_TRUE(absl::IsResourceExhausted(Send(worker, 11, "").status()));
    for (const Deadline give_up = Deadline::After(kLong);
         worker.unacknowledged() > 0 && !give_up.Expired();) {
      const absl::Status status = NextBy(worker, Deadline::After(absl::Milliseconds(5))).status;
      ASSERT_TRUE(absl::IsDeadlineExceeded(status)) << status;
    }
    EXPECT_EQ(worker.unacknowledged(), 0u);
  }
}

}  // namespace
}  // namespace parley

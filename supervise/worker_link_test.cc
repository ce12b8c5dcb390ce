// SPDX-License-Identifier: Apache-2.0
#include "parley/supervise/worker_link.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
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
#include "parley/boundary/wire_copy.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/supervise/link_wire.h"
#include "parley/supervise/testing_link.h"
#include "parley/supervise/testing_program.h"

namespace parley {
namespace {

using testing::BytesOf;
using testing::FillTheRing;
using testing::HasSanitizer;
using testing::InterruptSoon;
using testing::kLong;
using testing::LinkOptions;
using testing::TextOf;
using Cause = WorkerEnd::Cause;

absl::StatusOr<WorkerLink> Start(const std::string& what) {
  return testing::StartLink(LinkOptions(what), Deadline::After(kLong));
}

struct Heard {
  absl::Status status;
  uint32_t tag = 0;
  std::vector<std::byte> bytes;
};

Heard Hear(WorkerLink& link, absl::Duration time = kLong) {
  std::vector<std::byte> buffer(link.max_message_bytes());
  const auto message = link.Receive(absl::MakeSpan(buffer), Deadline::After(time));
  if (!message.ok()) return {message.status(), 0, {}};
  buffer.resize(message->size_bytes);
  return {absl::OkStatus(), message->tag, std::move(buffer)};
}

uint64_t SumOf(const std::string& text) {
  uint64_t sum = text.size();
  for (const char c : text) sum = sum * 31 + static_cast<uint8_t>(c);
  return sum;
}

uint64_t Number(const Heard& heard) {
  uint64_t number = 0;
  EXPECT_TRUE(ReadWire(absl::MakeConstSpan(heard.bytes), &number)) << heard.status;
  return number;
}

std::string SomeText(std::size_t size_bytes) {
  std::string text;
  for (std::size_t i = 0; i < size_bytes; ++i) text += static_cast<char>(i * 7 + i / 251);
  return text;
}

// ---- Honest workers.

TEST(WorkerLinkTest, MessagesGoBothWaysAndTheEndIsOrderly) {
  auto link = Start("echo");
  ASSERT_TRUE(link.ok()) << link.status();
  for (const uint32_t tag : {0u, 1u, kMaxWorkerTag}) {
    ASSERT_TRUE(link->Send(tag, BytesOf("hello"), Deadline::After(kLong)).ok());
    const Heard heard = Hear(*link);
    EXPECT_EQ(heard.tag, tag) << heard.status;
    EXPECT_EQ(TextOf(heard.bytes), "hello");
  }
  const WorkerEnd end = link->End(Deadline::After(kLong));
  EXPECT_EQ(end.cause, Cause::kDone) << end.ToString();
  EXPECT_EQ(link->End(Deadline::After(kLong)).report.pid, end.report.pid);
}

// Where the host cannot do its part, its own reason is said, not what the worker makes of it.
TEST(WorkerLinkTest, TheHostsOwnTroubleIsSaidAsSuch) {
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit low = before;
  low.rlim_cur = 4096;
  const auto usual = ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &low), 0);
  const auto link = Start("echo");
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, usual);
  ASSERT_FALSE(link.ok());
  EXPECT_THAT(std::string(link.status().message()), ::testing::HasSubstr("RLIMIT_FSIZE"));
}

TEST(WorkerLinkTest, ASealedInputIsReadWhereItLies) {
  const std::string text = SomeText(100'000);
  auto blob = SealedBlob::Create(BytesOf(text));
  ASSERT_TRUE(blob.ok()) << blob.status();
  for (const char* what : {"sum", "sum_in_pieces"}) {
    WorkerLinkOptions options = LinkOptions(what);
    options.input = &*blob;
    auto link = testing::StartLink(std::move(options), Deadline::After(kLong));
    ASSERT_TRUE(link.ok()) << link.status();
    EXPECT_EQ(Number(Hear(*link)), SumOf(text)) << what;
    const WorkerEnd end = link->End(Deadline::After(kLong));
    EXPECT_EQ(end.cause, Cause::kDone) << end.ToString();
  }
}

TEST(WorkerLinkTest, AStreamedInputIsReadOnRequest) {
  const std::string text = SomeText(300'000);
  for (const bool known : {true, false}) {
    WorkerLinkOptions options = LinkOptions(known ? "sum_in_pieces" : "sum");
    if (known) options.source.size_bytes = text.size();
    options.source.read = [&text](uint64_t offset, absl::Span<std::byte> into) {
      const std::size_t size_bytes =
          offset >= text.size() ? 0 : std::min(into.size(), text.size() - offset);
      if (size_bytes > 0) std::memcpy(into.data(), text.data() + offset, size_bytes);
      return absl::StatusOr<std::size_t>(size_bytes);
    };
    auto link = testing::StartLink(std::move(options), Deadline::After(kLong));
    ASSERT_TRUE(link.ok()) << link.status();
    // Messages that come while an answer is waited for are kept.
    if (known) {
      ASSERT_TRUE(link->Send(9, BytesOf("later"), Deadline::After(kLong)).ok());
    }
    EXPECT_EQ(Number(Hear(*link)), SumOf(text));
    if (known) {
      EXPECT_EQ(TextOf(Hear(*link).bytes), "later");
    }
    const WorkerEnd end = link->End(Deadline::After(kLong));
    EXPECT_EQ(end.cause, Cause::kDone) << end.ToString();
  }
}

TEST(WorkerLinkTest, AFileIsStreamed) {
  const std::string path = ::testing::TempDir() + "streamed";
  const std::string text = SomeText(50'000);
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  ASSERT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  WorkerLinkOptions options = LinkOptions("sum");
  auto source = InputSource::FromFile(file.get());
  ASSERT_TRUE(source.ok()) << source.status();
  options.source = *std::move(source);
  auto link = testing::StartLink(std::move(options), Deadline::After(kLong));
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_EQ(Number(Hear(*link)), SumOf(text));
}

// Neither a length to divide the reads by, nor an offset to read at.
TEST(WorkerLinkTest, OnlyAFileIsStreamed) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd pipe(ends[0]);
  const UniqueFd writer(ends[1]);
  const UniqueFd folder(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd device(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  for (const int fd : {pipe.get(), folder.get(), device.get()}) {
    const absl::Status status = InputSource::FromFile(fd).status();
    EXPECT_EQ(status, absl::InvalidArgumentError("the input is no regular file"));
  }
  EXPECT_FALSE(InputSource::FromFile(-1).ok());
}

TEST(WorkerLinkDeathTest, ATagOfTheLinksOwnIsTheCallersBug) {
  auto link = Start("echo");
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_DEATH(static_cast<void>(link->Send(kMaxWorkerTag + 1, {}, Deadline::After(kLong))),
               "a tag above kMaxWorkerTag");
}

TEST(WorkerLinkTest, WhatItPrintsIsPassedOn) {
  std::string printed;
  WorkerLinkOptions options = LinkOptions("print");
  options.program.output = [&printed](std::string_view lines) { printed += lines; };
  auto link = testing::StartLink(std::move(options), Deadline::After(kLong));
  ASSERT_TRUE(link.ok()) << link.status();
  static_cast<void>(link->End(Deadline::After(kLong)));
  EXPECT_NE(printed.find("[tester] one line\n[tester] \\x1b[2Jand another"), std::string::npos)
      << printed;
}

TEST(WorkerLinkTest, WrongOptionsAreSaidWhereTheyAreGiven) {
  auto blob = SealedBlob::Create(BytesOf("x"));
  WorkerLinkOptions both = LinkOptions("sum");
  both.input = &*blob;
  both.source.read = [](uint64_t, absl::Span<std::byte>) { return absl::StatusOr<std::size_t>(0); };
  EXPECT_TRUE(absl::IsInvalidArgument(
      testing::StartLink(std::move(both), Deadline::After(kLong)).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(testing::StartLink({}, Deadline::After(kLong)).status()));
}

// ---- Workers that don't get as far.

void ExpectNoStart(const std::string& what, absl::StatusCode code, const std::string& says) {
  const absl::Status status = Start(what).status();
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_NE(std::string(status.message()).find(says), std::string::npos) << status;
}

TEST(WorkerLinkTest, TheReasonOfAWorkerThatCouldNotBeSetUpIsInTheError) {
  ExpectNoStart("warm_up_fails", absl::StatusCode::kUnavailable,
                ": the codec's tables are not there");
  ExpectNoStart("no_handshake", absl::StatusCode::kUnavailable, "ended with exit code 5");
  WorkerLinkOptions options = LinkOptions("echo");
  options.program.environment = {{internal::kInputVariable, "nine"}};
  const absl::Status no_input =
      testing::StartLink(std::move(options), Deadline::After(kLong)).status();
  EXPECT_TRUE(absl::IsUnavailable(no_input)) << no_input;
  EXPECT_NE(
      std::string(no_input.message()).find("could not be set up: PARLEY_INPUT is not the number"),
      std::string::npos)
      << no_input;
  options = LinkOptions("echo");
  options.program.path += "_that_is_not_there";
  EXPECT_TRUE(
      absl::IsNotFound(testing::StartLink(std::move(options), Deadline::After(kLong)).status()));
  options = LinkOptions("echo");
  options.format = "another";
  EXPECT_FALSE(testing::StartLink(std::move(options), Deadline::After(kLong)).ok());
}

TEST(WorkerLinkTest, AWorkerThatForgetsLockDownIsNeverToldToBegin) {
  std::string printed;
  WorkerLinkOptions options = LinkOptions("forget_lock_down");
  options.format = "";
  options.program.output = [&printed](std::string_view lines) { printed += lines; };
  const absl::Status status =
      testing::StartLink(std::move(options), Deadline::After(absl::Seconds(2))).status();
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  EXPECT_NE(std::string(status.message()).find("is not confined"), std::string::npos) << status;
  EXPECT_EQ(printed, "");
}

// ---- Ends, each with its cause and its sentence.

struct EndCase {
  const char* what;
  Cause cause;
  const char* says;
};

class WorkerEndTest : public ::testing::TestWithParam<EndCase> {};

TEST_P(WorkerEndTest, HasItsCauseAndItsSentence) {
  const EndCase& expected = GetParam();
  if (HasSanitizer() &&
      (expected.cause == Cause::kCrashed || expected.cause == Cause::kOutOfMemory)) {
    GTEST_SKIP() << "a sanitizer ends the process in its own way";
  }
  WorkerLinkOptions options = LinkOptions(expected.what);
  options.program.memory_bytes = uint64_t{512} << 20;
  options.program.limits.cpu_seconds = 1;
  auto link = testing::StartLink(std::move(options), Deadline::After(kLong));
  ASSERT_TRUE(link.ok()) << link.status();
  const Heard heard =
      Hear(*link, expected.cause == Cause::kKilled ? absl::Milliseconds(300) : kLong);
  EXPECT_FALSE(heard.status.ok());
  const WorkerEnd end = link->End(
      Deadline::After(expected.cause == Cause::kKilled ? absl::Milliseconds(300) : kLong));
  EXPECT_EQ(end.cause, expected.cause) << end.ToString() << "; " << heard.status;
  EXPECT_NE(end.ToString().find(expected.says), std::string::npos) << end.ToString();
  EXPECT_EQ(end.ToString().find("tester (pid "), 0u) << end.ToString();
}

INSTANTIATE_TEST_SUITE_P(
    Ends, WorkerEndTest,
    ::testing::Values(EndCase{"nothing", Cause::kDone, "ended normally"},
                      EndCase{"fail", Cause::kSaidWhy, "gave up: this is \\x1b[2J no   film"},
                      EndCase{"abort", Cause::kCrashed, "killed by signal 6"},
                      EndCase{"crash", Cause::kCrashed, "killed by signal 11"},
                      EndCase{"socket", Cause::kRefusedCall, "it called chdir"},
                      EndCase{"exit", Cause::kExitCode, "exit code 7"},
                      EndCase{"out_of_memory", Cause::kOutOfMemory, "not enough memory"},
                      EndCase{"burn", Cause::kOutOfTime, "CPU time"},
                      EndCase{"stay", Cause::kKilled, "was killed: it did not end in time"},
                      EndCase{"unknown_tag", Cause::kBrokeProtocol, "broke the protocol"},
                      EndCase{"failed_without_reason", Cause::kBrokeProtocol, "broke the protocol"},
                      EndCase{"answer_of_a_job", Cause::kBrokeProtocol, "broke the protocol"},
                      EndCase{"ask_for_too_much", Cause::kBrokeProtocol, "broke the protocol"},
                      EndCase{"jump_ahead", Cause::kBrokeProtocol, "producer position"}),
    [](const auto& test) { return std::string(test.param.what); });

TEST(WorkerLinkTest, PromiseP3WorkAWorkerThatReadsWithoutEndIsStopped) {
  WorkerLinkOptions options = LinkOptions("read_for_ever");
  options.source.size_bytes = 100;
  options.source.max_read_bytes = 10'000'000;
  uint64_t reads = 0;
  options.source.read = [&reads](uint64_t, absl::Span<std::byte> into) {
    ++reads;
    return absl::StatusOr<std::size_t>(std::min<std::size_t>(into.size(), 100));
  };
  auto link = testing::StartLink(std::move(options), Deadline::After(kLong));
  ASSERT_TRUE(link.ok()) << link.status();
  // Not beyond the caller's time either. A fast worker has used up all within it.
  const absl::Status first = Hear(*link, absl::Milliseconds(5)).status;
  EXPECT_TRUE(absl::IsDeadlineExceeded(first) || absl::IsResourceExhausted(first)) << first;
  // However often it is asked.
  for (int i = 0; i < 2; ++i) {
    const absl::Status heard = Hear(*link).status;
    EXPECT_TRUE(absl::IsResourceExhausted(heard)) << heard;
  }
  EXPECT_LE(reads, 10'000'000u / 8192 + 2);
}

// The deadline or the interrupt of one Receive that comes between a question and its answer is not
// the worker's end.
TEST(WorkerLinkTest, AnAnswerThatFoundNoRoomIsGivenLater) {
  WorkerLinkOptions options = LinkOptions("read_for_ever");
  options.source.size_bytes = 100;
  options.source.max_read_bytes = 10'000'000;
  options.source.read = [](uint64_t, absl::Span<std::byte>) {
    return absl::StatusOr<std::size_t>(100);
  };
  auto link = testing::StartLink(std::move(options), Deadline::After(kLong));
  ASSERT_TRUE(link.ok()) << link.status();
  // It asks, and is stopped while it waits for the answer.
  absl::SleepFor(absl::Milliseconds(100));
  ASSERT_EQ(::kill(link->worker().pid(), SIGSTOP), 0);
  FillTheRing(*link);
  EXPECT_TRUE(absl::IsDeadlineExceeded(Hear(*link, absl::Milliseconds(5)).status));
  link->channel().sender.Interrupt();
  EXPECT_TRUE(absl::IsCancelled(Hear(*link).status));
  ASSERT_EQ(::kill(link->worker().pid(), SIGCONT), 0);
  const absl::Status heard = Hear(*link).status;
  EXPECT_TRUE(absl::IsResourceExhausted(heard)) << heard;
}

WorkerLinkOptions WithSomeInput(const std::string& what) {
  WorkerLinkOptions options = LinkOptions(what);
  options.source.size_bytes = 100;
  options.source.read = [](uint64_t, absl::Span<std::byte> into) {
    return absl::StatusOr<std::size_t>(std::min<std::size_t>(into.size(), 100));
  };
  return options;
}

// What lies ready is no reason to go on, and is still there afterwards.
TEST(WorkerLinkTest, AnInterruptTakesNoMessage) {
  auto link = Start("say_three_things_and_fail");
  ASSERT_TRUE(link.ok()) << link.status();
  ASSERT_TRUE(testing::HasEndedByItself(*link));
  for (int i = 0; i < 3; ++i) {
    link->Interrupt();
    EXPECT_TRUE(absl::IsCancelled(Hear(*link).status));
    EXPECT_EQ(TextOf(Hear(*link).bytes), "a message");
  }
  EXPECT_TRUE(absl::IsAborted(Hear(*link).status));
}

TEST(WorkerLinkTest, PromiseP2TimeAnInterruptEndsReadsWithoutAPause) {
  WorkerLinkOptions options = LinkOptions("ask_often");
  WorkerLink* reading = nullptr;
  int reads = 0;
  options.source.size_bytes = 100;
  options.source.read = [&](uint64_t, absl::Span<std::byte>) {
    if (++reads == 1) reading->Interrupt();
    absl::SleepFor(absl::Milliseconds(1));
    return absl::StatusOr<std::size_t>(1);
  };
  auto link = testing::StartLink(std::move(options), Deadline::After(kLong));
  ASSERT_TRUE(link.ok()) << link.status();
  reading = &*link;
  EXPECT_TRUE(absl::IsCancelled(Hear(*link).status));
  EXPECT_EQ(reads, 1);
  EXPECT_TRUE(absl::IsDeadlineExceeded(Hear(*link, absl::Milliseconds(500)).status));
  EXPECT_EQ(reads, 50);
}

// Receive waits for the worker to take an answer then, and not for a message.
TEST(WorkerLinkTest, PromiseP2TimeAnInterruptEndsAReceiveWhoseAnswerIsNotTaken) {
  WorkerLinkOptions options = LinkOptions("ask_and_take_nothing");
  options.source.size_bytes = 8192;
  options.source.read = [](uint64_t, absl::Span<std::byte> into) {
    return absl::StatusOr<std::size_t>(into.size());
  };
  auto link = testing::StartLink(std::move(options), Deadline::After(kLong));
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(Hear(*link, absl::Milliseconds(200)).status));
  std::thread other = InterruptSoon(*link);
  const absl::Status status = Hear(*link, absl::Seconds(3)).status;
  other.join();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  // Once.
  EXPECT_TRUE(absl::IsDeadlineExceeded(Hear(*link, absl::Milliseconds(50)).status));
}

// One that waits, whether it did before or not; and it is nothing to the Receive behind it.
TEST(WorkerLinkTest, AnInterruptEndsASendThatWaits) {
  auto link = Start("stay");
  ASSERT_TRUE(link.ok()) << link.status();
  link->Interrupt();
  EXPECT_TRUE(link->Send(1, BytesOf("x"), Deadline::After(kLong)).ok());
  FillTheRing(*link);  // without a wait: it is still pending
  EXPECT_TRUE(absl::IsCancelled(link->Send(1, BytesOf("x"), Deadline::After(absl::Seconds(3)))));
  EXPECT_TRUE(absl::IsDeadlineExceeded(Hear(*link, absl::Milliseconds(50)).status));
  std::thread other = InterruptSoon(*link);
  const absl::Status status = link->Send(1, BytesOf("x"), Deadline::After(absl::Seconds(3)));
  other.join();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_TRUE(absl::IsDeadlineExceeded(Hear(*link, absl::Milliseconds(50)).status));
}

// Nor is one that ended a Receive anything to a wait of the other end, the caller's own included.
TEST(WorkerLinkTest, AnInterruptEndsOneWaitOfEitherEnd) {
  auto link = Start("stay");
  ASSERT_TRUE(link.ok()) << link.status();
  FillTheRing(*link);
  for (int i = 0; i < 2; ++i) {
    const Deadline soon = Deadline::After(absl::Milliseconds(50));
    link->Interrupt();
    EXPECT_TRUE(absl::IsCancelled(Hear(*link).status));
    EXPECT_TRUE(absl::IsDeadlineExceeded(link->Send(1, BytesOf("x"), soon)));
    EXPECT_TRUE(absl::IsDeadlineExceeded(
        link->channel().sender.Reserve(1000, Deadline::After(absl::Milliseconds(50))).status()));
    EXPECT_TRUE(absl::IsDeadlineExceeded(Hear(*link, absl::Milliseconds(50)).status));
  }
}

// Also where the free space that a Send waits for comes at the same time.
TEST(WorkerLinkTest, EachInterruptEndsOneCall) {
  constexpr int kInterrupts = 300;
  auto link = testing::StartLink(WithSomeInput("ask_at_the_end"), Deadline::After(kLong));
  ASSERT_TRUE(link.ok()) << link.status();
  std::atomic<int> cancelled{0};
  std::atomic<bool> over{false};
  std::atomic<bool> ended{false};
  std::thread other([&] {
    for (int i = 0; i < kInterrupts; ++i) {
      absl::SleepFor(absl::Microseconds(7 * (i % 13)));
      link->Interrupt();
      while (cancelled.load() <= i && !ended.load()) std::this_thread::yield();
    }
    over = true;
  });
  const std::vector<std::byte> much(10'000);
  absl::Status sent;
  for (int after = 0; after < 300 && (sent.ok() || absl::IsCancelled(sent));
       after += over.load() ? 1 : 0) {
    sent = link->Send(1, much, Deadline::After(kLong));
    if (absl::IsCancelled(sent)) ++cancelled;
  }
  ended = true;
  other.join();
  EXPECT_TRUE(sent.ok() || absl::IsCancelled(sent)) << sent;
  EXPECT_EQ(cancelled.load(), kInterrupts);
}

// It is for a wait, and this is none: an honest worker has more to say than its ring holds.
TEST(WorkerLinkTest, AnInterruptDoesNotHoldUpAnOrderlyEnd) {
  auto link = Start("much");
  ASSERT_TRUE(link.ok()) << link.status();
  link->Interrupt();
  const WorkerEnd end = link->End(Deadline::After(absl::Seconds(10)));
  EXPECT_EQ(end.cause, Cause::kDone) << end.ToString();
}

// What it asks once nothing more is said to it is not answered, and ends nobody.
TEST(WorkerLinkTest, PromiseP9AbortIsOursAReadAfterTheEndIsNotAnswered) {
  auto link = testing::StartLink(WithSomeInput("ask_at_the_end"), Deadline::After(kLong));
  ASSERT_TRUE(link.ok()) << link.status();
  const WorkerEnd end = link->End(Deadline::After(kLong));
  EXPECT_EQ(end.cause, Cause::kDone) << end.ToString();
  // Also one that was asked, and could not be answered, before.
  auto late = testing::StartLink(WithSomeInput("ask_often"), Deadline::After(kLong));
  ASSERT_TRUE(late.ok()) << late.status();
  FillTheRing(*late);
  EXPECT_TRUE(absl::IsDeadlineExceeded(Hear(*late, absl::Milliseconds(50)).status));
  EXPECT_EQ(late->End(Deadline::After(absl::Milliseconds(50))).cause, Cause::kKilled);
  // And where our caller closed that end by itself.
  auto closed = testing::StartLink(WithSomeInput("ask_often"), Deadline::After(kLong));
  ASSERT_TRUE(closed.ok()) << closed.status();
  closed->channel().sender.Close();
  EXPECT_TRUE(absl::IsDeadlineExceeded(Hear(*closed, absl::Milliseconds(50)).status));
}

// Nor does one that comes while our caller fills a message of its own; it is answered after that.
TEST(WorkerLinkTest, PromiseP9AbortIsOursAReadWhileAMessageIsReservedIsAnsweredLater) {
  auto link = testing::StartLink(WithSomeInput("ask"), Deadline::After(kLong));
  ASSERT_TRUE(link.ok()) << link.status();
  Sender& sender = link->channel().sender;
  ASSERT_TRUE(sender.Reserve(100, Deadline::After(kLong)).ok());
  EXPECT_TRUE(sender.reserved());
  EXPECT_TRUE(absl::IsDeadlineExceeded(Hear(*link, absl::Milliseconds(100)).status));
  sender.DropReserved();
  EXPECT_FALSE(sender.reserved());
  EXPECT_EQ(Hear(*link).bytes.size(), sizeof(internal::ReadAnswerWire) + 5);
}

// A link may be ended from where its input is read, and is not read again.
TEST(WorkerLinkTest, PromiseP9AbortIsOursAnEndWithinAReadIsOne) {
  WorkerLinkOptions options = LinkOptions("read_for_ever");
  WorkerLink* ending = nullptr;
  int reads = 0;
  options.source.size_bytes = 100;
  options.source.read = [&](uint64_t, absl::Span<std::byte>) {
    ++reads;
    EXPECT_EQ(ending->End(Deadline::After(kLong)).cause, Cause::kKilled);
    return absl::StatusOr<std::size_t>(0);
  };
  auto link = testing::StartLink(std::move(options), Deadline::After(kLong));
  ASSERT_TRUE(link.ok()) << link.status();
  ending = &*link;
  EXPECT_FALSE(Hear(*link).status.ok());
  EXPECT_EQ(reads, 1);
}

// Whoever takes what it prints may kill it for that, also as the link is dropped.
TEST(WorkerLinkTest, ItsOutputMayKillIt) {
  WorkerLinkOptions options = LinkOptions("print_in_body");
  WorkerLink* killing = nullptr;
  int kills = 0;
  options.program.output = [&](std::string_view lines) {
    if (lines.find("during the work") == std::string_view::npos) return;
    ++kills;
    EXPECT_THAT(killing->Kill("it said too much").what, ::testing::HasSubstr("it said too much"));
  };
  {
    auto link = testing::StartLink(std::move(options), Deadline::After(kLong));
    ASSERT_TRUE(link.ok()) << link.status();
    killing = &*link;
    absl::SleepFor(absl::Milliseconds(200));  // it has printed, and nobody has looked
  }
  EXPECT_EQ(kills, 1);
}

TEST(WorkerLinkTest, AfterTheEndASendIsAnError) {
  auto link = Start("echo");
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_EQ(link->End(Deadline::After(kLong)).cause, Cause::kDone);
  EXPECT_EQ(link->Send(1, BytesOf("x"), Deadline::After(kLong)).code(),
            absl::StatusCode::kOutOfRange);
}

// Its reason is said whatever it left half done.
TEST(WorkerLinkTest, AWorkerThatFailsWhileItFillsAMessageSaysWhy) {
  auto link = Start("reserve_and_fail");
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_EQ(Hear(*link).status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(link->End(Deadline::After(kLong)).cause, Cause::kSaidWhy);
}

// An answer that it does not take is not the end of what it says.
TEST(WorkerLinkTest, AWorkerThatTakesNoAnswerIsStillHeard) {
  auto link = testing::StartLink(WithSomeInput("ask_and_take_no_answer"), Deadline::After(kLong));
  ASSERT_TRUE(link.ok()) << link.status();
  const std::vector<std::byte> much(1000);
  absl::Status sent;
  while (sent.ok()) sent = link->Send(1, much, Deadline::After(kLong));
  EXPECT_EQ(sent.code(), absl::StatusCode::kOutOfRange);
  const Heard heard = Hear(*link);
  EXPECT_EQ(TextOf(heard.bytes), "said after") << heard.status;
}

TEST(WorkerLinkTest, AWorkerThatGaveUpSaysNoMore) {
  auto link = Start("give_up_and_go_on");
  ASSERT_TRUE(link.ok()) << link.status();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(absl::IsAborted(Hear(*link).status));
}

TEST(WorkerLinkTest, AFloodDoesNotHoldUpTheEnd) {
  auto link = Start("flood");
  ASSERT_TRUE(link.ok()) << link.status();
  const WorkerEnd end = link->End(Deadline::After(absl::Milliseconds(300)));
  EXPECT_EQ(end.cause, Cause::kKilled) << end.ToString();
}

// Nothing but the channel's own is open after lock-down; the input's descriptor is not.
TEST(WorkerLinkTest, PromiseP8NoSideDoorsNothingButTheChannelIsOpen) {
  auto blob = SealedBlob::Create(BytesOf("secret"));
  WorkerLinkOptions options = LinkOptions("sum_in_pieces");
  options.input = &*blob;
  auto link = testing::StartLink(std::move(options), Deadline::After(kLong));
  ASSERT_TRUE(link.ok()) << link.status();
  // It runs its body: what the lock-down had open is closed.
  ASSERT_TRUE(Hear(*link).status.ok());
  int memfds = 0;
  int sockets = 0;
  const std::string folder = "/proc/" + std::to_string(link->worker().pid()) + "/fd";
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string target = std::filesystem::read_symlink(entry.path(), error).string();
    memfds += target.find("memfd") != std::string::npos ? 1 : 0;
    sockets += target.find("socket:") != std::string::npos ? 1 : 0;
  }
  if (error) GTEST_SKIP() << "the worker's descriptors cannot be listed: " << error.message();
  EXPECT_EQ(memfds, 0);
  // A sanitizer's profile keeps stderr, for its report.
  EXPECT_EQ(sockets, HasSanitizer() ? 2 : 1);
}

TEST(WorkerLinkTest, ALinkThatIsDroppedLeavesNoProcess) {
  pid_t pid = -1;
  {
    auto link = Start("stay");
    ASSERT_TRUE(link.ok()) << link.status();
    pid = link->worker().pid();
    WorkerLink moved = *std::move(link);
    EXPECT_EQ(moved.worker().pid(), pid);
  }
  EXPECT_NE(::kill(pid, 0), 0);
}

}  // namespace
}  // namespace parley

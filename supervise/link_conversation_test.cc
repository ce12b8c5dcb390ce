// SPDX-License-Identifier: Apache-2.0

// What goes over a link once it stands: rings, reads of the input, the worker's last words and
// lies.

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
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
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/handshake/session.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/ring/ring_types.h"
#include "parley/sealing/guarded_range.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/supervise/link_wire.h"
#include "parley/supervise/testing_link.h"
#include "parley/supervise/testing_program.h"
#include "parley/supervise/worker_end.h"
#include "parley/supervise/worker_link.h"
#include "parley/supervise/worker_link_maker.h"
#include "parley/wait/doorbell.h"

namespace parley {
namespace {

using testing::BytesOf;
using testing::HasEndedByItself;
using testing::HasSanitizer;
using ::testing::HasSubstr;
using testing::Hear;
using testing::HearBy;
using testing::Heard;
using testing::kLong;
using testing::LinkOptions;
using Cause = WorkerEnd::Cause;

WorkerLink Start(WorkerLinkOptions options) {
  auto link = WorkerLink::Start(std::move(options), Deadline::After(kLong));
  EXPECT_TRUE(link.ok()) << link.status();
  return *std::move(link);
}

WorkerLink Start(const std::string& what) { return Start(LinkOptions(what)); }

// A worker that lies and stays is not waited for.
void ExpectBrokenProtocol(WorkerLink& link) {
  EXPECT_TRUE(absl::IsDataLoss(Hear(link).status));
  const WorkerEnd end = link.End(Deadline::Never());
  EXPECT_EQ(end.cause, Cause::kBrokeProtocol) << end.ToString();
}

// ---- The channel.

TEST(LinkChannelTest, RingsAreAsTheyWereAskedFor) {
  struct Row {
    RingRequest asked;
    uint64_t capacity_bytes;
    uint32_t max_message_bytes;
  };
  constexpr uint64_t kKib = 1024;
  const uint64_t page = PageBytes();
  const std::vector<Row> rows = {
      {{}, 64 * kKib, 16 * 1024},
      {{.capacity_bytes = 128 * kKib}, 128 * kKib, 32 * 1024},
      {{.max_message_bytes = 100 * 1024}, 256 * kKib, 100 * 1024},
      {{.capacity_bytes = 32 * kKib, .max_message_bytes = 1000}, std::max(32 * kKib, page), 1000},
  };
  for (const Row& row : rows) {
    WorkerLinkOptions options = LinkOptions("echo");
    options.to_worker = row.asked;
    WorkerLink to = Start(options);
    EXPECT_EQ(to.channel().sender.capacity_bytes(), row.capacity_bytes);
    EXPECT_EQ(to.channel().sender.max_message_bytes(), row.max_message_bytes);
    EXPECT_EQ(to.max_message_bytes(), 16u * 1024);
    options = LinkOptions("echo");
    options.from_worker = row.asked;
    WorkerLink from = Start(options);
    EXPECT_EQ(from.channel().receiver.capacity_bytes(), row.capacity_bytes);
    EXPECT_EQ(from.max_message_bytes(), row.max_message_bytes);
    EXPECT_EQ(from.channel().sender.max_message_bytes(), 16u * 1024);
  }
}

// The process that was started is known to it, so that its end is noticed.
TEST(LinkChannelTest, IsThatOfTheWorkerWithItsProtocolAndEventfds) {
  WorkerLink link = Start("format");
  EXPECT_TRUE(link.channel().session->peer().pidfd.ok());
  EXPECT_EQ(link.channel().peer_format, "testing");
  EXPECT_EQ(HostileAccess::DoorbellOf(link.channel().sender).kind(), Doorbell::Kind::kEventfd);
  EXPECT_EQ(Hear(link).text, "testing");
  EXPECT_EQ(link.no_resident_limit(), "");
}

TEST(LinkChannelTest, MessagesCanBeMadeInPlace) {
  WorkerLink link = Start("echo_in_place");
  for (const uint32_t tag : {0u, 1u, kMaxWorkerTag}) {
    ASSERT_TRUE(link.Send(tag, BytesOf("hello"), Deadline::After(kLong)).ok());
    const Heard heard = Hear(link);
    EXPECT_EQ(heard.tag, tag) << heard.status;
    EXPECT_EQ(heard.text, "hello");
  }
  EXPECT_EQ(link.End(Deadline::After(kLong)).cause, Cause::kDone);
}

TEST(LinkChannelTest, AnInterruptEndsOneReceive) {
  WorkerLink link = Start("echo");
  link.Interrupt();
  EXPECT_TRUE(absl::IsCancelled(Hear(link).status));
  ASSERT_TRUE(link.Send(1, BytesOf("x"), Deadline::After(kLong)).ok());
  EXPECT_EQ(Hear(link).text, "x");
}

// ---- Reads of a streamed input.

InputSource Stream(const std::string& text, std::vector<std::pair<uint64_t, std::size_t>>* asked) {
  InputSource source;
  source.size_bytes = text.size();
  source.read = [text, asked](uint64_t offset, absl::Span<std::byte> into) {
    if (asked != nullptr) asked->emplace_back(offset, into.size());
    const std::size_t size_bytes =
        offset >= text.size() ? 0 : std::min(into.size(), text.size() - offset);
    if (size_bytes > 0) std::memcpy(into.data(), text.data() + offset, size_bytes);
    return absl::StatusOr<std::size_t>(size_bytes);
  };
  return source;
}

TEST(LinkReadTest, AWorkerWithoutAnInputHasOneOfNoBytes) {
  WorkerLink link = Start("size");
  EXPECT_EQ(Hear(link).text, std::string(8, '\0'));
  WorkerLink sum = Start("sum");
  EXPECT_EQ(Hear(sum).text, std::string(8, '\0'));
}

// Bytes 5 to 14 of what has 8, and of what has 100; of a stream no more is read than is asked for.
TEST(LinkReadTest, APieceOfTheInputIsThatPiece) {
  const std::string text = "abcdefghijklmnopqrstuvwxyz";
  for (const std::string& input : {text.substr(0, 8), text, text.substr(0, 5), text.substr(0, 3)}) {
    const std::string piece = input.size() <= 5 ? "" : input.substr(5, 10);
    auto blob = SealedBlob::Create(BytesOf(input));
    ASSERT_TRUE(blob.ok()) << blob.status();
    for (const char* what : {"piece", "piece_of_the_whole"}) {
      WorkerLinkOptions options = LinkOptions(what);
      options.input = &*blob;
      WorkerLink sealed = Start(options);
      EXPECT_EQ(Hear(sealed).text, piece) << what << " of " << input;
      std::vector<std::pair<uint64_t, std::size_t>> asked;
      options = LinkOptions(what);
      options.source = Stream(input, &asked);
      WorkerLink streamed = Start(options);
      const Heard heard = Hear(streamed);
      EXPECT_TRUE(heard.status.ok()) << heard.status;
      EXPECT_EQ(heard.text, piece) << what << " of " << input;
      if (what == std::string("piece")) {
        EXPECT_THAT(asked, ::testing::ElementsAre(std::pair<uint64_t, std::size_t>(5, 10)));
      } else {
        // Once all of it, and then the end. The piece is in the worker's memory by then.
        ASSERT_EQ(asked.size(), 2u);
        EXPECT_EQ(asked[0].first, 0u);
        EXPECT_EQ(asked[1].first, input.size());
      }
    }
  }
}

std::string AnswerWire(uint64_t offset, uint32_t size_bytes, uint32_t failed) {
  return testing::TextOf(WireBytes(internal::ReadAnswerWire{offset, size_bytes, failed}));
}

TEST(LinkReadTest, AnAnswerSaysWhatItIs) {
  WorkerLinkOptions options = LinkOptions("ask");
  options.source = Stream("abcdefghi", nullptr);
  WorkerLink link = Start(options);
  const Heard heard = Hear(link);
  EXPECT_EQ(heard.tag, 1u) << heard.status;
  EXPECT_EQ(heard.text, AnswerWire(7, 2, 0) + "hi");
  options = LinkOptions("ask");
  options.source.read = [](uint64_t, absl::Span<std::byte>) -> absl::StatusOr<std::size_t> {
    return absl::NotFoundError("the disk is gone");
  };
  WorkerLink failing = Start(options);
  EXPECT_EQ(Hear(failing).text, AnswerWire(7, 0, 1));
}

TEST(LinkReadTest, AnInputThatCannotBeReadIsTheWorkersReason) {
  for (const char* what : {"sum", "piece"}) {
    WorkerLinkOptions options = LinkOptions(what);
    options.source.read = [](uint64_t, absl::Span<std::byte>) -> absl::StatusOr<std::size_t> {
      return absl::NotFoundError("the disk is gone");
    };
    WorkerLink link = Start(options);
    EXPECT_TRUE(absl::IsAborted(Hear(link).status));
    const WorkerEnd end = link.End(Deadline::After(kLong));
    EXPECT_EQ(end.cause, Cause::kSaidWhy) << end.ToString();
    EXPECT_EQ(end.what, "gave up: the host cannot read the input");
  }
}

TEST(LinkReadTest, ARequestIsForNoMoreThanAnAnswerHolds) {
  for (const bool fits : {true, false}) {
    WorkerLinkOptions options = LinkOptions(fits ? "ask_for_all_that_fits" : "ask_for_one_more");
    options.to_worker.max_message_bytes = 1000;
    options.source = Stream(std::string(5000, 'y'), nullptr);
    WorkerLink link = Start(options);
    if (fits) {
      EXPECT_EQ(Hear(link).text, AnswerWire(0, 984, 0) + std::string(984, 'y'));
    } else {
      ExpectBrokenProtocol(link);
    }
  }
}

TEST(LinkReadTest, WhoHasNoStreamMayNotAsk) {
  WorkerLink without = Start("ask");
  ExpectBrokenProtocol(without);
  auto blob = SealedBlob::Create(BytesOf("it lies there already"));
  ASSERT_TRUE(blob.ok()) << blob.status();
  WorkerLinkOptions options = LinkOptions("ask");
  options.input = &*blob;
  WorkerLink sealed = Start(options);
  ExpectBrokenProtocol(sealed);
}

void HearOfASourceThatGivesMore() {
  WorkerLinkOptions options = LinkOptions("ask");
  options.source.read = [](uint64_t, absl::Span<std::byte> into) {
    return absl::StatusOr<std::size_t>(into.size() + 1);
  };
  WorkerLink link = Start(options);
  static_cast<void>(Hear(link));
}

TEST(LinkReadDeathTest, ASourceThatGivesMoreThanWasAskedIsTheCallersBug) {
  if (HasSanitizer()) GTEST_SKIP() << "no thread can be made after a fork";
  EXPECT_DEATH(HearOfASourceThatGivesMore(), "InputSource::read gave more than asked");
}

// As much as a worker may read, to the byte: it reads as much at a time as an answer holds.
TEST(LinkReadTest, PromiseP3WorkReadsEndWhereTheBudgetDoes) {
  struct Row {
    uint64_t size_bytes;
    uint64_t max_read_bytes;
    uint32_t each_bytes;
    uint64_t reads;
  };
  constexpr uint32_t kEach = 16'368;
  const std::vector<Row> rows = {
      {100, 3 * kEach, kEach, 3},
      {100, 3 * kEach - 1, kEach, 2},
      {100, 3 * kEach + 1, kEach, 3},
      // Sixteen times its size, and a MiB.
      {100, 0, kEach, (1600 + (1 << 20)) / kEach},
      {1'000'000, 0, kEach, (16'000'000 + (1 << 20)) / kEach},
      {InputSource::kUnknownSize, 5 * kEach, kEach, 5},
      // A GiB.
      {InputSource::kUnknownSize, 0, 32 << 20, 32},
  };
  for (const Row& row : rows) {
    WorkerLinkOptions options = LinkOptions("read_for_ever");
    options.to_worker.max_message_bytes =
        row.each_bytes + static_cast<uint32_t>(sizeof(internal::ReadAnswerWire));
    options.source.size_bytes = row.size_bytes;
    options.source.max_read_bytes = row.max_read_bytes;
    uint64_t reads = 0;
    options.source.read = [&reads, &row](uint64_t, absl::Span<std::byte> into) {
      EXPECT_EQ(into.size(), row.each_bytes);
      ++reads;
      return absl::StatusOr<std::size_t>(1);
    };
    WorkerLink link = Start(options);
    const absl::Status heard = Hear(link).status;
    EXPECT_TRUE(absl::IsResourceExhausted(heard)) << heard;
    EXPECT_EQ(reads, row.reads) << row.size_bytes << ", " << row.max_read_bytes;
    // It waits for its answer, and ends when nothing more can come.
    const WorkerEnd end = link.End(Deadline::After(kLong));
    EXPECT_EQ(end.cause, Cause::kDone) << end.ToString();
    EXPECT_EQ(reads, row.reads);
  }
}

// Fifty questions lie there: after the first that took the caller's time there is no second.
TEST(LinkReadTest, PromiseP2TimeQuestionsTakeNoMoreThanTheCallersTime) {
  WorkerLinkOptions options = LinkOptions("ask_often");
  int reads = 0;
  options.source.size_bytes = 100;
  Deadline until = Deadline::Never();
  options.source.read = [&](uint64_t, absl::Span<std::byte>) {
    ++reads;
    absl::SleepFor(until.Remaining());
    return absl::StatusOr<std::size_t>(1);
  };
  WorkerLink link = Start(options);
  for (int i = 1; i <= 2; ++i) {
    // Once it asks.
    do {
      until = Deadline::After(absl::Milliseconds(100));
      EXPECT_TRUE(absl::IsDeadlineExceeded(HearBy(link, until).status));
    } while (reads < i && !::testing::Test::HasFailure());
    EXPECT_EQ(reads, i);
  }
}

TEST(LinkReadTest, OfAFileItsSizeAndItsBytesWhereverTheyLie) {
  const std::string path = ::testing::TempDir() + "read";
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  ASSERT_EQ(::write(file.get(), "0123456789", 10), 10);
  const auto source = InputSource::FromFile(file.get());
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ(source->size_bytes, 10u);
  EXPECT_EQ(source->max_read_bytes, 0u);
  const auto read = [&source](uint64_t offset, std::size_t size_bytes) {
    std::vector<std::byte> into(size_bytes, std::byte{'-'});
    const auto got = source->read(offset, absl::MakeSpan(into));
    EXPECT_TRUE(got.ok()) << offset << ": " << got.status();
    return testing::TextOf(absl::MakeConstSpan(into).first(got.value_or(0)));
  };
  EXPECT_EQ(read(0, 4), "0123");
  EXPECT_EQ(read(7, 100), "789");
  EXPECT_EQ(read(9, 1), "9");
  for (const uint64_t beyond : {uint64_t{10}, uint64_t{11}, uint64_t{1} << 40, uint64_t{1} << 62,
                                (uint64_t{1} << 62) + 1, uint64_t{1} << 63, ~uint64_t{0}}) {
    EXPECT_EQ(read(beyond, 10), "") << beyond;
  }
}

TEST(LinkReadTest, AFileThatCannotBeReadIsAnErrorWithItsReason) {
  const std::string path = ::testing::TempDir() + "written";
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  const auto source = InputSource::FromFile(file.get());
  ASSERT_TRUE(source.ok()) << source.status();
  std::vector<std::byte> into(10);
  const absl::Status status = source->read(0, absl::MakeSpan(into)).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot read the input"));
  const absl::Status none = InputSource::FromFile(-1).status();
  EXPECT_THAT(std::string(none.message()), HasSubstr("cannot look at the input"));
}

// ---- What a host that is wrong gets from the worker.

struct Answer {
  const char* name;
  std::string bytes;
  std::string piece;  // what the worker reads
  std::string error;  // or why it gives up
};

// Of the question for ten bytes at 5.
TEST(WorkerInputTest, AnAnswerIsToTheQuestionAndNoLonger) {
  const std::string none = "the host's answer is none";
  const std::vector<Answer> answers = {
      {"three", AnswerWire(5, 3, 0) + "abc", "abc", ""},
      {"one", AnswerWire(5, 1, 0) + "a", "a", ""},
      {"all", AnswerWire(5, 10, 0) + "abcdefghij", "abcdefghij", ""},
      {"the end", AnswerWire(5, 0, 0), "", ""},
      {"one more than asked", AnswerWire(5, 11, 0) + "abcdefghijk", "", none},
      {"one less than said", AnswerWire(5, 4, 0) + "abc", "", none},
      {"one more than said", AnswerWire(5, 2, 0) + "abc", "", none},
      {"of another place", AnswerWire(6, 3, 0) + "abc", "", none},
      {"of no place", AnswerWire(5, 3, 0).substr(0, 8), "", none},
      {"nothing", "", "", none},
      {"it could not", AnswerWire(5, 0, 1), "", "the host cannot read the input"},
      {"it could not, otherwise", AnswerWire(5, 0, 2), "", "the host cannot read the input"},
  };
  for (const Answer& answer : answers) {
    WorkerLinkOptions options = LinkOptions("piece");
    options.source = Stream("", nullptr);
    WorkerLink link = Start(options);
    std::vector<std::byte> asked(link.max_message_bytes());
    const auto question =
        link.channel().receiver.Receive(absl::MakeSpan(asked), Deadline::After(kLong));
    ASSERT_TRUE(question.ok()) << question.status();
    EXPECT_EQ(question->tag, internal::kReadTag);
    asked.resize(question->size_bytes);
    EXPECT_EQ(testing::TextOf(asked),
              testing::TextOf(WireBytes(internal::ReadRequestWire{5, 10, 0})));
    ASSERT_TRUE(
        link.channel()
            .sender.Send(internal::kReadAnswerTag, BytesOf(answer.bytes), Deadline::After(kLong))
            .ok());
    const Heard heard = Hear(link);
    if (answer.error.empty()) {
      EXPECT_TRUE(heard.status.ok()) << answer.name << ": " << heard.status;
      EXPECT_EQ(heard.text, answer.piece) << answer.name;
    } else {
      EXPECT_EQ(heard.status, absl::AbortedError("tester gave up: " + answer.error)) << answer.name;
    }
  }
}

// Three messages come before the answer: they are there afterwards, each with its tag, in order.
TEST(WorkerInputTest, WhatComesBeforeAnAnswerIsKept) {
  WorkerLinkOptions options = LinkOptions("sum_in_pieces");
  options.source = Stream("abc", nullptr);
  WorkerLink link = Start(options);
  for (const uint32_t tag : {5u, 6u, 7u}) {
    const std::string text = tag == 6 ? "" : "of " + std::to_string(tag);
    ASSERT_TRUE(link.Send(tag, BytesOf(text), Deadline::After(kLong)).ok());
  }
  EXPECT_EQ(Hear(link).text.size(), 8u);
  for (const uint32_t tag : {5u, 6u, 7u}) {
    const Heard heard = Hear(link);
    EXPECT_EQ(heard.tag, tag) << heard.status;
    EXPECT_EQ(heard.text, tag == 6 ? "" : "of " + std::to_string(tag));
  }
  EXPECT_EQ(link.End(Deadline::After(kLong)).cause, Cause::kDone);
}

struct Word {
  const char* what;
  uint32_t tag;
  std::string bytes;
  const char* says;
};

TEST(WorkerWordsTest, WhatTheHostMayNotSayIsAReasonToGiveUp) {
  const std::string numbered = testing::TextOf(WireBytes(internal::NumberedWire{1, 1, 1, 0, 0}));
  const std::vector<Word> words = {
      {"echo", kMaxWorkerTag + 1, "x", "the host sent what this worker does not know"},
      {"echo", internal::kBeginTag, "x", "the host sent what this worker does not know"},
      {"numbered", 1, numbered, "the host sent no numbered message"},
      {"numbered", internal::kBeginTag, numbered, "the host sent no numbered message"},
      {"numbered", internal::kNumberedTag, numbered.substr(0, 23),
       "the host sent no numbered message"},
  };
  for (const Word& word : words) {
    WorkerLink link = Start(word.what);
    ASSERT_TRUE(
        link.channel().sender.Send(word.tag, BytesOf(word.bytes), Deadline::After(kLong)).ok());
    EXPECT_EQ(Hear(link).status, absl::AbortedError(std::string("tester gave up: ") + word.says));
    const WorkerEnd end = link.End(Deadline::After(kLong));
    EXPECT_EQ(end.cause, Cause::kSaidWhy) << end.ToString();
  }
}

absl::Status SendNumbered(WorkerLink& link, uint64_t number, uint32_t tag,
                          const std::string& text) {
  const internal::NumberedWire wire = {number, 1, tag, 0, 0};
  return WorkerLinkMaker::SendNumbered(
      link, number, BytesOf(testing::TextOf(WireBytes(wire)) + text), Deadline::After(kLong));
}

TEST(WorkerWordsTest, ANumberedMessageFitsIntoItsBufferOrAborts) {
  WorkerLink link = Start("numbered_into_five");
  for (const std::string text : {"", "1", "1234", "12345"}) {
    ASSERT_TRUE(SendNumbered(link, 1, 9, text).ok());
    const Heard heard = Hear(link);
    EXPECT_EQ(heard.tag, 9u) << heard.status;
    EXPECT_EQ(heard.text, text);
  }
  if (HasSanitizer()) return;  // which ends the process in its own way
  ASSERT_TRUE(SendNumbered(link, 1, 9, "123456").ok());
  EXPECT_FALSE(Hear(link).status.ok());
  const WorkerEnd end = link.End(Deadline::After(kLong));
  EXPECT_EQ(end.cause, Cause::kCrashed) << end.ToString();
}

TEST(WorkerWordsTest, ATagOfTheLinksOwnIsTheBodysBug) {
  if (HasSanitizer()) GTEST_SKIP() << "a sanitizer ends the process in its own way";
  for (const char* what : {"own_tag", "own_tag_in_place"}) {
    WorkerLink link = Start(what);
    EXPECT_FALSE(Hear(link).status.ok());
    const WorkerEnd end = link.End(Deadline::After(kLong));
    EXPECT_EQ(end.cause, Cause::kCrashed) << what << ": " << end.ToString();
  }
}

// ---- Acknowledgements.

TEST(LinkAcknowledgementTest, OnlyOfWhatWasNumberedAndSent) {
  // Of a link where nothing is numbered.
  WorkerLink plain = Start("acknowledge_nothing");
  ExpectBrokenProtocol(plain);
  // Before anything was sent.
  WorkerLink early = Start("acknowledge_first");
  WorkerLinkMaker::ExpectAcknowledgements(early, 1);
  EXPECT_EQ(WorkerLinkMaker::Acknowledged(early), 0u);
  ExpectBrokenProtocol(early);
  EXPECT_EQ(WorkerLinkMaker::Acknowledged(early), 0u);
  // Of what comes before the first that it was sent.
  WorkerLink before = Start("numbered");
  WorkerLinkMaker::ExpectAcknowledgements(before, 1);
  ASSERT_TRUE(SendNumbered(before, 2, 7, "x").ok());
  EXPECT_EQ(Hear(before).text, "2 x");
  ExpectBrokenProtocol(before);
}

TEST(LinkAcknowledgementTest, OneAfterTheOtherOrSeveralAtOnce) {
  WorkerLink link = Start("numbered");
  WorkerLinkMaker::ExpectAcknowledgements(link, 1);
  uint64_t acknowledged = 0;
  for (uint64_t number = 5; number < 20; ++number) {
    // Each third one is for all three.
    ASSERT_TRUE(SendNumbered(link, number, number % 3 == 0 ? 1 : 2, "x").ok());
    EXPECT_EQ(Hear(link).text, std::to_string(number) + " x");
    EXPECT_EQ(WorkerLinkMaker::Acknowledged(link), acknowledged);
    if (number % 3 == 0) acknowledged = number;
  }
}

// What found no way to the worker was not sent.
TEST(LinkAcknowledgementTest, NotOfAMessageThatCouldNotBeSent) {
  WorkerLink link = Start("numbered");
  WorkerLinkMaker::ExpectAcknowledgements(link, 1);
  ASSERT_EQ(::kill(link.worker().pid(), SIGSTOP), 0);
  // To be answered with the acknowledgement of the fifth.
  ASSERT_TRUE(SendNumbered(link, 1, 8, std::string(1, '\5')).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(SendNumbered(link, 5, 1, std::string(100'000, 'x'))));
  ASSERT_EQ(::kill(link.worker().pid(), SIGCONT), 0);
  EXPECT_EQ(Hear(link).text, "1 \5");
  ExpectBrokenProtocol(link);
}

TEST(LinkAcknowledgementTest, AWorkerThatGivesUpSaysWhy) {
  WorkerLink link = Start("numbered");
  WorkerLinkMaker::ExpectAcknowledgements(link, 1);
  ASSERT_TRUE(SendNumbered(link, 1, 6, "x").ok());
  EXPECT_EQ(Hear(link).text, "1 x");
  EXPECT_EQ(Hear(link).status, absl::AbortedError("tester gave up: it is enough"));
}

// ---- Its end, and its last words.

TEST(LinkEndTest, WhatIsStillSaidDoesNotHoldUpAnOrderlyEnd) {
  WorkerLink link = Start("much");
  const WorkerEnd end = link.End(Deadline::After(kLong));
  EXPECT_EQ(end.cause, Cause::kDone) << end.ToString();
  EXPECT_EQ(end.report.exit_code, 0);
}

TEST(LinkEndTest, AStreamEndsInOrderOrByAFailure) {
  WorkerLink done = Start("nothing");
  EXPECT_TRUE(absl::IsOutOfRange(Hear(done).status));
  WorkerLink failed = Start("fail");
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(absl::IsAborted(Hear(failed).status));
  const WorkerEnd end = failed.End(Deadline::After(kLong));
  EXPECT_EQ(end.cause, Cause::kSaidWhy) << end.ToString();
  EXPECT_EQ(end.report.exit_code, internal::kExitBodyFailed);
}

struct LastWord {
  const char* what;
  Cause cause;
  std::string says;
};

// Its words lie in the ring when it has gone: they are found there, however it is asked.
TEST(LinkEndTest, LastWordsAreFoundInTheRing) {
  const std::string four_hundred = "this is \\x1b[2J no   film";
  const std::vector<LastWord> words = {
      {"fail", Cause::kSaidWhy, "gave up: " + four_hundred},
      {"fail_briefly", Cause::kSaidWhy, "gave up: x"},
      {"fail_silently", Cause::kSaidWhy, "gave up: "},
      {"say_three_things_and_fail", Cause::kSaidWhy, "gave up: it is enough"},
      {"say_what_is_like_a_failure", Cause::kExitCode, "ended with exit code 7"},
      {"nothing", Cause::kDone, "ended normally"},
  };
  for (const LastWord& word : words) {
    for (const bool killed : {true, false}) {
      WorkerLink link = Start(word.what);
      ASSERT_TRUE(HasEndedByItself(link)) << word.what;
      const WorkerEnd end =
          killed ? link.Kill("nobody wants it") : link.End(Deadline::AtMonotonicNs(0));
      EXPECT_EQ(end.cause, word.cause) << word.what << ": " << end.ToString();
      EXPECT_EQ(end.what.substr(0, word.says.size()), word.says) << word.what;
    }
  }
}

TEST(LinkEndTest, ALastWordThatIsTooLongIsNone) {
  WorkerLink link = Start("fail_with_too_much");
  // When its word is there.
  const Deadline deadline = Deadline::After(kLong);
  PeekedMessage message;
  while (link.channel().receiver.TryPeek(&message) != Outcome::kOk && !deadline.Expired()) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  const WorkerEnd end = link.Kill("nobody wants it");
  EXPECT_EQ(end.cause, Cause::kKilled) << end.ToString();
  EXPECT_EQ(end.what, "was killed: nobody wants it");
}

// A ring of short messages has room for the beginning of a reason.
TEST(LinkEndTest, AReasonIsCutToWhatAMessageHolds) {
  WorkerLinkOptions options = LinkOptions("fail");
  options.from_worker.max_message_bytes = 64;
  WorkerLink link = Start(options);
  EXPECT_EQ(Hear(link).status, absl::AbortedError("tester gave up: this is \\x1b[2J no   film" +
                                                  std::string(34, 'x')));
}

TEST(LinkEndTest, AskedAgainItIsTheSameAnswer) {
  WorkerLink done = Start("nothing");
  EXPECT_EQ(done.End(Deadline::After(kLong)).cause, Cause::kDone);
  done.Poison("too late");
  EXPECT_EQ(done.End(Deadline::After(kLong)).cause, Cause::kDone);
  EXPECT_EQ(done.Kill("too late").cause, Cause::kDone);
  WorkerLink murdered = Start("stay");
  ASSERT_EQ(::kill(murdered.worker().pid(), SIGKILL), 0);
  const std::string what = murdered.End(Deadline::After(kLong)).what;
  EXPECT_THAT(what, HasSubstr("killed by somebody else"));
  EXPECT_EQ(murdered.Kill("too late").what, what);
  WorkerLink killed = Start("stay");
  EXPECT_EQ(killed.Kill("it was enough").what, "was killed: it was enough");
  EXPECT_EQ(killed.Kill("too late").what, "was killed: it was enough");
  EXPECT_EQ(killed.End(Deadline::After(kLong)).what, "was killed: it was enough");
}

// A limit of its memory has no part in the end of one that kept it.
TEST(LinkEndTest, OneWithALimitOfItsMemoryEndsAsItDoes) {
  for (const bool killed : {true, false}) {
    WorkerLinkOptions options = LinkOptions(killed ? "stay" : "nothing");
    options.program.resident_bytes = uint64_t{256} << 20;
    WorkerLink link = Start(options);
    const WorkerEnd end = killed ? link.Kill("it was enough") : link.End(Deadline::After(kLong));
    EXPECT_EQ(end.what, killed ? "was killed: it was enough" : "ended normally");
  }
}

TEST(LinkEndTest, ALimitOfItsMemoryThatCannotBeHadIsSaid) {
  const testing::NoMemoryGroups none;
  WorkerLinkOptions options = LinkOptions("echo");
  options.program.resident_bytes = uint64_t{256} << 20;
  WorkerLink link = Start(options);
  EXPECT_NE(link.no_resident_limit(), "");
  EXPECT_EQ(link.End(Deadline::After(kLong)).cause, Cause::kDone);
}

TEST(LinkEndTest, AViolationOfALayerAboveEndsItWithItsWords) {
  WorkerLink link = Start("echo");
  link.Poison("a picture of no size");
  EXPECT_TRUE(absl::IsDataLoss(Hear(link).status));
  EXPECT_TRUE(absl::IsDataLoss(link.Send(1, BytesOf("x"), Deadline::After(kLong))));
  const WorkerEnd end = link.End(Deadline::Never());
  EXPECT_EQ(end.cause, Cause::kBrokeProtocol);
  EXPECT_EQ(end.what, "broke the protocol: a picture of no size");
}

TEST(LinkEndTest, OneThatLiesAndStaysIsNotWaitedFor) {
  for (const char* what : {"unknown_tag", "failed_without_reason", "answer_of_a_job"}) {
    WorkerLink link = Start(what);
    ExpectBrokenProtocol(link);
  }
}

// ---- What it prints.

TEST(LinkOutputTest, LinesFromBeforeAndDuringTheWorkArePassedOn) {
  std::string printed;
  const auto take = [&printed](std::string_view lines) { printed += lines; };
  WorkerLinkOptions options = LinkOptions("print_late");
  options.program.output = take;
  WorkerLink late = Start(options);
  static_cast<void>(late.End(Deadline::After(kLong)));
  EXPECT_EQ(printed, "[tester] the last line\n");
  printed.clear();
  options = LinkOptions("print_in_body");
  options.program.output = take;
  WorkerLink link = Start(options);
  const Deadline deadline = Deadline::After(kLong);
  while (printed.empty() && !deadline.Expired()) {
    static_cast<void>(HearBy(link, Deadline::After(absl::Milliseconds(10))));
  }
  EXPECT_EQ(printed, "[tester] during the work\n");
}

// An exit code that says so, from wherever it comes.
TEST(LinkOutputTest, TheLastLineIsTheReasonOfOneThatSaysThatItWasNotSetUp) {
  WorkerLink link = Start("exit_two");
  const WorkerEnd end = link.End(Deadline::After(kLong));
  EXPECT_EQ(end.cause, Cause::kSaidWhy) << end.ToString();
  EXPECT_EQ(end.what, "could not be set up: the last line");
}

}  // namespace
}  // namespace parley

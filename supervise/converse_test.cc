// SPDX-License-Identifier: Apache-2.0

// One job after the other in one worker, without a pool around them: what each of them is given,
// and what becomes of it.

#include "parley/supervise/converse.h"

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/wire_copy.h"
#include "parley/os/deadline.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/supervise/link_wire.h"
#include "parley/supervise/testing_link.h"
#include "parley/supervise/testing_program.h"
#include "parley/supervise/worker_end.h"
#include "parley/supervise/worker_link.h"
#include "parley/supervise/worker_link_maker.h"

namespace parley {
namespace {

using testing::BytesOf;
using testing::Hear;
using testing::kLong;
using Outcome = JobResult::Outcome;
using Cause = WorkerEnd::Cause;

std::shared_ptr<const SealedBlob> Blob(const std::string& text) {
  auto blob = SealedBlob::Create(BytesOf(text));
  EXPECT_TRUE(blob.ok()) << blob.status();
  return std::make_shared<const SealedBlob>(*std::move(blob));
}

WorkerLinkOptions Options() {
  WorkerLinkOptions options;
  options.program = testing::Program("testing_job_worker", "");
  return options;
}

WorkerLink Start(WorkerLinkOptions options) {
  auto link = WorkerLink::Start(std::move(options), Deadline::After(kLong));
  EXPECT_TRUE(link.ok()) << link.status();
  return *std::move(link);
}

// The next job of `link`, whose worker has had `number - 1` before.
struct Jobs {
  WorkerLink link;
  uint64_t number = 0;
  JobLimits limits = {};

  JobResult Do(const std::string& request, std::shared_ptr<const SealedBlob> input = nullptr,
               bool in_place = false) {
    JobOptions job;
    job.request = request;
    job.input = std::move(input);
    return Do(job, in_place);
  }
  JobResult Do(const JobOptions& job, bool in_place = false) {
    return internal::Converse(link, ++number, job, limits, in_place);
  }
};

std::string Text(const JobResult& result) {
  std::string text;
  for (const JobMessage& message : result.messages) text += testing::TextOf(message.bytes);
  return text;
}

// ---- Inputs.

TEST(ConverseTest, EachJobHasItsOwnInputOrNone) {
  const auto first = Blob("in place");
  WorkerLinkOptions options = Options();
  options.input = first.get();
  Jobs jobs = {Start(options)};
  EXPECT_EQ(Text(jobs.Do("input", first, true)), "in place");
  for (const std::string text : {"another", "a", "", "and one more"}) {
    EXPECT_EQ(Text(jobs.Do("input", Blob(text))), text);
    EXPECT_EQ(Text(jobs.Do("size", Blob(text))), std::to_string(text.size()));
    // Nothing of it is left for the next one.
    EXPECT_EQ(Text(jobs.Do("input")), "");
    EXPECT_EQ(Text(jobs.Do("size")), "0");
  }
  // Nor of the one that lay there, were the host to say that it still does.
  EXPECT_EQ(Text(jobs.Do("size", first, true)), "0");
  EXPECT_EQ(Text(jobs.Do("input", first, true)), "");
}

// Where the host has no stream for a job, an earlier one's is not read either.
TEST(ConverseTest, AJobMayAskForItsOwnStreamAlone) {
  const auto blob = Blob("secret");
  {
    Jobs jobs = {Start(Options())};
    EXPECT_EQ(Text(jobs.Do("input", blob)), "secret");
    const JobResult result = jobs.Do("ask");
    EXPECT_EQ(result.outcome, Outcome::kWorkerEnded) << result.what;
    EXPECT_EQ(jobs.link.End(Deadline::Never()).cause, Cause::kBrokeProtocol);
  }
  WorkerLinkOptions options = Options();
  options.input = blob.get();
  Jobs jobs = {Start(options)};
  EXPECT_EQ(jobs.Do("ask", blob, true).outcome, Outcome::kWorkerEnded);
  EXPECT_EQ(jobs.link.End(Deadline::Never()).cause, Cause::kBrokeProtocol);
}

// Sixteen times its size and a MiB, however often there was a job before.
TEST(ConverseTest, PromiseP3WorkEachJobReadsNoMoreThanItMay) {
  WorkerLinkOptions options = Options();
  options.from_worker.max_message_bytes = 100'000;
  Jobs jobs = {Start(options)};
  EXPECT_EQ(Text(jobs.Do("input", Blob(std::string(100'000, 'y')))).size(), 100'000u);
  const JobResult result = jobs.Do("read_for_ever", Blob(std::string(100, 'x')));
  EXPECT_EQ(result.outcome, Outcome::kWorkerEnded) << result.what;
  EXPECT_EQ(result.messages.size(), (16u * 100 + (1 << 20)) / 16'368);
  EXPECT_EQ(result.what, "tester has read more of its input than it may");
}

// ---- Limits.

TEST(ConverseTest, PromiseP7ResourcesOutputIsCountedToTheByteAndToThePixel) {
  struct Row {
    uint64_t output_bytes;
    uint64_t output_pixels;
    Outcome outcome;
    const char* what;
  };
  const std::vector<Row> rows = {
      {164, 7, Outcome::kDone, ""},
      {165, 8, Outcome::kDone, ""},
      {163, 7, Outcome::kTooMuchOutput, "it sent more than 163 bytes"},
      {164, 6, Outcome::kTooMuchOutput, "it sent more than 6 pixels"},
      {0, 7, Outcome::kTooMuchOutput, "it sent more than 0 bytes"},
  };
  for (const Row& row : rows) {
    Jobs jobs = {Start(Options())};
    jobs.limits.output_bytes = row.output_bytes;
    jobs.limits.output_pixels = row.output_pixels;
    JobOptions job;
    job.request = "input";
    job.input = Blob(std::string(100, 'x'));
    job.pixels = [](uint32_t tag, absl::Span<const std::byte> bytes) -> uint64_t {
      EXPECT_EQ(tag, 1u);
      EXPECT_EQ(bytes.size(), 100u);
      return 7;
    };
    const JobResult result = jobs.Do(job);
    EXPECT_EQ(result.outcome, row.outcome) << row.output_bytes << ", " << row.output_pixels;
    EXPECT_EQ(result.what, row.what);
  }
  // Where nobody counts them there are none.
  Jobs jobs = {Start(Options())};
  jobs.limits.output_pixels = 0;
  EXPECT_TRUE(jobs.Do("seen").done());
}

// Whatever lies ready: the time that the host takes for each message is its worker's to spend.
TEST(ConverseTest, PromiseP2TimeAFloodOfMessagesEndsWithItsTime) {
  Jobs jobs = {Start(Options())};
  jobs.limits.wall_time = absl::Milliseconds(100);
  jobs.limits.output_bytes = 1500 * 64;
  JobOptions job;
  job.request = "many_empty";
  job.on_message = [](uint32_t, absl::Span<const std::byte>) {
    absl::SleepFor(absl::Milliseconds(1));
    return absl::OkStatus();
  };
  const JobResult result = jobs.Do(job);
  EXPECT_EQ(result.outcome, Outcome::kOutOfTime) << result.what;
  EXPECT_EQ(result.what, "no outcome after 100ms");
}

// ---- Outcomes.

TEST(ConverseTest, AFailureIsThatJobsOutcomeWithItsCodeAndText) {
  Jobs jobs = {Start(Options())};
  for (const std::string text : {"a", "no picture", ""}) {
    const JobResult result = jobs.Do("fail_with", Blob(text));
    EXPECT_EQ(result.outcome, Outcome::kFailed);
    EXPECT_EQ(result.status, absl::DataLossError(text));
    EXPECT_EQ(result.what, text);
  }
  EXPECT_EQ(jobs.Do("no such request").status, absl::NotFoundError("no such request"));
  const JobResult result = jobs.Do("fail_with", Blob(std::string(1000, 'x')));
  EXPECT_EQ(result.what, std::string(internal::kMaxFailureTextBytes, 'x'));
  // And the worker goes on.
  EXPECT_EQ(Text(jobs.Do("seen")), "6");
}

TEST(ConverseTest, AReasonIsCutToWhatAMessageHolds) {
  WorkerLinkOptions options = Options();
  options.from_worker.max_message_bytes = 64;
  Jobs jobs = {Start(options)};
  const JobResult result = jobs.Do("fail_with", Blob(std::string(1000, 'x')));
  EXPECT_EQ(result.outcome, Outcome::kFailed) << result.what;
  EXPECT_EQ(result.what, std::string(64 - sizeof(internal::JobDoneWire), 'x'));
}

// What was said of the job before is no word for this one.
TEST(ConverseTest, AnOutcomeIsOfOneJobAlone) {
  for (const std::string request : {"exit", "hang", "give_up", "another_number"}) {
    Jobs jobs = {Start(Options())};
    EXPECT_TRUE(jobs.Do("seen").done());
    jobs.limits.wall_time = request == "hang" ? absl::Milliseconds(200) : kLong;
    const JobResult result = jobs.Do(request);
    EXPECT_EQ(result.outcome, request == "hang" ? Outcome::kOutOfTime : Outcome::kWorkerEnded)
        << request;
    EXPECT_NE(result.what, "") << request;
  }
  // A second word for the same job is none either.
  WorkerLink link = Start(Options());
  ASSERT_TRUE(
      WorkerLinkMaker::BeginJob(link, 1, nullptr, false, "twice", Deadline::After(kLong)).ok());
  EXPECT_TRUE(absl::IsOutOfRange(Hear(link).status));
  EXPECT_EQ(WorkerLinkMaker::JobOutcome(link), absl::OkStatus());
  EXPECT_TRUE(absl::IsDataLoss(Hear(link).status));
}

TEST(ConverseTest, AnInterruptedOneIsCancelled) {
  Jobs jobs = {Start(Options())};
  jobs.link.Interrupt();
  const JobResult result = jobs.Do("hang");
  EXPECT_EQ(result.outcome, Outcome::kCancelled);
  EXPECT_EQ(result.what, "cancelled");
}

// Also where the next message always lies ready.
TEST(ConverseTest, PromiseP2TimeAFloodOfMessagesIsCancelled) {
  Jobs jobs = {Start(Options())};
  jobs.limits.output_bytes = 500 * 64;
  JobOptions job;
  job.request = "many_empty";
  int messages = 0;
  job.on_message = [&](uint32_t, absl::Span<const std::byte>) {
    if (++messages == 10) jobs.link.Interrupt();
    absl::SleepFor(absl::Milliseconds(1));
    return absl::OkStatus();
  };
  const JobResult result = jobs.Do(job);
  EXPECT_EQ(result.outcome, Outcome::kCancelled) << result.what;
  EXPECT_EQ(messages, 10);
}

// And before it is handed over, where the worker of an earlier one takes nothing.
TEST(ConverseTest, PromiseP2TimeAJobThatIsNotTakenIsCancelled) {
  Jobs jobs = {Start(Options())};
  jobs.limits.wall_time = absl::Seconds(3);
  ASSERT_TRUE(jobs.Do("twice").done());  // and stays
  testing::FillTheRing(jobs.link);
  std::thread other = testing::InterruptSoon(jobs.link);
  const JobResult result = jobs.Do("seen");
  other.join();
  EXPECT_EQ(result.outcome, Outcome::kCancelled) << result.what;
}

// One that came when the job was done is for no other.
TEST(ConverseTest, AnInterruptOfTheJobBeforeIsForgotten) {
  Jobs jobs = {Start(Options())};
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(jobs.Do("seen").done());
    jobs.link.Interrupt();
    WorkerLinkMaker::ForgetInterrupt(jobs.link);
  }
  jobs.limits.wall_time = absl::Milliseconds(100);
  EXPECT_EQ(jobs.Do("hang").outcome, Outcome::kOutOfTime);
}

TEST(ConverseTest, AMessageThatIsRejectedIsItsEnd) {
  Jobs jobs = {Start(Options())};
  JobOptions job;
  job.request = "seen";
  job.on_message = [](uint32_t, absl::Span<const std::byte>) {
    return absl::DataLossError("the disk is full");
  };
  const JobResult result = jobs.Do(job);
  EXPECT_EQ(result.outcome, Outcome::kRejected);
  EXPECT_EQ(result.status, absl::DataLossError("the disk is full"));
  EXPECT_EQ(result.what, "the disk is full");
}

// ---- The worker's side.

TEST(JobMainTest, AHostThatHangsUpBetweenJobsIsNoFailure) {
  Jobs jobs = {Start(Options())};
  EXPECT_EQ(Text(jobs.Do("seen")), "1");
  const WorkerEnd end = jobs.link.End(Deadline::After(kLong));
  EXPECT_EQ(end.cause, Cause::kDone) << end.ToString();
}

TEST(JobMainTest, WhatIsNoJobIsAReasonToGiveUp) {
  const auto job = [](uint32_t request_bytes) {
    const internal::JobWire wire = {
        .number = 1, .input_bytes = 0, .input_kind = 0, .request_bytes = request_bytes};
    return testing::TextOf(WireBytes(wire));
  };
  struct Row {
    uint32_t tag;
    std::string bytes;
    bool is_job;
  };
  const std::vector<Row> rows = {
      {internal::kJobTag, job(4) + "seen", true},       {1, job(4) + "seen", false},
      {internal::kJobTag, job(3) + "seen", false},      {internal::kJobTag, job(5) + "seen", false},
      {internal::kJobTag, job(0).substr(0, 23), false}, {internal::kJobTag, "", false},
  };
  for (const Row& row : rows) {
    WorkerLink link = Start(Options());
    ASSERT_TRUE(
        link.channel().sender.Send(row.tag, BytesOf(row.bytes), Deadline::After(kLong)).ok());
    const testing::Heard heard = Hear(link);
    if (row.is_job) {
      EXPECT_EQ(heard.text, "1") << heard.status;
    } else {
      EXPECT_EQ(heard.status, absl::AbortedError("tester gave up: the host sent no job"))
          << &row - rows.data();
    }
  }
}

}  // namespace
}  // namespace parley

// SPDX-License-Identifier: Apache-2.0

// How a pool starts its workers, what it keeps of them, and what it says of its jobs.

#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
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
#include "parley/sandbox/spawn.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/supervise/pool.h"
#include "parley/supervise/testing_link.h"
#include "parley/supervise/testing_program.h"
#include "parley/supervise/worker_end.h"
#include "parley/testing/children.h"

namespace parley {
namespace {

using testing::BytesOf;
using testing::Children;
using testing::HasSanitizer;
using ::testing::HasSubstr;
using testing::kLong;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;
using Outcome = JobResult::Outcome;
using Cause = WorkerEnd::Cause;

// One worker at a time, by exec.
PoolOptions Options() {
  PoolOptions options;
  options.program = testing::Program("testing_job_worker", "");
  options.workers = 1;
  options.use_template = false;
  return options;
}

std::unique_ptr<Pool> Start(PoolOptions options) {
  auto pool = Pool::Start(std::move(options));
  EXPECT_TRUE(pool.ok()) << pool.status();
  return pool.ok() ? *std::move(pool) : nullptr;
}

std::shared_ptr<const SealedBlob> Blob(const std::string& text) {
  auto blob = SealedBlob::Create(BytesOf(text));
  EXPECT_TRUE(blob.ok()) << blob.status();
  return std::make_shared<const SealedBlob>(*std::move(blob));
}

JobOptions JobOf(const std::string& request, const std::string& input = "") {
  JobOptions options;
  options.request = request;
  if (!input.empty()) options.input = Blob(input);
  return options;
}

PoolJob Submit(Pool& pool, JobOptions options) {
  auto job = pool.Submit(std::move(options), Deadline::After(kLong));
  EXPECT_TRUE(job.ok()) << job.status();
  return *std::move(job);
}

JobResult Do(Pool& pool, const std::string& request, const std::string& input = "") {
  return Submit(pool, JobOf(request, input)).Wait();
}

// With a limit that no other job has.
JobResult DoWith(Pool& pool, uint64_t cpu_seconds, const std::string& request) {
  JobOptions options = JobOf(request);
  options.limits = JobLimits();
  options.limits->cpu_seconds = cpu_seconds;
  return Submit(pool, std::move(options)).Wait();
}

std::string Text(const JobResult& result) {
  std::string text;
  for (const JobMessage& message : result.messages) text += testing::TextOf(message.bytes);
  return text;
}

// For what only other threads bring about.
template <typename Condition>
bool Await(Condition condition) {
  const Deadline deadline = Deadline::After(kLong);
  bool holds = condition();
  while (!holds && !deadline.Expired()) {
    absl::SleepFor(absl::Milliseconds(1));
    holds = condition();
  }
  return holds;
}

// A job that has its worker, and does not end.
PoolJob Hang(Pool& pool) {
  const uint64_t before = pool.stats().spawned + pool.stats().cloned;
  PoolJob job = Submit(pool, JobOf("hang"));
  EXPECT_TRUE(Await([&] { return pool.stats().spawned + pool.stats().cloned > before; }));
  return job;
}

// ---- Starts that fail.

// A folder in which each start leaves a file.
class Counter {
 public:
  explicit Counter(const std::string& name) : folder_(::testing::TempDir() + name) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directory(folder_);
  }
  std::string path() const { return folder_ + "/"; }
  int count() const {
    return static_cast<int>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }

 private:
  std::string folder_;
};

// One that can write there.
PoolOptions Counting(const std::string& what, const Counter& counter) {
  PoolOptions options = Options();
  options.program.arguments = {what, counter.path()};
  options.program.namespaces.use = NamespaceOptions::Use::kNone;
  return options;
}

TEST(PoolStartTest, AJobIsGivenUpAfterThreeStarts) {
  const Counter counter("three_starts");
  auto pool = Start(Counting("not_warm_counted", counter));
  const JobResult result = Do(*pool, "seen");
  EXPECT_EQ(result.outcome, Outcome::kNotStarted);
  EXPECT_TRUE(absl::IsUnavailable(result.status)) << result.status;
  EXPECT_THAT(result.what, HasSubstr("no tables"));
  EXPECT_FALSE(result.end.has_value());
  EXPECT_EQ(counter.count(), 3);
  EXPECT_EQ(Do(*pool, "seen").outcome, Outcome::kNotStarted);
  EXPECT_EQ(counter.count(), 6);
  EXPECT_EQ(pool->stats().no_template, "");
  EXPECT_EQ(pool->stats().spawned, 0u);
}

// What does not depend on luck is not tried again.
TEST(PoolStartTest, AWorkerThatSpeaksAnotherProtocolIsStartedOnce) {
  const Counter counter("one_start");
  PoolOptions options = Counting("counted", counter);
  options.format = "another";
  auto pool = Start(std::move(options));
  const JobResult result = Do(*pool, "seen");
  EXPECT_EQ(result.outcome, Outcome::kNotStarted) << result.what;
  EXPECT_TRUE(absl::IsInvalidArgument(result.status)) << result.status;
  EXPECT_EQ(counter.count(), 1);
}

TEST(PoolStartTest, AWorkerThatIsNotConfinedAsWantedIsNotUsed) {
  PoolOptions options = Options();
  // Landlock has no hold on its second thread.
  options.program.arguments = {"with_a_thread"};
  options.wanted.landlock = true;
  options.start_time = absl::Seconds(2);
  auto pool = Start(std::move(options));
  const JobResult result = Do(*pool, "seen");
  EXPECT_EQ(result.outcome, Outcome::kNotStarted) << result.what;
  EXPECT_THAT(result.what, HasSubstr("Landlock"));
}

TEST(PoolStartTest, WhatIsSaidOfRingsHolds) {
  PoolOptions options = Options();
  options.to_worker.max_message_bytes = 5000;
  options.from_worker.max_message_bytes = 7000;
  auto pool = Start(std::move(options));
  EXPECT_EQ(Text(Do(*pool, "rings")), "5000 7000");
}

// Where a worker cannot be started for a job, an earlier one's is not used for it.
TEST(PoolStartTest, AJobWhoseWorkerCannotBeStartedHasNone) {
  PoolOptions options = Options();
  options.jobs_per_worker = 5;
  options.limits.memory_bytes = uint64_t{1} << 30;
  auto pool = Start(std::move(options));
  EXPECT_EQ(Text(Do(*pool, "seen")), "1");
  EXPECT_EQ(Text(Do(*pool, "seen")), "2");
  JobOptions small = JobOf("seen");
  small.limits = JobLimits();
  small.limits->memory_bytes = 1000;
  const JobResult result = Submit(*pool, std::move(small)).Wait();
  if (HasSanitizer()) return;  // which has no limit of the address space
  EXPECT_EQ(result.outcome, Outcome::kNotStarted) << result.what;
  EXPECT_EQ(Text(Do(*pool, "seen")), "1");
}

// ---- Templates.

class PoolTemplateStartTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (HasSanitizer()) GTEST_SKIP() << "no templates in a build with a sanitizer";
  }
  static PoolOptions WithTemplate(const std::string& what, const std::string& path) {
    PoolOptions options = Options();
    options.use_template = true;
    options.program.arguments = {what, path};
    return options;
  }
};

TEST_F(PoolTemplateStartTest, AfterThreeThatFailWorkersAreStartedByExec) {
  const Counter counter("templates_that_fail");
  PoolOptions options = Counting("not_warm_counted", counter);
  options.use_template = true;
  auto pool = Start(std::move(options));
  EXPECT_EQ(Do(*pool, "seen").outcome, Outcome::kNotStarted);
  // Three templates, and in place of the third a worker.
  EXPECT_EQ(counter.count(), 4);
  EXPECT_THAT(pool->stats().no_template, HasSubstr("no tables"));
  EXPECT_EQ(Do(*pool, "seen").outcome, Outcome::kNotStarted);
  EXPECT_EQ(counter.count(), 7);
  EXPECT_EQ(pool->stats().templates, 0u);
}

// Only those in a row are counted.
TEST_F(PoolTemplateStartTest, TwoThatFailAreForgottenWhenOneStands) {
  const std::string path = ::testing::TempDir() + "fails_twice";
  const auto fail_twice = [&path] {
    for (const char* end : {"1", "2"}) std::ofstream(path + end) << "x";
  };
  fail_twice();
  auto pool = Start(WithTemplate("fails_twice", path));
  EXPECT_EQ(Text(Do(*pool, "seen")), "1");
  EXPECT_EQ(pool->stats().templates, 1u);
  fail_twice();
  // Once the job's worker and what held its namespaces are gone.
  std::set<pid_t> template_of_it;
  ASSERT_TRUE(Await([&template_of_it] {
    template_of_it = Children();
    return template_of_it.size() == 1;
  }));
  ASSERT_EQ(::kill(*template_of_it.begin(), SIGKILL), 0);
  // The clone that fails shows that it has gone, and is one of the three starts of this job.
  static_cast<void>(Do(*pool, "seen"));
  EXPECT_EQ(Text(Do(*pool, "seen")), "1");
  EXPECT_EQ(pool->stats().templates, 2u);
  EXPECT_EQ(pool->stats().spawned, 0u);
}

TEST_F(PoolTemplateStartTest, OneWhoseClonesDieIsReplaced) {
  auto pool = Start(WithTemplate("dies_as_a_clone", ""));
  const JobResult result = Do(*pool, "seen");
  EXPECT_EQ(result.outcome, Outcome::kNotStarted);
  EXPECT_THAT(result.what, HasSubstr("exit code 5"));
  EXPECT_EQ(pool->stats().templates, 3u);
  EXPECT_EQ(pool->stats().cloned, 0u);
}

// It is not the template's fault.
TEST_F(PoolTemplateStartTest, OneWhoseClonesAreRefusedIsKept) {
  PoolOptions options = WithTemplate("", "");
  options.format = "another";
  auto pool = Start(std::move(options));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Do(*pool, "seen").outcome, Outcome::kNotStarted);
  EXPECT_EQ(pool->stats().templates, 1u);
}

// ---- Workers that are used again, or started ahead.

TEST(PoolReuseTest, AWorkerIsForJobsOfItsLimitsAndForSoMany) {
  PoolOptions options = Options();
  options.jobs_per_worker = 3;
  auto pool = Start(std::move(options));
  EXPECT_EQ(Text(Do(*pool, "seen")), "1");
  EXPECT_EQ(Text(Do(*pool, "seen")), "2");
  // Its limits are its own: neither for those before nor for those after it.
  for (const char* seen : {"1", "2", "3", "1"}) EXPECT_EQ(Text(DoWith(*pool, 29, "seen")), seen);
  EXPECT_EQ(Text(Do(*pool, "seen")), "1");
  EXPECT_EQ(Text(DoWith(*pool, 28, "seen")), "1");
  EXPECT_EQ(Text(Do(*pool, "seen")), "1");
  // A failure is an outcome like another.
  EXPECT_EQ(Do(*pool, "fail").outcome, Outcome::kFailed);
  EXPECT_EQ(Text(Do(*pool, "seen")), "3");
}

TEST(PoolReuseTest, AJobInAWorkerThatHadOneReadsItsInputWhateverItsSize) {
  PoolOptions options = Options();
  options.jobs_per_worker = 10;
  auto pool = Start(std::move(options));
  const std::string large(kMaxInputBytesOfAhead + 1, 'z');
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Text(Do(*pool, "size", large)), std::to_string(large.size()));
    EXPECT_EQ(Text(Do(*pool, "input", "number " + std::to_string(i))),
              "number " + std::to_string(i));
    EXPECT_EQ(Text(Do(*pool, "input")), "");
  }
  EXPECT_EQ(pool->stats().spawned, 1u);
  EXPECT_EQ(pool->stats().reused, 8u);
  EXPECT_EQ(pool->stats().ahead, 0u);
}

TEST(PoolReuseTest, AnOutcomeOfTheJobBeforeIsNotThatOfTheNext) {
  PoolOptions options = Options();
  options.jobs_per_worker = 10;
  auto pool = Start(std::move(options));
  EXPECT_TRUE(Do(*pool, "seen").done());
  const JobResult result = Do(*pool, "exit");
  EXPECT_EQ(result.outcome, Outcome::kWorkerEnded);
  ASSERT_TRUE(result.end.has_value());
  EXPECT_EQ(result.end->cause, Cause::kDone);
}

// Up to a size, and with the pool's limits, whatever they are.
TEST(PoolAheadTest, AJobFindsAWorkerOfThePoolsLimits) {
  PoolOptions options = Options();
  options.start_ahead = true;
  options.limits.cpu_seconds = 29;
  auto pool = Start(std::move(options));
  ASSERT_TRUE(Await([&] { return pool->stats().spawned == 1; }));
  EXPECT_EQ(Text(Do(*pool, "size", std::string(kMaxInputBytesOfAhead, 'z'))),
            std::to_string(kMaxInputBytesOfAhead));
  EXPECT_EQ(pool->stats().ahead, 1u);
  ASSERT_TRUE(Await([&] { return pool->stats().spawned == 2; }));
  EXPECT_EQ(Text(Do(*pool, "size", std::string(kMaxInputBytesOfAhead + 1, 'z'))),
            std::to_string(kMaxInputBytesOfAhead + 1));
  EXPECT_EQ(pool->stats().ahead, 1u);
  EXPECT_EQ(pool->stats().reused, 0u);
}

// An input that lies in the worker is read there, and not from the host.
TEST(PoolAheadTest, AFreshWorkerHasItsInputInPlace) {
  auto pool = Start(Options());
  const JobResult result = Do(*pool, "ask", "in place");
  EXPECT_EQ(result.outcome, Outcome::kWorkerEnded) << result.what;
  ASSERT_TRUE(result.end.has_value());
  EXPECT_EQ(result.end->cause, Cause::kBrokeProtocol);
  EXPECT_EQ(pool->stats().ahead, 0u);
}

// ---- Ends, and what is said of them.

TEST(PoolEndTest, AWorkersEndSaysWhoEndedItAndWhy) {
  auto pool = Start(Options());
  const auto end = [&pool](const std::string& request) {
    JobOptions options = JobOf(request);
    options.limits = JobLimits();
    if (request == "hang") options.limits->wall_time = absl::Milliseconds(300);
    const JobResult result = Submit(*pool, std::move(options)).Wait();
    EXPECT_TRUE(result.end.has_value()) << request;
    return result.end.has_value() ? ToString(result.end->cause) + (": " + result.end->what) : "";
  };
  EXPECT_EQ(end("seen"), "killed: was killed: its job is over");
  EXPECT_EQ(end("fail"), "killed: was killed: its job is over");
  EXPECT_EQ(end("hang"), "killed: was killed: no outcome after 300ms");
  EXPECT_EQ(end("give_up"), "said why: gave up: enough");
  EXPECT_EQ(end("exit"), "done: ended normally");
  // Those of jobs that are done are not counted: they are no news.
  EXPECT_THAT(pool->stats().ends,
              UnorderedElementsAre(Pair(Cause::kKilled, 2u), Pair(Cause::kSaidWhy, 1u),
                                   Pair(Cause::kDone, 1u)));
  EXPECT_THAT(pool->stats().outcomes,
              UnorderedElementsAre(Pair(Outcome::kDone, 1u), Pair(Outcome::kFailed, 1u),
                                   Pair(Outcome::kOutOfTime, 1u), Pair(Outcome::kWorkerEnded, 2u)));
}

TEST(PoolEndTest, AFailureHasItsStatus) {
  auto pool = Start(Options());
  const JobResult result = Do(*pool, "fail_with", "no film");
  EXPECT_EQ(result.outcome, Outcome::kFailed);
  EXPECT_EQ(result.status, absl::DataLossError("no film"));
  EXPECT_EQ(result.what, "no film");
}

// ---- The queue.

TEST(PoolQueueTest, WhatIsNotBegunInTimeIsExpiredWhoeverFindsOut) {
  auto pool = Start(Options());
  JobOptions late = JobOf("seen");
  late.begin_by = Deadline::AtMonotonicNs(1);
  const JobResult result = Submit(*pool, std::move(late)).Wait();
  EXPECT_EQ(result.outcome, Outcome::kExpired);
  EXPECT_EQ(result.what, "it was not begun in time");
  EXPECT_FALSE(result.end.has_value());
  const PoolJob running = Hang(*pool);
  late = JobOf("seen");
  late.begin_by = Deadline::AtMonotonicNs(1);
  const JobResult found = Submit(*pool, std::move(late)).Wait();
  EXPECT_EQ(found.outcome, Outcome::kExpired);
  EXPECT_EQ(found.what, "it was not begun in time");
  EXPECT_EQ(pool->stats().queued, 0u);
  running.Cancel();
  EXPECT_EQ(running.Wait().what, "cancelled");
  EXPECT_THAT(pool->stats().ends, UnorderedElementsAre(Pair(Cause::kKilled, 1u)));
}

// To wait for a job changes nothing of it.
TEST(PoolQueueTest, AWaitThatEndsEarlyLeavesTheJobInTheQueue) {
  auto pool = Start(Options());
  const PoolJob running = Hang(*pool);
  const PoolJob queued = Submit(*pool, JobOf("seen"));
  JobOptions patient = JobOf("seen");
  patient.begin_by = Deadline::After(kLong);
  const PoolJob with_time = Submit(*pool, std::move(patient));
  EXPECT_EQ(pool->stats().queued, 2u);
  for (const PoolJob* job : {&queued, &with_time, &running}) {
    EXPECT_TRUE(absl::IsDeadlineExceeded(job->Wait(Deadline::AtMonotonicNs(0)).status()));
    EXPECT_TRUE(
        absl::IsDeadlineExceeded(job->Wait(Deadline::After(absl::Milliseconds(5))).status()));
  }
  EXPECT_EQ(pool->stats().queued, 2u);
  running.Cancel();
  EXPECT_TRUE(queued.Wait().done());
  EXPECT_TRUE(with_time.Wait().done());
}

TEST(PoolQueueTest, AQueuedJobIsCancelledAtOnce) {
  auto pool = Start(Options());
  const PoolJob running = Hang(*pool);
  const PoolJob queued = Submit(*pool, JobOf("seen"));
  queued.Cancel();
  const auto result = queued.Wait(Deadline::AtMonotonicNs(0));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kCancelled);
  EXPECT_EQ(result->what, "cancelled");
  EXPECT_EQ(pool->stats().queued, 0u);
  // Once there is a result, it stays.
  queued.Cancel();
  EXPECT_EQ(queued.Wait().outcome, Outcome::kCancelled);
  pool->CancelAll();
  EXPECT_EQ(running.Wait().outcome, Outcome::kCancelled);
  EXPECT_EQ(pool->stats().outcomes.at(Outcome::kCancelled), 2u);
  pool.reset();
  running.Cancel();
  EXPECT_EQ(running.Wait().outcome, Outcome::kCancelled);
}

TEST(PoolQueueTest, AJobWhoseWorkerIsBeingStartedIsCancelled) {
  PoolOptions options = Options();
  options.program.arguments = {"slow"};
  auto pool = Start(std::move(options));
  const PoolJob job = Submit(*pool, JobOf("hang"));
  ASSERT_TRUE(Await([&] { return pool->stats().queued == 0; }));
  job.Cancel();
  const auto result = job.Wait(Deadline::After(absl::Seconds(20)));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kCancelled);
}

TEST(PoolQueueTest, WhoWaitsForRoomGetsItWhenAJobIsTaken) {
  PoolOptions options = Options();
  options.max_queued = 1;
  auto pool = Start(std::move(options));
  const PoolJob running = Hang(*pool);
  const PoolJob queued = Submit(*pool, JobOf("seen"));
  std::thread waits([&pool] {
    auto job = pool->Submit(JobOf("seen"), Deadline::Never());
    ASSERT_TRUE(job.ok()) << job.status();
    EXPECT_TRUE(job->Wait().done());
  });
  absl::SleepFor(absl::Milliseconds(20));
  running.Cancel();
  waits.join();
  EXPECT_TRUE(queued.Wait().done());
}

// Or leaves the queue otherwise.
TEST(PoolQueueTest, WhoWaitsForRoomGetsItWhenAJobIsCancelledOrExpires) {
  for (const bool cancelled : {true, false}) {
    PoolOptions options = Options();
    options.max_queued = 1;
    options.limits.wall_time = absl::Minutes(10);
    auto pool = Start(std::move(options));
    const PoolJob running = Hang(*pool);
    JobOptions late = JobOf("seen");
    if (!cancelled) late.begin_by = Deadline::AtMonotonicNs(1);
    const PoolJob queued = Submit(*pool, std::move(late));
    std::thread waits([&pool] {
      auto job = pool->Submit(JobOf("seen"), Deadline::Never());
      ASSERT_TRUE(job.ok()) << job.status();
      job->Cancel();
    });
    absl::SleepFor(absl::Milliseconds(20));
    if (cancelled) queued.Cancel();
    const auto result = queued.Wait(Deadline::After(kLong));
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->outcome, cancelled ? Outcome::kCancelled : Outcome::kExpired);
    waits.join();
    running.Cancel();
    EXPECT_EQ(running.Wait().outcome, Outcome::kCancelled);
  }
}

// Two callbacks run while the pool ends: what they submit then is refused, also where they wait for
// room.
TEST(PoolQueueTest, WhoSubmitsWhileThePoolEndsIsTold) {
  PoolOptions options = Options();
  options.workers = 2;
  options.max_queued = 1;
  auto pool = Start(std::move(options));
  Pool* const same = pool.get();
  std::atomic<int> full{0};
  absl::Status while_full[2];
  absl::Status afterwards[2];
  std::vector<PoolJob> submit;
  for (const int i : {0, 1}) {
    JobOptions job = JobOf("seen");
    job.on_message = [&, same, i](uint32_t, absl::Span<const std::byte>) {
      ++full;
      while (full.load() < 2) absl::SleepFor(absl::Milliseconds(1));
      while (same->Submit(JobOf("seen"), Deadline::AtMonotonicNs(0)).ok()) {
      }
      ++full;
      while_full[i] = same->Submit(JobOf("seen"), Deadline::After(kLong)).status();
      afterwards[i] = same->Submit(JobOf("seen"), Deadline::AtMonotonicNs(0)).status();
      return absl::OkStatus();
    };
    submit.push_back(Submit(*pool, std::move(job)));
  }
  ASSERT_TRUE(Await([&full] { return full.load() == 4; }));
  pool.reset();
  for (const int i : {0, 1}) {
    EXPECT_EQ(while_full[i], absl::CancelledError("the pool ends"));
    EXPECT_EQ(afterwards[i], absl::CancelledError("the pool ends"));
  }
}

TEST(PoolQueueTest, ARequestHasSoManyBytesAtMost) {
  auto pool = Start(Options());
  const JobResult longest = Do(*pool, std::string(kMaxRequestBytes, 'x'));
  EXPECT_EQ(longest.status, absl::NotFoundError("no such request"));
  const absl::Status status =
      pool->Submit(JobOf(std::string(kMaxRequestBytes + 1, 'x')), Deadline::After(kLong)).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("4097 bytes; allowed: 4096"));
}

TEST(PoolQueueTest, AsManyWorkersAsThereMayBe) {
  PoolOptions options = Options();
  options.workers = 256;
  auto pool = Start(std::move(options));
  EXPECT_TRUE(Do(*pool, "seen").done());
}

// ---- What a job leaves.

TEST(PoolJobTest, WhatTheCallerGaveIsGivenBack) {
  auto pool = Start(Options());
  JobOptions job = JobOf("input", "abc");
  const std::weak_ptr<const SealedBlob> input = job.input;
  const auto taker = std::make_shared<int>(0);
  const auto counter = std::make_shared<int>(0);
  job.on_message = [taker](uint32_t, absl::Span<const std::byte>) {
    ++*taker;
    return absl::OkStatus();
  };
  job.pixels = [counter](uint32_t, absl::Span<const std::byte>) -> uint64_t {
    ++*counter;
    return 1;
  };
  const PoolJob submitted = Submit(*pool, std::move(job));
  EXPECT_TRUE(submitted.Wait().done());
  EXPECT_EQ(*taker, 1);
  EXPECT_EQ(*counter, 1);
  // A moment after the result, so that what goes may ask for it.
  EXPECT_TRUE(
      Await([&] { return input.expired() && taker.use_count() == 1 && counter.use_count() == 1; }));
}

// A pool that has run for long is no larger for it.
TEST(PoolJobTest, PromiseP7ResourcesAResultIsKeptByItsJobAlone) {
  if (HasSanitizer()) GTEST_SKIP() << "its allocator does not say how much is in use";
  PoolOptions options = Options();
  options.jobs_per_worker = 100;
  options.from_worker.max_message_bytes = 1 << 20;
  auto pool = Start(std::move(options));
  const std::string large(1 << 20, 'x');
  EXPECT_EQ(Text(Do(*pool, "input", large)), large);
  const auto in_use = [] { return ::mallinfo2().uordblks + ::mallinfo2().hblkhd; };
  const std::size_t before_bytes = in_use();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Text(Do(*pool, "input", large)).size(), large.size());
  EXPECT_LT(in_use(), before_bytes + 10 * large.size());
}

// ---- Statistics.

TEST(PoolStatsTest, OfAPoolThatHasHadNoJobEverythingIsNothing) {
  auto pool = Start(Options());
  const PoolStats stats = pool->stats();
  EXPECT_EQ(stats.submitted, 0u);
  EXPECT_EQ(stats.queued, 0u);
  EXPECT_TRUE(stats.outcomes.empty());
  EXPECT_TRUE(stats.ends.empty());
  EXPECT_EQ(stats.spawned + stats.cloned + stats.reused + stats.ahead + stats.templates, 0u);
  for (const absl::Duration time :
       {stats.waited_p50, stats.waited_p99, stats.started_p50, stats.started_p99}) {
    EXPECT_EQ(time, absl::ZeroDuration());
  }
}

// The times are those of the results, whatever their order. None is longer than all of it took.
TEST(PoolStatsTest, PercentilesAreOfTheJobsTimes) {
  const int64_t before_ns = MonotonicNowNs();
  auto pool = Start(Options());
  std::vector<JobResult> results = {Do(*pool, "seen")};
  EXPECT_EQ(pool->stats().started_p50, results[0].started_in);
  EXPECT_EQ(pool->stats().waited_p50, results[0].waited);
  // Those in the queue wait longer and longer, and those after them hardly at all.
  const PoolJob running = Hang(*pool);
  std::vector<PoolJob> queued;
  for (int i = 0; i < 4; ++i) queued.push_back(Submit(*pool, JobOf("seen")));
  absl::SleepFor(absl::Milliseconds(10));
  running.Cancel();
  results.push_back(running.Wait());
  for (const PoolJob& job : queued) results.push_back(job.Wait());
  for (int i = 0; i < 2; ++i) results.push_back(Do(*pool, "seen"));
  ASSERT_EQ(results.size(), 8u);
  std::vector<absl::Duration> waited;
  std::vector<absl::Duration> started;
  const absl::Duration all = absl::Nanoseconds(MonotonicNowNs() - before_ns);
  for (const JobResult& result : results) {
    waited.push_back(result.waited);
    started.push_back(result.started_in);
    EXPECT_GE(result.waited, absl::ZeroDuration());
    EXPECT_GT(result.started_in, absl::ZeroDuration());
    EXPECT_GT(result.ran, absl::ZeroDuration());
    EXPECT_LE(result.waited + result.started_in + result.ran, all);
  }
  std::sort(waited.begin(), waited.end());
  std::sort(started.begin(), started.end());
  EXPECT_GE(waited[7], absl::Milliseconds(10));
  const PoolStats stats = pool->stats();
  EXPECT_EQ(stats.waited_p50, waited[4]);
  EXPECT_EQ(stats.waited_p99, waited[7]);
  EXPECT_EQ(stats.started_p50, started[4]);
  EXPECT_EQ(stats.started_p99, started[7]);
  EXPECT_EQ(stats.submitted, 8u);
  EXPECT_EQ(stats.no_resident_limit, "");
}

TEST(PoolStatsTest, ALimitOfMemoryThatCannotBeHadIsSaid) {
  const testing::NoMemoryGroups none;
  PoolOptions options = Options();
  options.limits.resident_bytes = uint64_t{256} << 20;
  auto pool = Start(std::move(options));
  EXPECT_TRUE(Do(*pool, "seen").done());
  EXPECT_NE(pool->stats().no_resident_limit, "");
}

// ---- Its threads.

// Nobody's signal is delivered to a thread of the pool's, and the caller's mask is as it was.
TEST(PoolThreadsTest, HaveEverySignalBlocked) {
  const auto masks = [] {
    std::vector<uint64_t> all;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      std::ifstream status(task.path() / "status");
      for (std::string line; std::getline(status, line);) {
        if (line.rfind("SigBlk:", 0) == 0) all.push_back(std::stoull(line.substr(7), nullptr, 16));
      }
    }
    return all;
  };
  sigset_t before;
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &before), 0);
  const std::size_t others = masks().size();
  PoolOptions options = Options();
  options.workers = 3;
  auto pool = Start(std::move(options));
  sigset_t after;
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &after), 0);
  for (int number = 1; number < 32; ++number) {
    EXPECT_EQ(::sigismember(&before, number), ::sigismember(&after, number)) << number;
  }
  int quiet = 0;
  const std::vector<uint64_t> now = masks();
  EXPECT_EQ(now.size(), others + 3);
  for (const uint64_t mask : now) {
    bool is_quiet = true;
    for (const int number : {SIGHUP, SIGINT, SIGTERM, SIGCHLD, SIGUSR1, SIGPIPE, SIGALRM}) {
      is_quiet &= (mask >> (number - 1) & 1) != 0;
    }
    quiet += is_quiet ? 1 : 0;
  }
  EXPECT_GE(quiet, 3);
}

}  // namespace
}  // namespace parley

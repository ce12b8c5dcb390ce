// SPDX-License-Identifier: Apache-2.0
#include "parley/supervise/pool.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
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
#include "gtest/gtest.h"
#include "parley/boundary/wire_copy.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/supervise/testing_program.h"
#include "parley/testing/children.h"

namespace parley {
namespace {

using testing::Children;
using testing::HasSanitizer;
using testing::kLong;
using Outcome = JobResult::Outcome;
using Cause = WorkerEnd::Cause;

// With and without a template.
class PoolTest : public ::testing::TestWithParam<bool> {
 protected:
  PoolOptions Options() const {
    PoolOptions options;
    options.program = testing::Program("testing_job_worker", "");
    options.use_template = GetParam();
    return options;
  }
};
INSTANTIATE_TEST_SUITE_P(Ways, PoolTest, ::testing::Values(true, false),
                         [](const auto& way) { return way.param ? "Cloned" : "Spawned"; });

std::unique_ptr<Pool> Start(PoolOptions options) {
  auto pool = Pool::Start(std::move(options));
  EXPECT_TRUE(pool.ok()) << pool.status();
  return pool.ok() ? *std::move(pool) : nullptr;
}

std::shared_ptr<const SealedBlob> Blob(const std::string& text) {
  auto blob = SealedBlob::Create(BytesOfWire(absl::MakeConstSpan(text.data(), text.size())));
  EXPECT_TRUE(blob.ok()) << blob.status();
  return std::make_shared<const SealedBlob>(*std::move(blob));
}

PoolJob Submit(Pool& pool, JobOptions options) {
  auto job = pool.Submit(std::move(options), Deadline::After(kLong));
  EXPECT_TRUE(job.ok()) << job.status();
  return *std::move(job);
}

PoolJob Submit(Pool& pool, const std::string& request, const std::string& input = "") {
  JobOptions options;
  options.request = request;
  if (!input.empty()) options.input = Blob(input);
  return Submit(pool, std::move(options));
}

std::string Text(const JobResult& result) {
  std::string text;
  for (const JobMessage& message : result.messages) {
    for (const std::byte byte : message.bytes) text += static_cast<char>(byte);
  }
  return text;
}

TEST_P(PoolTest, AJobThatFailsWhileItFillsAMessageSaysWhy) {
  auto pool = Start(Options());
  const PoolJob job = Submit(*pool, "reserve_and_fail");
  const JobResult& result = job.Wait();
  EXPECT_EQ(result.status, absl::DataLossError("it is no film")) << result.status;
}

// By the function that takes a job's messages, on a thread of the pool's own.
TEST_P(PoolTest, AJobMayEndItsPool) {
  auto pool = Start(Options());
  JobOptions options;
  options.request = "input";
  options.input = Blob("x");
  options.on_message = [&pool](uint32_t, absl::Span<const std::byte>) {
    pool.reset();
    return absl::OkStatus();
  };
  const PoolJob job = Submit(*pool, std::move(options));
  const JobResult& result = job.Wait();
  EXPECT_TRUE(result.done() || result.outcome == Outcome::kCancelled) << result.what;
  EXPECT_EQ(pool, nullptr);
}

// What a job was given may ask for its result as it ends.
TEST_P(PoolTest, WhatAJobHoldsMayAskForItsResult) {
  auto pool = Start(Options());
  std::promise<PoolJob> promise;
  const std::shared_future<PoolJob> submitted = promise.get_future().share();
  JobOptions options;
  options.request = "input";
  options.input = Blob("x");
  std::promise<bool> asked;
  struct Asks {
    Asks(std::shared_future<PoolJob> its_job, std::promise<bool>* told)
        : job(std::move(its_job)), asked(told) {}
    std::shared_future<PoolJob> job;
    std::promise<bool>* asked;
    ~Asks() { asked->set_value(job.get().Wait().done()); }
  };
  auto asks = std::make_shared<Asks>(submitted, &asked);
  options.on_message = [asks = std::move(asks)](uint32_t, absl::Span<const std::byte>) {
    asks->job.wait();
    return absl::OkStatus();
  };
  promise.set_value(Submit(*pool, std::move(options)));
  EXPECT_TRUE(asked.get_future().get());
}

TEST_P(PoolTest, EachJobHasItsOwnInputAndResult) {
  auto pool = Start(Options());
  std::vector<PoolJob> jobs;
  for (int i = 0; i < 20; ++i) jobs.push_back(Submit(*pool, "input", "input " + std::to_string(i)));
  for (int i = 0; i < 20; ++i) {
    const JobResult& result = jobs[static_cast<size_t>(i)].Wait();
    EXPECT_TRUE(result.done()) << result.what;
    EXPECT_EQ(Text(result), "input " + std::to_string(i));
  }
  const PoolStats stats = pool->stats();
  EXPECT_EQ(stats.submitted, 20u);
  EXPECT_EQ(stats.outcomes.at(Outcome::kDone), 20u);
  EXPECT_EQ(stats.spawned + stats.cloned, 20u);
  EXPECT_EQ(stats.reused, 0u);
  EXPECT_EQ(stats.cloned > 0, GetParam() && !HasSanitizer()) << stats.no_template;
  EXPECT_GT(stats.started_p50, absl::ZeroDuration());
  EXPECT_LE(stats.started_p50, stats.started_p99);
}

// By default no worker sees a second job.
TEST_P(PoolTest, PromiseP6ContainmentAWorkerIsUsedOnce) {
  auto pool = Start(Options());
  for (int i = 0; i < 5; ++i) {
    const JobResult result = Submit(*pool, "seen").Wait();
    EXPECT_EQ(Text(result), "1") << result.what;
  }
}

TEST_P(PoolTest, AWorkerIsReusedWhereThatIsAskedFor) {
  PoolOptions options = Options();
  options.workers = 1;
  options.jobs_per_worker = 3;
  options.from_worker.max_message_bytes = 1 << 18;
  auto pool = Start(std::move(options));
  std::string seen;
  for (int i = 0; i < 6; ++i) seen += Text(Submit(*pool, "seen").Wait());
  EXPECT_EQ(seen, "123123");
  // A later job's input is its own, too.
  EXPECT_EQ(Text(Submit(*pool, "input", "one").Wait()), "one");
  EXPECT_EQ(Text(Submit(*pool, "input", std::string(200'000, 'y')).Wait()),
            std::string(200'000, 'y'));
  EXPECT_EQ(pool->stats().reused, 5u);
  // Other limits are for another worker.
  JobOptions other;
  other.request = "seen";
  other.limits = JobLimits();
  other.limits->cpu_seconds = 7;
  EXPECT_EQ(Text(Submit(*pool, std::move(other)).Wait()), "1");
}

// A worker that was started before its job is as fresh as any other, and used once.
TEST_P(PoolTest, PromiseP6ContainmentAWorkerStartedAheadIsFreshAndUsedOnce) {
  PoolOptions options = Options();
  options.workers = 1;
  options.start_ahead = true;
  auto pool = Start(std::move(options));
  std::set<std::string> workers;
  for (int i = 0; i < 5; ++i) {
    // Until it is there.
    const Deadline deadline = Deadline::After(kLong);
    while (pool->stats().spawned + pool->stats().cloned <= static_cast<uint64_t>(i) &&
           !deadline.Expired()) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    const JobResult result = Submit(*pool, i % 2 == 0 ? "seen" : "pid").Wait();
    ASSERT_TRUE(result.done()) << result.what;
    if (i % 2 == 0) {
      EXPECT_EQ(Text(result), "1");
    } else {
      EXPECT_TRUE(workers.insert(Text(result)).second || Text(result) == "2");
    }
    EXPECT_EQ(result.started_in, absl::ZeroDuration());
  }
  EXPECT_EQ(Text(Submit(*pool, "input", "its own").Wait()), "its own");
  EXPECT_GE(pool->stats().ahead, 5u);
  EXPECT_EQ(pool->stats().reused, 0u);
}

TEST_P(PoolTest, WhereTheWorkerStartedAheadDoesNotFitTheJobGetsAnother) {
  PoolOptions options = Options();
  options.workers = 1;
  options.start_ahead = true;
  options.from_worker.max_message_bytes = 2 << 20;
  auto pool = Start(std::move(options));
  const auto await_idle_worker = [&pool](uint64_t count) {
    const Deadline deadline = Deadline::After(kLong);
    while (pool->stats().spawned + pool->stats().cloned < count && !deadline.Expired()) {
      absl::SleepFor(absl::Milliseconds(1));
    }
  };
  await_idle_worker(1);
  // An input that is worth a mapping of its own.
  const std::string large(kMaxInputBytesOfAhead + 1, 'z');
  EXPECT_EQ(Text(Submit(*pool, "input", large).Wait()), large);
  EXPECT_EQ(pool->stats().ahead, 0u);
  await_idle_worker(3);
  // Other limits.
  JobOptions other;
  other.request = "seen";
  other.limits = JobLimits();
  other.limits->cpu_seconds = 7;
  EXPECT_EQ(Text(Submit(*pool, std::move(other)).Wait()), "1");
  EXPECT_EQ(pool->stats().ahead, 0u);
  await_idle_worker(5);
  // Killed by somebody while it waited: no job's end. All of them are, but for templates, which
  // a pool without one does not have.
  if (!GetParam() || HasSanitizer()) {
    absl::SleepFor(absl::Milliseconds(20));
    for (const pid_t pid : Children()) ::kill(pid, SIGKILL);
    absl::SleepFor(absl::Milliseconds(200));
  }
  const JobResult last = Submit(*pool, "seen").Wait();
  EXPECT_EQ(Text(last), "1") << last.what;
}

struct Hostile {
  const char* request;
  Outcome outcome;
  Cause cause;
  const char* says;
};

// Each ends as it is, within its limits, and the innocent ones beside it don't notice.
TEST_P(PoolTest, PromiseP6ContainmentOneJobsDeathIsItsOwn) {
  PoolOptions options = Options();
  options.limits.wall_time = kLong;
  options.limits.cpu_seconds = 1;
  options.limits.memory_bytes = uint64_t{512} << 20;
  options.limits.output_bytes = 1'000'000;
  JobLimits short_time = options.limits;
  short_time.wall_time = absl::Milliseconds(1500);
  auto pool = Start(std::move(options));
  const std::vector<Hostile> hostile = {
      {"fail", Outcome::kFailed, Cause::kKilled, "no\\x1bpicture"},
      {"abort", Outcome::kWorkerEnded, Cause::kCrashed, "signal 6"},
      {"refused", Outcome::kWorkerEnded, Cause::kRefusedCall, "it called chdir"},
      {"exit", Outcome::kWorkerEnded, Cause::kDone, "ended normally"},
      {"hang", Outcome::kOutOfTime, Cause::kKilled, "no outcome after 1.5s"},
      {"burn", Outcome::kWorkerEnded, Cause::kOutOfTime, "CPU time"},
      {"memory", Outcome::kWorkerEnded, Cause::kOutOfMemory, "not enough memory"},
      {"flood", Outcome::kTooMuchOutput, Cause::kKilled, "more than 1000000 bytes"},
      {"many_empty", Outcome::kTooMuchOutput, Cause::kKilled, "more than 1000000 bytes"},
      {"another_number", Outcome::kWorkerEnded, Cause::kBrokeProtocol, "broke the protocol"},
  };
  std::vector<std::pair<Hostile, PoolJob>> jobs;
  std::vector<PoolJob> innocent;
  for (const Hostile& one : hostile) {
    if (HasSanitizer() && (one.cause == Cause::kCrashed || one.cause == Cause::kOutOfMemory)) {
      continue;
    }
    JobOptions job;
    job.request = one.request;
    job.input = Blob("some input");
    if (one.outcome == Outcome::kOutOfTime) job.limits = short_time;
    jobs.emplace_back(one, Submit(*pool, std::move(job)));
    innocent.push_back(Submit(*pool, "input", one.request));
  }
  for (const auto& [expected, job] : jobs) {
    const JobResult& result = job.Wait();
    EXPECT_EQ(result.outcome, expected.outcome) << expected.request << ": " << result.what;
    ASSERT_TRUE(result.end.has_value()) << expected.request;
    EXPECT_EQ(result.end->cause, expected.cause)
        << expected.request << ": " << result.end->ToString();
    EXPECT_NE(result.what.find(expected.says), std::string::npos)
        << expected.request << ": " << result.what;
  }
  for (size_t i = 0; i < innocent.size(); ++i) {
    const JobResult& result = innocent[i].Wait();
    EXPECT_TRUE(result.done()) << result.what;
    EXPECT_EQ(Text(result), jobs[i].first.request);
  }
  EXPECT_EQ(pool->stats().ends.at(Cause::kRefusedCall), 1u);
}

// "100x1000"
uint64_t PixelsOf(uint32_t, absl::Span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += static_cast<char>(byte);
  unsigned width = 0;
  unsigned height = 0;
  // NOLINTNEXTLINE(cert-err34-c): what the test itself wrote
  if (std::sscanf(text.c_str(), "%ux%u", &width, &height) != 2) return 0;
  return uint64_t{width} * height;
}

// However few bytes claim them.
TEST_P(PoolTest, PromiseP7ResourcesMorePixelsThanAllowedEndTheJob) {
  PoolOptions options = Options();
  options.limits.output_pixels = 1'000'000;
  auto pool = Start(std::move(options));
  for (const char* const request : {"pictures", "one_picture", "input"}) {
    JobOptions job;
    job.request = request;
    job.input = Blob("1000x1000");
    job.pixels = PixelsOf;
    uint64_t taken = 0;
    job.on_message = [&taken](uint32_t tag, absl::Span<const std::byte> bytes) {
      taken += PixelsOf(tag, bytes);
      return absl::OkStatus();
    };
    const JobResult result = Submit(*pool, std::move(job)).Wait();
    EXPECT_LE(taken, 1'000'000u);
    if (request == std::string("input")) {
      EXPECT_TRUE(result.done()) << result.what;
      EXPECT_EQ(taken, 1'000'000u);
      continue;
    }
    EXPECT_EQ(result.outcome, Outcome::kTooMuchOutput) << result.what;
    EXPECT_EQ(result.what, "it sent more than 1000000 pixels");
  }
}

// Where a control group can be made; else the pool says that it cannot.
TEST_P(PoolTest, PromiseP7ResourcesMoreMemoryThanAllowedEndsTheJob) {
  PoolOptions options = Options();
  options.limits.resident_bytes = uint64_t{32} << 20;
  auto pool = Start(std::move(options));
  const PoolJob hungry = Submit(*pool, "resident");
  const PoolJob innocent = Submit(*pool, "input", "small");
  EXPECT_EQ(Text(innocent.Wait()), "small") << innocent.Wait().what;
  const JobResult& result = hungry.Wait();
  const std::string why_not = pool->stats().no_resident_limit;
  if (!why_not.empty()) {
    EXPECT_TRUE(result.done()) << result.what;
    GTEST_SKIP() << why_not;
  }
  EXPECT_EQ(result.outcome, Outcome::kWorkerEnded) << result.what;
  ASSERT_TRUE(result.end.has_value());
  EXPECT_EQ(result.end->cause, Cause::kOutOfMemory) << result.what;
  EXPECT_NE(result.what.find("more than 33554432 bytes of memory"), std::string::npos)
      << result.what;
}

// A second outcome, or one of the next job, is of no use to a worker that is gone by then; and
// where it is kept, the next job is not done by it.
TEST_P(PoolTest, AnOutcomeOfTheNextJobIsRefused) {
  PoolOptions options = Options();
  options.workers = 1;
  options.jobs_per_worker = 10;
  auto pool = Start(std::move(options));
  EXPECT_TRUE(Submit(*pool, "twice").Wait().done());
  const JobResult next = Submit(*pool, "seen").Wait();
  EXPECT_EQ(next.outcome, Outcome::kWorkerEnded) << next.what;
  EXPECT_EQ(next.end->cause, Cause::kBrokeProtocol) << next.what;
  EXPECT_EQ(Text(Submit(*pool, "seen").Wait()), "1");
}

TEST_P(PoolTest, MessagesCanBeTakenAsTheyComeAndRejected) {
  auto pool = Start(Options());
  std::string taken;
  JobOptions options;
  options.request = "input";
  options.input = Blob("as it comes");
  options.on_message = [&taken](uint32_t, absl::Span<const std::byte> bytes) {
    for (const std::byte byte : bytes) taken += static_cast<char>(byte);
    return absl::OkStatus();
  };
  const JobResult result = Submit(*pool, std::move(options)).Wait();
  EXPECT_TRUE(result.done()) << result.what;
  EXPECT_TRUE(result.messages.empty());
  EXPECT_EQ(taken, "as it comes");
  JobOptions rejects;
  rejects.request = "flood";
  rejects.on_message = [](uint32_t, absl::Span<const std::byte>) {
    return absl::DataLossError("the disk is full");
  };
  const JobResult rejected = Submit(*pool, std::move(rejects)).Wait();
  EXPECT_EQ(rejected.outcome, Outcome::kRejected);
  EXPECT_EQ(rejected.what, "the disk is full");
}

TEST_P(PoolTest, TheQueueHasABoundADeadlineAndCancel) {
  PoolOptions options = Options();
  options.workers = 1;
  options.max_queued = 2;
  auto pool = Start(std::move(options));
  const PoolJob running = Submit(*pool, "hang");
  while (pool->stats().cloned + pool->stats().spawned == 0) absl::SleepFor(absl::Milliseconds(1));
  const PoolJob waiting = Submit(*pool, "seen");
  JobOptions soon;
  soon.request = "seen";
  soon.begin_by = Deadline::After(absl::Milliseconds(50));
  const PoolJob impatient = Submit(*pool, std::move(soon));
  JobOptions more;
  more.request = "seen";
  EXPECT_TRUE(absl::IsResourceExhausted(
      pool->Submit(std::move(more), Deadline::After(absl::Milliseconds(20))).status()));
  const auto expired = impatient.Wait(Deadline::After(kLong));
  ASSERT_TRUE(expired.ok()) << expired.status();
  EXPECT_EQ(expired->outcome, Outcome::kExpired);
  EXPECT_TRUE(
      absl::IsDeadlineExceeded(running.Wait(Deadline::After(absl::Milliseconds(5))).status()));
  const int64_t before_ns = MonotonicNowNs();
  running.Cancel();
  EXPECT_EQ(running.Wait().outcome, Outcome::kCancelled);
  EXPECT_LT(MonotonicNowNs() - before_ns, 2'000'000'000);
  EXPECT_TRUE(waiting.Wait().done());
  const PoolJob hangs = Submit(*pool, "hang");
  const PoolJob queued = Submit(*pool, "seen");
  queued.Cancel();
  EXPECT_EQ(queued.Wait().outcome, Outcome::kCancelled);
  pool->CancelAll();
  EXPECT_EQ(hangs.Wait().outcome, Outcome::kCancelled);
  JobOptions long_request;
  long_request.request = std::string(kMaxRequestBytes + 1, 'x');
  EXPECT_TRUE(absl::IsInvalidArgument(
      pool->Submit(std::move(long_request), Deadline::After(kLong)).status()));
}

// Whatever lies ready: a flood does not hold up the pool's end, and what ended one job is nothing
// to the next one of the same worker.
TEST_P(PoolTest, PromiseP2TimeACancelEndsAJobThatNeverWaitsAndNoOther) {
  PoolOptions options = Options();
  options.workers = 1;
  options.jobs_per_worker = 10;
  options.limits.output_bytes = 1000 * 64;
  auto pool = Start(std::move(options));
  Pool* const same = pool.get();
  for (const std::string request : {"seen", "many_empty"}) {
    JobOptions cancels;
    cancels.request = request;
    cancels.on_message = [same](uint32_t, absl::Span<const std::byte>) {
      same->CancelAll();
      absl::SleepFor(absl::Milliseconds(50));  // all that it says lies ready
      return absl::OkStatus();
    };
    const JobResult cancelled = Submit(*pool, std::move(cancels)).Wait();
    EXPECT_EQ(cancelled.outcome, Outcome::kCancelled) << request << ": " << cancelled.what;
    const JobResult next = Submit(*pool, "seen").Wait();
    EXPECT_TRUE(next.done()) << request << ": " << next.what;
  }
}

TEST_P(PoolTest, ThePoolsEndLeavesNoProcessAndNoDescriptor) {
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  {
    auto first = Start(Options());
  }
  const auto before = descriptors();
  std::vector<PoolJob> jobs;
  {
    auto pool = Start(Options());
    for (int i = 0; i < 10; ++i) jobs.push_back(Submit(*pool, "hang", "x"));
    while (pool->stats().cloned + pool->stats().spawned < 2) {
      absl::SleepFor(absl::Milliseconds(1));
    }
  }
  EXPECT_TRUE(Children().empty());
  for (const PoolJob& job : jobs) EXPECT_EQ(job.Wait().outcome, Outcome::kCancelled);
  const Deadline deadline = Deadline::After(kLong);
  while (descriptors() > before && !deadline.Expired()) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_LE(descriptors(), before);
}

TEST(PoolTemplateTest, ATemplateThatDiesIsReplaced) {
  if (HasSanitizer()) GTEST_SKIP() << "no templates in a build with a sanitizer";
  PoolOptions options;
  options.program = testing::Program("testing_job_worker", "");
  options.workers = 1;
  auto pool = Start(std::move(options));
  EXPECT_TRUE(Submit(*pool, "seen").Wait().done());
  for (int i = 0; i < 3; ++i) {
    // What is left between jobs is the template, once what held the worker's namespaces is gone.
    const Deadline deadline = Deadline::After(kLong);
    std::set<pid_t> children = Children();
    while (children.size() != 1 && !deadline.Expired()) {
      absl::SleepFor(absl::Milliseconds(1));
      children = Children();
    }
    ASSERT_EQ(children.size(), 1u);
    ASSERT_EQ(::kill(*children.begin(), SIGKILL), 0);
    const JobResult result = Submit(*pool, "input", "still there").Wait();
    EXPECT_TRUE(result.done()) << result.what;
  }
  EXPECT_EQ(pool->stats().templates, 4u);
  EXPECT_EQ(pool->stats().spawned, 0u);
}

TEST(PoolTemplateTest, ANewTemplateAfterSoManyClones) {
  if (HasSanitizer()) GTEST_SKIP() << "no templates in a build with a sanitizer";
  PoolOptions options;
  options.program = testing::Program("testing_job_worker", "");
  options.clones_per_template = 3;
  auto pool = Start(std::move(options));
  for (int i = 0; i < 7; ++i) EXPECT_TRUE(Submit(*pool, "seen").Wait().done());
  EXPECT_EQ(pool->stats().templates, 3u);
}

TEST(PoolTemplateTest, AProgramThatCannotBeStartedIsAResultWithItsReason) {
  PoolOptions options;
  options.program = testing::Program("testing_job_worker", "not_warm");
  auto pool = Start(std::move(options));
  const JobResult result = Submit(*pool, "seen").Wait();
  EXPECT_EQ(result.outcome, Outcome::kNotStarted);
  EXPECT_NE(result.what.find("no tables"), std::string::npos) << result.what;
}

TEST(PoolOptionsTest, OptionsThatCannotBeAreRefusedBeforeAnythingStarts) {
  const auto refused = [](auto change) {
    PoolOptions options;
    options.program = testing::Program("testing_job_worker", "");
    change(options);
    return absl::IsInvalidArgument(Pool::Start(std::move(options)).status());
  };
  using O = PoolOptions;
  EXPECT_FALSE(refused([](O& o) { o.workers = 1; }));
  EXPECT_TRUE(refused([](O& o) { o.workers = 0; }));
  EXPECT_TRUE(refused([](O& o) { o.workers = 257; }));
  EXPECT_TRUE(refused([](O& o) { o.jobs_per_worker = 0; }));
  EXPECT_TRUE(refused([](O& o) { o.clones_per_template = 0; }));
  EXPECT_TRUE(refused([](O& o) { o.max_queued = 0; }));
  EXPECT_TRUE(refused([](O& o) { o.to_worker.arena.bytes = 4096; }));
  EXPECT_TRUE(refused([](O& o) { o.program.path.clear(); }));
}

// ---- A host that is killed, or told to end.

struct Host {
  pid_t pid = -1;
  UniqueFd output;
};

Host StartHost() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  Host host;
  host.output.Reset(ends[0]);
  UniqueFd theirs(ends[1]);
  const std::string program = testing::Program("testing_pool_host", "").path;
  const std::string worker = testing::Program("testing_job_worker", "").path;
  host.pid = ::fork();
  if (host.pid == 0) {
    ::dup2(theirs.get(), 1);
    ::setpgid(0, 0);
    ::execl(program.c_str(), program.c_str(), worker.c_str(), nullptr);
    ::_exit(127);
  }
  return host;
}

std::string ReadLine(const UniqueFd& fd) {
  std::string line;
  char c = 0;
  while (::read(fd.get(), &c, 1) == 1 && c != '\n') line += c;
  return line;
}

// All processes whose program is one of ours, by their descent from `host`, with those in
// namespaces.
std::vector<UniqueFd> Descendants(pid_t host) {
  std::vector<UniqueFd> found;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(host) + "/task")) {
    std::ifstream file(task.path() / "children");
    for (int pid = 0; file >> pid;) {
      found.emplace_back(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    }
  }
  return found;
}

TEST(PoolHostTest, PromiseP7ResourcesAHostThatIsKilledLeavesNoProcess) {
  for (int i = 0; i < 5; ++i) {
    const Host host = StartHost();
    ASSERT_EQ(ReadLine(host.output), "ready");
    const std::vector<UniqueFd> descendants = Descendants(host.pid);
    EXPECT_GE(descendants.size(), 2u);
    ASSERT_EQ(::kill(host.pid, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(host.pid, &status, 0), host.pid);
    for (const UniqueFd& pidfd : descendants) {
      pollfd entry = {pidfd.get(), POLLIN, 0};
      EXPECT_EQ(::poll(&entry, 1, 10'000), 1) << "a worker lives on";
    }
  }
}

TEST(PoolHostTest, CtrlCReachesTheHostAloneAndEndsItInOrder) {
  const Host host = StartHost();
  ASSERT_EQ(ReadLine(host.output), "ready");
  // As a terminal sends it: to the whole group.
  ASSERT_EQ(::kill(-host.pid, SIGINT), 0);
  EXPECT_EQ(ReadLine(host.output), "cancelled 6");
  int status = 0;
  ASSERT_EQ(::waitpid(host.pid, &status, 0), host.pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace parley

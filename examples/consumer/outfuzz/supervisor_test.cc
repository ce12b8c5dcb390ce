// SPDX-License-Identifier: Apache-2.0
#include "outfuzz/supervisor.h"

#include <sys/wait.h>

#include <cerrno>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"

namespace outfuzz {
namespace {

// A supervisor of traitors that may take this long for an input. A loaded machine is slow.
SupervisorOptions Options(absl::Duration timeout = absl::Seconds(20)) {
  SupervisorOptions options;
  options.worker.program = "outfuzz/traitor";
  options.worker.timeout = timeout;
  options.worker.max_input_bytes = 256;
  return options;
}

struct Ran {
  absl::Status status;
  std::vector<Result> results;
  SupervisorStats stats;
};

// One input for each string.
Ran RunAll(const std::vector<std::string>& inputs, SupervisorOptions options) {
  Supervisor supervisor(std::move(options));
  Ran run;
  run.status = supervisor.Run(
      0,
      [&](uint64_t number) -> std::optional<Input> {
        if (number >= inputs.size()) return std::nullopt;
        return Input(inputs[number].begin(), inputs[number].end());
      },
      [&](const Result& result, const Input& input) {
        EXPECT_EQ(std::string(input.begin(), input.end()), inputs[result.number]);
        run.results.push_back(result);
        return absl::OkStatus();
      });
  run.stats = supervisor.stats();
  return run;
}

std::string Verdicts(const Ran& run) {
  std::string text;
  for (std::size_t i = 0; i < run.results.size(); ++i) {
    EXPECT_EQ(run.results[i].number, i);
    text += std::string(text.empty() ? "" : " ") + VerdictName(run.results[i].verdict);
  }
  return text;
}

std::size_t EntriesOf(const char* folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder),
                                                std::filesystem::directory_iterator()));
}

// No child, not even a dead one.
void ExpectNoChild() {
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG | __WALL), -1);
  EXPECT_EQ(errno, ECHILD);
}

const char kHonest[] = "ICONP6abcdefD41010";

TEST(SupervisorTest, EachVerdictIsToldAndPutDownToItsInput) {
  // The endless loop costs its timeout, so this one is short.
  const Ran run = RunAll({kHonest, "ICONP3abcD11", kHonest, "ICONP3abcR200", kHonest,
                          "ICONF9/dev/null", kHonest, "", "- no icon"},
                         Options(absl::Seconds(2)));
  EXPECT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(Verdicts(run), "ok crash ok hang ok violation ok ok ok");
  EXPECT_EQ(run.results[1].cause, "was killed by signal 11 (Segmentation fault)");
  EXPECT_EQ(run.results[3].cause, "no answer for 2s");
  EXPECT_EQ(run.results[5].cause, "openat");
  EXPECT_EQ(run.stats.workers, 4u);
  EXPECT_EQ(run.results[2].worker_first, 2u);
  EXPECT_EQ(run.results[3].worker_first, 2u);
  ExpectNoChild();
}

TEST(SupervisorTest, AHarmlessWorkerIsKept) {
  const Ran run = RunAll(std::vector<std::string>(20'000, kHonest), Options());
  EXPECT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.results.size(), 20'000u);
  EXPECT_EQ(run.stats.workers, 1u);
}

TEST(SupervisorTest, AWorkerIsReplacedInTime) {
  SupervisorOptions options = Options();
  options.inputs_per_worker = 10;
  const Ran run = RunAll(std::vector<std::string>(45, kHonest), options);
  EXPECT_EQ(run.results.size(), 45u);
  EXPECT_EQ(run.stats.workers, 5u);
  EXPECT_EQ(run.stats.retired, 4u);
  EXPECT_EQ(run.results[29].worker_first, 20u);
}

TEST(SupervisorTest, AWorkerThatTurnsOnTheChannelIsThrownAway) {
  const std::map<std::string, std::string> causes = {
      {"n", "it answered what was not asked"},
      {"t", "it answered what was not asked"},
      {"z", "it answered what was not asked"},
      {"j", "the peer broke the protocol: producer position out of range"},
      {"l", "the peer broke the protocol: record longer than the agreed maximum"},
      {"f", "the peer broke the protocol: doorbell signalled again and again without progress"},
      {"c", "it closed the stream"},
      {"x", "it hung up and stayed"},
  };
  for (const auto& [attack, cause] : causes) {
    const Ran run = RunAll({attack, kHonest}, Options());
    EXPECT_TRUE(run.status.ok()) << run.status;
    EXPECT_EQ(Verdicts(run), "hostile ok") << attack;
    EXPECT_EQ(run.results[0].cause, cause) << attack;
    EXPECT_EQ(run.stats.workers, 2u) << attack;
  }
  ExpectNoChild();
}

TEST(SupervisorTest, AGuiltyInputIsFoundEvenIfItsWorkerTakesAnswersBack) {
  SupervisorOptions options = Options();
  options.rerun = [](const Result&) { return true; };
  const std::vector<std::string> inputs = {kHonest, kHonest, kHonest, "j", kHonest};
  for (int i = 0; i < 10; ++i) {
    const Ran run = RunAll(inputs, options);
    ASSERT_EQ(run.results.size(), inputs.size());
    for (const Result& result : run.results) {
      if (result.number == 3) {
        EXPECT_EQ(result.verdict, Verdict::kHostile);
        EXPECT_EQ(result.alone, true);
      } else if (result.verdict != Verdict::kOk && result.worker_first != result.number) {
        EXPECT_EQ(result.alone, false) << result.number;
      }
    }
  }
}

TEST(SupervisorTest, AWorkerThatLiesAboutWhatItHasTakenIsThrownAway) {
  const std::map<std::string, std::string> causes = {
      {"u", "the peer broke the protocol: consumer position out of range"},
      {"r", "it takes no more inputs"},
  };
  // More than the ring holds, so that the supervisor still has to send when the lie is told.
  std::vector<std::string> inputs(400, std::string(250, '-'));
  for (const auto& [attack, cause] : causes) {
    inputs[1] = attack;
    const Ran run = RunAll(inputs, Options());
    EXPECT_TRUE(run.status.ok()) << run.status;
    ASSERT_EQ(run.results.size(), inputs.size());
    EXPECT_EQ(run.results[1].verdict, Verdict::kHostile) << attack;
    EXPECT_EQ(run.results[1].cause, cause) << attack;
    EXPECT_EQ(run.results[2].verdict, Verdict::kOk);
    // Where the lie is seen before the answer to the input ahead of it, that one is suspected too,
    // and costs a worker; but it is not said to have done it alone.
    const bool early = run.results[0].verdict != Verdict::kOk;
    EXPECT_NE(run.results[0].alone, true) << attack;
    EXPECT_EQ(run.stats.workers, early ? 3u : 2u) << attack;
  }
  ExpectNoChild();
}

TEST(SupervisorTest, AWorkerThatLeavesHasCrashed) {
  const Ran run = RunAll({"e", "a", kHonest}, Options());
  EXPECT_EQ(Verdicts(run), "crash crash ok");
  EXPECT_EQ(run.results[0].cause, "ended normally");
  EXPECT_EQ(run.results[1].cause, "was killed by signal 6 (Aborted)");
}

TEST(SupervisorTest, ARerunTellsAGuiltyInputFromACorruptedWorker) {
  SupervisorOptions options = Options();
  options.rerun = [](const Result&) { return true; };
  // 24 bytes of comment: the last eight are called as a function by the next picture.
  const std::string corrupting = "ICONCH" + std::string(24, 'x');
  const Ran run = RunAll({kHonest, corrupting, kHonest, kHonest, "a"}, options);
  EXPECT_EQ(Verdicts(run), "ok ok crash ok crash");
  EXPECT_EQ(run.results[2].alone, false);
  EXPECT_EQ(run.results[2].worker_first, 0u);
  EXPECT_EQ(run.results[4].alone, true);
  EXPECT_EQ(run.stats.reruns, 2u);
}

TEST(SupervisorTest, NothingLeaksHoweverManyWorkersTurnHostile) {
  std::vector<std::string> inputs;
  for (int i = 0; i < 200; ++i) {
    inputs.emplace_back(1, "aesntzjlc"[i % 9]);
    if (i % 3 == 0) inputs.emplace_back(kHonest);
  }
  // What is made once is made now.
  RunAll({"a", "n", kHonest}, Options());
  const std::size_t descriptors = EntriesOf("/proc/self/fd");
  const std::size_t threads = EntriesOf("/proc/self/task");
  const Ran run = RunAll(inputs, Options());
  EXPECT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.results.size(), inputs.size());
  EXPECT_GE(run.stats.workers, 200u);
  EXPECT_EQ(EntriesOf("/proc/self/fd"), descriptors);
  EXPECT_EQ(EntriesOf("/proc/self/task"), threads);
  ExpectNoChild();
}

TEST(SupervisorTest, AWorkerThatCannotBeStartedIsAnErrorAndNoVerdict) {
  SupervisorOptions options = Options();
  options.worker.program = "outfuzz/no_such_program";
  const Ran missing = RunAll({kHonest}, options);
  EXPECT_FALSE(missing.status.ok());
  EXPECT_TRUE(missing.results.empty());
  options.worker.program = "/bin/true";
  const Ran wrong = RunAll({kHonest}, options);
  EXPECT_FALSE(wrong.status.ok());
  EXPECT_TRUE(wrong.results.empty());
  ExpectNoChild();
}

TEST(SupervisorTest, StopEndsARunInTheMiddleOfAHang) {
  SupervisorOptions options = Options();
  const auto soon = parley::Deadline::After(absl::Milliseconds(500));
  options.stop = [&] { return soon.Expired(); };
  const int64_t began_ns = parley::MonotonicNowNs();
  const Ran run = RunAll({"h"}, options);
  EXPECT_TRUE(run.status.ok()) << run.status;
  EXPECT_TRUE(run.results.empty());
  EXPECT_LT(parley::MonotonicNowNs() - began_ns, 15'000'000'000);
  ExpectNoChild();
}

}  // namespace
}  // namespace outfuzz

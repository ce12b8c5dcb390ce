// SPDX-License-Identifier: Apache-2.0

// Fuzzes LLVMFuzzerTestOneInput, which is linked with it, out of process: see README.md.
//
// Exit codes: 0 nothing was found; 1 trouble: no seeds to read, no worker to start, a file that
// can't be written, an unknown flag; 2 wrong usage; 3 something was found; 130 interrupted.

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "outfuzz/compare.h"
#include "outfuzz/findings.h"
#include "outfuzz/inputs.h"
#include "outfuzz/interrupt.h"
#include "outfuzz/protocol.h"
#include "outfuzz/supervisor.h"
#include "outfuzz/worker.h"
#include "parley/os/deadline.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

ABSL_FLAG(uint64_t, runs, 0, "stop after so many inputs, seeds included; 0: no limit");
ABSL_FLAG(absl::Duration, time, absl::Seconds(60), "stop after this time; 0: no limit");
ABSL_FLAG(uint64_t, seed, 0, "of the random numbers; the same one gives the same inputs; 0: any");
ABSL_FLAG(uint64_t, first, 0, "start with the input of this number");
ABSL_FLAG(std::string, artifacts, "outfuzz-found", "the folder for inputs that ended a worker");
ABSL_FLAG(absl::Duration, timeout, absl::Seconds(1), "an input that takes longer is a hang");
ABSL_FLAG(uint32_t, max_len, 4096, "no longer inputs than this, in bytes; 1 to 16777216");
ABSL_FLAG(uint32_t, memory_mib, 512, "the worker's address space; 64 to 1048576");
ABSL_FLAG(uint64_t, inputs_per_worker, 100'000,
          "replace the worker after so many, in case one has corrupted it unseen");
ABSL_FLAG(bool, compare, false,
          "measure inputs per second against fork per input, for --time; runs the corpus as it is, "
          "also unconfined, except for what ends a confined worker");

namespace outfuzz {
namespace {

enum ExitCode {
  kExitNothingFound = 0,
  kExitTrouble = 1,
  kExitUsage = 2,
  kExitFound = 3,
  kExitInterrupted = 130,
};

void Say(const std::string& sentence) { std::fprintf(stderr, "outfuzz: %s\n", sentence.c_str()); }

ExitCode Trouble(const absl::Status& status) {
  Say(std::string(status.message()));
  return kExitTrouble;
}

// On a terminal one line that is drawn over and over; elsewhere one line every ten seconds.
class Progress {
 public:
  void Show(const SupervisorStats& stats, const Findings& findings) {
    const int64_t now_ns = parley::MonotonicNowNs();
    if (now_ns - last_ns_ < (on_terminal_ ? kOftenNs : kSeldomNs)) return;
    const double seconds = static_cast<double>(now_ns - began_ns_) / 1e9;
    std::fprintf(stderr, "%s%s%s", on_terminal_ ? "\r\033[K" : "",
                 absl::StrFormat("%d inputs, %.0f per second, %d workers, found %d", stats.inputs,
                                 static_cast<double>(stats.inputs) / seconds, stats.workers,
                                 findings.total())
                     .c_str(),
                 on_terminal_ ? "" : "\n");
    visible_ = on_terminal_;
    last_ns_ = now_ns;
  }
  void Clear() {
    if (visible_) std::fprintf(stderr, "\r\033[K");
    visible_ = false;
  }

 private:
  static constexpr int64_t kOftenNs = 100'000'000;
  static constexpr int64_t kSeldomNs = 10'000'000'000;
  const bool on_terminal_ = ::isatty(STDERR_FILENO) == 1;
  const int64_t began_ns_ = parley::MonotonicNowNs();
  int64_t last_ns_ = began_ns_;
  bool visible_ = false;
};

SupervisorOptions Options() {
  SupervisorOptions options;
  // This program itself: main sends workers to RunWorker.
  options.worker.program = "/proc/self/exe";
  options.worker.arguments = {kWorkerArgument};
  options.worker.timeout = absl::GetFlag(FLAGS_timeout);
  options.worker.max_input_bytes = absl::GetFlag(FLAGS_max_len);
  options.worker.memory_bytes = uint64_t{absl::GetFlag(FLAGS_memory_mib)} << 20;
  options.inputs_per_worker = absl::GetFlag(FLAGS_inputs_per_worker);
  options.stop = Interrupted;
  return options;
}

// What was found, and how to see it again.
std::string Line(const Result& result, uint64_t seed, const std::string& path) {
  std::string line = absl::StrFormat("%s, input %d: %s; %s\n", VerdictName(result.verdict),
                                     result.number, result.cause, path);
  if (result.alone == false) {
    absl::StrAppendFormat(
        &line,
        "  not by this input alone: run what its worker ran by --seed=%d --first=%d --runs=%d\n",
        seed, result.worker_first, result.number - result.worker_first + 1);
  }
  return line;
}

void PrintSummary(const SupervisorStats& stats, const Findings& findings, uint64_t seed,
                  double seconds) {
  std::printf("ran      %s\n",
              absl::StrFormat("%d inputs in %.1f s, %.0f per second, with --seed=%d", stats.inputs,
                              seconds, static_cast<double>(stats.inputs) / seconds, seed)
                  .c_str());
  std::printf("workers  %s\n", absl::StrFormat("%d: %d ended by an input, %d replaced in time",
                                               stats.workers, findings.total(), stats.retired)
                                   .c_str());
  std::string found;
  for (const Verdict verdict :
       {Verdict::kCrash, Verdict::kHang, Verdict::kViolation, Verdict::kHostile}) {
    absl::StrAppend(&found, VerdictName(verdict), " ", findings.count(verdict), ", ");
  }
  std::printf("found    %s%s\n", found.c_str(), absl::StrCat(findings.saved(), " saved").c_str());
}

ExitCode Fuzz(const Inputs& inputs, uint64_t seed) {
  const absl::Duration time = absl::GetFlag(FLAGS_time);
  const auto deadline =
      parley::Deadline::After(time == absl::ZeroDuration() ? absl::Hours(24 * 3650) : time);
  const uint64_t runs = absl::GetFlag(FLAGS_runs);
  const uint64_t first = absl::GetFlag(FLAGS_first);
  Findings findings(absl::GetFlag(FLAGS_artifacts));
  Progress progress;
  SupervisorOptions options = Options();
  options.rerun = [&](const Result& result) { return findings.Wants(result); };
  options.stop = [&] { return Interrupted() || deadline.Expired(); };
  Supervisor supervisor(std::move(options));
  const int64_t began_ns = parley::MonotonicNowNs();
  const absl::Status status = supervisor.Run(
      first,
      [&](uint64_t number) -> std::optional<Input> {
        if (runs != 0 && number - first >= runs) return std::nullopt;
        return inputs.Get(number);
      },
      [&](const Result& result, const Input& input) {
        if (result.verdict != Verdict::kOk) {
          const auto path = findings.Add(result, input);
          if (!path.ok()) return path.status();
          progress.Clear();
          if (!path->empty()) std::printf("%s", Line(result, seed, *path).c_str());
          std::fflush(stdout);
        }
        progress.Show(supervisor.stats(), findings);
        return absl::OkStatus();
      });
  progress.Clear();
  PrintSummary(supervisor.stats(), findings, seed,
               static_cast<double>(parley::MonotonicNowNs() - began_ns) / 1e9);
  if (!status.ok()) return Trouble(status);
  if (Interrupted()) return kExitInterrupted;
  return findings.total() == 0 ? kExitNothingFound : kExitFound;
}

ExitCode CompareWays(const Inputs& inputs, const SupervisorOptions& options) {
  std::vector<Input> harmless;
  Supervisor supervisor(options);
  const absl::Status status = supervisor.Run(
      0,
      [&](uint64_t number) -> std::optional<Input> {
        if (number == inputs.seed_count()) return std::nullopt;
        return inputs.Get(number);
      },
      [&](const Result& result, const Input& input) {
        if (result.verdict == Verdict::kOk) harmless.push_back(input);
        return absl::OkStatus();
      });
  if (!status.ok()) return Trouble(status);
  if (Interrupted()) return kExitInterrupted;
  if (harmless.empty()) return Trouble(absl::NotFoundError("each of these inputs ends a worker"));
  const auto rows = Compare(
      options, harmless, absl::GetFlag(FLAGS_time),
      [](absl::Span<const uint8_t> input) { LLVMFuzzerTestOneInput(input.data(), input.size()); });
  if (absl::IsCancelled(rows.status())) return kExitInterrupted;
  if (!rows.ok()) return Trouble(rows.status());
  std::printf("%d inputs, over and over\n%s", static_cast<int>(harmless.size()),
              CompareTable(*rows).c_str());
  return kExitNothingFound;
}

bool FlagsAreSound() {
  const auto within = [](uint64_t value, uint64_t least, uint64_t most) {
    return value >= least && value <= most;
  };
  return within(absl::GetFlag(FLAGS_max_len), 1, 1 << 24) &&
         within(absl::GetFlag(FLAGS_memory_mib), 64, 1 << 20) &&
         absl::GetFlag(FLAGS_inputs_per_worker) > 0 &&
         absl::GetFlag(FLAGS_timeout) >= absl::Milliseconds(1) &&
         absl::GetFlag(FLAGS_timeout) <= absl::Hours(24) &&
         absl::GetFlag(FLAGS_time) >= absl::ZeroDuration() &&
         (!absl::GetFlag(FLAGS_compare) || absl::GetFlag(FLAGS_time) > absl::ZeroDuration()) &&
         !absl::GetFlag(FLAGS_artifacts).empty();
}

ExitCode Main(const std::vector<std::string>& paths) {
  auto seeds = ReadSeeds(paths, absl::GetFlag(FLAGS_max_len));
  if (!seeds.ok()) return Trouble(seeds.status());
  uint64_t seed = absl::GetFlag(FLAGS_seed);
  while (seed == 0) {
    if (::getentropy(&seed, sizeof(seed)) != 0) seed = 1;
  }
  const Inputs inputs(*std::move(seeds), seed, absl::GetFlag(FLAGS_max_len));
  CatchInterrupts();
  if (absl::GetFlag(FLAGS_compare)) return CompareWays(inputs, Options());
  return Fuzz(inputs, seed);
}

}  // namespace
}  // namespace outfuzz

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == outfuzz::kWorkerArgument) {
    return outfuzz::RunWorker([](absl::Span<const uint8_t> input, parley::Channel&) {
      LLVMFuzzerTestOneInput(input.data(), input.size());
    });
  }
  // Whatever the program is called, --help shows the flags of this file.
  absl::FlagsUsageConfig config;
  config.contains_help_flags = [](absl::string_view file) {
    return absl::EndsWith(file, "outfuzz/main.cc");
  };
  absl::SetFlagsUsageConfig(config);
  absl::SetProgramUsageMessage(
      "fuzzes a target in a confined worker\n\n"
      "  PROGRAM [--runs=N] [--time=60s] [--seed=N] [--artifacts=FOLDER] CORPUS...\n"
      "  PROGRAM --runs=1 FILE                    one input once, to see it again\n"
      "  PROGRAM --compare [--time=60s] CORPUS... inputs per second against fork per input\n\n"
      "CORPUS: folders or files, run as they are first, and then mutated.\n"
      "Exit codes: 0 nothing found, 1 trouble, 2 wrong usage, 3 found something, 130 interrupted.");
  const std::vector<char*> arguments = absl::ParseCommandLine(argc, argv);
  if (arguments.size() < 2) {
    outfuzz::Say("give me a corpus folder, or --help");
    return outfuzz::kExitUsage;
  }
  if (!outfuzz::FlagsAreSound()) {
    outfuzz::Say("a flag is out of its range; see --help");
    return outfuzz::kExitUsage;
  }
  return outfuzz::Main(std::vector<std::string>(arguments.begin() + 1, arguments.end()));
}

// SPDX-License-Identifier: Apache-2.0

// What namespaces add to the start of a worker: from Spawn to the end of its LockDown, and its end.
//
//   start_cost [ROUNDS] [MIB]   with and without by turns, ROUNDS times each (default 300); MIB of
//                               memory that this process has touched before (default 0)
//   start_cost --ratio [MIB]    whether memory that this process has touched (default 1024) makes a
//                               worker's start longer, beside a plain fork, where it must. Exit
//                               code 1: it adds more than a tenth of what it adds to a fork, or a
//                               fork does not take kMinForkRatio times as long, and shows nothing
//
// Both columns are of one run, since the machine's own mood changes from run to run.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/spawn.h"
#include "parley/sandbox/testing_spawn.h"

namespace parley {
namespace {

struct Times {
  std::vector<double> spawn_us;      // Spawn alone
  std::vector<double> lock_down_us;  // from Spawn to confined
  std::vector<double> end_us;        // the destructor
};

double MicrosecondsSince(int64_t start_ns) {
  return static_cast<double>(MonotonicNowNs() - start_ns) / 1e3;
}

bool Measure(NamespaceOptions::Use use, Times& times, std::string& wall) {
  UniqueFd replies;
  SpawnOptions options = testing::WorkerOptions({"lock_down"}, replies);
  options.namespaces.use = use;
  const int64_t start_ns = MonotonicNowNs();
  absl::StatusOr<Worker> worker = Spawn(std::move(options));
  const double spawn_us = MicrosecondsSince(start_ns);
  if (!worker.ok() || testing::NextReply(replies.get()) != "confined") {
    std::fprintf(stderr, "the worker did not start: %s\n",
                 std::string(worker.status().message()).c_str());
    return false;
  }
  times.spawn_us.push_back(spawn_us);
  times.lock_down_us.push_back(MicrosecondsSince(start_ns));
  wall = worker->second_wall().ToString();
  const int64_t end_ns = MonotonicNowNs();
  {
    const Worker last = *std::move(worker);
  }
  times.end_us.push_back(MicrosecondsSince(end_ns));
  return true;
}

double Quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
}

int Run(int rounds, size_t touched_mib) {
  const std::vector<char> touched(touched_mib << 20, 1);
  Times with;
  Times without;
  std::string wall;
  std::string no_wall;
  for (int i = 0; i < rounds; ++i) {
    if (!Measure(NamespaceOptions::Use::kNone, without, no_wall)) return 1;
    if (!Measure(NamespaceOptions::Use::kWhereAvailable, with, wall)) return 1;
  }
  std::printf("%d workers each, %zu MiB touched; %s\n", rounds, touched.size() >> 20, wall.c_str());
  // The fastest tenth is what it costs; the rest is what else the machine had to do.
  std::printf("%-24s %21s %21s %15s\n", "us: 1, 5, 9 of 10", "without", "with", "more (1, 5)");
  const auto row = [](const char* name, const std::vector<double>& before,
                      const std::vector<double>& after) {
    std::printf("%-24s %6.0f %6.0f %7.0f %6.0f %6.0f %7.0f %7.0f %7.0f\n", name,
                Quantile(before, 0.1), Quantile(before, 0.5), Quantile(before, 0.9),
                Quantile(after, 0.1), Quantile(after, 0.5), Quantile(after, 0.9),
                Quantile(after, 0.1) - Quantile(before, 0.1),
                Quantile(after, 0.5) - Quantile(before, 0.5));
  };
  row("Spawn", without.spawn_us, with.spawn_us);
  row("Spawn to lock-down", without.lock_down_us, with.lock_down_us);
  row("kill and reap", without.end_us, with.end_us);
  return 0;
}

constexpr double kMaxShare = 0.1;
constexpr double kMinForkRatio = 3;
constexpr int kBlocks = 8;
constexpr int kRoundsInBlock = 10;

// Of a process that ends at once.
double ForkUs() {
  const int64_t start_ns = MonotonicNowNs();
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  int status = 0;
  static_cast<void>(::waitpid(pid, &status, 0));
  return MicrosecondsSince(start_ns);
}

struct Costs {
  Times with;
  Times without;
  std::vector<double> fork_us;
};

// Without and with touched memory by turns, in blocks, since touching takes long.
int Ratio(size_t touched_mib) {
  Costs small;
  Costs large;
  std::string wall;
  std::string no_wall;
  for (int block = 0; block < kBlocks; ++block) {
    Costs& costs = block % 2 == 0 ? small : large;
    const std::vector<char> touched(block % 2 == 0 ? 0 : touched_mib << 20, 1);
    for (int i = 0; i < kRoundsInBlock; ++i) {
      if (!Measure(NamespaceOptions::Use::kNone, costs.without, no_wall)) return 1;
      if (!Measure(NamespaceOptions::Use::kWhereAvailable, costs.with, wall)) return 1;
      costs.fork_us.push_back(ForkUs());
    }
  }
  std::printf("%d workers each; %s\n", kBlocks / 2 * kRoundsInBlock, wall.c_str());
  std::printf("%-32s %15s %9zu MiB %15s\n", "us: 1, 5 of 10", "0 MiB", touched_mib, "ratio (1, 5)");
  const auto row = [](const char* name, const std::vector<double>& before,
                      const std::vector<double>& after) {
    std::printf("%-32s %7.0f %7.0f %7.0f %7.0f %7.2f %7.2f\n", name, Quantile(before, 0.1),
                Quantile(before, 0.5), Quantile(after, 0.1), Quantile(after, 0.5),
                Quantile(after, 0.1) / Quantile(before, 0.1),
                Quantile(after, 0.5) / Quantile(before, 0.5));
    return Quantile(after, 0.5) - Quantile(before, 0.5);
  };
  const double fork = row("fork and reap, for comparison", small.fork_us, large.fork_us);
  const double without =
      row("Spawn, no namespaces", small.without.spawn_us, large.without.spawn_us);
  const double with = row("Spawn, namespaces", small.with.spawn_us, large.with.spawn_us);
  row("to lock-down, no namespaces", small.without.lock_down_us, large.without.lock_down_us);
  row("to lock-down, namespaces", small.with.lock_down_us, large.with.lock_down_us);
  const bool shown = fork > (kMinForkRatio - 1) * Quantile(small.fork_us, 0.5);
  return shown && without <= kMaxShare * fork && with <= kMaxShare * fork ? 0 : 1;
}

}  // namespace
}  // namespace parley

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--ratio") == 0) {
    return parley::Ratio(argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 1024);
  }
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 300;  // NOLINT(cert-err34-c)
  const size_t mib = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 0;
  return rounds > 0 ? parley::Run(rounds, mib) : 2;
}

// SPDX-License-Identifier: Apache-2.0

// A host with a pool, for a test that kills it in the middle or presses Ctrl-C: prints "ready" when
// two jobs run and four wait.

#include <signal.h>

#include <atomic>
#include <cstdio>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "parley/os/deadline.h"
#include "parley/supervise/pool.h"

namespace {

std::atomic<bool> interrupted{false};

}  // namespace

int main(int, char** argv) {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted.store(true); };
  ::sigaction(SIGINT, &action, nullptr);
  parley::PoolOptions options;
  options.program.path = argv[1];
  options.workers = 2;
  auto pool = parley::Pool::Start(std::move(options));
  if (!pool.ok()) return 1;
  std::vector<parley::PoolJob> jobs;
  for (int i = 0; i < 6; ++i) {
    parley::JobOptions job;
    job.request = "hang";
    auto submitted = (*pool)->Submit(std::move(job), parley::Deadline::Never());
    if (!submitted.ok()) return 2;
    jobs.push_back(*std::move(submitted));
  }
  while ((*pool)->stats().cloned + (*pool)->stats().spawned < 2) {
    absl::SleepFor(absl::Milliseconds(2));
  }
  std::printf("ready\n");
  std::fflush(stdout);
  while (!interrupted.load()) absl::SleepFor(absl::Milliseconds(2));
  // As a program ends in order at Ctrl-C.
  (*pool)->CancelAll();
  int cancelled = 0;
  for (const parley::PoolJob& job : jobs) {
    cancelled += job.Wait().outcome == parley::JobResult::Outcome::kCancelled ? 1 : 0;
  }
  pool->reset();
  std::printf("cancelled %d\n", cancelled);
  return 0;
}

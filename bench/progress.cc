// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "absl/time/clock.h"

namespace parley::bench {
namespace {

std::string MinutesAndSeconds(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration);
  std::string rest = std::to_string(seconds % 60);
  if (rest.size() == 1) rest.insert(0, 1, '0');
  return std::to_string(seconds / 60) + ":" + rest;
}

}  // namespace

Progress::Progress(std::size_t steps)
    : steps_(steps), for_a_person_(::isatty(STDERR_FILENO) != 0), began_(absl::Now()) {}

Progress::~Progress() {
  if (for_a_person_) std::fprintf(stderr, "\r\x1b[K");
}

absl::Duration Progress::Elapsed() const { return absl::Now() - began_; }

void Progress::Begin(const std::string& what) {
  const absl::Time now = absl::Now();
  if (now - shown_ < (for_a_person_ ? absl::Milliseconds(100) : absl::Seconds(10))) return;
  shown_ = now;
  std::string left = "?";
  if (done_ >= 10) {
    const auto rest = static_cast<double>(std::max(steps_, done_) - done_);
    left = MinutesAndSeconds(Elapsed() * (rest / static_cast<double>(done_)));
  }
  std::fprintf(
      stderr, "%s%3zu %% of %zu samples, %s gone, %s left: %.60s%s",
      for_a_person_ ? "\r\x1b[K" : "bench: ", 100 * done_ / std::max<std::size_t>(steps_, 1),
      steps_, MinutesAndSeconds(Elapsed()).c_str(), left.c_str(), what.c_str(),
      for_a_person_ ? "" : "\n");
  std::fflush(stderr);
}

}  // namespace parley::bench

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_PROGRESS_H_
#define PARLEY_BENCH_PROGRESS_H_

// How far a run is and how long it will still take, on standard error: one line that changes for a
// person, a line each ten seconds for a log.
//
// Threads: one at a time.

#include <cstddef>
#include <string>

#include "absl/time/time.h"

namespace parley::bench {

class Progress {
 public:
  explicit Progress(std::size_t steps);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  void AddSteps(std::size_t steps) { steps_ += steps; }
  // One step begins.
  void Begin(const std::string& what);
  void End() { ++done_; }
  absl::Duration Elapsed() const;

 private:
  std::size_t steps_;
  std::size_t done_ = 0;
  const bool for_a_person_;
  const absl::Time began_;
  absl::Time shown_ = absl::InfinitePast();
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_PROGRESS_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_RUN_H_
#define PARLEY_BENCH_RUN_H_

// A whole run: which samples, in which order, and what is kept of them.
//
// All rows of a cell are measured one after the other, and all cells again in the next pass: what
// the machine does meanwhile hits all rows alike, and a row's samples lie far apart in time.
//
// Threads: one at a time.

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "parley/bench/cell.h"
#include "parley/bench/regime.h"
#include "parley/bench/row.h"
#include "parley/bench/sample.h"

namespace parley::bench {

struct RunOptions {
  bool quick = false;
  int passes = 5;
  SampleTimes times;
  std::vector<std::size_t> sizes;      // with the two ends apart
  std::vector<std::size_t> few_sizes;  // with other placements
  std::vector<Placement> placements;
  std::size_t queue_bytes = 0;  // of every transport that can be told; 0: DefaultQueueBytes
  std::vector<Direction> directions = {Direction::kOneWay, Direction::kRoundTrip};
  // Samples of a row in a cell that belong to the run's largest regime: with fewer it is measured
  // again at the end, within `longest_again` of the time so far.
  int wanted_in_regime = 3;
  double longest_again = 0.5;
  bool count_system_calls = true;
};

// What `./dev bench` and `./dev bench --quick` do.
RunOptions FullRun();
RunOptions QuickRun();

struct Missing {  // a cell that a row does not have, or all of them
  std::size_t row = 0;
  bool whole_row = false;
  Cell cell;
  std::string why;
  bool failed = false;  // it should have worked
};

struct CallCount {
  std::size_t row = 0;
  Cell cell;
  std::array<double, 2> per_message = {};
};

struct RunResult {
  std::vector<Sample> samples;
  Regimes regimes;  // of the samples with both ends on processors of their own, or unpinned
  std::vector<Missing> missing;
  std::vector<CallCount> calls;
  absl::Duration took;
  bool interrupted = false;
};

// Tells on standard error how far it is.
RunResult RunAll(const std::vector<Row>& rows, const RunOptions& options);

// Everything that was measured, for bench/report.py and others.
std::string ToJson(const std::vector<Row>& rows, const RunOptions& options, const RunResult& result,
                   const std::string& commit);

}  // namespace parley::bench

#endif  // PARLEY_BENCH_RUN_H_

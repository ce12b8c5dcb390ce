// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_COMPARE_H_
#define PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_COMPARE_H_

// How many inputs a second each way of running them takes: what a worker that lives on is worth.
// All ways in turn, several rounds, in one run; the machine's noise is shared.
//
// Trust: two of the ways run inputs in a fork of this process, one of them without confinement: for
// inputs that a confined worker has survived.
// Threads: one; the process must have no other (it forks).

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "outfuzz/supervisor.h"

namespace outfuzz {

struct CompareRow {
  std::string way;
  uint64_t inputs = 0;
  double per_second = 0;   // median of the rounds
  double cpu_us_each = 0;  // of this process and its children
};

// kCancelled if `options.stop` said so.
absl::StatusOr<std::vector<CompareRow>> Compare(
    const SupervisorOptions& options, const std::vector<Input>& inputs, absl::Duration time,
    const std::function<void(absl::Span<const uint8_t>)>& target);

// Ratios are to the second row, fork per input. On a busy machine the processor time says more than
// the clock, which counts the waiting for a processor as well.
std::string CompareTable(const std::vector<CompareRow>& rows);

}  // namespace outfuzz

#endif  // PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_COMPARE_H_

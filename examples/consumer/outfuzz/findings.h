// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_FINDINGS_H_
#define PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_FINDINGS_H_

// What was found: the inputs, saved to files, and counts.
//
// Trust: a hostile worker can end for many reasons; files and causes that are kept have a limit.
// Threads: one.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "outfuzz/supervisor.h"

namespace outfuzz {

class Findings {
 public:
  // `folder` is made when the first finding is saved.
  explicit Findings(std::string folder) : folder_(std::move(folder)) {}

  // Whether this one would be saved: one of the first few of its verdict and cause.
  bool Wants(const Result& result) const;
  // Counts it, and saves the input if it is wanted. The file, `FOLDER/crash-0123456789abcdef` by
  // its content, or empty.
  absl::StatusOr<std::string> Add(const Result& result, const Input& input);

  uint64_t total() const { return total_; }
  uint64_t saved() const { return saved_; }
  uint64_t count(Verdict verdict) const;

 private:
  std::string folder_;
  std::map<std::string, uint64_t> by_cause_;
  std::map<Verdict, uint64_t> by_verdict_;
  uint64_t total_ = 0;
  uint64_t saved_ = 0;
};

}  // namespace outfuzz

#endif  // PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_FINDINGS_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_INPUTS_H_
#define PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_INPUTS_H_

// Where inputs come from: the seeds as they are, then mutations of them. Input `n` depends on the
// seeds, the random seed and `n` alone, so that a worker's whole life can be run again.
//
// Blind: nothing is learnt from a run. Coverage guidance is libFuzzer's job, which runs the same
// target inside its own process; what it has collected makes good seeds.
//
// Threads: a value; any.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace outfuzz {

// splitmix64: small, and good enough to throw dice with.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next();
  // 0 to n-1; n is not 0.
  uint64_t Below(uint64_t n) { return Next() % n; }

 private:
  uint64_t state_;
};

// A few random changes: bits, bytes, numbers at their limits, blocks removed, repeated and moved,
// and pieces of `other`. At most `max_bytes` come out.
std::vector<uint8_t> Mutated(std::vector<uint8_t> bytes, const std::vector<uint8_t>& other,
                             uint32_t max_bytes, Random& random);

class Inputs {
 public:
  // No seeds: one that is empty.
  Inputs(std::vector<std::vector<uint8_t>> seeds, uint64_t random_seed, uint32_t max_bytes);

  std::vector<uint8_t> Get(uint64_t number) const;
  uint64_t seed_count() const { return seeds_.size(); }

 private:
  std::vector<std::vector<uint8_t>> seeds_;
  uint64_t random_seed_;
  uint32_t max_bytes_;
};

// The content of the files named, and of the files in the folders named, in order of their names.
// Errors name the file: one that can't be read, or is longer than `max_bytes`.
absl::StatusOr<std::vector<std::vector<uint8_t>>> ReadSeeds(const std::vector<std::string>& paths,
                                                            uint32_t max_bytes);

}  // namespace outfuzz

#endif  // PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_INPUTS_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_PROTOCOL_H_
#define PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_PROTOCOL_H_

// What the supervisor and its worker say to each other.
//
//   supervisor -> worker   kInput    number (8 bytes), then the input
//   worker -> supervisor   kRan      number: the target returned from that input
//
// Inputs are numbered, several are on their way at once, and they are answered in order. So if the
// worker ends, the oldest one without an answer is what it was running.

#include <cstdint>

namespace outfuzz {

inline constexpr uint32_t kInputTag = 1;
inline constexpr uint32_t kRanTag = 3;
inline constexpr uint32_t kNumberBytes = 8;

// The only argument of a program that is to be a worker.
inline constexpr char kWorkerArgument[] = "--outfuzz-worker";

}  // namespace outfuzz

#endif  // PARLEY_EXAMPLES_CONSUMER_OUTFUZZ_PROTOCOL_H_

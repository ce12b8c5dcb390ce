// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_PAYLOAD_H_
#define PARLEY_BENCH_PAYLOAD_H_

// The bytes of a message: every word is written by one end and read by the other, and what was read
// is checked.
//
// A message is a run of 64-bit words that count up from a number of its own, so that filling it is
// one store per word and checking it one addition, both in vector registers. What the two cost
// alone is a row of each run ("fill and sum"). A digest over the sums, in order, finds a message
// that is lost, doubled, out of order or torn.
//
// Threads: functions of their arguments.

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace parley::bench {

// Messages up to here are handled inline, with a length that the compiler may know.
inline constexpr std::size_t kShortBytes = 64;

// The first word of message `number`.
constexpr uint64_t FirstWord(uint64_t number) { return (number + 1) * 0x9E37'79B9'7F4A'7C15; }

namespace internal {
void FillLong(std::byte* to, std::size_t bytes, uint64_t first);
uint64_t SumLong(const std::byte* from, std::size_t bytes);

// Of exactly kShortBytes, the size that most is said about: in the vectors that each processor of
// the kind has, since a loop over words would cost as much as the queues that are measured.
using Pair = uint64_t __attribute__((vector_size(16)));

inline void FillShort(std::byte* to, uint64_t first) {
  Pair words = {first, first + 1};
  for (std::size_t at = 0; at < kShortBytes; at += sizeof(words)) {
    std::memcpy(to + at, &words, sizeof(words));
    words += 2;
  }
}

inline uint64_t SumShort(const std::byte* from) {
  Pair sum = {};
  for (std::size_t at = 0; at < kShortBytes; at += sizeof(sum)) {
    Pair words;
    std::memcpy(&words, from + at, sizeof(words));
    sum += words;
  }
  return sum[0] + sum[1];
}
}  // namespace internal

// Writes the words first, first + 1, ... `bytes` is a multiple of 8.
inline void FillWords(std::byte* to, std::size_t bytes, uint64_t first) {
  if (bytes > kShortBytes) return internal::FillLong(to, bytes, first);
  if (bytes == kShortBytes) return internal::FillShort(to, first);
  for (std::size_t at = 0; at < bytes; at += 8) {
    std::memcpy(to + at, &first, 8);
    ++first;
  }
}

// Reads every word once. `bytes` is a multiple of 8.
inline uint64_t SumWords(const std::byte* from, std::size_t bytes) {
  if (bytes > kShortBytes) return internal::SumLong(from, bytes);
  if (bytes == kShortBytes) return internal::SumShort(from);
  uint64_t sum = 0;
  for (std::size_t at = 0; at < bytes; at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, from + at, 8);
    sum += word;
  }
  return sum;
}

// What SumWords gives for a message that arrived unharmed.
constexpr uint64_t ExpectedSum(std::size_t bytes, uint64_t first) {
  const uint64_t words = bytes / 8;
  return words * first + words * (words - 1) / 2;
}

class Digest {
 public:
  void Add(uint64_t sum) { value_ = value_ * 31 + sum; }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0;
};

// Of the messages first_number, first_number + 1, ...
inline uint64_t ExpectedDigest(uint64_t first_number, uint64_t count, std::size_t bytes) {
  Digest digest;
  for (uint64_t i = 0; i < count; ++i) digest.Add(ExpectedSum(bytes, FirstWord(first_number + i)));
  return digest.value();
}

}  // namespace parley::bench

#endif  // PARLEY_BENCH_PAYLOAD_H_

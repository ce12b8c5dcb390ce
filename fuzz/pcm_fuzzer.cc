// SPDX-License-Identifier: Apache-2.0

// Attacks the conversions of media/pcm.h with samples of any bit pattern, at any alignment. The
// model looks at sign, exponent and fraction as integers, and computes in double.
//
// Input: alignment and limit, then the samples.

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/types/span.h"
#include "parley/media/pcm.h"
#include "parley/os/check.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

struct Bits {
  explicit Bits(uint32_t word)
      : negative(word >> 31 != 0), exponent(word >> 23 & 0xff), fraction(word & 0x7fffff) {}
  bool is_nan() const { return exponent == 255 && fraction != 0; }
  bool is_infinite() const { return exponent == 255 && fraction == 0; }
  bool is_subnormal() const { return exponent == 0 && fraction != 0; }
  // Of any but NaN and infinity.
  double value() const {
    const double size = exponent == 0
                            ? std::ldexp(fraction, -149)
                            : std::ldexp(fraction | 0x800000u, static_cast<int>(exponent) - 150);
    return negative ? -size : size;
  }

  bool negative;
  uint32_t exponent;
  uint32_t fraction;
};

uint32_t Sanitised(uint32_t word, float limit) {
  const Bits bits(word);
  if (bits.is_nan() || bits.is_subnormal()) return 0;
  if (bits.is_infinite() || std::fabs(bits.value()) > double{limit}) {
    return std::bit_cast<uint32_t>(bits.negative ? -limit : limit);
  }
  return word;
}

int Converted(uint32_t word) {
  const Bits bits(word);
  if (bits.is_nan()) return 0;
  if (bits.is_infinite()) return bits.negative ? -32768 : 32767;
  const double scaled = bits.value() * 32768;
  if (scaled >= 32767) return 32767;
  if (scaled <= -32768) return -32768;
  // Halves away from zero, written down and not taken from the library that is compared with.
  // NOLINTNEXTLINE(bugprone-incorrect-roundings)
  return scaled < 0 ? -static_cast<int>(0.5 - scaled) : static_cast<int>(0.5 + scaled);
}

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fuzz = parley::fuzz;
  parley::testing::Script script(data, size);
  const uint8_t bits = script.Take8();
  // 1, 8, or any that is a normal number above zero.
  float limit = (bits & 4) != 0 ? 8.0f : 1.0f;
  if ((bits & 8) != 0) {
    const auto any = std::bit_cast<float>(script.Take32() & 0x7fff'ffff);
    if (std::isnormal(any)) limit = any;
  }
  std::vector<std::byte> bytes(bits & 3);
  const std::size_t from = bytes.size();
  for (const std::byte b : script.TakeBytes(script.left())) bytes.push_back(b);

  const std::vector<std::byte> before = bytes;
  const std::size_t changed = parley::SanitizeF32(absl::MakeSpan(bytes).subspan(from), limit);
  std::size_t expected_changed = 0;
  std::size_t at = from;
  for (; bytes.size() - at >= 4; at += 4) {
    uint32_t old_word = 0;
    uint32_t new_word = 0;
    std::memcpy(&old_word, &before[at], 4);
    std::memcpy(&new_word, &bytes[at], 4);
    PARLEY_CHECK(new_word == fuzz::Sanitised(old_word, limit), "another sample than the model's");
    expected_changed += new_word != old_word;
    PARLEY_CHECK(parley::S16FromF32(std::bit_cast<float>(old_word)) == fuzz::Converted(old_word),
                 "another conversion than the model's");
  }
  PARLEY_CHECK(changed == expected_changed, "another number of changes");
  for (std::size_t i = 0; i < from; ++i) PARLEY_CHECK(bytes[i] == before[i], "before the samples");
  for (; at < bytes.size(); ++at) PARLEY_CHECK(bytes[at] == before[at], "behind the samples");
  return 0;
}

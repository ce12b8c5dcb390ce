// SPDX-License-Identifier: Apache-2.0
#include "parley/media/pcm.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace parley {
namespace {

// Of a 32-bit float. All zeros in the first: a zero or subnormal; all ones: infinite or NaN.
constexpr uint32_t kExponent = 0x7f80'0000;
constexpr uint32_t kFraction = 0x007f'ffff;

}  // namespace

size_t SanitizeF32(absl::Span<std::byte> samples, float limit) {
  size_t changed = 0;
  for (size_t at = 0; at + sizeof(float) <= samples.size(); at += sizeof(float)) {
    float sample;
    std::memcpy(&sample, samples.data() + at, sizeof(sample));
    // By its bits: where the processor takes subnormals for zeros, as audio threads have it, every
    // comparison says that it is one.
    const auto bits = std::bit_cast<uint32_t>(sample);
    const uint32_t exponent = bits & kExponent;
    const bool has_fraction = (bits & kFraction) != 0;
    const bool plays = !has_fraction || (exponent != 0 && exponent != kExponent);
    const float clean = plays ? std::clamp(sample, -limit, limit) : 0.0f;
    if (std::bit_cast<uint32_t>(clean) == bits) continue;
    std::memcpy(samples.data() + at, &clean, sizeof(clean));
    ++changed;
  }
  return changed;
}

int16_t S16FromF32(float sample) {
  if (std::isnan(sample)) return 0;
  const float scaled = std::round(std::clamp(sample, -1.0f, 1.0f) * 32768.0f);
  return static_cast<int16_t>(std::min(scaled, 32767.0f));
}

}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include "parley/media/pcm.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace parley {

size_t SanitizeF32(absl::Span<std::byte> samples, float limit) {
  size_t changed = 0;
  for (size_t at = 0; at + sizeof(float) <= samples.size(); at += sizeof(float)) {
    float sample;
    std::memcpy(&sample, samples.data() + at, sizeof(sample));
    float clean = sample;
    switch (std::fpclassify(sample)) {
      case FP_NAN:
      case FP_SUBNORMAL:
        clean = 0.0f;
        break;
      default:
        clean = std::clamp(sample, -limit, limit);
    }
    if (std::bit_cast<uint32_t>(clean) == std::bit_cast<uint32_t>(sample)) continue;
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

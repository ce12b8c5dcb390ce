// SPDX-License-Identifier: Apache-2.0
#include "parley/media/pcm.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/wire_copy.h"

namespace parley {
namespace {

using Limits = std::numeric_limits<float>;

TEST(PcmTest, HostileFloatsBecomePlayable) {
  const std::vector<std::pair<float, float>> cases = {
      {0.5f, 0.5f},
      {-1.0f, -1.0f},
      {1.5f, 1.0f},
      {-1e9f, -1.0f},
      {Limits::infinity(), 1},
      {-Limits::infinity(), -1},
      {Limits::quiet_NaN(), 0},
      {Limits::signaling_NaN(), 0},
      {Limits::denorm_min(), 0},
      {Limits::max(), 1},
  };
  for (const auto& [sample, expected] : cases) {
    // Unaligned on purpose: payload bytes come as they come.
    std::array<std::byte, 5> bytes;
    std::memcpy(bytes.data() + 1, &sample, sizeof(sample));
    const size_t changed = SanitizeF32(absl::MakeSpan(bytes).subspan(1), 1.0f);
    float clean;
    std::memcpy(&clean, bytes.data() + 1, sizeof(clean));
    EXPECT_EQ(clean, expected) << sample;
    EXPECT_EQ(changed, std::isnan(sample) || sample != expected ? 1u : 0u) << sample;
  }
}

TEST(PcmTest, EachSampleIsChangedInItsPlace) {
  const std::vector<float> samples = {0.5f, 2.0f, -0.25f, -3.0f, 1.0f};
  std::vector<std::byte> bytes(samples.size() * sizeof(float));
  std::memcpy(bytes.data(), samples.data(), bytes.size());
  EXPECT_EQ(SanitizeF32(absl::MakeSpan(bytes), 1.0f), 2u);
  std::vector<float> clean(samples.size());
  std::memcpy(clean.data(), bytes.data(), bytes.size());
  EXPECT_EQ(clean, (std::vector<float>{0.5f, 1.0f, -0.25f, -1.0f, 1.0f}));
}

TEST(PcmTest, ATrailingPartIsLeftAlone) {
  std::array<std::byte, 7> bytes;
  bytes.fill(std::byte{0xff});
  EXPECT_EQ(SanitizeF32(absl::MakeSpan(bytes), 1.0f), 1u);
  EXPECT_EQ(bytes[3], std::byte{0});
  EXPECT_EQ(bytes[4], std::byte{0xff});
}

TEST(PcmTest, ConversionSaturates) {
  EXPECT_EQ(S16FromF32(0.0f), 0);
  EXPECT_EQ(S16FromF32(0.5f), 16384);
  EXPECT_EQ(S16FromF32(1.0f), 32767);
  EXPECT_EQ(S16FromF32(-1.0f), -32768);
  EXPECT_EQ(S16FromF32(Limits::max()), 32767);
  EXPECT_EQ(S16FromF32(-Limits::infinity()), -32768);
  EXPECT_EQ(S16FromF32(Limits::quiet_NaN()), 0);
}

#if defined(__x86_64__)
// As audio threads set the processor: subnormals are zeros to each comparison.
TEST(PcmTest, ASubnormalIsOneWhereTheProcessorTakesItForZero) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);  // flush to zero, denormals are zero
  uint32_t bits = 1;
  const size_t repaired = SanitizeF32(WritableBytesOfWire(absl::MakeSpan(&bits, 1)), 1.0f);
  _mm_setcsr(before);
  EXPECT_EQ(repaired, 1u);
  EXPECT_EQ(bits, 0u);
}
#endif

}  // namespace
}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/call/mouth.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/cli/wav.h"
#include "parley/media/format.h"

namespace parley::call {
namespace {

std::vector<std::byte> Wav(SampleFormat format, uint32_t channels, uint32_t rate_hz,
                           const std::vector<std::byte>& data) {
  cli::WavStream wav;
  wav.format.sample_format = format;
  wav.format.channels = channels;
  wav.format.rate_hz = rate_hz;
  wav.file_sample_bytes = BytesPerSample(format);
  std::vector<std::byte> bytes = cli::WavHeader(wav);
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

template <typename T>
std::vector<std::byte> Bytes(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

TEST(MouthTest, AWavIsSaidToItsEndAndThenSilence) {
  // The last frame is not whole.
  auto stereo =
      Mouth::OfWav(Wav(SampleFormat::kS16, 2, 48'000, Bytes<int16_t>({16384, 1, -32768, 2, 7})));
  ASSERT_TRUE(stereo.ok()) << stereo.status();
  EXPECT_EQ(stereo->Next(), 0.5f);
  EXPECT_EQ(stereo->Next(), -1.0f);
  EXPECT_EQ(stereo->Next(), 0.0f);
  auto mono = Mouth::OfWav(Wav(SampleFormat::kF32, 1, 48'000, Bytes<float>({0.25f})));
  ASSERT_TRUE(mono.ok()) << mono.status();
  EXPECT_EQ(mono->Next(), 0.25f);
  EXPECT_EQ(mono->Next(), 0.0f);
}

TEST(MouthTest, WhatItCannotSayIsRefused) {
  EXPECT_EQ(Mouth::OfWav(Wav(SampleFormat::kS16, 1, 44'100, {})).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Mouth::OfWav(Wav(SampleFormat::kF64, 1, 48'000, {})).status().code(),
            absl::StatusCode::kInvalidArgument);
  const std::vector<std::byte> whole = Wav(SampleFormat::kS16, 1, 48'000, {});
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto part = absl::MakeConstSpan(whole).first(size);
    EXPECT_EQ(Mouth::OfWav(part).status().code(), absl::StatusCode::kDataLoss) << size;
  }
}

TEST(MouthTest, AVoiceComesAndGoesAndIsNeverTooLoud) {
  Mouth voice(110.0);
  float loudest = 0;
  for (int i = 0; i < 48'000; ++i) loudest = std::fmax(loudest, std::fabs(voice.Next()));
  EXPECT_GT(loudest, 0.1f);
  EXPECT_LT(loudest, 1.0f);
}

}  // namespace
}  // namespace parley::call

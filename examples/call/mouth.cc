// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/call/mouth.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/status/status.h"
#include "parley/cli/input.h"
#include "parley/cli/wav.h"
#include "parley/examples/call/call_protocol.h"
#include "parley/media/format.h"

namespace parley::call {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr double kSyllablesPerSecond = 2;
constexpr int kHarmonics = 6;

class MemorySource final : public cli::ByteSource {
 public:
  explicit MemorySource(absl::Span<const std::byte> bytes) : bytes_(bytes) {}
  absl::StatusOr<size_t> Read(absl::Span<std::byte> into) override {
    const size_t size = std::min(into.size(), bytes_.size());
    std::copy_n(bytes_.begin(), size, into.begin());
    bytes_.remove_prefix(size);
    return size;
  }

 private:
  absl::Span<const std::byte> bytes_;
};

}  // namespace

absl::StatusOr<Mouth> Mouth::OfWav(absl::Span<const std::byte> wav) {
  MemorySource source(wav);
  cli::BufferedInput input(source);
  const absl::StatusOr<cli::WavStream> header = cli::ReadWavHeader(input, FormatLimits());
  if (!header.ok()) return header.status();
  const SampleFormat format = header->format.sample_format;
  const bool is_float = format == SampleFormat::kF32;
  if (header->format.rate_hz != kRateHz || !(is_float || format == SampleFormat::kS16)) {
    return absl::InvalidArgumentError("the WAV is not of 48 kHz and 16 bits or float");
  }
  // What the header takes is behind us; a file that is shorter than it says is played to its end.
  const auto begin = static_cast<size_t>(input.taken_bytes());
  const size_t frame_bytes = BytesPerAudioFrame(header->format);
  const uint64_t data_bytes =
      std::min<uint64_t>(header->data_bytes.value_or(wav.size()), wav.size() - begin);
  std::vector<float> samples(static_cast<size_t>(data_bytes) / frame_bytes);
  for (size_t i = 0; i < samples.size(); ++i) {
    const std::byte* at = wav.data() + begin + i * frame_bytes;
    if (is_float) {
      std::memcpy(&samples[i], at, sizeof(float));
    } else {
      int16_t sample = 0;
      std::memcpy(&sample, at, sizeof(sample));
      samples[i] = static_cast<float>(sample) / 32768;
    }
  }
  return Mouth(std::move(samples));
}

float Mouth::Next() {
  const uint64_t at = at_++;
  if (pitch_hz_ == 0) return at < samples_.size() ? samples_[at] : 0;
  const double seconds = static_cast<double>(at) / kRateHz;
  double voice = 0;
  for (int harmonic = 1; harmonic <= kHarmonics; ++harmonic) {
    voice += std::sin(2 * kPi * pitch_hz_ * harmonic * seconds) / harmonic;
  }
  const double syllable = std::sin(kPi * kSyllablesPerSecond * seconds);
  return static_cast<float>(0.2 * voice * syllable * syllable);
}

}  // namespace parley::call

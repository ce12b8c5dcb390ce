// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/wav_writer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "parley/examples/film/y4m_writer.h"
#include "parley/media/pcm.h"

namespace parley::film {
namespace {

// Peaks above full scale are normal in decoded audio; this only keeps out the absurd.
constexpr float kLoudestSample = 8.0f;

// WAVE_FORMAT_EXTENSIBLE, which has a layout.
struct WavHeader {
  uint32_t riff;
  uint32_t riff_bytes;
  uint32_t wave;
  uint32_t fmt;
  uint32_t fmt_bytes;
  uint16_t encoding;
  uint16_t channels;
  uint32_t rate_hz;
  uint32_t bytes_per_second;
  uint16_t block_bytes;
  uint16_t bits;
  uint16_t extension_bytes;
  uint16_t valid_bits;
  uint32_t channel_mask;
  uint32_t sub_format;
  std::array<uint8_t, 12> sub_format_rest;
  uint32_t data;
  uint32_t data_bytes;
};
static_assert(sizeof(WavHeader) == 68);
static_assert(std::has_unique_object_representations_v<WavHeader>);

constexpr uint64_t kMaxDataBytes = std::numeric_limits<uint32_t>::max() - sizeof(WavHeader);
constexpr uint16_t kExtensible = 0xfffe;
// The end of the GUIDs of Microsoft's numbered encodings.
constexpr std::array<uint8_t, 12> kGuidRest = {0x00, 0x00, 0x10, 0x00, 0x80, 0x00,
                                               0x00, 0xaa, 0x00, 0x38, 0x9b, 0x71};

bool IsFloat(SampleFormat format) {
  return format == SampleFormat::kF32 || format == SampleFormat::kF64;
}

// Of a sample in the file.
uint32_t WavSampleBytes(SampleFormat format) {
  return format == SampleFormat::kS64 ? 4 : BytesPerSample(format);
}

std::array<std::byte, sizeof(WavHeader)> Header(const AudioFormat& format, uint64_t data_bytes) {
  const uint32_t sample = WavSampleBytes(format.sample_format);
  const uint32_t size = static_cast<uint32_t>(data_bytes);
  const bool has_mask = format.layout.kind == ChannelLayout::Kind::kMask &&
                        format.layout.mask <= std::numeric_limits<uint32_t>::max();
  uint32_t valid_bits = sample * 8;
  if (format.sample_format == SampleFormat::kS24In32) valid_bits = 24;
  if (format.significant_bits != 0) {
    valid_bits = std::min<uint32_t>(valid_bits, format.significant_bits);
  }
  return std::bit_cast<std::array<std::byte, sizeof(WavHeader)>>(WavHeader{
      .riff = 0x46464952,
      .riff_bytes = size + static_cast<uint32_t>(sizeof(WavHeader)) - 8,
      .wave = 0x45564157,
      .fmt = 0x20746d66,
      .fmt_bytes = 40,
      .encoding = kExtensible,
      .channels = static_cast<uint16_t>(format.channels),
      .rate_hz = format.rate_hz,
      .bytes_per_second = format.rate_hz * sample * format.channels,
      .block_bytes = static_cast<uint16_t>(sample * format.channels),
      .bits = static_cast<uint16_t>(sample * 8),
      .extension_bytes = 22,
      .valid_bits = static_cast<uint16_t>(valid_bits),
      .channel_mask = has_mask ? static_cast<uint32_t>(format.layout.mask) : 0,
      .sub_format = IsFloat(format.sample_format) ? uint32_t{3} : uint32_t{1},
      .sub_format_rest = kGuidRest,
      .data = 0x61746164,
      .data_bytes = size,
  });
}

double Sane(double sample) {
  if (std::isnan(sample)) return 0;
  return std::clamp(sample, -double{kLoudestSample}, double{kLoudestSample});
}

}  // namespace

absl::Status WavWriter::Begin(const AudioFormat& format) {
  if (file_.has_value() && file_->direct() && !file_->swallows()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the sound becomes ", ToString(format), ", and ", path_,
                     " is no regular file that another one could follow: it gets no more"));
  }
  if (uint64_t{WavSampleBytes(format.sample_format)} * format.channels > 0xffff) {
    return absl::ResourceExhaustedError(
        absl::StrCat(format.channels, " channels are more than a WAV file can have"));
  }
  // /dev/null takes the next one under its own name.
  const bool swallowed = file_.has_value() && file_->swallows();
  const absl::Status finished = Finish();
  if (!finished.ok()) return finished;
  const std::string path = swallowed ? path_ : PartPath(path_, static_cast<int>(files_.size()) + 1);
  if (names_ != nullptr) {
    const absl::Status free = names_->Claim(path, "--wav");
    if (!free.ok()) return free;
  }
  absl::StatusOr<cli::OutputFile> file = cli::OutputFile::Create(path);
  if (!file.ok()) return file.status();
  file_.emplace(*std::move(file));
  format_ = format;
  data_bytes_ = 0;
  // The size "unknown, until the end" is what a pipe keeps.
  return file_->Write(Header(format, kMaxDataBytes));
}

void WavWriter::Interleave(const AudioBlock& audio) {
  const size_t in_bytes = BytesPerSample(audio.format.sample_format);
  const size_t out_bytes = WavSampleBytes(audio.format.sample_format);
  const size_t channels = audio.format.channels;
  interleaved_.resize(size_t{audio.frames} * channels * out_bytes);
  std::byte* out = interleaved_.data();
  for (size_t i = 0; i < audio.frames; ++i) {
    for (size_t c = 0; c < channels; ++c) {
      const std::byte* in = audio.Sample(i, c);
      // The upper half of 64 bits.
      std::memcpy(out, in + (in_bytes - out_bytes), out_bytes);
      if (audio.format.sample_format == SampleFormat::kS24In32) {
        // WAV has its significant bits at the upper end.
        uint32_t sample;
        std::memcpy(&sample, out, sizeof(sample));
        sample <<= 8;
        std::memcpy(out, &sample, sizeof(sample));
      } else if (audio.format.sample_format == SampleFormat::kF64) {
        double sample;
        std::memcpy(&sample, out, sizeof(sample));
        sample = Sane(sample);
        std::memcpy(out, &sample, sizeof(sample));
      }
      out += out_bytes;
    }
  }
  if (audio.format.sample_format == SampleFormat::kF32) {
    SanitizeF32(absl::MakeSpan(interleaved_), kLoudestSample);
  }
}

absl::Status WavWriter::Write(const AudioBlock& audio) {
  Interleave(audio);
  if (!file_.has_value() || !(audio.format == format_) ||
      data_bytes_ + interleaved_.size() > kMaxDataBytes) {
    const absl::Status begun = Begin(audio.format);
    if (!begun.ok()) return begun;
  }
  absl::Status written = file_->Write(interleaved_);
  if (!written.ok()) return written;
  data_bytes_ += interleaved_.size();
  file_->Mark();
  return written;
}

absl::Status WavWriter::Finish() {
  if (!file_.has_value()) return absl::OkStatus();
  const uint64_t whole = file_->whole_bytes();
  const uint64_t data_bytes = whole > sizeof(WavHeader) ? whole - sizeof(WavHeader) : 0;
  absl::Status done = file_->WriteAt(0, Header(format_, data_bytes));
  if (absl::IsFailedPrecondition(done)) done = absl::OkStatus();
  done.Update(file_->Publish());
  const bool named = !files_.empty() && files_.back() == file_->path();
  if (done.ok() && !named) files_.push_back(file_->path());
  file_.reset();
  return done;
}

}  // namespace parley::film

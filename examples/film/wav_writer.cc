#include "parley/examples/film/wav_writer.h"

#include <array>
#include <bit>
#include <limits>
#include <type_traits>

#include "parley/examples/film/y4m_writer.h"
#include "parley/media/pcm.h"

namespace parley::film {
namespace {

// Peaks above full scale are normal in decoded audio; this only keeps out the absurd.
constexpr float kLoudestSample = 8.0f;

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
  uint32_t data;
  uint32_t data_bytes;
};
static_assert(sizeof(WavHeader) == 44);
static_assert(std::has_unique_object_representations_v<WavHeader>);

constexpr uint64_t kMaxDataBytes = std::numeric_limits<uint32_t>::max() - sizeof(WavHeader);

std::array<std::byte, sizeof(WavHeader)> Header(const AudioFormat& format, uint64_t data_bytes) {
  const uint32_t sample = BytesPerSample(format.sample_format);
  const uint32_t size = static_cast<uint32_t>(data_bytes);
  return std::bit_cast<std::array<std::byte, sizeof(WavHeader)>>(WavHeader{
      .riff = 0x46464952,
      .riff_bytes = size + 36,
      .wave = 0x45564157,
      .fmt = 0x20746d66,
      .fmt_bytes = 16,
      .encoding = static_cast<uint16_t>(format.sample_format == SampleFormat::kF32 ? 3 : 1),
      .channels = static_cast<uint16_t>(format.channels),
      .rate_hz = format.rate_hz,
      .bytes_per_second = format.rate_hz * BytesPerAudioFrame(format),
      .block_bytes = static_cast<uint16_t>(BytesPerAudioFrame(format)),
      .bits = static_cast<uint16_t>(sample * 8),
      .data = 0x61746164,
      .data_bytes = size,
  });
}

}  // namespace

absl::Status WavWriter::Begin(const AudioFormat& format) {
  const absl::Status finished = Finish();
  if (!finished.ok()) return finished;
  absl::StatusOr<OutputFile> file =
      OutputFile::Create(PartPath(path_, static_cast<int>(files_.size()) + 1));
  if (!file.ok()) return file.status();
  file_.emplace(*std::move(file));
  format_ = format;
  data_bytes_ = 0;
  // The size "unknown, until the end" is what a pipe keeps.
  return file_->Write(Header(format, kMaxDataBytes));
}

absl::Status WavWriter::Write(const AudioBlock& audio) {
  if (!file_.has_value() || !(audio.format == format_) ||
      data_bytes_ + audio.samples.size() > kMaxDataBytes) {
    const absl::Status begun = Begin(audio.format);
    if (!begun.ok()) return begun;
  }
  data_bytes_ += audio.samples.size();
  if (audio.format.sample_format != SampleFormat::kF32) return file_->Write(audio.samples);
  sanitised_.assign(audio.samples.begin(), audio.samples.end());
  SanitizeF32(absl::MakeSpan(sanitised_), kLoudestSample);
  return file_->Write(sanitised_);
}

absl::Status WavWriter::Finish() {
  if (!file_.has_value()) return absl::OkStatus();
  absl::Status done = file_->WriteAt(0, Header(format_, data_bytes_));
  if (absl::IsFailedPrecondition(done)) done = absl::OkStatus();
  if (done.ok()) done = file_->Publish();
  if (done.ok()) files_.push_back(file_->path());
  file_.reset();
  return done;
}

}  // namespace parley::film

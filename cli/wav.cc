// SPDX-License-Identifier: Apache-2.0
#include "parley/cli/wav.h"

#include <array>
#include <bit>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"

namespace parley::cli {
namespace {

constexpr uint32_t kRiff = 0x46464952;
constexpr uint32_t kRf64 = 0x34364652;
constexpr uint32_t kWave = 0x45564157;
constexpr uint32_t kFmt = 0x20746d66;
constexpr uint32_t kDs64 = 0x34367364;
constexpr uint32_t kData = 0x61746164;
constexpr uint16_t kPcm = 1;
constexpr uint16_t kFloat = 3;
constexpr uint16_t kExtensible = 0xfffe;
constexpr size_t kExtensibleBytes = 40;
// Before the samples; files have a few.
constexpr int kMaxChunks = 64;
constexpr uint32_t kMaxFmtBytes = 1024;
constexpr std::array<uint8_t, 12> kGuidRest = {0x00, 0x00, 0x10, 0x00, 0x80, 0x00,
                                               0x00, 0xaa, 0x00, 0x38, 0x9b, 0x71};

absl::Status Bad(const std::string& what) {
  return absl::DataLossError(absl::StrCat("this is no WAV: ", what));
}

uint64_t Get(absl::Span<const std::byte> bytes, size_t at, size_t size) {
  uint64_t number = 0;
  for (size_t i = size; i > 0; --i) {
    number = number << 8 | std::to_integer<uint64_t>(bytes[at + i - 1]);
  }
  return number;
}

void Put(std::vector<std::byte>& bytes, uint64_t number, size_t size) {
  for (size_t i = 0; i < size; ++i) bytes.push_back(static_cast<std::byte>(number >> (8 * i)));
}

absl::Status ReadPart(BufferedInput& input, absl::Span<std::byte> into) {
  const absl::Status got = input.ReadExactly(into);
  if (absl::IsOutOfRange(got) || absl::IsDataLoss(got)) return Bad("it ends in its header");
  return got;
}

absl::StatusOr<WavStream> ParseFmt(absl::Span<const std::byte> fmt) {
  if (fmt.size() < 16) return Bad("a format of a few bytes");
  uint64_t encoding = Get(fmt, 0, 2);
  const auto bits = static_cast<uint32_t>(Get(fmt, 14, 2));
  WavStream wav;
  wav.format.channels = static_cast<uint32_t>(Get(fmt, 2, 2));
  wav.format.rate_hz = static_cast<uint32_t>(Get(fmt, 4, 4));
  uint32_t valid_bits = bits;
  if (encoding == kExtensible) {
    if (fmt.size() < kExtensibleBytes) return Bad("an extended format of a few bytes");
    for (size_t i = 0; i < kGuidRest.size(); ++i) {
      if (Get(fmt, 28 + i, 1) != kGuidRest[i]) {
        return absl::UnimplementedError("a WAV whose samples are no PCM");
      }
    }
    encoding = Get(fmt, 24, 4);
    valid_bits = static_cast<uint32_t>(Get(fmt, 18, 2));
    if (valid_bits == 0 || valid_bits > bits) valid_bits = bits;
    const uint64_t mask = Get(fmt, 20, 4);
    if (mask != 0 && static_cast<uint32_t>(std::popcount(mask)) == wav.format.channels) {
      wav.format.layout = {.kind = ChannelLayout::Kind::kMask, .mask = mask, .positions = {}};
    }
  }
  if (encoding == kPcm && bits == 8) {
    wav.format.sample_format = SampleFormat::kU8;
  } else if (encoding == kPcm && bits == 16) {
    wav.format.sample_format = SampleFormat::kS16;
  } else if (encoding == kPcm && (bits == 24 || bits == 32)) {
    wav.format.sample_format = SampleFormat::kS32;
  } else if (encoding == kFloat && bits == 32) {
    wav.format.sample_format = SampleFormat::kF32;
  } else if (encoding == kFloat && bits == 64) {
    wav.format.sample_format = SampleFormat::kF64;
  } else {
    return absl::UnimplementedError(
        absl::StrCat("a WAV of encoding ", encoding, " with ", bits, " bits"));
  }
  wav.file_sample_bytes = bits / 8;
  if (bits == 24) valid_bits = 24;
  if (valid_bits < 8 * BytesPerSample(wav.format.sample_format)) {
    wav.format.significant_bits = static_cast<uint8_t>(valid_bits);
  }
  if (wav.format.channels == 0 || wav.format.rate_hz == 0) return Bad("no channels, or no rate");
  if (Get(fmt, 12, 2) != uint64_t{wav.file_sample_bytes} * wav.format.channels) {
    return Bad("a block that is not one sample of each channel");
  }
  return wav;
}

}  // namespace

absl::StatusOr<WavStream> ReadWavHeader(BufferedInput& input, const FormatLimits& limits) {
  std::array<std::byte, 12> riff;
  absl::Status got = ReadPart(input, absl::MakeSpan(riff));
  if (!got.ok()) return got;
  const bool is_rf64 = Get(riff, 0, 4) == kRf64;
  if ((Get(riff, 0, 4) != kRiff && !is_rf64) || Get(riff, 8, 4) != kWave) {
    return Bad("it does not begin with RIFF and WAVE");
  }
  std::optional<WavStream> wav;
  std::optional<uint64_t> large_bytes;
  for (int chunks = 0; chunks < kMaxChunks; ++chunks) {
    std::array<std::byte, 8> head;
    got = ReadPart(input, absl::MakeSpan(head));
    if (!got.ok()) return got;
    const auto kind = static_cast<uint32_t>(Get(head, 0, 4));
    const auto size = static_cast<uint32_t>(Get(head, 4, 4));
    if (kind == kData) {
      if (!wav.has_value()) return Bad("samples before their format");
      // What a stream writes that does not know its length.
      const bool open = size == 0 || size >= 0xffff'ff00;
      if (large_bytes.has_value()) {
        wav->data_bytes = large_bytes;
      } else if (!open) {
        wav->data_bytes = size;
      }
      return *wav;
    }
    // Chunks have an even length.
    const uint64_t padded = uint64_t{size} + size % 2;
    if (kind == kFmt) {
      if (wav.has_value() || size > kMaxFmtBytes) return Bad("two formats, or a long one");
      std::vector<std::byte> fmt(static_cast<size_t>(padded));
      got = ReadPart(input, absl::MakeSpan(fmt));
      if (!got.ok()) return got;
      absl::StatusOr<WavStream> parsed = ParseFmt(absl::MakeConstSpan(fmt).first(size));
      if (!parsed.ok()) return parsed.status();
      const absl::Status within = CheckLimits(parsed->format, limits);
      if (!within.ok()) return within;
      wav = *std::move(parsed);
      continue;
    }
    if (kind == kDs64 && is_rf64 && size >= 24 && size <= kMaxFmtBytes) {
      std::vector<std::byte> sizes(static_cast<size_t>(padded));
      got = ReadPart(input, absl::MakeSpan(sizes));
      if (!got.ok()) return got;
      const uint64_t data_bytes = Get(sizes, 8, 8);
      if (data_bytes != 0 && data_bytes < uint64_t{1} << 62) large_bytes = data_bytes;
      continue;
    }
    got = input.Skip(padded);
    if (absl::IsDataLoss(got)) return Bad("it ends in its header");
    if (!got.ok()) return got;
  }
  return Bad("no samples among its first chunks");
}

std::optional<uint32_t> WavSampleBytes(const AudioFormat& format) {
  switch (format.sample_format) {
    case SampleFormat::kS24In32:
    case SampleFormat::kS64:
      return std::nullopt;
    case SampleFormat::kS32:
      return format.significant_bits == 24 ? 3 : 4;
    default:
      return BytesPerSample(format.sample_format);
  }
}

std::vector<std::byte> WavHeader(const WavStream& wav) {
  const AudioFormat& format = wav.format;
  const uint32_t sample = wav.file_sample_bytes;
  const bool is_float =
      format.sample_format == SampleFormat::kF32 || format.sample_format == SampleFormat::kF64;
  const bool has_mask =
      format.layout.kind == ChannelLayout::Kind::kMask && format.layout.mask <= 0xffff'ffff;
  const uint32_t open = 0xffff'ffff;
  std::vector<std::byte> out;
  Put(out, kRiff, 4);
  Put(out, open, 4);
  Put(out, kWave, 4);
  Put(out, kFmt, 4);
  Put(out, kExtensibleBytes, 4);
  Put(out, kExtensible, 2);
  Put(out, format.channels, 2);
  Put(out, format.rate_hz, 4);
  Put(out, uint64_t{format.rate_hz} * sample * format.channels, 4);
  Put(out, uint64_t{sample} * format.channels, 2);
  Put(out, uint64_t{sample} * 8, 2);
  Put(out, 22, 2);
  Put(out, format.significant_bits != 0 ? format.significant_bits : sample * 8, 2);
  Put(out, has_mask ? format.layout.mask : 0, 4);
  Put(out, is_float ? kFloat : kPcm, 4);
  for (const uint8_t byte : kGuidRest) Put(out, byte, 1);
  Put(out, kData, 4);
  Put(out, open, 4);
  return out;
}

}  // namespace parley::cli

#include "parley/media/format.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "parley/boundary/wire_copy.h"

namespace parley {
namespace {

absl::Status Bad(const std::string& what) {
  return absl::DataLossError(absl::StrCat("format record: ", what));
}

struct ChromaShape {
  const char* name;
  uint32_t bytes_per_sample;
  uint32_t shift_x;  // chroma is this many halvings narrower
  uint32_t shift_y;
  size_t planes;
};

ChromaShape Chroma(PixelFormat format) {
  switch (format) {
    case PixelFormat::kGray8:
      return {"gray", 1, 0, 0, 1};
    case PixelFormat::kI420:
      return {"yuv420p", 1, 1, 1, 3};
    case PixelFormat::kI422:
      return {"yuv422p", 1, 1, 0, 3};
    case PixelFormat::kI444:
      return {"yuv444p", 1, 0, 0, 3};
    case PixelFormat::kGray10:
      return {"gray10", 2, 0, 0, 1};
    case PixelFormat::kI420P10:
      return {"yuv420p10", 2, 1, 1, 3};
    case PixelFormat::kI422P10:
      return {"yuv422p10", 2, 1, 0, 3};
    case PixelFormat::kI444P10:
      return {"yuv444p10", 2, 0, 0, 3};
  }
  return {"none", 0, 0, 0, 0};
}

bool IsPixelFormat(uint32_t value) { return value >= 1 && value <= 8; }
bool IsSampleFormat(uint32_t value) { return value >= 1 && value <= 4; }

template <typename Reserved>
bool AllZero(const Reserved& reserved) {
  return std::all_of(reserved.begin(), reserved.end(), [](uint32_t v) { return v == 0; });
}

absl::StatusOr<NumberedFormat> ParseVideo(const VideoFormatWire& wire, const FormatLimits& limits) {
  if (!AllZero(wire.reserved)) return Bad("a reserved field is not zero");
  if (!IsPixelFormat(wire.pixel_format)) {
    return Bad(absl::StrCat("unknown pixel format ", wire.pixel_format));
  }
  // 2^16 keeps every product of ShapeOf below 2^35, whatever limits the caller set.
  if (wire.width == 0 || wire.width > std::min(limits.max_width, uint32_t{1} << 16) ||
      wire.height == 0 || wire.height > std::min(limits.max_height, uint32_t{1} << 16)) {
    return Bad(absl::StrCat("a picture of ", wire.width, "x", wire.height));
  }
  if (wire.frame_rate_denominator == 0 || wire.pixel_aspect_denominator == 0) {
    return Bad("a zero denominator");
  }
  if (wire.full_range > 1) return Bad("unknown colour range");
  const VideoFormat format = {
      .pixel_format = static_cast<PixelFormat>(wire.pixel_format),
      .width = wire.width,
      .height = wire.height,
      .frame_rate = {wire.frame_rate_numerator, wire.frame_rate_denominator},
      .pixel_aspect = {wire.pixel_aspect_numerator, wire.pixel_aspect_denominator},
      .full_range = wire.full_range == 1,
  };
  if (ShapeOf(format).size_bytes() > limits.max_frame_bytes) {
    return Bad(absl::StrCat("a picture of ", ShapeOf(format).size_bytes(),
                            " bytes, above the limit of ", limits.max_frame_bytes));
  }
  return NumberedFormat{format, wire.generation};
}

absl::StatusOr<NumberedFormat> ParseAudio(const AudioFormatWire& wire, const FormatLimits& limits) {
  if (!AllZero(wire.reserved)) return Bad("a reserved field is not zero");
  if (!IsSampleFormat(wire.sample_format)) {
    return Bad(absl::StrCat("unknown sample format ", wire.sample_format));
  }
  if (wire.rate_hz == 0 || wire.rate_hz > limits.max_rate_hz) {
    return Bad(absl::StrCat("a rate of ", wire.rate_hz, " Hz"));
  }
  // 2^16 keeps BytesPerAudioFrame in 32 bits, whatever limits the caller set.
  if (wire.channels == 0 || wire.channels > std::min(limits.max_channels, uint32_t{1} << 16)) {
    return Bad(absl::StrCat(wire.channels, " channels"));
  }
  return NumberedFormat{AudioFormat{.sample_format = static_cast<SampleFormat>(wire.sample_format),
                                    .rate_hz = wire.rate_hz,
                                    .channels = wire.channels},
                        wire.generation};
}

}  // namespace

uint64_t PictureShape::size_bytes() const {
  uint64_t total = 0;
  for (const PlaneShape& plane : planes) total += plane.size_bytes();
  return total;
}

PictureShape ShapeOf(const VideoFormat& format) {
  const ChromaShape chroma = Chroma(format.pixel_format);
  PictureShape shape;
  shape.count = chroma.planes;
  for (size_t i = 0; i < chroma.planes; ++i) {
    const uint32_t shift_x = i == 0 ? 0 : chroma.shift_x;
    const uint32_t shift_y = i == 0 ? 0 : chroma.shift_y;
    // Odd sizes round up, so that the last column and row have a chroma sample of their own.
    const uint32_t columns = (format.width + (uint32_t{1} << shift_x) - 1) >> shift_x;
    shape.planes[i].row_bytes = columns * chroma.bytes_per_sample;
    shape.planes[i].rows = (format.height + (uint32_t{1} << shift_y) - 1) >> shift_y;
  }
  return shape;
}

uint32_t BytesPerSample(SampleFormat format) {
  switch (format) {
    case SampleFormat::kU8:
      return 1;
    case SampleFormat::kS16:
      return 2;
    case SampleFormat::kS32:
    case SampleFormat::kF32:
      return 4;
  }
  return 4;
}

uint32_t BytesPerAudioFrame(const AudioFormat& format) {
  return BytesPerSample(format.sample_format) * format.channels;
}

std::string ToString(const VideoFormat& format) {
  std::string text =
      absl::StrCat(format.width, "x", format.height, " ", Chroma(format.pixel_format).name);
  if (format.frame_rate.numerator != 0) {
    const double rate = static_cast<double>(format.frame_rate.numerator) /
                        static_cast<double>(format.frame_rate.denominator);
    absl::StrAppend(&text, " ", rate, " fps");
  }
  return text;
}

std::string ToString(const AudioFormat& format) {
  constexpr std::array<const char*, 5> kNames = {"none", "u8", "s16", "s32", "f32"};
  return absl::StrCat(format.rate_hz, " Hz ", kNames[static_cast<size_t>(format.sample_format) % 5],
                      " ", format.channels, format.channels == 1 ? " channel" : " channels");
}

std::array<std::byte, kFormatRecordBytes> EncodeFormat(const NumberedFormat& format) {
  if (const auto* video = std::get_if<VideoFormat>(&format.format)) {
    return std::bit_cast<std::array<std::byte, kFormatRecordBytes>>(VideoFormatWire{
        .magic = kFormatMagic,
        .version = kFormatVersion,
        .kind = kFormatKindVideo,
        .generation = format.generation,
        .pixel_format = static_cast<uint32_t>(video->pixel_format),
        .width = video->width,
        .height = video->height,
        .frame_rate_numerator = video->frame_rate.numerator,
        .frame_rate_denominator = video->frame_rate.denominator,
        .pixel_aspect_numerator = video->pixel_aspect.numerator,
        .pixel_aspect_denominator = video->pixel_aspect.denominator,
        .full_range = video->full_range ? uint32_t{1} : 0,
        .reserved = {},
    });
  }
  const AudioFormat& audio = std::get<AudioFormat>(format.format);
  return std::bit_cast<std::array<std::byte, kFormatRecordBytes>>(AudioFormatWire{
      .magic = kFormatMagic,
      .version = kFormatVersion,
      .kind = kFormatKindAudio,
      .generation = format.generation,
      .sample_format = static_cast<uint32_t>(audio.sample_format),
      .rate_hz = audio.rate_hz,
      .channels = audio.channels,
      .reserved = {},
  });
}

absl::StatusOr<NumberedFormat> ParseFormat(absl::Span<const std::byte> record,
                                           const FormatLimits& limits) {
  // TRUST: the copy is private; the fields checked are the fields used.
  VideoFormatWire video;
  if (record.size() != kFormatRecordBytes || !ReadWire(record, &video)) {
    return Bad(absl::StrCat(record.size(), " bytes long"));
  }
  if (video.magic != kFormatMagic) return Bad("wrong magic number");
  if (video.version != kFormatVersion) {
    return Bad(absl::StrCat("unknown version ", video.version));
  }
  if (video.kind == kFormatKindVideo) return ParseVideo(video, limits);
  if (video.kind == kFormatKindAudio) {
    return ParseAudio(std::bit_cast<AudioFormatWire>(video), limits);
  }
  return Bad(absl::StrCat("unknown kind ", video.kind));
}

}  // namespace parley

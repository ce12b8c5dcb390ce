// SPDX-License-Identifier: Apache-2.0
#include "parley/media/format.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "parley/boundary/wire_copy.h"

namespace parley {
namespace {

absl::Status Bad(const std::string& what) {
  return absl::DataLossError(absl::StrCat("format record: ", what));
}

absl::Status Above(const std::string& what, uint64_t limit) {
  return absl::ResourceExhaustedError(
      absl::StrCat(what, ", more than the receiver's limit of ", limit));
}

// 2^16 keeps every product of ShapeOf at 2^36 or less and BytesPerAudioFrame in 32 bits, whatever
// limits the caller set.
constexpr uint32_t kMaxDimension = uint32_t{1} << 16;

constexpr uint32_t kSampleFormats = 7;
struct SampleFormatInfo {
  std::string_view name;
  std::string_view libav;
  std::string_view libav_planar;
  std::string_view gstreamer;
  uint32_t bytes;
};
constexpr std::array<SampleFormatInfo, kSampleFormats + 1> kSamples = {{
    {"none", "", "", "", 4},
    {"u8", "u8", "u8p", "U8", 1},
    {"s16", "s16", "s16p", "S16LE", 2},
    {"s32", "s32", "s32p", "S32LE", 4},
    {"f32", "flt", "fltp", "F32LE", 4},
    {"s24in32", "", "", "S24_32LE", 4},
    {"s64", "s64", "s64p", "", 8},
    {"f64", "dbl", "dblp", "F64LE", 8},
}};

const SampleFormatInfo& InfoOfSample(SampleFormat format) {
  const size_t number = static_cast<size_t>(format);
  return kSamples[number <= kSampleFormats ? number : 0];
}

template <typename Reserved>
bool AllZero(const Reserved& reserved) {
  return std::all_of(reserved.begin(), reserved.end(), [](auto v) { return v == 0; });
}

// The upper left part, without which nothing could be shown.
bool CanBeInverted(const DisplayMatrix& m) {
  return AllZero(m) || int64_t{m[0]} * m[4] != int64_t{m[1]} * m[3];
}

absl::Status CheckVideo(const VideoFormat& format, const FormatLimits& limits) {
  const uint32_t max_width = std::min(limits.max_width, kMaxDimension);
  const uint32_t max_height = std::min(limits.max_height, kMaxDimension);
  const std::string size = absl::StrCat("a picture of ", format.width, "x", format.height);
  if (format.width > max_width) return Above(absl::StrCat(size, ": pixels in a row"), max_width);
  if (format.height > max_height) return Above(absl::StrCat(size, ": rows"), max_height);
  const uint64_t bytes = ShapeOf(format).size_bytes();
  if (bytes > limits.max_frame_bytes) {
    return Above(absl::StrCat(size, " in ", bytes, " bytes"), limits.max_frame_bytes);
  }
  const size_t icc_bytes = format.icc.bytes().size();
  if (icc_bytes > limits.max_icc_bytes) {
    return Above(absl::StrCat("an ICC profile of ", icc_bytes, " bytes"), limits.max_icc_bytes);
  }
  return absl::OkStatus();
}

absl::Status CheckAudio(const AudioFormat& format, const FormatLimits& limits) {
  if (format.rate_hz > limits.max_rate_hz) {
    return Above(absl::StrCat("sound at ", format.rate_hz, " Hz"), limits.max_rate_hz);
  }
  const uint32_t max_channels = std::min(limits.max_channels, kMaxDimension);
  if (format.channels > max_channels) {
    return Above(absl::StrCat(format.channels, " channels of sound"), max_channels);
  }
  return absl::OkStatus();
}

// Refusals of a record carry the same words.
absl::Status AsDataLoss(const absl::Status& limit) { return Bad(std::string(limit.message())); }

absl::StatusOr<NumberedFormat> ParseVideo(const VideoFormatWire& wire,
                                          absl::Span<const std::byte> icc,
                                          const FormatLimits& limits) {
  if (!AllZero(wire.reserved) || wire.reserved_byte != 0) {
    return Bad("a reserved field is not zero");
  }
  if (FindPixelFormat(wire.pixel_format) == nullptr) {
    return Bad(absl::StrCat("unknown pixel format ", wire.pixel_format));
  }
  if (wire.width == 0 || wire.height == 0) {
    return Bad(absl::StrCat("a picture of ", wire.width, "x", wire.height));
  }
  if (wire.frame_rate_denominator == 0 || wire.pixel_aspect_denominator == 0) {
    return Bad("a zero denominator");
  }
  if (wire.range > 2) return Bad("unknown colour range");
  if (wire.chroma_place > 6) return Bad("unknown chroma place");
  if (wire.field_order > 3) return Bad("unknown field order");
  if (wire.alpha > 1) return Bad("unknown alpha mode");
  if (!CanBeInverted(wire.display_matrix)) return Bad("a display matrix that cannot be inverted");
  if (wire.icc_bytes != icc.size()) {
    return Bad(absl::StrCat("an ICC profile of ", wire.icc_bytes, " bytes in ", icc.size()));
  }
  if (icc.size() > limits.max_icc_bytes) {
    return Bad(absl::StrCat("an ICC profile of ", icc.size(), " bytes"));
  }
  VideoFormat format = {
      .pixel_format = static_cast<PixelFormat>(wire.pixel_format),
      .width = wire.width,
      .height = wire.height,
      .frame_rate = {wire.frame_rate_numerator, wire.frame_rate_denominator},
      .pixel_aspect = {wire.pixel_aspect_numerator, wire.pixel_aspect_denominator},
      .colour = {.range = static_cast<ColourRange>(wire.range),
                 .primaries = wire.primaries,
                 .transfer = wire.transfer,
                 .matrix = wire.matrix},
      .chroma_place = static_cast<ChromaPlace>(wire.chroma_place),
      .field_order = static_cast<FieldOrder>(wire.field_order),
      .alpha = static_cast<AlphaMode>(wire.alpha),
      .display_matrix = wire.display_matrix,
      .icc = {},
  };
  const absl::Status within = CheckVideo(format, limits);
  if (!within.ok()) return AsDataLoss(within);
  format.icc = IccProfile(icc);
  return NumberedFormat{std::move(format), wire.generation};
}

// Whether the layout has as many channels as the format, and says nothing else.
bool LayoutFits(const ChannelLayout& layout, uint32_t channels) {
  using Kind = ChannelLayout::Kind;
  if (layout.kind != Kind::kMask && layout.mask != 0) return false;
  if (layout.kind != Kind::kPositions && !AllZero(layout.positions)) return false;
  switch (layout.kind) {
    case Kind::kUnspecified:
      return true;
    case Kind::kMask:
      return static_cast<uint32_t>(std::popcount(layout.mask)) == channels;
    case Kind::kPositions:
      if (channels > kMaxPositions) return false;
      for (size_t i = 0; i < kMaxPositions; ++i) {
        const uint8_t position = layout.positions[i];
        if (i < channels ? position >= 64 && position != ChannelLayout::kUnknown : position != 0) {
          return false;
        }
      }
      return true;
    case Kind::kAmbisonic: {
      // At most 2^16, which a double holds exactly.
      const auto root = static_cast<uint32_t>(std::lround(std::sqrt(channels)));
      return root * root == channels;
    }
  }
  return false;
}

absl::StatusOr<NumberedFormat> ParseAudio(const AudioFormatWire& wire, const FormatLimits& limits) {
  if (!AllZero(wire.reserved) || wire.reserved_byte != 0 || wire.reserved_word != 0) {
    return Bad("a reserved field is not zero");
  }
  if (wire.sample_format < 1 || wire.sample_format > kSampleFormats) {
    return Bad(absl::StrCat("unknown sample format ", wire.sample_format));
  }
  if (wire.rate_hz == 0) return Bad("a rate of 0 Hz");
  if (wire.channels == 0) return Bad("0 channels");
  if (wire.planar > 1) return Bad("neither planar nor interleaved");
  if (wire.layout > 3) return Bad("unknown kind of channel layout");
  const AudioFormat format = {.sample_format = static_cast<SampleFormat>(wire.sample_format),
                              .rate_hz = wire.rate_hz,
                              .channels = wire.channels,
                              .planar = wire.planar == 1,
                              .significant_bits = wire.significant_bits,
                              .layout = {.kind = static_cast<ChannelLayout::Kind>(wire.layout),
                                         .mask = wire.mask,
                                         .positions = wire.positions}};
  if (wire.significant_bits > 8 * BytesPerSample(format.sample_format)) {
    return Bad(absl::StrCat(wire.significant_bits, " significant bits in a sample"));
  }
  const absl::Status within = CheckAudio(format, limits);
  if (!within.ok()) return AsDataLoss(within);
  if (!LayoutFits(format.layout, format.channels)) {
    return Bad(absl::StrCat("a channel layout that does not fit ", format.channels, " channels"));
  }
  return NumberedFormat{format, wire.generation};
}

}  // namespace

IccProfile::IccProfile(absl::Span<const std::byte> bytes) {
  if (!bytes.empty()) {
    bytes_ = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
  }
}

absl::Span<const std::byte> IccProfile::bytes() const {
  if (bytes_ == nullptr) return {};
  return *bytes_;
}

bool IccProfile::operator==(const IccProfile& other) const {
  return bytes_ == other.bytes_ || bytes() == other.bytes();
}

uint64_t PictureShape::size_bytes() const {
  uint64_t total = 0;
  for (const PlaneShape& plane : planes) total += plane.size_bytes();
  return total;
}

PictureShape ShapeOf(const VideoFormat& format) {
  const PixelFormatInfo& info = InfoOf(format.pixel_format);
  PictureShape shape;
  shape.count = info.plane_count;
  std::array<uint32_t, kMaxPlanes> step = {};  // the widest of each plane, and whose it is
  std::array<size_t, kMaxPlanes> widest = {};
  for (size_t i = 0; i < info.component_count; ++i) {
    const PixelComponent& component = info.components[i];
    if (component.step_bytes <= step[component.plane]) continue;
    step[component.plane] = component.step_bytes;
    widest[component.plane] = i;
  }
  // Odd sizes round up, so that the last column and row have a chroma sample of their own.
  const auto halved = [](uint32_t size, uint32_t shift) {
    return (size + (uint32_t{1} << shift) - 1) >> shift;
  };
  for (size_t plane = 0; plane < shape.count; ++plane) {
    const bool narrower = widest[plane] == 1 || widest[plane] == 2;
    shape.planes[plane].row_bytes =
        step[plane] * halved(format.width, narrower ? info.chroma_shift_x : 0);
    const bool chroma = plane == 1 || plane == 2;
    shape.planes[plane].rows = halved(format.height, chroma ? info.chroma_shift_y : 0);
  }
  return shape;
}

uint32_t BytesPerSample(SampleFormat format) { return InfoOfSample(format).bytes; }

uint32_t BytesPerAudioFrame(const AudioFormat& format) {
  return BytesPerSample(format.sample_format) * format.channels;
}

std::string_view LibavName(SampleFormat format, bool planar) {
  const SampleFormatInfo& info = InfoOfSample(format);
  return planar ? info.libav_planar : info.libav;
}

std::string_view GstreamerName(SampleFormat format) { return InfoOfSample(format).gstreamer; }

std::string ToString(const VideoFormat& format) {
  std::string text = absl::StrCat(format.width, "x", format.height, " ",
                                  absl::string_view(InfoOf(format.pixel_format).name.data(),
                                                    InfoOf(format.pixel_format).name.size()));
  if (format.frame_rate.numerator != 0) {
    const double rate = static_cast<double>(format.frame_rate.numerator) /
                        static_cast<double>(format.frame_rate.denominator);
    absl::StrAppend(&text, " ", rate, " fps");
  }
  return text;
}

std::string ToString(const AudioFormat& format) {
  const std::string_view name = InfoOfSample(format.sample_format).name;
  return absl::StrCat(format.rate_hz, " Hz ", absl::string_view(name.data(), name.size()),
                      format.planar ? " planar " : " ", format.channels,
                      format.channels == 1 ? " channel" : " channels");
}

absl::Status CheckLimits(const StreamFormat& format, const FormatLimits& limits) {
  const auto* video = std::get_if<VideoFormat>(&format);
  return video != nullptr ? CheckVideo(*video, limits)
                          : CheckAudio(std::get<AudioFormat>(format), limits);
}

std::vector<std::byte> EncodeFormat(const NumberedFormat& format) {
  const auto bytes_of = [](const auto& wire) {
    const auto bytes = std::bit_cast<std::array<std::byte, kFormatRecordBytes>>(wire);
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };
  if (const auto* video = std::get_if<VideoFormat>(&format.format)) {
    const absl::Span<const std::byte> icc = video->icc.bytes();
    std::vector<std::byte> record = bytes_of(VideoFormatWire{
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
        .range = static_cast<uint8_t>(video->colour.range),
        .primaries = video->colour.primaries,
        .transfer = video->colour.transfer,
        .matrix = video->colour.matrix,
        .chroma_place = static_cast<uint8_t>(video->chroma_place),
        .field_order = static_cast<uint8_t>(video->field_order),
        .alpha = static_cast<uint8_t>(video->alpha),
        .reserved_byte = 0,
        .display_matrix = video->display_matrix,
        .icc_bytes = static_cast<uint32_t>(icc.size()),
        .reserved = {},
    });
    record.insert(record.end(), icc.begin(), icc.end());
    return record;
  }
  const AudioFormat& audio = std::get<AudioFormat>(format.format);
  return bytes_of(AudioFormatWire{
      .magic = kFormatMagic,
      .version = kFormatVersion,
      .kind = kFormatKindAudio,
      .generation = format.generation,
      .sample_format = static_cast<uint32_t>(audio.sample_format),
      .rate_hz = audio.rate_hz,
      .channels = audio.channels,
      .planar = audio.planar ? uint8_t{1} : uint8_t{0},
      .significant_bits = audio.significant_bits,
      .layout = static_cast<uint8_t>(audio.layout.kind),
      .reserved_byte = 0,
      .reserved_word = 0,
      .mask = audio.layout.mask,
      .positions = audio.layout.positions,
      .reserved = {},
  });
}

absl::StatusOr<NumberedFormat> ParseFormat(absl::Span<const std::byte> record,
                                           const FormatLimits& limits) {
  // TRUST: the copy is private; the fields checked are the fields used.
  VideoFormatWire video;
  if (record.size() < kFormatRecordBytes || !ReadWire(record.first(kFormatRecordBytes), &video)) {
    return Bad(absl::StrCat(record.size(), " bytes long"));
  }
  if (video.magic != kFormatMagic) return Bad("wrong magic number");
  if (video.version != kFormatVersion) {
    return Bad(absl::StrCat("unknown version ", video.version));
  }
  const absl::Span<const std::byte> rest = record.subspan(kFormatRecordBytes);
  if (video.kind == kFormatKindVideo) return ParseVideo(video, rest, limits);
  if (!rest.empty()) return Bad(absl::StrCat(record.size(), " bytes long"));
  if (video.kind == kFormatKindAudio) {
    return ParseAudio(std::bit_cast<AudioFormatWire>(video), limits);
  }
  return Bad(absl::StrCat("unknown kind ", video.kind));
}

}  // namespace parley

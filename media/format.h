#ifndef PARLEY_MEDIA_FORMAT_H_
#define PARLEY_MEDIA_FORMAT_H_

// What a stream of raw video or PCM audio looks like, and the 64-byte record that says so: in the
// handshake's blob, or in band before the first frame and at each change.
//
// Trust: a record is hostile. ParseFormat looks at a private copy, checks each field against a
// limit and returns a value from which every size can be computed without overflow.
// Threads: values and pure functions; any.
//
//   auto parsed = ParseFormat(message, FormatLimits{});
//   if (!parsed.ok()) return parsed.status();
//   if (const auto* video = std::get_if<VideoFormat>(&parsed->format)) Show(*video);

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/boundary/wire_type.h"

namespace parley {

static_assert(std::endian::native == std::endian::little, "the wire format is little-endian");

inline constexpr size_t kMaxPlanes = 4;

// Planar pixel formats. 10-bit samples are 16 bits, little-endian, in the low bits.
enum class PixelFormat : uint32_t {
  kGray8 = 1,
  kI420 = 2,
  kI422 = 3,
  kI444 = 4,
  kGray10 = 5,
  kI420P10 = 6,
  kI422P10 = 7,
  kI444P10 = 8,
};

// Interleaved PCM.
enum class SampleFormat : uint32_t { kU8 = 1, kS16 = 2, kS32 = 3, kF32 = 4 };

struct Ratio {
  uint32_t numerator = 0;
  uint32_t denominator = 1;
  bool operator==(const Ratio&) const = default;
};

struct VideoFormat {
  PixelFormat pixel_format = PixelFormat::kI420;
  uint32_t width = 0;
  uint32_t height = 0;
  Ratio frame_rate;         // 0/1: unknown or variable
  Ratio pixel_aspect;       // 0/1: unknown
  bool full_range = false;  // luma 0..255 and not 16..235
  bool operator==(const VideoFormat&) const = default;
};

struct AudioFormat {
  SampleFormat sample_format = SampleFormat::kS16;
  uint32_t rate_hz = 0;
  uint32_t channels = 0;
  bool operator==(const AudioFormat&) const = default;
};

using StreamFormat = std::variant<VideoFormat, AudioFormat>;

// A format and the number by which frames refer to it.
struct NumberedFormat {
  StreamFormat format;
  uint32_t generation = 0;
  bool operator==(const NumberedFormat&) const = default;
};

// What we are willing to receive.
struct FormatLimits {
  uint32_t max_width = 16384;
  uint32_t max_height = 16384;
  uint64_t max_frame_bytes = uint64_t{64} << 20;
  uint32_t max_rate_hz = 768000;
  uint32_t max_channels = 64;
};

// Rows and bytes of one plane, without padding between rows.
struct PlaneShape {
  uint32_t row_bytes = 0;
  uint32_t rows = 0;
  uint64_t size_bytes() const { return uint64_t{row_bytes} * rows; }
};

// The planes of one picture; those past `count` are empty.
struct PictureShape {
  std::array<PlaneShape, kMaxPlanes> planes;
  size_t count = 0;
  uint64_t size_bytes() const;
};

// Width and height at most 2^16, which ParseFormat guarantees.
PictureShape ShapeOf(const VideoFormat& format);
uint32_t BytesPerSample(SampleFormat format);
// One sample of each channel.
uint32_t BytesPerAudioFrame(const AudioFormat& format);

// For people: "1280x720 yuv420p 25/1 fps", "44100 Hz s16 2 channels".
std::string ToString(const VideoFormat& format);
std::string ToString(const AudioFormat& format);

inline constexpr uint32_t kFormatMagic = 0x314d4650;  // "PFM1"
inline constexpr uint16_t kFormatVersion = 1;
inline constexpr uint16_t kFormatKindVideo = 1;
inline constexpr uint16_t kFormatKindAudio = 2;

struct VideoFormatWire {
  uint32_t magic;
  uint16_t version;
  uint16_t kind;
  uint32_t generation;
  uint32_t pixel_format;
  uint32_t width;
  uint32_t height;
  uint32_t frame_rate_numerator;
  uint32_t frame_rate_denominator;
  uint32_t pixel_aspect_numerator;
  uint32_t pixel_aspect_denominator;
  uint32_t full_range;
  std::array<uint32_t, 5> reserved;
};

struct AudioFormatWire {
  uint32_t magic;
  uint16_t version;
  uint16_t kind;
  uint32_t generation;
  uint32_t sample_format;
  uint32_t rate_hz;
  uint32_t channels;
  std::array<uint32_t, 10> reserved;
};

inline constexpr size_t kFormatRecordBytes = 64;
static_assert(sizeof(VideoFormatWire) == kFormatRecordBytes);
static_assert(sizeof(AudioFormatWire) == kFormatRecordBytes);
static_assert(WireType<VideoFormatWire>);
static_assert(WireType<AudioFormatWire>);

std::array<std::byte, kFormatRecordBytes> EncodeFormat(const NumberedFormat& format);

// kDataLoss with the reason: wrong size, magic, version or kind; a reserved field that is not zero;
// an unknown sample or pixel format; zero or too large dimensions, rate or channel count; a picture
// above `limits.max_frame_bytes`; a zero denominator.
absl::StatusOr<NumberedFormat> ParseFormat(absl::Span<const std::byte> record,
                                           const FormatLimits& limits);

}  // namespace parley

#endif  // PARLEY_MEDIA_FORMAT_H_

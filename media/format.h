// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_MEDIA_FORMAT_H_
#define PARLEY_MEDIA_FORMAT_H_

// What a stream of raw video or PCM audio looks like, and the record that says so: in band before
// the first frame and at each change. A record has 128 bytes; an ICC profile follows it.
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
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/boundary/wire_type.h"
#include "parley/media/pixel_format.h"

namespace parley {

static_assert(std::endian::native == std::endian::little, "the wire format is little-endian");

// PCM. kS24In32 has the 24 bits at the lower end, sign-extended, as GStreamer's S24_32LE.
enum class SampleFormat : uint32_t {
  kU8 = 1,
  kS16 = 2,
  kS32 = 3,
  kF32 = 4,
  kS24In32 = 5,
  kS64 = 6,
  kF64 = 7,
};

struct Ratio {
  uint32_t numerator = 0;
  uint32_t denominator = 1;
  bool operator==(const Ratio&) const = default;
};

// Black and white at 16 and 235 (of 8 bits), or at 0 and 255.
enum class ColourRange : uint8_t { kUnspecified = 0, kLimited = 1, kFull = 2 };

// Code points of ITU-T H.273, the same that libav uses; 2 is "unspecified". media/colour.h says
// what an unspecified one is taken for.
struct ColourDescription {
  ColourRange range = ColourRange::kUnspecified;
  uint8_t primaries = 2;
  uint8_t transfer = 2;
  uint8_t matrix = 2;
  bool operator==(const ColourDescription&) const = default;
};

// Where a chroma sample lies among the luma samples; numbers as AVChromaLocation.
enum class ChromaPlace : uint8_t {
  kUnspecified = 0,
  kLeft = 1,
  kCentre = 2,
  kTopLeft = 3,
  kTop = 4,
  kBottomLeft = 5,
  kBottom = 6,
};

enum class FieldOrder : uint8_t {
  kUnspecified = 0,
  kProgressive = 1,
  kTopFirst = 2,
  kBottomFirst = 3
};

enum class AlphaMode : uint8_t { kStraight = 0, kPremultiplied = 1 };

// How a picture is to be turned for display: the matrix of ISO BMFF (a, b, u, c, d, v, x, y, w;
// 16.16 and 2.30 fixed point), as libav has it. All zero: as it is stored.
using DisplayMatrix = std::array<int32_t, 9>;

// An ICC profile, shared by all that have the same. Empty: there is none. The content is the
// peer's.
class IccProfile {
 public:
  IccProfile() = default;
  explicit IccProfile(absl::Span<const std::byte> bytes);
  absl::Span<const std::byte> bytes() const;
  bool operator==(const IccProfile& other) const;

 private:
  std::shared_ptr<const std::vector<std::byte>> bytes_;
};

struct VideoFormat {
  PixelFormat pixel_format = PixelFormat::kI420;
  uint32_t width = 0;
  uint32_t height = 0;
  Ratio frame_rate = {};    // 0/1: unknown; nominal where the rate varies
  Ratio pixel_aspect = {};  // 0/1: unknown
  ColourDescription colour = {};
  ChromaPlace chroma_place = ChromaPlace::kUnspecified;
  FieldOrder field_order = FieldOrder::kUnspecified;
  AlphaMode alpha = AlphaMode::kStraight;
  DisplayMatrix display_matrix = {};
  IccProfile icc = {};
  bool operator==(const VideoFormat&) const = default;
};

inline constexpr size_t kMaxPositions = 64;

// What each channel is.
struct ChannelLayout {
  enum class Kind : uint8_t {
    kUnspecified = 0,
    kMask = 1,       // in the order of the bits of `mask`, as WAVE and libav number them
    kPositions = 2,  // channel i is bit number positions[i] of such a mask; kUnknown: nobody knows
    kAmbisonic = 3,  // (order + 1)^2 channels, ACN
  };
  static constexpr uint8_t kUnknown = 255;
  Kind kind = Kind::kUnspecified;
  uint64_t mask = 0;
  std::array<uint8_t, kMaxPositions> positions = {};
  bool operator==(const ChannelLayout&) const = default;
};

struct AudioFormat {
  SampleFormat sample_format = SampleFormat::kS16;
  uint32_t rate_hz = 0;
  uint32_t channels = 0;
  bool planar = false;           // all samples of a channel, then those of the next
  uint8_t significant_bits = 0;  // the upper ones of each sample; 0: all
  ChannelLayout layout = {};
  bool operator==(const AudioFormat&) const = default;
};

using StreamFormat = std::variant<VideoFormat, AudioFormat>;

// A format and the number by which frames refer to it.
struct NumberedFormat {
  StreamFormat format;
  uint32_t generation = 0;
  bool operator==(const NumberedFormat&) const = default;
};

// What a receiver is willing to take. A sender that knows them never sends what they refuse.
struct FormatLimits {
  uint32_t max_width = 65536;
  uint32_t max_height = 65536;
  uint64_t max_frame_bytes = uint64_t{64} << 20;
  uint32_t max_rate_hz = 50'000'000;  // DSD1024 is 45 MHz
  uint32_t max_channels = 512;
  uint32_t max_icc_bytes = 1u << 20;
  bool operator==(const FormatLimits&) const = default;
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

// "fltp", "s16"; empty where libav has no such format (kS24In32).
std::string_view LibavName(SampleFormat format, bool planar);
// "F32LE"; whether it is planar is another property there.
std::string_view GstreamerName(SampleFormat format);

// For people: "1280x720 yuv420p 25 fps", "44100 Hz s16 2 channels".
std::string ToString(const VideoFormat& format);
std::string ToString(const AudioFormat& format);

// kResourceExhausted with a sentence of its own for each limit: "65 channels of sound, more than
// the receiver's limit of 64". For senders; ParseFormat refuses the same.
absl::Status CheckLimits(const StreamFormat& format, const FormatLimits& limits);

inline constexpr uint32_t kFormatMagic = 0x314d4650;  // "PFM1"
inline constexpr uint16_t kFormatVersion = 2;
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
  uint8_t range;
  uint8_t primaries;
  uint8_t transfer;
  uint8_t matrix;
  uint8_t chroma_place;
  uint8_t field_order;
  uint8_t alpha;
  uint8_t reserved_byte;
  DisplayMatrix display_matrix;
  uint32_t icc_bytes;  // that follow the record
  std::array<uint32_t, 10> reserved;
};

struct AudioFormatWire {
  uint32_t magic;
  uint16_t version;
  uint16_t kind;
  uint32_t generation;
  uint32_t sample_format;
  uint32_t rate_hz;
  uint32_t channels;
  uint8_t planar;
  uint8_t significant_bits;
  uint8_t layout;
  uint8_t reserved_byte;
  uint32_t reserved_word;
  uint64_t mask;
  std::array<uint8_t, kMaxPositions> positions;
  std::array<uint32_t, 6> reserved;
};

inline constexpr size_t kFormatRecordBytes = 128;
static_assert(sizeof(VideoFormatWire) == kFormatRecordBytes);
static_assert(sizeof(AudioFormatWire) == kFormatRecordBytes);
static_assert(WireType<VideoFormatWire>);
static_assert(WireType<AudioFormatWire>);

// kFormatRecordBytes, and the ICC profile.
std::vector<std::byte> EncodeFormat(const NumberedFormat& format);

// kDataLoss with the reason: wrong size, magic, version or kind; a reserved field that is not zero;
// an unknown sample or pixel format or code; zero or too large dimensions, rate, channel count or
// profile; a picture above `limits.max_frame_bytes`; a zero denominator; a display matrix that
// cannot be inverted; a layout that does not have as many channels as the format.
absl::StatusOr<NumberedFormat> ParseFormat(absl::Span<const std::byte> record,
                                           const FormatLimits& limits);

}  // namespace parley

#endif  // PARLEY_MEDIA_FORMAT_H_

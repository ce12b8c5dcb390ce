// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_FACTS_H_
#define PARLEY_THUMB_FACTS_H_

// What is in a file, by its own word.
//
// Trust: in the host every text is short printable ASCII and every number in its range; nothing
// says that any of it is true.
// Threads: values; any.

#include <cstdint>
#include <string>
#include <vector>

namespace parley::thumb {

enum class StreamKind : uint32_t { kVideo, kAudio, kSubtitle, kData, kAttachment, kOther };
inline constexpr uint32_t kStreamKinds = 6;
// "video"; never null.
const char* ToString(StreamKind kind);

// Zeros and empty texts: not known, or of no meaning for the kind.
struct StreamFacts {
  StreamKind kind = StreamKind::kOther;
  bool attached_picture = false;  // a cover, and no film
  bool can_be_decoded = false;    // there is a decoder for it
  std::string codec;              // libav's name, as the others
  std::string profile;
  std::string format;  // of pixels or samples
  std::string language;
  std::string primaries;
  std::string transfer;
  std::string matrix;
  bool full_range = false;
  int64_t duration_ns = 0;
  int64_t bits_per_second = 0;
  uint32_t width = 0;
  uint32_t height = 0;
  uint32_t pixel_aspect_numerator = 0;
  uint32_t pixel_aspect_denominator = 0;
  uint32_t rotation_degrees = 0;  // clockwise, to be shown upright
  uint32_t rate_numerator = 0;    // pictures per second
  uint32_t rate_denominator = 0;
  uint32_t sample_rate_hz = 0;
  uint32_t channels = 0;
};

struct MediaFacts {
  std::string container;
  int64_t duration_ns = 0;
  int64_t bits_per_second = 0;
  std::vector<StreamFacts> streams;
  uint32_t streams_left_out = 0;  // beyond kMaxStreams
};

inline constexpr uint32_t kMaxStreams = 64;

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_FACTS_H_

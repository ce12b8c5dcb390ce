// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_AV_MEDIA_UNITS_H_
#define PARLEY_AV_MEDIA_UNITS_H_

// One picture and one block of audio, as the decoder makes them and as the viewer receives them:
// private memory, checked sizes. And the interface of whoever takes them.
//
// Threads: values and views; one at a time.
//
//   class Counter : public MediaSink { ... };

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/media/format.h"

namespace parley {
class OutFrame;
}  // namespace parley

namespace parley::av {

// Views: valid only during the call that hands them over. Times count from the film's start.
struct Picture {
  VideoFormat format;
  int64_t pts_ns = 0;
  int64_t duration_ns = 0;
  bool key = false;
  bool corrupt = false;
  bool interlaced = false;
  bool top_first = false;  // of an interlaced one
  bool converted = false;  // from a format that the receiver does not accept, or does not know
  std::array<const std::byte*, kMaxPlanes> planes = {};
  std::array<ptrdiff_t, kMaxPlanes> strides_bytes = {};
  // Of the decoder's: the frame of the channel's arena in which all planes lie, or null.
  const OutFrame* frame = nullptr;

  // `row` < ShapeOf(format).planes[plane].rows
  absl::Span<const std::byte> Row(size_t plane, uint32_t row, uint32_t row_bytes) const {
    return {planes[plane] + strides_bytes[plane] * static_cast<ptrdiff_t>(row), row_bytes};
  }
};

struct AudioBlock {
  AudioFormat format;
  int64_t pts_ns = 0;
  int64_t duration_ns = 0;
  bool corrupt = false;
  uint32_t frames = 0;  // samples per channel
  // Planar: one for each channel; interleaved: one.
  absl::Span<const std::byte* const> planes;
  // As of a picture.
  const OutFrame* frame = nullptr;

  size_t plane_bytes() const {
    return size_t{frames} *
           (format.planar ? BytesPerSample(format.sample_format) : BytesPerAudioFrame(format));
  }
  absl::Span<const std::byte> Plane(size_t index) const { return {planes[index], plane_bytes()}; }
  uint64_t bytes() const { return uint64_t{plane_bytes()} * planes.size(); }
  // Sample `index` of `channel`, either way that they lie.
  const std::byte* Sample(size_t index, size_t channel) const {
    const size_t sample_bytes = BytesPerSample(format.sample_format);
    return format.planar ? planes[channel] + index * sample_bytes
                         : planes[0] + (index * format.channels + channel) * sample_bytes;
  }
};

class MediaSink {
 public:
  virtual ~MediaSink() = default;
  // An error ends the stream with it.
  virtual absl::Status OnPicture(const Picture& picture) = 0;
  virtual absl::Status OnAudio(const AudioBlock& audio) = 0;
};

}  // namespace parley::av

#endif  // PARLEY_AV_MEDIA_UNITS_H_

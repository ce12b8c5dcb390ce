// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_VILLAIN_HONEST_MEDIA_H_
#define PARLEY_VILLAIN_HONEST_MEDIA_H_

// Pictures and sound as an honest producer has them, for attacks to spoil.
//
// Trust: none is needed.
// Threads: any.

#include <cstdint>

#include "parley/media/format.h"
#include "parley/media/frame.h"

namespace parley::villain {

// A picture of 512 bytes.
inline NumberedFormat Picture(uint32_t generation) {
  VideoFormat video;
  video.pixel_format = PixelFormat::kGray8;
  video.width = 32;
  video.height = 16;
  return {video, generation};
}

inline FrameHeaderWire HonestFrame(uint64_t sequence, uint32_t generation = 1) {
  uint32_t payload = 0;
  FrameHeaderWire header = PackedVideoHeader(Picture(generation), &payload);
  header.sequence = sequence;
  header.pts_ns = static_cast<int64_t>(sequence) * 40'000'000;
  return header;
}

inline NumberedFormat Stereo() {
  AudioFormat audio;
  audio.sample_format = SampleFormat::kF32;
  audio.rate_hz = 48000;
  audio.channels = 2;
  return {audio, 1};
}

}  // namespace parley::villain

#endif  // PARLEY_VILLAIN_HONEST_MEDIA_H_

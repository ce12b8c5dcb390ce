// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_MEDIA_AUDIO_WIRE_H_
#define PARLEY_MEDIA_AUDIO_WIRE_H_

// One block of an AudioPort: a record of the ring with the tag kAudioBlockTag.
//
//   AudioBlockWire | events * AudioEvent (24 bytes) | frames * channels * f32, interleaved
//
// Trust: parsed from a private copy (IsAudioBlock); every field is hostile.
// Threads: values.

#include <cstddef>
#include <cstdint>

#include "parley/boundary/wire_type.h"

namespace parley::internal {

inline constexpr uint32_t kAudioBlockTag = 0x61;

struct AudioBlockWire {
  uint64_t position;  // of its first frame: how many came before, dropped ones too
  uint32_t frames;    // 1 to the agreed maximum
  uint32_t events;    // in the order of their frames
};
static_assert(sizeof(AudioBlockWire) == 16);
static_assert(WireType<AudioBlockWire>);

inline constexpr std::size_t kAudioEventBytes = 24;
// Positions stay far from wrapping: at 192 kHz that is a million years.
inline constexpr uint64_t kMaxAudioPosition = uint64_t{1} << 62;

// Of one direction, agreed on.
struct AudioBlockLimits {
  uint32_t channels = 0;
  uint32_t max_frames = 0;
  uint32_t max_events = 0;

  std::size_t MaxBytes() const { return Bytes(max_frames, max_events); }
  std::size_t Bytes(uint32_t frames, uint32_t events) const {
    return sizeof(AudioBlockWire) + std::size_t{events} * kAudioEventBytes +
           std::size_t{frames} * channels * sizeof(float);
  }
};

// Whether `block`, a private copy, is one of `size_bytes` within the limits.
inline bool IsAudioBlock(const AudioBlockWire& block, uint64_t size_bytes,
                         const AudioBlockLimits& limits) {
  // TRUST: counts are within the limits before anything is multiplied with them.
  return block.frames >= 1 && block.frames <= limits.max_frames &&
         block.events <= limits.max_events && block.position <= kMaxAudioPosition &&
         size_bytes == limits.Bytes(block.frames, block.events);
}

}  // namespace parley::internal

#endif  // PARLEY_MEDIA_AUDIO_WIRE_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SHM_FRAME_LAYOUT_H_
#define PARLEY_SHM_FRAME_LAYOUT_H_

// The frames of a region: how many, how long, and where each lies. docs/SPEC.md shows the same.
//
//   | table: a line for each frame | frame 0 | frame 1 | ... |
//
// Trust: a geometry that the peer announced is validated once (IsValid), and private from then on.
// Threads: pure functions.
//
//   const uint64_t at = FrameOffset(geometry, 3);   // of frame 3, in OwnMemory or PeerMemory

#include <array>
#include <cstddef>
#include <cstdint>

#include "parley/boundary/wire_type.h"
#include "parley/shm/shape.h"

namespace parley {

inline constexpr uint32_t kMaxFrames = 64;
// What a frame's length is a multiple of.
inline constexpr uint32_t kFrameUnitBytes = 4096;
inline constexpr uint32_t kMaxFrameUnits = 65535;

// One frame's line of the table. The owner writes it.
struct FrameLineWire {
  uint64_t generation;  // larger by one before each time that the frame is written to; 0: never
  std::array<uint64_t, 7> reserved;
};
static_assert(WireType<FrameLineWire> && sizeof(FrameLineWire) == 64);

inline constexpr std::size_t kFrameTableBytes = kMaxFrames * sizeof(FrameLineWire);

// Both zero, or both as said.
bool IsValid(const FrameGeometry& frames);

// For valid ones. Of the table and the frames, as a region has them: whole pages, 0 without frames.
uint64_t FrameAreaBytes(const FrameGeometry& frames);

// Where the generation and the bytes of a frame lie in the area. `slot` < count.
constexpr uint64_t FrameLineOffset(uint32_t slot) { return uint64_t{slot} * sizeof(FrameLineWire); }
constexpr uint64_t FrameOffset(const FrameGeometry& frames, uint32_t slot) {
  return kFrameTableBytes + slot * frames.frame_bytes;
}

}  // namespace parley

#endif  // PARLEY_SHM_FRAME_LAYOUT_H_

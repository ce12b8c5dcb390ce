// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FRAMES_FRAME_WIRE_H_
#define PARLEY_FRAMES_FRAME_WIRE_H_

// What the two sides of an arena write for each other: a record for each frame that is sent, and a
// word for each that is returned. docs/SPEC.md shows the same tables. The arena itself:
// shm/arena_layout.h.
//
// Trust: what comes from the peer is taken out of its memory once, and validated before any use
// (frames/receiver_account.h, frames/sender_account.h).
// Threads: types.

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "parley/boundary/wire_type.h"
#include "parley/ring/layout.h"
#include "parley/shm/arena_layout.h"
#include "parley/shm/sections.h"

namespace parley {

inline constexpr std::size_t kMaxFrameMetadataBytes = 256;

// A frame may be read. The rest of the record is the sender's metadata.
struct FrameSentWire {
  uint32_t id;            // of the frame while it is out; less than kMaxFrames
  uint32_t dropped;       // frames that the sender left out or took back since its last record
  uint64_t generation;    // of this use of the id
  uint64_t offset_bytes;  // of the frame in the arena
  uint64_t size_bytes;    // how much of it counts
};

// What the receiver has returned: at kFrameReturnsOffset of its own region's control page.
struct FrameReturnsWire {
  uint64_t published;  // another value after each return
  std::array<uint64_t, 15> reserved;
  std::array<uint64_t, 128> returned;  // by id: the generation of the newest use that was returned
};

inline constexpr std::size_t kFrameReturnsOffset = 512;

static_assert(WireType<FrameSentWire> && sizeof(FrameSentWire) == 32);
static_assert(WireType<FrameReturnsWire> && sizeof(FrameReturnsWire) == 1152);
static_assert(sizeof(FrameReturnsWire::returned) == kMaxFrames * sizeof(uint64_t));
static_assert(kFrameReturnsOffset >= sizeof(ControlWire) &&
              kFrameReturnsOffset + sizeof(FrameReturnsWire) <= kControlBytes);

// Where the word of an id lies in FrameReturnsWire. `id` < kMaxFrames.
constexpr std::size_t FrameReturnOffset(uint32_t id) {
  return offsetof(FrameReturnsWire, returned) + id * sizeof(uint64_t);
}

// The section of a broadcast with an arena for many receivers: its table and its bytes, as a region
// has them, in elements of its alignment.
inline constexpr uint16_t kSectionFrames = 4;

// Of an arena, as IsArena says; else this aborts.
Section FramesSection(const ArenaGeometry& arena);
// Of a section as it was announced. kInvalidArgument: one that FramesSection never gives.
absl::StatusOr<ArenaGeometry> ArenaOf(const Section& section);

}  // namespace parley

#endif  // PARLEY_FRAMES_FRAME_WIRE_H_

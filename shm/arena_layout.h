// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SHM_ARENA_LAYOUT_H_
#define PARLEY_SHM_ARENA_LAYOUT_H_

// The arena of a region: a budget of bytes for frames of any size. docs/SPEC.md shows the same.
//
//   | table: a line for each frame that is out | the arena's bytes |
//
// Trust: a geometry that the peer announced is validated once (IsArena, IsArenaRequest), and
// private from then on. Where a frame lies in the arena is its sender's choice
// (frames/receiver_account.h).
// Threads: pure functions.
//
//   options.receive.arena = ArenaFor(4, kPictureBytes);   // four pictures at once
//   options.receive.arena = {.bytes = 64 << 20};          // or as much as we spend

#include <array>
#include <cstddef>
#include <cstdint>

#include "parley/boundary/wire_type.h"
#include "parley/shm/shape.h"

namespace parley {

// How many frames of one direction are out at once.
inline constexpr uint32_t kMaxFrames = 128;
inline constexpr uint32_t kMinArenaAlignment = 64;
inline constexpr uint32_t kMaxArenaAlignment = 4096;
// What an arena's length is a multiple of.
inline constexpr uint32_t kArenaUnitBytes = 4096;
inline constexpr uint64_t kMaxArenaBytes = 0x400000000;

// The line of the table that belongs to a frame's number. The owner of the region writes it.
struct FrameLineWire {
  uint64_t generation;  // of the use that may be read; 0: none
  std::array<uint64_t, 7> reserved;
};
static_assert(WireType<FrameLineWire> && sizeof(FrameLineWire) == 64);

inline constexpr std::size_t kFrameTableBytes = 8192;
static_assert(kFrameTableBytes == kMaxFrames * sizeof(FrameLineWire));

// Of an ArenaGeometry: both zero, or both as said.
bool IsArena(const ArenaGeometry& arena);
// The same of what is asked for: either may also be zero alone, which leaves it to the other side.
bool IsArenaRequest(const ArenaGeometry& arena);

// What ArenaFor (shm/shape.h) rounds to.
static_assert(kMaxArenaAlignment == 4096 && kMaxArenaAlignment % kArenaUnitBytes == 0 &&
              ArenaFor(1, 1).alignment == kMinArenaAlignment);

// For an arena as IsArena says: of the table and the bytes, as a region has them. Whole pages; 0
// without an arena.
uint64_t ArenaSectionBytes(const ArenaGeometry& arena);

// Where a frame's line lies in the section. `id` < kMaxFrames. The bytes begin at kFrameTableBytes.
constexpr uint64_t FrameLineOffset(uint32_t id) { return uint64_t{id} * sizeof(FrameLineWire); }

}  // namespace parley

#endif  // PARLEY_SHM_ARENA_LAYOUT_H_

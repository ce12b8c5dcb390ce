// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SHM_SHAPE_H_
#define PARLEY_SHM_SHAPE_H_

// What a caller says of a region's memory: its arena, and the pages that it is made of.
//
// Trust: ours, or announced by the peer and validated (IsArena in shm/arena_layout.h).
// Threads: values.

#include <cstdint>

namespace parley {

// The arena of one direction, for its frames; none by default. shm/arena_layout.h says what is in
// it and what the bounds are.
struct ArenaGeometry {
  uint64_t bytes = 0;      // a multiple of kArenaUnitBytes, up to kMaxArenaBytes
  uint32_t alignment = 0;  // of each frame: a power of two within kMin- and kMaxArenaAlignment
  bool operator==(const ArenaGeometry&) const = default;
};

// Room for `count` frames of `frame_bytes` each at once, for any alignment that the peer may ask
// for. Where their sizes differ, k frames that stay out leave up to k + 1 gaps; then room for
// 2 * k + 1 of the longest is always enough for one more. With `count` <= kMaxFrames and
// `frame_bytes` <= kMaxArenaBytes nothing overflows.
constexpr ArenaGeometry ArenaFor(uint64_t count, uint64_t frame_bytes) {
  return {count * ((frame_bytes + 4095) / 4096) * 4096, 64};
}

// What memory a region is made of.
enum class HugePages : uint8_t {
  kUsual,
  kHugeIfPossible,  // sealing/huge_pages.h; takes about twice as long to make
};

}  // namespace parley

#endif  // PARLEY_SHM_SHAPE_H_

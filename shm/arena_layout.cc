// SPDX-License-Identifier: Apache-2.0
#include "parley/shm/arena_layout.h"

#include <bit>

#include "parley/sealing/guarded_range.h"

namespace parley {
namespace {

bool IsAlignment(uint32_t alignment) {
  return std::has_single_bit(alignment) && alignment >= kMinArenaAlignment &&
         alignment <= kMaxArenaAlignment;
}

bool IsLength(uint64_t bytes) {
  return bytes != 0 && bytes % kArenaUnitBytes == 0 && bytes <= kMaxArenaBytes;
}

}  // namespace

bool IsArena(const ArenaGeometry& arena) {
  if (arena.bytes == 0) return arena.alignment == 0;
  return IsLength(arena.bytes) && IsAlignment(arena.alignment);
}

bool IsArenaRequest(const ArenaGeometry& arena) {
  return (arena.bytes == 0 || IsLength(arena.bytes)) &&
         (arena.alignment == 0 || IsAlignment(arena.alignment));
}

uint64_t ArenaSectionBytes(const ArenaGeometry& arena) {
  if (arena.bytes == 0) return 0;
  const uint64_t page = PageBytes();
  return (kFrameTableBytes + arena.bytes + page - 1) / page * page;
}

}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include "parley/frames/frame_wire.h"

#include <string>

#include "absl/status/status.h"
#include "parley/os/check.h"

namespace parley {

Section FramesSection(const ArenaGeometry& arena) {
  PARLEY_CHECK(arena.bytes != 0 && IsArena(arena), "FramesSection: an arena that can't be");
  return {kSectionFrames, static_cast<uint32_t>((kFrameTableBytes + arena.bytes) / arena.alignment),
          arena.alignment};
}

absl::StatusOr<ArenaGeometry> ArenaOf(const Section& section) {
  // TRUST: an alignment that there is, and as many bytes behind the table as an arena may have. The
  // product does not overflow: 2^32 times 2^12.
  ArenaGeometry arena;
  if (section.kind == kSectionFrames && section.bytes <= kMaxArenaAlignment) {
    const uint64_t bytes = section.count * section.bytes;
    if (bytes > kFrameTableBytes) {
      arena = {bytes - kFrameTableBytes, static_cast<uint32_t>(section.bytes)};
    }
  }
  if (arena.bytes == 0 || !IsArena(arena)) {
    return absl::InvalidArgumentError(
        "a section of frames with an impossible size: " + std::to_string(section.count) +
        " times " + std::to_string(section.bytes) + " bytes");
  }
  return arena;
}

}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include "parley/shm/frame_layout.h"

#include "parley/sealing/guarded_range.h"

namespace parley {

bool IsValid(const FrameGeometry& frames) {
  if (frames.count == 0) return frames.frame_bytes == 0;
  return frames.count <= kMaxFrames && frames.frame_bytes != 0 &&
         frames.frame_bytes % kFrameUnitBytes == 0 &&
         frames.frame_bytes / kFrameUnitBytes <= kMaxFrameUnits;
}

uint64_t FrameAreaBytes(const FrameGeometry& frames) {
  if (frames.count == 0) return 0;
  const uint64_t page = PageBytes();
  return (FrameOffset(frames, frames.count) + page - 1) / page * page;
}

}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SHM_SHAPE_H_
#define PARLEY_SHM_SHAPE_H_

// What a caller says of a region's memory: the frames in it, and the pages that it is made of.
//
// Trust: ours, or announced by the peer and validated (IsValid in shm/frame_layout.h).
// Threads: values.

#include <cstdint>

namespace parley {

// The frames of one direction, all of one length; none by default. shm/frame_layout.h says where
// each lies and what the maxima are.
struct FrameGeometry {
  uint32_t count = 0;        // at most kMaxFrames
  uint64_t frame_bytes = 0;  // a multiple of kFrameUnitBytes, at most kMaxFrameUnits of them
  bool operator==(const FrameGeometry&) const = default;
};

// What memory a region is made of.
enum class HugePages : uint8_t {
  kUsual,
  kHugeIfPossible,  // sealing/huge_pages.h; takes about twice as long to make
};

}  // namespace parley

#endif  // PARLEY_SHM_SHAPE_H_

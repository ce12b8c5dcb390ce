// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FRAMES_FRAME_EXTENTS_H_
#define PARLEY_FRAMES_FRAME_EXTENTS_H_

// The extents of an arena, and how many hold each: handles of our caller, and uses that were sent.
// One that nobody holds is free.
//
// Trust: no byte of the peer's comes here.
// Threads: one at a time.

#include <array>
#include <cstdint>

#include "parley/frames/arena_allocator.h"
#include "parley/shm/arena_layout.h"

namespace parley {

class FrameExtents {
 public:
  explicit FrameExtents(const ArenaGeometry& arena) : allocator_(arena) {}

  // A free extent, with one handle; ArenaAllocator::kNone: nothing fits now.
  uint32_t TryAcquire(uint64_t size_bytes) {
    const uint32_t extent = allocator_.Allocate(size_bytes);
    if (extent != ArenaAllocator::kNone) holders_[extent] = {1, false};
    return extent;
  }
  // One handle more, and one less.
  void Share(uint32_t extent) { ++holders_[extent].count; }
  void LetGo(uint32_t extent) {
    if (--holders_[extent].count == 0) allocator_.Free(extent);
  }
  // Whether it was sent since it was acquired: it is only read from then on.
  bool WasSent(uint32_t extent) const { return holders_[extent].was_sent; }

  const ArenaAllocator& allocator() const { return allocator_; }

 protected:
  uint32_t holders(uint32_t extent) const { return holders_[extent].count; }
  void MarkSent(uint32_t extent) { holders_[extent].was_sent = true; }

 private:
  // Of an extent.
  struct Holders {
    uint32_t count = 0;
    bool was_sent = false;
  };

  ArenaAllocator allocator_;
  std::array<Holders, ArenaAllocator::kMaxExtents> holders_ = {};
};

}  // namespace parley

#endif  // PARLEY_FRAMES_FRAME_EXTENTS_H_

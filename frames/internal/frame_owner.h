// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FRAMES_INTERNAL_FRAME_OWNER_H_
#define PARLEY_FRAMES_INTERNAL_FRAME_OWNER_H_

// What an OutFrame refers to: the arena that it is a piece of. Ends with the last of the frames and
// the FrameSender or FrameFanOut.
//
// Trust: ours.
// Threads: one at a time.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "parley/boundary/own_memory.h"
#include "parley/frames/frame_extents.h"
#include "parley/frames/frame_sender.h"

namespace parley::internal {

// A frame that came back counts as much as a record that was taken: a step that refunds wake-ups.
inline constexpr uint64_t kProgressOfAReturn = 64;

struct FrameOwner {
  // `extents` may be a member that is made later.
  FrameOwner(OwnMemory memory, FrameExtents* own_extents) : arena(memory), extents(own_extents) {}
  FrameOwner(const FrameOwner&) = delete;
  FrameOwner& operator=(const FrameOwner&) = delete;
  virtual ~FrameOwner() = default;

  // Gives an acquired extent to our caller.
  OutFrame Handle(uint32_t extent, std::size_t size_bytes);
  // A use that was sent has the handle now.
  void TakeOver(OutFrame* frame);
  void LetGo() {
    if (--handles != 0) return;
    const auto last = std::move(self);
  }

  OwnMemory arena;  // the table and the bytes
  FrameExtents* const extents;
  uint32_t handles = 1;              // the FrameSender or FrameFanOut, and the frames
  std::unique_ptr<FrameOwner> self;  // until the last of them ends
};

}  // namespace parley::internal

#endif  // PARLEY_FRAMES_INTERNAL_FRAME_OWNER_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FRAMES_FRAME_WIRE_H_
#define PARLEY_FRAMES_FRAME_WIRE_H_

// What the two sides of a channel with frames tell each other through its rings. docs/SPEC.md shows
// the same tables. The frames themselves: shm/frame_layout.h.
//
// Trust: what comes from the peer is taken out of its memory once, and validated before any use
// (frames/receiver_pool.h, frames/sender_pool.h).
// Threads: types.

#include <array>
#include <cstddef>
#include <cstdint>

#include "parley/boundary/wire_type.h"

namespace parley {

inline constexpr uint32_t kFrameSent = 1;
inline constexpr uint32_t kFrameReturned = 2;
inline constexpr std::size_t kMaxFrameMetadataBytes = 256;

// A frame may be read. The rest of the record is the sender's metadata.
struct FrameSentWire {
  uint32_t kind;        // kFrameSent
  uint32_t slot;        // which frame
  uint64_t generation;  // of this use of it
  uint64_t size_bytes;  // how much of it counts
};

// A frame is not read any more: the whole record.
struct FrameReturnedWire {
  uint32_t kind;  // kFrameReturned
  uint32_t slot;
  uint64_t generation;  // as it was sent
};

static_assert(WireType<FrameSentWire> && sizeof(FrameSentWire) == 24);
static_assert(WireType<FrameReturnedWire> && sizeof(FrameReturnedWire) == 16);

}  // namespace parley

#endif  // PARLEY_FRAMES_FRAME_WIRE_H_

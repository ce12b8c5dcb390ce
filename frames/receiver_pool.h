// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FRAMES_RECEIVER_POOL_H_
#define PARLEY_FRAMES_RECEIVER_POOL_H_

// Which of the peer's frames we hold: the private account of the side that reads them.
//
// Trust: TakeSent hears of the peer: which frame, which use of it, how much of it. It accepts a
// frame that exists, a size within it, and a use that is newer than all before. A newer use of a
// frame that is still held says that the peer took it back: the older hold is over, and needs no
// return. There is nothing that the peer can announce without end: at most one hold for each frame.
// Threads: one at a time.
//
//   if (borrower.TakeSent(fetched, &sent) == Violation::kNone) ...   // sent.slot is held now

#include <array>
#include <cstdint>

#include "parley/boundary/untrusted.h"
#include "parley/boundary/violation.h"
#include "parley/frames/frame_wire.h"
#include "parley/shm/frame_layout.h"

namespace parley {

class FrameReceiverPool {
 public:
  explicit FrameReceiverPool(const FrameGeometry& frames) : geometry_(frames) {
    for (uint32_t slot = 0; slot < frames.count; ++slot) {
      offsets_[slot] = FrameOffset(frames, slot);
    }
  }

  // Fills `*sent` and holds the frame, or says what is wrong.
  Violation TakeSent(const Untrusted<FrameSentWire>& fetched, FrameSentWire* sent) {
    // TRUST: a frame that exists, no more bytes than it has, and a use newer than any before.
    const auto valid = fetched.Validate([&](const FrameSentWire& s) {
      return s.kind == kFrameSent && s.slot < geometry_.count &&
             s.size_bytes <= geometry_.frame_bytes && s.generation > newest_[s.slot % kMaxFrames];
    });
    if (!valid) return Violation::kMetadataInvalid;
    *sent = *valid;
    newest_[sent->slot] = sent->generation;
    if (Holds(sent->slot)) ++taken_back_;
    held_ |= Bit(sent->slot);
    return Violation::kNone;
  }

  bool Holds(uint32_t slot) const { return (held_ & Bit(slot)) != 0; }
  // Whether it is this use of the frame that is held.
  bool Holds(uint32_t slot, uint64_t generation) const {
    return slot < geometry_.count && Holds(slot) && newest_[slot] == generation;
  }
  uint64_t newest(uint32_t slot) const { return newest_[slot]; }
  void GiveBack(uint32_t slot) { held_ &= ~Bit(slot); }

  // Where a frame's bytes begin in the area. Looked up, so that a processor which runs ahead with a
  // slot that TakeSent is about to refuse stays inside (Spectre v1).
  uint64_t OffsetOf(uint32_t slot) const { return offsets_[slot % kMaxFrames]; }

  const FrameGeometry& geometry() const { return geometry_; }
  // How often the peer took a frame back that was held here.
  uint64_t taken_back() const { return taken_back_; }

 private:
  static uint64_t Bit(uint32_t slot) { return uint64_t{1} << (slot % kMaxFrames); }

  const FrameGeometry geometry_;
  uint64_t held_ = 0;  // a bit for each frame
  uint64_t taken_back_ = 0;
  std::array<uint64_t, kMaxFrames> newest_ = {};
  std::array<uint64_t, kMaxFrames> offsets_ = {};
};

}  // namespace parley

#endif  // PARLEY_FRAMES_RECEIVER_POOL_H_

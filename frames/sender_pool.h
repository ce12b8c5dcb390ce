// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FRAMES_SENDER_POOL_H_
#define PARLEY_FRAMES_SENDER_POOL_H_

// Who has our frames: the private account of the side that writes them.
//
//   free --TryTake--> taken --Lend--> lent --TakeReturn--> free
//                      |               |
//                      +--PutBack      +--Revoke--> free, and one late return of it is no lie
//
// Trust: only TakeReturn hears of the peer. It accepts what names a frame of ours and a use of it
// that was sent and not returned yet; each return can be accepted once. Nothing that the peer says
// gets it more frames, and none that it keeps gets lost: Revoke takes it back.
// Threads: one at a time.
//
//   uint32_t slot;
//   if (lender.TryTake(&slot)) { ... write frame `slot` ...; lender.Lend(slot); }

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "parley/boundary/untrusted.h"
#include "parley/boundary/violation.h"
#include "parley/frames/frame_wire.h"
#include "parley/os/check.h"
#include "parley/shm/frame_layout.h"

namespace parley {

class FrameSenderPool {
 public:
  // What is written before a frame is written anew, if there are enough free frames for that.
  // Sooner, and its lines are still in the writer's own cache, from which the reader fetches each
  // several times slower than from the shared one; much later, and they are in no cache at all. Own
  // caches have 1 or 2 MiB today. docs/BENCHMARKS.md has what it brings.
  static constexpr uint64_t kReuseBytes = uint64_t{2} << 20;

  // A valid geometry.
  explicit FrameSenderPool(const FrameGeometry& frames) : count_(frames.count) {
    PARLEY_CHECK(IsValid(frames), "FrameSenderPool: frames that can't be");
    if (count_ == 0) return;
    distance_ = static_cast<uint32_t>(
        std::min<uint64_t>((kReuseBytes + frames.frame_bytes - 1) / frames.frame_bytes, count_));
    for (uint32_t i = 0; i < count_; ++i) Free(i);
  }

  // A free frame: of those that became free last, as many as make up kReuseBytes, the first. False
  // if all are taken or lent.
  bool TryTake(uint32_t* slot) {
    if (free_count_ == 0) return false;
    const uint32_t at = free_count_ < distance_ ? 0 : free_count_ - distance_;
    *slot = free_[at];
    --free_count_;
    std::copy(free_.begin() + at + 1, free_.begin() + free_count_ + 1, free_.begin() + at);
    Frame& frame = frames_[*slot];
    frame.state = State::kTaken;
    // A use that was never sent is not known to anybody, and goes on.
    if (frame.sent == frame.generation) ++frame.generation;
    return true;
  }
  bool IsTaken(uint32_t slot) const {
    return slot < count_ && frames_[slot].state == State::kTaken;
  }
  // Of the present use, or the last one.
  uint64_t generation(uint32_t slot) const { return frames_[slot].generation; }

  // Of a frame that is taken.
  void PutBack(uint32_t slot) { Free(slot); }
  void Lend(uint32_t slot) {
    Frame& frame = frames_[slot];
    frame.state = State::kLent;
    frame.sent = frame.generation;
    frame.order = ++last_order_;
    ++lent_count_;
  }

  Violation TakeReturn(const Untrusted<FrameReturnedWire>& fetched) {
    // TRUST: the frame is one of ours, and this use of it was sent and is newer than any that was
    // returned before. Older than the one that is lent, it was revoked: nothing else ends a use.
    const auto returned = fetched.Validate([&](const FrameReturnedWire& r) {
      // Masked, so that a processor which runs ahead of the comparison stays inside (Spectre v1).
      const Frame& frame = frames_[r.slot % kMaxFrames];
      return r.kind == kFrameReturned && r.slot < count_ && r.generation > frame.returned &&
             r.generation <= frame.sent;
    });
    if (!returned) return Violation::kMetadataInvalid;
    const FrameReturnedWire accepted = *returned;
    Frame& frame = frames_[accepted.slot];
    frame.returned = accepted.generation;
    if (frame.state == State::kLent && accepted.generation == frame.sent) {
      --lent_count_;
      Free(accepted.slot);
    }
    return Violation::kNone;
  }

  // Takes the frame back that has been lent for longest. nullopt: none is lent.
  std::optional<uint32_t> RevokeOldest() {
    if (lent_count_ == 0) return std::nullopt;
    uint32_t oldest = count_;
    for (uint32_t i = 0; i < count_; ++i) {
      if (frames_[i].state != State::kLent) continue;
      if (oldest == count_ || frames_[i].order < frames_[oldest].order) oldest = i;
    }
    --lent_count_;
    Free(oldest);
    return oldest;
  }

  uint32_t count() const { return count_; }
  uint32_t free_count() const { return free_count_; }
  uint32_t lent_count() const { return lent_count_; }

 private:
  enum class State : uint8_t { kFree, kTaken, kLent };
  struct Frame {
    State state = State::kFree;
    uint64_t generation = 0;
    uint64_t sent = 0;      // the newest generation that the peer was told of
    uint64_t returned = 0;  // the newest one that it returned
    uint64_t order = 0;
  };

  void Free(uint32_t slot) {
    frames_[slot].state = State::kFree;
    free_[free_count_++] = static_cast<uint8_t>(slot);
  }

  const uint32_t count_;
  uint32_t distance_ = 1;
  uint32_t free_count_ = 0;
  uint32_t lent_count_ = 0;
  uint64_t last_order_ = 0;
  std::array<uint8_t, kMaxFrames> free_ = {};  // in the order in which they became free
  std::array<Frame, kMaxFrames> frames_ = {};
};

}  // namespace parley

#endif  // PARLEY_FRAMES_SENDER_POOL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FRAMES_RECEIVER_ACCOUNT_H_
#define PARLEY_FRAMES_RECEIVER_ACCOUNT_H_

// Which of the peer's frames we hold: the private account of the side that reads them.
//
// Trust: TakeSent hears of the peer: which frame, where it lies, how long it is. It accepts any
// bytes of the arena that begin at a multiple of the alignment, under an id that exists, and a use
// that is newer than all before. Whether frames overlap is the sender's affair: each byte of the
// arena is the peer's at any time. A newer use of an id whose frame is held says that the peer took
// that back: the older hold is over, and needs no return. There is nothing that the peer can
// announce without end: at most one hold for each id.
// Threads: one at a time.
//
//   if (account.TakeSent(fetched, &sent) == Violation::kNone) ...   // sent.id is held now

#include <array>
#include <cstdint>

#include "parley/boundary/untrusted.h"
#include "parley/boundary/violation.h"
#include "parley/frames/frame_wire.h"
#include "parley/shm/arena_layout.h"

namespace parley {

class FrameReceiverAccount {
 public:
  // An arena as IsArena says.
  explicit FrameReceiverAccount(const ArenaGeometry& arena) : arena_(arena) {}

  // Fills `*sent` and holds the frame, or says what is wrong.
  Violation TakeSent(const Untrusted<FrameSentWire>& fetched, FrameSentWire* sent) {
    // TRUST: an id that exists, a use newer than any before, and bytes that lie in the arena, whose
    // sum is not formed; aligned, because the caller may rely on that for its loads.
    const auto valid = fetched.Validate([&](const FrameSentWire& s) {
      return s.id < kMaxFrames && s.generation > newest_[s.id % kMaxFrames] &&
             s.offset_bytes <= arena_.bytes && s.size_bytes <= arena_.bytes - s.offset_bytes &&
             s.offset_bytes % arena_.alignment == 0;
    });
    if (!valid) return Violation::kMetadataInvalid;
    *sent = *valid;
    // A processor that runs ahead of the comparisons above stays inside (Spectre v1).
    const uint64_t left_bytes = arena_.bytes - sent->offset_bytes;
    uint64_t inside = uint64_t{0} - static_cast<uint64_t>((sent->offset_bytes <= arena_.bytes) &
                                                          (sent->size_bytes <= left_bytes));
    asm volatile("" : "+r"(inside));
    sent->offset_bytes &= inside;
    sent->size_bytes &= inside;
    sent->id %= kMaxFrames;
    newest_[sent->id] = sent->generation;
    if (held_[sent->id]) ++taken_back_;
    held_[sent->id] = true;
    return Violation::kNone;
  }

  // Whether it is this use of the id whose frame is held. `id` < kMaxFrames.
  bool Holds(uint32_t id, uint64_t generation) const {
    return held_[id] && newest_[id] == generation;
  }
  // Ends the hold. True: it is to be returned. False: the peer took it back before.
  bool GiveBack(uint32_t id, uint64_t generation) {
    if (!Holds(id, generation)) return false;
    held_[id] = false;
    return true;
  }
  // The peer took back what is held, before our caller got it.
  void Forget(uint32_t id) {
    held_[id] = false;
    ++taken_back_;
    ++missed_;
  }

  const ArenaGeometry& arena() const { return arena_; }
  // How often the peer took a frame back that was held here.
  uint64_t taken_back() const { return taken_back_; }
  // Of these, before our caller got it.
  uint64_t missed() const { return missed_; }

 private:
  const ArenaGeometry arena_;
  uint64_t taken_back_ = 0;
  uint64_t missed_ = 0;
  std::array<bool, kMaxFrames> held_ = {};
  std::array<uint64_t, kMaxFrames> newest_ = {};
};

}  // namespace parley

#endif  // PARLEY_FRAMES_RECEIVER_ACCOUNT_H_

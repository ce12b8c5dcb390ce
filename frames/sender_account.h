// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FRAMES_SENDER_ACCOUNT_H_
#define PARLEY_FRAMES_SENDER_ACCOUNT_H_

// Who has our frames: the private account of the side that writes them.
//
//   free --TryAcquire--> acquired --Lend--> lent --TakeReturns--> free
//                           |                |
//                           +--LetGo         +--RevokeOldest--> free
//
// A frame is an extent of the arena and those that hold it (frames/frame_extents.h): handles of our
// caller, and uses, each of which was sent under an id of its own.
//
// Trust: what the peer says about a use is one word, the generation that it has returned under an
// id. It counts if it is that of the use which is lent. Anything else, too old, too new, or again,
// changes nothing. What the peer keeps is not lost: RevokeOldest takes it back.
// Threads: one at a time.
//
//   const uint32_t extent = account.TryAcquire(size_bytes);
//   if (extent != ArenaAllocator::kNone) { ... write it ...; account.Lend(extent); }

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "parley/boundary/untrusted.h"
#include "parley/frames/frame_extents.h"
#include "parley/frames/frame_id_lists.h"
#include "parley/os/check.h"
#include "parley/shm/arena_layout.h"

namespace parley {

class FrameSenderAccount : public FrameExtents {
 public:
  // A use of a frame, as the peer is told of it.
  struct Use {
    uint32_t id = 0;
    uint64_t generation = 0;
  };

  explicit FrameSenderAccount(const ArenaGeometry& arena) : FrameExtents(arena) {}

  // What the next frame that is sent would be. nullopt: all ids are lent.
  std::optional<Use> NextUse() const {
    if (free_.empty()) return std::nullopt;
    return Use{free_.oldest, entries_[free_.oldest].generation + 1};
  }
  // Makes it that. There is one, and it takes a handle of the extent over.
  void Lend(uint32_t extent) {
    PARLEY_CHECK(!free_.empty(), "FrameSenderAccount: no id is free");
    const uint32_t id = lists_.RemoveOldest(&free_);
    lists_.Append(&lent_, id);
    ++entries_[id].generation;
    entries_[id].extent = static_cast<uint16_t>(extent);
    MarkSent(extent);
  }

  // `load(id)` is the peer's word for an id, as Untrusted<uint64_t>. Takes what was returned in the
  // order in which it was sent, up to the first that was not. How many.
  template <typename Load>
  uint32_t TakeReturnsInOrder(const Load& load) {
    uint32_t taken = 0;
    for (; !lent_.empty() && IsReturned(lent_.oldest, load); ++taken) End(lent_.oldest);
    return taken;
  }
  // The same in any order: one load for each that is lent.
  template <typename Load>
  uint32_t TakeAllReturns(const Load& load) {
    uint32_t taken = 0;
    for (uint32_t id = lent_.oldest; id != kNone;) {
      const uint32_t next = lists_.Newer(id);
      if (IsReturned(id, load)) {
        End(id);
        ++taken;
      }
      id = next;
    }
    return taken;
  }
  template <typename Load>
  bool AnyReturned(const Load& load) const {
    for (uint32_t id = lent_.oldest; id != kNone; id = lists_.Newer(id)) {
      if (IsReturned(id, load)) return true;
    }
    return false;
  }

  // Takes the use back that has been lent for longest. nullopt: none is.
  std::optional<Use> RevokeOldest() {
    if (lent_.empty()) return std::nullopt;
    const Use revoked = {lent_.oldest, entries_[lent_.oldest].generation};
    End(lent_.oldest);
    return revoked;
  }

  uint32_t lent_count() const { return lent_.count; }

 private:
  static constexpr uint32_t kNone = FrameIdLists::kNone;
  struct Entry {
    uint64_t generation = 0;  // of the present use, or the last one
    uint16_t extent = 0;
  };
  template <typename Load>
  bool IsReturned(uint32_t id, const Load& load) const {
    // TRUST: compared for equality with a number of ours, and nothing else.
    return load(id).AnyValueIsAcceptable() == entries_[id].generation;
  }
  void End(uint32_t id) {
    lists_.Remove(&lent_, id);
    lists_.Append(&free_, id);
    LetGo(entries_[id].extent);
  }

  FrameIdLists lists_;
  FrameIdLists::List free_ = lists_.All();
  FrameIdLists::List lent_;
  std::array<Entry, kMaxFrames> entries_ = {};  // by id
};

}  // namespace parley

#endif  // PARLEY_FRAMES_SENDER_ACCOUNT_H_

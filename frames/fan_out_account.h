// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FRAMES_FAN_OUT_ACCOUNT_H_
#define PARLEY_FRAMES_FAN_OUT_ACCOUNT_H_

// Which receiver has which of our frames, where there are many receivers: the private account of
// the side that writes them.
//
//   acquired --Begin--> out: Lend to any number --Finish--> over, when no receiver has it any more
//
// A frame that is sent has one id, whoever gets it. A receiver lets go of it by returning it, or is
// made to (Revoke). What somebody was made to let go of is not written over before its id was
// reported by TakeRevoked, so that the line of the table can say so first.
//
// Trust: what a receiver says about a frame is one word, the generation that it has returned under
// an id. It counts if the receiver has that use. Anything else changes nothing, and nothing that
// one receiver says is about another.
// Threads: one at a time.
//
//   const FanOutAccount::Use use = account.Begin(extent);
//   for (uint32_t receiver : receivers) account.Lend(use.id, receiver);
//   account.Finish(use.id);

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "parley/boundary/untrusted.h"
#include "parley/frames/frame_extents.h"
#include "parley/frames/frame_id_lists.h"
#include "parley/os/check.h"
#include "parley/shm/arena_layout.h"

namespace parley {

class FanOutAccount : public FrameExtents {
 public:
  // A use of a frame, as the receivers are told of it.
  struct Use {
    uint32_t id = 0;
    uint64_t generation = 0;
  };
  // A set of ids.
  class IdSet {
   public:
    bool Has(uint32_t id) const { return ((words_[id / 64] >> (id % 64)) & 1) != 0; }
    void Add(uint32_t id) { words_[id / 64] |= uint64_t{1} << (id % 64); }
    void Remove(uint32_t id) { words_[id / 64] &= ~(uint64_t{1} << (id % 64)); }
    // For each id that it has when it comes to it; `f` may remove that one.
    template <typename F>
    void ForEach(const F& f) const {
      for (uint32_t word = 0; word < words_.size(); ++word) {
        for (uint64_t left = words_[word]; left != 0; left &= left - 1) {
          f(word * 64 + static_cast<uint32_t>(std::countr_zero(left)));
        }
      }
    }

   private:
    std::array<uint64_t, kMaxFrames / 64> words_ = {};
  };
  // What a receiver has.
  struct Held {
    IdSet ids;
    uint32_t frames = 0;
    uint64_t bytes = 0;  // of their extents
  };

  explicit FanOutAccount(const ArenaGeometry& arena) : FrameExtents(arena) {}

  // A receiver that has nothing; its number is used again after Remove.
  uint32_t AddReceiver() {
    if (!unused_.empty()) {
      const uint32_t receiver = unused_.back();
      unused_.pop_back();
      return receiver;
    }
    held_.emplace_back();
    return static_cast<uint32_t>(held_.size() - 1);
  }
  // Takes back all that it has; how many.
  uint32_t RemoveReceiver(uint32_t receiver) {
    const uint32_t frames = held_[receiver].frames;
    held_[receiver].ids.ForEach([&](uint32_t id) { Revoke(receiver, id); });
    unused_.push_back(receiver);
    return frames;
  }
  const Held& held(uint32_t receiver) const { return held_[receiver]; }

  // Whether an id is free.
  bool CanBegin() const { return !free_.empty(); }
  // A new use of an acquired extent, which it takes a handle of over. CanBegin().
  Use Begin(uint32_t extent) {
    PARLEY_CHECK(CanBegin(), "FanOutAccount: no id is free");
    const uint32_t id = lists_.RemoveOldest(&free_);
    lists_.Append(&out_, id);
    Entry& entry = entries_[id];
    ++entry.generation;
    entry.extent = static_cast<uint16_t>(extent);
    entry.holders = 1;  // until Finish
    ++uses_[extent];
    entry.revoked = false;
    PARLEY_DEBUG_CHECK(!revoked_.Has(id));
    MarkSent(extent);
    return {id, entry.generation};
  }
  // Between Begin and Finish, once for each receiver.
  void Lend(uint32_t id, uint32_t receiver) {
    Held& held = held_[receiver];
    held.ids.Add(id);
    ++held.frames;
    held.bytes += BytesOf(id);
    ++entries_[id].holders;
  }
  // Nobody else gets it.
  void Finish(uint32_t id) { LetGoOf(id); }

  // `load(id)` is the receiver's word for an id, as Untrusted<uint64_t>: one load for each frame
  // that it has. How many it returned.
  template <typename Load>
  uint32_t TakeReturns(uint32_t receiver, const Load& load) {
    uint32_t taken = 0;
    held_[receiver].ids.ForEach([&](uint32_t id) {
      // TRUST: compared for equality with a number of ours, and nothing else.
      if (load(id).AnyValueIsAcceptable() != entries_[id].generation) return;
      Forget(receiver, id);
      ++taken;
    });
    return taken;
  }
  template <typename Load>
  bool AnyReturned(uint32_t receiver, const Load& load) const {
    bool any = false;
    held_[receiver].ids.ForEach([&](uint32_t id) {
      // TRUST: as above.
      any |= load(id).AnyValueIsAcceptable() == entries_[id].generation;
    });
    return any;
  }

  // The use that a receiver has had for longest; nullopt: none. At most kMaxFrames steps.
  std::optional<uint32_t> OldestOf(uint32_t receiver) const {
    return OldestOf(receiver, [](uint32_t) { return true; });
  }
  // The same of those whose bytes our caller has no handle to: they are free once nobody has them.
  std::optional<uint32_t> OldestLetGoOf(uint32_t receiver) const {
    return OldestOf(receiver, [&](uint32_t id) {
      const uint32_t extent = entries_[id].extent;
      return holders(extent) == uses_[extent];
    });
  }

  // Takes a use back from a receiver that has it.
  void Revoke(uint32_t receiver, uint32_t id) {
    entries_[id].revoked = true;
    Forget(receiver, id);
  }
  // The ids of all uses that are over, and that somebody was made to let go of, since the last
  // call: `f(id)` says in the table that they are. To be called before TryAcquire and Begin. False:
  // there are none.
  template <typename F>
  bool TakeRevoked(const F& f) {
    if (!any_revoked_) return false;
    any_revoked_ = false;
    revoked_.ForEach(f);
    revoked_ = {};
    return true;
  }

  uint32_t out_count() const { return out_.count; }

 private:
  struct Entry {
    uint64_t generation = 0;  // of the present use, or the last one
    uint32_t holders = 0;
    uint16_t extent = 0;
    bool revoked = false;  // from somebody
  };

  template <typename F>
  std::optional<uint32_t> OldestOf(uint32_t receiver, const F& f) const {
    for (uint32_t id = out_.oldest; id != FrameIdLists::kNone; id = lists_.Newer(id)) {
      if (held_[receiver].ids.Has(id) && f(id)) return id;
    }
    return std::nullopt;
  }
  uint64_t BytesOf(uint32_t id) const { return allocator().size_bytes(entries_[id].extent); }
  void Forget(uint32_t receiver, uint32_t id) {
    Held& held = held_[receiver];
    held.ids.Remove(id);
    --held.frames;
    held.bytes -= BytesOf(id);
    LetGoOf(id);
  }
  void LetGoOf(uint32_t id) {
    Entry& entry = entries_[id];
    if (--entry.holders != 0) return;
    lists_.Remove(&out_, id);
    lists_.Append(&free_, id);
    if (entry.revoked) {
      revoked_.Add(id);
      any_revoked_ = true;
    }
    --uses_[entry.extent];
    LetGo(entry.extent);
  }

  FrameIdLists lists_;
  FrameIdLists::List free_ = lists_.All();
  FrameIdLists::List out_;
  IdSet revoked_;
  bool any_revoked_ = false;
  std::array<Entry, kMaxFrames> entries_ = {};  // by id
  // How many of an extent's holders are uses.
  std::array<uint32_t, ArenaAllocator::kMaxExtents> uses_ = {};
  std::vector<Held> held_;        // by receiver
  std::vector<uint32_t> unused_;  // numbers of receivers
};

}  // namespace parley

#endif  // PARLEY_FRAMES_FAN_OUT_ACCOUNT_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FRAMES_FRAME_ID_LISTS_H_
#define PARLEY_FRAMES_FRAME_ID_LISTS_H_

// Lists of the ids of frames, oldest first, without an allocation. An id is in one of them.
//
// Trust: no byte of the peer's comes here.
// Threads: one at a time.
//
//   FrameIdLists ids;
//   FrameIdLists::List free = ids.All();
//   ids.Append(&lent, ids.RemoveOldest(&free));

#include <array>
#include <cstdint>

#include "parley/shm/arena_layout.h"

namespace parley {

class FrameIdLists {
 public:
  static constexpr uint32_t kNone = kMaxFrames;
  struct List {
    uint8_t oldest = kNone;
    uint8_t newest = kNone;
    uint32_t count = 0;
    bool empty() const { return count == 0; }
  };

  // A list of all ids, which are in no other one yet.
  List All() {
    List list;
    for (uint32_t id = 0; id < kMaxFrames; ++id) Append(&list, id);
    return list;
  }
  void Append(List* list, uint32_t id) {
    links_[id] = {list->newest, kNone};
    (list->newest == kNone ? list->oldest : links_[list->newest].newer) = static_cast<uint8_t>(id);
    list->newest = static_cast<uint8_t>(id);
    ++list->count;
  }
  // One that is in it.
  void Remove(List* list, uint32_t id) {
    const Link& link = links_[id];
    (link.older == kNone ? list->oldest : links_[link.older].newer) = link.newer;
    (link.newer == kNone ? list->newest : links_[link.newer].older) = link.older;
    --list->count;
  }
  // Of a list that is not empty.
  uint32_t RemoveOldest(List* list) {
    const uint32_t id = list->oldest;
    Remove(list, id);
    return id;
  }
  // The next one of the list that it is in; kNone: it is the newest.
  uint32_t Newer(uint32_t id) const { return links_[id].newer; }

 private:
  static_assert(kMaxFrames <= UINT8_MAX);
  struct Link {
    uint8_t older = kNone;
    uint8_t newer = kNone;
  };
  std::array<Link, kMaxFrames> links_ = {};
};

}  // namespace parley

#endif  // PARLEY_FRAMES_FRAME_ID_LISTS_H_

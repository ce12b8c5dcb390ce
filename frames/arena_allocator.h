// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_FRAMES_ARENA_ALLOCATOR_H_
#define PARLEY_FRAMES_ARENA_ALLOCATOR_H_

// Which bytes of our arena are free: the sender's private allocator, of extents of any size.
//
//   | live | free | live | free | free | live | untouched ...
//
// Free extents are kept by size, and within a size in the order in which they became free. They
// stay as they are, so that a stream of frames of one size finds its own extents again, and are
// merged with their neighbours only when nothing fits.
//
// Bounds: kMaxFrames live extents, kMaxExtents in all. Allocate and Free take a binary search over
// the sizes that are free and a move of as many small structs. Where nothing fits, Allocate merges
// once, which sorts kMaxExtents extents at most, and not again before something became free. With k
// extents live there are at most k + 1 gaps. So a request for n bytes, a multiple of the alignment,
// succeeds whenever (k + 1) * n are free: no order of frees can leave less of use.
//
// Trust: no byte of the peer's comes here. It chooses when extents become free, and in what order.
// Threads: one at a time.
//
//   const uint32_t extent = allocator.Allocate(3110400);
//   if (extent != ArenaAllocator::kNone) Fill(arena, allocator.offset(extent));

#include <array>
#include <cstddef>
#include <cstdint>

#include "parley/shm/arena_layout.h"

namespace parley {

class ArenaAllocator {
 public:
  static constexpr uint32_t kMaxExtents = 2 * kMaxFrames;
  static constexpr uint32_t kNone = kMaxExtents;
  // What is written elsewhere before an extent is written anew, if so much is free. Sooner, and its
  // lines are still in the writer's own cache, from which the reader fetches each several times
  // slower than from the shared one; much later, and they are in no cache at all. Own caches have 1
  // or 2 MiB today. docs/BENCHMARKS.md has what it brings.
  static constexpr uint64_t kReuseBytes = uint64_t{2} << 20;

  // An arena as IsArena says, or none, of which everything is taken.
  explicit ArenaAllocator(const ArenaGeometry& arena);

  // An extent of at least `size_bytes`, aligned; kNone: nothing fits, or kMaxFrames are live. Of
  // the free ones of this very length, as many as make up kReuseBytes of the newest, the oldest.
  uint32_t Allocate(uint64_t size_bytes);
  // A live one.
  void Free(uint32_t extent);

  // Whether Allocate may succeed. True may be wrong, false is not.
  bool MayFit(uint64_t size_bytes) const;
  // Whether it would take an extent of this very length, of which enough are free: there is no use
  // in asking for more of them to become free.
  bool WouldReuse(uint64_t size_bytes) const;

  // Of a live one.
  uint64_t offset_bytes(uint32_t extent) const { return extents_[extent].offset; }
  uint64_t size_bytes(uint32_t extent) const { return extents_[extent].bytes; }

  uint64_t arena_bytes() const { return arena_bytes_; }
  // Of what is free, in one piece or not.
  uint64_t free_bytes() const { return free_bytes_ + Untouched(); }
  uint32_t live_count() const { return live_count_; }

 private:
  using Index = uint16_t;
  static constexpr Index kNil = kMaxExtents;

  struct Extent {
    uint64_t offset = 0;
    uint64_t bytes = 0;
    uint64_t freed = 0;    // when, in frees; of a free one
    Index lower = kNil;    // its neighbours in the arena
    Index upper = kNil;    //
    Index older = kNil;    // of the same bin
    Index newer = kNil;    // or, of an unused one, the next unused one
    bool is_free = false;  //
  };
  // The free extents of one length.
  struct Bin {
    uint64_t bytes = 0;
    Index oldest = kNil;
    Index newest = kNil;
    Index warm = kNil;     // what is taken next
    Index warm_count = 0;  // from `warm` to `newest`
  };

  uint64_t Untouched() const { return arena_bytes_ - top_; }
  bool CanCarve(uint64_t bytes) const { return bytes <= Untouched() && used_count_ < kMaxExtents; }
  // Until so much is free that what is written anew has left the writer's own cache. Not with more
  // extents than can be live, so that there is one left for each of them to be split.
  bool PrefersToCarve(uint64_t bytes) const {
    return free_bytes_ < kReuseBytes && used_count_ < kMaxFrames && CanCarve(bytes);
  }
  // The length of an extent for a frame of `size_bytes`, which is no longer than the arena.
  uint64_t Rounded(uint64_t size_bytes) const {
    const uint64_t least = size_bytes == 0 ? 1 : size_bytes;
    return (least + alignment_ - 1) & ~uint64_t{alignment_ - 1};
  }
  // The first bin of at least so many bytes; bin_count_: none.
  uint32_t FindBin(uint64_t bytes) const;
  void Append(Index index);
  Index TakeWarm(uint32_t at);
  Index TakeUnused();
  void GiveUp(Index index);
  uint32_t Carve(uint64_t bytes);
  uint32_t TakeFrom(uint32_t bin, uint64_t bytes);
  uint32_t TryAllocate(uint64_t bytes);
  void Merge();

  uint64_t arena_bytes_ = 0;
  uint32_t alignment_ = kMinArenaAlignment;
  uint64_t top_ = 0;         // behind it nothing was allocated, or all of it is free again
  uint64_t free_bytes_ = 0;  // below top_
  uint64_t frees_ = 0;
  uint32_t live_count_ = 0;
  uint32_t used_count_ = 0;  // extents, live and free
  uint32_t bin_count_ = 0;
  Index highest_ = kNil;  // the extent that ends at top_
  Index unused_ = 0;
  bool may_merge_ = false;                  // something became free since the last merge
  std::array<Bin, kMaxExtents> bins_ = {};  // by length
  std::array<Extent, kMaxExtents> extents_ = {};
};

}  // namespace parley

#endif  // PARLEY_FRAMES_ARENA_ALLOCATOR_H_

// SPDX-License-Identifier: Apache-2.0
#include "parley/frames/arena_allocator.h"

#include <algorithm>

#include "parley/os/check.h"

namespace parley {

ArenaAllocator::ArenaAllocator(const ArenaGeometry& arena) : arena_bytes_(arena.bytes) {
  PARLEY_CHECK(IsArena(arena), "ArenaAllocator: an arena that can't be");
  if (arena.bytes != 0) alignment_ = arena.alignment;
  for (Index i = 0; i < kMaxExtents; ++i) extents_[i].newer = static_cast<Index>(i + 1);
}

uint32_t ArenaAllocator::Allocate(uint64_t size_bytes) {
  if (size_bytes > arena_bytes_ || live_count_ == kMaxFrames) return kNone;
  const uint64_t bytes = Rounded(size_bytes);
  uint32_t extent = TryAllocate(bytes);
  if (extent == kNone && may_merge_) {
    Merge();
    extent = TryAllocate(bytes);
  }
  return extent;
}

bool ArenaAllocator::MayFit(uint64_t size_bytes) const {
  if (size_bytes > arena_bytes_ || live_count_ == kMaxFrames) return false;
  const uint64_t bytes = Rounded(size_bytes);
  return may_merge_ || FindBin(bytes) != bin_count_ || bytes <= Untouched();
}

bool ArenaAllocator::WouldReuse(uint64_t size_bytes) const {
  if (size_bytes > arena_bytes_ || live_count_ == kMaxFrames) return false;
  const uint64_t bytes = Rounded(size_bytes);
  const uint32_t bin = FindBin(bytes);
  return bin != bin_count_ && bins_[bin].bytes == bytes && !PrefersToCarve(bytes);
}

uint32_t ArenaAllocator::TryAllocate(uint64_t bytes) {
  if (PrefersToCarve(bytes)) return Carve(bytes);
  const uint32_t bin = FindBin(bytes);
  const bool found = bin != bin_count_;
  if (found && bins_[bin].bytes == bytes) return TakeFrom(bin, bytes);
  // What is much longer waits for a frame of its own length as long as there is something else.
  if (CanCarve(bytes) && !(found && bins_[bin].bytes <= 2 * bytes)) return Carve(bytes);
  return found && used_count_ < kMaxExtents ? TakeFrom(bin, bytes) : kNone;
}

uint32_t ArenaAllocator::Carve(uint64_t bytes) {
  const Index made = TakeUnused();
  Extent& extent = extents_[made];
  extent.offset = top_;
  extent.bytes = bytes;
  extent.lower = highest_;
  extent.upper = kNil;
  if (highest_ != kNil) extents_[highest_].upper = made;
  highest_ = made;
  top_ += bytes;
  ++live_count_;
  return made;
}

uint32_t ArenaAllocator::TakeFrom(uint32_t bin, uint64_t bytes) {
  const Index taken = TakeWarm(bin);
  Extent& extent = extents_[taken];
  ++live_count_;
  if (extent.bytes == bytes) return taken;
  const Index rest_index = TakeUnused();
  Extent& rest = extents_[rest_index];
  rest.offset = extent.offset + bytes;
  rest.bytes = extent.bytes - bytes;
  rest.freed = extent.freed;
  rest.lower = taken;
  rest.upper = extent.upper;
  if (rest.upper != kNil) {
    extents_[rest.upper].lower = rest_index;
  } else {
    highest_ = rest_index;
  }
  extent.upper = rest_index;
  extent.bytes = bytes;
  Append(rest_index);
  return taken;
}

void ArenaAllocator::Free(uint32_t extent) {
  extents_[extent].freed = ++frees_;
  --live_count_;
  may_merge_ = true;
  Append(static_cast<Index>(extent));
}

ArenaAllocator::Index ArenaAllocator::TakeUnused() {
  const Index taken = unused_;
  PARLEY_CHECK(taken != kNil, "ArenaAllocator: more extents than there can be");
  unused_ = extents_[taken].newer;
  ++used_count_;
  return taken;
}

void ArenaAllocator::GiveUp(Index index) {
  extents_[index] = Extent();
  extents_[index].newer = unused_;
  unused_ = index;
  --used_count_;
}

uint32_t ArenaAllocator::FindBin(uint64_t bytes) const {
  const auto end = bins_.begin() + bin_count_;
  const auto found =
      std::lower_bound(bins_.begin(), end, bytes,
                       [](const Bin& bin, uint64_t wanted) { return bin.bytes < wanted; });
  return static_cast<uint32_t>(found - bins_.begin());
}

// The newest of its bin.
void ArenaAllocator::Append(Index index) {
  Extent& extent = extents_[index];
  extent.is_free = true;
  free_bytes_ += extent.bytes;
  const uint32_t at = FindBin(extent.bytes);
  if (at == bin_count_ || bins_[at].bytes != extent.bytes) {
    std::copy_backward(bins_.begin() + at, bins_.begin() + bin_count_,
                       bins_.begin() + bin_count_ + 1);
    ++bin_count_;
    bins_[at] = {extent.bytes, index, index, index, 1};
    extent.older = extent.newer = kNil;
    return;
  }
  Bin& bin = bins_[at];
  extent.older = bin.newest;
  extent.newer = kNil;
  extents_[bin.newest].newer = index;
  bin.newest = index;
  if (bin.warm_count * bin.bytes < kReuseBytes) {
    ++bin.warm_count;
  } else {
    bin.warm = extents_[bin.warm].newer;
  }
}

ArenaAllocator::Index ArenaAllocator::TakeWarm(uint32_t at) {
  Bin& bin = bins_[at];
  const Index taken = bin.warm;
  Extent& extent = extents_[taken];
  extent.is_free = false;
  free_bytes_ -= extent.bytes;
  if (extent.older != kNil) {
    extents_[extent.older].newer = extent.newer;
    bin.warm = extent.older;
  } else {
    bin.oldest = extent.newer;
    bin.warm = extent.newer;
    --bin.warm_count;
  }
  if (extent.newer != kNil) {
    extents_[extent.newer].older = extent.older;
  } else {
    bin.newest = extent.older;
  }
  if (bin.newest == kNil) {
    std::copy(bins_.begin() + at + 1, bins_.begin() + bin_count_, bins_.begin() + at);
    --bin_count_;
  }
  return taken;
}

// Each free extent with its free neighbours; what is free at the end is untouched again.
void ArenaAllocator::Merge() {
  may_merge_ = false;
  std::array<Index, kMaxExtents> free = {};
  std::size_t free_count = 0;
  Index next = kNil;
  for (Index i = highest_; i != kNil; i = next) {
    Extent& extent = extents_[i];
    next = extent.lower;
    if (!extent.is_free) continue;
    while (extent.lower != kNil && extents_[extent.lower].is_free) {
      const Index gone = extent.lower;
      Extent& lower = extents_[gone];
      extent.offset = lower.offset;
      extent.bytes += lower.bytes;
      extent.freed = std::max(extent.freed, lower.freed);
      extent.lower = lower.lower;
      if (extent.lower != kNil) extents_[extent.lower].upper = i;
      GiveUp(gone);
    }
    next = extent.lower;
    if (extent.upper != kNil) {
      free[free_count++] = i;
      continue;
    }
    top_ = extent.offset;
    highest_ = extent.lower;
    if (highest_ != kNil) extents_[highest_].upper = kNil;
    GiveUp(i);
  }
  std::sort(free.begin(), free.begin() + static_cast<std::ptrdiff_t>(free_count),
            [this](Index a, Index b) { return extents_[a].freed < extents_[b].freed; });
  bin_count_ = 0;
  free_bytes_ = 0;
  for (std::size_t i = 0; i < free_count; ++i) Append(free[i]);
}

}  // namespace parley

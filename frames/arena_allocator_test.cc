// SPDX-License-Identifier: Apache-2.0

// The allocator of an arena against the obvious: a map of which byte belongs to whom.

#include "parley/frames/arena_allocator.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "parley/shm/arena_layout.h"

namespace parley {
namespace {

constexpr uint32_t kNone = ArenaAllocator::kNone;
constexpr uint64_t kMiB = uint64_t{1} << 20;

// The order in which offsets are used by a sender whose receiver returns each frame at once.
std::vector<uint64_t> OffsetsOf(ArenaAllocator& allocator, uint64_t size_bytes, int count) {
  std::vector<uint64_t> offsets;
  for (int i = 0; i < count; ++i) {
    const uint32_t extent = allocator.Allocate(size_bytes);
    EXPECT_NE(extent, kNone);
    offsets.push_back(allocator.offset_bytes(extent) / size_bytes);
    allocator.Free(extent);
  }
  return offsets;
}

// What is longer than kReuseBytes goes out again at once, what is shorter when others have been.
TEST(ArenaAllocatorTest, AnExtentIsUsedAnewWhenEnoughElseWasWrittenAndNotMuchLater) {
  const auto order = [](uint64_t frame_bytes, int count) {
    ArenaAllocator allocator({64 * kMiB, 64});
    return OffsetsOf(allocator, frame_bytes, count);
  };
  constexpr uint64_t kReuse = ArenaAllocator::kReuseBytes;
  EXPECT_EQ(order(kReuse, 4), (std::vector<uint64_t>{0, 0, 0, 0}));
  EXPECT_EQ(order(3110400, 4), (std::vector<uint64_t>{0, 0, 0, 0}));
  EXPECT_EQ(order(kReuse / 2, 6), (std::vector<uint64_t>{0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(order(kReuse / 2 + 4096, 6), (std::vector<uint64_t>{0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(order(kReuse / 4, 9), (std::vector<uint64_t>{0, 1, 2, 3, 0, 1, 2, 3, 0}));
  // As many as there can be, if they are so small.
  std::vector<uint64_t> all(kMaxFrames + 2);
  std::iota(all.begin(), all.end(), 0);
  all[kMaxFrames] = 0;
  all[kMaxFrames + 1] = 1;
  EXPECT_EQ(order(4096, kMaxFrames + 2), all);
}

TEST(ArenaAllocatorTest, ASmallArenaIsUsedInTurn) {
  ArenaAllocator allocator({16384, 64});
  EXPECT_EQ(OffsetsOf(allocator, 4096, 6), (std::vector<uint64_t>{0, 1, 2, 3, 0, 1}));
}

TEST(ArenaAllocatorTest, WhatIsKeptIsNotUsedAndAllOfTheArenaCanBeHad) {
  ArenaAllocator allocator(ArenaFor(4, 3110400));
  std::vector<uint32_t> live;
  for (int i = 0; i < 4; ++i) live.push_back(allocator.Allocate(3110400));
  EXPECT_EQ(std::count(live.begin(), live.end(), kNone), 0);
  EXPECT_EQ(allocator.Allocate(3110400), kNone);
  EXPECT_FALSE(allocator.MayFit(3110400));
  allocator.Free(live[2]);
  EXPECT_EQ(allocator.Allocate(3110400), live[2]);
  EXPECT_EQ(allocator.Allocate(kMaxArenaBytes), kNone);
}

TEST(ArenaAllocatorTest, AnArenaOfNothingAndFramesOfNothing) {
  ArenaAllocator none({});
  EXPECT_EQ(none.Allocate(0), kNone);
  EXPECT_EQ(none.Allocate(1), kNone);
  EXPECT_FALSE(none.MayFit(0));
  ArenaAllocator allocator({4096, 4096});
  const uint32_t extent = allocator.Allocate(0);
  ASSERT_NE(extent, kNone);
  EXPECT_EQ(allocator.size_bytes(extent), 4096u);
}

// So a change of the format needs no new arena.
TEST(ArenaAllocatorTest, AfterAChangeOfSizeAllOfTheArenaIsUsedAgain) {
  ArenaAllocator allocator({64 * kMiB, 64});
  for (const uint64_t size :
       {kMiB, 3 * kMiB + 64, uint64_t{4096}, 16 * kMiB, uint64_t{460800}, 64 * kMiB, kMiB}) {
    std::vector<uint32_t> live;
    for (uint64_t i = 0; i < std::min<uint64_t>(64 * kMiB / size, kMaxFrames); ++i) {
      live.push_back(allocator.Allocate(size));
      ASSERT_NE(live.back(), kNone) << size << ", number " << i;
    }
    for (std::size_t i = 0; i < live.size(); i += 2) allocator.Free(live[i]);
    for (std::size_t i = 1; i < live.size(); i += 2) allocator.Free(live[i]);
    EXPECT_EQ(allocator.free_bytes(), 64 * kMiB);
  }
}

// What a small stream does beside a large one: it takes none of the large one's extents while there
// is something else.
TEST(ArenaAllocatorTest, SmallFramesLeaveLargeExtentsWhole) {
  ArenaAllocator allocator({64 * kMiB, 64});
  uint64_t highest = 0;
  for (int i = 0; i < 1000; ++i) {
    const uint32_t picture = allocator.Allocate(3 * kMiB);
    ASSERT_NE(picture, kNone);
    const uint32_t sound = allocator.Allocate(4096);
    ASSERT_NE(sound, kNone);
    highest = std::max(highest, allocator.offset_bytes(picture) + 3 * kMiB);
    allocator.Free(picture);
    const uint32_t more = allocator.Allocate(8192);
    allocator.Free(sound);
    allocator.Free(more);
  }
  EXPECT_LE(highest, 8 * kMiB);
}

// Random sizes and orders, checked byte by byte of units; and the bound on what fragments.
class Model {
 public:
  Model(ArenaGeometry arena, uint32_t seed) : arena_(arena), allocator_(arena), random_(seed) {}

  void Run(int steps, uint64_t max_bytes) {
    for (int i = 0; i < steps; ++i) {
      if (random_() % 2 == 0 && !live_.empty()) {
        auto at = live_.begin();
        std::advance(at, random_() % live_.size());
        allocator_.Free(at->second.extent);
        live_.erase(at);
      } else {
        Take(random_() % 4 == 0 ? max_bytes : random_() % (max_bytes + 1));
      }
      if (::testing::Test::HasFatalFailure()) return;
    }
  }

 private:
  struct Live {
    uint32_t extent;
    uint64_t end;
  };

  void Take(uint64_t size) {
    const uint64_t rounded =
        (std::max<uint64_t>(size, 1) + arena_.alignment - 1) / arena_.alignment * arena_.alignment;
    const uint64_t free = allocator_.free_bytes();
    uint64_t expected_free = arena_.bytes;
    for (const auto& [begin, live] : live_) expected_free -= live.end - begin;
    ASSERT_EQ(free, expected_free);
    const bool may = allocator_.MayFit(size);
    const bool reuses = allocator_.WouldReuse(size);
    const uint32_t extent = allocator_.Allocate(size);
    if (extent == kNone) {
      ASSERT_FALSE(reuses);
      // The bound of the header.
      ASSERT_TRUE(live_.size() == kMaxFrames || free < (live_.size() + 1) * rounded);
      return;
    }
    ASSERT_TRUE(may);
    const uint64_t begin = allocator_.offset_bytes(extent);
    const uint64_t end = begin + rounded;
    ASSERT_EQ(allocator_.size_bytes(extent), rounded);
    ASSERT_EQ(begin % arena_.alignment, 0u);
    ASSERT_LE(end, arena_.bytes);
    const auto above = live_.lower_bound(begin);
    ASSERT_TRUE(above == live_.end() || above->first >= end);
    ASSERT_TRUE(above == live_.begin() || std::prev(above)->second.end <= begin);
    for (const auto& [other, live] : live_) ASSERT_NE(live.extent, extent);
    live_[begin] = {extent, end};
  }

  const ArenaGeometry arena_;
  ArenaAllocator allocator_;
  std::mt19937 random_;
  std::map<uint64_t, Live> live_;
};

TEST(ArenaAllocatorTest, RandomSizesAndOrdersNeverOverlapAndFragmentWithinTheBound) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    Model({kMiB, 64}, seed).Run(3000, uint64_t{64} << (seed % 12));
    Model({16 * kMiB, 64}, seed).Run(3000, 3 * kMiB);
    Model({16384, 4096}, seed).Run(1000, 8192);
    Model({4096, 64}, seed).Run(2000, 200);
  }
}

// Every order in which a peer can give back what fills the arena leaves room for what fits.
TEST(ArenaAllocatorTest, PromiseP3WorkNoOrderOfReturnsWearsTheArenaOut) {
  std::vector<uint32_t> order = {0, 1, 2, 3, 4, 5};
  ArenaAllocator allocator({6 * 4096, 64});
  do {
    std::vector<uint32_t> live;
    for (int i = 0; i < 6; ++i) live.push_back(allocator.Allocate(4096));
    ASSERT_EQ(std::count(live.begin(), live.end(), kNone), 0);
    for (const uint32_t i : order) {
      allocator.Free(live[i]);
      // Something of another size in between, over and over.
      const uint32_t odd = allocator.Allocate(64 + uint64_t{64} * i);
      ASSERT_NE(odd, kNone);
      allocator.Free(odd);
    }
    ASSERT_EQ(allocator.free_bytes(), 6u * 4096);
    ASSERT_EQ(allocator.live_count(), 0u);
  } while (std::next_permutation(order.begin(), order.end()));
  const uint32_t all = allocator.Allocate(6 * 4096);
  EXPECT_NE(all, kNone);
}

// ---- One step after the other.

constexpr uint64_t kUnit = 4096;

// An arena of so many units, from which nothing can be carved once they are taken.
struct Units {
  explicit Units(uint64_t units) : allocator({units * kUnit, 64}) {}
  uint32_t Take(uint64_t units) {
    const uint32_t extent = allocator.Allocate(units * kUnit);
    EXPECT_NE(extent, kNone);
    return extent;
  }
  // Where in units.
  uint64_t At(uint32_t extent) const { return allocator.offset_bytes(extent) / kUnit; }
  // What makes it merge: nothing is as long.
  void Merge() { EXPECT_EQ(allocator.Allocate(allocator.arena_bytes()), kNone); }
  ArenaAllocator allocator;
};

// Of the newest that make up kReuseBytes, the oldest: and the next time of those that are left.
TEST(ArenaAllocatorTest, WhatIsTakenIsTheOldestOfTheNewest) {
  ArenaAllocator allocator({5 * kMiB, 64});
  std::vector<uint32_t> live;
  for (int i = 0; i < 5; ++i) live.push_back(allocator.Allocate(kMiB));
  for (const uint32_t extent : live) allocator.Free(extent);
  std::vector<uint64_t> order;
  for (int i = 0; i < 5; ++i) {
    order.push_back(allocator.offset_bytes(allocator.Allocate(kMiB)) / kMiB);
  }
  EXPECT_EQ(order, (std::vector<uint64_t>{3, 2, 1, 0, 4}));
}

// In the order in which they became free, also after they were gathered anew.
TEST(ArenaAllocatorTest, AfterAMergeTheOrderIsThatInWhichTheyBecameFree) {
  Units units(6);
  std::vector<uint32_t> live;
  for (int i = 0; i < 6; ++i) live.push_back(units.Take(1));
  for (const std::size_t i : {2u, 4u, 0u}) units.allocator.Free(live[i]);
  units.Merge();
  std::vector<uint64_t> order;
  for (int i = 0; i < 3; ++i) order.push_back(units.At(units.Take(1)));
  EXPECT_EQ(order, (std::vector<uint64_t>{2, 4, 0}));
}

// What is merged became free when the last part of it did.
TEST(ArenaAllocatorTest, WhatIsMergedIsAsNewAsItsNewestPart) {
  for (const bool upper_first : {true, false}) {
    Units units(6);
    const uint32_t lower = units.Take(1);
    const uint32_t upper = units.Take(1);
    units.Take(1);
    const uint32_t other = units.Take(2);
    units.Take(1);
    units.allocator.Free(upper_first ? upper : lower);
    units.allocator.Free(other);
    units.allocator.Free(upper_first ? lower : upper);
    units.Merge();
    EXPECT_EQ(units.At(units.Take(2)), 3u);
    EXPECT_EQ(units.At(units.Take(2)), 0u);
  }
}

// And what is left of one that was cut, when that did.
TEST(ArenaAllocatorTest, WhatIsLeftOfAnExtentIsAsNewAsItWas) {
  Units units(6);
  const uint32_t first = units.Take(1);
  units.Take(1);
  const uint32_t second = units.Take(3);
  units.Take(1);
  units.allocator.Free(first);
  units.allocator.Free(second);
  EXPECT_EQ(units.At(units.Take(2)), 2u);  // so that one unit is left of the second
  units.Merge();
  EXPECT_EQ(units.At(units.Take(1)), 0u);
  EXPECT_EQ(units.At(units.Take(1)), 4u);
}

// A long one is cut for what is half as long or longer, and for nothing else as long as there is
// room behind all of them.
TEST(ArenaAllocatorTest, ALongExtentIsCutForWhatIsHalfAsLong) {
  for (const bool half : {true, false}) {
    ArenaAllocator allocator({64 * kMiB, 64});
    allocator.Free(allocator.Allocate(4 * kMiB));
    const uint32_t extent = allocator.Allocate(2 * kMiB - (half ? 0 : 64));
    EXPECT_EQ(allocator.offset_bytes(extent), half ? 0 : 4 * kMiB);
    // Where it was left whole, it is there for its own kind.
    const uint32_t next = allocator.Allocate(4 * kMiB);
    EXPECT_EQ(allocator.offset_bytes(next), half ? 4 * kMiB : 0);
  }
}

TEST(ArenaAllocatorTest, SaysWhetherAnotherOneMayFit) {
  Units units(2);
  ArenaAllocator& allocator = units.allocator;
  EXPECT_TRUE(allocator.MayFit(0));
  EXPECT_TRUE(allocator.MayFit(2 * kUnit));
  EXPECT_FALSE(allocator.MayFit(2 * kUnit + 1));
  const uint32_t first = units.Take(1);
  EXPECT_TRUE(allocator.MayFit(kUnit));
  EXPECT_FALSE(allocator.MayFit(kUnit + 1));
  units.Take(1);
  EXPECT_FALSE(allocator.MayFit(0));
  allocator.Free(first);
  EXPECT_TRUE(allocator.MayFit(kUnit));
  EXPECT_FALSE(allocator.MayFit(2 * kUnit + 1));
  EXPECT_FALSE(allocator.MayFit(~uint64_t{0}));
  // Once that was tried, it is known.
  EXPECT_EQ(allocator.Allocate(2 * kUnit), kNone);
  EXPECT_FALSE(allocator.MayFit(2 * kUnit));
  EXPECT_TRUE(allocator.MayFit(kUnit));
}

TEST(ArenaAllocatorTest, SaysWhetherItWouldTakeOneOfThatVeryLength) {
  Units units(3);
  ArenaAllocator& allocator = units.allocator;
  EXPECT_FALSE(allocator.WouldReuse(kUnit));
  allocator.Free(units.Take(3));
  EXPECT_TRUE(allocator.WouldReuse(3 * kUnit));
  EXPECT_TRUE(allocator.WouldReuse(3 * kUnit - 63));
  EXPECT_FALSE(allocator.WouldReuse(3 * kUnit - 64));
  EXPECT_FALSE(allocator.WouldReuse(kUnit));
  EXPECT_FALSE(allocator.WouldReuse(3 * kUnit + 1));
  EXPECT_FALSE(allocator.WouldReuse(~uint64_t{0}));
  units.Take(3);
  EXPECT_FALSE(allocator.WouldReuse(3 * kUnit));
  // As long as others are better: what is behind them was not written yet.
  ArenaAllocator large({64 * kMiB, 64});
  large.Free(large.Allocate(kUnit));
  EXPECT_FALSE(large.WouldReuse(kUnit));
}

// Of as many as can be live, none more is had, whatever is free.
TEST(ArenaAllocatorTest, PromiseP7ResourcesAsManyAsThereMayBeAreLive) {
  ArenaAllocator allocator({kMiB, 64});
  std::vector<uint32_t> live;
  for (uint32_t i = 0; i < kMaxFrames; ++i) live.push_back(allocator.Allocate(64));
  EXPECT_EQ(std::count(live.begin(), live.end(), kNone), 0);
  EXPECT_EQ(allocator.Allocate(64), kNone);
  allocator.Free(live[0]);
  EXPECT_TRUE(allocator.MayFit(64));
  ASSERT_NE(allocator.Allocate(128), kNone);
  EXPECT_EQ(allocator.live_count(), kMaxFrames);
  // One of 64 bytes is free.
  EXPECT_EQ(allocator.Allocate(64), kNone);
  EXPECT_FALSE(allocator.MayFit(64));
  EXPECT_FALSE(allocator.WouldReuse(64));
}

// As many pieces as there can be: behind each that is live lies a free one. What is asked for next
// is found.
TEST(ArenaAllocatorTest, PromiseP7ResourcesAsManyPiecesAsThereMayBe) {
  for (const uint64_t behind_bytes : {0u, 65536u}) {
    const uint64_t arena_bytes = kMaxFrames * 512 + behind_bytes;
    ArenaAllocator allocator({arena_bytes, 64});
    std::vector<uint32_t> live;
    for (uint32_t i = 0; i < kMaxFrames; ++i) live.push_back(allocator.Allocate(512));
    for (const uint32_t extent : live) allocator.Free(extent);
    for (uint32_t& extent : live) extent = allocator.Allocate(320);
    EXPECT_EQ(std::count(live.begin(), live.end(), kNone), 0);
    EXPECT_EQ(allocator.offset_bytes(live[5]), 5u * 512);
    // One of its own length is taken as it is.
    allocator.Free(live[5]);
    live[5] = allocator.Allocate(320);
    ASSERT_NE(live[5], kNone);
    EXPECT_EQ(allocator.offset_bytes(live[5]), 5u * 512);
    for (const uint64_t size : {uint64_t{64}, uint64_t{256}, uint64_t{320}, uint64_t{512}}) {
      allocator.Free(live[5]);
      live[5] = allocator.Allocate(size);
      ASSERT_NE(live[5], kNone) << size;
    }
    for (const uint32_t extent : live) allocator.Free(extent);
    EXPECT_EQ(allocator.free_bytes(), arena_bytes);
    EXPECT_NE(allocator.Allocate(arena_bytes), kNone);
  }
}

using ArenaAllocatorDeathTest = ::testing::Test;

TEST(ArenaAllocatorDeathTest, PromiseP9AbortIsOursAnArenaThatCantBe) {
  EXPECT_DEATH(ArenaAllocator({4096, 3}), "an arena that can't be");
  EXPECT_DEATH(ArenaAllocator({100, 64}), "an arena that can't be");
}

}  // namespace
}  // namespace parley

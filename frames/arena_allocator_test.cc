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

}  // namespace
}  // namespace parley

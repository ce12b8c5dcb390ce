// SPDX-License-Identifier: Apache-2.0
#include "parley/shm/arena_layout.h"

#include <cstdint>

#include "gtest/gtest.h"
#include "parley/sealing/guarded_range.h"

namespace parley {
namespace {

constexpr uint64_t kUnit = kArenaUnitBytes;

TEST(ArenaLayoutTest, NoneOrWholeUnitsAndAPowerOfTwo) {
  EXPECT_TRUE(IsArena({}));
  EXPECT_TRUE(IsArena({kUnit, 64}));
  EXPECT_TRUE(IsArena({kMaxArenaBytes, 4096}));
  EXPECT_FALSE(IsArena({0, 64}));
  EXPECT_FALSE(IsArena({kUnit, 0}));
  EXPECT_FALSE(IsArena({kUnit - 1, 64}));
  EXPECT_FALSE(IsArena({kUnit + 8, 64}));
  EXPECT_FALSE(IsArena({kMaxArenaBytes + kUnit, 64}));
  EXPECT_FALSE(IsArena({uint64_t{1} << 63, 64}));
  for (const uint32_t alignment : {1u, 32u, 63u, 65u, 96u, 4095u, 8192u, ~0u}) {
    EXPECT_FALSE(IsArena({kUnit, alignment})) << alignment;
    EXPECT_FALSE(IsArenaRequest({kUnit, alignment})) << alignment;
  }
}

TEST(ArenaLayoutTest, ARequestMayLeaveEitherOpen) {
  EXPECT_TRUE(IsArenaRequest({}));
  EXPECT_TRUE(IsArenaRequest({0, 256}));
  EXPECT_TRUE(IsArenaRequest({kUnit, 0}));
  EXPECT_FALSE(IsArenaRequest({kUnit + 8, 0}));
}

TEST(ArenaLayoutTest, TheTableAndTheBytesLieInTheSection) {
  for (const ArenaGeometry arena : {ArenaGeometry{kUnit, 64}, ArenaGeometry{7 * kUnit, 4096},
                                    ArenaGeometry{kMaxArenaBytes, 64}}) {
    EXPECT_LE(FrameLineOffset(kMaxFrames - 1) + sizeof(FrameLineWire), kFrameTableBytes);
    EXPECT_LE(kFrameTableBytes + arena.bytes, ArenaSectionBytes(arena));
  }
  EXPECT_EQ(ArenaSectionBytes({}), 0u);
  // Rounded up to whole pages, and no page more.
  const uint64_t page = PageBytes();
  for (const uint64_t units : {1u, 2u, 3u, 16u, 17u, 1000u}) {
    const uint64_t bytes = kFrameTableBytes + units * kUnit;
    EXPECT_EQ(ArenaSectionBytes({units * kUnit, 64}), bytes + (page - bytes % page) % page);
  }
}

TEST(ArenaLayoutTest, ABudgetForSoManyFramesOfOneSize) {
  EXPECT_EQ(ArenaFor(4, 1 << 20), (ArenaGeometry{4 << 20, 64}));
  EXPECT_EQ(ArenaFor(3, 1), (ArenaGeometry{3 * kUnit, 64}));
  EXPECT_TRUE(IsArena(ArenaFor(4, 3110400)));
  EXPECT_GE(ArenaFor(4, 3110400).bytes, 4 * 3110400u);
}

}  // namespace
}  // namespace parley

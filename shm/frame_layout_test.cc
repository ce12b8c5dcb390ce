// SPDX-License-Identifier: Apache-2.0
#include "parley/shm/frame_layout.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace parley {
namespace {

constexpr uint64_t kUnit = kFrameUnitBytes;

TEST(FrameLayoutTest, NoneOrUpToSixtyFourOfOneLength) {
  EXPECT_TRUE(IsValid(FrameGeometry{}));
  EXPECT_TRUE(IsValid({1, kUnit}));
  EXPECT_TRUE(IsValid({64, 65535 * kUnit}));
  EXPECT_FALSE(IsValid({0, kUnit}));
  EXPECT_FALSE(IsValid({1, 0}));
  EXPECT_FALSE(IsValid({65, kUnit}));
  EXPECT_FALSE(IsValid({1, kUnit - 1}));
  EXPECT_FALSE(IsValid({1, kUnit + 8}));
  EXPECT_FALSE(IsValid({1, 65536 * kUnit}));
  EXPECT_FALSE(IsValid({1, uint64_t{1} << 63}));
}

TEST(FrameLayoutTest, LinesAndFramesLieInTheAreaAndApart) {
  for (const FrameGeometry frames :
       {FrameGeometry{1, kUnit}, FrameGeometry{3, 5 * kUnit}, FrameGeometry{64, 65535 * kUnit}}) {
    EXPECT_LE(FrameLineOffset(frames.count - 1) + sizeof(FrameLineWire), FrameOffset(frames, 0));
    for (uint32_t slot = 0; slot + 1 < frames.count; ++slot) {
      EXPECT_EQ(FrameOffset(frames, slot) + frames.frame_bytes, FrameOffset(frames, slot + 1));
    }
    EXPECT_LE(FrameOffset(frames, frames.count - 1) + frames.frame_bytes, FrameAreaBytes(frames));
  }
  EXPECT_EQ(FrameAreaBytes({}), 0u);
}

}  // namespace
}  // namespace parley

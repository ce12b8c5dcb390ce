// SPDX-License-Identifier: Apache-2.0
#include "parley/media/incoming_stream.h"

#include <cstring>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/media/format.h"
#include "parley/media/frame.h"

namespace parley {
namespace {

const VideoFormat kPicture = {.pixel_format = PixelFormat::kGray8,
                              .width = 4,
                              .height = 4,
                              .frame_rate = {25, 1},
                              .pixel_aspect = {1, 1}};

std::vector<std::byte> Picture(uint32_t generation, uint64_t sequence) {
  uint32_t payload = 0;
  FrameHeaderWire wire = PackedVideoHeader({kPicture, generation}, &payload);
  wire.sequence = sequence;
  std::vector<std::byte> message(kFrameHeaderBytes + payload);
  std::memcpy(message.data(), &wire, sizeof(wire));
  return message;
}

TEST(IncomingStreamTest, FramesFollowTheirFormat) {
  IncomingStream stream(StreamKind::kVideo, {}, 10);
  ASSERT_TRUE(stream.OnFormat(EncodeFormat({kPicture, 1})).ok());
  EXPECT_TRUE(stream.OnFrame(Picture(1, 10)).ok());
  EXPECT_TRUE(stream.OnFrame(Picture(1, 11)).ok());
  ASSERT_TRUE(stream.OnFormat(EncodeFormat({kPicture, 2})).ok());
  EXPECT_TRUE(stream.OnFrame(Picture(2, 12)).ok());
  EXPECT_EQ(stream.next_sequence(), 13u);
}

TEST(IncomingStreamTest, AFrameBeforeAnyFormatIsRefused) {
  IncomingStream stream(StreamKind::kVideo, {}, 0);
  EXPECT_EQ(stream.OnFrame(Picture(1, 0)).status().code(), absl::StatusCode::kDataLoss);
}

TEST(IncomingStreamTest, ASkippedRepeatedOrOldSequenceIsRefusedForGood) {
  for (const uint64_t lie : {uint64_t{0}, uint64_t{2}, ~uint64_t{0}}) {
    IncomingStream stream(StreamKind::kVideo, {}, 0);
    ASSERT_TRUE(stream.OnFormat(EncodeFormat({kPicture, 1})).ok());
    ASSERT_TRUE(stream.OnFrame(Picture(1, 0)).ok());
    EXPECT_EQ(stream.OnFrame(Picture(1, lie)).status().code(), absl::StatusCode::kDataLoss);
    // Poisoned: what would have been right a moment ago is refused as well.
    EXPECT_FALSE(stream.OnFrame(Picture(1, 1)).ok());
    EXPECT_FALSE(stream.OnFormat(EncodeFormat({kPicture, 2})).ok());
  }
}

TEST(IncomingStreamTest, AFormatChangeAtEachFrameEndsAtTheLimit) {
  IncomingLimits limits;
  limits.max_format_changes = 5;
  IncomingStream stream(StreamKind::kVideo, limits, 0);
  for (uint32_t i = 1; i <= 5; ++i) {
    ASSERT_TRUE(stream.OnFormat(EncodeFormat({kPicture, i})).ok());
    ASSERT_TRUE(stream.OnFrame(Picture(i, i - 1)).ok());
  }
  EXPECT_EQ(stream.OnFormat(EncodeFormat({kPicture, 6})).code(), absl::StatusCode::kDataLoss);
}

TEST(IncomingStreamTest, FormatsWithoutFramesWrongGenerationsAndOtherKindsAreRefused) {
  IncomingStream twice(StreamKind::kVideo, {}, 0);
  ASSERT_TRUE(twice.OnFormat(EncodeFormat({kPicture, 1})).ok());
  EXPECT_FALSE(twice.OnFormat(EncodeFormat({kPicture, 2})).ok());

  IncomingStream generation(StreamKind::kVideo, {}, 0);
  EXPECT_FALSE(generation.OnFormat(EncodeFormat({kPicture, 2})).ok());

  IncomingStream kind(StreamKind::kAudio, {}, 0);
  EXPECT_FALSE(kind.OnFormat(EncodeFormat({kPicture, 1})).ok());
}

TEST(IncomingStreamTest, AFrameShorterThanItsHeaderIsRefused) {
  IncomingStream stream(StreamKind::kVideo, {}, 0);
  ASSERT_TRUE(stream.OnFormat(EncodeFormat({kPicture, 1})).ok());
  EXPECT_FALSE(stream.OnFrame(absl::MakeConstSpan(Picture(1, 0)).first(63)).ok());
}

}  // namespace
}  // namespace parley

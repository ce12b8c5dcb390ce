// SPDX-License-Identifier: Apache-2.0
#include "parley/media/frame.h"

#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/wire_copy.h"

namespace parley {
namespace {

const NumberedFormat kVideo = {VideoFormat{.pixel_format = PixelFormat::kI420,
                                           .width = 17,
                                           .height = 9,
                                           .frame_rate = {25, 1},
                                           .pixel_aspect = {1, 1}},
                               3};
const NumberedFormat kAudio = {
    AudioFormat{.sample_format = SampleFormat::kF32, .rate_hz = 48000, .channels = 2}, 1};

absl::StatusOr<Frame> Validate(const FrameHeaderWire& wire, size_t payload,
                               const NumberedFormat& format) {
  std::array<std::byte, kFrameHeaderBytes> bytes;
  std::memcpy(bytes.data(), &wire, sizeof(wire));
  return ValidateFrame(bytes, payload, format);
}

TEST(FrameTest, APackedPictureIsAccepted) {
  uint32_t payload = 0;
  FrameHeaderWire wire = PackedVideoHeader(kVideo, &payload);
  wire.sequence = 5;
  wire.pts_ns = -40;
  wire.flags = kFrameKey;
  auto frame = Validate(wire, payload, kVideo);
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_EQ(frame->sequence, 5u);
  EXPECT_EQ(frame->pts_ns, -40);
  EXPECT_EQ(frame->flags, kFrameKey);
  ASSERT_EQ(frame->plane_count, 3u);
  EXPECT_EQ(frame->planes[0].size_bytes, 17u * 9u);
  EXPECT_EQ(frame->planes[1].offset_bytes, 160u);  // 153, aligned to 16
  EXPECT_EQ(frame->planes[2].row_bytes, 9u);
  EXPECT_EQ(frame->planes[2].rows, 5u);
  EXPECT_EQ(frame->planes[2].offset_bytes + frame->planes[2].size_bytes, payload);
  EXPECT_FALSE(Validate(wire, payload - 1, kVideo).ok());
  EXPECT_TRUE(Validate(wire, payload + 1, kVideo).ok());
}

TEST(FrameTest, WithoutAHeaderThereIsNothingInIt) {
  const Frame frame;
  EXPECT_EQ(frame.plane_count, 0u);
  EXPECT_EQ(frame.flags, 0u);
  EXPECT_EQ(frame.audio_frames, 0u);
  EXPECT_EQ(frame.sequence, 0u);
  EXPECT_EQ(frame.pts_ns, 0);
  EXPECT_EQ(frame.duration_ns, 0);
  for (const Plane& plane : frame.planes) {
    EXPECT_EQ(plane.offset_bytes + plane.stride_bytes + plane.row_bytes, 0u);
    EXPECT_EQ(plane.rows + plane.size_bytes, 0u);
  }
}

TEST(FrameTest, AWideStrideCountsUpToTheLastRow) {
  uint32_t payload = 0;
  FrameHeaderWire wire = PackedVideoHeader(kVideo, &payload);
  for (size_t i = 0; i < 3; ++i) {
    wire.planes[i] = {.offset_bytes = static_cast<uint32_t>(1000 * i), .stride_bytes = 64};
  }
  const size_t needed = 2000 + 64 * 4 + 9;
  EXPECT_TRUE(Validate(wire, needed, kVideo).ok());
  EXPECT_FALSE(Validate(wire, needed - 1, kVideo).ok());
}

TEST(FrameTest, EachHostileVideoFieldIsRefused) {
  constexpr uint32_t kMax = std::numeric_limits<uint32_t>::max();
  const std::vector<std::pair<std::string, std::function<void(FrameHeaderWire&)>>> lies = {
      {"reserved", [](auto& w) { w.reserved = 1; }},
      {"unknown flag", [](auto& w) { w.flags = 1 << 8; }},
      {"a first field of none", [](auto& w) { w.flags = kFrameTopFirst; }},
      {"unknown high flag", [](auto& w) { w.flags = 1 << 15; }},
      {"key and delta", [](auto& w) { w.flags = kFrameKey | kFrameDelta; }},
      {"generation before", [](auto& w) { w.format_generation = 2; }},
      {"generation after", [](auto& w) { w.format_generation = 4; }},
      {"no plane", [](auto& w) { w.plane_count = 0; }},
      {"two planes", [](auto& w) { w.plane_count = 2; }},
      {"four planes", [](auto& w) { w.plane_count = 4; }},
      {"255 planes", [](auto& w) { w.plane_count = 255; }},
      {"pts max", [](auto& w) { w.pts_ns = std::numeric_limits<int64_t>::max(); }},
      {"pts min", [](auto& w) { w.pts_ns = std::numeric_limits<int64_t>::min(); }},
      {"pts above", [](auto& w) { w.pts_ns = kMaxTimestampNs + 1; }},
      {"duration negative", [](auto& w) { w.duration_ns = -1; }},
      {"duration above", [](auto& w) { w.duration_ns = kMaxTimestampNs + 1; }},
      {"stride 0", [](auto& w) { w.planes[0].stride_bytes = 0; }},
      {"stride below the row", [](auto& w) { w.planes[1].stride_bytes = 8; }},
      {"stride max", [](auto& w) { w.planes[0].stride_bytes = kMax; }},
      {"last stride max", [](auto& w) { w.planes[2].stride_bytes = kMax; }},
      {"offset max", [](auto& w) { w.planes[2].offset_bytes = kMax; }},
      {"sum wraps 32 bits", [](auto& w) { w.planes[2].offset_bytes = kMax - 40; }},
      {"overlap", [](auto& w) { w.planes[1].offset_bytes -= 16; }},
      {"the same plane twice", [](auto& w) { w.planes[2] = w.planes[1]; }},
      {"out of order", [](auto& w) { std::swap(w.planes[1], w.planes[2]); }},
      {"a fourth offset", [](auto& w) { w.planes[3].offset_bytes = 1; }},
      {"a fourth stride", [](auto& w) { w.planes[3].stride_bytes = 1; }},
  };
  for (const auto& [name, lie] : lies) {
    uint32_t payload = 0;
    FrameHeaderWire wire = PackedVideoHeader(kVideo, &payload);
    ASSERT_TRUE(Validate(wire, payload, kVideo).ok());
    lie(wire);
    EXPECT_EQ(Validate(wire, payload, kVideo).status().code(), absl::StatusCode::kDataLoss) << name;
  }
}

TEST(FrameTest, EachHostileAudioFieldIsRefused) {
  const std::vector<std::pair<std::string, std::function<void(FrameHeaderWire&)>>> lies = {
      {"no plane", [](auto& w) { w.plane_count = 0; }},
      {"two planes", [](auto& w) { w.plane_count = 2; }},
      {"empty", [](auto& w) { w.planes[0].stride_bytes = 0; }},
      {"half a frame", [](auto& w) { w.planes[0].stride_bytes -= 4; }},
      {"one byte more", [](auto& w) { w.planes[0].stride_bytes += 1; }},
      {"one frame more", [](auto& w) { w.planes[0].stride_bytes += 8; }},
      {"4 GiB", [](auto& w) { w.planes[0].stride_bytes = 0xfffffff8; }},
      {"offset", [](auto& w) { w.planes[0].offset_bytes = 8; }},
      {"second plane", [](auto& w) { w.planes[1].stride_bytes = 8; }},
  };
  for (const auto& [name, lie] : lies) {
    uint32_t payload = 0;
    FrameHeaderWire wire = PackedAudioHeader(kAudio, 1024, &payload);
    auto honest = Validate(wire, payload, kAudio);
    ASSERT_TRUE(honest.ok()) << honest.status();
    EXPECT_EQ(honest->audio_frames, 1024u);
    lie(wire);
    EXPECT_EQ(Validate(wire, payload, kAudio).status().code(), absl::StatusCode::kDataLoss) << name;
  }
}

// Every pair of extreme offset and stride, for each plane: whatever is accepted lies inside.
TEST(FrameTest, WhateverIsAcceptedLiesInsideThePayload) {
  const std::vector<uint32_t> values = {
      0,   1,   8,          9,          16,         17,         160,     208,
      253, 254, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff, 0x10000, 0x1c71c71c};
  size_t accepted = 0;
  for (size_t plane = 0; plane < 3; ++plane) {
    for (const uint32_t offset : values) {
      for (const uint32_t stride : values) {
        uint32_t payload = 0;
        FrameHeaderWire wire = PackedVideoHeader(kVideo, &payload);
        wire.planes[plane] = {.offset_bytes = offset, .stride_bytes = stride};
        auto frame = Validate(wire, payload, kVideo);
        if (!frame.ok()) continue;
        ++accepted;
        for (size_t i = 0; i < frame->plane_count; ++i) {
          const Plane& p = frame->planes[i];
          ASSERT_LE(
              uint64_t{p.offset_bytes} + uint64_t{p.stride_bytes} * (p.rows - 1) + p.row_bytes,
              payload);
        }
      }
    }
  }
  EXPECT_GE(accepted, 3u);
}

TEST(FrameTest, EveryOtherHeaderLengthIsRefused) {
  std::array<std::byte, 65> bytes = {};
  for (size_t size : {size_t{0}, size_t{1}, size_t{63}, size_t{65}}) {
    EXPECT_EQ(ValidateFrame(absl::MakeSpan(bytes).first(size), 1 << 20, kVideo).status().code(),
              absl::StatusCode::kDataLoss);
  }
}

TEST(FrameTest, EveryPixelFormatPacksAndHoldsItsAlignment) {
  for (const PixelFormatInfo& info : AllPixelFormats()) {
    for (const uint32_t align : {1u, 64u, 4096u}) {
      const FrameAlignment alignment = {.plane_bytes = align, .row_bytes = align};
      const NumberedFormat format = {
          VideoFormat{.pixel_format = info.format, .width = 101, .height = 7}, 1};
      uint32_t payload = 0;
      const FrameHeaderWire wire = PackedVideoHeader(format, &payload, alignment);
      EXPECT_EQ(payload, PackedVideoBytes(std::get<VideoFormat>(format.format), alignment));
      const auto frame = ValidateFrame(WireBytes(wire), payload, format, alignment);
      ASSERT_TRUE(frame.ok()) << info.name << frame.status();
      EXPECT_FALSE(ValidateFrame(WireBytes(wire), payload - 1, format, alignment).ok());
      for (size_t i = 0; i < frame->plane_count; ++i) {
        EXPECT_EQ(frame->planes[i].offset_bytes % align, 0u) << info.name;
        EXPECT_EQ(frame->planes[i].stride_bytes % align, 0u) << info.name;
      }
      // A receiver that asked for it doesn't get less.
      if (align != 1) continue;
      EXPECT_FALSE(
          ValidateFrame(WireBytes(wire), payload, format, {.plane_bytes = 1, .row_bytes = 4096})
              .ok())
          << info.name;
    }
  }
}

// 2^32 - 1 = 51 * 84215045.
TEST(FrameDeathTest, SoundFitsIntoThirtyTwoBitsOrIsTheCallersBug) {
  const NumberedFormat bytes = {
      AudioFormat{.sample_format = SampleFormat::kU8, .rate_hz = 48000, .channels = 51}, 1};
  uint32_t payload = 0;
  PackedAudioHeader(bytes, 84'215'045, &payload);
  EXPECT_EQ(payload, ~uint32_t{0});
  EXPECT_DEATH(PackedAudioHeader(bytes, 84'215'046, &payload), "above 4 GiB");
  EXPECT_DEATH(PackedAudioHeader(bytes, 0, &payload), "no samples");
}

TEST(FrameTest, PlanarSoundLiesChannelByChannel) {
  const NumberedFormat planar = {
      AudioFormat{
          .sample_format = SampleFormat::kF32, .rate_hz = 48000, .channels = 24, .planar = true},
      1};
  for (const uint32_t align : {1u, 64u}) {
    const FrameAlignment alignment = {.plane_bytes = align, .row_bytes = align};
    uint32_t payload = 0;
    FrameHeaderWire wire = PackedAudioHeader(planar, 1001, &payload, alignment);
    auto frame = ValidateFrame(WireBytes(wire), payload, planar, alignment);
    ASSERT_TRUE(frame.ok()) << frame.status();
    EXPECT_EQ(frame->audio_frames, 1001u);
    EXPECT_EQ(frame->planes[0].rows, 24u);
    EXPECT_EQ(frame->planes[0].row_bytes, 4004u);
    EXPECT_EQ(frame->planes[0].stride_bytes, align == 1 ? 4004u : 4032u);
    EXPECT_FALSE(ValidateFrame(WireBytes(wire), payload - 1, planar, alignment).ok());
    wire.planes[1].stride_bytes = 4000;  // the channels overlap
    EXPECT_FALSE(ValidateFrame(WireBytes(wire), payload, planar, alignment).ok());
    wire.planes[1].stride_bytes = 0xffff'ff00;
    EXPECT_FALSE(ValidateFrame(WireBytes(wire), payload, planar, alignment).ok());
  }
}

}  // namespace
}  // namespace parley

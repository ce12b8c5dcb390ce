// SPDX-License-Identifier: Apache-2.0
#include "parley/media/acceptance.h"

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "parley/media/format.h"

namespace parley {
namespace {

TEST(AcceptanceTest, ComesBackAsItWas) {
  Acceptance wants;
  wants.SetPixelFormats({PixelFormat::kI420, PixelFormat::kP416});
  wants.sample_formats = 1u << static_cast<uint32_t>(SampleFormat::kF32);
  wants.interleaved = false;
  wants.limits.max_channels = 64;
  wants.max_format_changes = 3;
  wants.alignment = {.plane_bytes = 4096, .row_bytes = 64};
  const auto parsed = ParseAcceptance(EncodeAcceptance(wants));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, wants);
}

TEST(AcceptanceTest, EachRefusalNamesItsReason) {
  Acceptance wants;
  wants.SetPixelFormats({PixelFormat::kI420});
  wants.sample_formats = 1u << static_cast<uint32_t>(SampleFormat::kF32);
  wants.planar = false;
  wants.limits.max_channels = 64;
  const auto says = [&](const StreamFormat& format) {
    return std::string(wants.Check(format).message());
  };
  VideoFormat picture = {.pixel_format = PixelFormat::kI420, .width = 16, .height = 16};
  AudioFormat sound = {.sample_format = SampleFormat::kF32, .rate_hz = 48000, .channels = 64};
  EXPECT_EQ(says(picture), "");
  EXPECT_EQ(says(sound), "");
  picture.pixel_format = PixelFormat::kNv12;
  EXPECT_EQ(says(picture), "the receiver does not accept pictures as nv12");
  sound.channels = 65;
  EXPECT_EQ(says(sound), "65 channels of sound, more than the receiver's limit of 64");
  sound.planar = true;
  EXPECT_EQ(says(sound), "the receiver does not accept planar sound");
  sound.sample_format = SampleFormat::kS16;
  EXPECT_EQ(says(sound),
            "the receiver does not accept samples as in 48000 Hz s16 planar 65 channels");
}

TEST(AcceptanceTest, EachHostileFieldIsRefused) {
  const std::vector<std::pair<std::string, std::function<void(AcceptanceWire&)>>> lies = {
      {"magic", [](auto& w) { w.magic ^= 1; }},
      {"version", [](auto& w) { w.version = 2; }},
      {"neither", [](auto& w) { w.planar = w.interleaved = 0; }},
      {"planar", [](auto& w) { w.planar = 2; }},
      {"interleaved", [](auto& w) { w.interleaved = 255; }},
      {"alignment 0", [](auto& w) { w.row_alignment_bytes = 0; }},
      {"alignment 3", [](auto& w) { w.plane_alignment_bytes = 3; }},
      {"alignment 8192", [](auto& w) { w.plane_alignment_bytes = 8192; }},
      {"reserved", [](auto& w) { w.reserved[10] = 1; }},
  };
  for (const auto& [name, lie] : lies) {
    auto record = EncodeAcceptance({});
    AcceptanceWire wire;
    std::memcpy(&wire, record.data(), sizeof(wire));
    lie(wire);
    std::memcpy(record.data(), &wire, sizeof(wire));
    EXPECT_EQ(ParseAcceptance(record).status().code(), absl::StatusCode::kDataLoss) << name;
  }
  std::vector<std::byte> other(kAcceptanceBytes + 1);
  EXPECT_FALSE(ParseAcceptance(other).ok());
  EXPECT_FALSE(ParseAcceptance({}).ok());
}

}  // namespace
}  // namespace parley

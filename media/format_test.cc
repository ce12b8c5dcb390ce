#include "parley/media/format.h"

#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace parley {
namespace {

constexpr VideoFormat kHd = {.pixel_format = PixelFormat::kI420,
                             .width = 1280,
                             .height = 720,
                             .frame_rate = {25, 1},
                             .pixel_aspect = {1, 1},
                             .full_range = false};
constexpr AudioFormat kCd = {.sample_format = SampleFormat::kS16, .rate_hz = 44100, .channels = 2};

template <typename Wire>
absl::StatusOr<NumberedFormat> ParseChanged(const StreamFormat& format,
                                            const std::function<void(Wire&)>& change,
                                            const FormatLimits& limits = {}) {
  auto record = EncodeFormat({format, 7});
  Wire wire;
  std::memcpy(&wire, record.data(), sizeof(wire));
  change(wire);
  std::memcpy(record.data(), &wire, sizeof(wire));
  return ParseFormat(record, limits);
}

TEST(FormatTest, EveryFormatComesBackAsItWas) {
  for (uint32_t pixels = 1; pixels <= 8; ++pixels) {
    VideoFormat video = kHd;
    video.pixel_format = static_cast<PixelFormat>(pixels);
    video.full_range = pixels % 2 == 0;
    const NumberedFormat sent = {video, pixels};
    auto parsed = ParseFormat(EncodeFormat(sent), {});
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, sent);
  }
  for (uint32_t samples = 1; samples <= 4; ++samples) {
    AudioFormat audio = kCd;
    audio.sample_format = static_cast<SampleFormat>(samples);
    const NumberedFormat sent = {audio, samples};
    auto parsed = ParseFormat(EncodeFormat(sent), {});
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, sent);
  }
}

TEST(FormatTest, OddSizesRoundChromaUp) {
  VideoFormat odd = kHd;
  odd.width = 1919;
  odd.height = 1079;
  const PictureShape shape = ShapeOf(odd);
  EXPECT_EQ(shape.count, 3u);
  EXPECT_EQ(shape.planes[0].row_bytes, 1919u);
  EXPECT_EQ(shape.planes[1].row_bytes, 960u);
  EXPECT_EQ(shape.planes[2].rows, 540u);
  odd.pixel_format = PixelFormat::kI422P10;
  EXPECT_EQ(ShapeOf(odd).planes[1].row_bytes, 1920u);
  EXPECT_EQ(ShapeOf(odd).planes[1].rows, 1079u);
  odd.pixel_format = PixelFormat::kGray8;
  EXPECT_EQ(ShapeOf(odd).size_bytes(), 1919u * 1079u);
}

TEST(FormatTest, EachHostileVideoFieldIsRefused) {
  const std::vector<std::pair<std::string, std::function<void(VideoFormatWire&)>>> lies = {
      {"magic", [](auto& w) { w.magic ^= 1; }},
      {"version", [](auto& w) { w.version = 2; }},
      {"kind 0", [](auto& w) { w.kind = 0; }},
      {"kind 3", [](auto& w) { w.kind = 3; }},
      {"pixel format 0", [](auto& w) { w.pixel_format = 0; }},
      {"pixel format 9", [](auto& w) { w.pixel_format = 9; }},
      {"pixel format max", [](auto& w) { w.pixel_format = 0xffffffff; }},
      {"width 0", [](auto& w) { w.width = 0; }},
      {"width above", [](auto& w) { w.width = 16385; }},
      {"width max", [](auto& w) { w.width = 0xffffffff; }},
      {"height 0", [](auto& w) { w.height = 0; }},
      {"height max", [](auto& w) { w.height = 0xffffffff; }},
      {"too many bytes", [](auto& w) { w.width = w.height = 16384; }},
      {"frame rate", [](auto& w) { w.frame_rate_denominator = 0; }},
      {"aspect", [](auto& w) { w.pixel_aspect_denominator = 0; }},
      {"range", [](auto& w) { w.full_range = 2; }},
      {"reserved", [](auto& w) { w.reserved[4] = 1; }},
  };
  ASSERT_TRUE(ParseChanged<VideoFormatWire>(kHd, [](auto&) {}).ok());
  for (const auto& [name, lie] : lies) {
    auto parsed = ParseChanged<VideoFormatWire>(kHd, lie);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kDataLoss) << name;
  }
}

TEST(FormatTest, NoLimitOfTheCallerLetsASizeOverflow) {
  FormatLimits none;
  none.max_width = none.max_height = none.max_channels = std::numeric_limits<uint32_t>::max();
  none.max_frame_bytes = std::numeric_limits<uint64_t>::max();
  for (const uint32_t width : {uint32_t{65536}, uint32_t{65537}, uint32_t{0x80000001}}) {
    auto parsed = ParseChanged<VideoFormatWire>(
        kHd,
        [&](VideoFormatWire& w) {
          w.width = w.height = width;
          w.pixel_format = static_cast<uint32_t>(PixelFormat::kI444P10);
        },
        none);
    ASSERT_EQ(parsed.ok(), width == 65536) << width;
    if (parsed.ok()) {
      EXPECT_EQ(ShapeOf(std::get<VideoFormat>(parsed->format)).size_bytes(),
                uint64_t{3} * 2 * 65536 * 65536);
    }
  }
}

TEST(FormatTest, EachHostileAudioFieldIsRefused) {
  const std::vector<std::pair<std::string, std::function<void(AudioFormatWire&)>>> lies = {
      {"sample format 0", [](auto& w) { w.sample_format = 0; }},
      {"sample format 5", [](auto& w) { w.sample_format = 5; }},
      {"rate 0", [](auto& w) { w.rate_hz = 0; }},
      {"rate max", [](auto& w) { w.rate_hz = 0xffffffff; }},
      {"channels 0", [](auto& w) { w.channels = 0; }},
      {"channels 65", [](auto& w) { w.channels = 65; }},
      {"channels max", [](auto& w) { w.channels = 0xffffffff; }},
      {"reserved", [](auto& w) { w.reserved[0] = 1; }},
      {"kind", [](auto& w) { w.kind = kFormatKindVideo; }},
  };
  ASSERT_TRUE(ParseChanged<AudioFormatWire>(kCd, [](auto&) {}).ok());
  for (const auto& [name, lie] : lies) {
    auto parsed = ParseChanged<AudioFormatWire>(kCd, lie);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kDataLoss) << name;
  }
}

TEST(FormatTest, EveryOtherLengthIsRefused) {
  const auto record = EncodeFormat({kHd, 1});
  std::vector<std::byte> longer(record.begin(), record.end());
  longer.resize(65);
  for (size_t size = 0; size <= longer.size(); ++size) {
    EXPECT_EQ(ParseFormat(absl::MakeSpan(longer).first(size), {}).ok(), size == 64) << size;
  }
}

}  // namespace
}  // namespace parley

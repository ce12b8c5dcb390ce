// SPDX-License-Identifier: Apache-2.0
#include "parley/media/format.h"

#include <cstring>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace parley {
namespace {

const VideoFormat kHd = {.pixel_format = PixelFormat::kI420,
                         .width = 1280,
                         .height = 720,
                         .frame_rate = {25, 1},
                         .pixel_aspect = {1, 1}};
constexpr DisplayMatrix kQuarterTurn = {0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30};
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
  const std::vector<std::byte> profile(1000, std::byte{7});
  for (const PixelFormatInfo& info : AllPixelFormats()) {
    const uint32_t pixels = static_cast<uint32_t>(info.format);
    VideoFormat video = kHd;
    video.pixel_format = info.format;
    video.colour = {.range = static_cast<ColourRange>(pixels % 3),
                    .primaries = static_cast<uint8_t>(pixels),
                    .transfer = 18,
                    .matrix = 9};
    video.chroma_place = static_cast<ChromaPlace>(pixels % 7);
    video.field_order = static_cast<FieldOrder>(pixels % 4);
    video.alpha = static_cast<AlphaMode>(pixels % 2);
    if (pixels % 5 == 0) video.display_matrix = kQuarterTurn;
    if (pixels % 3 == 0) video.icc = IccProfile(profile);
    const NumberedFormat sent = {video, pixels};
    auto parsed = ParseFormat(EncodeFormat(sent), {});
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, sent);
    EXPECT_EQ(FindPixelFormat(pixels), &info);
    EXPECT_EQ(PixelFormatFromLibav(info.libav), &info);
  }
  for (uint32_t samples = 1; samples <= 7; ++samples) {
    AudioFormat audio = kCd;
    audio.sample_format = static_cast<SampleFormat>(samples);
    audio.planar = samples % 2 == 0;
    audio.layout = {.kind = ChannelLayout::Kind::kMask, .mask = 3, .positions = {}};
    const NumberedFormat sent = {audio, samples};
    auto parsed = ParseFormat(EncodeFormat(sent), {});
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, sent);
  }
}

// Whatever is not said is unknown, and a ratio that is not said can be divided.
TEST(FormatTest, NothingIsSaidUntilItIs) {
  EXPECT_EQ(Ratio(), (Ratio{0, 1}));
  const VideoFormat video;
  EXPECT_EQ(video.frame_rate, (Ratio{0, 1}));
  EXPECT_EQ(video.pixel_aspect.denominator, 1u);
  EXPECT_EQ(video.colour, (ColourDescription{ColourRange::kUnspecified, 2, 2, 2}));
  // Numbers of the wire, and of libav.
  EXPECT_EQ(static_cast<int>(ColourRange::kUnspecified), 0);
  EXPECT_EQ(static_cast<int>(ChromaPlace::kUnspecified), 0);
  EXPECT_EQ(static_cast<int>(FieldOrder::kUnspecified), 0);
}

TEST(FormatTest, ASentenceHasTheRateWhereThereIsOne) {
  VideoFormat format = kHd;
  const std::vector<std::pair<Ratio, std::string>> rates = {
      {{0, 1}, "1280x720 yuv420p"},
      {{1, 1}, "1280x720 yuv420p 1 fps"},
      {{1, 2}, "1280x720 yuv420p 0.5 fps"},
      {{25, 1}, "1280x720 yuv420p 25 fps"},
      {{30000, 1001}, "1280x720 yuv420p 29.97 fps"}};
  for (const auto& [rate, said] : rates) {
    format.frame_rate = rate;
    EXPECT_EQ(ToString(format).substr(0, said.size()), said);
    EXPECT_EQ(ToString(format).find(" fps") != std::string::npos, rate.numerator != 0);
  }
}

TEST(FormatTest, NoTwoFormatsHaveTheSameName) {
  for (const auto name : {&PixelFormatInfo::name, &PixelFormatInfo::libav,
                          &PixelFormatInfo::gstreamer, &PixelFormatInfo::drm}) {
    std::set<std::string_view> seen;
    for (const PixelFormatInfo& info : AllPixelFormats()) {
      const std::string_view text = info.*name;
      EXPECT_TRUE(text.empty() || seen.insert(text).second) << text;
      EXPECT_EQ(info.drm.size() % 4, 0u) << info.name;
    }
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
      {"version", [](auto& w) { w.version = 1; }},
      {"kind 0", [](auto& w) { w.kind = 0; }},
      {"kind 3", [](auto& w) { w.kind = 3; }},
      {"pixel format 0", [](auto& w) { w.pixel_format = 0; }},
      {"pixel format above",
       [](auto& w) { w.pixel_format = static_cast<uint32_t>(AllPixelFormats().size()) + 1; }},
      {"pixel format max", [](auto& w) { w.pixel_format = 0xffffffff; }},
      {"width 0", [](auto& w) { w.width = 0; }},
      {"width above", [](auto& w) { w.width = 65537; }},
      {"width max", [](auto& w) { w.width = 0xffffffff; }},
      {"height 0", [](auto& w) { w.height = 0; }},
      {"height max", [](auto& w) { w.height = 0xffffffff; }},
      {"too many bytes", [](auto& w) { w.width = w.height = 16384; }},
      {"frame rate", [](auto& w) { w.frame_rate_denominator = 0; }},
      {"aspect", [](auto& w) { w.pixel_aspect_denominator = 0; }},
      {"range", [](auto& w) { w.range = 3; }},
      {"chroma place", [](auto& w) { w.chroma_place = 7; }},
      {"field order", [](auto& w) { w.field_order = 4; }},
      {"alpha", [](auto& w) { w.alpha = 2; }},
      {"reserved byte", [](auto& w) { w.reserved_byte = 1; }},
      {"a flat matrix", [](auto& w) { w.display_matrix = {1, 1, 0, 1, 1, 0, 0, 0, 1 << 30}; }},
      {"a profile that is not there", [](auto& w) { w.icc_bytes = 1; }},
      {"a profile of 4 GiB", [](auto& w) { w.icc_bytes = 0xffffffff; }},
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
      {"sample format 8", [](auto& w) { w.sample_format = 8; }},
      {"rate 0", [](auto& w) { w.rate_hz = 0; }},
      {"rate max", [](auto& w) { w.rate_hz = 0xffffffff; }},
      {"channels 0", [](auto& w) { w.channels = 0; }},
      {"channels 513", [](auto& w) { w.channels = 513; }},
      {"channels max", [](auto& w) { w.channels = 0xffffffff; }},
      {"reserved", [](auto& w) { w.reserved[0] = 1; }},
      {"kind", [](auto& w) { w.kind = kFormatKindVideo; }},
      {"planar", [](auto& w) { w.planar = 2; }},
      {"bits", [](auto& w) { w.significant_bits = 17; }},
      {"layout", [](auto& w) { w.layout = 4; }},
      {"three channels in the mask", [](auto& w) { w.layout = 1, w.mask = 7; }},
      {"a mask without its kind", [](auto& w) { w.mask = 3; }},
      {"positions without their kind", [](auto& w) { w.positions[0] = 1; }},
      {"a position of 64", [](auto& w) { w.layout = 2, w.positions[1] = 64; }},
      {"a position too many", [](auto& w) { w.layout = 2, w.positions[2] = 1; }},
      {"two ambisonic channels", [](auto& w) { w.layout = 3; }},
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
  longer.resize(kFormatRecordBytes + 1);
  for (size_t size = 0; size <= longer.size(); ++size) {
    EXPECT_EQ(ParseFormat(absl::MakeSpan(longer).first(size), {}).ok(), size == kFormatRecordBytes)
        << size;
  }
}

TEST(FormatTest, EachLimitHasItsOwnSentence) {
  FormatLimits limits = {.max_width = 1000,
                         .max_height = 500,
                         .max_frame_bytes = 100'000,
                         .max_rate_hz = 96'000,
                         .max_channels = 64,
                         .max_icc_bytes = 10};
  const auto says = [&](const StreamFormat& format) {
    return std::string(CheckLimits(format, limits).message());
  };
  VideoFormat picture = {.pixel_format = PixelFormat::kRgb24, .width = 100, .height = 100};
  AudioFormat sound = {.sample_format = SampleFormat::kS16, .rate_hz = 48'000, .channels = 64};
  EXPECT_EQ(says(picture), "");
  EXPECT_EQ(says(sound), "");
  picture.icc = IccProfile(std::vector<std::byte>(11));
  EXPECT_EQ(says(picture), "an ICC profile of 11 bytes, more than the receiver's limit of 10");
  picture.height = 400;
  EXPECT_EQ(says(picture),
            "a picture of 100x400 in 120000 bytes, more than the receiver's limit of 100000");
  picture.height = 501;
  EXPECT_EQ(says(picture), "a picture of 100x501: rows, more than the receiver's limit of 500");
  picture.width = 20'000;
  EXPECT_EQ(says(picture),
            "a picture of 20000x501: pixels in a row, more than the receiver's limit of 1000");
  sound.channels = 65;
  EXPECT_EQ(says(sound), "65 channels of sound, more than the receiver's limit of 64");
  sound.rate_hz = 1'000'000;
  EXPECT_EQ(says(sound), "sound at 1000000 Hz, more than the receiver's limit of 96000");
}

TEST(FormatTest, TwentyFourChannelsHaveTheirLayout) {
  // 22.2 as a mask of libav, and as positions of one's own.
  AudioFormat sound = {.sample_format = SampleFormat::kF32, .rate_hz = 48'000, .channels = 24};
  sound.layout = {
      .kind = ChannelLayout::Kind::kMask, .mask = (uint64_t{1} << 24) - 1, .positions = {}};
  EXPECT_TRUE(ParseFormat(EncodeFormat({sound, 1}), {}).ok());
  sound.layout = {.kind = ChannelLayout::Kind::kPositions, .mask = 0, .positions = {}};
  for (uint8_t i = 0; i < 24; ++i) sound.layout.positions[i] = static_cast<uint8_t>(63 - i);
  EXPECT_TRUE(ParseFormat(EncodeFormat({sound, 1}), {}).ok());
  sound.layout = {.kind = ChannelLayout::Kind::kAmbisonic, .mask = 0, .positions = {}};
  EXPECT_FALSE(ParseFormat(EncodeFormat({sound, 1}), {}).ok());
  sound.channels = 25;
  EXPECT_TRUE(ParseFormat(EncodeFormat({sound, 1}), {}).ok());
}

}  // namespace
}  // namespace parley

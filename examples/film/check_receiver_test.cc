// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/check_receiver.h"

#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "parley/boundary/wire_copy.h"
#include "parley/examples/film/facts.h"

namespace parley::film {
namespace {

template <size_t kSize>
void Name(const std::string& name, std::array<uint8_t, kSize>& out) {
  out = {};
  std::memcpy(out.data(), name.data(), name.size());
}

// A delivered picture and what libav would say of it.
struct Pair {
  VideoFormat format = {.pixel_format = PixelFormat::kI440,
                        .width = 16,
                        .height = 8,
                        .pixel_aspect = {4, 3},
                        .colour = {.range = ColourRange::kFull, .matrix = 5},
                        .chroma_place = ChromaPlace::kCentre};
  FactsOfPicture facts = {.digest = {1, 2, 3}, .pts_ns = 3'600'000'000'000, .key = true};
  CheckPictureWire check = {};
  Pair() {
    Name("yuv440p", check.pixel_format);
    check.seconds = 3600;
    check.width = 16;
    check.height = 8;
    check.aspect_numerator = 4;
    check.aspect_denominator = 3;
    check.full_range = 1;
    check.primaries = check.transfer = 2;
    check.matrix = 5;
    check.chroma_place = 2;
    check.key = 1;
    check.digest = {1, 2, 3};
  }
  std::string Why() const { return WhyPictureDiffers(facts, format, check); }
};

TEST(CheckReceiverTest, TheSameIsTheSame) { EXPECT_EQ(Pair().Why(), ""); }

// Each fault that was found in the first path, planted: the second look names it.
TEST(CheckReceiverTest, EachPlantedFaultIsNamed) {
  const std::vector<std::pair<std::string, std::function<void(Pair&)>>> faults = {
      {"its time is 39600 s and not 3600 s", [](Pair& p) { p.facts.pts_ns += 36'000'000'000'000; }},
      {"its range is limited and not full",
       [](Pair& p) { p.format.colour.range = ColourRange::kLimited; }},
      {"its matrix", [](Pair& p) { p.format.colour.matrix = 2; }},
      {"its primaries or its transfer function", [](Pair& p) { p.format.colour.primaries = 1; }},
      {"where its chroma samples lie",
       [](Pair& p) { p.format.chroma_place = ChromaPlace::kUnspecified; }},
      {"it is turned by 0 degrees and not by 90", [](Pair& p) { p.check.rotation_degrees = 90; }},
      {"its fields", [](Pair& p) { p.check.interlaced = 1; }},
      {"its fields",
       [](Pair& p) { p.facts.interlaced = true, p.check.interlaced = p.check.top_first = 1; }},
      {"the shape of its pixels", [](Pair& p) { p.format.pixel_aspect = {0, 1}; }},
      {"whether it is a key picture", [](Pair& p) { p.check.key = 0; }},
      {"its content", [](Pair& p) { p.facts.digest[31] = 1; }},
      {"it has 16x8 pixels and not 8x16", [](Pair& p) { p.check.width = 8, p.check.height = 16; }},
      {"it is yuv440p and not yuv444p", [](Pair& p) { Name("yuv444p", p.check.pixel_format); }},
  };
  for (const auto& [why, fault] : faults) {
    Pair pair;
    fault(pair);
    EXPECT_EQ(pair.Why(), why);
  }
}

TEST(CheckReceiverTest, TurnsAreWhatLibavCallsThem) {
  // rotate=90 in the tags of a film: ffprobe says -90.
  Pair pair;
  pair.format.display_matrix = {0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30};
  pair.check.rotation_degrees = 270;
  EXPECT_EQ(pair.Why(), "");
  pair.check.rotation_degrees = 0;
  EXPECT_NE(pair.Why(), "");
  // Left and right swapped.
  pair.format.display_matrix = {-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30};
  EXPECT_NE(pair.Why(), "");
  pair.check.mirrored = 1;
  EXPECT_EQ(pair.Why(), "");
}

Picture Flat(const VideoFormat& format, std::vector<std::vector<std::byte>>& storage,
             const std::vector<int>& values) {
  Picture picture;
  picture.format = format;
  const PictureShape shape = ShapeOf(format);
  for (size_t i = 0; i < shape.count; ++i) {
    storage.emplace_back(shape.planes[i].size_bytes(), static_cast<std::byte>(values[i]));
    picture.planes[i] = storage.back().data();
    picture.strides_bytes[i] = shape.planes[i].row_bytes;
  }
  return picture;
}

// What was converted is compared by its colours.
TEST(CheckReceiverTest, AWashedOutPictureIsNotTheSame) {
  CheckPictureWire check = {};
  check.width = check.height = 64;
  check.primaries = check.transfer = check.matrix = 2;
  check.has_grid = 1;
  Name("yuv440p", check.pixel_format);
  for (size_t i = 0; i < kGridBytes; ++i) check.grid[i] = i % 3 == 0 ? 255 : 128;
  const auto why = [&](const VideoFormat& format, const std::vector<int>& values) {
    std::vector<std::vector<std::byte>> storage;
    storage.reserve(4);
    FactsRecorder recorder;
    Picture picture = Flat(format, storage, values);
    picture.converted = true;
    const FactsOfPicture facts = recorder.Of(picture);
    return WhyPictureDiffers(facts, format, check);
  };
  VideoFormat format = {.pixel_format = PixelFormat::kI444, .width = 64, .height = 64};
  EXPECT_EQ(why(format, {255, 128, 128}), "");
  EXPECT_EQ(why(format, {235, 128, 128}), "its colours: 235 and not 255 of 255 in cell 0");
  // Of R, G and B: red by BT.601 is not red by BT.709.
  check.grid_kind = kGridRgb;
  Name("bgr0", check.pixel_format);
  for (size_t i = 0; i < kGridBytes; ++i) check.grid[i] = i % 3 == 0 ? 255 : 0;
  format.colour = {.range = ColourRange::kLimited, .matrix = 6};
  EXPECT_EQ(why(format, {81, 90, 240}), "");
  format.colour.matrix = 1;
  EXPECT_NE(why(format, {81, 90, 240}), "");
}

TEST(CheckReceiverTest, EachFaultOfSoundIsNamed) {
  FactsOfAudio facts = {.digest = {9},
                        .pts_ns = 1'000'000'000,
                        .frames = 1024,
                        .format = {.sample_format = SampleFormat::kF32,
                                   .rate_hz = 48000,
                                   .channels = 6,
                                   .planar = true,
                                   .layout = {.kind = ChannelLayout::Kind::kMask, .mask = 0x3f}}};
  CheckAudioWire check = {};
  check.seconds = 1;
  check.mask = 0x3f;
  check.frames = 1024;
  check.rate_hz = 48000;
  check.channels = 6;
  check.digest = {9};
  Name("fltp", check.sample_format);
  EXPECT_EQ(WhyAudioDiffers(facts, check), "");
  facts.format.layout = {};
  EXPECT_EQ(WhyAudioDiffers(facts, check), "its channel layout");
  facts.format.layout = {.kind = ChannelLayout::Kind::kMask, .mask = 0x3f};
  facts.format.planar = false;
  EXPECT_EQ(WhyAudioDiffers(facts, check), "the format of its samples");
  facts.format.planar = true;
  facts.digest = {};
  EXPECT_EQ(WhyAudioDiffers(facts, check), "its samples");
}

TEST(CheckReceiverTest, WhatIsMissingOrTooMuchDiffers) {
  const Pair pair;
  const std::vector<FactsOfPicture> pictures(3, pair.facts);
  const std::vector<VideoFormat> formats = {pair.format};
  const std::vector<FactsOfAudio> audio;
  const auto end = WireBytes(EndWire{});
  {
    CheckReceiver check(pictures, formats, audio);
    for (int i = 0; i < 2; ++i) check.OnMessage(kTagCheckPicture, WireBytes(pair.check));
    EXPECT_EQ(check.OnMessage(kTagEnd, end), Verdict::kEnded);
    EXPECT_EQ(check.result().differing_pictures, (std::vector<uint64_t>{2}));
  }
  CheckReceiver check(pictures, formats, audio);
  for (int i = 0; i < 4; ++i) check.OnMessage(kTagCheckPicture, WireBytes(pair.check));
  EXPECT_EQ(check.OnMessage(kTagEnd, end), Verdict::kEnded);
  EXPECT_EQ(check.result().differing_pictures, (std::vector<uint64_t>{3}));
  EXPECT_FALSE(check.result().identical());
}

TEST(CheckReceiverTest, EachLieIsAViolation) {
  const std::vector<FactsOfPicture> pictures;
  const std::vector<VideoFormat> formats;
  const std::vector<FactsOfAudio> audio;
  const std::vector<std::byte> some(20);
  for (const uint32_t tag : {0u, 1u, 9u, 10u, 11u, 6u, 7u, 101u}) {
    CheckReceiver check(pictures, formats, audio);
    EXPECT_EQ(check.OnMessage(tag, some), Verdict::kViolation) << tag;
    EXPECT_EQ(check.OnMessage(kTagEnd, WireBytes(EndWire{})), Verdict::kViolation);
  }
  // A second look that never ends is ended.
  CheckReceiver check(pictures, formats, audio);
  int messages = 0;
  while (check.OnMessage(kTagCheckAudio, WireBytes(CheckAudioWire{})) == Verdict::kGoOn &&
         messages < 5000) {
    ++messages;
  }
  EXPECT_EQ(messages, 1000);
}

TEST(NumberListTest, JoinsRuns) {
  EXPECT_EQ(NumberList({}, 3), "");
  EXPECT_EQ(NumberList({3}, 3), "3");
  EXPECT_EQ(NumberList({3, 4}, 3), "3, 4");
  EXPECT_EQ(NumberList({1, 7, 8, 9, 20}, 3), "1, 7 to 9, 20");
  EXPECT_EQ(NumberList({1, 3, 5, 7, 9}, 2), "1, 3 and 3 more");
}

}  // namespace
}  // namespace parley::film

// SPDX-License-Identifier: Apache-2.0
#include "parley/av/video_format.h"

#include <climits>
#include <cstdint>
#include <cstring>
#include <string>

#include "gtest/gtest.h"

namespace parley::av {
namespace {

AvFrame FrameOf(AVPixelFormat format, int width, int height) {
  AvFrame frame(av_frame_alloc());
  frame->format = format;
  frame->width = width;
  frame->height = height;
  frame->color_range = AVCOL_RANGE_UNSPECIFIED;
  frame->colorspace = AVCOL_SPC_UNSPECIFIED;
  return frame;
}

// As a demuxer does that believes a file.
template <typename Enum>
void Set(Enum& value, int number) {
  static_assert(sizeof(value) == sizeof(number));
  std::memcpy(&value, &number, sizeof(number));
}

// Every pixel format that libav knows, by its own description.
TEST(VideoFormatTest, EachPixelFormatsColoursAreGuessedAsThoseOfItsKind) {
  const AVPixFmtDescriptor* descriptor = nullptr;
  int seen = 0;
  while ((descriptor = av_pix_fmt_desc_next(descriptor)) != nullptr) {
    const std::string name = descriptor->name;
    const AVPixelFormat format = av_pix_fmt_desc_get_id(descriptor);
    const bool rgb = (descriptor->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0;
    const bool gray = !rgb && descriptor->nb_components <= 2;
    const bool old_full = name.rfind("yuvj", 0) == 0;
    for (const int height : {480, 720}) {
      const ResolvedColour colour = ColourOf(*FrameOf(format, 640, height));
      EXPECT_EQ(colour.full_range, rgb || gray || old_full) << name;
      const uint8_t guessed = height < 720 ? kMatrixBt601 : kMatrixBt709;
      EXPECT_EQ(colour.matrix, rgb ? kMatrixIdentity : guessed) << name;
    }
    ++seen;
  }
  EXPECT_GT(seen, 150);
}

TEST(VideoFormatTest, WhatAFrameSaysIsKeptAndWhatCannotBeIsNot) {
  const AvFrame frame = FrameOf(AV_PIX_FMT_YUV420P, 64, 48);
  frame->sample_aspect_ratio = {4, 3};
  frame->color_range = AVCOL_RANGE_JPEG;
  frame->colorspace = AVCOL_SPC_BT2020_NCL;
  frame->color_primaries = AVCOL_PRI_BT2020;
  frame->color_trc = AVCOL_TRC_SMPTE2084;
  frame->chroma_location = AVCHROMA_LOC_TOPLEFT;
  const VideoFormat format = VideoFormatOf(*frame);
  EXPECT_EQ(format.width, 64);
  EXPECT_EQ(format.height, 48);
  EXPECT_EQ(format.pixel_aspect, (Ratio{4, 3}));
  EXPECT_EQ(format.colour, (ColourDescription{ColourRange::kFull, 9, 16, 9}));
  EXPECT_EQ(format.chroma_place, ChromaPlace::kTopLeft);
  EXPECT_EQ(SwsMatrix(ColourOf(*frame).matrix), SWS_CS_BT2020);

  for (const int number : {-1, 256, INT_MAX, INT_MIN}) {
    frame->sample_aspect_ratio = {number < 0 ? number : 1, number < 0 ? 1 : 0};
    Set(frame->colorspace, number);
    Set(frame->color_primaries, number);
    Set(frame->color_trc, number);
    Set(frame->chroma_location, number);
    const VideoFormat odd = VideoFormatOf(*frame);
    EXPECT_EQ(odd.pixel_aspect, Ratio{}) << number;
    EXPECT_EQ(odd.colour, (ColourDescription{ColourRange::kFull, 2, 2, 2})) << number;
    EXPECT_EQ(odd.chroma_place, ChromaPlace::kUnspecified) << number;
  }
}

TEST(VideoFormatTest, AMatrixThatTurnsNothingOrCannotBeShownIsNone) {
  constexpr int32_t kOne = 1 << 16;
  constexpr DisplayMatrix kIdentity = {kOne, 0, 0, 0, kOne, 0, 0, 0, 1 << 30};
  constexpr DisplayMatrix kFlat = {kOne, kOne, 0, kOne, kOne, 0, 0, 0, 1 << 30};
  constexpr DisplayMatrix kQuarter = {0, kOne, 0, -kOne, 0, 0, 0, 0, 1 << 30};
  EXPECT_EQ(ToDisplayMatrix(kIdentity.data()), DisplayMatrix{});
  EXPECT_EQ(ToDisplayMatrix(kFlat.data()), DisplayMatrix{});
  EXPECT_EQ(ToDisplayMatrix(kQuarter.data()), kQuarter);
  DisplayMatrix least;
  least.fill(INT32_MIN);
  EXPECT_EQ(ToDisplayMatrix(least.data()), DisplayMatrix{});  // and nothing overflows
}

}  // namespace
}  // namespace parley::av

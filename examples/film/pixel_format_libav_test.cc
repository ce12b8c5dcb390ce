// SPDX-License-Identifier: Apache-2.0

// media/pixel_format.h against libav's own descriptors, by name.

#include <set>
#include <string>

#include "gtest/gtest.h"
#include "parley/examples/film/libav.h"
#include "parley/media/format.h"
#include "parley/media/pixel_format.h"

namespace parley::film {
namespace {

// Of newer releases than 5.1; a library that knows them is asked about them as about all others.
bool MayBeMissing(const PixelFormatInfo& info) {
  return info.format >= PixelFormat::kP012 && info.format <= PixelFormat::kRgbaF32Be;
}

TEST(PixelFormatLibavTest, EachFormatIsTheOneOfItsName) {
  for (const PixelFormatInfo& info : AllPixelFormats()) {
    const std::string name(info.libav);
    const AVPixelFormat format = av_get_pix_fmt(name.c_str());
    if (format == AV_PIX_FMT_NONE && MayBeMissing(info)) continue;
    ASSERT_NE(format, AV_PIX_FMT_NONE) << name;
    const AVPixFmtDescriptor* theirs = av_pix_fmt_desc_get(format);
    EXPECT_EQ(theirs->name, name);
    EXPECT_EQ(theirs->nb_components, info.component_count) << name;
    EXPECT_EQ(theirs->log2_chroma_w, info.chroma_shift_x) << name;
    EXPECT_EQ(theirs->log2_chroma_h, info.chroma_shift_y) << name;
    EXPECT_EQ(av_pix_fmt_count_planes(format), info.plane_count) << name;
    const auto has = [&](uint64_t flag) { return (theirs->flags & flag) != 0; };
    EXPECT_EQ(has(AV_PIX_FMT_FLAG_ALPHA), info.has_alpha) << name;
    EXPECT_EQ(has(AV_PIX_FMT_FLAG_BE), info.big_endian) << name;
    EXPECT_EQ(has(AV_PIX_FMT_FLAG_FLOAT), info.is_float) << name;
    EXPECT_EQ(has(AV_PIX_FMT_FLAG_RGB), info.model == ColourModel::kRgb) << name;
    for (size_t i = 0; i < info.component_count; ++i) {
      const AVComponentDescriptor& c = theirs->comp[i];
      const PixelComponent& ours = info.components[i];
      EXPECT_EQ(c.plane, ours.plane) << name << i;
      EXPECT_EQ(c.step, ours.step_bytes) << name << i;
      EXPECT_EQ(c.offset, ours.offset_bytes) << name << i;
      EXPECT_EQ(c.shift, ours.shift_bits) << name << i;
      EXPECT_EQ(c.depth, ours.depth_bits) << name << i;
    }
  }
}

TEST(PixelFormatLibavTest, PlanesHaveTheSizesThatLibavGivesThem) {
  for (const PixelFormatInfo& info : AllPixelFormats()) {
    const AVPixelFormat format = av_get_pix_fmt(std::string(info.libav).c_str());
    if (format == AV_PIX_FMT_NONE && MayBeMissing(info)) continue;
    for (const auto& [width, height] : {std::pair(1, 1), std::pair(7, 5), std::pair(64, 48),
                                        std::pair(1919, 1079), std::pair(16384, 3)}) {
      const PictureShape shape = ShapeOf({.pixel_format = info.format,
                                          .width = static_cast<uint32_t>(width),
                                          .height = static_cast<uint32_t>(height)});
      int rows[4] = {};
      ASSERT_EQ(av_image_fill_linesizes(rows, format, width), 0) << info.name;
      for (size_t i = 0; i < shape.count; ++i) {
        EXPECT_EQ(rows[i], static_cast<int>(shape.planes[i].row_bytes)) << info.name << width;
      }
      EXPECT_EQ(av_image_get_buffer_size(format, width, height, 1),
                static_cast<int>(shape.size_bytes()))
          << info.name << " " << width << "x" << height;
    }
  }
}

// Whatever libav decodes to is there, but for what has fewer than 8 bits for a pixel, a palette or
// a Bayer pattern, and four that its own descriptors have wrong or leave open.
TEST(PixelFormatLibavTest, NothingElseIsMissing) {
  const std::set<std::string> left_out = {"monow", "monob", "pal8", "uyyvyy411", "bgr8",
                                          "bgr4",  "rgb8",  "rgb4", "bgr4_byte", "rgb4_byte"};
  for (const AVPixFmtDescriptor* next = av_pix_fmt_desc_next(nullptr); next != nullptr;
       next = av_pix_fmt_desc_next(next)) {
    const std::string name = next->name;
    if ((next->flags & (AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_BAYER)) != 0) continue;
    if (left_out.count(name) != 0) continue;
    EXPECT_NE(PixelFormatFromLibav(name), nullptr) << name;
  }
}

TEST(PixelFormatLibavTest, SampleFormatsAreTheOnesOfTheirNames) {
  for (uint32_t number = 1; number <= 7; ++number) {
    const auto format = static_cast<SampleFormat>(number);
    for (const bool planar : {false, true}) {
      const std::string name(LibavName(format, planar));
      if (format == SampleFormat::kS24In32) {
        EXPECT_EQ(name, "");
        continue;
      }
      const AVSampleFormat theirs = av_get_sample_fmt(name.c_str());
      ASSERT_NE(theirs, AV_SAMPLE_FMT_NONE) << name;
      EXPECT_EQ(av_get_bytes_per_sample(theirs), static_cast<int>(BytesPerSample(format))) << name;
      EXPECT_EQ(av_sample_fmt_is_planar(theirs) != 0, planar) << name;
    }
  }
}

}  // namespace
}  // namespace parley::film

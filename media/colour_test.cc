// SPDX-License-Identifier: Apache-2.0
#include "parley/media/colour.h"

#include <array>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace parley {
namespace {

struct Flat {
  explicit Flat(const VideoFormat& f) : format(f) {
    const PictureShape shape = ShapeOf(format);
    for (size_t i = 0; i < shape.count; ++i) {
      bytes[i].resize(shape.planes[i].size_bytes());
      planes[i] = bytes[i].data();
      strides[i] = shape.planes[i].row_bytes;
    }
  }
  Rgba At(uint32_t x, uint32_t y) const { return PixelReader(format).At(planes, strides, x, y); }
  void Fill(size_t plane, int value) {
    std::memset(bytes[plane].data(), value, bytes[plane].size());
  }
  VideoFormat format;
  std::array<std::vector<std::byte>, kMaxPlanes> bytes;
  std::array<const std::byte*, kMaxPlanes> planes = {};
  std::array<ptrdiff_t, kMaxPlanes> strides = {};
};

// Red by ffmpeg: `-f lavfi -i color=red` with each size, as yuv420p with the matrix named.
TEST(ColourTest, TheMatrixIsTheOneOfTheFormatOrOfItsSize) {
  struct Case {
    uint32_t width, height;
    uint8_t matrix;
    int y, u, v;
  };
  for (const Case& c :
       {Case{64, 64, 2, 81, 90, 240}, Case{64, 64, 6, 81, 90, 240}, Case{64, 64, 1, 63, 102, 240},
        Case{1280, 720, 2, 63, 102, 240}, Case{1280, 720, 5, 81, 90, 240}}) {
    Flat flat({.pixel_format = PixelFormat::kI420,
               .width = c.width,
               .height = c.height,
               .colour = {.matrix = c.matrix}});
    flat.Fill(0, c.y);
    flat.Fill(1, c.u);
    flat.Fill(2, c.v);
    const Rgba red = flat.At(c.width - 1, c.height - 1);
    EXPECT_NEAR(red.red, 1, 0.01) << c.width << " " << int{c.matrix};
    EXPECT_NEAR(red.green, 0, 0.01) << c.width << " " << int{c.matrix};
    EXPECT_NEAR(red.blue, 0, 0.01) << c.width << " " << int{c.matrix};
  }
}

TEST(ColourTest, TheRangeIsTheOneOfTheFormat) {
  Flat flat({.pixel_format = PixelFormat::kI440, .width = 4, .height = 4});
  flat.Fill(0, 235);
  flat.Fill(1, 128);
  flat.Fill(2, 128);
  EXPECT_NEAR(flat.At(0, 0).green, 1, 0.001);
  flat.format.colour.range = ColourRange::kFull;
  EXPECT_NEAR(flat.At(0, 0).green, 235.0 / 255, 0.001);
  Flat gray({.pixel_format = PixelFormat::kGray8, .width = 4, .height = 4});
  gray.Fill(0, 255);
  EXPECT_NEAR(gray.At(3, 3).red, 1, 0.001);
}

TEST(ColourTest, EveryFormatIsReadWithinItsPlanes) {
  for (const PixelFormatInfo& info : AllPixelFormats()) {
    for (const int value : {0, 0x55, 0xff}) {
      Flat flat({.pixel_format = info.format, .width = 7, .height = 5});
      for (size_t i = 0; i < info.plane_count; ++i) flat.Fill(i, value);
      const Rgba pixel = flat.At(6, 4);
      for (const double v : {pixel.red, pixel.green, pixel.blue, pixel.alpha}) {
        EXPECT_TRUE(v >= 0 && v <= 1) << info.name;
      }
    }
  }
}

// Those that libav 5.1 cannot be asked about: a yellow of Y 210, Cb 16, Cr 146.
TEST(ColourTest, FormatsOfNewerLibavLieAsTheirNamesSay) {
  const auto yellow = [](Flat& flat) {
    const Rgba pixel = flat.At(0, 0);
    EXPECT_NEAR(pixel.red, 1, 0.01);
    EXPECT_NEAR(pixel.green, 1, 0.01);
    EXPECT_NEAR(pixel.blue, 0, 0.01);
    return pixel.alpha;
  };
  for (const bool big_endian : {false, true}) {
    const auto words = [&](std::initializer_list<int> values) {
      std::vector<uint8_t> bytes;
      for (const int value : values) {
        bytes.push_back(static_cast<uint8_t>(big_endian ? value : 0));
        bytes.push_back(static_cast<uint8_t>(big_endian ? 0 : value));
      }
      return bytes;
    };
    for (const PixelFormat format : {big_endian ? PixelFormat::kP012Be : PixelFormat::kP012,
                                     big_endian ? PixelFormat::kP212Be : PixelFormat::kP212,
                                     big_endian ? PixelFormat::kP412Be : PixelFormat::kP412}) {
      Flat flat({.pixel_format = format, .width = 2, .height = 2});
      std::memcpy(flat.bytes[0].data(), words({210}).data(), 2);
      std::memcpy(flat.bytes[1].data(), words({16, 146}).data(), 4);
      yellow(flat);
    }
    Flat y212({.pixel_format = big_endian ? PixelFormat::kY212Be : PixelFormat::kY212,
               .width = 2,
               .height = 1});
    std::memcpy(y212.bytes[0].data(), words({210, 16, 210, 146}).data(), 8);
    yellow(y212);
  }
  const std::array<uint8_t, 4> pixel = {146, 16, 210, 51};
  for (const PixelFormat format : {PixelFormat::kVuya, PixelFormat::kVuyx}) {
    Flat flat({.pixel_format = format, .width = 1, .height = 1});
    std::memcpy(flat.bytes[0].data(), pixel.data(), 4);
    EXPECT_NEAR(yellow(flat), format == PixelFormat::kVuya ? 0.2 : 1, 0.001);
  }
}

TEST(ColourTest, PackedAndPremultipliedPixels) {
  Flat bgra({.pixel_format = PixelFormat::kBgra,
             .width = 1,
             .height = 1,
             .alpha = AlphaMode::kPremultiplied});
  const std::array<uint8_t, 4> pixel = {10, 20, 40, 128};
  std::memcpy(bgra.bytes[0].data(), pixel.data(), 4);
  EXPECT_NEAR(bgra.At(0, 0).red, 40.0 / 128, 0.001);
  EXPECT_NEAR(bgra.At(0, 0).blue, 10.0 / 128, 0.001);
  bgra.format.alpha = AlphaMode::kStraight;
  EXPECT_NEAR(bgra.At(0, 0).red, 40.0 / 255, 0.001);

  Flat rgb565({.pixel_format = PixelFormat::kRgb565, .width = 1, .height = 1});
  const uint16_t red = 31 << 11;
  std::memcpy(rgb565.bytes[0].data(), &red, 2);
  EXPECT_NEAR(rgb565.At(0, 0).red, 1, 0.001);
  EXPECT_NEAR(rgb565.At(0, 0).green, 0, 0.001);

  // White in big-endian 16 bits, and a NaN where a float is expected.
  Flat deep({.pixel_format = PixelFormat::kRgb48Be, .width = 1, .height = 1});
  const std::array<uint8_t, 6> half = {0x80, 0, 0xff, 0xff, 0, 1};
  std::memcpy(deep.bytes[0].data(), half.data(), 6);
  EXPECT_NEAR(deep.At(0, 0).red, 0.5, 0.001);
  EXPECT_NEAR(deep.At(0, 0).green, 1, 0.001);
  EXPECT_NEAR(deep.At(0, 0).blue, 0, 0.001);
  Flat floats({.pixel_format = PixelFormat::kGbrpF32, .width = 1, .height = 1});
  const std::array<float, 3> green_blue_red = {0.25f, 0.5f, 0.75f};
  for (size_t i = 0; i < 3; ++i) {
    std::memcpy(floats.bytes[i].data(), &green_blue_red[i], sizeof(float));
  }
  EXPECT_NEAR(floats.At(0, 0).green, 0.25, 0.001);
  EXPECT_NEAR(floats.At(0, 0).blue, 0.5, 0.001);
  EXPECT_NEAR(floats.At(0, 0).red, 0.75, 0.001);
  Flat packed({.pixel_format = PixelFormat::kRgbaF32, .width = 1, .height = 1});
  const std::array<float, 4> rgba = {0.75f, 0.25f, 0.5f, 0.125f};
  std::memcpy(packed.bytes[0].data(), rgba.data(), sizeof(rgba));
  EXPECT_NEAR(packed.At(0, 0).red, 0.75, 0.001);
  EXPECT_NEAR(packed.At(0, 0).green, 0.25, 0.001);
  EXPECT_NEAR(packed.At(0, 0).blue, 0.5, 0.001);
  EXPECT_NEAR(packed.At(0, 0).alpha, 0.125, 0.001);
  Flat nan({.pixel_format = PixelFormat::kGbrpF32, .width = 1, .height = 1});
  for (size_t i = 0; i < 3; ++i) nan.Fill(i, 0xff);
  EXPECT_EQ(nan.At(0, 0).red, 0);
}

}  // namespace
}  // namespace parley

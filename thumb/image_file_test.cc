// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/image_file.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "gtest/gtest.h"
#include "parley/thumb/testing_media.h"

namespace parley::thumb {
namespace {

Picture Noise(uint32_t width, uint32_t height, uint32_t channels) {
  Picture picture;
  picture.width = width;
  picture.height = height;
  picture.channels = channels;
  uint32_t state = 1;
  for (std::size_t i = 0; i < std::size_t{width} * height * channels; ++i) {
    state = state * 1664525 + 1013904223;
    picture.bytes.push_back(static_cast<uint8_t>(state >> 24));
  }
  return picture;
}

// Noise does not compress: the buffer has to be large enough for it.
TEST(ImageFileTest, APngHoldsThePicture) {
  for (const uint32_t channels : {3u, 4u}) {
    for (const uint32_t width : {1u, 7u, 301u}) {
      const Picture picture = Noise(width, 211, channels);
      const auto png = EncodePng(picture);
      ASSERT_TRUE(png.ok()) << png.status();
      const std::string path = ::testing::TempDir() + "/noise.png";
      testing::WriteFile(path, *png);
      const Picture same = testing::ReadPng(path);
      EXPECT_EQ(same.width, width);
      EXPECT_EQ(same.channels, channels);
      EXPECT_EQ(same.bytes, picture.bytes);
    }
  }
}

TEST(ImageFileTest, APpmShowsWhiteWhereThePictureIsTransparent) {
  Picture picture = Noise(2, 1, 4);
  picture.bytes = {10, 20, 30, 255, 10, 20, 30, 0};
  EXPECT_EQ(EncodePpm(picture), "P6\n2 1\n255\n\x0a\x14\x1e\xff\xff\xff");
}

TEST(ImageFileDeathTest, APictureThatIsNotWholeIsOurBug) {
  Picture picture = Noise(2, 2, 3);
  picture.bytes.pop_back();
  EXPECT_DEATH(static_cast<void>(EncodePng(picture)), "size");
}

}  // namespace
}  // namespace parley::thumb

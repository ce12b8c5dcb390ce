// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/webp_file.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/av/libav.h"
#include "parley/boundary/wire_copy.h"
#include "parley/thumb/render.h"

namespace parley::thumb {
namespace {

using Pixel = std::array<uint8_t, 4>;

uint8_t* Place(const AVFrame& frame, int x, int y) {
  return frame.data[0] + ptrdiff_t{y} * frame.linesize[0] + ptrdiff_t{x} * 4;
}

Pixel At(const AVFrame& frame, int x, int y) {
  Pixel pixel;
  std::memcpy(pixel.data(), Place(frame, x, y), pixel.size());
  return pixel;
}

av::AvFrame Filled(uint32_t width, uint32_t height, const Pixel& pixel) {
  auto frame = NewCanvas(width, height);
  EXPECT_TRUE(frame.ok());
  for (int y = 0; y < (*frame)->height; ++y) {
    for (int x = 0; x < (*frame)->width; ++x) {
      std::memcpy(Place(**frame, x, y), pixel.data(), pixel.size());
    }
  }
  return *std::move(frame);
}

TEST(CanvasTest, PicturesReplaceWhatIsThereOrBlendWithIt) {
  const av::AvFrame canvas = Filled(4, 3, {200, 100, 0, 255});
  const av::AvFrame half = Filled(2, 1, {0, 100, 200, 128});
  ASSERT_TRUE(PutOnCanvas(*half, 1, 2, true, *canvas).ok());
  EXPECT_EQ(At(*canvas, 0, 2), (Pixel{200, 100, 0, 255}));
  EXPECT_EQ(At(*canvas, 1, 2), (Pixel{100, 100, 100, 255}));
  EXPECT_EQ(At(*canvas, 2, 2), At(*canvas, 1, 2));
  EXPECT_EQ(At(*canvas, 3, 2), (Pixel{200, 100, 0, 255}));
  EXPECT_EQ(At(*canvas, 1, 1), (Pixel{200, 100, 0, 255}));

  ASSERT_TRUE(PutOnCanvas(*half, 2, 0, false, *canvas).ok());
  EXPECT_EQ(At(*canvas, 2, 0), (Pixel{0, 100, 200, 128}));
  ClearCanvas(2, 0, 2, 1, *canvas);
  EXPECT_EQ(At(*canvas, 3, 0), (Pixel{0, 0, 0, 0}));
  ASSERT_TRUE(PutOnCanvas(*half, 2, 0, true, *canvas).ok());  // over nothing
  EXPECT_EQ(At(*canvas, 2, 0), (Pixel{0, 100, 200, 128}));
}

TEST(CanvasTest, APictureBeyondItIsRefused) {
  const av::AvFrame canvas = Filled(4, 3, {});
  const av::AvFrame part = Filled(2, 1, {});
  for (const auto [left, top] : {std::array{3u, 0u}, {0u, 3u}, {UINT32_MAX, 0u}}) {
    EXPECT_FALSE(PutOnCanvas(*part, left, top, true, *canvas).ok());
  }
}

// What is no animation is left to libav, and one that lies is an error and no crash.
TEST(WebpFileTest, FramesBeyondTheCanvasAndWithoutAPictureAreErrors) {
  const std::string still = "RIFF....WEBPVP8L....";
  av::SpanSource none(BytesOfWire(absl::MakeConstSpan(still.data(), still.size())));
  const auto left_alone = OpenAnimatedWebp(none, 1000);
  ASSERT_TRUE(left_alone.ok());
  EXPECT_EQ(*left_alone, nullptr);

  // A canvas of 4 x 4; frames at (2, 0) and (0, 0) of 4 x 1, the second without a picture.
  std::string file = "RIFF....WEBPVP8X";
  file += std::string("\x0a\0\0\0\x02\0\0\0\x03\0\0\x03\0\0", 14);
  for (const char half_left : {'\1', '\0'}) {
    file += "ANMF" + std::string("\x10\0\0\0", 4) + half_left +
            std::string("\0\0\0\0\0\x03\0\0\0\0\0\x64\0\0\0", 15);
  }
  av::SpanSource source(BytesOfWire(absl::MakeConstSpan(file.data(), file.size())));
  EXPECT_FALSE(OpenAnimatedWebp(source, 15).ok());
  const auto opened = OpenAnimatedWebp(source, 16);
  ASSERT_TRUE(opened.ok()) << opened.status();
  ASSERT_NE(*opened, nullptr);
  EXPECT_EQ((*opened)->duration_ns(), 200'000'000);
  EXPECT_EQ((*opened)->PictureAt(0, Exactness::kExact).status().message(),
            "a picture beyond its canvas");
  EXPECT_FALSE((*opened)->PictureAt(100'000'000, Exactness::kExact).ok());
}

}  // namespace
}  // namespace parley::thumb

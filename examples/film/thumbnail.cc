// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/thumbnail.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "parley/media/colour.h"
#include "parley/media/turn.h"

namespace parley::film {
namespace {

// 5 x 7, a row per byte, the leftmost pixel in bit 4.
constexpr std::array<std::array<uint8_t, 7>, 12> kGlyphs = {{
    {0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e},
    {0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e},
    {0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f},
    {0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e},
    {0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02},
    {0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e},
    {0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e},
    {0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08},
    {0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e},
    {0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c},
    {0x00, 0x0c, 0x0c, 0x00, 0x0c, 0x0c, 0x00},
    {0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c},
}};

int GlyphOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c == ':') return 10;
  if (c == '.') return 11;
  return -1;
}

// Samples for each pixel of a thumbnail, at most, in each direction.
constexpr uint32_t kMaxSamples = 8;

uint8_t Clamp(double unit) {
  return static_cast<uint8_t>(std::lround(std::clamp(unit, 0.0, 1.0) * 255));
}

// The mean over one box of the picture; what is transparent shows the paper's black.
Rgb Mean(const Picture& picture, const PixelReader& reader, uint32_t x0, uint32_t y0, uint32_t x1,
         uint32_t y1) {
  const uint32_t step_x = std::max(1u, (x1 - x0) / kMaxSamples);
  const uint32_t step_y = std::max(1u, (y1 - y0) / kMaxSamples);
  double red = 0;
  double green = 0;
  double blue = 0;
  double count = 0;
  for (uint32_t y = y0; y < y1; y += step_y) {
    for (uint32_t x = x0; x < x1; x += step_x) {
      const Rgba pixel = reader.At(picture.planes, picture.strides_bytes, x, y);
      red += pixel.red * pixel.alpha;
      green += pixel.green * pixel.alpha;
      blue += pixel.blue * pixel.alpha;
      count += 1;
    }
  }
  return {Clamp(red / count), Clamp(green / count), Clamp(blue / count)};
}

}  // namespace

RgbImage::RgbImage(uint32_t width, uint32_t height, Rgb colour)
    : width_(width), height_(height), bytes_(size_t{width} * height * 3) {
  for (size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = colour[i % 3];
}

void RgbImage::Set(uint32_t x, uint32_t y, Rgb colour) {
  if (x >= width_ || y >= height_) return;
  std::copy(colour.begin(), colour.end(),
            bytes_.begin() + static_cast<ptrdiff_t>((size_t{y} * width_ + x) * 3));
}

void RgbImage::Put(const RgbImage& image, uint32_t x, uint32_t y) {
  for (uint32_t row = 0; row < image.height_; ++row) {
    for (uint32_t column = 0; column < image.width_; ++column) {
      const size_t at = (size_t{row} * image.width_ + column) * 3;
      Set(x + column, y + row, {image.bytes_[at], image.bytes_[at + 1], image.bytes_[at + 2]});
    }
  }
}

void RgbImage::Label(std::string_view text, uint32_t x, uint32_t y, uint32_t scale, Rgb colour) {
  for (const char c : text) {
    const int glyph = GlyphOf(c);
    for (uint32_t pixel = 0; glyph >= 0 && pixel < 5 * 7 * scale * scale; ++pixel) {
      const uint32_t dx = pixel % (5 * scale);
      const uint32_t dy = pixel / (5 * scale);
      const uint8_t bits = kGlyphs[static_cast<size_t>(glyph)][dy / scale];
      if ((bits >> (4 - dx / scale) & 1) != 0) Set(x + dx, y + dy, colour);
    }
    x += 6 * scale;
  }
}

RgbImage Thumbnail(const Picture& picture, uint32_t max_width, uint32_t max_height) {
  const VideoFormat& format = picture.format;
  const Turn turn = TurnOf(format.display_matrix);
  double aspect = static_cast<double>(format.width) / static_cast<double>(format.height);
  if (format.pixel_aspect.numerator != 0) {
    aspect *= static_cast<double>(format.pixel_aspect.numerator) /
              static_cast<double>(format.pixel_aspect.denominator);
  }
  if (turn.swaps_sides()) aspect = 1 / aspect;
  const double width = std::min(static_cast<double>(max_width), max_height * aspect);
  RgbImage image(std::max(1u, static_cast<uint32_t>(std::lround(width))),
                 std::clamp(static_cast<uint32_t>(std::lround(width / aspect)), 1u, max_height),
                 {});
  const PixelReader reader(format);
  const double across = image.width();
  const double down = image.height();
  // The pixels of the picture between two places of it, at least one.
  const auto range = [](double from, double to, uint32_t size) {
    if (from > to) std::swap(from, to);
    const auto first = static_cast<uint32_t>(std::clamp((from + 0.5) * size, 0.0, size - 1.0));
    const auto last = static_cast<uint32_t>(std::clamp((to + 0.5) * size, 0.0, double{1} * size));
    return std::pair(first, std::max(first + 1, last));
  };
  for (uint32_t y = 0; y < image.height(); ++y) {
    for (uint32_t x = 0; x < image.width(); ++x) {
      const double u0 = x / across - 0.5;
      const double u1 = (x + 1) / across - 0.5;
      const double v0 = y / down - 0.5;
      const double v1 = (y + 1) / down - 0.5;
      const auto [x0, x1] =
          range(turn.xx * u0 + turn.xy * v0, turn.xx * u1 + turn.xy * v1, format.width);
      const auto [y0, y1] =
          range(turn.yx * u0 + turn.yy * v0, turn.yx * u1 + turn.yy * v1, format.height);
      image.Set(x, y, Mean(picture, reader, x0, y0, x1, y1));
    }
  }
  return image;
}

}  // namespace parley::film

#include "parley/examples/film/thumbnail.h"

#include <algorithm>
#include <cmath>
#include <cstring>

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

bool IsTenBit(PixelFormat format) {
  return format == PixelFormat::kGray10 || format == PixelFormat::kI420P10 ||
         format == PixelFormat::kI422P10 || format == PixelFormat::kI444P10;
}

// The mean over one box of a plane, on a scale of 0 to 255.
double Mean(const Picture& picture, const PictureShape& shape, size_t plane, double left,
            double top, double right, double bottom) {
  const bool ten_bit = IsTenBit(picture.format.pixel_format);
  const uint32_t rows = shape.planes[plane].rows;
  const uint32_t columns = shape.planes[plane].row_bytes / (ten_bit ? 2 : 1);
  const auto clamp = [](double value, uint32_t limit) {
    return std::min(static_cast<uint32_t>(value), limit - 1);
  };
  const uint32_t x0 = clamp(left * columns, columns);
  const uint32_t x1 = std::max(x0, clamp(std::ceil(right * columns) - 1, columns));
  const uint32_t y0 = clamp(top * rows, rows);
  const uint32_t y1 = std::max(y0, clamp(std::ceil(bottom * rows) - 1, rows));
  uint64_t sum = 0;
  for (uint32_t y = y0; y <= y1; ++y) {
    const auto row = picture.Row(plane, y, shape.planes[plane].row_bytes);
    for (uint32_t x = x0; x <= x1; ++x) {
      if (ten_bit) {
        uint16_t sample;
        std::memcpy(&sample, row.data() + size_t{x} * 2, sizeof(sample));
        sum += std::min<uint32_t>(sample, 1023);
      } else {
        sum += std::to_integer<uint32_t>(row[x]);
      }
    }
  }
  const double count = static_cast<double>(x1 - x0 + 1) * static_cast<double>(y1 - y0 + 1);
  return static_cast<double>(sum) / count / (ten_bit ? 4 : 1);
}

uint8_t Clamp(double value) { return static_cast<uint8_t>(std::clamp(value + 0.5, 0.0, 255.0)); }

// BT.601 for small pictures and BT.709 for large ones, as players guess.
Rgb Colour(const VideoFormat& format, double y, double u, double v) {
  if (!format.full_range) {
    y = (y - 16) * 255 / 219;
    u = (u - 128) * 255 / 224;
    v = (v - 128) * 255 / 224;
  } else {
    u -= 128;
    v -= 128;
  }
  const bool large = format.height >= 720;
  const double kr = large ? 0.2126 : 0.299;
  const double kb = large ? 0.0722 : 0.114;
  const double kg = 1 - kr - kb;
  const double red = y + 2 * (1 - kr) * v;
  const double blue = y + 2 * (1 - kb) * u;
  const double green = (y - kr * red - kb * blue) / kg;
  return {Clamp(red), Clamp(green), Clamp(blue)};
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
  double aspect = static_cast<double>(format.width) / static_cast<double>(format.height);
  if (format.pixel_aspect.numerator != 0) {
    aspect *= static_cast<double>(format.pixel_aspect.numerator) /
              static_cast<double>(format.pixel_aspect.denominator);
  }
  const double width = std::min(static_cast<double>(max_width), max_height * aspect);
  RgbImage image(std::max(1u, static_cast<uint32_t>(std::lround(width))),
                 std::clamp(static_cast<uint32_t>(std::lround(width / aspect)), 1u, max_height),
                 {});
  const PictureShape shape = ShapeOf(format);
  const double across = image.width();
  const double down = image.height();
  for (uint32_t y = 0; y < image.height(); ++y) {
    for (uint32_t x = 0; x < image.width(); ++x) {
      std::array<double, 3> yuv = {0, 128, 128};
      for (size_t plane = 0; plane < shape.count; ++plane) {
        yuv[plane] =
            Mean(picture, shape, plane, x / across, y / down, (x + 1) / across, (y + 1) / down);
      }
      image.Set(x, y, Colour(format, yuv[0], yuv[1], yuv[2]));
    }
  }
  return image;
}

}  // namespace parley::film

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_THUMBNAIL_H_
#define PARLEY_EXAMPLES_FILM_THUMBNAIL_H_

// Small pictures in RGB: made from a planar picture, put side by side, lettered.
//
// Threads: pure functions; any.
//
//   RgbImage sheet(1320, 700, {24, 24, 27});
//   sheet.Put(Thumbnail(picture, 320, 320), 12, 12);
//   sheet.Label("0:03.2", 12, 200, 2, {230, 230, 230});

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "parley/examples/film/media_units.h"

namespace parley::film {

using Rgb = std::array<uint8_t, 3>;

class RgbImage {
 public:
  RgbImage() = default;
  RgbImage(uint32_t width, uint32_t height, Rgb colour);

  uint32_t width() const { return width_; }
  uint32_t height() const { return height_; }
  const std::vector<uint8_t>& bytes() const { return bytes_; }
  // Whatever lies outside is cut off.
  void Set(uint32_t x, uint32_t y, Rgb colour);
  void Put(const RgbImage& image, uint32_t x, uint32_t y);
  // Digits, ':' and '.', each 6 * `scale` wide; other characters are blank.
  void Label(std::string_view text, uint32_t x, uint32_t y, uint32_t scale, Rgb colour);

 private:
  uint32_t width_ = 0;
  uint32_t height_ = 0;
  std::vector<uint8_t> bytes_;  // three per pixel
};

inline constexpr uint32_t kLabelHeight = 7;  // times the scale

// The picture in its true shape, turned as its display matrix says (to the nearest quarter), as
// large as fits; the mean of what each pixel covers.
RgbImage Thumbnail(const Picture& picture, uint32_t max_width, uint32_t max_height);

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_THUMBNAIL_H_

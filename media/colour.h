// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_MEDIA_COLOUR_H_
#define PARLEY_MEDIA_COLOUR_H_

// What colours a picture shows. The only place that guesses where a format says "unspecified", and
// the only one that knows matrices.
//
// The guesses are those of players: Y'CbCr is limited, of BT.709 from 1280x720 on and of BT.601
// below; RGB and gray have the full range.
//
// Trust: every sample value and every code point is expected.
// Threads: values; any.
//
//   PixelReader reader(picture_format);
//   const Rgba pixel = reader.At(planes, strides_bytes, x, y);

#include <array>
#include <cstddef>
#include <cstdint>

#include "parley/media/format.h"

namespace parley {

// Code points of H.273 that are guessed at; others are named where they are used.
inline constexpr uint8_t kMatrixIdentity = 0;
inline constexpr uint8_t kMatrixBt709 = 1;
inline constexpr uint8_t kMatrixUnspecified = 2;
inline constexpr uint8_t kMatrixBt601 = 6;

struct ResolvedColour {
  bool full_range = false;
  uint8_t matrix = kMatrixBt601;  // never unspecified
  double red_weight = 0;          // of luma; 0 where the matrix is none with weights
  double blue_weight = 0;
};

ResolvedColour ResolveColour(const VideoFormat& format);

// 0 to 1 each, not linear; alpha is 1 where there is none. Premultiplied colours are divided.
struct Rgba {
  double red = 0;
  double green = 0;
  double blue = 0;
  double alpha = 1;
};

class PixelReader {
 public:
  explicit PixelReader(const VideoFormat& format);

  // `planes` and `strides_bytes` as ShapeOf(format) has them; x < width, y < height.
  Rgba At(const std::array<const std::byte*, kMaxPlanes>& planes,
          const std::array<ptrdiff_t, kMaxPlanes>& strides_bytes, uint32_t x, uint32_t y) const;
  // The component's number as it is stored, without the guesses above; floats clamped to 0..1 and
  // scaled to 16 bits.
  uint32_t Raw(size_t component, const std::byte* plane, ptrdiff_t stride_bytes, uint32_t x,
               uint32_t y) const;

 private:
  double Scaled(size_t component, uint32_t raw, bool chroma) const;

  const PixelFormatInfo* info_;
  ResolvedColour colour_;
  bool premultiplied_;
};

}  // namespace parley

#endif  // PARLEY_MEDIA_COLOUR_H_

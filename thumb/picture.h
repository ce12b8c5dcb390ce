// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_PICTURE_H_
#define PARLEY_THUMB_PICTURE_H_

// A small picture in sRGB: what the worker makes and the host writes.
//
// Threads: a value; any.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace parley::thumb {

struct Picture {
  uint32_t width = 0;
  uint32_t height = 0;
  uint32_t channels = 3;       // 3: RGB, 4: RGBA, not premultiplied
  std::vector<uint8_t> bytes;  // width * height * channels, row by row from the top

  std::size_t At(uint32_t x, uint32_t y) const { return (std::size_t{y} * width + x) * channels; }
};

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_PICTURE_H_

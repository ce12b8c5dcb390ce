// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_ANIMATED_WEBP_H_
#define PARLEY_THUMB_ANIMATED_WEBP_H_

// The first picture of an animated WebP, which libav 5.1 does not read: taken out of its frame and
// put into a WebP file of its own.
//
// Trust: the bytes are hostile; nothing is read beyond them, and what comes out is no larger than
// they are (and 30 bytes).
// Threads: a pure function; any.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"

namespace parley::thumb {

struct FirstPicture {
  std::vector<std::byte> webp;  // a still one
  uint32_t canvas_width = 0;
  uint32_t canvas_height = 0;
  uint32_t left = 0;  // where it lies on the canvas, the rest of which is transparent
  uint32_t top = 0;
};

// Nothing where `file` is anything but an animated WebP.
std::optional<FirstPicture> FirstOfAnimatedWebp(absl::Span<const std::byte> file);

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_ANIMATED_WEBP_H_

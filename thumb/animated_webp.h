// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_ANIMATED_WEBP_H_
#define PARLEY_THUMB_ANIMATED_WEBP_H_

// The frames of an animated WebP, which libav 5.1 does not read: each is taken out and put into a
// WebP file of its own.
//
// Trust: the bytes are hostile; nothing is read beyond them, and what comes out is no larger than
// they are (and 30 bytes for each frame).
// Threads: a pure function; any.
//
//   const std::optional<AnimatedWebp> animation = ParseAnimatedWebp(file);
//   const std::vector<std::byte> still = StillOf(animation->frames[0]);

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"

namespace parley::thumb {

struct WebpFrame {
  absl::Span<const std::byte> chunks;  // of the file
  uint32_t width = 0;
  uint32_t height = 0;
  uint32_t left = 0;  // where it lies on the canvas
  uint32_t top = 0;
  uint32_t duration_ms = 0;
  bool blends = false;         // with what is there; else it replaces it
  bool is_taken_away = false;  // after its time: its place is transparent again
};

struct AnimatedWebp {
  uint32_t canvas_width = 0;
  uint32_t canvas_height = 0;
  std::vector<WebpFrame> frames;  // one at least
};

// What lies behind so many is not looked at.
inline constexpr std::size_t kMaxWebpFrames = 1 << 16;

// Nothing where `file`, which outlives the answer, is anything but an animated WebP.
std::optional<AnimatedWebp> ParseAnimatedWebp(absl::Span<const std::byte> file);

// The frame as a WebP file.
std::vector<std::byte> StillOf(const WebpFrame& frame);

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_ANIMATED_WEBP_H_

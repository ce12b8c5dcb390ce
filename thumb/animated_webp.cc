// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/animated_webp.h"

#include <string_view>

namespace parley::thumb {
namespace {

// https://developers.google.com/speed/webp/docs/riff_container
constexpr std::size_t kChunkHeaderBytes = 8;
constexpr std::size_t kFrameHeaderBytes = 16;
constexpr uint32_t kAnimated = 0x02;
constexpr uint32_t kHasAlpha = 0x10;
// In a frame's last byte.
constexpr uint32_t kTakenAway = 0x01;
constexpr uint32_t kReplaces = 0x02;

using Bytes = absl::Span<const std::byte>;

uint32_t Number(Bytes bytes, std::size_t at, std::size_t size_bytes) {
  uint32_t number = 0;
  for (std::size_t i = size_bytes; i > 0; --i) {
    number = number << 8 | std::to_integer<uint32_t>(bytes[at + i - 1]);
  }
  return number;
}

bool Says(Bytes bytes, std::size_t at, std::string_view name) {
  if (bytes.size() < at + name.size()) return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (bytes[at + i] != static_cast<std::byte>(name[i])) return false;
  }
  return true;
}

// The chunk at the front of `rest`, which is moved behind it; false where there is none.
bool NextChunk(Bytes& rest, Bytes& chunk, Bytes& payload) {
  if (rest.size() < kChunkHeaderBytes) return false;
  const std::size_t size_bytes = Number(rest, 4, 4);
  if (size_bytes > rest.size() - kChunkHeaderBytes) return false;
  chunk = rest.first(kChunkHeaderBytes + size_bytes);
  payload = chunk.subspan(kChunkHeaderBytes);
  // Chunks begin at even places.
  rest.remove_prefix(chunk.size() + (chunk.size() < rest.size() ? size_bytes % 2 : 0));
  return true;
}

void Append(std::vector<std::byte>& out, std::string_view text) {
  for (const char c : text) out.push_back(static_cast<std::byte>(c));
}
void Append(std::vector<std::byte>& out, uint32_t number, int size_bytes) {
  for (int i = 0; i < size_bytes; ++i) out.push_back(static_cast<std::byte>(number >> (8 * i)));
}
void Append(std::vector<std::byte>& out, Bytes chunk) {
  out.insert(out.end(), chunk.begin(), chunk.end());
  if (chunk.size() % 2 != 0) out.push_back(std::byte{0});
}

}  // namespace

std::vector<std::byte> StillOf(const WebpFrame& frame) {
  std::vector<std::byte> body;
  Append(body, "WEBP");
  Bytes rest = frame.chunks;
  Bytes chunk;
  Bytes payload;
  while (NextChunk(rest, chunk, payload)) {
    if (Says(chunk, 0, "ALPH")) {
      Append(body, "VP8X");
      Append(body, 10, 4);
      Append(body, kHasAlpha, 4);
      Append(body, frame.width - 1, 3);
      Append(body, frame.height - 1, 3);
      Append(body, chunk);
    } else if (Says(chunk, 0, "VP8 ") || Says(chunk, 0, "VP8L")) {
      Append(body, chunk);
      break;
    }
  }
  std::vector<std::byte> file;
  Append(file, "RIFF");
  Append(file, static_cast<uint32_t>(body.size()), 4);
  file.insert(file.end(), body.begin(), body.end());
  return file;
}

std::optional<AnimatedWebp> ParseAnimatedWebp(absl::Span<const std::byte> file) {
  if (!Says(file, 0, "RIFF") || !Says(file, 8, "WEBPVP8X")) return std::nullopt;
  Bytes rest = file.subspan(12);
  Bytes chunk;
  Bytes payload;
  AnimatedWebp animation;
  if (!NextChunk(rest, chunk, payload) || payload.size() < 10 ||
      (Number(payload, 0, 4) & kAnimated) == 0) {
    return std::nullopt;
  }
  animation.canvas_width = Number(payload, 4, 3) + 1;
  animation.canvas_height = Number(payload, 7, 3) + 1;
  while (animation.frames.size() < kMaxWebpFrames && NextChunk(rest, chunk, payload)) {
    if (!Says(chunk, 0, "ANMF") || payload.size() < kFrameHeaderBytes) continue;
    const uint32_t flags = Number(payload, 15, 1);
    animation.frames.push_back({.chunks = payload.subspan(kFrameHeaderBytes),
                                .width = Number(payload, 6, 3) + 1,
                                .height = Number(payload, 9, 3) + 1,
                                .left = 2 * Number(payload, 0, 3),
                                .top = 2 * Number(payload, 3, 3),
                                .duration_ms = Number(payload, 12, 3),
                                .blends = (flags & kReplaces) == 0,
                                .is_taken_away = (flags & kTakenAway) != 0});
  }
  if (animation.frames.empty()) return std::nullopt;
  return animation;
}

}  // namespace parley::thumb

// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/animated_webp.h"

#include <cstddef>
#include <string>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/wire_copy.h"

namespace parley::thumb {
namespace {

std::string Little(uint32_t number, int size_bytes) {
  std::string text;
  for (int i = 0; i < size_bytes; ++i) text += static_cast<char>(number >> (8 * i));
  return text;
}

std::string Chunk(const std::string& name, const std::string& payload) {
  return name + Little(static_cast<uint32_t>(payload.size()), 4) + payload +
         (payload.size() % 2 != 0 ? std::string(1, '\0') : "");
}

std::string Animation(const std::string& frame_chunks, char flags = 0x02) {
  const std::string canvas = std::string(1, flags) + Little(0, 3) + Little(99, 3) + Little(49, 3);
  const std::string frame = Little(5, 3) + Little(3, 3) + Little(19, 3) + Little(9, 3) +
                            Little(100, 3) + std::string(1, '\0') + frame_chunks;
  return "RIFF" + Little(0, 4) + "WEBP" + Chunk("VP8X", canvas) + Chunk("ANIM", "123456") +
         Chunk("ANMF", frame) + Chunk("ANMF", frame);
}

absl::Span<const std::byte> BytesOf(const std::string& file) {
  return BytesOfWire(absl::MakeConstSpan(file.data(), file.size()));
}

std::string Still(const WebpFrame& frame) {
  std::string text;
  for (const std::byte byte : StillOf(frame)) text += static_cast<char>(byte);
  return text;
}

// All that may be done with what a file says.
void TakeApart(const std::string& file) {
  const auto animation = ParseAnimatedWebp(BytesOf(file));
  if (!animation.has_value()) return;
  for (const WebpFrame& frame : animation->frames) static_cast<void>(StillOf(frame));
}

TEST(AnimatedWebpTest, EachFrameIsAFileOfItsOwn) {
  const std::string file = Animation(Chunk("VP8L", "abc"));
  const auto animation = ParseAnimatedWebp(BytesOf(file));
  ASSERT_TRUE(animation.has_value());
  EXPECT_EQ(animation->canvas_width, 100u);
  EXPECT_EQ(animation->canvas_height, 50u);
  ASSERT_EQ(animation->frames.size(), 2u);
  const std::string body = "WEBP" + Chunk("VP8L", "abc");
  for (const WebpFrame& frame : animation->frames) {
    EXPECT_EQ(frame.left, 10u);
    EXPECT_EQ(frame.top, 6u);
    EXPECT_EQ(frame.width, 20u);
    EXPECT_EQ(frame.height, 10u);
    EXPECT_EQ(frame.duration_ms, 100u);
    EXPECT_TRUE(frame.blends);
    EXPECT_FALSE(frame.is_taken_away);
    EXPECT_EQ(Still(frame), "RIFF" + Little(static_cast<uint32_t>(body.size()), 4) + body);
  }
}

TEST(AnimatedWebpTest, ItsTransparencyGoesWithIt) {
  const std::string file = Animation(Chunk("ALPH", "al") + Chunk("VP8 ", "ab"));
  const auto animation = ParseAnimatedWebp(BytesOf(file));
  ASSERT_TRUE(animation.has_value());
  EXPECT_EQ(Still(animation->frames[0]).substr(8),
            "WEBP" + Chunk("VP8X", Little(0x10, 4) + Little(19, 3) + Little(9, 3)) +
                Chunk("ALPH", "al") + Chunk("VP8 ", "ab"));
}

TEST(AnimatedWebpTest, EverythingElseIsLeftAlone) {
  EXPECT_FALSE(ParseAnimatedWebp({}).has_value());
  const std::string still = Animation(Chunk("VP8L", "abc"), 0);
  EXPECT_FALSE(ParseAnimatedWebp(BytesOf(still)).has_value());
  const std::string file = Animation(Chunk("ALPH", "al") + Chunk("VP8 ", "ab"));
  // Cut anywhere, and with each length a lie: nothing is read beyond it (the sanitizer's part).
  for (std::size_t size = 0; size < file.size(); ++size) {
    TakeApart(file.substr(0, size));
  }
  for (std::size_t at = 0; at + 4 <= file.size(); ++at) {
    std::string lie = file;
    for (std::size_t i = 0; i < 4; ++i) lie[at + i] = '\xff';
    TakeApart(lie);
  }
}

}  // namespace
}  // namespace parley::thumb

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

auto First(const std::string& file) {
  return FirstOfAnimatedWebp(BytesOfWire(absl::MakeConstSpan(file.data(), file.size())));
}

std::string Webp(const FirstPicture& first) {
  std::string text;
  for (const std::byte byte : first.webp) text += static_cast<char>(byte);
  return text;
}

TEST(AnimatedWebpTest, ItsFirstFrameIsAFileOfItsOwn) {
  const auto first = First(Animation(Chunk("VP8L", "abc")));
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->canvas_width, 100u);
  EXPECT_EQ(first->canvas_height, 50u);
  EXPECT_EQ(first->left, 10u);
  EXPECT_EQ(first->top, 6u);
  const std::string body = "WEBP" + Chunk("VP8L", "abc");
  EXPECT_EQ(Webp(*first), "RIFF" + Little(static_cast<uint32_t>(body.size()), 4) + body);
}

TEST(AnimatedWebpTest, ItsTransparencyGoesWithIt) {
  const auto first = First(Animation(Chunk("ALPH", "al") + Chunk("VP8 ", "ab")));
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(Webp(*first).substr(8),
            "WEBP" + Chunk("VP8X", Little(0x10, 4) + Little(19, 3) + Little(9, 3)) +
                Chunk("ALPH", "al") + Chunk("VP8 ", "ab"));
}

TEST(AnimatedWebpTest, EverythingElseIsLeftAlone) {
  EXPECT_FALSE(First("").has_value());
  EXPECT_FALSE(First(Animation(Chunk("VP8L", "abc"), 0)).has_value());
  const std::string file = Animation(Chunk("ALPH", "al") + Chunk("VP8 ", "ab"));
  // Cut anywhere, and with each length a lie: nothing is read beyond it (the sanitizer's part).
  for (std::size_t size = 0; size < file.size(); ++size) {
    static_cast<void>(First(file.substr(0, size)));
  }
  for (std::size_t at = 0; at + 4 <= file.size(); ++at) {
    std::string lie = file;
    for (std::size_t i = 0; i < 4; ++i) lie[at + i] = '\xff';
    static_cast<void>(First(lie));
  }
}

}  // namespace
}  // namespace parley::thumb

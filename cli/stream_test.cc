// SPDX-License-Identifier: Apache-2.0

// The parsers, and both ends of a stream without a channel between them.

#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "parley/boundary/wire_copy.h"
#include "parley/cli/stream_receiver.h"
#include "parley/cli/stream_sender.h"
#include "parley/cli/testing_text_source.h"
#include "parley/cli/wav.h"
#include "parley/cli/y4m.h"
#include "parley/media/frame.h"

namespace parley::cli {
namespace {

// Hands each message over; refuses some, as a slow receiver would.
class Direct final : public MessageSink {
 public:
  explicit Direct(StreamReceiver& receiver) : receiver_(receiver) {}
  absl::StatusOr<absl::Span<std::byte>> Reserve(uint32_t size_bytes, bool may_drop) override {
    if (may_drop && ++asked_ % 3 == 0) return absl::UnavailableError("no space now");
    buffer_.assign(size_bytes, std::byte{0xee});
    return absl::MakeSpan(buffer_);
  }
  void Commit(uint32_t tag, uint32_t size_bytes) override {
    ASSERT_EQ(size_bytes, buffer_.size());
    taken = receiver_.OnMessage(tag, buffer_);
  }
  absl::Status taken;

 private:
  StreamReceiver& receiver_;
  std::vector<std::byte> buffer_;
  int asked_ = 0;
};

struct Moved {
  absl::Status sent;   // kOutOfRange: all of it
  absl::Status taken;  // the same
  std::string out;
  uint64_t dropped = 0;
  uint64_t gaps = 0;
};

Moved Move(StreamKind kind, const std::string& text, size_t piece = 7, bool drop = false,
           uint64_t limit = 1u << 30) {
  Moved moved;
  TextSource source(text, piece);
  BufferedInput input(source);
  StreamSender sender(kind, input, {}, limit);
  if (drop) sender.DropNewest();
  moved.sent = sender.Begin();
  if (!moved.sent.ok()) return moved;
  StreamReceiver receiver(kind, {}, 1u << 30, [&](absl::Span<const std::byte> bytes) {
    moved.out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return absl::OkStatus();
  });
  Direct out(receiver);
  while ((moved.sent = sender.SendNext(out)).ok()) {
    EXPECT_TRUE(out.taken.ok()) << out.taken;
  }
  if (absl::IsOutOfRange(moved.sent)) {
    EXPECT_TRUE(sender.SendEnd(out).ok());
  }
  moved.taken = out.taken;
  moved.dropped = receiver.dropped();
  moved.gaps = receiver.gaps();
  return moved;
}

bool Whole(const Moved& moved) {
  return absl::IsOutOfRange(moved.sent) && absl::IsOutOfRange(moved.taken);
}

std::string Film(const std::string& parameters, size_t frame_bytes, int frames) {
  std::string film = "YUV4MPEG2 " + parameters + "\n";
  for (int i = 0; i < frames; ++i) {
    film += "FRAME\n";
    for (size_t at = 0; at < frame_bytes; ++at)
      film.push_back(static_cast<char>(at * 7 + static_cast<size_t>(i)));
  }
  return film;
}

TEST(StreamTest, EveryKindArrivesAsItWasInPiecesOfAnySize) {
  const std::string y4m = Film("W9 H5 F25:1 It A4:3 C420mpeg2 XCOLORRANGE=LIMITED", 45 + 2 * 15, 5);
  for (const size_t piece : {1u, 2u, 64u, 100'000u}) {
    const Moved film = Move(StreamKind::kY4m, y4m, piece);
    EXPECT_TRUE(Whole(film)) << film.sent << film.taken;
    EXPECT_EQ(film.out, y4m);
    std::string lines("one\n\nthree with \xff and \0 in it\n", 30);  // NOLINT: with the zero
    ASSERT_EQ(lines.back(), '\n');
    lines.append(65'000, 'x');
    lines += '\n';
    for (const std::string& text :
         {lines, absl::StrCat(lines, "no newline at the end"), std::string(), std::string("\n")}) {
      const Moved moved = Move(StreamKind::kLines, text, piece);
      EXPECT_TRUE(Whole(moved)) << moved.sent << moved.taken;
      EXPECT_EQ(moved.out, text);
    }
    const std::string raw = lines + lines + lines;
    EXPECT_EQ(Move(StreamKind::kRaw, raw, piece).out, raw);
  }
}

std::string Samples(size_t bytes) {
  std::string samples;
  for (size_t i = 0; i < bytes; ++i) samples.push_back(static_cast<char>(i * 31));
  return samples;
}

TEST(StreamTest, SoundOfEveryFormatArrivesAsItWas) {
  for (const auto& [format, bits] :
       std::vector<std::pair<SampleFormat, uint32_t>>{{SampleFormat::kU8, 0},
                                                      {SampleFormat::kS16, 0},
                                                      {SampleFormat::kS32, 24},
                                                      {SampleFormat::kS32, 0},
                                                      {SampleFormat::kF32, 0},
                                                      {SampleFormat::kF64, 0}}) {
    WavStream wav;
    wav.format = {.sample_format = format,
                  .rate_hz = 48000,
                  .channels = 6,
                  .significant_bits = static_cast<uint8_t>(bits),
                  .layout = {.kind = ChannelLayout::Kind::kMask, .mask = 0x3f}};
    wav.file_sample_bytes = *WavSampleBytes(wav.format);
    const std::vector<std::byte> header = WavHeader(wav);
    const std::string text =
        std::string(reinterpret_cast<const char*>(header.data()), header.size()) +
        Samples(size_t{5000} * 6 * wav.file_sample_bytes);
    const Moved moved = Move(StreamKind::kWav, text, 1000);
    EXPECT_TRUE(Whole(moved)) << moved.sent << moved.taken;
    EXPECT_TRUE(moved.out == text) << static_cast<uint32_t>(format) << " " << bits;
  }
}

TEST(StreamTest, WhatIsNoStreamOfItsKindIsRefusedWithItsReason) {
  const std::vector<std::pair<std::string, std::string>> films = {
      {"", "it is empty"},
      {"YUV4MPEG2", "the middle of a line"},
      {"YUV4MPEG3 W2 H2\n", "begin with YUV4MPEG2"},
      {"YUV4MPEG2W2 H2\n", "begin with YUV4MPEG2"},
      {"YUV4MPEG2 W2\n", "no width or no height"},
      {"YUV4MPEG2 W2 H0\n", "no width or no height"},
      {"YUV4MPEG2 W-2 H2\n", "the value of W"},
      {"YUV4MPEG2 W2 W2 H2\n", "two parameters W"},
      {"YUV4MPEG2 W2  H2\n", "two spaces"},
      {"YUV4MPEG2 W99999999999 H2\n", "the value of W"},
      {"YUV4MPEG2 W70000 H2\n", "more than the receiver's limit"},
      {"YUV4MPEG2 W60000 H60000\n", "more than the receiver's limit"},
      {"YUV4MPEG2 W2 H2 F1:0\n", "the value of F"},
      {"YUV4MPEG2 W2 H2 F1\n", "the value of F"},
      {"YUV4MPEG2 W2 H2 Ix\n", "the value of I"},
      {"YUV4MPEG2 W2 H2 C999\n", "the value of C"},
      {"YUV4MPEG2 W2 H2 Q1\n", "an unknown parameter"},
      {"YUV4MPEG2 " + std::string(2000, 'X') + "\n", "more than 1024 bytes"},
      {"YUV4MPEG2 W2 H2\nFROME\n", "does not begin with FRAME"},
      {"YUV4MPEG2 W2 H2\nFRAME\nabc", "ends after 3 of 4 bytes"},
      {"YUV4MPEG2 W2 H2\nFRAME\nabcdu", "the middle of a picture"},
  };
  for (const auto& [text, why] : films) {
    const Moved moved = Move(StreamKind::kY4m, text);
    EXPECT_FALSE(absl::IsOutOfRange(moved.sent)) << text.substr(0, 40);
    EXPECT_NE(std::string(moved.sent.message()).find(why), std::string::npos)
        << text.substr(0, 40) << ": " << moved.sent;
  }
  EXPECT_EQ(Move(StreamKind::kNut, "not a nut").sent.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Move(StreamKind::kLines, std::string(70'000, 'x')).sent.code(),
            absl::StatusCode::kDataLoss);
  WavStream wav;
  wav.format = {.sample_format = SampleFormat::kS16, .rate_hz = 8000, .channels = 1};
  wav.file_sample_bytes = 2;
  const std::vector<std::byte> good = WavHeader(wav);
  for (size_t length = 0; length < good.size(); ++length) {
    const std::string cut(reinterpret_cast<const char*>(good.data()), length);
    EXPECT_EQ(Move(StreamKind::kWav, cut).sent.code(), absl::StatusCode::kDataLoss) << length;
  }
  // No channels, no rate, a block of another size, an encoding that is none, 12 bits.
  for (const auto& [at, value] : std::vector<std::pair<size_t, uint8_t>>{
           {0, 'X'}, {8, 'X'}, {22, 0}, {32, 3}, {34, 12}, {44, 2}, {46, 1}}) {
    std::vector<std::byte> bad = good;
    bad[at] = std::byte{value};
    if (at == 22) bad[32] = std::byte{0};
    const Moved moved =
        Move(StreamKind::kWav, std::string(reinterpret_cast<const char*>(bad.data()), bad.size()));
    EXPECT_FALSE(absl::IsOutOfRange(moved.sent)) << at;
  }
}

TEST(StreamTest, WhatIsDroppedIsCountedAtBothEnds) {
  const std::string y4m = Film("W2 H2 F25:1", 6, 9);
  const Moved film = Move(StreamKind::kY4m, y4m, 64, true);
  EXPECT_TRUE(Whole(film)) << film.sent << film.taken;
  EXPECT_EQ(film.dropped, 3u);
  EXPECT_EQ(film.gaps, 2u);  // behind the last one comes the end
  const Moved lines = Move(StreamKind::kLines, "1\n2\n3\n4\n5\n", 64, true);
  EXPECT_EQ(lines.out, "1\n2\n4\n5\n");
  EXPECT_EQ(lines.dropped, 1u);
}

TEST(StreamTest, ALimitIsALimit) {
  const Moved moved = Move(StreamKind::kRaw, std::string(1000, 'x'), 100, false, 550);
  EXPECT_EQ(moved.sent.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(moved.out.size(), 500u);
}

// A hostile sender.
TEST(StreamTest, EachLieIsAViolationForGood) {
  const NumberedFormat video = {
      VideoFormat{.pixel_format = PixelFormat::kGray8, .width = 2, .height = 2}, 1};
  const NumberedFormat rgb = {
      VideoFormat{.pixel_format = PixelFormat::kRgb24, .width = 2, .height = 2}, 1};
  const NumberedFormat planar = {
      AudioFormat{
          .sample_format = SampleFormat::kF32, .rate_hz = 8000, .channels = 2, .planar = true},
      1};
  const auto end = [](uint64_t messages, uint64_t bytes) {
    const auto wire = WireBytes(EndWire{messages, bytes, 0, 0, 0, 0});
    return std::vector<std::byte>(wire.begin(), wire.end());
  };
  struct Lie {
    std::string name;
    StreamKind kind;
    uint32_t tag;
    std::vector<std::byte> message;
  };
  const std::vector<Lie> lies = {
      {"unknown tag", StreamKind::kRaw, 77, {}},
      {"empty piece", StreamKind::kRaw, kTagBytes, {}},
      {"long piece", StreamKind::kRaw, kTagBytes, std::vector<std::byte>(kMaxPieceBytes + 1)},
      {"open line of raw", StreamKind::kRaw, kTagOpenLine, std::vector<std::byte>(1)},
      {"newline in a line", StreamKind::kLines, kTagBytes, {std::byte{'\n'}}},
      {"frame before format", StreamKind::kY4m, kTagFrame, std::vector<std::byte>(100)},
      {"bytes of y4m", StreamKind::kY4m, kTagBytes, std::vector<std::byte>(1)},
      {"sound as y4m", StreamKind::kY4m, kTagFormat, EncodeFormat(planar)},
      {"rgb as y4m", StreamKind::kY4m, kTagFormat, EncodeFormat(rgb)},
      {"pictures as wav", StreamKind::kWav, kTagFormat, EncodeFormat(video)},
      {"planar wav", StreamKind::kWav, kTagFormat, EncodeFormat(planar)},
      {"end with more", StreamKind::kRaw, kTagEnd, end(1, 0)},
      {"end with more bytes", StreamKind::kRaw, kTagEnd, end(0, 1)},
      {"short end", StreamKind::kRaw, kTagEnd, std::vector<std::byte>(23)},
  };
  for (const Lie& lie : lies) {
    StreamReceiver receiver(lie.kind, {}, 1u << 20,
                            [](absl::Span<const std::byte>) { return absl::OkStatus(); });
    EXPECT_EQ(receiver.OnMessage(lie.tag, lie.message).code(), absl::StatusCode::kDataLoss)
        << lie.name;
    EXPECT_EQ(receiver.OnMessage(kTagEnd, end(0, 0)).code(), absl::StatusCode::kDataLoss);
  }
  StreamReceiver limited(StreamKind::kRaw, {}, 10,
                         [](absl::Span<const std::byte>) { return absl::OkStatus(); });
  EXPECT_TRUE(limited.OnMessage(kTagBytes, std::vector<std::byte>(10)).ok());
  EXPECT_EQ(limited.OnMessage(kTagBytes, std::vector<std::byte>(1)).code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace parley::cli

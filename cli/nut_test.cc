// SPDX-License-Identifier: Apache-2.0

// NUT: where it is cut, and what a receiver makes of it that missed something.

#include "parley/cli/nut.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "parley/boundary/wire_copy.h"
#include "parley/cli/stream_receiver.h"
#include "parley/cli/stream_sender.h"
#include "parley/cli/testing_nut.h"
#include "parley/cli/testing_text_source.h"

namespace parley::cli {
namespace {

using testing::BigEndian;
using testing::kNutIndex;
using testing::kNutInfo;
using testing::kNutMain;
using testing::kNutStream;
using testing::kNutSyncpoint;
using testing::NutChecksum;
using testing::NutFrame;
using testing::NutHeaders;
using testing::NutMain;
using testing::NutNumber;
using testing::NutPacket;
using testing::NutStreamHeader;
using testing::NutSync;

constexpr uint64_t kMaxFrameBytes = 1 << 20;

std::vector<std::byte> Bytes(const std::string& text) {
  std::vector<std::byte> bytes(text.size());
  if (!text.empty()) std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

// What the splitter says of a text in pieces of one size.
struct Cut {
  absl::Status status;
  std::vector<std::string> found;  // "resume 123", with the number of the unit's first byte
};

Cut Split(const std::string& text, size_t piece) {
  Cut cut;
  NutSplitter nut(kMaxFrameBytes);
  const std::vector<std::byte> bytes = Bytes(text);
  for (size_t at = 0; at < bytes.size() && cut.status.ok(); at += piece) {
    auto part = absl::MakeConstSpan(bytes).subspan(at, piece);
    while (!part.empty()) {
      const absl::StatusOr<NutSplitter::Step> step = nut.Take(part);
      cut.status = step.status();
      if (!step.ok()) break;
      part.remove_prefix(step->taken);
      EXPECT_LE(nut.undecided_bytes(), kMaxNutUndecidedBytes + 1024);
      EXPECT_LE(nut.undecided_bytes(), nut.position());
      constexpr const char* kNames[] = {"", "headers", "resume", "syncpoint", "index"};
      if (step->found == NutSplitter::Found::kNothing) continue;
      cut.found.push_back(absl::StrCat(kNames[static_cast<int>(step->found)], " ",
                                       nut.position() - step->found_bytes));
    }
  }
  if (cut.status.ok()) cut.status = nut.End();
  return cut;
}

// A picture and its sound in each unit; from the second unit on each points back to the first.
std::string Unit(uint64_t number, bool is_key, const std::string& before = "") {
  return NutSync(number, number == 0 ? 0 : 5000) + before + NutFrame(0, is_key, 700) +
         NutFrame(1, true, 40) + NutFrame(0, false, 300) + NutFrame(1, true, 0);
}

TEST(NutTest, ResumePointsAreWhereTheFirstPictureIsAKeyFrameInPiecesOfAnySize) {
  const std::string sound = NutFrame(1, true, 90);
  std::string film = NutHeaders({0, 1}) + NutPacket(kNutInfo, "info");
  std::vector<std::string> expected = {absl::StrCat("headers ", film.size())};
  const auto add = [&](const std::string& unit, bool resumes) {
    if (resumes) expected.push_back(absl::StrCat("resume ", film.size()));
    expected.push_back(absl::StrCat("syncpoint ", film.size()));
    // Where it is known is behind the syncpoint.
    if (resumes) std::swap(expected.back(), expected[expected.size() - 2]);
    film += unit;
  };
  add(Unit(0, true), true);
  add(Unit(1, false), false);
  add(Unit(2, true, sound), true);                       // sound before its picture
  add(Unit(3, false, sound), false);                     // the same, and no key
  add(NutSync(4) + sound, false);                        // no picture
  add(Unit(5, true, NutFrame(1, true, 20'000)), false);  // the picture comes too late
  add(Unit(6, true), true);
  film += NutPacket(kNutMain, NutMain(2)) + NutPacket(kNutStream, NutStreamHeader(0, 0)) +
          NutPacket(kNutStream, NutStreamHeader(1, 1)) + NutPacket(0x4e41'0000'0000'0001, "new");
  expected.push_back(absl::StrCat("index ", film.size()));
  film += NutPacket(kNutIndex, std::string(10'000, 'x'));
  for (const size_t piece : {1u, 2u, 3u, 7u, 64u, 1000u, 1u << 20}) {
    const Cut cut = Split(film, piece);
    EXPECT_TRUE(cut.status.ok()) << cut.status;
    EXPECT_EQ(cut.found, expected) << piece;
  }
  // Where there is no video, the first frame counts.
  const std::string headers = NutHeaders({1, 1});
  const Cut heard = Split(headers + NutSync(0) + NutFrame(1, true, 5), 4);
  EXPECT_EQ(heard.found, (std::vector<std::string>{absl::StrCat("headers ", headers.size()),
                                                   absl::StrCat("syncpoint ", headers.size()),
                                                   absl::StrCat("resume ", headers.size())}));
}

TEST(NutTest, WhatIsDamagedIsNamedWithItsPlace) {
  const std::string magic("nut/multimedia container\0", 25);
  const std::string headers = NutHeaders({0});
  const std::string start = headers + NutSync(0);
  const std::string film = start + NutFrame(0, true, 100);
  const auto main = [&](const std::string& content) {
    return magic + NutPacket(kNutMain, content);
  };
  const std::string front =
      NutNumber(3) + NutNumber(1) + NutNumber(9) + NutNumber(1) + NutNumber(1) + NutNumber(25);
  const auto row = [&](uint64_t mul, uint64_t stream, uint64_t size, uint64_t reserved,
                       uint64_t count) {
    return main(front + NutNumber(0) + NutNumber(6) + NutNumber(0) + NutNumber(mul) +
                NutNumber(stream) + NutNumber(size) + NutNumber(reserved) + NutNumber(count));
  };
  const auto frame = [&](const std::string& lead) { return start + "\1" + lead; };
  const auto at = [](size_t place) { return absl::StrCat("at byte ", place, ": "); };
  const std::string big = NutNumber(8 | 16 | 32) + NutNumber(0) + NutNumber(0);
  const std::vector<std::pair<std::string, std::string>> films = {
      {"", "it is empty"},
      {"nut/multimedia", "at byte 0: the input ends"},
      {"nut/multimedia_", "does not begin as one"},
      {magic, at(25) + "the input ends before all headers"},
      {magic + NutPacket(kNutStream, NutStreamHeader(0, 0)), at(25) + "no main header"},
      {magic + NutFrame(0, true, 1), at(25) + "a frame before the first syncpoint"},
      {main(NutNumber(1)), "has at byte 25 version 1; known"},
      {main(NutNumber(5)), "version 5; known"},
      {main(NutNumber(3) + NutNumber(0)), "has at byte 25 0 streams; allowed: 1 to 250"},
      {main(NutNumber(3) + NutNumber(251)), "251 streams; allowed: 1 to 250"},
      {main(NutNumber(3) + NutNumber(1) + NutNumber(9) + NutNumber(0)),
       "has at byte 25 0 time bases"},
      {main(NutNumber(3) + NutNumber(1) + NutNumber(9) + NutNumber(251)), "251 time bases"},
      {main(front), at(25) + "frame codes that end too early"},
      {main(front + NutNumber(0) + NutNumber(65)), "frame codes of 65 fields"},
      {row(1, 0, 0, 0, 256), "more than 256 frame codes"},
      {row(1, 0, 0, 0, 0), "or none, from number 0"},
      {row(16384, 0, 0, 0, 1), "a frame code's size"},
      {row(1, 0, 16384, 0, 1), "a frame code's size"},
      {row(1, 1, 0, 0, 1), "a frame code of stream 1"},
      {row(1, 0, 0, 9, 1), "more than 8 reserved fields"},
      {main(NutMain(1).substr(0, NutMain(1).size() - 1) + NutNumber(128)), "128 elision headers"},
      {main(NutMain(1).substr(0, NutMain(1).size() - 1) + NutNumber(1) + NutNumber(1025) +
            std::string(1025, 'x')),
       "elision headers of more than 1024 bytes"},
      {main(NutMain(1).substr(0, NutMain(1).size() - 2)), "too early"},
      {headers.substr(0, headers.size() - 1), "the input ends in the middle of what begins here"},
      {NutHeaders({0, 0}).substr(0, headers.size()) + NutSync(0), "before all stream headers"},
      {main(NutMain(1)) + NutPacket(kNutStream, NutStreamHeader(1, 0)), "a header of stream 1"},
      {main(NutMain(1)) + NutPacket(kNutStream, ""), "a stream header that ends too early"},
      {headers + NutPacket(kNutInfo, std::string(65'420, 'x')) + NutPacket(kNutInfo, "x"),
       "headers of more than 65536 bytes"},
      {headers + BigEndian(kNutInfo, 8) + NutNumber(uint64_t{1} << 40) + "1234", "the checksum of"},
      {headers + BigEndian(kNutInfo, 8) + NutNumber(3), at(headers.size()) + "a packet of 3 bytes"},
      {headers + BigEndian(kNutInfo, 8) + std::string(12, '\x80') + NutNumber(uint64_t{1} << 62),
       "the length of a packet"},
      {start + NutPacket(kNutSyncpoint, NutNumber(1)), "without a time or a back pointer"},
      {start + NutPacket(kNutSyncpoint, std::string(600, '\1')), "a syncpoint of more than 512"},
      {start + BigEndian(kNutIndex, 8) + NutNumber(kMaxFrameBytes + 1) +
           NutChecksum(BigEndian(kNutIndex, 8) + NutNumber(kMaxFrameBytes + 1)),
       absl::StrCat("has at byte ", start.size(), " an index of more than 1048576 bytes")},
      {film + NutPacket(kNutMain, NutMain(1, 100)), "two streams, one behind the other"},
      {film + NutPacket(kNutStream, NutStreamHeader(0, 1)), "another header of stream 0"},
      {film + film.substr(0, 25), at(film.size()) + "a frame code that the main header forbids"},
      {film + std::string(1, '\0'), at(film.size()) + "a frame code"},
      {film.substr(0, film.size() - 1), at(start.size()) + "the input ends in the middle"},
      {frame(std::string(400, '\xff')), at(start.size()) + "a frame's header without an end"},
      {frame(std::string(20, '\xff') + "\1"), "a number of a frame's header"},
      {frame(NutNumber(16) + NutNumber(1)), at(start.size()) + "a frame of stream 1"},
      {frame(NutNumber(128) + NutNumber(9)), "more than 8 reserved fields"},
      {frame(NutNumber(1024) + NutNumber(1)), "a frame with elision header 1"},
      {frame(NutNumber(64) + "1234"), "the checksum of a frame's header"},
      {frame(big + NutNumber(kMaxFrameBytes + 1)),
       absl::StrCat("has at byte ", start.size(), " a frame of more than 1048576 bytes")},
      {frame(big + NutNumber(~uint64_t{0})), "a frame of more than"},
      {frame(big + NutNumber(70'000)), "a frame of 70000 bytes without a checksum"},
      {film + NutFrame(0, false, 33'000) + NutFrame(0, false, 1), "behind its syncpoint"},
  };
  for (const auto& [text, why] : films) {
    const Cut cut = Split(text, 5);
    EXPECT_EQ(cut.status.code(), absl::StatusCode::kDataLoss) << why;
    EXPECT_NE(std::string(cut.status.message()).find(why), std::string::npos) << why << "\n"
                                                                              << cut.status;
  }
  EXPECT_TRUE(Split(film, 5).status.ok());
}

TEST(NutTest, NeitherSyncpointsNorFramesWithoutEndAreHeldBack) {
  std::string film = NutHeaders({0, 1});
  for (int i = 0; i < 3000; ++i) film += NutSync(1);
  for (int i = 0; i < 800; ++i) film += NutFrame(1, true, 20);  // no picture
  const std::vector<std::byte> bytes = Bytes(film);
  NutSplitter nut(kMaxFrameBytes);
  uint64_t max_undecided = 0;
  for (auto rest = absl::MakeConstSpan(bytes); !rest.empty();) {
    const absl::StatusOr<NutSplitter::Step> step = nut.Take(rest.first(1));
    ASSERT_TRUE(step.ok()) << step.status();
    rest.remove_prefix(step->taken);
    max_undecided = std::max(max_undecided, nut.undecided_bytes());
    if (nut.headers_whole()) {
      EXPECT_LE(nut.open_bytes(), 60u);
    }
  }
  EXPECT_LE(max_undecided, kMaxNutUndecidedBytes + 60);
  EXPECT_GT(max_undecided, kMaxNutUndecidedBytes - 60);
}

TEST(NutTest, NoBitOfAHeaderOrSyncpointCanFlip) {
  const std::string whole = NutHeaders({0, 1}) + NutSync(7, 3);
  for (size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
    const Cut cut = Split(flipped + NutFrame(0, true, 60), 9);
    EXPECT_FALSE(cut.status.ok()) << bit;
  }
}

TEST(NutTest, ABackPointerIsShortenedInItsPlace) {
  for (const uint64_t back : {uint64_t{0}, uint64_t{5}, uint64_t{127}, uint64_t{128},
                              uint64_t{70'000}, uint64_t{1} << 40}) {
    for (const uint64_t max : {uint64_t{0}, uint64_t{5}, uint64_t{200}, uint64_t{1} << 41}) {
      const std::string before = NutSync(1234, back);
      std::vector<std::byte> packet = Bytes(before);
      ShortenNutBackPointer(absl::MakeSpan(packet), max);
      const std::string digits = NutNumber(std::min(back, max));
      std::string content = NutNumber(1234);
      content.append(NutNumber(back).size() - digits.size(), '\x80');
      content += digits;
      EXPECT_EQ(packet, Bytes(NutPacket(kNutSyncpoint, content))) << back << " " << max;
    }
  }
}

// --- sender and receiver

struct Message {
  uint32_t tag;
  std::vector<std::byte> bytes;
};

// Keeps all messages, but those that it has no space for.
class Keeper final : public MessageSink {
 public:
  explicit Keeper(std::vector<int> full) : full_(std::move(full)) {}
  absl::StatusOr<absl::Span<std::byte>> Reserve(uint32_t size_bytes, bool may_drop) override {
    if (may_drop && std::count(full_.begin(), full_.end(), asked_++) > 0) {
      return absl::UnavailableError("no space now");
    }
    buffer_.assign(size_bytes, std::byte{0xee});
    return absl::MakeSpan(buffer_);
  }
  void Commit(uint32_t tag, uint32_t size_bytes) override {
    buffer_.resize(size_bytes);
    messages.push_back({tag, buffer_});
  }
  std::vector<Message> messages;

 private:
  std::vector<int> full_;
  std::vector<std::byte> buffer_;
  int asked_ = 0;
};

// What `parley send` makes of a film; without space for some pieces.
std::vector<Message> Sent(const std::string& film, size_t piece, const std::vector<int>& full,
                          EndWire* totals = nullptr) {
  TextSource source(film, piece);
  BufferedInput input(source);
  StreamSender sender(StreamKind::kNut, input, {}, 1 << 30);
  if (!full.empty()) sender.DropNewest();
  Keeper keeper(full);
  absl::Status status = sender.Begin();
  while (status.ok()) status = sender.SendNext(keeper);
  EXPECT_TRUE(absl::IsOutOfRange(status)) << status;
  EXPECT_TRUE(sender.SendEnd(keeper).ok());
  if (totals != nullptr) *totals = sender.totals();
  return keeper.messages;
}

struct Received {
  absl::Status status;  // kOutOfRange: all of it
  std::string out;
  uint64_t dropped = 0;
  uint64_t gaps = 0;
};

// Of messages, some of which are taken back before they come.
Received Take(const std::vector<Message>& messages, bool one_of_many = false,
              const std::vector<size_t>& taken_back = {}) {
  Received received;
  StreamReceiver receiver(
      StreamKind::kNut, {}, 1 << 30,
      [&](absl::Span<const std::byte> bytes) {
        received.out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return absl::OkStatus();
      },
      one_of_many);
  for (size_t i = 0; i < messages.size() && received.status.ok(); ++i) {
    if (std::count(taken_back.begin(), taken_back.end(), i) > 0) {
      receiver.Missed();
    } else {
      received.status = receiver.OnMessage(messages[i].tag, messages[i].bytes);
    }
  }
  received.dropped = receiver.dropped();
  received.gaps = receiver.gaps();
  return received;
}

// Ten units, of which each third is a resume point, and an index.
std::string Film() {
  std::string film = NutHeaders({0, 1});
  for (uint64_t i = 0; i < 10; ++i) film += Unit(i, i % 3 == 0);
  return film + NutPacket(kNutIndex, std::string(50, 'x'));
}

// The same from unit `first` on, as it is written behind a gap, up to unit `end`.
std::string Rest(uint64_t first, uint64_t end = 10) {
  std::string rest;
  for (uint64_t i = first; i < end; ++i) {
    const std::string whole = Unit(i, i % 3 == 0);
    const std::string sync = NutSync(i, i == 0 ? 0 : 5000);
    const uint64_t back = std::min<uint64_t>(i == 0 ? 0 : 5000, rest.size() / 16);
    std::vector<std::byte> packet = Bytes(sync);
    ShortenNutBackPointer(absl::MakeSpan(packet), back);
    rest.append(reinterpret_cast<const char*>(packet.data()), packet.size());
    rest += whole.substr(sync.size());
  }
  return rest;
}

TEST(NutTest, WithoutADropTheBytesAreTheSame) {
  const std::string film = Film();
  for (const size_t piece : {1u, 3u, 100u, 1000u, 100'000u}) {
    const Received got = Take(Sent(film, piece, {}));
    EXPECT_TRUE(absl::IsOutOfRange(got.status)) << got.status;
    EXPECT_TRUE(got.out == film) << piece;
  }
  // Headers and no frames; and frames that are longer than a message.
  for (const std::string& other :
       {NutHeaders({0}), NutHeaders({0}) + NutSync(0),
        NutHeaders({0}) + NutSync(0) + NutFrame(0, true, 300'000) + NutSync(1)}) {
    EXPECT_TRUE(Take(Sent(other, 5000, {})).out == other);
  }
}

TEST(NutTest, AfterADropItGoesOnAtAKeyFrameAndBothEndsCountTheSame) {
  const std::string film = Film();
  const std::string headers = NutHeaders({0, 1});
  EndWire totals = {};
  // Pieces of a hundred bytes: the thirteenth is in the middle of the second unit.
  const std::vector<Message> messages = Sent(film, 100, {13}, &totals);
  const Received got = Take(messages);
  EXPECT_TRUE(absl::IsOutOfRange(got.status)) << got.status;
  EXPECT_EQ(got.gaps, 1u);
  EXPECT_EQ(totals.dropped_newest, 1u);
  EXPECT_GT(totals.dropped_before_key, 10u);
  EXPECT_EQ(got.dropped, DroppedOf(totals));
  // Whole frames up to the gap, and all from unit 3 on but the index.
  ASSERT_GT(got.out.size(), Rest(3).size());
  const std::string before = got.out.substr(0, got.out.size() - Rest(3).size());
  EXPECT_TRUE(got.out.substr(before.size()) == Rest(3));
  EXPECT_TRUE(film.substr(0, before.size()) == before);
  EXPECT_GT(before.size(), headers.size() + 1000);
  EXPECT_TRUE(Split(got.out, 64).status.ok()) << Split(got.out, 64).status;
  // Nothing of a frame in part, or of a syncpoint without a frame.
  const std::string tall = headers + NutSync(0) + NutFrame(0, true, 500) + NutSync(1) +
                           NutFrame(0, true, 500) + NutSync(2) + NutFrame(0, true, 500);
  const size_t first = headers.size() + NutSync(0).size() + NutFrame(0, true, 500).size();
  for (int full = 5; full < 12; ++full) {
    const Received parts = Take(Sent(tall, 100, {full}));
    EXPECT_EQ(parts.out.size() % (first - headers.size()),
              headers.size() % (first - headers.size()));
  }
  // Nothing after the drop: the end counts all the same.
  EXPECT_TRUE(absl::IsOutOfRange(Take(Sent(film, 100, {100})).status));
}

TEST(NutTest, ALateReceiverGetsTheHeadersAndGoesOnAtAKeyFrame) {
  const std::vector<Message> messages = Sent(Film(), 100, {});
  for (const uint64_t unit : {3u, 6u, 9u}) {
    std::vector<Message> late = {messages[0]};
    uint64_t resumes = 0;
    for (size_t i = 1; i + 1 < messages.size(); ++i) {
      resumes += messages[i].tag == kTagResume ? 1 : 0;
      if (resumes > unit / 3) late.push_back(messages[i]);
    }
    const auto end = WireBytes(EndWire{late.size() - 1, 0, 0, 0, 0, 0});
    late.push_back({kTagEnd, {end.begin(), end.end()}});
    const Received got = Take(late, true);
    EXPECT_TRUE(absl::IsOutOfRange(got.status)) << got.status;
    EXPECT_TRUE(got.out == NutHeaders({0, 1}) + Rest(unit)) << unit;
  }
}

TEST(NutTest, APieceThatIsTakenBackCostsAllUpToAKeyFrame) {
  std::vector<Message> messages = Sent(Film(), 100, {});
  const auto end = WireBytes(EndWire{messages.size() - 2, 0, 0, 0, 0, 0});
  messages.back().bytes.assign(end.begin(), end.end());
  const Received got = Take(messages, true, {13});
  EXPECT_TRUE(absl::IsOutOfRange(got.status)) << got.status;
  EXPECT_EQ(got.gaps, 1u);
  EXPECT_GT(got.dropped, 10u);
  EXPECT_TRUE(got.out.substr(got.out.size() - Rest(3).size()) == Rest(3));
  EXPECT_TRUE(Split(got.out, 64).status.ok());
}

TEST(NutTest, EachLieOfASenderIsAViolation) {
  const std::vector<std::byte> headers = Bytes(NutHeaders({0}));
  const Message format = {kTagFormat, headers};
  const auto resume = [](uint64_t position, const std::string& text) {
    const auto wire = WireBytes(ResumeWire{position});
    std::vector<std::byte> bytes(wire.begin(), wire.end());
    const std::vector<std::byte> rest = Bytes(text);
    bytes.insert(bytes.end(), rest.begin(), rest.end());
    return Message{kTagResume, bytes};
  };
  const std::string unit = NutSync(0) + NutFrame(0, true, 10);
  const auto end = WireBytes(EndWire{1, headers.size() + unit.size() - 1, 0, 0, 0, 0});
  const std::vector<std::pair<std::vector<Message>, std::string>> lies = {
      {{{kTagBytes, Bytes(unit)}}, "before its headers"},
      {{resume(25, unit)}, "before its headers"},
      {{{kTagFormat, Bytes("x")}}, "does not begin as one"},
      {{{kTagFormat, {}}}, "headers of a NUT in part"},
      {{{kTagFormat, Bytes(NutHeaders({0}).substr(0, 90))}}, "headers of a NUT in part"},
      {{format, format}, "for the second time"},
      {{format, {kTagBytes, {}}}, "a piece of no bytes"},
      {{format, resume(headers.size(), "")}, "a piece of no bytes"},
      {{format, {kTagResume, Bytes("1234567")}}, "a piece of 7 bytes"},
      {{format, {kTagBytes, std::vector<std::byte>(kMaxPieceBytes + 1)}}, "a piece of 65537 bytes"},
      {{format, resume(headers.size() - 1, unit)}, "a NUT that goes on at byte"},
      {{format, resume(~uint64_t{0}, unit)}, "a NUT that goes on at byte"},
      {{format, resume(1000, NutFrame(0, true, 1))}, "without a syncpoint"},
      {{format, resume(1000, NutPacket(kNutInfo, "x"))}, "without a syncpoint"},
      {{format, resume(1000, NutSync(0) + NutFrame(0, false, 1))}, "without a key frame"},
      {{format, resume(1000, NutSync(0) + NutSync(0))}, "without a key frame"},
      {{format,
        {kTagBytes, Bytes(unit.substr(0, unit.size() - 1))},
        {kTagEnd, {end.begin(), end.end()}}},
       "in the middle of what begins here"},
      {{format, {kTagFrame, Bytes(unit)}}, "a message with the tag 2"},
  };
  for (const auto& [messages, why] : lies) {
    const Received got = Take(messages);
    EXPECT_EQ(got.status.code(), absl::StatusCode::kDataLoss) << why;
    EXPECT_NE(std::string(got.status.message()).find(why), std::string::npos)
        << why << ": " << got.status;
  }
}

}  // namespace
}  // namespace parley::cli

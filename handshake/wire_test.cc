// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/wire.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "parley/shm/arena_layout.h"

namespace parley {
namespace {

Hello SomeHello() {
  Hello hello;
  hello.roles = kRoleSends | kRoleReceives;
  hello.doorbells = kDoorbellSocket;
  hello.send = {65536, 1000};
  hello.format = "raw";
  return hello;
}

Welcome SomeWelcome() {
  Welcome welcome;
  welcome.roles = kRoleSends;
  welcome.doorbell = kDoorbellEventfd;
  welcome.channel_id = {0x1122334455667788, 0x99aabbccddeeff00};
  welcome.send = {4096, 4088};
  return welcome;
}

std::string Hex(const std::vector<std::byte>& bytes) {
  std::string text;
  for (const std::byte b : bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    text += kDigits[std::to_integer<int>(b) >> 4];
    text += kDigits[std::to_integer<int>(b) & 15];
  }
  return text;
}

TEST(WireTest, GoldenBytes) {
  EXPECT_EQ(Hex(EncodeHello(SomeHello())),
            "50524c59"
            "0100"
            "0100"
            "43000000"
            "03000000"  // header
            "0100"
            "0100"
            "00000000"
            "03000000"
            "02000000"
            "e8030000"
            "00000000"
            "0100"
            "0000"
            "00000000"
            "0200000001000000"
            "0000010000000000"  // the ring
            "726177");
  EXPECT_EQ(Hex(EncodeWelcome(SomeWelcome())),
            "50524c59"
            "0100"
            "0200"
            "50000000"
            "00000000"
            "0100"
            "0000"
            "00000000"
            "01000000"
            "01000000"
            "8877665544332211"
            "00ffeeddccbbaa99"
            "f80f0000"
            "00000000"
            "0100"
            "0000"
            "00000000"
            "0200000001000000"
            "0010000000000000");
  EXPECT_EQ(Hex(EncodeChannelId(MessageType::kMapped, {1, 2})),
            "50524c59"
            "0100"
            "0500"
            "20000000"
            "00000000"
            "0100000000000000"
            "0200000000000000");
  EXPECT_EQ(Hex(EncodeRefused(RefusalReason::kSize)),
            "50524c59"
            "0100"
            "0700"
            "18000000"
            "00000000"
            "05000000"
            "00000000");
}

TEST(WireTest, WhatIsEncodedIsParsed) {
  const auto hello = ParseHello(EncodeHello(SomeHello()));
  ASSERT_TRUE(hello.ok()) << hello.status();
  EXPECT_EQ(hello->format, "raw");
  EXPECT_EQ(hello->send, SomeHello().send);
  const auto welcome = ParseWelcome(EncodeWelcome(SomeWelcome()));
  ASSERT_TRUE(welcome.ok()) << welcome.status();
  EXPECT_EQ(welcome->channel_id, SomeWelcome().channel_id);
  EXPECT_TRUE(
      ParseChannelId(EncodeChannelId(MessageType::kReady, {1, 2}), MessageType::kReady, {1, 2})
          .ok());
  EXPECT_EQ(*ParseRefused(EncodeRefused(RefusalReason::kBusy)), RefusalReason::kBusy);
}

TEST(WireTest, EachTruncationAndExtensionIsRefused) {
  for (const auto& whole :
       {EncodeHello(SomeHello()), EncodeWelcome(SomeWelcome()),
        EncodeChannelId(MessageType::kMapped, {1, 2}), EncodeRefused(RefusalReason::kSize)}) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const std::vector<std::byte> cut(whole.begin(),
                                       whole.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_FALSE(ParseHello(cut).ok());
      EXPECT_FALSE(ParseWelcome(cut).ok());
      EXPECT_FALSE(ParseChannelId(cut, MessageType::kMapped, {1, 2}).ok());
      EXPECT_FALSE(ParseRefused(cut).ok());
    }
    std::vector<std::byte> longer = whole;
    longer.push_back(std::byte{0});
    EXPECT_FALSE(ParseHello(longer).ok());
    EXPECT_FALSE(ParseWelcome(longer).ok());
  }
}

// Each field set to something that it may not be, one at a time.
TEST(WireTest, HostileFieldsAreRefused) {
  const struct {
    std::size_t offset;
    uint8_t value;
    const char* what;
  } kCases[] = {
      {0, 0, "magic"},
      {4, 2, "header version"},
      {6, 9, "type"},
      {8, 0, "length"},
      {12, 4, "format length"},
      {16, 0, "version range"},
      {16, 9, "version range"},
      {24, 0, "roles"},
      {24, 4, "roles"},
      {28, 0, "doorbells"},
      {35, 0x40, "message longer than the ring"},
      {36, 1, "a message length without a ring"},
      {40, 0, "a section that is not announced"},
      {40, 2, "a section that is not there"},
      {40, 9, "more sections than there may be"},
      {42, 1, "a section of the other direction"},
      {44, 1, "a kind that is not there"},
      {46, 1, "reserved"},
      {48, 0, "kind zero"},
      {48, 1, "a ring's numbers as an arena"},
      {50, 1, "reserved"},
      {52, 2, "two rings"},
      {56, 1, "capacity no power of two"},
      {57, 0x7f, "capacity no power of two"},
  };
  for (const auto& c : kCases) {
    std::vector<std::byte> message = EncodeHello(SomeHello());
    message[c.offset] = std::byte{c.value};
    EXPECT_FALSE(ParseHello(message).ok()) << c.what << " at " << c.offset;
  }
  std::vector<std::byte> welcome = EncodeWelcome(SomeWelcome());
  welcome[18] = std::byte{1};
  EXPECT_FALSE(ParseWelcome(welcome).ok());
  welcome = EncodeWelcome(SomeWelcome());
  welcome[52] = std::byte{64};  // a size for the direction that the roles exclude
  EXPECT_FALSE(ParseWelcome(welcome).ok());

  Hello framed = SomeHello();
  framed.receive.arena = {kMaxArenaBytes, 4096};
  std::vector<std::byte> most = EncodeHello(framed);
  const auto parsed = ParseHello(most);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->receive.arena, framed.receive.arena);
  most[48 + 16 + 4] = std::byte{65};  // 4096 and 65
  EXPECT_FALSE(ParseHello(most).ok());
  // A request may leave either open, and a Welcome neither.
  for (const ArenaGeometry open : {ArenaGeometry{0, 128}, ArenaGeometry{8192, 0}}) {
    framed.receive.arena = open;
    ASSERT_TRUE(ParseHello(EncodeHello(framed)).ok());
    EXPECT_EQ(ParseHello(EncodeHello(framed))->receive.arena, open);
    Welcome decided = SomeWelcome();
    decided.send.arena = open;
    EXPECT_FALSE(ParseWelcome(EncodeWelcome(decided)).ok());
  }
  Welcome elsewhere = SomeWelcome();
  elsewhere.receive.arena = {4096, 64};  // for the direction that the roles exclude
  EXPECT_FALSE(ParseWelcome(EncodeWelcome(elsewhere)).ok());
}

// A list of sections: each kind once, in ascending order. What a Hello has of other kinds is an
// offer that is not taken; a Welcome has none.
TEST(WireTest, SectionsOfUnknownKindsAreOffersInAHelloAndMalformedInAWelcome) {
  const auto with = [](std::vector<std::byte> message, std::size_t fixed_bytes,
                       std::size_t count_at, const std::vector<uint16_t>& kinds) {
    // In place of the one ring that is there: the ring and the kinds, in this order.
    const std::vector<std::byte> ring(
        message.begin() + static_cast<std::ptrdiff_t>(fixed_bytes),
        message.begin() + static_cast<std::ptrdiff_t>(fixed_bytes + 16));
    std::vector<std::byte> sections;
    for (const uint16_t kind : kinds) {
      std::vector<std::byte> section = ring;
      section[0] = static_cast<std::byte>(kind & 0xff);
      section[1] = static_cast<std::byte>(kind >> 8);
      sections.insert(sections.end(), section.begin(), section.end());
    }
    message.erase(message.begin() + static_cast<std::ptrdiff_t>(fixed_bytes),
                  message.begin() + static_cast<std::ptrdiff_t>(fixed_bytes + 16));
    message.insert(message.begin() + static_cast<std::ptrdiff_t>(fixed_bytes), sections.begin(),
                   sections.end());
    message[count_at] = static_cast<std::byte>(kinds.size());
    message[8] = static_cast<std::byte>(message.size() & 0xff);
    message[9] = static_cast<std::byte>(message.size() >> 8);
    return message;
  };
  const auto hello = EncodeHello(SomeHello());
  for (const std::vector<uint16_t>& kinds :
       {std::vector<uint16_t>{2, 3}, {2, 3, 0x1234}, {2, 0xffff}, {2, 3, 4, 5, 6, 7, 8, 9}}) {
    const auto parsed = ParseHello(with(hello, 48, 40, kinds));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->send, SomeHello().send);
    EXPECT_EQ(parsed->format, "raw");
  }
  for (const std::vector<uint16_t>& kinds :
       {std::vector<uint16_t>{3, 2}, {2, 2}, {2, 3, 3}, {0, 2}, {2, 3, 4, 5, 6, 7, 8, 9, 10}}) {
    EXPECT_FALSE(ParseHello(with(hello, 48, 40, kinds)).ok());
  }
  const auto welcome = EncodeWelcome(SomeWelcome());
  EXPECT_TRUE(ParseWelcome(with(welcome, 64, 56, {2})).ok());
  EXPECT_FALSE(ParseWelcome(with(welcome, 64, 56, {2, 3})).ok());
  EXPECT_FALSE(ParseWelcome(with(welcome, 64, 56, {3})).ok());
}

// A Hello has kinds of a broadcast, any of them; a Welcome has sections of any kind, none empty.
TEST(WireTest, ABroadcastIsKindsInAHelloAndSectionsInAWelcome) {
  Hello hello = SomeHello();
  hello.roles = 0;
  hello.send = {};
  hello.broadcast_kinds = {1, 3, 0x1234, 0xffff};
  const std::vector<std::byte> offer = EncodeHello(hello);
  const auto parsed = ParseHello(offer);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->broadcast_kinds, hello.broadcast_kinds);
  EXPECT_EQ(parsed->format, "raw");
  EXPECT_EQ(EncodeHello(*parsed), offer);
  struct Lie {
    std::size_t offset;
    int value;
    const char* what;
  };
  for (const Lie& lie :
       {Lie{44, 0, "no roles and no kinds"}, Lie{44, 3, "a kind as format"}, Lie{44, 5, "too few"},
        Lie{44, 9, "more than there may be"}, Lie{46, 1, "reserved"}, Lie{48, 0, "kind zero"},
        Lie{48, 3, "a kind twice"}, Lie{48, 4, "not in order"}, Lie{50, 1, "reserved"},
        Lie{52, 1, "a count"}, Lie{56, 1, "bytes"}}) {
    std::vector<std::byte> message = offer;
    message[lie.offset] = static_cast<std::byte>(lie.value);
    EXPECT_FALSE(ParseHello(message).ok()) << lie.what;
  }

  Welcome welcome = SomeWelcome();
  welcome.roles = 0;
  welcome.send = {};
  welcome.broadcast = {{3, 4, 4096}, {0x1234, 0xffffffff, ~uint64_t{0}}};
  const std::vector<std::byte> answer = EncodeWelcome(welcome);
  const auto agreed = ParseWelcome(answer);
  ASSERT_TRUE(agreed.ok()) << agreed.status();
  EXPECT_EQ(agreed->broadcast, welcome.broadcast);
  EXPECT_EQ(EncodeWelcome(*agreed), answer);
  for (const Lie& lie :
       {Lie{60, 0, "no roles and no broadcast"}, Lie{60, 1, "a section as format"},
        Lie{60, 9, "more than there may be"}, Lie{62, 1, "reserved"}, Lie{64, 0, "kind zero"},
        Lie{66, 1, "reserved"}, Lie{68, 0, "no element"}, Lie{73, 0, "elements of no byte"}}) {
    std::vector<std::byte> message = answer;
    message[lie.offset] = static_cast<std::byte>(lie.value);
    EXPECT_FALSE(ParseWelcome(message).ok()) << lie.what;
  }
}

TEST(WireTest, EachRefusalHasAReasonInWordsAndAnUnknownOneToo) {
  std::set<std::string> texts;
  constexpr auto kLast = static_cast<uint32_t>(RefusalReason::kUnfinished);
  for (uint32_t reason = 1; reason <= kLast; ++reason) {
    texts.insert(ToString(static_cast<RefusalReason>(reason)));
  }
  EXPECT_EQ(texts.size(), kLast);
  const std::string unknown = ToString(static_cast<RefusalReason>(kLast + 1));
  EXPECT_NE(unknown.find("does not know"), std::string::npos);
  EXPECT_EQ(texts.count(unknown), 0u);
}

TEST(WireTest, PromiseP1MemoryRandomBytesNeverCrashTheParsers) {
  std::mt19937 random(11);
  for (int round = 0; round < 50'000; ++round) {
    std::vector<std::byte> message = EncodeHello(SomeHello());
    message.resize(random() % (message.size() + 40));
    for (std::byte& byte : message) {
      if (random() % 8 == 0) byte = static_cast<std::byte>(random());
    }
    static_cast<void>(ParseHello(message));
    static_cast<void>(ParseWelcome(message));
    static_cast<void>(ParseRefused(message));
    static_cast<void>(PeekType(message));
  }
}

}  // namespace
}  // namespace parley

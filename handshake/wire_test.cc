// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/wire.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/ring/layout.h"
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

TEST(WireTest, WhatIsRefusedForATimeSaysSo) {
  for (uint32_t reason = 0; reason <= 20; ++reason) {
    const auto refused = static_cast<RefusalReason>(reason);
    const std::string text = ToString(refused);
    EXPECT_EQ(IsPassing(refused), text.find("; try again later") != std::string::npos) << text;
  }
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

// --- each field, limit and fault -----------------------------------------------------------------

// All that a Hello and a Welcome can say, each field with a number of its own.
Hello FullHello() {
  Hello hello;
  hello.version_min = 2;
  hello.version_max = 7;
  hello.features = 0x8001;
  hello.roles = kRoleSends | kRoleReceives;
  hello.doorbells = kDoorbellSocket | kDoorbellFutex;
  hello.send = {65536, 1000, {8192, 128}};
  hello.receive = {131072, 2000, {12288, 256}};
  hello.broadcast_kinds = {3, 9};
  hello.format = "raw";
  return hello;
}

Welcome FullWelcome() {
  Welcome welcome;
  welcome.features = kKnownFeatures;
  welcome.roles = kRoleSends | kRoleReceives;
  welcome.doorbell = kDoorbellSocket;
  welcome.channel_id = {11, 12};
  welcome.send = {65536, 1000, {8192, 128}};
  welcome.receive = {131072, 2000, {12288, 256}};
  welcome.broadcast = {{3, 4, 4096}, {9, 1, 1}};
  welcome.format = "raw";
  return welcome;
}

TEST(WireTest, WhatNobodySetsIsZero) {
  const Hello hello;
  EXPECT_EQ(hello.version_min, kWireVersion);
  EXPECT_EQ(hello.version_max, kWireVersion);
  EXPECT_EQ(hello.features, 0u);
  EXPECT_EQ(hello.roles, 0u);
  EXPECT_EQ(hello.doorbells, 0u);
  const Welcome welcome;
  EXPECT_EQ(welcome.version, kWireVersion);
  EXPECT_EQ(welcome.features, 0u);
  EXPECT_EQ(welcome.roles, 0u);
  EXPECT_EQ(welcome.doorbell, 0u);
  EXPECT_EQ(welcome.channel_id, (ChannelId{0, 0}));
  const DirectionSpec direction;
  EXPECT_EQ(direction.capacity_bytes, 0u);
  EXPECT_EQ(direction.max_message_bytes, 0u);
  EXPECT_EQ(direction.arena, ArenaGeometry());
}

TEST(WireTest, EachFieldArrivesAsItWasSent) {
  const Hello sent = FullHello();
  const auto hello = ParseHello(EncodeHello(sent));
  ASSERT_TRUE(hello.ok()) << hello.status();
  EXPECT_EQ(hello->version_min, sent.version_min);
  EXPECT_EQ(hello->version_max, sent.version_max);
  EXPECT_EQ(hello->features, sent.features);
  EXPECT_EQ(hello->roles, sent.roles);
  EXPECT_EQ(hello->doorbells, sent.doorbells);
  EXPECT_EQ(hello->send, sent.send);
  EXPECT_EQ(hello->receive, sent.receive);
  EXPECT_EQ(hello->broadcast_kinds, sent.broadcast_kinds);
  EXPECT_EQ(hello->format, sent.format);
  const Welcome answered = FullWelcome();
  const auto welcome = ParseWelcome(EncodeWelcome(answered));
  ASSERT_TRUE(welcome.ok()) << welcome.status();
  EXPECT_EQ(static_cast<const Agreement&>(*welcome), answered);
  EXPECT_EQ(welcome->channel_id, answered.channel_id);
  EXPECT_EQ(welcome->format, answered.format);
}

TEST(WireTest, EachDirectionAloneAndEachDoorbellArrive) {
  for (const uint32_t roles : {kRoleSends, kRoleReceives}) {
    Hello hello = FullHello();
    hello.roles = roles;
    (roles == kRoleSends ? hello.receive : hello.send) = {};
    const auto offered = ParseHello(EncodeHello(hello));
    ASSERT_TRUE(offered.ok()) << offered.status();
    EXPECT_EQ(offered->send, hello.send);
    EXPECT_EQ(offered->receive, hello.receive);
    Welcome welcome = FullWelcome();
    welcome.roles = roles;
    (roles == kRoleSends ? welcome.receive : welcome.send) = {};
    for (const uint32_t doorbell : {kDoorbellEventfd, kDoorbellSocket, kDoorbellFutex}) {
      welcome.doorbell = doorbell;
      const auto agreed = ParseWelcome(EncodeWelcome(welcome));
      ASSERT_TRUE(agreed.ok()) << agreed.status();
      EXPECT_EQ(static_cast<const Agreement&>(*agreed), welcome);
    }
  }
  // No preference at all, with each doorbell as the only one.
  for (const uint32_t doorbells : {kDoorbellEventfd, kDoorbellSocket, kDoorbellFutex}) {
    Hello open;
    open.roles = kRoleSends | kRoleReceives;
    open.doorbells = doorbells;
    const auto parsed = ParseHello(EncodeHello(open));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->send, DirectionSpec());
    EXPECT_EQ(parsed->doorbells, doorbells);
  }
}

// Overwrites a number of `size` bytes at `offset`.
struct Change {
  std::size_t offset;
  uint64_t value;
  std::size_t size;
};

std::vector<std::byte> With(std::vector<std::byte> message, const std::vector<Change>& changes) {
  for (const Change& c : changes) {
    for (std::size_t i = 0; i < c.size; ++i) {
      message[c.offset + i] = static_cast<std::byte>(c.value >> (8 * i));
    }
  }
  return message;
}

// `count` empty bytes of sections put in at `offset`, and the header's length as it is now.
std::vector<std::byte> Longer(std::vector<std::byte> message, std::size_t offset,
                              std::size_t count) {
  message.insert(message.begin() + static_cast<std::ptrdiff_t>(offset), count, std::byte{0});
  const std::size_t size = message.size();
  return With(std::move(message), {{8, size, 4}});
}

constexpr std::size_t kSection = sizeof(SectionWire);

// Which fault it is can be read in the error, so that each check is seen to be the one that found
// it.
TEST(WireTest, EachFaultIsNamed) {
  const std::vector<std::byte> hello = EncodeHello(FullHello());
  const std::vector<std::byte> welcome = EncodeWelcome(FullWelcome());
  const std::vector<std::byte> id = EncodeChannelId(MessageType::kMapped, {1, 2});
  const std::vector<std::byte> refused = EncodeRefused(RefusalReason::kSize);
  Hello plain;
  plain.roles = kRoleSends | kRoleReceives;
  plain.doorbells = kDoorbellSocket;
  Hello sends = plain;
  sends.roles = kRoleSends;
  sends.send = {65536, 1000};
  Hello receives = plain;
  receives.roles = kRoleReceives;
  receives.receive = {65536, 1000};
  Welcome without_ring = FullWelcome();
  without_ring.send = {};
  Welcome short_messages = FullWelcome();
  short_messages.receive.max_message_bytes = kMinMessageLimitBytes - 1;
  const struct {
    std::vector<std::byte> message;
    const char* sentence;
  } kHellos[] = {
      {With(hello, {{0, 0, 4}}), "not Parley's magic number"},
      {With(hello, {{4, 0, 2}}), "unknown header version"},
      {With(hello, {{4, 2, 2}}), "unknown header version"},
      {With(hello, {{6, 2, 2}}), "unexpected type"},
      {With(hello, {{8, 1, 4}}), "announced length is not the real one"},
      {With(hello, {{12, kMaxFormatBytes + 1, 4}}), "format too long"},
      {With(hello, {{12, 4, 4}}), "format length"},
      {With(hello, {{16, 0, 2}}), "impossible version range"},
      {With(hello, {{16, 8, 2}}), "impossible version range"},
      {With(hello, {{24, 4, 4}}), "impossible roles"},
      {With(EncodeHello(plain), {{24, 0, 4}}), "impossible roles"},
      {With(hello, {{28, 0, 4}}), "no doorbell offered"},
      {With(hello, {{46, 1, 2}}), "reserved field not zero"},
      {Longer(With(hello, {{40, 9, 2}}), 48, 7 * kSection), "too many sections"},
      {Longer(With(hello, {{42, 9, 2}}), 80, 7 * kSection), "too many sections"},
      {Longer(With(hello, {{44, 9, 2}}), 112, 7 * kSection), "too many sections"},
      {With(hello, {{48, 0, 2}}), "sections not in the order of their kinds"},
      {With(hello, {{50, 1, 2}}), "reserved field not zero"},
      {With(hello, {{52, 65, 4}}), "impossible arena"},
      {With(hello, {{52, 0, 4}, {56, 0, 8}}), "impossible arena"},
      {With(hello, {{68, 2, 4}}), "impossible ring size"},
      {With(EncodeHello(sends), {{52, 2, 4}}), "impossible ring size"},
      {With(EncodeHello(sends), {{32, 0, 4}, {56, 0, 8}}), "impossible ring size"},
      {With(EncodeHello(sends), {{32, kMinMessageLimitBytes - 1, 4}}), "impossible ring size"},
      {With(EncodeHello(sends), {{32, 65536 - 7, 4}}), "impossible ring size"},
      {With(EncodeHello(plain), {{32, 64, 4}}), "impossible ring size"},
      {With(EncodeHello(plain), {{36, 64, 4}}), "impossible ring size"},
      {With(EncodeHello(sends), {{24, kRoleReceives, 4}}), "does not exist"},
      {With(EncodeHello(receives), {{24, kRoleSends, 4}}), "does not exist"},
      {With(EncodeHello(sends), {{36, 64, 4}}), "does not exist"},
      {With(hello, {{112 + 4, 1, 4}}), "sizes for a kind of a broadcast"},
      {With(hello, {{112 + 8, 1, 8}}), "sizes for a kind of a broadcast"},
      {With(hello, {{112, 9, 2}}), "sections not in the order of their kinds"},
  };
  for (const auto& c : kHellos) {
    const auto parsed = ParseHello(c.message);
    EXPECT_NE(parsed.status().message().find(c.sentence), std::string::npos)
        << &c - kHellos << ": " << parsed.status() << ", and not " << c.sentence;
  }
  const struct {
    std::vector<std::byte> message;
    const char* sentence;
  } kWelcomes[] = {
      {With(welcome, {{6, 1, 2}}), "unexpected type"},
      {With(welcome, {{16, 0, 2}}), "a version that was not offered"},
      {With(welcome, {{16, 2, 2}}), "a version that was not offered"},
      {With(welcome, {{18, 1, 2}}), "reserved field not zero"},
      {With(welcome, {{62, 1, 2}}), "reserved field not zero"},
      {With(welcome, {{20, 4, 4}}), "a feature that was not offered"},
      {With(welcome, {{24, 4, 4}}), "impossible roles"},
      {With(welcome, {{28, 0, 4}}), "unknown doorbell"},
      {With(welcome, {{28, 3, 4}}), "unknown doorbell"},
      {With(welcome, {{28, 8, 4}}), "unknown doorbell"},
      {With(welcome, {{56, 9, 2}}), "too many sections"},
      {With(welcome, {{12, 4, 4}}), "format length"},
      {With(welcome, {{64, 3, 2}}), "a section that was not offered"},
      {With(welcome, {{96, 3, 2}}), "a section that was not offered"},
      {With(welcome, {{64 + 4, 0, 4}}), "impossible arena"},
      {EncodeWelcome(without_ring), "impossible ring size"},
      {EncodeWelcome(short_messages), "impossible ring size"},
      {With(welcome, {{128 + 4, 0, 4}}), "an empty section"},
      {With(welcome, {{128 + 8, 0, 8}}), "an empty section"},
      {With(welcome, {{128, 9, 2}}), "sections not in the order of their kinds"},
  };
  for (const auto& c : kWelcomes) {
    const auto parsed = ParseWelcome(c.message);
    EXPECT_NE(parsed.status().message().find(c.sentence), std::string::npos)
        << &c - kWelcomes << ": " << parsed.status() << ", and not " << c.sentence;
  }
  const struct {
    std::vector<std::byte> message;
    const char* sentence;
  } kIds[] = {
      {With(id, {{0, 0, 4}}), "not Parley's magic number"},
      {With(id, {{6, 6, 2}}), "unexpected type"},
      {With(id, {{12, 1, 4}}), "format where none belongs"},
      {With(id, {{12, 4, 4}}), "format where none belongs"},
      {With(id, {{16, 2, 8}}), "another channel's id"},
      {With(id, {{24, 1, 8}}), "another channel's id"},
      {Longer(id, 32, 4), "too long"},
  };
  for (const auto& c : kIds) {
    const absl::Status status = ParseChannelId(c.message, MessageType::kMapped, {1, 2});
    EXPECT_NE(status.message().find(c.sentence), std::string::npos)
        << &c - kIds << ": " << status << ", and not " << c.sentence;
  }
  for (const auto& [message, sentence] :
       {std::pair(With(refused, {{20, 1, 4}}), "reserved field not zero"),
        std::pair(With(refused, {{12, 1, 4}}), "format where none belongs"),
        std::pair(With(refused, {{6, 6, 2}}), "unexpected type"),
        std::pair(Longer(refused, 24, 8), "too long")}) {
    const auto parsed = ParseRefused(message);
    EXPECT_NE(parsed.status().message().find(sentence), std::string::npos)
        << parsed.status() << ", and not " << sentence;
  }
}

TEST(WireTest, AMessageThatIsCutIsTooShortOrNotAsLongAsItSays) {
  const auto expect = [](const absl::Status& status, bool header_is_whole) {
    const char* const sentence = header_is_whole ? "announced length" : "too short";
    EXPECT_NE(status.message().find(sentence), std::string::npos) << status;
  };
  const std::vector<std::byte> hello = EncodeHello(FullHello());
  const std::vector<std::byte> welcome = EncodeWelcome(FullWelcome());
  const std::vector<std::byte> id = EncodeChannelId(MessageType::kMapped, {1, 2});
  const std::vector<std::byte> refused = EncodeRefused(RefusalReason::kSize);
  for (std::size_t size = 0; size < hello.size(); ++size) {
    const auto cut = absl::MakeConstSpan(hello).first(size);
    expect(ParseHello(cut).status(), size >= sizeof(HelloWire));
    expect(PeekType(cut).status(), size >= sizeof(MessageHeaderWire));
  }
  for (std::size_t size = 0; size < welcome.size(); ++size) {
    expect(ParseWelcome(absl::MakeConstSpan(welcome).first(size)).status(),
           size >= sizeof(WelcomeWire));
  }
  for (std::size_t size = 0; size < id.size(); ++size) {
    expect(ParseChannelId(absl::MakeConstSpan(id).first(size), MessageType::kMapped, {1, 2}),
           false);
  }
  for (std::size_t size = 0; size < refused.size(); ++size) {
    expect(ParseRefused(absl::MakeConstSpan(refused).first(size)).status(), false);
  }
}

TEST(WireTest, TheTypeIsOneOfSevenBehindARightHeader) {
  const std::vector<std::byte> id = EncodeChannelId(MessageType::kMapped, {1, 2});
  for (uint64_t type = 1; type <= 7; ++type) {
    const auto peeked = PeekType(With(id, {{6, type, 2}}));
    ASSERT_TRUE(peeked.ok()) << peeked.status();
    EXPECT_EQ(*peeked, static_cast<MessageType>(type));
  }
  for (const uint64_t type : {0U, 8U, 0xffffU}) {
    EXPECT_NE(PeekType(With(id, {{6, type, 2}})).status().message().find("unknown type"),
              std::string::npos);
  }
  EXPECT_FALSE(PeekType(With(id, {{0, 0, 4}})).ok());
  EXPECT_FALSE(PeekType(With(id, {{8, 31, 4}})).ok());
}

// The largest and the smallest of everything is still right.
TEST(WireTest, TheLimitsThemselvesAreAllowed) {
  Hello hello = FullHello();
  hello.version_min = hello.version_max = 3;
  hello.send = {kMinCapacityBytes, kMinMessageLimitBytes, {}};
  hello.receive = {kMaxCapacityBytes, (1U << 30) - 8, {kMaxArenaBytes, kMaxArenaAlignment}};
  hello.broadcast_kinds = {1, 2, 3, 4, 5, 6, 7, 8};
  hello.format = std::string(kMaxFormatBytes, 'x');
  const auto parsed = ParseHello(EncodeHello(hello));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->send, hello.send);
  EXPECT_EQ(parsed->receive, hello.receive);
  EXPECT_EQ(parsed->broadcast_kinds, hello.broadcast_kinds);
  EXPECT_EQ(parsed->format, hello.format);

  // Eight sections in each list, of which one is the ring; unknown ones are offers not taken.
  hello.receive = {65536, 1000};
  hello.format = "";
  const std::vector<std::byte> both = EncodeHello(hello);
  // The second ring is at 64, the first at 48: seven unknown sections behind each.
  std::vector<std::byte> many =
      Longer(Longer(both, 64 + kSection, 7 * kSection), 48 + kSection, 7 * kSection);
  many = With(std::move(many), {{40, 8, 2}, {42, 8, 2}});
  for (std::size_t i = 1; i <= 7; ++i) {
    many = With(std::move(many), {{48 + kSection * i, kSectionRing + i, 2},
                                  {48 + kSection * (8 + i), kSectionRing + i, 2}});
  }
  const auto offers = ParseHello(many);
  ASSERT_TRUE(offers.ok()) << offers.status();
  EXPECT_EQ(offers->send, hello.send);
  EXPECT_EQ(offers->receive, hello.receive);

  Welcome welcome = FullWelcome();
  welcome.broadcast = {{1, 1, 1}, {2, 1, 1}, {3, 1, 1}, {4, 1, 1},
                       {5, 1, 1}, {6, 1, 1}, {7, 1, 1}, {8, 1, 1}};
  welcome.format = std::string(kMaxFormatBytes, 'x');
  const std::vector<std::byte> longest = EncodeWelcome(welcome);
  EXPECT_LE(longest.size(), kMaxMessageBytes);
  const auto agreed = ParseWelcome(longest);
  ASSERT_TRUE(agreed.ok()) << agreed.status();
  EXPECT_EQ(static_cast<const Agreement&>(*agreed), welcome);
  EXPECT_EQ(agreed->format, welcome.format);
}

TEST(WireDeathTest, WhatCannotBeEncodedIsTheCallersBug) {
  Hello hello = FullHello();
  hello.format = std::string(kMaxFormatBytes + 1, 'x');
  EXPECT_DEATH(EncodeHello(hello), "format longer than 4 KiB");
  Welcome welcome = FullWelcome();
  welcome.format = hello.format;
  EXPECT_DEATH(EncodeWelcome(welcome), "format longer than 4 KiB");
  welcome.format = "";
  welcome.send.arena = {1, 64};
  EXPECT_DEATH(EncodeWelcome(welcome), "an arena: a multiple of 4 KiB");
}

}  // namespace
}  // namespace parley

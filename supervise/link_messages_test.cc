// SPDX-License-Identifier: Apache-2.0
#include "parley/supervise/link_messages.h"

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "parley/boundary/wire_copy.h"
#include "parley/supervise/link_wire.h"

namespace parley::internal {
namespace {

template <typename Wire>
std::vector<std::byte> Message(const Wire& wire, const std::string& text = "") {
  const auto header = WireBytes(wire);
  std::vector<std::byte> message(header.begin(), header.end());
  for (const char c : text) message.push_back(static_cast<std::byte>(c));
  return message;
}

TEST(LinkMessagesTest, AReadIsOfSomethingThatFitsIntoOneAnswer) {
  const auto parse = [](uint64_t offset, uint32_t size_bytes, uint32_t reserved) {
    return ParseRead(Message(ReadRequestWire{offset, size_bytes, reserved}), 100);
  };
  ASSERT_TRUE(parse(7, 100, 0).has_value());
  EXPECT_EQ(parse(7, 100, 0)->offset, 7u);
  EXPECT_EQ(parse(7, 100, 0)->size_bytes, 100u);
  EXPECT_TRUE(parse(~uint64_t{0}, 1, 0).has_value());
  EXPECT_FALSE(parse(0, 0, 0).has_value());
  EXPECT_FALSE(parse(0, 101, 0).has_value());
  EXPECT_FALSE(parse(0, ~0u, 0).has_value());
  EXPECT_FALSE(parse(0, 1, 1).has_value());
  EXPECT_FALSE(ParseRead(Message(ReadRequestWire{0, 1, 0}, "x"), 100).has_value());
  EXPECT_FALSE(ParseRead({}, 100).has_value());
}

TEST(LinkMessagesTest, AFailureHasACodeAndExactlyItsText) {
  const auto parse = [](uint32_t code, uint32_t text_bytes, const std::string& text) {
    return ParseFailed(Message(FailedWire{code, text_bytes}, text));
  };
  ASSERT_TRUE(parse(3, 3, "a\x1b\n").has_value());
  EXPECT_EQ(parse(3, 3, "a\x1b\n")->code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(parse(3, 3, "a\x1b\n")->message(), "a\\x1b ");
  EXPECT_TRUE(parse(16, 0, "").has_value());
  EXPECT_FALSE(parse(0, 0, "").has_value());
  EXPECT_FALSE(parse(17, 0, "").has_value());
  EXPECT_FALSE(parse(3, 4, "abc").has_value());
  EXPECT_FALSE(parse(3, 2, "abc").has_value());
  EXPECT_FALSE(parse(3, 401, std::string(401, 'x')).has_value());
  EXPECT_TRUE(parse(3, 400, std::string(400, '\x01')).has_value());
  // Printable is longer, and still bounded.
  EXPECT_LE(parse(3, 400, std::string(400, '\x01'))->message().size(), 400u);
}

TEST(LinkMessagesTest, AnAcknowledgementIsOfThisEpochAndOfWhatWasSent) {
  const auto parse = [](uint64_t number, uint32_t epoch, uint32_t reserved) {
    return ParseAcknowledged(Message(AcknowledgedWire{number, epoch, reserved}), 3, 7, 9);
  };
  for (const uint64_t number : {7u, 8u, 9u}) EXPECT_EQ(parse(number, 3, 0), number);
  EXPECT_EQ(parse(6, 3, 0), std::nullopt);
  EXPECT_EQ(parse(10, 3, 0), std::nullopt);
  EXPECT_EQ(parse(8, 2, 0), std::nullopt);
  EXPECT_EQ(parse(8, 4, 0), std::nullopt);
  EXPECT_EQ(parse(8, 3, 1), std::nullopt);
  EXPECT_EQ(ParseAcknowledged(Message(AcknowledgedWire{8, 3, 0}, "x"), 3, 7, 9), std::nullopt);
  EXPECT_EQ(ParseAcknowledged({}, 3, 7, 9), std::nullopt);
  // Nothing is open to be acknowledged.
  EXPECT_EQ(ParseAcknowledged(Message(AcknowledgedWire{8, 3, 0}), 3, 9, 8), std::nullopt);
}

TEST(LinkMessagesTest, AJobIsDoneOnceUnderItsOwnNumber) {
  const auto parse = [](uint64_t number, uint32_t code, const std::string& text) {
    return ParseJobDone(
        Message(JobDoneWire{number, code, static_cast<uint32_t>(text.size())}, text), 5);
  };
  EXPECT_EQ(parse(5, 0, ""), absl::OkStatus());
  EXPECT_EQ(parse(5, 13, "no"), absl::InternalError("no"));
  for (uint32_t code = 1; code <= 16; ++code) {
    EXPECT_EQ(parse(5, code, ""), absl::Status(static_cast<absl::StatusCode>(code), ""));
  }
  EXPECT_EQ(parse(5, 17, ""), std::nullopt);
  EXPECT_EQ(parse(4, 0, ""), std::nullopt);
  EXPECT_EQ(parse(6, 0, ""), std::nullopt);
  EXPECT_EQ(parse(5, 99, ""), std::nullopt);
}

TEST(LinkMessagesTest, PromiseP1MemoryRandomBytesNeverCrashTheParsers) {
  std::mt19937 random(1);  // NOLINT(cert-msc51-cpp): the same bytes each time
  for (int i = 0; i < 100'000; ++i) {
    std::vector<std::byte> message(random() % 64);
    for (std::byte& byte : message) byte = static_cast<std::byte>(random() % 3 == 0 ? random() : 0);
    const auto read = ParseRead(message, 1000);
    if (read.has_value()) {
      EXPECT_LE(read->size_bytes, 1000u);
    }
    const auto failed = ParseFailed(message);
    if (failed.has_value()) {
      EXPECT_FALSE(failed->ok());
    }
    static_cast<void>(ParseJobDone(message, 0));
  }
}

}  // namespace
}  // namespace parley::internal

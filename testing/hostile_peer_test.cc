// SPDX-License-Identifier: Apache-2.0
#include "parley/testing/hostile_peer.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/violation.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"

namespace parley::testing {
namespace {

constexpr uint8_t kSend = 0;
constexpr uint8_t kSendWithHeader = 8;
constexpr uint8_t kMoveTail = 9;
constexpr uint8_t kSetWord = 10;
constexpr uint8_t kRewrite = 11;
constexpr uint8_t kRing = 13;
constexpr uint8_t kClose = 14;
constexpr uint8_t kDie = 15;

absl::StatusOr<Record> Receive(Channel& channel, std::vector<std::byte>* into) {
  into->resize(channel.receiver.max_message_bytes());
  return channel.receiver.Receive(absl::MakeSpan(*into), Deadline::AtMonotonicNs(0));
}

void DoAll(HostilePeer& peer) {
  while (peer.Act()) {
  }
}

TEST(HostilePeerTest, MessagesArriveAsTheInputSays) {
  for (const uint8_t doorbell : {uint8_t{0}, uint8_t{1}}) {
    const std::vector<uint8_t> input = {doorbell, kSend, 7, 3, 'a', 'b', 'c', kSend, 9, 200, 'd'};
    HostilePeer peer(input.data(), input.size());
    EXPECT_TRUE(peer.Act());
    std::vector<std::byte> into;
    auto record = Receive(peer.victim(), &into);
    ASSERT_TRUE(record.ok()) << record.status();
    EXPECT_EQ(record->tag, 7u);
    EXPECT_EQ(record->size_bytes, 3u);
    EXPECT_EQ(into[2], std::byte{'c'});
    EXPECT_TRUE(peer.Act());
    record = Receive(peer.victim(), &into);
    ASSERT_TRUE(record.ok()) << record.status();
    EXPECT_EQ(record->size_bytes, 1u);
    EXPECT_FALSE(peer.Act());
    EXPECT_EQ(Receive(peer.victim(), &into).status().code(), absl::StatusCode::kDeadlineExceeded);
  }
}

TEST(HostilePeerTest, APayloadCanBeRewrittenAfterItWasSent) {
  const std::vector<uint8_t> input = {0, kSend, 7, 1, 'a', kRewrite, 1, 0, 'z'};
  HostilePeer peer(input.data(), input.size());
  DoAll(peer);
  std::vector<std::byte> into;
  ASSERT_TRUE(Receive(peer.victim(), &into).ok());
  EXPECT_EQ(into[0], std::byte{'z'});
}

TEST(HostilePeerTest, EachLieIsSeenAsTheViolationThatItIs) {
  const struct {
    std::vector<uint8_t> steps;
    Violation violation;
  } kLies[] = {
      {{kSendWithHeader, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0}, Violation::kRecordTooLong},
      {{kMoveTail, 1, 0}, Violation::kProducerPositionMisaligned},
      {{kSetWord, 0, 0, 0, 0, 0, 0, 0, 0, 1}, Violation::kProducerPositionOutOfRange},
      {{kSetWord, 1, 2}, Violation::kProducerStateInvalid},
  };
  for (const auto& lie : kLies) {
    std::vector<uint8_t> input = {0};
    input.insert(input.end(), lie.steps.begin(), lie.steps.end());
    HostilePeer peer(input.data(), input.size());
    DoAll(peer);
    std::vector<std::byte> into;
    EXPECT_EQ(Receive(peer.victim(), &into).status().code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(peer.victim().receiver.violation(), lie.violation);
  }
}

TEST(HostilePeerTest, ItEndsInOrderOrNot) {
  std::vector<std::byte> into;
  const std::vector<uint8_t> in_order = {0, kRing, 3, kClose, 0, kSend, 1, 0};
  HostilePeer closing(in_order.data(), in_order.size());
  DoAll(closing);
  EXPECT_EQ(Receive(closing.victim(), &into).status().code(), absl::StatusCode::kOutOfRange);

  const std::vector<uint8_t> sudden = {1, kDie, kSend, 1, 0};
  HostilePeer dying(sudden.data(), sudden.size());
  EXPECT_TRUE(dying.Act());
  EXPECT_FALSE(dying.Act());
  EXPECT_EQ(Receive(dying.victim(), &into).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace parley::testing

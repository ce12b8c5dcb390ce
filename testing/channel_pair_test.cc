#include "parley/testing/channel_pair.h"

#include <unistd.h>

#include <array>
#include <cstddef>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"

namespace parley::testing {
namespace {

TEST(ChannelPairTest, MessagesFlowBothWaysAndDeathIsSeen) {
  for (const bool eventfd : {false, true}) {
    ChannelPairOptions options;
    options.eventfd = eventfd;
    options.ring = {8192, 100};
    auto pair = ChannelPair::Create(options);
    ASSERT_TRUE(pair.ok()) << pair.status();
    Channel& a = (*pair)->accepting();
    Channel& b = (*pair)->connecting();
    EXPECT_EQ(a.id, b.id);
    EXPECT_EQ(a.sender.capacity_bytes(), 8192u);
    EXPECT_EQ(b.sender.max_message_bytes(), 100u);

    const std::array<std::byte, 3> message = {std::byte{1}, std::byte{2}, std::byte{3}};
    std::vector<std::byte> into(100);
    Record record;
    EXPECT_EQ(a.sender.TrySend(7, message), Outcome::kOk);
    EXPECT_EQ(b.receiver.TryReceive(absl::MakeSpan(into), &record), Outcome::kOk);
    EXPECT_EQ(record.tag, 7u);
    EXPECT_EQ(b.sender.TrySend(8, message), Outcome::kOk);
    b = Channel();
    EXPECT_EQ(a.receiver.TryReceive(absl::MakeSpan(into), &record), Outcome::kOk);
    EXPECT_EQ(record.tag, 8u);
    EXPECT_EQ(
        a.receiver.Receive(absl::MakeSpan(into), Deadline::After(absl::Seconds(5))).status().code(),
        absl::StatusCode::kUnavailable);
  }
}

TEST(ChannelPairTest, ASleeperIsWoken) {
  for (const bool eventfd : {false, true}) {
    ChannelPairOptions options;
    options.eventfd = eventfd;
    auto pair = ChannelPair::Create(options);
    ASSERT_TRUE(pair.ok()) << pair.status();
    std::thread peer([&] {
      ::usleep(20'000);
      EXPECT_EQ((*pair)->connecting().sender.TrySend(1, {}), Outcome::kOk);
    });
    std::vector<std::byte> into(1024);
    EXPECT_TRUE((*pair)
                    ->accepting()
                    .receiver.Receive(absl::MakeSpan(into), Deadline::After(absl::Seconds(20)))
                    .ok());
    peer.join();
    EXPECT_GT((*pair)->accepting().receiver.stats().wakeups, 0u);
  }
}

TEST(ChannelPairTest, AnImpossibleRingIsAnError) {
  ChannelPairOptions options;
  options.ring = {4000, 100};
  EXPECT_EQ(ChannelPair::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace parley::testing

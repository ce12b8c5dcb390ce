// SPDX-License-Identifier: Apache-2.0
#include "parley/testing/channel_pair.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"
#include "parley/sealing/guarded_range.h"

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
    EXPECT_EQ(a.sender.capacity_bytes(), std::max<uint64_t>(8192, PageBytes()));
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

TEST(ChannelPairTest, ByTheRealHandshakeOptionsDoWhatTheySay) {
  AcceptOptions accept;
  accept.send = {8192, 1000};
  accept.format = "ours";
  ConnectOptions connect;
  connect.send = {16384, 500};
  auto pair = ChannelPair::CreateByHandshake(accept, connect);
  ASSERT_TRUE(pair.ok()) << pair.status();
  Channel& a = (*pair)->accepting();
  Channel& b = (*pair)->connecting();
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(b.peer_format, "ours");
  EXPECT_EQ(a.sender.max_message_bytes(), 1000u);
  EXPECT_EQ(b.sender.capacity_bytes(), std::max<uint64_t>(16384, PageBytes()));
  const std::array<std::byte, 3> message = {std::byte{1}, std::byte{2}, std::byte{3}};
  std::vector<std::byte> into(1000);
  Record record;
  EXPECT_EQ(a.sender.TrySend(7, message), Outcome::kOk);
  EXPECT_EQ(b.receiver.TryReceive(absl::MakeSpan(into), &record), Outcome::kOk);
  EXPECT_EQ(record.tag, 7u);

  connect.send = {16384, 63};
  EXPECT_FALSE(ChannelPair::CreateByHandshake(accept, connect).ok());
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

// The death test's child is a forked one: what it does with its parent's channel ends it with a
// sentence, at each end and in each direction.
TEST(ChannelPairDeathTest, AChannelUsedInAForkedChildSaysSo) {
  struct sigaction present = {};
  ::sigaction(SIGSEGV, nullptr, &present);
  if (present.sa_handler != SIG_DFL) GTEST_SKIP() << "a sanitizer handles SIGSEGV";
  auto pair = ChannelPair::Create();
  ASSERT_TRUE(pair.ok()) << pair.status();
  Channel& ours = (*pair)->accepting();
  std::vector<std::byte> into(1024);
  const Deadline soon = Deadline::After(absl::Seconds(5));
  Record record;
  EXPECT_DEATH(ours.sender.TrySend(1, {}), "used in a forked child");
  EXPECT_DEATH(ours.sender.Send(1, {}, soon).IgnoreError(), "used in a forked child");
  EXPECT_DEATH(ours.receiver.TryReceive(absl::MakeSpan(into), &record), "used in a forked child");
  EXPECT_DEATH(ours.receiver.Receive(absl::MakeSpan(into), soon).status().IgnoreError(),
               "used in a forked child");
  EXPECT_DEATH(ours.sender.Close(), "used in a forked child");
  // Destroying it, as an exit does, is fine.
  EXPECT_EXIT(
      {
        *pair = nullptr;
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), "");
  EXPECT_EQ(ours.sender.TrySend(1, {}), Outcome::kOk);
}

// On a machine of 64 KiB pages, simulated, the default pair is one of larger rings.
TEST(ChannelPairDeathTest, LargerPagesMakeLargerRings) {
  EXPECT_EXIT(
      {
        internal::SimulatePageBytes(65536);
        auto pair = ChannelPair::Create();
        const bool ok = pair.ok() && (*pair)->accepting().sender.TrySend(1, {}) == Outcome::kOk;
        std::_Exit(ok ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST(ChannelPairTest, AnImpossibleRingIsAnError) {
  ChannelPairOptions options;
  options.ring = {4000, 100};
  EXPECT_EQ(ChannelPair::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace parley::testing

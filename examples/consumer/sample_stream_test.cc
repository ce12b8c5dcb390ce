// SPDX-License-Identifier: Apache-2.0

// A typed ring between two processes: fixed-size samples without record headers, on regions and a
// handshake that the program drives itself.

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <utility>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/handshake/acceptor.h"
#include "parley/handshake/connector.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/session.h"
#include "parley/os/deadline.h"
#include "parley/ring/typed_ring.h"

namespace {

// 12 bytes, so that it does not divide the ring's capacity.
struct SampleWire {
  std::array<float, 2> level;
  uint32_t number;
};
static_assert(parley::WireType<SampleWire> && sizeof(SampleWire) == 12);

constexpr uint32_t kSamples = 100'000;

parley::Deadline Soon() { return parley::Deadline::After(absl::Seconds(20)); }

int ProduceAsChild(parley::PeerSocket socket) {
  parley::ConnectOptions options;
  options.direction = parley::Direction::kSendOnly;
  options.send.capacity_bytes = 8192;
  const auto connected = parley::ConnectHandshake(std::move(socket), options, Soon());
  if (!connected.ok()) return 1;
  parley::Session& session = **connected;
  parley::TypedProducer<SampleWire> producer(session.control(), session.send()->data,
                                             session.peer_control(),
                                             session.send()->ring.capacity_bytes);
  const parley::Deadline deadline = Soon();
  for (uint32_t i = 0; i < kSamples;) {
    const float level = static_cast<float>(i);
    if (producer.TryPush(SampleWire{{level, -level}, i})) {
      ++i;
    } else if (producer.outcome() != parley::Outcome::kWouldBlock || deadline.Expired()) {
      return 2;
    }
  }
  producer.Close();
  return 0;
}

TEST(SampleStreamTest, EachSampleArrivesOnceAndInOrder) {
  auto sockets = parley::PeerSocket::Pair();
  ASSERT_TRUE(sockets.ok());
  const pid_t child = ::fork();
  if (child == 0) {
    {
      auto unused = std::move(sockets->first);
    }
    ::_exit(ProduceAsChild(std::move(sockets->second)));
  }
  {
    auto unused = std::move(sockets->second);
  }
  parley::AcceptOptions options;
  options.direction = parley::Direction::kReceiveOnly;
  const auto accepted = parley::AcceptHandshake(std::move(sockets->first), options, Soon());
  ASSERT_TRUE(accepted.ok()) << accepted.status();
  parley::Session& session = **accepted;
  parley::TypedConsumer<SampleWire> consumer(session.control(), session.peer_control(),
                                             session.receive()->data,
                                             session.receive()->ring.capacity_bytes);
  uint32_t next = 0;
  std::array<SampleWire, 64> samples;
  const parley::Deadline deadline = Soon();
  while (!deadline.Expired()) {
    const std::size_t count = consumer.TryPop(absl::MakeSpan(samples));
    if (count == 0 && consumer.outcome() != parley::Outcome::kWouldBlock) break;
    for (const SampleWire& sample : absl::MakeConstSpan(samples).first(count)) {
      ASSERT_EQ(sample.number, next);
      ASSERT_EQ(sample.level[1], -static_cast<float>(next));
      ++next;
    }
  }
  EXPECT_EQ(next, kSamples);
  EXPECT_EQ(consumer.outcome(), parley::Outcome::kClosed);
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace

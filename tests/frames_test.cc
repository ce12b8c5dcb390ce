// SPDX-License-Identifier: Apache-2.0

// An arena between two real processes: honest, dead, and hostile.

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/frames/frame_receiver.h"
#include "parley/frames/frame_sender.h"
#include "parley/frames/frame_wire.h"
#include "parley/handshake/options.h"
#include "parley/ring/layout.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/arena_layout.h"
#include "parley/tests/child.h"
#include "parley/tests/peer.h"
#include "parley/tests/resources.h"

namespace parley {
namespace {

constexpr std::size_t kFrameBytes = 65536;
constexpr uint32_t kCount = 4;
constexpr ArenaGeometry kArena = ArenaFor(kCount, kFrameBytes);

class FramesTest : public ::testing::TestWithParam<DoorbellKind> {
 protected:
  FramesTest() {
    setup.doorbell = GetParam();
    setup.ring.arena = kArena;
  }
  PeerSetup setup;
};
INSTANTIATE_TEST_SUITE_P(Doorbells, FramesTest,
                         ::testing::Values(DoorbellKind::kSocket, DoorbellKind::kEventfd,
                                           DoorbellKind::kFutex),
                         [](const auto& doorbell) { return DoorbellName(doorbell.param); });

std::size_t SizeOf(uint32_t number) { return uint64_t{number} * 977 % (kFrameBytes + 1); }
std::byte ByteOf(uint32_t number, std::size_t i) {
  return static_cast<std::byte>((i * 31 + i / 251 + number) % 239);
}

// Sends frames 0 to count - 1, each of another size; 0 if all went well.
int SendAll(FrameSender& sender, uint32_t count, const auto& size_of) {
  for (uint32_t number = 0; number < count; ++number) {
    const std::size_t size = size_of(number);
    auto frame = sender.Acquire(size, Generous());
    if (!frame.ok()) return 1;
    const absl::Span<std::byte> bytes = frame->bytes();
    for (std::size_t i = 0; i < size; ++i) bytes[i] = ByteOf(number, i);
    if (!sender.Send(&*frame, size, 7, WireBytes(number), Generous()).ok()) return 2;
  }
  return 0;
}
// Four of the same, which is all that fits.
int SendFour(FrameSender& sender) {
  return SendAll(sender, kCount, [](uint32_t) { return kFrameBytes; });
}

bool IsFrame(const InFrame& frame, uint32_t number) {
  uint32_t announced = 0;
  if (frame.tag() != 7 || !ReadWire(frame.metadata(), &announced) || announced != number) {
    return false;
  }
  std::vector<std::byte> bytes(frame.size_bytes());
  if (!frame.CopyOut(absl::MakeSpan(bytes)) || bytes.size() != SizeOf(number)) return false;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != ByteOf(number, i)) return false;
  }
  return true;
}

TEST_P(FramesTest, HundredsOfFramesOfAnySizeThatAreKeptAndReturnedInAnotherOrder) {
  const uint32_t count = IsSanitized() ? 100 : 600;
  setup.ring.arena = ArenaFor(2 * 2 + 1, kFrameBytes);  // two are kept: see ArenaFor
  Peer peer = Peer::Start(setup, [&](Channel& channel) {
    auto sender = FrameSender::Create(channel);
    return sender.ok() ? SendAll(*sender, count, SizeOf) : 9;
  });
  auto receiver = FrameReceiver::Create(peer.channel);
  ASSERT_TRUE(receiver.ok()) << receiver.status();
  std::deque<InFrame> held;
  for (uint32_t number = 0; number < count; ++number) {
    auto frame = receiver->Receive(Generous());
    ASSERT_TRUE(frame.ok()) << frame.status() << ", frame " << number;
    ASSERT_TRUE(IsFrame(*frame, number)) << number;
    held.push_back(*std::move(frame));
    if (held.size() == 3) held.erase(held.begin() + number % 3);
  }
  EXPECT_EQ(peer.child.Wait(Generous()), 0);
  // Its memory stays ours to read.
  for (const InFrame& frame : held) {
    std::vector<std::byte> bytes(frame.size_bytes());
    static_cast<void>(frame.CopyOut(absl::MakeSpan(bytes)));
  }
  EXPECT_EQ(receiver->stats().taken_back, 0u);
}

TEST_P(FramesTest, APeerThatIsKilledWithAllOurFramesCostsAnErrorAndNothingElse) {
  const Resources before = Resources::Now();
  {
    Peer peer = Peer::Start(setup, [&](Channel& channel) {
      auto sender = FrameSender::Create(channel);
      auto receiver = FrameReceiver::Create(channel);
      if (!sender.ok() || !receiver.ok()) return 9;
      std::vector<InFrame> held;
      for (uint32_t i = 0; i < kCount; ++i) {
        auto frame = receiver->Receive(Generous());
        if (!frame.ok()) return 1;
        held.push_back(*std::move(frame));
      }
      OutFrame mine;
      if (sender->TryAcquire(1, &mine) != Outcome::kOk) return 2;
      if (sender->TrySend(&mine, 1, 7) != Outcome::kOk) return 3;
      while (true) ::pause();
    });
    auto sender = FrameSender::Create(peer.channel);
    auto receiver = FrameReceiver::Create(peer.channel);
    ASSERT_TRUE(sender.ok() && receiver.ok());
    ASSERT_EQ(SendFour(*sender), 0);
    const auto frame = receiver->Receive(Generous());
    ASSERT_TRUE(frame.ok()) << frame.status();
    peer.child.Kill();
    EXPECT_TRUE(absl::IsUnavailable(sender->Acquire(kFrameBytes, Generous()).status()));
    // What it sent is there, what it held can be had.
    std::vector<std::byte> bytes(frame->size_bytes());
    static_cast<void>(frame->CopyOut(absl::MakeSpan(bytes)));
    EXPECT_TRUE(sender->RevokeOldest());
    OutFrame again;
    EXPECT_EQ(sender->TryAcquire(kFrameBytes, &again), Outcome::kOk);
  }
  ExpectNothingLeaked(before);
}

// A process that rewrites frames which it has sent, and their generations, while we read them.
TEST_P(FramesTest, AttackR7FramesAndGenerationsRewrittenWhileTheyAreReadChangeNoDecision) {
  Peer peer = Peer::Start(setup, [&](Channel& channel) {
    OwnMemory arena = channel.sender.arena_memory();
    for (uint32_t id = 0; id < kCount; ++id) {
      arena.StoreRelease64(FrameLineOffset(id), 1);
      const auto record = WireBytes(FrameSentWire{id, 0, 1, id * kFrameBytes, kFrameBytes});
      if (channel.sender.TrySend(0, record) != Outcome::kOk) return 1;
    }
    // Until all of them were taken, so that there is something to rewrite.
    while (HostileAccess::PeerControl(channel.sender)
               .LoadAcquire64(kHeadOffset)
               .AnyValueIsAcceptable() != HostileAccess::Published(channel.sender)) {
    }
    for (uint64_t value = 1;; value = value * 6364136223846793005u + 1) {
      for (uint64_t at = 0; at + 8 <= arena.size_bytes(); at += 8) {
        arena.StoreRelaxed64(at, value + at);
      }
    }
  });
  auto receiver = FrameReceiver::Create(peer.channel);
  ASSERT_TRUE(receiver.ok()) << receiver.status();
  std::vector<InFrame> held;
  for (uint32_t i = 0; i < kCount; ++i) {
    auto frame = receiver->Receive(Generous());
    ASSERT_TRUE(frame.ok()) << frame.status();
    held.push_back(*std::move(frame));
  }
  std::vector<std::byte> bytes(kFrameBytes);
  // At least 200 times, and until the peer has begun.
  int valid = 0;
  int rounds = 0;
  const Deadline give_up = Generous();
  for (; rounds < 200 || (valid == rounds && !give_up.Expired()); ++rounds) {
    const InFrame& frame = held[static_cast<std::size_t>(rounds) % held.size()];
    EXPECT_EQ(frame.size_bytes(), kFrameBytes);
    valid += frame.CopyOut(absl::MakeSpan(bytes)) ? 1 : 0;
  }
  EXPECT_LT(valid, rounds);  // it tells no frame of a peer that it has gone on writing
  held.clear();
  EXPECT_EQ(receiver->violation(), Violation::kNone);
  peer.child.Kill();
}

TEST_P(FramesTest, AttackR12AProcessThatForgesReturnsGetsNoMoreThanItHas) {
  Peer peer = Peer::Start(setup, [&](Channel& channel) {
    std::vector<std::byte> buffer(channel.receiver.max_message_bytes());
    FrameSentWire sent = {};
    for (uint32_t i = 0; i < kCount; ++i) {
      if (!channel.receiver.Receive(absl::MakeSpan(buffer), Generous()).ok()) return 1;
      if (!ReadWire(absl::MakeConstSpan(buffer), &sent)) return 2;
    }
    OwnMemory control = HostileAccess::Control(channel.receiver);
    for (uint64_t published = 1;; ++published) {
      control.StoreRelease64(kFrameReturnsOffset + FrameReturnOffset(sent.id), sent.generation);
      control.StoreRelease64(kFrameReturnsOffset + FrameReturnOffset((sent.id + 1) % kMaxFrames),
                             published);
      control.StoreRelease64(kFrameReturnsOffset, published);
      HostileAccess::DoorbellOf(channel.receiver).Signal();
      ::usleep(100);
    }
  });
  auto sender = FrameSender::Create(peer.channel);
  ASSERT_TRUE(sender.ok()) << sender.status();
  ASSERT_EQ(SendFour(*sender), 0);
  // One of them came back, however often it is said.
  const auto first = sender->Acquire(kFrameBytes, Generous());
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::Status second = sender->Acquire(kFrameBytes, In(50)).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(second) || absl::IsDataLoss(second)) << second;
  EXPECT_EQ(sender->lent_frames(), kCount - 1);
  peer.child.Kill();
}

}  // namespace
}  // namespace parley

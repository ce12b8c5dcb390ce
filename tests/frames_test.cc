// SPDX-License-Identifier: Apache-2.0

// A frame pool between two real processes: honest, dead, and hostile.

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/channel.h"
#include "parley/frames/frame_port.h"
#include "parley/frames/frame_wire.h"
#include "parley/handshake/options.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/frame_layout.h"
#include "parley/tests/child.h"
#include "parley/tests/peer.h"
#include "parley/tests/resources.h"

namespace parley {
namespace {

constexpr FrameGeometry kFrames = {4, 65536};

class FramesTest : public ::testing::TestWithParam<DoorbellKind> {
 protected:
  FramesTest() {
    setup.doorbell = GetParam();
    setup.ring.frames = kFrames;
  }
  PeerSetup setup;
};
INSTANTIATE_TEST_SUITE_P(Doorbells, FramesTest,
                         ::testing::Values(DoorbellKind::kSocket, DoorbellKind::kEventfd,
                                           DoorbellKind::kFutex),
                         [](const auto& doorbell) { return DoorbellName(doorbell.param); });

std::size_t SizeOf(uint32_t number) { return uint64_t{number} * 977 % (kFrames.frame_bytes + 1); }
std::byte ByteOf(uint32_t number, std::size_t i) {
  return static_cast<std::byte>((i * 31 + i / 251 + number) % 239);
}

// Sends frames 0 to count - 1; 0 if all went well.
int SendAll(FramePort& port, uint32_t count) {
  for (uint32_t number = 0; number < count; ++number) {
    auto frame = port.Acquire(Generous());
    if (!frame.ok()) return 1;
    for (std::size_t i = 0; i < SizeOf(number); ++i) frame->bytes[i] = ByteOf(number, i);
    const auto metadata = WireBytes(number);
    if (!port.Send(*frame, SizeOf(number), 7, metadata, Generous()).ok()) return 2;
  }
  return 0;
}

bool IsFrame(const ReceivedFrame& frame, uint32_t number) {
  uint32_t announced = 0;
  if (frame.tag != 7 || !ReadWire(frame.metadata, &announced) || announced != number) return false;
  std::vector<std::byte> bytes(frame.view.size_bytes());
  frame.view.CopyTo(0, absl::MakeSpan(bytes));
  if (bytes.size() != SizeOf(number)) return false;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != ByteOf(number, i)) return false;
  }
  return true;
}

TEST_P(FramesTest, HundredsOfFramesThatAreKeptForAWhileAndReturnedInAnotherOrder) {
  const uint32_t count = IsSanitized() ? 100 : 600;
  Peer peer = Peer::Start(setup, [&](Channel& channel) {
    auto port = FramePort::Create(&channel);
    return port.ok() ? SendAll(*port, count) : 9;
  });
  auto port = FramePort::Create(&peer.channel);
  ASSERT_TRUE(port.ok()) << port.status();
  std::deque<ReceivedFrame> held;
  for (uint32_t number = 0; number < count; ++number) {
    auto frame = port->Receive(Generous());
    ASSERT_TRUE(frame.ok()) << frame.status() << ", frame " << number;
    ASSERT_TRUE(IsFrame(*frame, number)) << number;
    held.push_back(*frame);
    if (held.size() < 3) continue;
    const std::size_t which = number % held.size();
    port->Return(held[which]);
    held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
  }
  EXPECT_EQ(peer.child.Wait(Generous()), 0);
  // Its memory stays ours to read.
  for (const ReceivedFrame& frame : held) {
    std::vector<std::byte> bytes(frame.view.size_bytes());
    frame.view.CopyTo(0, absl::MakeSpan(bytes));
  }
  EXPECT_EQ(port->stats().taken_back, 0u);
}

TEST_P(FramesTest, APeerThatIsKilledWithAllOurFramesCostsAnErrorAndNothingElse) {
  const Resources before = Resources::Now();
  {
    Peer peer = Peer::Start(setup, [&](Channel& channel) {
      auto port = FramePort::Create(&channel);
      if (!port.ok()) return 9;
      for (uint32_t i = 0; i < kFrames.count; ++i) {
        if (!port->Receive(Generous()).ok()) return 1;
      }
      WritableFrame mine;
      if (port->TryAcquire(&mine) != Outcome::kOk) return 2;
      if (port->TrySend(mine, 1, 7) != Outcome::kOk) return 3;
      while (true) ::pause();
    });
    auto port = FramePort::Create(&peer.channel);
    ASSERT_TRUE(port.ok()) << port.status();
    ASSERT_EQ(SendAll(*port, kFrames.count), 0);
    const auto frame = port->Receive(Generous());
    ASSERT_TRUE(frame.ok()) << frame.status();
    peer.child.Kill();
    EXPECT_TRUE(absl::IsUnavailable(port->Acquire(Generous()).status()));
    // What it sent is there, what it held can be had.
    std::vector<std::byte> bytes(frame->view.size_bytes());
    frame->view.CopyTo(0, absl::MakeSpan(bytes));
    EXPECT_TRUE(port->RevokeOldest());
    WritableFrame again;
    EXPECT_EQ(port->TryAcquire(&again), Outcome::kOk);
  }
  ExpectNothingLeaked(before);
}

// A process that rewrites frames which it has sent, and their generations, while we read them.
TEST_P(FramesTest, AttackR7FramesAndGenerationsRewrittenWhileTheyAreReadChangeNoDecision) {
  Peer peer = Peer::Start(setup, [&](Channel& channel) {
    OwnMemory frames = channel.sender.frame_memory();
    for (uint32_t slot = 0; slot < kFrames.count; ++slot) {
      const auto record = WireBytes(FrameSentWire{kFrameSent, slot, 1, kFrames.frame_bytes});
      if (channel.sender.TrySend(0, record) != Outcome::kOk) return 1;
    }
    for (uint64_t value = 1;; value = value * 6364136223846793005u + 1) {
      for (uint64_t at = 0; at + 8 <= frames.size_bytes(); at += 8) {
        frames.StoreRelaxed64(at, value + at);
      }
    }
  });
  auto port = FramePort::Create(&peer.channel);
  ASSERT_TRUE(port.ok()) << port.status();
  std::vector<ReceivedFrame> held;
  for (uint32_t i = 0; i < kFrames.count; ++i) {
    auto frame = port->Receive(Generous());
    ASSERT_TRUE(frame.ok()) << frame.status();
    held.push_back(*frame);
  }
  std::vector<std::byte> bytes(kFrames.frame_bytes);
  int valid = 0;
  for (int round = 0; round < 200; ++round) {
    const ReceivedFrame& frame = held[static_cast<std::size_t>(round) % held.size()];
    EXPECT_EQ(frame.view.size_bytes(), kFrames.frame_bytes);
    frame.view.CopyTo(0, absl::MakeSpan(bytes));
    valid += port->StillValid(frame) ? 1 : 0;
  }
  EXPECT_LT(valid, 200);  // it tells no frame of a peer that it has gone on writing
  for (const ReceivedFrame& frame : held) port->Return(frame);
  EXPECT_EQ(port->violation(), Violation::kNone);
  peer.child.Kill();
}

TEST_P(FramesTest, AttackR12AProcessThatForgesReturnsIsThrownOut) {
  Peer peer = Peer::Start(setup, [&](Channel& channel) {
    std::vector<std::byte> buffer(channel.receiver.max_message_bytes());
    for (uint32_t i = 0; i < kFrames.count; ++i) {
      if (!channel.receiver.Receive(absl::MakeSpan(buffer), Generous()).ok()) return 1;
    }
    FrameSentWire sent;
    if (!ReadWire(absl::MakeConstSpan(buffer), &sent)) return 2;
    const auto returned = WireBytes(FrameReturnedWire{kFrameReturned, sent.slot, sent.generation});
    for (int i = 0; i < 2; ++i) {
      if (channel.sender.TrySend(0, returned) != Outcome::kOk) return 3;
    }
    while (true) ::pause();
  });
  auto port = FramePort::Create(&peer.channel);
  ASSERT_TRUE(port.ok()) << port.status();
  ASSERT_EQ(SendAll(*port, kFrames.count), 0);
  // The first return is good; with the second the channel ends.
  ASSERT_TRUE(port->Acquire(Generous()).ok());
  EXPECT_TRUE(absl::IsDataLoss(port->Acquire(Generous()).status()));
  EXPECT_EQ(port->violation(), Violation::kMetadataInvalid);
  EXPECT_EQ(port->free_frames(), 0u);
}

}  // namespace
}  // namespace parley

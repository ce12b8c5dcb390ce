// SPDX-License-Identifier: Apache-2.0

// Both ends of an arena: honest ones, and one of them in the hands of an attacker.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/hostile_access.h"
#include "parley/frames/frame_receiver.h"
#include "parley/frames/frame_sender.h"
#include "parley/frames/frame_wire.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/arena_layout.h"
#include "parley/testing/channel_pair.h"
#include "parley/wait/layout.h"
#include "parley/wait/wait_options.h"

namespace parley {
namespace {

using testing::ChannelPair;
using testing::ChannelPairOptions;

constexpr uint64_t kArenaBytes = 24576;  // three frames of 8192
constexpr ArenaGeometry kArena = {kArenaBytes, 64};
constexpr std::size_t kSize = 8192;

Deadline In(int milliseconds) { return Deadline::After(absl::Milliseconds(milliseconds)); }
// Long enough for any machine; a test that gets there has failed.
Deadline Generous() { return In(30'000); }

std::unique_ptr<ChannelPair> MakePair(ArenaGeometry arena = kArena,
                                      uint64_t capacity_bytes = 65536) {
  ChannelPairOptions options;
  options.ring = {capacity_bytes, 1024, arena};
  auto pair = ChannelPair::Create(options);
  EXPECT_TRUE(pair.ok()) << pair.status();
  return *std::move(pair);
}

FrameSender SenderOf(const Channel& channel, const FrameSenderOptions& options = {}) {
  auto sender = FrameSender::Create(channel, options);
  EXPECT_TRUE(sender.ok()) << sender.status();
  return *std::move(sender);
}
FrameReceiver ReceiverOf(const Channel& channel) {
  auto receiver = FrameReceiver::Create(channel);
  EXPECT_TRUE(receiver.ok()) << receiver.status();
  return *std::move(receiver);
}

// From the accepting side to the connecting one.
struct Ends {
  explicit Ends(ArenaGeometry arena = kArena, const FrameSenderOptions& options = {})
      : pair(MakePair(arena)),
        sender(SenderOf(pair->accepting(), options)),
        receiver(ReceiverOf(pair->connecting())) {}
  std::unique_ptr<ChannelPair> pair;
  FrameSender sender;
  FrameReceiver receiver;
};

// A sender, and a receiver in the hands of an attacker; and the reverse.
struct VictimSender {
  explicit VictimSender(ArenaGeometry arena = kArena)
      : pair(MakePair(arena)),
        sender(SenderOf(pair->accepting())),
        returns(HostileAccess::Control(pair->connecting().receiver)
                    .Part(kFrameReturnsOffset, sizeof(FrameReturnsWire))) {}
  void SayReturned(uint32_t id, uint64_t generation) {
    returns.StoreRelease64(FrameReturnOffset(id), generation);
    returns.StoreRelease64(0, ++published);
  }
  std::unique_ptr<ChannelPair> pair;
  FrameSender sender;
  OwnMemory returns;
  uint64_t published = 0;
};
struct VictimReceiver {
  explicit VictimReceiver(ArenaGeometry arena = kArena)
      : pair(MakePair(arena)),
        receiver(ReceiverOf(pair->accepting())),
        memory(attacker().arena_memory()) {}
  Sender& attacker() { return pair->connecting().sender; }
  void Say(absl::Span<const std::byte> record) {
    ASSERT_EQ(attacker().TrySend(0, record), Outcome::kOk);
  }
  void SaySent(uint32_t id, uint64_t generation, uint64_t offset, uint64_t size) {
    if (id < kMaxFrames) memory.StoreRelease64(FrameLineOffset(id), generation);
    Say(WireBytes(FrameSentWire{id, 0, generation, offset, size}));
  }
  std::unique_ptr<ChannelPair> pair;
  FrameReceiver receiver;
  OwnMemory memory;
};

std::byte PatternByte(std::size_t i, uint32_t seed) {
  return static_cast<std::byte>((i * 31 + i / 251 + seed) % 239);
}
bool HasPattern(const InFrame& frame, uint32_t seed) {
  std::vector<std::byte> bytes(frame.size_bytes());
  EXPECT_TRUE(frame.CopyOut(absl::MakeSpan(bytes)));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != PatternByte(i, seed)) return false;
  }
  return true;
}

OutFrame Filled(FrameSender* sender, std::size_t size, uint32_t seed) {
  OutFrame frame;
  EXPECT_EQ(sender->TryAcquire(size, &frame), Outcome::kOk);
  EXPECT_EQ(frame.bytes().size(), size);
  for (std::size_t i = 0; i < size; ++i) frame.bytes()[i] = PatternByte(i, seed);
  return frame;
}
void SendOne(FrameSender* sender, std::size_t size, uint32_t seed) {
  OutFrame frame = Filled(sender, size, seed);
  ASSERT_EQ(sender->TrySend(&frame, size, seed, WireBytes(uint64_t{seed})), Outcome::kOk);
  EXPECT_FALSE(frame);
}
InFrame ReceiveOne(FrameReceiver* receiver) {
  InFrame frame;
  EXPECT_EQ(receiver->TryReceive(&frame), Outcome::kOk);
  return frame;
}
void ExpectFrame(const InFrame& frame, std::size_t size, uint32_t seed) {
  EXPECT_EQ(frame.size_bytes(), size);
  EXPECT_EQ(frame.tag(), seed);
  EXPECT_TRUE(HasPattern(frame, seed));
  uint64_t metadata = 0;
  ASSERT_TRUE(ReadWire(frame.metadata(), &metadata));
  EXPECT_EQ(frame.metadata().size(), sizeof(metadata));
  EXPECT_EQ(metadata, seed);
}
// Whether three frames are out.
bool IsFull(FrameSender* sender) {
  OutFrame frame;
  return sender->TryAcquire(kSize, &frame) == Outcome::kWouldBlock;
}

// --- honest ends ---------------------------------------------------------------------------------

TEST(FramesTest, FramesComeBackInAnyOrder) {
  Ends ends;
  for (uint32_t round = 0; round < 200; ++round) {
    std::vector<InFrame> held;
    for (uint32_t i = 0; i < 3; ++i) {
      const std::size_t size = kSize - (round * 977 + i * 4096) % 64;
      SendOne(&ends.sender, size, round + i);
      held.push_back(ReceiveOne(&ends.receiver));
      ExpectFrame(held.back(), size, round + i);
    }
    EXPECT_TRUE(IsFull(&ends.sender));
    EXPECT_EQ(ends.sender.lent_frames(), 3u);
    std::rotate(held.begin(), held.begin() + round % 3, held.end());
    held.clear();
  }
  EXPECT_EQ(ends.sender.stats().sent, 600u);
  EXPECT_EQ(ends.receiver.stats().received, 600u);
  EXPECT_EQ(ends.receiver.stats().taken_back, 0u);
}

TEST(FramesTest, FramesOfAnySizeShareOneBudget) {
  Ends ends({uint64_t{1} << 20, 64});
  std::vector<InFrame> held;
  uint32_t seed = 0;
  for (uint32_t round = 0; round < 300; ++round) {
    // From nothing to all of it.
    const std::size_t size = round % 50 == 49 ? std::size_t{1} << 20 : (round * 7919) % 40'000;
    if (size == std::size_t{1} << 20) held.clear();
    if (held.size() == 10) held.erase(held.begin() + round % 10);
    SendOne(&ends.sender, size, ++seed);
    held.push_back(ReceiveOne(&ends.receiver));
    ExpectFrame(held.back(), size, seed);
    if (size == std::size_t{1} << 20) held.clear();
  }
  OutFrame none;
  EXPECT_EQ(ends.sender.TryAcquire((std::size_t{1} << 20) + 1, &none), Outcome::kTooLong);
  EXPECT_TRUE(absl::IsInvalidArgument(
      ends.sender.Acquire((std::size_t{1} << 20) + 1, Generous()).status()));
}

TEST(FramesTest, FramesAreAlignedAsWasAgreedOn) {
  for (const uint32_t alignment : {64u, 256u, 4096u}) {
    Ends ends({65536, alignment});
    EXPECT_EQ(ends.receiver.arena().alignment, alignment);
    std::vector<InFrame> held;
    for (uint32_t i = 0; i < 8; ++i) {
      SendOne(&ends.sender, 1 + i * 77, i);
      held.push_back(ReceiveOne(&ends.receiver));
      const auto address =
          // SAFETY: the number alone is looked at.
          reinterpret_cast<uintptr_t>(held.back().view().BytesThatThePeerMayRewriteAtAnyTime());
      EXPECT_EQ(address % alignment, 0u);
    }
  }
}

TEST(FramesTest, BothWaysOnOneChannelByTwoThreadsOnEachSide) {
  auto pair = MakePair();
  constexpr uint32_t kCount = 2000;
  std::vector<std::thread> threads;
  for (Channel* channel : {&pair->accepting(), &pair->connecting()}) {
    threads.emplace_back([sender = SenderOf(*channel)]() mutable {
      for (uint32_t i = 0; i < kCount; ++i) {
        auto frame = sender.Acquire(i % kSize, Generous());
        ASSERT_TRUE(frame.ok()) << frame.status();
        for (std::size_t at = 0; at < i % kSize; ++at) frame->bytes()[at] = PatternByte(at, i);
        ASSERT_TRUE(sender.Send(&*frame, i % kSize, i, WireBytes(uint64_t{i}), Generous()).ok());
      }
      sender.Close();
    });
    threads.emplace_back([receiver = ReceiverOf(*channel)]() mutable {
      std::optional<InFrame> kept;
      for (uint32_t i = 0; i < kCount; ++i) {
        auto frame = receiver.Receive(Generous());
        ASSERT_TRUE(frame.ok()) << frame.status();
        ExpectFrame(*frame, i % kSize, i);
        if (i % 3 == 0) kept = *std::move(frame);
      }
      EXPECT_TRUE(absl::IsOutOfRange(receiver.Receive(Generous()).status()));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(FramesTest, WaitsEndWithAFrameOrAtTheDeadline) {
  Ends ends;
  EXPECT_TRUE(absl::IsDeadlineExceeded(ends.receiver.Receive(In(20)).status()));
  for (uint32_t i = 0; i < 3; ++i) SendOne(&ends.sender, kSize, i);
  EXPECT_TRUE(absl::IsDeadlineExceeded(ends.sender.Acquire(kSize, In(20)).status()));
  EXPECT_EQ(ends.sender.stats().dropped_timeout, 1u);
  std::vector<InFrame> held;
  for (uint32_t i = 0; i < 3; ++i) held.push_back(ReceiveOne(&ends.receiver));
  std::thread peer([&] {
    absl::SleepFor(absl::Milliseconds(20));
    held.erase(held.begin() + 1);  // not the oldest
  });
  auto frame = ends.sender.Acquire(kSize, Generous());
  peer.join();
  ASSERT_TRUE(frame.ok()) << frame.status();
}

// A sleeper is woken by the return and by nothing else: a signal for a record that was taken as
// well would be a spurious one each time, and end the channel as a flood.
TEST(FramesTest, ASenderThatSleepsIsWokenOncePerReturn) {
  ChannelPairOptions options;
  options.ring = {65536, 1024, {4096, 64}};
  options.wait.max_spin = absl::ZeroDuration();
  auto pair = *ChannelPair::Create(options);
  FrameSender sender = SenderOf(pair->accepting());
  FrameReceiver receiver = ReceiverOf(pair->connecting());
  constexpr int kCount = 3000;
  std::thread peer([&] {
    for (int i = 0; i < kCount; ++i) {
      auto frame = receiver.Receive(Generous());
      ASSERT_TRUE(frame.ok()) << frame.status();
    }
  });
  for (int i = 0; i < kCount; ++i) {
    auto frame = sender.Acquire(4096, Generous());
    ASSERT_TRUE(frame.ok()) << frame.status();
    ASSERT_TRUE(sender.Send(&*frame, 1, 0, {}, Generous()).ok());
  }
  peer.join();
  EXPECT_LE(pair->accepting().sender.stats().spurious_wakeups, kCount / 10u);
  EXPECT_LE(pair->connecting().receiver.stats().signals, kCount + 1u);
}

TEST(FramesTest, AFullRingOfRecordsIsWaitedFor) {
  // The receiver holds all that it gets, and the ring is short: 28 records of 136 bytes.
  auto pair = MakePair({uint64_t{1} << 20, 64}, 4096);
  FrameSender sender = SenderOf(pair->accepting());
  FrameReceiver receiver = ReceiverOf(pair->connecting());
  constexpr uint32_t kCount = 100;
  std::thread peer([&] {
    std::vector<InFrame> held;
    for (uint32_t i = 0; i < kCount; ++i) {
      absl::SleepFor(absl::Milliseconds(1));
      auto frame = receiver.Receive(Generous());
      ASSERT_TRUE(frame.ok()) << frame.status();
      held.push_back(*std::move(frame));
    }
  });
  const std::array<std::byte, 64> metadata = {};
  for (uint32_t i = 0; i < kCount; ++i) {
    auto frame = sender.Acquire(64, Generous());
    ASSERT_TRUE(frame.ok()) << frame.status();
    ASSERT_TRUE(sender.Send(&*frame, 1, 0, metadata, Generous()).ok());
  }
  peer.join();
}

TEST(FramesTest, TheEndOfTheStreamAndTheEndOfThePeer) {
  Ends ends;
  SendOne(&ends.sender, 1, 1);
  ends.sender.Close();
  const InFrame last = ReceiveOne(&ends.receiver);
  ExpectFrame(last, 1, 1);
  EXPECT_TRUE(absl::IsOutOfRange(ends.receiver.Receive(In(20)).status()));

  Ends closing;
  for (uint32_t i = 0; i < 3; ++i) SendOne(&closing.sender, kSize, i);
  const InFrame held = ReceiveOne(&closing.receiver);
  closing.receiver.Close();
  OutFrame none;
  EXPECT_EQ(closing.sender.TryAcquire(kSize, &none), Outcome::kClosed);
  EXPECT_TRUE(absl::IsOutOfRange(closing.sender.Acquire(kSize, Generous()).status()));
  ExpectFrame(held, kSize, 0);

  VictimSender victim;
  for (uint32_t i = 0; i < 3; ++i) SendOne(&victim.sender, kSize, i);
  victim.pair->connecting() = Channel();
  EXPECT_TRUE(absl::IsUnavailable(victim.sender.Acquire(kSize, Generous()).status()));
}

TEST(FramesTest, AnEventLoopIsToldOfReturnsAndOfFrames) {
  Ends ends;
  EXPECT_FALSE(ends.sender.PrepareToWait(kSize));  // there is room
  EXPECT_TRUE(ends.receiver.PrepareToWait());
  for (uint32_t i = 0; i < 3; ++i) SendOne(&ends.sender, kSize, i);
  EXPECT_TRUE(ends.receiver.FinishWait().ok());
  EXPECT_FALSE(ends.receiver.PrepareToWait());
  std::vector<InFrame> held;
  for (uint32_t i = 0; i < 3; ++i) held.push_back(ReceiveOne(&ends.receiver));
  EXPECT_TRUE(IsFull(&ends.sender));
  EXPECT_TRUE(ends.sender.PrepareToWait(kSize));
  held.erase(held.begin() + 1);  // not the one that was sent first
  EXPECT_TRUE(ends.sender.FinishWait(kSize).ok());
  EXPECT_FALSE(ends.sender.PrepareToWait(kSize));
  SendOne(&ends.sender, kSize, 5);
}

TEST(FramesTest, ChannelsThatCannotCarryFramesAreRefusedInWords) {
  auto none = MakePair({});
  EXPECT_TRUE(absl::IsFailedPrecondition(FrameSender::Create(none->accepting()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(FrameReceiver::Create(none->accepting()).status()));
  ChannelPairOptions options;
  options.ring = {4096, 100, kArena};
  auto pair = *ChannelPair::Create(options);
  EXPECT_TRUE(absl::IsFailedPrecondition(
      FrameSender::Create(pair->accepting(), {.metadata_bytes = 69}).status()));
  EXPECT_TRUE(FrameSender::Create(pair->accepting(), {.metadata_bytes = 68}).ok());
  // Its accounts would begin anew, and the peer's would not.
  EXPECT_TRUE(absl::IsFailedPrecondition(FrameSender::Create(pair->accepting()).status()));
  EXPECT_TRUE(FrameReceiver::Create(pair->accepting()).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(FrameReceiver::Create(pair->accepting()).status()));
  pair->connecting().sender = Sender();
  EXPECT_TRUE(absl::IsFailedPrecondition(FrameSender::Create(pair->connecting()).status()));
}

// --- handles -------------------------------------------------------------------------------------

TEST(FramesTest, FramesReturnThemselvesOnceWhateverIsMovedWhere) {
  Ends ends;
  {
    OutFrame a = Filled(&ends.sender, kSize, 1);
    OutFrame b = std::move(a);
    a = std::move(b);
    a = Filled(&ends.sender, kSize, 2);  // the first one is free again
    EXPECT_EQ(ends.sender.free_bytes(), 2 * kSize);
  }
  EXPECT_EQ(ends.sender.free_bytes(), kArenaBytes);
  for (uint32_t i = 0; i < 3; ++i) SendOne(&ends.sender, kSize, i);
  InFrame first = ReceiveOne(&ends.receiver);
  InFrame other = std::move(first);
  EXPECT_FALSE(first.StillValid());
  EXPECT_EQ(first.metadata().size(), 0u);
  ExpectFrame(other, kSize, 0);
  other = ReceiveOne(&ends.receiver);
  EXPECT_FALSE(IsFull(&ends.sender));
  ASSERT_EQ(ends.receiver.TryReceive(&other), Outcome::kOk);  // into one that is held
  ExpectFrame(other, kSize, 2);
  other.Reset();
  other.Reset();
  SendOne(&ends.sender, kSize, 4);
  EXPECT_EQ(ends.sender.stats().returned + ends.sender.lent_frames(), 4u);
}

struct ChannelAndEnds {
  Channel channel;
  FrameSender sender;
  FrameReceiver receiver;
};
ChannelAndEnds MakeChannelAndEnds(Channel* made) {
  Channel channel = std::move(*made);
  FrameSender sender = SenderOf(channel);
  FrameReceiver receiver = ReceiverOf(channel);
  return {std::move(channel), std::move(sender), std::move(receiver)};
}

// A frame keeps what it stands on alive, and so does an end, wherever its channel is moved to.
TEST(FramesTest, AStructOfAChannelAndItsEndsIsReturnedFromAFunction) {
  auto pair = MakePair();
  std::optional<ChannelAndEnds> ours = MakeChannelAndEnds(&pair->accepting());
  std::optional<ChannelAndEnds> theirs = MakeChannelAndEnds(&pair->connecting());
  theirs->channel = Channel();  // the ends go on
  SendOne(&ours->sender, 8, 1);
  InFrame in = ReceiveOne(&theirs->receiver);
  OutFrame out = Filled(&ours->sender, kSize, 2);
  theirs.reset();
  ours.reset();
  ExpectFrame(in, 8, 1);
  out.bytes()[0] = std::byte{1};
}

TEST(FramesTest, AFrameIsSentAndStillReadByItsWriter) {
  Ends ends;
  OutFrame picture = Filled(&ends.sender, kSize, 7);
  OutFrame kept = picture.Share();
  ASSERT_EQ(ends.sender.TrySend(&picture, kSize, 7, WireBytes(uint64_t{7})), Outcome::kOk);
  {
    const InFrame seen = ReceiveOne(&ends.receiver);
    ExpectFrame(seen, kSize, 7);
    EXPECT_EQ(kept.read_only_bytes()[5], PatternByte(5, 7));
  }
  // The receiver has let go and the writer has not: two more fit.
  for (uint32_t i = 0; i < 2; ++i) SendOne(&ends.sender, kSize, i);
  EXPECT_TRUE(IsFull(&ends.sender));
  EXPECT_EQ(kept.read_only_bytes()[kSize - 1], PatternByte(kSize - 1, 7));
  // Shown once more, from where it lies; and then the writer has no use for it.
  ASSERT_EQ(ends.sender.TrySend(&kept, kSize, 7, WireBytes(uint64_t{7})), Outcome::kOk);
  ReceiveOne(&ends.receiver).Reset();
  ReceiveOne(&ends.receiver).Reset();
  ExpectFrame(ReceiveOne(&ends.receiver), kSize, 7);
  for (uint32_t i = 0; i < 3; ++i) SendOne(&ends.sender, kSize, i);
}

// --- taken back ----------------------------------------------------------------------------------

TEST(FramesTest, AFrameThatIsNotReturnedCanBeTakenBackAndItsReaderFindsOut) {
  Ends ends;
  for (uint32_t i = 0; i < 3; ++i) SendOne(&ends.sender, kSize, i);
  InFrame held = ReceiveOne(&ends.receiver);
  EXPECT_TRUE(held.StillValid());
  ASSERT_TRUE(ends.sender.RevokeOldest());
  EXPECT_FALSE(held.StillValid());
  OutFrame anew = Filled(&ends.sender, kSize, 77);
  std::vector<std::byte> bytes(kSize);
  EXPECT_FALSE(held.CopyOut(absl::MakeSpan(bytes)));
  held.Reset();  // late, and nothing happens
  EXPECT_TRUE(IsFull(&ends.sender));
  ASSERT_EQ(ends.sender.TrySend(&anew, kSize, 77, WireBytes(uint64_t{77})), Outcome::kOk);
  ExpectFrame(ReceiveOne(&ends.receiver), kSize, 1);
  ExpectFrame(ReceiveOne(&ends.receiver), kSize, 2);
  InFrame next = ReceiveOne(&ends.receiver);
  ExpectFrame(next, kSize, 77);
  EXPECT_EQ(next.dropped_before(), 1u);
  EXPECT_EQ(ends.receiver.stats().dropped_by_sender, 1u);
  EXPECT_EQ(ends.sender.stats().revoked, 1u);
  EXPECT_EQ(ends.sender.violation(), Violation::kNone);
}

TEST(FramesTest, AFrameThatIsTakenBackBeforeItIsReceivedIsPassedOver) {
  Ends ends;
  for (uint32_t i = 0; i < 3; ++i) SendOne(&ends.sender, kSize, i);
  ASSERT_TRUE(ends.sender.RevokeOldest());
  ASSERT_TRUE(ends.sender.RevokeOldest());
  ExpectFrame(ReceiveOne(&ends.receiver), kSize, 2);
  EXPECT_EQ(ends.receiver.stats().taken_back, 2u);
  EXPECT_EQ(ends.receiver.stats().received, 1u);
  InFrame none;
  EXPECT_EQ(ends.receiver.TryReceive(&none), Outcome::kWouldBlock);
}

TEST(FramesTest, AnIdThatIsSentAnewWhileItsFrameIsHeldNeedsNoReturn) {
  VictimReceiver victim;
  victim.SaySent(0, 5, 0, 64);
  InFrame older = ReceiveOne(&victim.receiver);
  victim.SaySent(0, 6, 64, 64);
  const InFrame newer = ReceiveOne(&victim.receiver);
  EXPECT_FALSE(older.StillValid());
  EXPECT_TRUE(newer.StillValid());
  EXPECT_EQ(victim.receiver.stats().taken_back, 1u);
  older.Reset();
  EXPECT_TRUE(newer.StillValid());
}

// --- slow receivers ------------------------------------------------------------------------------

TEST(FramesTest, WhatDoesNotFitIsLeftOutAndCounted) {
  Ends ends(kArena, {.when_full = WhenFull::kDropNewest});
  for (uint32_t i = 0; i < 3; ++i) SendOne(&ends.sender, kSize, i);
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(absl::IsResourceExhausted(ends.sender.Acquire(kSize, Generous()).status()));
  }
  for (uint32_t i = 0; i < 3; ++i) {
    const InFrame frame = ReceiveOne(&ends.receiver);
    ExpectFrame(frame, kSize, i);
    EXPECT_EQ(frame.dropped_before(), 0u);
  }
  auto frame = ends.sender.Acquire(kSize, Generous());
  ASSERT_TRUE(frame.ok()) << frame.status();
  ASSERT_EQ(ends.sender.TrySend(&*frame, 1, 0), Outcome::kOk);
  EXPECT_EQ(ReceiveOne(&ends.receiver).dropped_before(), 4u);
  EXPECT_EQ(ends.sender.stats().dropped_newest, 4u);
  EXPECT_EQ(ends.receiver.stats().dropped_by_sender, 4u);
}

TEST(FramesTest, WhatWasOutForLongestMakesRoomAndIsCounted) {
  Ends ends(kArena, {.when_full = WhenFull::kDropOldest});
  for (uint32_t i = 0; i < 10; ++i) {
    auto frame = ends.sender.Acquire(kSize, In(0));
    ASSERT_TRUE(frame.ok()) << frame.status();
    for (std::size_t at = 0; at < kSize; ++at) frame->bytes()[at] = PatternByte(at, i);
    ASSERT_EQ(ends.sender.TrySend(&*frame, kSize, i, WireBytes(uint64_t{i})), Outcome::kOk);
  }
  for (uint32_t i = 7; i < 10; ++i) ExpectFrame(ReceiveOne(&ends.receiver), kSize, i);
  EXPECT_EQ(ends.sender.stats().dropped_oldest, 7u);
  EXPECT_EQ(ends.receiver.stats().dropped_by_sender, 7u);
  EXPECT_EQ(ends.receiver.stats().received + ends.receiver.stats().taken_back, 10u);
  // Where our own caller has them all there is nothing to take back.
  std::vector<OutFrame> mine;
  for (int i = 0; i < 3; ++i) mine.push_back(*ends.sender.Acquire(kSize, In(0)));
  EXPECT_TRUE(absl::IsResourceExhausted(ends.sender.Acquire(kSize, Generous()).status()));
}

TEST(FramesTest, TheLatestOnlyAndTheOthersAreReturned) {
  Ends ends;
  for (uint32_t i = 0; i < 3; ++i) SendOne(&ends.sender, kSize, i);
  InFrame latest;
  ASSERT_EQ(ends.receiver.TryReceiveLatest(&latest), Outcome::kOk);
  ExpectFrame(latest, kSize, 2);
  EXPECT_EQ(ends.receiver.stats().skipped, 2u);
  for (uint32_t i = 3; i < 5; ++i) SendOne(&ends.sender, kSize, i);  // two were returned
  EXPECT_TRUE(IsFull(&ends.sender));
  ASSERT_TRUE(ends.sender.RevokeOldest());
  ASSERT_TRUE(ends.sender.RevokeOldest());  // frame 3, which nobody saw
  ASSERT_EQ(ends.receiver.TryReceiveLatest(&latest), Outcome::kOk);
  ExpectFrame(latest, kSize, 4);
  EXPECT_EQ(ends.receiver.TryReceiveLatest(&latest), Outcome::kWouldBlock);
  EXPECT_FALSE(latest);
  SendOne(&ends.sender, kSize, 5);
  ASSERT_TRUE(ends.sender.RevokeOldest());
  EXPECT_EQ(ends.receiver.TryReceiveLatest(&latest), Outcome::kWouldBlock);
}

// --- hostile ends --------------------------------------------------------------------------------

TEST(FramesTest, AttackR12ForgedReturnsFreeNothing) {
  VictimSender victim;
  for (uint32_t i = 0; i < 3; ++i) SendOne(&victim.sender, kSize, i);
  for (uint32_t id = 0; id < kMaxFrames; ++id) {
    for (const uint64_t generation : {uint64_t{0}, uint64_t{2}, uint64_t{1} << 56, ~uint64_t{0}}) {
      victim.SayReturned(id, generation);
      ASSERT_TRUE(IsFull(&victim.sender));
    }
    if (id >= 3) victim.SayReturned(id, 1);
  }
  ASSERT_TRUE(IsFull(&victim.sender));
  EXPECT_EQ(victim.sender.lent_frames(), 3u);
  for (int i = 0; i < 100; ++i) victim.SayReturned(1, 1);  // again and again
  SendOne(&victim.sender, kSize, 3);
  EXPECT_TRUE(IsFull(&victim.sender));
  EXPECT_EQ(victim.sender.stats().returned, 1u);
  EXPECT_EQ(victim.sender.violation(), Violation::kNone);
}

// Said in advance: the frame is the sender's again at once, and the liar has lost it.
TEST(FramesTest, AttackR12AReturnBeforeTheFrameIsSentHarmsNobodyElse) {
  VictimSender victim;
  for (uint32_t id = 0; id < kMaxFrames; ++id) victim.SayReturned(id, 1);
  for (uint32_t i = 0; i < 2 * kMaxFrames; ++i) {
    OutFrame frame;
    if (victim.sender.TryAcquire(kSize, &frame) != Outcome::kOk) break;
    ASSERT_EQ(victim.sender.TrySend(&frame, kSize, 0), Outcome::kOk);
    ASSERT_LE(victim.sender.lent_frames(), 3u);
  }
  EXPECT_TRUE(IsFull(&victim.sender));  // the second use of an id is another one
}

TEST(FramesTest, AttackR12AFrameThatCannotBeEndsTheChannel) {
  struct Forged {
    uint32_t id;
    uint64_t generation;
    uint64_t offset;
    uint64_t size;
  };
  constexpr uint64_t kMost = ~uint64_t{0};
  for (const Forged forged :
       {Forged{kMaxFrames, 1, 0, 0}, Forged{~uint32_t{0}, 1, 0, 0},
        Forged{0, 1, 0, kArenaBytes + 1}, Forged{0, 1, 0, kMost}, Forged{0, 0, 0, 0},
        Forged{1, 9, 0, 5}, Forged{0, 1, kArenaBytes, 1}, Forged{0, 1, kArenaBytes + 64, 0},
        Forged{0, 1, 64, kArenaBytes - 63}, Forged{0, 1, kMost - 63, 64},
        Forged{0, 1, kMost - 63, kMost}, Forged{0, 1, 8, 8}}) {
    VictimReceiver victim;
    victim.SaySent(1, 9, 0, kArenaBytes);
    const InFrame good = ReceiveOne(&victim.receiver);
    EXPECT_EQ(good.size_bytes(), kArenaBytes);
    victim.SaySent(forged.id, forged.generation, forged.offset, forged.size);
    InFrame frame;
    EXPECT_EQ(victim.receiver.TryReceive(&frame), Outcome::kPoisoned);
    EXPECT_FALSE(frame);
    EXPECT_EQ(victim.receiver.violation(), Violation::kMetadataInvalid);
    EXPECT_TRUE(absl::IsDataLoss(victim.receiver.Receive(Generous()).status()));
    EXPECT_EQ(victim.receiver.TryReceiveLatest(&frame), Outcome::kPoisoned);
    // Nothing of the peer's is looked at any more.
    EXPECT_FALSE(good.StillValid());
  }
}

// Where its frames lie is the sender's affair: all of it is its own memory.
TEST(FramesTest, AttackR12FramesThatOverlapAreFramesLikeOthers) {
  VictimReceiver victim;
  std::vector<InFrame> held;
  for (uint32_t id = 0; id < kMaxFrames; ++id) {
    victim.SaySent(id, 1, 64 * (id % 4), kArenaBytes - 64 * (id % 4));
    held.push_back(ReceiveOne(&victim.receiver));
  }
  std::vector<std::byte> bytes(kArenaBytes);
  for (const InFrame& frame : held) {
    EXPECT_TRUE(frame.CopyOut(absl::MakeSpan(bytes).first(frame.size_bytes())));
  }
  held.clear();
  EXPECT_EQ(victim.receiver.violation(), Violation::kNone);
}

TEST(FramesTest, RecordsThatAreNoFramesEndTheChannel) {
  for (const std::size_t size : {0u, 1u, 8u, 16u, 31u, 32u, 289u, 300u}) {
    VictimReceiver victim;
    victim.Say(std::vector<std::byte>(size, std::byte{0xff}));
    InFrame frame;
    EXPECT_EQ(victim.receiver.TryReceive(&frame), Outcome::kPoisoned) << size;
  }
  VictimReceiver victim;
  std::vector<std::byte> longest(sizeof(FrameSentWire) + kMaxFrameMetadataBytes);
  const auto header = WireBytes(FrameSentWire{0, 0, 1, 0, 1});
  std::copy(header.begin(), header.end(), longest.begin());
  victim.memory.StoreRelease64(FrameLineOffset(0), 1);
  victim.Say(longest);
  EXPECT_EQ(ReceiveOne(&victim.receiver).metadata().size(), kMaxFrameMetadataBytes);
  longest.push_back(std::byte{0});
  longest[8] = std::byte{2};  // the generation
  victim.Say(longest);
  InFrame frame;
  EXPECT_EQ(victim.receiver.TryReceive(&frame), Outcome::kPoisoned);
}

TEST(FramesTest, PromiseP3WorkAPeerThatTakesBackAllThatItSendsCostsABoundedCall) {
  VictimReceiver victim;
  uint64_t generation = 0;
  // The line says that none of these is there any more.
  while (victim.attacker().TrySend(0, WireBytes(FrameSentWire{0, 0, ++generation, 0, 1})) ==
         Outcome::kOk) {
  }
  ASSERT_GT(generation, uint64_t{2} * FrameReceiver::kMaxRecordsPerCall);
  const auto messages = [&] { return victim.pair->accepting().receiver.stats().messages; };
  InFrame frame;
  EXPECT_EQ(victim.receiver.TryReceive(&frame), Outcome::kWouldBlock);
  EXPECT_EQ(messages(), uint64_t{FrameReceiver::kMaxRecordsPerCall});
  EXPECT_EQ(victim.receiver.TryReceiveLatest(&frame), Outcome::kWouldBlock);
  EXPECT_EQ(messages(), uint64_t{2} * FrameReceiver::kMaxRecordsPerCall);
}

TEST(FramesTest, PromiseP2TimeAPeerThatTakesBackAllThatItSendsCannotKeepAWait) {
  VictimReceiver victim;
  std::atomic<bool> done = false;
  std::thread peer([&] {
    uint64_t generation = 0;
    while (!done) {
      if (victim.attacker().TrySend(0, WireBytes(FrameSentWire{0, 0, generation + 1, 0, 1})) ==
          Outcome::kOk) {
        ++generation;
      }
    }
  });
  const absl::Time begin = absl::Now();
  EXPECT_TRUE(absl::IsDeadlineExceeded(victim.receiver.Receive(In(50)).status()));
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20));
  done = true;
  peer.join();
}

// The count that says "look at the words" changes without end, and no word is a return.
TEST(FramesTest, PromiseP2TimeAFloodOfReturnsThatAreNoneCannotKeepAWait) {
  VictimSender victim;
  for (uint32_t i = 0; i < 3; ++i) SendOne(&victim.sender, kSize, i);
  std::atomic<bool> done = false;
  std::thread peer([&] {
    while (!done) victim.SayReturned(static_cast<uint32_t>(victim.published % kMaxFrames), 9);
  });
  const absl::Time begin = absl::Now();
  EXPECT_TRUE(absl::IsDeadlineExceeded(victim.sender.Acquire(kSize, In(50)).status()));
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20));
  done = true;
  peer.join();
  EXPECT_EQ(victim.sender.lent_frames(), 3u);
}

TEST(FramesTest, PromiseP2TimeAReturnIsOneSignalHoweverOftenThePeerSaysThatItSleeps) {
  VictimReceiver victim;
  for (uint32_t id = 0; id < 10; ++id) victim.SaySent(id, 1, 0, 1);
  OwnMemory control = HostileAccess::Control(victim.attacker());
  const auto signals = [&] { return victim.pair->accepting().receiver.stats().signals; };
  for (uint32_t id = 0; id < 10; ++id) {
    control.StoreRelease64(kSendEpochOffset, 12345 + id);
    const uint64_t before = signals();
    InFrame frame = ReceiveOne(&victim.receiver);
    frame.Reset();
    EXPECT_EQ(signals() - before, 1u);
  }
}

TEST(FramesTest, PromiseP9AbortIsOursAPeerThatIsGoneOrLiesChangesNothingAboutHandles) {
  VictimReceiver victim;
  for (uint32_t id = 0; id < 3; ++id) victim.SaySent(id, 1, 0, 1);
  std::vector<InFrame> held;
  for (int i = 0; i < 3; ++i) held.push_back(ReceiveOne(&victim.receiver));
  held.pop_back();
  victim.receiver.Close();
  held.pop_back();
  victim.pair->connecting() = Channel();
  held.pop_back();
}

TEST(FramesTest, PromiseP6ContainmentOneChannelEndsAndOthersGoOn) {
  VictimReceiver victim;
  Ends others;
  victim.SaySent(9, 9, 9, 9);
  InFrame frame;
  EXPECT_EQ(victim.receiver.TryReceive(&frame), Outcome::kPoisoned);
  // Both ends of that channel.
  FrameSender sender = SenderOf(victim.pair->accepting());
  OutFrame out;
  EXPECT_EQ(sender.TryAcquire(1, &out), Outcome::kPoisoned);
  EXPECT_TRUE(absl::IsDataLoss(sender.Acquire(1, Generous()).status()));
  SendOne(&others.sender, 5, 5);
  ExpectFrame(ReceiveOne(&others.receiver), 5, 5);
}

using FramesDeathTest = ::testing::Test;

TEST(FramesDeathTest, PromiseP9AbortIsOursOnlyTheCallersBugsAbort) {
  Ends ends;
  Ends others;
  OutFrame none;
  EXPECT_DEATH(static_cast<void>(ends.sender.TrySend(&none, 0, 0)), "none of this");
  OutFrame frame = Filled(&ends.sender, kSize, 1);
  EXPECT_DEATH(static_cast<void>(others.sender.TrySend(&frame, 0, 0)), "none of this");
  EXPECT_DEATH(static_cast<void>(ends.sender.TrySend(&frame, kSize + 1, 0)), "more bytes");
  EXPECT_DEATH(static_cast<void>(ends.sender.TrySend(&frame, 0, 0, std::vector<std::byte>(65))),
               "more metadata");
  OutFrame kept = frame.Share();
  ASSERT_EQ(ends.sender.TrySend(&frame, 10, 0), Outcome::kOk);
  EXPECT_DEATH(static_cast<void>(kept.bytes()), "only read");
}

// The sender decides how long a frame is, and a picture has the length that it has.
TEST(FramesTest, PromiseP9AbortIsOursAFrameThatIsTooShortIsNotCopied) {
  Ends ends;
  OutFrame frame = Filled(&ends.sender, kSize, 1);
  ASSERT_EQ(ends.sender.TrySend(&frame, 10, 0), Outcome::kOk);
  const InFrame in = ReceiveOne(&ends.receiver);
  std::vector<std::byte> bytes(11, std::byte{77});
  EXPECT_FALSE(in.CopyOut(absl::MakeSpan(bytes)));
  EXPECT_EQ(bytes, std::vector<std::byte>(11, std::byte{77}));
  EXPECT_TRUE(in.CopyOut(absl::MakeSpan(bytes).first(10)));
}

// ---- Frames among other messages.

TEST(FramesAmongMessagesTest, EachIsOpenedFromWhatTheReceiverReceived) {
  auto pair = MakePair(kArena);
  FrameReceiver frames = ReceiverOf(pair->accepting());
  FrameSender sender = SenderOf(pair->connecting());
  Receiver& messages = pair->accepting().receiver;
  std::array<std::byte, 1024> buffer;
  for (uint32_t i = 1; i < 1000; ++i) {
    ASSERT_EQ(pair->connecting().sender.TrySend(1000, WireBytes(uint64_t{i})), Outcome::kOk);
    SendOne(&sender, 100 + i, i);
    Record record;
    ASSERT_EQ(messages.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kOk);
    EXPECT_EQ(record.tag, 1000u);
    ASSERT_EQ(messages.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kOk);
    InFrame frame;
    ASSERT_EQ(frames.Open(record.tag, absl::MakeConstSpan(buffer).first(record.size_bytes), &frame),
              Outcome::kOk);
    ExpectFrame(frame, 100 + i, i);
  }
  EXPECT_EQ(frames.stats().received, 999u);
  EXPECT_GE(sender.stats().returned, 900u);  // so nothing but the last ones is out
}

TEST(FramesAmongMessagesTest, OneThatWasTakenBackIsNone) {
  auto pair = MakePair(kArena);
  FrameReceiver frames = ReceiverOf(pair->accepting());
  FrameSender sender = SenderOf(pair->connecting());
  SendOne(&sender, 100, 1);
  ASSERT_TRUE(sender.RevokeOldest());
  std::array<std::byte, 1024> buffer;
  Record record;
  ASSERT_EQ(pair->accepting().receiver.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kOk);
  InFrame frame;
  EXPECT_EQ(frames.Open(record.tag, absl::MakeConstSpan(buffer).first(record.size_bytes), &frame),
            Outcome::kWouldBlock);
  EXPECT_FALSE(frame);
  EXPECT_EQ(frames.stats().taken_back, 1u);
}

TEST(FramesAmongMessagesTest, AttackR12RecordsOfNoFrameEndTheChannel) {
  const FrameSentWire good = {1, 0, 1, 0, 64};
  const auto with = [&good](auto change) {
    FrameSentWire wire = good;
    change(&wire);
    const auto bytes = WireBytes(wire);
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };
  const std::vector<std::vector<std::byte>> records = {
      {},
      std::vector<std::byte>(sizeof(FrameSentWire) - 1),
      std::vector<std::byte>(sizeof(FrameSentWire) + kMaxFrameMetadataBytes + 1),
      with([](FrameSentWire* wire) { wire->id = kMaxFrames; }),
      with([](FrameSentWire* wire) { wire->generation = 0; }),
      with([](FrameSentWire* wire) { wire->offset_bytes = kArena.bytes; }),
      with([](FrameSentWire* wire) { wire->offset_bytes = 8; }),
      with([](FrameSentWire* wire) { wire->size_bytes = ~uint64_t{0}; }),
  };
  for (const auto& record : records) {
    VictimReceiver victim;
    InFrame frame;
    EXPECT_EQ(victim.receiver.Open(7, record, &frame), Outcome::kPoisoned) << record.size();
    EXPECT_FALSE(frame);
    EXPECT_EQ(victim.receiver.violation(), Violation::kMetadataInvalid);
    EXPECT_EQ(victim.pair->accepting().receiver.violation(), Violation::kMetadataInvalid);
    // For good: also one that was received before that.
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(victim.receiver.Open(7, WireBytes(good), &frame), Outcome::kPoisoned);
      EXPECT_FALSE(frame);
    }
    EXPECT_EQ(victim.receiver.stats().received, 0u);
  }
}

}  // namespace
}  // namespace parley

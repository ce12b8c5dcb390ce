// SPDX-License-Identifier: Apache-2.0
#include "parley/frames/frame_fan_out.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
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
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/frames/frame_receiver.h"
#include "parley/frames/frame_wire.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"
#include "parley/ring/layout.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/arena_layout.h"
#include "parley/shm/broadcast.h"
#include "parley/shm/sections.h"
#include "parley/testing/channel_pair.h"

namespace parley {
namespace {

using testing::ChannelPair;

constexpr std::size_t kSize = 4096;
constexpr uint32_t kTag = 7;

Deadline Soon() { return Deadline::After(absl::Seconds(30)); }
Deadline InMs(int64_t ms) { return Deadline::After(absl::Milliseconds(ms)); }

// A producer with an arena for so many frames of kSize.
struct Producer {
  explicit Producer(uint64_t frames)
      : broadcast(*Broadcast::Create({FramesSection(ArenaFor(frames, kSize))})),
        fan_out(*FrameFanOut::Create(broadcast)) {}

  // The frame with this number, in all of its words.
  OutFrame Filled(uint64_t number) {
    auto frame = fan_out.Acquire(kSize, Soon());
    EXPECT_TRUE(frame.ok()) << frame.status();
    if (!frame.ok()) return OutFrame();
    for (std::size_t at = 0; at < kSize; at += sizeof(number)) {
      std::memcpy(frame->bytes().data() + at, &number, sizeof(number));
    }
    return *std::move(frame);
  }
  uint32_t Send(uint64_t number, bool is_key = true) {
    OutFrame frame = Filled(number);
    if (!frame) return 0;
    std::array<std::byte, sizeof(number)> metadata;
    std::memcpy(metadata.data(), &number, sizeof(number));
    const uint32_t sent = fan_out.Send(&frame, kSize, kTag, metadata, is_key);
    EXPECT_FALSE(frame);
    return sent;
  }
  FanOutStats Stats(FanOutId id) const {
    const auto stats = fan_out.stats(id);
    EXPECT_TRUE(stats.ok()) << stats.status();
    return stats.ok() ? *stats : FanOutStats();
  }

  std::shared_ptr<Broadcast> broadcast;
  FrameFanOut fan_out;
};

void ExpectAccounted(const FanOutStats& s) {
  EXPECT_EQ(s.offered, s.sent + s.dropped_before_key + s.dropped_newest + s.dropped_unread +
                           s.dropped_timeout);
  EXPECT_EQ(s.sent, s.returned + s.revoked + s.held);
}

// One receiver: its end of a channel that went through the real handshake.
struct Viewer {
  explicit Viewer(Producer& producer, const FanOutReceiverOptions& options = {},
                  uint64_t capacity_bytes = 16384)
      : pair(Connected(producer.broadcast, capacity_bytes)),
        fan_out(&producer.fan_out),
        id(*fan_out->Attach(std::move(pair->accepting()), options)),
        receiver(*FrameReceiver::Create(pair->connecting())) {}
  // The pair keeps what both ends stand on.
  ~Viewer() { fan_out->Detach(id); }
  // As a process that dies does.
  void Die() {
    const FrameReceiver last = std::move(receiver);
    pair->connecting() = Channel();
  }

  static std::unique_ptr<ChannelPair> Connected(const std::shared_ptr<Broadcast>& broadcast,
                                                uint64_t capacity_bytes = 16384) {
    AcceptOptions accept;
    accept.direction = Direction::kSendOnly;
    accept.send = {.capacity_bytes = capacity_bytes, .max_message_bytes = 1024};
    accept.broadcast = broadcast;
    ConnectOptions connect;
    connect.direction = Direction::kReceiveOnly;
    connect.broadcast_kinds = {kSectionFrames};
    auto pair = ChannelPair::CreateByHandshake(accept, connect);
    EXPECT_TRUE(pair.ok()) << pair.status();
    return *std::move(pair);
  }
  // The number of the next frame, which is whole; 0: there is none.
  uint64_t Next(InFrame* kept = nullptr) {
    InFrame frame;
    if (receiver.TryReceive(&frame) != Outcome::kOk) return 0;
    const uint64_t number = NumberOf(frame);
    if (kept != nullptr) *kept = std::move(frame);
    return number;
  }
  static uint64_t NumberOf(const InFrame& frame) {
    uint64_t number = 0;
    EXPECT_EQ(frame.metadata().size(), sizeof(number));
    std::memcpy(&number, frame.metadata().data(), sizeof(number));
    std::vector<uint64_t> words(kSize / sizeof(uint64_t));
    EXPECT_EQ(frame.size_bytes(), kSize);
    EXPECT_TRUE(frame.CopyOut(absl::MakeSpan(reinterpret_cast<std::byte*>(words.data()), kSize)));
    EXPECT_TRUE(std::all_of(words.begin(), words.end(), [&](uint64_t w) { return w == number; }))
        << number;
    return number;
  }
  OwnMemory Words() {
    return HostileAccess::Control(pair->connecting().receiver)
        .Part(kFrameReturnsOffset, sizeof(FrameReturnsWire));
  }

  std::unique_ptr<ChannelPair> pair;
  FrameFanOut* fan_out;
  FanOutId id;
  FrameReceiver receiver;
};

// `reading` gets each of them, whatever the others do.
void SendAndRead(Producer& producer, Viewer& reading, uint64_t last) {
  for (uint64_t number = 1; number <= last; ++number) {
    producer.Send(number);
    ASSERT_EQ(reading.Next(), number);
  }
}

TEST(FrameFanOutTest, SixtyFourReceiversHaveEachFrameWhereItWasWritten) {
  Producer producer(8);
  std::vector<std::unique_ptr<Viewer>> viewers;
  for (int i = 0; i < 64; ++i) viewers.push_back(std::make_unique<Viewer>(producer));
  for (uint64_t number = 1; number <= 50; ++number) {
    ASSERT_EQ(producer.Send(number), 64u);
    std::vector<InFrame> frames(viewers.size());
    for (std::size_t i = 0; i < viewers.size(); ++i) {
      ASSERT_EQ(viewers[i]->Next(&frames[i]), number);
      EXPECT_EQ(frames[i].tag(), kTag);
      EXPECT_EQ(frames[i].dropped_before(), 0u);
    }
    // One frame is out, whoever has it.
    EXPECT_EQ(producer.fan_out.lent_frames(), 1u);
  }
  for (const auto& viewer : viewers) {
    EXPECT_EQ(viewer->Next(), 0u);
    const FanOutStats stats = producer.Stats(viewer->id);
    EXPECT_EQ(stats.sent, 50u);
    ExpectAccounted(stats);
  }
}

TEST(FrameFanOutTest, ALateReceiverBeginsAtAKeyFrame) {
  Producer producer(8);
  Viewer early(producer);
  for (uint64_t number = 1; number <= 3; ++number) producer.Send(number, number == 1);
  Viewer late(producer);
  for (uint64_t number = 4; number <= 7; ++number) {
    producer.Send(number, number == 6);
    EXPECT_EQ(early.Next(), number - 3);
  }
  EXPECT_EQ(late.Next(), 6u);
  EXPECT_EQ(late.Next(), 7u);
  EXPECT_EQ(late.Next(), 0u);
  const FanOutStats stats = producer.Stats(late.id);
  EXPECT_EQ(stats.offered, 4u);
  EXPECT_EQ(stats.dropped_before_key, 2u);
  ExpectAccounted(stats);
  EXPECT_EQ(late.receiver.stats().dropped_by_sender, 2u);
}

TEST(FrameFanOutTest, AReceiverThatMissedAFrameGoesOnAtAKeyFrame) {
  for (const WhenFull when_full : {WhenFull::kDropNewest, WhenFull::kDropOldest}) {
    Producer producer(16);
    Viewer viewer(producer, {.when_full = when_full, .max_frames = 3});
    for (uint64_t number = 1; number <= 5; ++number) producer.Send(number, number == 1);
    for (uint64_t number = 1; number <= 3; ++number) EXPECT_EQ(viewer.Next(), number);
    for (uint64_t number = 6; number <= 9; ++number) producer.Send(number, number == 8);
    EXPECT_EQ(viewer.Next(), 8u);
    EXPECT_EQ(viewer.Next(), 9u);
    EXPECT_EQ(viewer.Next(), 0u);
    const FanOutStats stats = producer.Stats(viewer.id);
    EXPECT_EQ(stats.dropped_newest, 1u);      // 4
    EXPECT_EQ(stats.dropped_before_key, 3u);  // 5, 6, 7
    ExpectAccounted(stats);
  }
}

TEST(FrameFanOutTest, OneThatTakesNothingCostsTheOthersNothing) {
  Producer producer(8);
  Viewer stopped(producer, {.max_frames = 3});
  Viewer reading(producer);
  ASSERT_NO_FATAL_FAILURE(SendAndRead(producer, reading, 2000));
  const FanOutStats stats = producer.Stats(stopped.id);
  EXPECT_EQ(stats.held, 3u);
  EXPECT_EQ(stats.dropped_newest, 1997u);
  ExpectAccounted(stats);
  for (uint64_t number = 1; number <= 3; ++number) {
    EXPECT_EQ(stopped.Next(), number);  // what it was lent is still whole
  }
  EXPECT_EQ(stopped.Next(), 0u);
}

TEST(FrameFanOutTest, WithDropOldestTheNewestThatItsRingHasRoomForAreLeft) {
  Producer producer(8);
  Viewer stopped(producer, {.when_full = WhenFull::kDropOldest, .max_frames = 3});
  Viewer reading(producer);
  ASSERT_NO_FATAL_FAILURE(SendAndRead(producer, reading, 2000));
  const FanOutStats stats = producer.Stats(stopped.id);
  EXPECT_EQ(stats.held, 3u);
  EXPECT_GT(stats.dropped_unread, 0u);
  ExpectAccounted(stats);
  for (uint64_t number = stats.sent - 2; number <= stats.sent; ++number) {
    const auto frame = stopped.receiver.Receive(Soon());
    ASSERT_TRUE(frame.ok()) << frame.status();
    EXPECT_EQ(Viewer::NumberOf(*frame), number);
  }
  EXPECT_EQ(stopped.Next(), 0u);
  EXPECT_EQ(stopped.receiver.stats().missed, stats.sent - 3);
  EXPECT_EQ(stopped.receiver.stats().received, 3u);
}

TEST(FrameFanOutTest, DropOldestWithTryReceiveLatestIsTheNewest) {
  Producer producer(8);
  Viewer viewer(producer, {.when_full = WhenFull::kDropOldest, .max_frames = 1});
  for (uint64_t number = 1; number <= 100; ++number) {
    producer.Send(number);
    if (number % 10 != 0) continue;
    InFrame frame;
    ASSERT_EQ(viewer.receiver.TryReceiveLatest(&frame), Outcome::kOk);
    EXPECT_EQ(Viewer::NumberOf(frame), number);
  }
  ExpectAccounted(producer.Stats(viewer.id));
}

TEST(FrameFanOutTest, MaxBytesIsAQuotaAsWell) {
  Producer producer(8);
  Viewer viewer(producer, {.max_frames = 8, .max_bytes = 2 * kSize});
  for (uint64_t number = 1; number <= 4; ++number) producer.Send(number);
  EXPECT_EQ(producer.Stats(viewer.id).held, 2u);
  EXPECT_EQ(producer.Stats(viewer.id).dropped_newest, 2u);
}

TEST(FrameFanOutTest, WhoHoldsTheArenaLosesItAndCanSee) {
  Producer producer(8);
  // Each may have 4, at different times: more than there is.
  std::vector<std::unique_ptr<Viewer>> stopped;
  std::vector<InFrame> held;
  Viewer reading(producer);
  uint64_t number = 0;
  for (int i = 0; i < 4; ++i) {
    stopped.push_back(std::make_unique<Viewer>(producer));
    for (int k = 0; k < 4; ++k) {
      producer.Send(++number);
      ASSERT_EQ(reading.Next(), number);
      held.emplace_back();
      EXPECT_EQ(stopped.back()->Next(&held.back()), number);
    }
  }
  for (int i = 0; i < 100; ++i) {
    producer.Send(++number);
    ASSERT_EQ(reading.Next(), number);
  }
  // The first one's were the oldest.
  EXPECT_FALSE(held.front().StillValid());
  uint64_t revoked = 0;
  for (const auto& viewer : stopped) {
    const FanOutStats stats = producer.Stats(viewer->id);
    ExpectAccounted(stats);
    revoked += stats.revoked;
  }
  EXPECT_GE(revoked, 8u);
  // And goes on: what it returns late means nothing.
  held.clear();
  for (const auto& viewer : stopped) {
    while (viewer->Next() != 0) continue;
  }
  producer.Send(++number);
  for (const auto& viewer : stopped) EXPECT_EQ(viewer->Next(), number);
}

TEST(FrameFanOutTest, OneThatBlocksMissesNothing) {
  Producer producer(4);
  Viewer viewer(producer,
                {.when_full = WhenFull::kWait, .max_frames = 2, .max_wait = absl::Seconds(30)});
  Viewer other(producer);
  std::thread reads([&] {
    for (uint64_t number = 1; number <= 500; ++number) {
      auto frame = viewer.receiver.Receive(Soon());
      ASSERT_TRUE(frame.ok()) << frame.status();
      ASSERT_EQ(Viewer::NumberOf(*frame), number);
    }
  });
  for (uint64_t number = 1; number <= 500; ++number) producer.Send(number);
  reads.join();
  const FanOutStats stats = producer.Stats(viewer.id);
  EXPECT_EQ(stats.sent, 500u);
  ExpectAccounted(stats);
  // Nobody waits for the other.
  EXPECT_LT(producer.Stats(other.id).held + producer.Stats(other.id).returned, 10u);
}

TEST(FrameFanOutTest, OneThatBlocksAndStopsIsWaitedForOnce) {
  Producer producer(4);
  const absl::Duration max_wait = absl::Milliseconds(50);
  Viewer stopped(producer, {.when_full = WhenFull::kWait, .max_frames = 2, .max_wait = max_wait});
  Viewer reading(producer);
  ASSERT_NO_FATAL_FAILURE(SendAndRead(producer, reading, 200));
  // Of 198 frames that it had no room for, one was waited with.
  FanOutStats stats = producer.Stats(stopped.id);
  EXPECT_EQ(stats.dropped_timeout, 198u);
  ExpectAccounted(stats);
  // It goes on, and is waited for again.
  EXPECT_EQ(stopped.Next(), 1u);
  EXPECT_EQ(stopped.Next(), 2u);
  producer.Send(201);
  EXPECT_EQ(stopped.Next(), 201u);
}

// Each would be waited for, one after the other, which nobody's max_wait says. The control is one
// of them alone, in the same run.
TEST(FrameFanOutTest, PromiseP2TimeManyThatBlockAndStopAreWaitedForTogether) {
  const absl::Duration max_wait = absl::Milliseconds(200);
  const auto time_of = [&](int receivers, bool of_acquire) {
    Producer producer(of_acquire ? 1 : 4);
    std::vector<std::unique_ptr<Viewer>> stopped;
    for (int i = 0; i < receivers; ++i) {
      stopped.push_back(std::make_unique<Viewer>(
          producer, FanOutReceiverOptions{
                        .when_full = WhenFull::kWait, .max_frames = 1, .max_wait = max_wait}));
    }
    producer.Send(1);
    const absl::Time start = absl::Now();
    OutFrame frame = producer.Filled(2);
    if (!of_acquire) producer.fan_out.Send(&frame, kSize, kTag);
    return absl::Now() - start;
  };
  for (const bool of_acquire : {false, true}) {
    const absl::Duration alone = time_of(1, of_acquire);
    EXPECT_GE(alone, max_wait);
    EXPECT_LT(time_of(6, of_acquire), 3 * alone) << (of_acquire ? "Acquire" : "Send");
  }
}

TEST(FrameFanOutTest, AcquireWaitsForOneThatBlocksAndHasTheArena) {
  Producer producer(2);
  Viewer viewer(producer,
                {.when_full = WhenFull::kWait, .max_frames = 8, .max_wait = absl::Seconds(30)});
  producer.Send(1);
  producer.Send(2);
  OutFrame frame;
  EXPECT_EQ(producer.fan_out.TryAcquire(kSize, &frame), Outcome::kWouldBlock);
  EXPECT_TRUE(absl::IsDeadlineExceeded(producer.fan_out.Acquire(kSize, InMs(20)).status()));
  std::thread reads([&] {
    absl::SleepFor(absl::Milliseconds(20));
    EXPECT_EQ(viewer.Next(), 1u);
  });
  const auto acquired = producer.fan_out.Acquire(kSize, Soon());
  EXPECT_TRUE(acquired.ok()) << acquired.status();
  reads.join();
  EXPECT_EQ(producer.Stats(viewer.id).revoked, 0u);
  // Or is interrupted.
  std::thread interrupts([&] {
    absl::SleepFor(absl::Milliseconds(20));
    producer.fan_out.Interrupt();
  });
  EXPECT_TRUE(absl::IsCancelled(producer.fan_out.Acquire(kSize, Soon()).status()));
  interrupts.join();
}

TEST(FrameFanOutTest, OurOwnHandlesAreNeverTakenBack) {
  Producer producer(2);
  Viewer viewer(producer);
  OutFrame first = producer.Filled(1);
  OutFrame kept = first.Share();
  EXPECT_EQ(producer.fan_out.Send(&first, kSize, kTag), 1u);
  OutFrame second = producer.Filled(2);
  EXPECT_TRUE(absl::IsResourceExhausted(producer.fan_out.Acquire(kSize, InMs(1)).status()));
  uint64_t number = 0;
  std::memcpy(&number, kept.read_only_bytes().data(), sizeof(number));
  EXPECT_EQ(number, 1u);
}

TEST(FrameFanOutTest, ThePreambleComesFirstAndIsNeverLost) {
  Producer producer(8);
  const std::array<std::byte, 3> one = {std::byte{1}, std::byte{1}, std::byte{1}};
  const std::array<std::byte, 2> two = {std::byte{2}, std::byte{2}};
  producer.fan_out.SetPreamble(9, one);
  Viewer viewer(producer, {.max_frames = 1});
  std::vector<std::pair<uint32_t, uint64_t>> seen;  // tag, number or first byte
  const auto take_all = [&] {
    std::array<std::byte, 1024> message;
    while (true) {
      Record record;
      if (viewer.pair->connecting().receiver.TryReceive(absl::MakeSpan(message), &record) !=
          Outcome::kOk) {
        return;
      }
      const auto bytes = absl::MakeConstSpan(message).first(record.size_bytes);
      if (record.tag == 9) {
        seen.emplace_back(9, static_cast<uint64_t>(bytes[0]));
        continue;
      }
      InFrame frame;
      ASSERT_EQ(viewer.receiver.Open(record.tag, bytes, &frame), Outcome::kOk);
      seen.emplace_back(record.tag, Viewer::NumberOf(frame));
    }
  };
  producer.Send(1);
  producer.Send(2);  // dropped: the quota
  producer.fan_out.SetPreamble(9, two);
  producer.Send(3);  // and with it what would have gone before
  take_all();
  producer.Send(4);
  take_all();
  producer.Send(5);
  take_all();
  const std::vector<std::pair<uint32_t, uint64_t>> expected = {
      {9, 1}, {kTag, 1}, {9, 2}, {kTag, 4}, {kTag, 5}};
  EXPECT_EQ(seen, expected);
}

TEST(FrameFanOutTest, WhoLeavesIsToldByReason) {
  Producer producer(8);
  auto closes = std::make_unique<Viewer>(producer);
  auto dies = std::make_unique<Viewer>(producer);
  auto lies = std::make_unique<Viewer>(producer, FanOutReceiverOptions{.max_frames = 128}, 4096);
  Viewer stays(producer);
  producer.Send(1);
  closes->receiver.Close();
  // What no honest end says: it took more than there is.
  HostileAccess::Control(lies->pair->connecting().receiver)
      .StoreRelease64(kHeadOffset, ~uint64_t{0});
  dies->Die();
  // A full ring or quota makes a producer look; until then the words are enough. A ring has a page
  // at least.
  const auto enough = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) / 20;
  for (uint64_t number = 2; number < enough; ++number) {
    producer.Send(number);
    ASSERT_EQ(stays.Next(), number - 1);
  }
  bool closed = false;
  bool died = false;
  bool lied = false;
  for (const FanOutEnd& end : producer.fan_out.TakeEnded()) {
    ExpectAccounted(end.stats);
    EXPECT_EQ(end.stats.held, 0u);
    if (end.id == closes->id) closed = absl::IsOutOfRange(end.why);
    if (end.id == dies->id) died = absl::IsUnavailable(end.why);
    if (end.id == lies->id) lied = absl::IsDataLoss(end.why);
    EXPECT_NE(end.id, stays.id);
  }
  EXPECT_TRUE(closed);
  EXPECT_TRUE(died);
  EXPECT_TRUE(lied);
  EXPECT_TRUE(producer.fan_out.TakeEnded().empty());
}

TEST(FrameFanOutTest, ADetachedReceiverKeepsNothingAndItsNumberIsNobodyElses) {
  Producer producer(4);
  Viewer first(producer);
  producer.Send(1);
  producer.Send(2);
  EXPECT_EQ(producer.fan_out.lent_frames(), 2u);
  producer.fan_out.Detach(first.id);
  producer.fan_out.Detach(first.id);
  EXPECT_EQ(producer.fan_out.lent_frames(), 0u);
  EXPECT_EQ(first.Next(), 1u);  // in order: what was sent before arrives
  Viewer second(producer);
  EXPECT_NE(second.id, first.id);
  EXPECT_EQ(producer.Stats(second.id).held, 0u);
  EXPECT_TRUE(absl::IsNotFound(producer.fan_out.stats(first.id).status()));
  EXPECT_EQ(producer.Send(3), 1u);
  EXPECT_EQ(second.Next(), 3u);
  EXPECT_TRUE(producer.fan_out.TakeEnded().empty());
}

TEST(FrameFanOutTest, AttackR16WhatOneSaysIsAboutNobodyElse) {
  Producer producer(8);
  Viewer hostile(producer, {.max_frames = 8});
  Viewer honest(producer);
  InFrame kept;
  producer.Send(1);
  ASSERT_EQ(honest.Next(&kept), 1u);
  OwnMemory words = hostile.Words();
  // Every id and every generation returned, over and over, whether it has them or not.
  for (uint64_t number = 2; number < 300; ++number) {
    producer.Send(number);
    ASSERT_EQ(honest.Next(), number);
    for (uint32_t id = 0; id < kMaxFrames; ++id) {
      words.StoreRelease64(FrameReturnOffset(id), number % 8);
    }
    words.StoreRelease64(0, number);
    // What the honest one holds is as it was.
    ASSERT_TRUE(kept.StillValid());
    ASSERT_EQ(Viewer::NumberOf(kept), 1u);
  }
  const FanOutStats stats = producer.Stats(honest.id);
  EXPECT_EQ(stats.revoked, 0u);
  EXPECT_EQ(stats.held, 2u);  // and the last one, whose return was not looked at
  ExpectAccounted(stats);
  ExpectAccounted(producer.Stats(hostile.id));
}

TEST(FrameFanOutTest, WhatCantBeIsRefusedWhereItIsGiven) {
  Producer producer(4);
  EXPECT_TRUE(absl::IsAlreadyExists(FrameFanOut::Create(producer.broadcast).status()));
  EXPECT_TRUE(absl::IsNotFound(FrameFanOut::Create(*Broadcast::Create({{3, 4, 4096}})).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      FrameFanOut::Create(*Broadcast::Create({{kSectionFrames, 1, 4096}})).status()));
  // A channel without our broadcast, one that does not send, and options.
  auto plain = ChannelPair::Create();
  ASSERT_TRUE(plain.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(
      producer.fan_out.Attach(std::move((*plain)->accepting())).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(producer.fan_out.Attach(Channel()).status()));
  auto pair = Viewer::Connected(producer.broadcast);
  for (const FanOutReceiverOptions& options :
       {FanOutReceiverOptions{.max_frames = 0}, FanOutReceiverOptions{.max_frames = 129},
        FanOutReceiverOptions{.max_wait = -absl::Seconds(1)}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        producer.fan_out.Attach(std::move(pair->accepting()), options).status()));
    pair = Viewer::Connected(producer.broadcast);
  }
  OutFrame frame;
  EXPECT_EQ(producer.fan_out.TryAcquire(5 * kSize, &frame), Outcome::kTooLong);
  EXPECT_TRUE(absl::IsInvalidArgument(producer.fan_out.Acquire(5 * kSize, Soon()).status()));
}

TEST(FrameFanOutTest, ASectionIsItsArenaAndNothingElse) {
  for (const ArenaGeometry& arena :
       {ArenaGeometry{4096, 64}, ArenaGeometry{1 << 20, 4096}, ArenaGeometry{kMaxArenaBytes, 64},
        ArenaGeometry{kMaxArenaBytes, 4096}}) {
    const auto back = ArenaOf(FramesSection(arena));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, arena);
  }
  const uint32_t most = ~uint32_t{0};
  for (const Section& section :
       {Section{3, 192, 64}, Section{kSectionFrames, 128, 64}, Section{kSectionFrames, 129, 64},
        Section{kSectionFrames, 1, 12288}, Section{kSectionFrames, 4, 3072},
        Section{kSectionFrames, 192, 32}, Section{kSectionFrames, most, 4096},
        Section{kSectionFrames, most, ~uint64_t{0}},
        Section{kSectionFrames, 2, uint64_t{1} << 63}}) {
    EXPECT_FALSE(ArenaOf(section).ok()) << section.count << " x " << section.bytes;
  }
}

TEST(FrameFanOutTest, AttackR16AReceiverRefusesASectionThatCantBe) {
  auto broadcast = *Broadcast::Create({{kSectionFrames, 1, 4096}});
  auto pair = Viewer::Connected(broadcast);
  EXPECT_TRUE(absl::IsInvalidArgument(FrameReceiver::Create(pair->connecting()).status()));
}

}  // namespace
}  // namespace parley

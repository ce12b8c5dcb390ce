// SPDX-License-Identifier: Apache-2.0

// An arena for many receivers at its limits: who is waited for and who loses what, all ids out,
// receivers that go away while they are waited for, and what keeps what alive.

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/violation.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/frames/frame_fan_out.h"
#include "parley/frames/frame_receiver.h"
#include "parley/frames/frame_sender.h"
#include "parley/frames/frame_wire.h"
#include "parley/handshake/options.h"
#include "parley/handshake/session.h"
#include "parley/os/deadline.h"
#include "parley/ring/layout.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/arena_layout.h"
#include "parley/shm/broadcast.h"
#include "parley/testing/channel_pair.h"
#include "parley/wait/termination.h"

namespace parley {
namespace {

using testing::ChannelPair;

constexpr std::size_t kSize = 4096;
constexpr uint32_t kTag = 7;
// Nobody is waited for as long as that: a test that does is late.
constexpr absl::Duration kVeryLong = absl::Minutes(10);

Deadline Soon() { return Deadline::After(absl::Seconds(30)); }
Deadline Past() { return Deadline::AtMonotonicNs(0); }

std::unique_ptr<ChannelPair> Connected(const std::shared_ptr<Broadcast>& broadcast,
                                       uint64_t capacity_bytes = 16384,
                                       uint32_t max_message_bytes = 1024) {
  AcceptOptions accept;
  accept.direction = Direction::kSendOnly;
  accept.send = {.capacity_bytes = capacity_bytes, .max_message_bytes = max_message_bytes};
  accept.broadcast = broadcast;
  ConnectOptions connect;
  connect.direction = Direction::kReceiveOnly;
  connect.broadcast_kinds = {kSectionFrames};
  auto pair = ChannelPair::CreateByHandshake(accept, connect);
  EXPECT_TRUE(pair.ok()) << pair.status();
  return *std::move(pair);
}

struct Producer {
  explicit Producer(uint64_t frames, const FanOutOptions& options = {})
      : broadcast(*Broadcast::Create({FramesSection(ArenaFor(frames, kSize))})),
        fan_out(*FrameFanOut::Create(broadcast, options)) {}
  OutFrame Acquire(std::size_t size = kSize) {
    auto frame = fan_out.Acquire(size, Soon());
    EXPECT_TRUE(frame.ok()) << frame.status();
    return frame.ok() ? *std::move(frame) : OutFrame();
  }
  uint32_t Send(uint32_t tag = kTag, bool is_key = true, Deadline deadline = Deadline::Never()) {
    OutFrame frame = Acquire();
    if (!frame) return 0;
    return fan_out.Send(&frame, kSize, tag, {}, is_key, deadline);
  }
  FanOutStats Stats(FanOutId id) const {
    const auto stats = fan_out.stats(id);
    EXPECT_TRUE(stats.ok()) << stats.status();
    return stats.value_or(FanOutStats());
  }
  bool Has(FanOutId id) const { return fan_out.stats(id).ok(); }

  std::shared_ptr<Broadcast> broadcast;
  FrameFanOut fan_out;
};

struct Viewer {
  explicit Viewer(Producer& producer, const FanOutReceiverOptions& options = {},
                  uint64_t capacity_bytes = 16384, uint32_t max_message_bytes = 1024)
      : pair(Connected(producer.broadcast, capacity_bytes, max_message_bytes)),
        session(pair->accepting().session),
        fan_out(&producer.fan_out),
        id(*fan_out->Attach(std::move(pair->accepting()), options)),
        receiver(*FrameReceiver::Create(pair->connecting())) {}
  ~Viewer() {
    fan_out->Detach(id);
    session.reset();
  }
  // The tag of the next frame; 0: there is none.
  uint32_t Next(InFrame* kept = nullptr) {
    InFrame frame;
    if (receiver.TryReceive(&frame) != Outcome::kOk) return 0;
    const uint32_t tag = frame.tag();
    if (kept != nullptr) *kept = std::move(frame);
    return tag;
  }
  OwnMemory Words() {
    return HostileAccess::Control(pair->connecting().receiver)
        .Part(kFrameReturnsOffset, sizeof(FrameReturnsWire));
  }
  void Close() { receiver.Close(); }
  void Die() {
    session.reset();
    const FrameReceiver last = std::move(receiver);
    pair->connecting() = Channel();
  }
  // Says that it took more than there is.
  void Lie() {
    HostileAccess::Control(pair->connecting().receiver).StoreRelease64(kHeadOffset, ~uint64_t{0});
  }

  std::unique_ptr<ChannelPair> pair;
  std::shared_ptr<Session> session;  // of the producer's end
  FrameFanOut* fan_out;
  FanOutId id;
  FrameReceiver receiver;
};

FanOutReceiverOptions Waiting(uint32_t max_frames) {
  return {.when_full = WhenFull::kWait, .max_frames = max_frames, .max_wait = kVeryLong};
}

void ExpectAccounted(const FanOutStats& s) {
  EXPECT_EQ(s.offered, s.sent + s.dropped_before_key + s.dropped_newest + s.dropped_unread +
                           s.dropped_timeout);
  EXPECT_EQ(s.sent, s.returned + s.revoked + s.held);
}

template <typename Condition>
bool Await(Condition condition) {
  const Deadline deadline = Soon();
  bool holds = condition();
  while (!holds && !deadline.Expired()) {
    absl::SleepFor(absl::Milliseconds(1));
    holds = condition();
  }
  return holds;
}

// ---- How many got it.

// Receivers of each kind, and frames of each: what Send says is what the counters say.
TEST(FanOutSendTest, SaysHowManyItWasLentTo) {
  Producer producer(16);
  std::array<std::byte, 2000> too_long = {};
  std::vector<std::unique_ptr<Viewer>> viewers;
  for (const WhenFull when_full : {WhenFull::kDropNewest, WhenFull::kDropOldest}) {
    for (const uint32_t max_frames : {1u, 3u}) {
      for (const uint64_t capacity_bytes : {uint64_t{4096}, uint64_t{65536}}) {
        viewers.push_back(std::make_unique<Viewer>(
            producer,
            FanOutReceiverOptions{
                .when_full = when_full, .max_frames = max_frames, .max_wait = kVeryLong},
            capacity_bytes));
      }
    }
  }
  viewers.push_back(
      std::make_unique<Viewer>(producer, FanOutReceiverOptions{.max_frames = kMaxFrames}, 4096));
  std::map<FanOutId, FanOutStats> before;
  for (uint32_t number = 0; number < 600; ++number) {
    // One whose messages are too short for what goes first gets nothing, and stays.
    if (number == 400) {
      producer.fan_out.SetPreamble(9, too_long);
      for (const auto& viewer : viewers) {
        while (viewer->Next() != 0) continue;
      }
    }
    const uint32_t sent = producer.Send(kTag, number % 5 != 3);
    uint64_t counted = 0;
    for (const auto& viewer : viewers) {
      const FanOutStats stats = producer.Stats(viewer->id);
      ExpectAccounted(stats);
      ASSERT_EQ(stats.offered, number + 1);
      counted += stats.sent - before[viewer->id].sent;
      before[viewer->id] = stats;
    }
    ASSERT_EQ(sent, counted);
    if (number >= 400) {
      ASSERT_EQ(sent, 0u);
    }
    // Some read, and some not at all.
    for (std::size_t i = 0; i < viewers.size(); i += 2) {
      if (number < 400 && number % 7 == i % 7) {
        while (viewers[i]->Next() != 0) continue;
      }
    }
  }
  for (const auto& viewer : viewers) {
    EXPECT_GT(producer.Stats(viewer->id).dropped_unread, 100u);
  }
}

TEST(FanOutSendTest, MetadataAndTagsAreWhatTheyMayBeAtMost) {
  Producer producer(2, {.metadata_bytes = kMaxFrameMetadataBytes});
  Viewer viewer(producer);
  std::vector<std::byte> metadata(kMaxFrameMetadataBytes, std::byte{5});
  OutFrame frame = producer.Acquire();
  EXPECT_EQ(producer.fan_out.Send(&frame, kSize, kMaxTag, metadata), 1u);
  EXPECT_TRUE(frame.read_only_bytes().empty());
  InFrame in;
  EXPECT_EQ(viewer.Next(&in), kMaxTag);
  EXPECT_EQ(in.size_bytes(), kSize);
  EXPECT_EQ(std::vector<std::byte>(in.metadata().begin(), in.metadata().end()), metadata);
  // And a preamble's.
  producer.fan_out.SetPreamble(kMaxTag, std::vector<std::byte>(FrameFanOut::kMaxPreambleBytes));
}

TEST(FanOutSendTest, AMessageGoesToOneReceiver) {
  Producer producer(2);
  Viewer viewer(producer);
  const Viewer other(producer);
  const std::array<std::byte, 3> bytes = {std::byte{1}, std::byte{2}, std::byte{3}};
  EXPECT_EQ(producer.fan_out.TrySendMessage(viewer.id, 99, bytes), Outcome::kOk);
  EXPECT_EQ(producer.fan_out.TrySendMessage(viewer.id + 100, 99, bytes), Outcome::kClosed);
  std::array<std::byte, 1024> buffer;
  Record record;
  ASSERT_EQ(viewer.pair->connecting().receiver.TryReceive(absl::MakeSpan(buffer), &record),
            Outcome::kOk);
  EXPECT_EQ(record.tag, 99u);
  EXPECT_EQ(record.size_bytes, 3u);
  EXPECT_EQ(other.pair->connecting().receiver.TryReceive(absl::MakeSpan(buffer), &record),
            Outcome::kWouldBlock);
}

// ---- Who loses what.

TEST(FanOutRevokeTest, WhoHasMostLosesItWhoeverCameFirst) {
  for (const bool most_first : {true, false}) {
    Producer producer(4);
    auto first = std::make_unique<Viewer>(producer, FanOutReceiverOptions{.max_frames = 4});
    std::unique_ptr<Viewer> second;
    if (most_first) {
      // The second one comes for the last frame alone.
      for (int i = 0; i < 3; ++i) producer.Send();
      second = std::make_unique<Viewer>(producer, FanOutReceiverOptions{.max_frames = 4});
      producer.Send();
    } else {
      second = std::make_unique<Viewer>(producer, FanOutReceiverOptions{.max_frames = 4});
      producer.Send();
      EXPECT_EQ(first->Next(), kTag);
      for (int i = 0; i < 2; ++i) producer.Send();
      EXPECT_EQ(first->Next(), kTag);
      EXPECT_EQ(first->Next(), kTag);
      producer.Send();
    }
    Viewer& most = most_first ? *first : *second;
    Viewer& least = most_first ? *second : *first;
    EXPECT_EQ(producer.Stats(most.id).held, 4u);
    EXPECT_EQ(producer.Stats(least.id).held, 1u);
    const OutFrame frame = producer.Acquire();
    EXPECT_EQ(producer.Stats(most.id).revoked, 1u) << most_first;
    EXPECT_EQ(producer.Stats(least.id).revoked, 0u) << most_first;
  }
}

// By bytes where bytes are lacking: one long frame is more than two short ones.
TEST(FanOutRevokeTest, WhoHasTheMostBytesLosesThem) {
  Producer producer(4);
  Viewer large(producer);
  const auto send = [&producer](std::size_t size) {
    OutFrame frame = producer.Acquire(size);
    return producer.fan_out.Send(&frame, size, kTag);
  };
  EXPECT_EQ(send(3 * kSize), 1u);
  Viewer small(producer);
  EXPECT_EQ(send(64), 2u);
  EXPECT_EQ(send(64), 2u);
  InFrame frame;
  EXPECT_EQ(large.Next(&frame), kTag);
  EXPECT_EQ(large.Next(), kTag);
  EXPECT_EQ(large.Next(), kTag);
  EXPECT_TRUE(frame.StillValid());
  const OutFrame next = producer.Acquire(2 * kSize);
  EXPECT_EQ(producer.Stats(large.id).revoked, 1u);
  EXPECT_EQ(producer.Stats(small.id).revoked, 0u);
  EXPECT_FALSE(frame.StillValid());
}

// Its reader can see it before the first byte is written anew.
TEST(FanOutRevokeTest, WhoLosesAFrameSeesItBeforeItIsWrittenAnew) {
  {
    Producer producer(1);
    Viewer viewer(producer);
    producer.Send();
    InFrame held;
    EXPECT_EQ(viewer.Next(&held), kTag);
    EXPECT_TRUE(held.StillValid());
    const OutFrame next = producer.Acquire();
    EXPECT_FALSE(held.StillValid());
  }
  {
    // Taken back by its own policy; the bytes are those of the next frame but one.
    Producer producer(2);
    Viewer viewer(producer, {.when_full = WhenFull::kDropOldest, .max_frames = 1});
    producer.Send();
    InFrame held;
    EXPECT_EQ(viewer.Next(&held), kTag);
    producer.Send();
    const OutFrame next = producer.Acquire();
    EXPECT_FALSE(held.StillValid());
  }
  {
    // The same while another one has it, which returns it later.
    Producer producer(2);
    Viewer loses(producer, {.when_full = WhenFull::kDropOldest, .max_frames = 1});
    Viewer keeps(producer);
    producer.Send();
    InFrame held;
    InFrame other;
    EXPECT_EQ(loses.Next(&held), kTag);
    EXPECT_EQ(keeps.Next(&other), kTag);
    producer.Send();
    other.Reset();
    const OutFrame next = producer.Acquire();
    EXPECT_EQ(producer.Stats(keeps.id).revoked, 0u);
    EXPECT_FALSE(held.StillValid());
  }
}

TEST(FanOutRevokeTest, WhoLostAFrameGoesOnAtAKeyFrame) {
  Producer producer(2);
  Viewer viewer(producer);
  EXPECT_EQ(producer.Send(1), 1u);
  EXPECT_EQ(producer.Send(2, false), 1u);
  EXPECT_EQ(producer.Send(3, false), 0u);  // for which the first one was taken back
  EXPECT_EQ(producer.Stats(viewer.id).revoked, 1u);
  EXPECT_EQ(producer.Stats(viewer.id).dropped_before_key, 1u);
  EXPECT_EQ(producer.Send(4), 1u);
}

TEST(FanOutRevokeTest, WhatWasReturnedIsNotTakenBack) {
  Producer producer(1);
  Viewer viewer(producer);
  for (uint64_t number = 1; number <= 5; ++number) {
    producer.Send();
    EXPECT_EQ(viewer.Next(), kTag);
  }
  const OutFrame frame = producer.Acquire();
  EXPECT_EQ(producer.Stats(viewer.id).returned, 5u);
  EXPECT_EQ(producer.Stats(viewer.id).revoked, 0u);
}

// ---- Who is waited for.

TEST(FanOutWaitTest, NobodyIsWaitedForWhoDoesNotAskForIt) {
  for (const WhenFull when_full : {WhenFull::kDropNewest, WhenFull::kDropOldest}) {
    Producer producer(4);
    Viewer viewer(producer, {.when_full = when_full, .max_frames = 1, .max_wait = kVeryLong});
    for (int i = 0; i < 10; ++i) producer.Send();
    EXPECT_EQ(producer.Stats(viewer.id).held, 1u);
  }
}

// Nor one that has nothing, or whose frames our own caller has as well.
TEST(FanOutWaitTest, WhereOurOwnHandlesHaveTheArenaNobodyIsWaitedFor) {
  Producer producer(2);
  Viewer waiting(producer, Waiting(4));
  const OutFrame first = producer.Acquire();
  const OutFrame second = producer.Acquire();
  EXPECT_TRUE(
      absl::IsResourceExhausted(producer.fan_out.Acquire(kSize, Deadline::Never()).status()));
}

// With Waiting(1): one that was late is not waited for again until it has returned something.
TEST(FanOutWaitTest, OneThatWasLateIsWaitedForAgainOnceItReturns) {
  Producer producer(8);
  Viewer viewer(producer, Waiting(1));
  EXPECT_EQ(producer.Send(1), 1u);
  EXPECT_EQ(producer.Send(2, true, Past()), 0u);  // our deadline
  EXPECT_EQ(producer.Stats(viewer.id).dropped_timeout, 1u);
  EXPECT_EQ(producer.Send(3), 0u);  // at once
  InFrame held;
  EXPECT_EQ(viewer.Next(&held), 1u);
  held.Reset();
  EXPECT_EQ(producer.Send(4), 1u);
  EXPECT_EQ(viewer.Next(&held), 4u);
  std::thread returns([&held] {
    absl::SleepFor(absl::Milliseconds(20));
    held.Reset();
  });
  EXPECT_EQ(producer.Send(5), 1u);
  returns.join();
  ExpectAccounted(producer.Stats(viewer.id));
}

// For a frame that it would not get anyway nobody waits; for any other everybody does.
TEST(FanOutWaitTest, FramesThatAreNoKeyAreWaitedForWhereTheyAreOfUse) {
  Producer producer(8);
  Viewer viewer(producer, Waiting(1));
  InFrame held;
  EXPECT_EQ(producer.Send(1), 1u);
  EXPECT_EQ(viewer.Next(&held), 1u);
  std::thread returns([&held] {
    absl::SleepFor(absl::Milliseconds(20));
    held.Reset();
  });
  EXPECT_EQ(producer.Send(2, false), 1u);
  returns.join();
  // It has its quota, and misses one.
  EXPECT_EQ(producer.Send(3, false, Past()), 0u);
  EXPECT_EQ(viewer.Next(&held), 2u);
  held.Reset();
  EXPECT_EQ(producer.Send(4, false), 0u);
  EXPECT_EQ(producer.Stats(viewer.id).dropped_before_key, 1u);
  // A key frame it gets, and is waited for.
  EXPECT_EQ(producer.Send(5), 1u);
  EXPECT_EQ(viewer.Next(&held), 5u);
  std::thread returns_again([&held] {
    absl::SleepFor(absl::Milliseconds(20));
    held.Reset();
  });
  EXPECT_EQ(producer.Send(6), 1u);
  returns_again.join();
}

TEST(FanOutWaitTest, ItIsTheOneWithMostThatIsWaitedFor) {
  Producer producer(2);
  Viewer most(producer, Waiting(4));
  producer.Send(1);
  Viewer least(producer, Waiting(4));
  producer.Send(2);
  InFrame held;
  EXPECT_EQ(most.Next(&held), 1u);
  std::thread returns([&held] {
    absl::SleepFor(absl::Milliseconds(20));
    held.Reset();
  });
  EXPECT_TRUE(producer.Acquire());
  returns.join();
  EXPECT_EQ(producer.Stats(least.id).held, 1u);
}

TEST(FanOutWaitTest, AnInterruptEndsOneWait) {
  Producer producer(1);
  Viewer viewer(producer, Waiting(4));
  producer.Send(1);
  producer.fan_out.Interrupt();
  EXPECT_TRUE(absl::IsCancelled(producer.fan_out.Acquire(kSize, Soon()).status()));
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      producer.fan_out.Acquire(kSize, Deadline::After(absl::Milliseconds(5))).status()));
  EXPECT_EQ(producer.Stats(viewer.id).held, 1u);
}

// The count that says "look at the words" changes, and no word is a return.
TEST(FanOutWaitTest, AttackR16ReturnsThatAreNoneEndNoWait) {
  Producer producer(1);
  Viewer hostile(producer, Waiting(4));
  producer.Send(1);
  hostile.Words().StoreRelease64(0, 12345);
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      producer.fan_out.Acquire(kSize, Deadline::After(absl::Milliseconds(50))).status()));
  EXPECT_EQ(producer.Stats(hostile.id).held, 1u);
}

enum class Leaves { kCloses, kDies, kLies };
constexpr Leaves kWays[] = {Leaves::kCloses, Leaves::kDies, Leaves::kLies};

void Leave(Viewer& viewer, Leaves how) {
  switch (how) {
    case Leaves::kCloses:
      return viewer.Close();
    case Leaves::kDies:
      return viewer.Die();
    case Leaves::kLies:
      return viewer.Lie();
  }
}
absl::StatusCode Why(Leaves how) {
  switch (how) {
    case Leaves::kCloses:
      return absl::StatusCode::kOutOfRange;
    case Leaves::kDies:
      return absl::StatusCode::kUnavailable;
    case Leaves::kLies:
      break;
  }
  return absl::StatusCode::kDataLoss;
}

// Who leaves while everybody waits for it is gone, and nobody waits any more.
TEST(FanOutLeaveTest, WhileItIsWaitedFor) {
  for (const bool of_acquire : {true, false}) {
    for (const Leaves how : kWays) {
      Producer producer(of_acquire ? 1 : 4);
      Viewer viewer(producer, Waiting(1));
      EXPECT_EQ(producer.Send(1), 1u);
      std::thread leaves([&viewer, how] {
        absl::SleepFor(absl::Milliseconds(20));
        Leave(viewer, how);
      });
      OutFrame frame = producer.Acquire();
      EXPECT_TRUE(frame);
      if (!of_acquire) {
        EXPECT_EQ(producer.fan_out.Send(&frame, kSize, kTag), 0u);
      }
      leaves.join();
      // One that closes and has its quota is found by the question alone.
      if (of_acquire || how != Leaves::kCloses) {
        EXPECT_TRUE(producer.fan_out.receivers().empty());
      }
      const std::vector<FanOutEnd> ended = producer.fan_out.TakeEnded();
      ASSERT_EQ(ended.size(), 1u);
      EXPECT_EQ(ended[0].id, viewer.id);
      EXPECT_EQ(ended[0].why.code(), Why(how)) << ended[0].why;
      ExpectAccounted(ended[0].stats);
    }
  }
}

// Send alone finds out: each that is sent to, or that misses something.
TEST(FanOutLeaveTest, SendFindsOut) {
  for (const Leaves how : kWays) {
    for (const uint32_t max_frames : {1u, kMaxFrames}) {
      // For a drop it is asked whether its process lives, and no more.
      if (how != Leaves::kDies && max_frames == 1) continue;
      Producer producer(kMaxFrames + 8);
      Viewer viewer(producer, {.max_frames = max_frames}, 4096);
      EXPECT_EQ(producer.Send(), 1u);
      Leave(viewer, how);
      EXPECT_TRUE(Await([&] {
        EXPECT_LE(producer.Send(), 1u);
        return !producer.Has(viewer.id);
      })) << static_cast<int>(how);
      EXPECT_EQ(producer.Send(), 0u);
      EXPECT_TRUE(producer.fan_out.receivers().empty());
      const std::vector<FanOutEnd> ended = producer.fan_out.TakeEnded();
      ASSERT_EQ(ended.size(), 1u);
      EXPECT_EQ(ended[0].why.code(), Why(how)) << ended[0].why;
      EXPECT_EQ(ended[0].stats.held, 0u);
      ExpectAccounted(ended[0].stats);
    }
  }
}

// And so does the question for those that left.
TEST(FanOutLeaveTest, TakeEndedFindsOut) {
  for (const Leaves how : kWays) {
    Producer producer(8);
    Viewer stays(producer);
    Viewer viewer(producer);
    producer.Send(1);
    producer.Send(2);
    EXPECT_EQ(viewer.Next(), 1u);
    Leave(viewer, how);
    std::vector<FanOutEnd> ended;
    EXPECT_TRUE(Await([&] {
      ended = producer.fan_out.TakeEnded();
      return !ended.empty();
    }));
    ASSERT_EQ(ended.size(), 1u);
    EXPECT_EQ(ended[0].id, viewer.id);
    EXPECT_EQ(ended[0].why.code(), Why(how)) << ended[0].why;
    // What it returned before counts as that.
    EXPECT_EQ(ended[0].stats.returned, 1u);
    EXPECT_EQ(ended[0].stats.revoked, 1u);
    EXPECT_FALSE(producer.Has(viewer.id));
    EXPECT_TRUE(producer.Has(stays.id));
    EXPECT_TRUE(producer.fan_out.TakeEnded().empty());
  }
}

// What it wrote before it died counts, also where it has its quota and Send looks at nothing.
TEST(FanOutLeaveTest, WhatItWroteBeforeItsDeathCounts) {
  for (const Leaves how : {Leaves::kCloses, Leaves::kLies}) {
    for (const bool known : {false, true}) {
      Producer producer(8);
      Viewer viewer(producer, {.max_frames = 1});
      EXPECT_EQ(producer.Send(1), 1u);
      EXPECT_EQ(producer.Send(2), 0u);
      if (known) viewer.session->termination().SetPeerGone();
      Leave(viewer, how);
      viewer.Die();
      const std::vector<FanOutEnd> ended = producer.fan_out.TakeEnded();
      ASSERT_EQ(ended.size(), 1u);
      EXPECT_EQ(ended[0].why.code(), Why(how)) << ended[0].why;
      ExpectAccounted(ended[0].stats);
      EXPECT_TRUE(producer.fan_out.receivers().empty());
    }
  }
}

// Found by whoever looks after the channel, a doorbell for instance.
TEST(FanOutLeaveTest, AChannelThatBrokeTheProtocolElsewhere) {
  for (const bool of_send : {true, false}) {
    Producer producer(8);
    Viewer viewer(producer);
    viewer.session->termination().Poison(Violation::kDoorbellFlood);
    if (of_send) {
      EXPECT_EQ(producer.Send(), 0u);
      EXPECT_FALSE(producer.Has(viewer.id));
    }
    const std::vector<FanOutEnd> ended = producer.fan_out.TakeEnded();
    ASSERT_EQ(ended.size(), 1u);
    EXPECT_TRUE(absl::IsDataLoss(ended[0].why)) << ended[0].why;
    EXPECT_FALSE(producer.Has(viewer.id));
  }
}

TEST(FanOutLeaveTest, ADetachedReceiversStreamEndsInOrder) {
  Producer producer(4);
  Viewer viewer(producer);
  producer.Send(1);
  producer.fan_out.Detach(viewer.id);
  EXPECT_EQ(viewer.Next(), 1u);
  EXPECT_TRUE(absl::IsOutOfRange(viewer.receiver.Receive(Soon()).status()));
  Viewer closed(producer);
  producer.Send(2);
  producer.fan_out.Close();
  EXPECT_EQ(closed.Next(), 2u);
  EXPECT_TRUE(absl::IsOutOfRange(closed.receiver.Receive(Soon()).status()));
}

// Who stays after a close decides nothing: what is sent then is for those that came later.
TEST(FanOutLeaveTest, PromiseP9AbortIsOursNothingIsSentToAStreamThatWasClosed) {
  for (const bool waits : {false, true}) {
    Producer producer(4);
    const FanOutReceiverOptions options = waits ? Waiting(2) : FanOutReceiverOptions();
    Viewer stays(producer, options);
    producer.fan_out.Close();
    EXPECT_EQ(producer.fan_out.TrySendMessage(stays.id, 99, {}), Outcome::kClosed);
    EXPECT_EQ(producer.Send(1), 0u);
    Viewer later(producer, options);
    EXPECT_EQ(producer.Send(2), 1u);
    EXPECT_EQ(later.Next(), 2u);
    EXPECT_TRUE(absl::IsOutOfRange(stays.receiver.Receive(Soon()).status()));
  }
}

// ---- All ids out.

TEST(FanOutIdsTest, WhatWasReturnedIsUsedBeforeAnythingIsTakenBack) {
  Producer producer(1);
  Viewer viewer(producer, {.max_frames = kMaxFrames}, 65536);
  const OutFrame frame = producer.Acquire();
  const auto send = [&] {
    OutFrame shared = frame.Share();
    return producer.fan_out.Send(&shared, kSize, kTag);
  };
  std::vector<InFrame> held(kMaxFrames);
  for (InFrame& one : held) {
    EXPECT_EQ(send(), 1u);
    EXPECT_EQ(viewer.Next(&one), kTag);
  }
  held[5].Reset();
  EXPECT_EQ(send(), 1u);
  EXPECT_EQ(producer.Stats(viewer.id).revoked, 0u);
  EXPECT_EQ(producer.Stats(viewer.id).returned, 1u);
}

// One frame of our own that is sent on and on: nothing of it is free, and still there is an id for
// it. The receiver has each that is left as it should be.
TEST(FanOutIdsTest, TheOldestUseIsTakenBackForItsId) {
  Producer producer(2);
  Viewer viewer(producer, {.when_full = WhenFull::kDropOldest, .max_frames = kMaxFrames}, 65536);
  const OutFrame frame = producer.Acquire();
  for (uint32_t number = 1; number <= kMaxFrames + 3; ++number) {
    OutFrame shared = frame.Share();
    EXPECT_EQ(producer.fan_out.Send(&shared, kSize, number), 1u);
  }
  EXPECT_EQ(producer.Stats(viewer.id).revoked, 3u);
  EXPECT_EQ(producer.fan_out.lent_frames(), kMaxFrames);
  // What was taken back has been said by now, of those uses and of no others.
  const OutFrame other = producer.Acquire();
  for (uint32_t number = 4; number <= kMaxFrames + 3; ++number) {
    InFrame in;
    ASSERT_EQ(viewer.Next(&in), number);
    EXPECT_TRUE(in.StillValid());
  }
}

TEST(FanOutIdsTest, OneThatIsWaitedForAndHasThemAllIsLate) {
  Producer producer(2);
  Viewer viewer(producer, Waiting(kMaxFrames), 65536);
  const OutFrame frame = producer.Acquire();
  for (uint32_t number = 1; number <= kMaxFrames; ++number) {
    OutFrame shared = frame.Share();
    EXPECT_EQ(producer.fan_out.Send(&shared, kSize, number), 1u);
  }
  OutFrame shared = frame.Share();
  static_cast<void>(producer.fan_out.Send(&shared, kSize, 1000, {}, true, Past()));
  EXPECT_EQ(producer.Stats(viewer.id).revoked, 1u);
  // Or it returns one.
  Viewer& same = viewer;
  std::thread returns([&same] {
    absl::SleepFor(absl::Milliseconds(20));
    EXPECT_NE(same.Next(), 0u);
  });
  shared = frame.Share();
  static_cast<void>(producer.fan_out.Send(&shared, kSize, 1001));
  returns.join();
}

// ---- What is refused, and what aborts.

TEST(FanOutAttachTest, OptionsAtTheirLimits) {
  Producer producer(4);
  for (const FanOutReceiverOptions& options :
       {FanOutReceiverOptions{.max_frames = 1}, FanOutReceiverOptions{.max_frames = kMaxFrames},
        FanOutReceiverOptions{.max_wait = absl::ZeroDuration()}}) {
    auto pair = Connected(producer.broadcast);
    const auto attached = producer.fan_out.Attach(std::move(pair->accepting()), options);
    ASSERT_TRUE(attached.ok()) << attached.status();
    producer.fan_out.Detach(*attached);
  }
  const FanOutReceiverOptions options;
  EXPECT_EQ(options.max_frames, 4u);
  EXPECT_EQ(options.max_bytes, 0u);
  EXPECT_EQ(options.max_wait, absl::Seconds(1));
  EXPECT_EQ(FanOutEnd().id, 0u);
  EXPECT_EQ(FanOutStats().held, 0u);
}

TEST(FanOutAttachTest, MessagesHoldARecordExactlyOrNot) {
  Producer producer(4);
  for (const uint32_t max_message_bytes : {95u, 96u}) {
    auto pair = Connected(producer.broadcast, 4096, max_message_bytes);
    const auto attached = producer.fan_out.Attach(std::move(pair->accepting()));
    EXPECT_EQ(attached.ok(), max_message_bytes == 96) << attached.status();
    if (attached.ok()) producer.fan_out.Detach(*attached);
  }
}

TEST(FanOutAttachTest, AFrameAsLongAsTheArena) {
  Producer producer(2);
  const uint64_t bytes = producer.fan_out.arena().bytes;
  OutFrame frame;
  EXPECT_EQ(producer.fan_out.TryAcquire(bytes, &frame), Outcome::kOk);
  EXPECT_EQ(frame.bytes().size(), bytes);
  EXPECT_EQ(producer.fan_out.TryAcquire(bytes + 1, &frame), Outcome::kTooLong);
}

using FanOutDeathTest = ::testing::Test;

TEST(FanOutDeathTest, PromiseP9AbortIsOursOnlyTheCallersBugsAbort) {
  Producer producer(2);
  Producer other(2);
  OutFrame none;
  EXPECT_DEATH(static_cast<void>(producer.fan_out.Send(&none, 0, 1)), "none of this FrameFanOut");
  OutFrame frame = producer.Acquire();
  EXPECT_DEATH(static_cast<void>(other.fan_out.Send(&frame, 0, 1)), "none of this FrameFanOut");
  EXPECT_DEATH(static_cast<void>(producer.fan_out.Send(&frame, kSize + 1, 1)), "more bytes");
  EXPECT_DEATH(static_cast<void>(producer.fan_out.Send(&frame, 0, 1, std::vector<std::byte>(65))),
               "more metadata");
  EXPECT_DEATH(producer.fan_out.SetPreamble(kMaxTag + 1, {}), "a preamble with a tag");
  EXPECT_DEATH(
      producer.fan_out.SetPreamble(1, std::vector<std::byte>(FrameFanOut::kMaxPreambleBytes + 1)),
      "a preamble with a tag");
  EXPECT_DEATH(static_cast<void>(FrameFanOut::Create(
                   producer.broadcast, {.metadata_bytes = kMaxFrameMetadataBytes + 1})),
               "more than 256 bytes of metadata");
  EXPECT_DEATH(FramesSection({}), "an arena that can't be");
  EXPECT_DEATH(FramesSection({4095, 64}), "an arena that can't be");
  OutFrame kept = frame.Share();
  EXPECT_EQ(producer.fan_out.Send(&frame, kSize, 1, std::vector<std::byte>(64)), 0u);
  EXPECT_DEATH(static_cast<void>(kept.bytes()), "only read");
}

// ---- What keeps what alive.

TEST(FanOutLifeTest, TheBroadcastLivesAsLongAsTheLastThatNeedsIt) {
  auto broadcast = *Broadcast::Create({FramesSection(ArenaFor(2, kSize))});
  const std::weak_ptr<Broadcast> watched = broadcast;
  auto fan_out =
      std::make_unique<FrameFanOut>(*FrameFanOut::Create(std::exchange(broadcast, nullptr)));
  EXPECT_FALSE(watched.expired());
  OutFrame kept = *fan_out->Acquire(kSize, Soon());
  OutFrame other = *fan_out->Acquire(kSize, Soon());
  other.Reset();
  fan_out.reset();
  EXPECT_FALSE(watched.expired());
  kept.bytes()[kSize - 1] = std::byte{1};
  kept.Reset();
  EXPECT_TRUE(watched.expired());
}

// Its channels end with it, and not with a frame that is kept for longer.
TEST(FanOutLifeTest, TheChannelsEndWithIt) {
  auto broadcast = *Broadcast::Create({FramesSection(ArenaFor(2, kSize))});
  std::optional<FrameFanOut> fan_out = *FrameFanOut::Create(broadcast);
  auto pair = Connected(broadcast);
  ASSERT_TRUE(fan_out->Attach(std::move(pair->accepting())).ok());
  pair->accepting() = Channel();
  FrameReceiver receiver = *FrameReceiver::Create(pair->connecting());
  const OutFrame kept = *fan_out->Acquire(kSize, Soon());
  fan_out.reset();
  EXPECT_TRUE(absl::IsUnavailable(receiver.Receive(Soon()).status()));
}

TEST(FanOutLifeTest, OneThatIsAssignedToIsTheOtherFromThenOn) {
  Producer first(1);
  Producer second(2);
  first.fan_out = std::move(second.fan_out);
  EXPECT_EQ(first.fan_out.arena().bytes, ArenaFor(2, kSize).bytes);
}

}  // namespace
}  // namespace parley

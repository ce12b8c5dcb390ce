// SPDX-License-Identifier: Apache-2.0

// Both ends of an arena at their limits: handles of nothing, all ids out, returns of one frame
// alone, records that wait for room, and ends that go away.

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
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
#include "parley/boundary/wire_copy.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/frames/frame_receiver.h"
#include "parley/frames/frame_sender.h"
#include "parley/frames/frame_wire.h"
#include "parley/os/deadline.h"
#include "parley/ring/layout.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/arena_layout.h"
#include "parley/testing/channel_pair.h"
#include "parley/wait/waitable.h"

namespace parley {
namespace {

using testing::ChannelPair;
using testing::ChannelPairOptions;

constexpr std::size_t kSize = 4096;

Deadline Generous() { return Deadline::After(absl::Seconds(30)); }
Deadline Past() { return Deadline::AtMonotonicNs(0); }

// From the accepting side to the connecting one, with room for so many frames of kSize.
struct Ends {
  explicit Ends(uint64_t frames, const FrameSenderOptions& options = {},
                uint64_t capacity_bytes = 65536, uint32_t max_message_bytes = 1024) {
    ChannelPairOptions pair_options;
    pair_options.ring = {capacity_bytes, max_message_bytes, {frames * kSize, 64}};
    pair = *ChannelPair::Create(pair_options);
    auto made = FrameSender::Create(pair->accepting(), options);
    EXPECT_TRUE(made.ok()) << made.status();
    sender = std::make_unique<FrameSender>(*std::move(made));
    auto other = FrameReceiver::Create(pair->connecting());
    EXPECT_TRUE(other.ok()) << other.status();
    receiver = std::make_unique<FrameReceiver>(*std::move(other));
  }
  OutFrame Acquire(std::size_t size = kSize) const {
    OutFrame frame;
    EXPECT_EQ(sender->TryAcquire(size, &frame), Outcome::kOk);
    return frame;
  }
  void Send(uint32_t tag = 0) const {
    OutFrame frame = Acquire();
    EXPECT_EQ(sender->TrySend(&frame, kSize, tag), Outcome::kOk);
  }
  InFrame Receive() const {
    InFrame frame;
    EXPECT_EQ(receiver->TryReceive(&frame), Outcome::kOk);
    return frame;
  }
  std::unique_ptr<ChannelPair> pair;
  std::unique_ptr<FrameSender> sender;
  std::unique_ptr<FrameReceiver> receiver;
};

// ---- Handles.

TEST(FrameHandlesTest, OneThatIsNoneHasNothing) {
  OutFrame out;
  EXPECT_FALSE(out);
  EXPECT_TRUE(out.bytes().empty());
  EXPECT_TRUE(out.read_only_bytes().empty());
  EXPECT_FALSE(out.Share());
  out.Reset();
  InFrame in;
  EXPECT_FALSE(in);
  EXPECT_FALSE(in.StillValid());
  EXPECT_EQ(in.size_bytes(), 0u);
  EXPECT_TRUE(in.metadata().empty());
  EXPECT_EQ(in.tag(), 0u);
  EXPECT_EQ(in.dropped_before(), 0u);
  in.Reset();
}

TEST(FrameHandlesTest, OneThatWasSentOrGivenBackHasNothing) {
  Ends ends(2);
  OutFrame out = ends.Acquire();
  out.Reset();
  EXPECT_TRUE(out.bytes().empty());
  EXPECT_TRUE(out.read_only_bytes().empty());
  EXPECT_EQ(ends.sender->free_bytes(), 2 * kSize);
  out = ends.Acquire();
  ASSERT_EQ(ends.sender->TrySend(&out, 10, 7, WireBytes(uint64_t{1})), Outcome::kOk);
  EXPECT_TRUE(out.bytes().empty());
  EXPECT_TRUE(out.read_only_bytes().empty());
  InFrame in = ends.Receive();
  EXPECT_EQ(in.size_bytes(), 10u);
  EXPECT_EQ(in.metadata().size(), 8u);
  in.Reset();
  EXPECT_EQ(in.size_bytes(), 0u);
  EXPECT_TRUE(in.metadata().empty());
  EXPECT_FALSE(in.StillValid());
}

// Each shares its own: here the second one of two.
TEST(FrameHandlesTest, ASharedOneIsTheSameFrame) {
  Ends ends(3);
  const OutFrame first = ends.Acquire();
  OutFrame second = ends.Acquire();
  second.bytes()[0] = std::byte{2};
  OutFrame shared = second.Share();
  EXPECT_EQ(shared.bytes().data(), second.bytes().data());
  EXPECT_EQ(shared.bytes().size(), kSize);
  ASSERT_EQ(ends.sender->TrySend(&second, kSize, 7), Outcome::kOk);
  EXPECT_EQ(shared.read_only_bytes()[0], std::byte{2});
  EXPECT_EQ(first.bytes().size(), kSize);  // which was not sent
  ends.Receive().Reset();
  EXPECT_EQ(ends.sender->free_bytes(), kSize);
  shared.Reset();
  OutFrame again = ends.Acquire();
  EXPECT_EQ(ends.sender->free_bytes(), kSize);
  EXPECT_NE(again.bytes().data(), first.bytes().data());
}

TEST(FrameHandlesTest, AMovedOneIsAllOfIt) {
  Ends ends(3, {.when_full = WhenFull::kDropNewest});
  for (uint32_t tag = 1; tag <= 3; ++tag) ends.Send(tag);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(absl::IsResourceExhausted(ends.sender->Acquire(kSize, Generous()).status()));
  }
  InFrame frame = ends.Receive();
  frame = ends.Receive();  // the first one goes back
  InFrame& same = frame;
  frame = std::move(same);
  EXPECT_EQ(frame.tag(), 2u);
  EXPECT_TRUE(frame.StillValid());
  ends.Receive().Reset();
  OutFrame next = ends.Acquire();
  ASSERT_EQ(ends.sender->TrySend(&next, kSize, 4, WireBytes(uint64_t{9})), Outcome::kOk);
  InFrame fourth = ends.Receive();
  InFrame moved = std::move(fourth);
  EXPECT_EQ(moved.tag(), 4u);
  EXPECT_EQ(moved.dropped_before(), 2u);
  EXPECT_EQ(moved.size_bytes(), kSize);
  uint64_t metadata = 0;
  ASSERT_TRUE(ReadWire(moved.metadata(), &metadata));
  EXPECT_EQ(metadata, 9u);
  EXPECT_TRUE(moved.StillValid());
  EXPECT_EQ(fourth.size_bytes(), 0u);  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(fourth.metadata().empty());
  // The count is of what was left out since the last one.
  moved.Reset();
  ends.Send(5);
  EXPECT_EQ(ends.Receive().dropped_before(), 0u);
}

// An end that is assigned to is the other one from then on.
TEST(FrameHandlesTest, EndsCanBeAssigned) {
  Ends first(1);
  Ends second(2);
  *first.sender = std::move(*second.sender);
  *first.receiver = std::move(*second.receiver);
  EXPECT_EQ(first.sender->arena().bytes, 2 * kSize);
  EXPECT_EQ(first.receiver->arena().bytes, 2 * kSize);
  first.Send(3);
  EXPECT_EQ(first.Receive().tag(), 3u);
  // Before the channels that they stand on.
  for (Ends* ends : {&first, &second}) {
    ends->sender.reset();
    ends->receiver.reset();
  }
}

TEST(FrameHandlesTest, StatisticsBeginAtNothing) {
  const Ends ends(1);
  const FrameSenderStats sent = ends.sender->stats();
  EXPECT_EQ(sent.sent + sent.returned + sent.revoked, 0u);
  EXPECT_EQ(sent.dropped_newest + sent.dropped_oldest + sent.dropped_timeout, 0u);
  const FrameReceiverStats received = ends.receiver->stats();
  EXPECT_EQ(received.received + received.taken_back + received.missed, 0u);
  EXPECT_EQ(received.dropped_by_sender + received.skipped, 0u);
  const FrameReceiverStats unset;
  EXPECT_EQ(unset.taken_back + unset.missed, 0u);
}

// ---- Metadata.

TEST(FrameMetadataTest, OfEachLengthArriveAsTheyWere) {
  Ends ends(1, {.metadata_bytes = kMaxFrameMetadataBytes});
  for (const std::size_t size : {0u, 1u, 2u, 8u, 63u, 64u, 65u, 255u, 256u}) {
    std::vector<std::byte> metadata;
    for (std::size_t i = 0; i < size; ++i) metadata.push_back(static_cast<std::byte>(i + 1));
    OutFrame frame = ends.Acquire();
    ASSERT_EQ(ends.sender->TrySend(&frame, kSize, 1, metadata), Outcome::kOk) << size;
    const InFrame in = ends.Receive();
    EXPECT_EQ(std::vector<std::byte>(in.metadata().begin(), in.metadata().end()), metadata);
  }
}

TEST(FrameMetadataTest, AMessageHoldsARecordExactlyOrNot) {
  for (const uint32_t max_message_bytes : {95u, 96u}) {
    ChannelPairOptions options;
    options.ring = {4096, max_message_bytes, {kSize, 64}};
    auto pair = *ChannelPair::Create(options);
    EXPECT_EQ(FrameSender::Create(pair->accepting()).ok(), max_message_bytes == 96);
  }
}

using FramesEdgesDeathTest = ::testing::Test;

TEST(FramesEdgesDeathTest, PromiseP9AbortIsOursMoreMetadataThanARecordMayHave) {
  auto pair = *ChannelPair::Create();
  EXPECT_DEATH(static_cast<void>(FrameSender::Create(
                   pair->accepting(), {.metadata_bytes = kMaxFrameMetadataBytes + 1})),
               "more than 256 bytes of metadata");
}

TEST(FramesEdgesTest, AChannelWithoutADirectionHasNoEndOfFrames) {
  EXPECT_TRUE(absl::IsFailedPrecondition(FrameReceiver::Create(Channel()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(FrameSender::Create(Channel()).status()));
}

// ---- Returns.

// One alone is seen at the next frame: the first there ever was, too.
TEST(FrameReturnsTest, EachIsSeenAtTheNextFrame) {
  Ends ends(3);
  for (uint64_t round = 1; round <= 5; ++round) {
    ends.Send();
    EXPECT_EQ(ends.sender->lent_frames(), 1u);
    ends.Receive().Reset();
    // Where enough of that length is free nobody looks, so what is asked for is of another one.
    const OutFrame other = ends.Acquire(kSize - 64 * round);
    EXPECT_EQ(ends.sender->lent_frames(), 0u);
    EXPECT_EQ(ends.sender->stats().returned, round);
  }
}

// The oldest is kept, so the others come back out of turn. Nothing is lost for it.
TEST(FrameReturnsTest, OutOfTurnNothingIsLost) {
  Ends ends(5);
  for (int round = 0; round < 20; ++round) {
    for (uint32_t tag = 0; tag < 4; ++tag) ends.Send(tag);
    const InFrame oldest = ends.Receive();
    for (int i = 0; i < 3; ++i) ends.Receive().Reset();
    const OutFrame fifth = ends.Acquire();
    const OutFrame sixth = ends.Acquire();
    EXPECT_EQ(ends.sender->lent_frames(), 1u);
  }
  const OutFrame whole = ends.Acquire(5 * kSize);
  EXPECT_EQ(whole.bytes().size(), 5 * kSize);
}

TEST(FrameReturnsTest, WhatIsOnItsWayBackNeedsNoForce) {
  for (const bool oldest : {true, false}) {
    Ends ends(2);
    ends.Send(1);
    ends.Send(2);
    InFrame first = ends.Receive();
    InFrame second = ends.Receive();
    (oldest ? first : second).Reset();
    EXPECT_TRUE(ends.sender->RevokeOldest());
    EXPECT_EQ(ends.sender->stats().returned, 1u);
    EXPECT_EQ(ends.sender->stats().revoked, 1u);
    EXPECT_EQ(ends.sender->lent_frames(), 0u);
    EXPECT_FALSE((oldest ? second : first).StillValid());
    EXPECT_FALSE(ends.sender->RevokeOldest());
  }
}

// ---- All ids out.

// One frame, sent as often as there are ids.
struct AllIdsOut {
  AllIdsOut() : ends(1), frame(ends.Acquire()) {
    for (uint32_t i = 0; i < kMaxFrames; ++i) {
      OutFrame shared = frame.Share();
      EXPECT_EQ(ends.sender->TrySend(&shared, kSize, i), Outcome::kOk);
      held.push_back(ends.Receive());
    }
  }
  Outcome TrySend() {
    OutFrame shared = frame.Share();
    return ends.sender->TrySend(&shared, kSize, 1000);
  }
  absl::Status Send(Deadline deadline) {
    OutFrame shared = frame.Share();
    return ends.sender->Send(&shared, kSize, 1000, {}, deadline);
  }
  Ends ends;
  OutFrame frame;
  std::vector<InFrame> held;
};

TEST(FrameIdsTest, AFrameThatIsSentOnceMoreFindsNoneUntilOneComesBack) {
  for (const std::size_t returned : {std::size_t{0}, std::size_t{5}, std::size_t{kMaxFrames - 1}}) {
    AllIdsOut all;
    EXPECT_EQ(all.TrySend(), Outcome::kWouldBlock);
    EXPECT_TRUE(absl::IsDeadlineExceeded(all.Send(Past())));
    all.held[returned].Reset();
    EXPECT_EQ(all.TrySend(), Outcome::kOk) << returned;
    EXPECT_EQ(all.TrySend(), Outcome::kWouldBlock);
    EXPECT_EQ(all.ends.Receive().tag(), 1000u);
  }
}

TEST(FrameIdsTest, PromiseP2TimeSendWaitsForAReturnOrTheEnd) {
  for (const bool returns : {true, false}) {
    AllIdsOut all;
    std::thread peer([&] {
      absl::SleepFor(absl::Milliseconds(20));
      if (returns) {
        all.held[7].Reset();
      } else {
        all.ends.receiver->Close();
      }
    });
    const absl::Status sent = all.Send(Generous());
    peer.join();
    EXPECT_EQ(sent.code(), returns ? absl::StatusCode::kOk : absl::StatusCode::kOutOfRange) << sent;
    EXPECT_EQ(all.TrySend(), returns ? Outcome::kWouldBlock : Outcome::kClosed);
  }
}

// A last look at it finds a lie: a violation, and not in the end a deadline.
TEST(FrameIdsTest, ALieWhileSendWaitsForAReturnIsAViolation) {
  AllIdsOut all;
  Channel& peer = all.ends.pair->connecting();
  std::thread lies([&] {
    absl::SleepFor(absl::Milliseconds(20));
    HostileAccess::Control(peer.receiver).StoreRelease64(kConsumerStateOffset, 7);
    HostileAccess::DoorbellOf(peer.receiver).Signal();
  });
  const absl::Status sent = all.Send(Deadline::After(absl::Seconds(5)));
  lies.join();
  EXPECT_TRUE(absl::IsDataLoss(sent)) << sent;
  EXPECT_EQ(all.ends.sender->violation(), Violation::kConsumerStateInvalid);
}

// ---- Waits, and sizes as long as the arena.

TEST(FrameWaitTest, WhatIsAsLongAsTheArenaIsWaitedForAndNothingLonger) {
  Ends ends(2);
  EXPECT_EQ(ends.Acquire(2 * kSize).bytes().size(), 2 * kSize);
  ends.Send();
  OutFrame frame;
  EXPECT_EQ(ends.sender->TryAcquire(2 * kSize, &frame), Outcome::kWouldBlock);
  EXPECT_EQ(ends.sender->TryAcquire(2 * kSize + 1, &frame), Outcome::kTooLong);
  // A wait for it is one; for what never comes, and once nothing comes back, it is over at once.
  EXPECT_TRUE(ends.sender->PrepareToWait(2 * kSize));
  EXPECT_TRUE(ends.sender->FinishWait(2 * kSize).ok());
  EXPECT_FALSE(ends.sender->PrepareToWait(2 * kSize + 1));
  ends.receiver->Close();
  EXPECT_FALSE(ends.sender->PrepareToWait(2 * kSize));
  EXPECT_EQ(ends.sender->TryAcquire(2 * kSize, &frame), Outcome::kClosed);
}

TEST(FrameWaitTest, SendSaysThatThePeerTakesNoMore) {
  Ends ends(1, {}, 4096, 256);
  OutFrame frame = ends.Acquire();
  ends.receiver->Close();
  // When the ring is full it is looked at.
  Outcome outcome = Outcome::kOk;
  for (int i = 0; i < 2048 && outcome == Outcome::kOk; ++i) {
    OutFrame shared = frame.Share();
    outcome = ends.sender->TrySend(&shared, kSize, 1);
  }
  EXPECT_EQ(outcome, Outcome::kClosed);
  EXPECT_TRUE(absl::IsOutOfRange(ends.sender->Send(&frame, kSize, 1, {}, Generous())));
  EXPECT_TRUE(frame);  // as before
}

// A sender waits for room for a record; the frames that the receiver finds are none any more, so
// that no return wakes it, but that the records were taken.
TEST(FrameWaitTest, RecordsThatWereTakenMakeRoomAlsoWhereNothingIsReturned) {
  enum class How { kReceive, kTryReceive, kLatest, kOpenEvents };
  for (const How how : {How::kReceive, How::kTryReceive, How::kLatest, How::kOpenEvents}) {
    Ends ends(128, {}, 4096, 256);
    uint32_t sent = 0;
    for (;; ++sent) {
      OutFrame frame = ends.Acquire(64);
      if (ends.sender->TrySend(&frame, 64, sent) != Outcome::kOk) break;
    }
    if (how != How::kOpenEvents) {
      while (ends.sender->RevokeOldest()) {
      }
    }
    std::thread waits([&] {
      OutFrame frame = ends.Acquire(64);
      const absl::Status status = ends.sender->Send(&frame, 64, 1000, {}, Generous());
      EXPECT_TRUE(status.ok()) << status;
    });
    absl::SleepFor(absl::Milliseconds(20));
    InFrame frame;
    std::vector<InFrame> held;
    switch (how) {
      case How::kReceive: {
        auto received = ends.receiver->Receive(Generous());
        ASSERT_TRUE(received.ok()) << received.status();
        frame = *std::move(received);
        break;
      }
      case How::kTryReceive:
        EXPECT_EQ(ends.receiver->TryReceive(&frame), Outcome::kWouldBlock);
        break;
      case How::kLatest:
        EXPECT_EQ(ends.receiver->TryReceiveLatest(&frame), Outcome::kWouldBlock);
        break;
      case How::kOpenEvents:
        // Takes each, and looks no further before it waits.
        for (uint32_t i = 0; i < sent; ++i) held.push_back(ends.Receive());
        static_cast<void>(ends.receiver->PrepareToWait());
        break;
    }
    waits.join();
  }
}

TEST(FrameWaitTest, WhatIsNotThereIsNoFrame) {
  Ends ends(2);
  ends.Send(1);
  InFrame frame = ends.Receive();
  EXPECT_EQ(ends.receiver->TryReceive(&frame), Outcome::kWouldBlock);
  EXPECT_FALSE(frame);
  ends.Send(2);
  frame = ends.Receive();
  EXPECT_EQ(ends.receiver->TryReceiveLatest(&frame), Outcome::kWouldBlock);
  EXPECT_FALSE(frame);
  const OutFrame whole = ends.Acquire(2 * kSize);  // so both came back
  EXPECT_EQ(whole.bytes().size(), 2 * kSize);
}

// The first of two is a frame, the second is none.
TEST(FrameWaitTest, AttackR12TheLatestOfAPeerThatLiesIsNone) {
  ChannelPairOptions options;
  options.ring = {65536, 1024, {kSize, 64}};
  auto pair = *ChannelPair::Create(options);
  FrameReceiver receiver = *FrameReceiver::Create(pair->accepting());
  Sender& attacker = pair->connecting().sender;
  attacker.arena_memory().StoreRelease64(FrameLineOffset(0), 1);
  ASSERT_EQ(attacker.TrySend(1, WireBytes(FrameSentWire{0, 0, 1, 0, 64})), Outcome::kOk);
  ASSERT_EQ(attacker.TrySend(1, WireBytes(FrameSentWire{0, 0, 1, 0, 64})), Outcome::kOk);
  InFrame frame;
  EXPECT_EQ(receiver.TryReceiveLatest(&frame), Outcome::kPoisoned);
  EXPECT_FALSE(frame);
}

TEST(FrameWaitTest, OneThatIsOpenedIntoAnotherGivesThatBack) {
  Ends ends(2);
  std::array<std::byte, 1024> buffer;
  InFrame frame;
  for (uint32_t tag = 0; tag < 10; ++tag) {
    ends.Send(tag);
    Record record;
    ASSERT_EQ(ends.pair->connecting().receiver.TryReceive(absl::MakeSpan(buffer), &record),
              Outcome::kOk);
    ASSERT_EQ(ends.receiver->Open(record.tag, absl::MakeConstSpan(buffer).first(record.size_bytes),
                                  &frame),
              Outcome::kOk);
    EXPECT_EQ(frame.tag(), tag);
  }
  EXPECT_FALSE(ends.sender->stats().returned == 0);
}

// ---- Ends that go away.

// Of a peer that hangs up and lives on: it can return frames after its end was told.
void HangUp(const Ends& ends) {
  ASSERT_EQ(::shutdown(HostileAccess::ConnectionOf(ends.pair->connecting().sender), SHUT_RDWR), 0);
}
void ExpectGone(const Ends& ends, OutFrame* frame) {
  FrameSender& sender = *ends.sender;
  OutFrame none;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(sender.TryAcquire(kSize, &none), Outcome::kClosed);
    EXPECT_EQ(sender.TryAcquire(1000 * kSize, &none), Outcome::kTooLong);
    EXPECT_TRUE(absl::IsUnavailable(sender.Acquire(kSize, Generous()).status()));
    EXPECT_EQ(sender.TrySend(frame, 1, 1), Outcome::kClosed);
    EXPECT_TRUE(absl::IsUnavailable(sender.Send(frame, 1, 1, {}, Generous())));
    EXPECT_FALSE(sender.PrepareToWait(kSize));
    EXPECT_TRUE(absl::IsUnavailable(sender.FinishWait(kSize)));
    Waitable* const port = sender.waitable(kSize);
    absl::Status status;
    EXPECT_EQ(port->Arm(), Waitable::Armed::kWoken);
    EXPECT_TRUE(port->TakeWakeUps({}, &status));
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  }
}

TEST(FrameEndsTest, ASenderThatWasToldOfADeathGetsNoFrame) {
  enum class How { kFinishWait, kAcquire, kTryAcquire };
  for (const WhenFull when_full : {WhenFull::kWait, WhenFull::kDropNewest, WhenFull::kDropOldest}) {
    for (const How how : {How::kFinishWait, How::kAcquire, How::kTryAcquire}) {
      if (how == How::kAcquire && when_full != WhenFull::kWait) continue;
      SCOPED_TRACE(static_cast<int>(when_full) * 10 + static_cast<int>(how));
      const Ends ends(3, {.when_full = when_full});
      ends.Send(1);
      ends.Send(2);
      OutFrame frame = ends.Acquire();
      HangUp(ends);
      absl::Status told;
      Outcome outcome = Outcome::kWouldBlock;
      for (const Deadline give_up = Generous(); told.ok() && !give_up.Expired();) {
        OutFrame none;
        if (how == How::kFinishWait) told = ends.sender->FinishWait(kSize);
        if (how == How::kAcquire) told = ends.sender->Acquire(kSize, Generous()).status();
        if (how == How::kTryAcquire) outcome = ends.sender->TryAcquire(kSize, &none);
        if (outcome == Outcome::kClosed) told = absl::UnavailableError("closed");
      }
      EXPECT_TRUE(absl::IsUnavailable(told)) << told;
      ExpectGone(ends, &frame);
      // Whatever it returns now.
      ends.Receive().Reset();
      ends.Receive().Reset();
      ExpectGone(ends, &frame);
      const FrameSenderStats stats = ends.sender->stats();
      EXPECT_EQ(stats.returned + stats.revoked + stats.dropped_newest + stats.dropped_oldest, 0u);
      // By force, and nobody's but the caller's.
      EXPECT_TRUE(ends.sender->RevokeOldest());
      EXPECT_EQ(ends.sender->free_bytes(), kSize);
      EXPECT_EQ(ends.Acquire().bytes().size(), kSize);
    }
  }
}

// By Send, with all ids out.
TEST(FrameEndsTest, ASenderThatWasToldOfADeathBySendGetsNoFrame) {
  AllIdsOut all;
  HangUp(all.ends);
  EXPECT_TRUE(absl::IsUnavailable(all.Send(Generous())));
  for (const bool returns : {false, true}) {
    if (returns) all.held[5].Reset();
    EXPECT_EQ(all.TrySend(), Outcome::kClosed);
    ExpectGone(all.ends, &all.frame);
  }
}

TEST(FrameEndsTest, AChannelEndsWithTheLastThatStandsOnIt) {
  for (const bool of_sender : {true, false}) {
    Ends ends(2);
    ends.Send(1);
    InFrame in = ends.Receive();
    OutFrame out = ends.Acquire();
    const auto sees_end = [&] {
      return of_sender ? absl::IsUnavailable(ends.receiver->Receive(Past()).status())
                       : ends.sender->Acquire(2 * kSize, Past()).status().code() ==
                             absl::StatusCode::kUnavailable;
    };
    if (of_sender) {
      ends.pair->accepting() = Channel();
      ends.sender.reset();
    } else {
      ends.pair->connecting() = Channel();
      ends.receiver.reset();
    }
    EXPECT_FALSE(sees_end());
    // A frame was the last.
    if (of_sender) {
      out.Reset();
    } else {
      in.Reset();
    }
    const Deadline deadline = Generous();
    while (!sees_end() && !deadline.Expired()) absl::SleepFor(absl::Milliseconds(1));
    EXPECT_TRUE(sees_end());
  }
}

}  // namespace
}  // namespace parley

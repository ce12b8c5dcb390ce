// SPDX-License-Identifier: Apache-2.0

// Both ends of a ring at their edges: each length, each way to send and to take, each reason to say
// no; and when the peer is looked at, which a peer with impossible words shows.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/copy.h"
#include "parley/boundary/violation.h"
#include "parley/ring/consumer.h"
#include "parley/ring/layout.h"
#include "parley/ring/producer.h"
#include "parley/ring/receive_position.h"
#include "parley/ring/ring_types.h"
#include "parley/ring/typed_ring.h"
#include "parley/testing/heap_memory.h"

namespace parley {
namespace {

using testing::HeapOwnMemory;
using testing::HeapPeerMemory;
using testing::HeapRegion;
using TestProducer = BasicProducer<HeapOwnMemory, HeapPeerMemory>;
using TestConsumer = BasicConsumer<HeapOwnMemory, HeapPeerMemory>;

constexpr uint64_t kCapacity = 4096;
constexpr uint32_t kMaxMessage = 1024;
constexpr uint64_t kRubbish = 0xdead'beef'dead'beef;
constexpr std::size_t kShort = internal::kMaxSmallCopyBytes;

std::vector<std::byte> Payload(std::size_t size_bytes, unsigned first = 1) {
  std::vector<std::byte> payload(size_bytes);
  for (std::size_t i = 0; i < size_bytes; ++i) {
    payload[i] = static_cast<std::byte>((first + i) % 255 + 1);
  }
  return payload;
}

struct EndsTest : ::testing::Test {
  HeapRegion sender{kCapacity};
  HeapRegion receiver{kCapacity};
  RingGeometry geometry{kCapacity, kMaxMessage};
  TestProducer producer{sender.own_control(), sender.own_data(), receiver.peer_control(), geometry};
  TestConsumer consumer{receiver.own_control(), sender.peer_control(), sender.peer_data(),
                        geometry};
  std::vector<std::byte> buffer = std::vector<std::byte>(kMaxMessage);
  Record record;

  // Whoever looks at the producer's peer finds words that no consumer writes.
  void SpoilTheConsumersWords() {
    receiver.SetControl(kConsumerStateOffset, kRubbish);
    receiver.SetControl(kHeadOffset, kRubbish);
  }
  void SpoilTheProducersWords() {
    sender.SetControl(kProducerStateOffset, kRubbish);
    sender.SetControl(kTailOffset, kRubbish);
  }
  Outcome Take() { return consumer.TryReceive(absl::MakeSpan(buffer), &record); }
  // 512 bytes each: eight of them fill the ring.
  void Fill() {
    const auto payload = Payload(504);
    for (int i = 0; i < 8; ++i) ASSERT_EQ(producer.TrySend(1, payload), Outcome::kOk);
  }
  void TakeAll() {
    while (Take() == Outcome::kOk) {
    }
  }
};

// --- lengths ------------------------------------------------------------------------------------

// Each way to send, each length, into memory that is full of something else: the record, its zeros,
// and not a byte more.
TEST_F(EndsTest, EachWayToSendWritesTheRecordAndItsPadding) {
  enum Way { kSend, kStage, kSendShort, kStageShort, kCommit, kStageReserved, kReserveKnown };
  for (const Way way :
       {kSend, kStage, kSendShort, kStageShort, kCommit, kStageReserved, kReserveKnown}) {
    for (std::size_t size = 0; size <= 80; ++size) {
      SCOPED_TRACE(::testing::Message() << way << " " << size);
      if ((way == kSendShort || way == kStageShort) && size > kShort) continue;
      HeapRegion from{kCapacity};
      HeapRegion to{kCapacity};
      for (std::size_t i = 0; i < kCapacity; i += 8) from.SetData(i, ~uint64_t{0});
      TestProducer out(from.own_control(), from.own_data(), to.peer_control(), geometry);
      TestConsumer in(to.own_control(), from.peer_control(), from.peer_data(), geometry);
      // Not at the beginning: a record of 16 bytes lies before it.
      ASSERT_EQ(out.TrySend(9, Payload(8)), Outcome::kOk);
      const auto payload = Payload(size);
      const uint64_t end = 16 + 8 + (size + 7) / 8 * 8;
      absl::Span<std::byte> room;
      bool published = true;
      switch (way) {
        case kSend:
          ASSERT_EQ(out.TrySend(5, payload), Outcome::kOk);
          break;
        case kStage:
          ASSERT_EQ(out.TryStage(5, payload), Outcome::kOk);
          published = false;
          break;
        case kSendShort:
          ASSERT_TRUE(out.TrySendShort(5, payload));
          break;
        case kStageShort:
          ASSERT_TRUE(out.StageShort(5, payload));
          published = false;
          break;
        case kCommit:
        case kStageReserved:
        case kReserveKnown:
          if (way == kReserveKnown) {
            ASSERT_TRUE(out.ReserveKnown(size + 3, &room));
          } else {
            ASSERT_EQ(out.TryReserve(size + 3, &room), Outcome::kOk);
          }
          ASSERT_EQ(room.size(), size + 3);
          std::copy(payload.begin(), payload.end(), room.begin());
          published = way != kStageReserved;
          if (published) {
            out.Commit(5, size);
          } else {
            out.Stage(5, size);
          }
          break;
      }
      EXPECT_EQ(out.staged_bytes(), end);
      EXPECT_EQ(out.published_bytes(), published ? end : 16);
      EXPECT_EQ(out.Publish(), !published);
      EXPECT_FALSE(out.Publish());
      EXPECT_EQ(out.published_bytes(), end);
      std::vector<std::byte> seen(end + 8);
      from.peer_data().CopyOut(0, absl::MakeSpan(seen));
      const std::array<std::byte, 8> header = {
          static_cast<std::byte>(size), {}, {}, {}, std::byte{5}};
      EXPECT_TRUE(std::equal(header.begin(), header.end(), seen.begin() + 16));
      EXPECT_TRUE(std::equal(payload.begin(), payload.end(), seen.begin() + 24));
      for (std::size_t i = 24 + size; i < end; ++i) EXPECT_EQ(seen[i], std::byte{0}) << i;
      for (std::size_t i = end; i < seen.size(); ++i) EXPECT_EQ(seen[i], std::byte{0xff}) << i;
      // And it arrives.
      ASSERT_EQ(in.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kOk);
      ASSERT_EQ(in.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kOk);
      EXPECT_EQ(record.tag, 5u);
      EXPECT_EQ(record.size_bytes, size);
      EXPECT_TRUE(std::equal(payload.begin(), payload.end(), buffer.begin()));
      EXPECT_EQ(in.taken_records(), 2u);
      EXPECT_EQ(in.taken_bytes(), end);
    }
  }
}

// Dirty padding of each length, each byte of it.
TEST_F(EndsTest, EachByteOfThePaddingIsLookedAt) {
  for (std::size_t size = 1; size <= 17; ++size) {
    for (std::size_t dirty = size; dirty < (size + 7) / 8 * 8; ++dirty) {
      for (const bool peek : {false, true}) {
        HeapRegion from{kCapacity};
        HeapRegion to{kCapacity};
        TestProducer out(from.own_control(), from.own_data(), to.peer_control(), geometry);
        TestConsumer in(to.own_control(), from.peer_control(), from.peer_data(), geometry);
        ASSERT_EQ(out.TrySend(1, Payload(size)), Outcome::kOk);
        const std::byte one{1};
        from.own_data().CopyIn(8 + dirty, absl::MakeConstSpan(&one, 1));
        TestConsumer::View view;
        EXPECT_EQ(
            peek ? in.TryPeek(&record, &view) : in.TryReceive(absl::MakeSpan(buffer), &record),
            Outcome::kPoisoned);
        EXPECT_EQ(in.violation(), Violation::kRecordPaddingNotZero) << size << " " << dirty;
      }
    }
  }
}

TEST_F(EndsTest, TheLongestAndOneMore) {
  absl::Span<std::byte> room;
  for (const std::size_t size : {kMaxMessage - 1, kMaxMessage, kMaxMessage + 1}) {
    const bool fits = size <= kMaxMessage;
    const Outcome expected = fits ? Outcome::kOk : Outcome::kTooLong;
    const auto payload = Payload(size);
    EXPECT_EQ(producer.TrySend(1, payload), expected);
    TakeAll();
    EXPECT_EQ(producer.TryReserve(size, &room), expected);
    if (fits) producer.Commit(1, size);
    TakeAll();
    EXPECT_EQ(producer.TryStage(1, payload), expected);
    producer.Publish();
    TakeAll();
    EXPECT_TRUE(producer.Drained());
  }
}

// Without a look at the peer: what fits what is known, to the byte.
TEST_F(EndsTest, WhatIsKnownToBeFreeIsUsedToTheByte) {
  for (const std::size_t size : {0u, 1u, 7u, 8u, 9u, 500u, 504u, 505u, 1000u, 1024u, 1025u}) {
    for (uint64_t left = 0; left <= 1040; left += 8) {
      HeapRegion from{kCapacity};
      HeapRegion to{kCapacity};
      TestProducer out(from.own_control(), from.own_data(), to.peer_control(), geometry);
      uint64_t used = kCapacity - left;
      while (used != 0) {
        const uint64_t next = std::min<uint64_t>(used, used < 1040 ? used : 512);
        ASSERT_EQ(out.TrySend(1, Payload(next - 8)), Outcome::kOk);
        used -= next;
      }
      to.SetControl(kConsumerStateOffset, kRubbish);
      const bool fits = size <= kMaxMessage && 8 + (size + 7) / 8 * 8 <= left;
      absl::Span<std::byte> room;
      EXPECT_EQ(out.ReserveKnown(size, &room), fits) << size << " " << left;
      EXPECT_EQ(room.size(), fits ? size : 0);
      if (fits) out.Commit(1, size);
      EXPECT_EQ(out.violation(), Violation::kNone);
    }
  }
}

// The ways that do no more than they need: each condition alone sends a caller the long way round.
TEST_F(EndsTest, TheShortWaysSayNoWhereMoreIsNeeded) {
  for (const bool stage : {false, true}) {
    const auto try_short = [&](uint32_t tag, std::size_t size) {
      const auto payload = Payload(size);
      return stage ? producer.StageShort(tag, payload) : producer.TrySendShort(tag, payload);
    };
    EXPECT_TRUE(try_short(0, kShort));
    EXPECT_TRUE(try_short(kMaxTag, 0));
    EXPECT_FALSE(try_short(0, kShort + 1));
    EXPECT_FALSE(try_short(kMaxTag + 1, 0));
    EXPECT_FALSE(try_short(kMaxTag + 1, kShort + 1));
    absl::Span<std::byte> room;
    for (const std::size_t reserved : {0u, 1u, 8u}) {
      ASSERT_EQ(producer.TryReserve(reserved, &room), Outcome::kOk);
      EXPECT_FALSE(try_short(0, 0));
      producer.Commit(1, reserved);
    }
    producer.Publish();
    TakeAll();
    EXPECT_TRUE(producer.Drained());
    Fill();
    EXPECT_FALSE(try_short(0, 0));
    TakeAll();
    EXPECT_FALSE(try_short(0, 0));  // which it would know by a look
    EXPECT_TRUE(producer.HasFreeSpace(0));
    EXPECT_TRUE(producer.Drained());
    EXPECT_TRUE(try_short(0, 0));
    producer.Publish();
    TakeAll();
  }
  // A shorter agreement than what is short.
  if (kShort < 9) return;
  TestProducer narrow(sender.own_control(), sender.own_data(), receiver.peer_control(),
                      RingGeometry{kCapacity, 8});
  EXPECT_TRUE(narrow.TrySendShort(1, Payload(8)));
  EXPECT_FALSE(narrow.TrySendShort(1, Payload(9)));
}

// --- taking in parts ----------------------------------------------------------------------------

TEST_F(EndsTest, ARecordsWordSaysHowItIsToBeCopied) {
  EXPECT_TRUE(consumer.FitsAny(kMaxMessage));
  EXPECT_TRUE(consumer.FitsAny(kMaxMessage + 1));
  EXPECT_FALSE(consumer.FitsAny(kMaxMessage - 1));
  for (uint64_t size = 0; size <= 200; ++size) {
    for (const uint64_t tag : {uint64_t{0}, uint64_t{kMaxTag}}) {
      const uint64_t word = tag << 32 | size;
      EXPECT_EQ(TestConsumer::SizeOf(word), size);
      EXPECT_EQ(TestConsumer::HasPadding(word), size % 8 != 0);
      EXPECT_EQ(TestConsumer::IsShortAndWhole(word), size % 8 == 0 && size <= kShort) << size;
    }
  }
}

TEST_F(EndsTest, ARecordIsTakenInParts) {
  uint64_t behind = 0;
  EXPECT_FALSE(consumer.HasKnownRecord(&behind));
  for (const std::size_t size : {0u, 3u, 8u, 61u, 64u, 1000u}) {
    const auto payload = Payload(size);
    ASSERT_EQ(producer.TrySend(4, payload), Outcome::kOk);
    EXPECT_FALSE(consumer.HasKnownRecord(&behind));  // not known before a look
    EXPECT_TRUE(consumer.HasData());
    ASSERT_TRUE(consumer.HasKnownRecord(&behind));
    EXPECT_EQ(behind, (size + 7) / 8 * 8);
    uint64_t word = 0;
    ASSERT_TRUE(consumer.FetchKnown(behind, &word));
    EXPECT_EQ(word, uint64_t{4} << 32 | size);
    std::vector<std::byte> into(size);
    const std::size_t offset = consumer.PayloadOffset();
    if (size <= kShort) {
      consumer.CopyShort(offset, absl::MakeSpan(into));
      EXPECT_EQ(into, payload);
    }
    into.assign(size, std::byte{});
    consumer.CopyLong(offset, absl::MakeSpan(into));
    EXPECT_EQ(into, payload);
    into.assign(size, std::byte{});
    consumer.ViewOf(offset, size).CopyTo(0, absl::MakeSpan(into));
    EXPECT_EQ(into, payload);
    const Record stepped = consumer.Step(word);
    EXPECT_EQ(stepped.size_bytes, size);
    EXPECT_EQ(stepped.tag, 4u);
    EXPECT_TRUE(consumer.Release());
    EXPECT_FALSE(consumer.Release());
  }
  EXPECT_EQ(consumer.taken_records(), 6u);
}

TEST_F(EndsTest, ReleaseSaysWhetherTheProducerWasTold) {
  EXPECT_FALSE(consumer.Release());
  for (int i = 0; i < 3; ++i) ASSERT_EQ(producer.TryStage(1, Payload(8)), Outcome::kOk);
  producer.Publish();
  TestConsumer::View view;
  ASSERT_EQ(consumer.TryPeek(&record, &view), Outcome::kOk);
  EXPECT_FALSE(consumer.Release());  // more is known, and an eighth of the ring is not reached
  EXPECT_EQ(consumer.released_bytes(), 0u);
  EXPECT_EQ(consumer.taken_bytes(), 16u);
  ASSERT_EQ(consumer.TryPeek(&record, &view), Outcome::kOk);
  ASSERT_EQ(consumer.TryPeek(&record, &view), Outcome::kOk);
  EXPECT_TRUE(consumer.Release());
  EXPECT_EQ(consumer.released_bytes(), 48u);
  EXPECT_FALSE(consumer.Release());
  EXPECT_TRUE(producer.Drained());
}

// Nothing more is known to be there then, so what was taken is given back at once.
TEST_F(EndsTest, APoisonedConsumerGivesBackWhatItTook) {
  for (int i = 0; i < 3; ++i) ASSERT_EQ(producer.TryStage(1, Payload(8)), Outcome::kOk);
  producer.Publish();
  TestConsumer::View view;
  ASSERT_EQ(consumer.TryPeek(&record, &view), Outcome::kOk);
  consumer.Poison(Violation::kMetadataInvalid);
  consumer.Poison(Violation::kRecordTooLong);
  EXPECT_EQ(consumer.violation(), Violation::kMetadataInvalid);
  EXPECT_TRUE(consumer.Release());
  EXPECT_EQ(consumer.released_bytes(), 16u);
  EXPECT_EQ(Take(), Outcome::kPoisoned);
  EXPECT_TRUE(consumer.HasData());  // something to be told
}

TEST_F(EndsTest, HasDataIsAllButToBeWaitedFor) {
  EXPECT_FALSE(consumer.HasData());
  ASSERT_EQ(producer.TrySend(1, {}), Outcome::kOk);
  EXPECT_TRUE(consumer.HasData());
  EXPECT_EQ(Take(), Outcome::kOk);
  EXPECT_FALSE(consumer.HasData());
  producer.Close();
  EXPECT_FALSE(consumer.ended());
  EXPECT_TRUE(consumer.HasData());
  EXPECT_TRUE(consumer.ended());
  EXPECT_FALSE(consumer.closed());
}

// --- when the peer is looked at -----------------------------------------------------------------

// The end of a stream is for good, and so is a close of one's own: nothing is looked at after it.
TEST_F(EndsTest, AfterAnEndTheProducersWordsAreNotLookedAt) {
  for (const bool own : {false, true}) {
    HeapRegion from{kCapacity};
    HeapRegion to{kCapacity};
    TestConsumer in(to.own_control(), from.peer_control(), from.peer_data(), geometry);
    if (own) {
      in.Close();
      in.Close();
    } else {
      from.SetControl(kProducerStateOffset, kStreamClosed);
    }
    EXPECT_EQ(in.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kClosed);
    EXPECT_EQ(in.closed(), own);
    EXPECT_EQ(in.ended(), !own);
    from.SetControl(kProducerStateOffset, kStreamOpen);
    from.SetControl(kTailOffset, 16);
    EXPECT_EQ(in.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kClosed);
    from.SetControl(kTailOffset, kRubbish);
    from.SetControl(kProducerStateOffset, kRubbish);
    EXPECT_EQ(in.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kClosed);
    EXPECT_EQ(in.violation(), Violation::kNone);
  }
}

// What is known is enough: no look.
TEST_F(EndsTest, WhereEnoughIsKnownTheConsumersWordsAreNotLookedAt) {
  SpoilTheConsumersWords();
  EXPECT_TRUE(producer.Drained());  // nothing was published
  // Seven records of 512 bytes, and one that fits to the byte.
  for (int i = 0; i < 7; ++i) ASSERT_EQ(producer.TrySend(1, Payload(504)), Outcome::kOk);
  EXPECT_TRUE(producer.HasFreeSpace(504));
  EXPECT_EQ(producer.violation(), Violation::kNone);
  ASSERT_EQ(producer.TrySend(1, Payload(504)), Outcome::kOk);
  EXPECT_EQ(producer.violation(), Violation::kNone);
  EXPECT_TRUE(producer.HasFreeSpace(kMaxMessage + 1));  // kTooLong
  EXPECT_EQ(producer.violation(), Violation::kNone);
  EXPECT_TRUE(producer.HasFreeSpace(0));  // by a look: kPoisoned
  EXPECT_EQ(producer.violation(), Violation::kConsumerStateInvalid);
}

TEST_F(EndsTest, FreeSpaceIsAskedForByTheByte) {
  // Around the ring more than once, so that positions are beyond the capacity.
  for (int round = 0; round < 3; ++round) {
    Fill();
    EXPECT_FALSE(producer.HasFreeSpace(0));
    EXPECT_FALSE(producer.HasFreeSpace(kMaxMessage));
    ASSERT_EQ(Take(), Outcome::kOk);  // an eighth of the ring, which is told at once
    EXPECT_TRUE(producer.HasFreeSpace(504));
    EXPECT_FALSE(producer.HasFreeSpace(505));
    EXPECT_EQ(producer.TrySend(1, Payload(505)), Outcome::kWouldBlock);
    EXPECT_EQ(producer.TrySend(1, Payload(504)), Outcome::kOk);
    EXPECT_FALSE(producer.HasFreeSpace(0));
    TakeAll();
    EXPECT_TRUE(producer.HasFreeSpace(kMaxMessage));
    EXPECT_TRUE(producer.Drained());
    EXPECT_EQ(producer.taken_bytes(), producer.published_bytes());
  }
}

// A consumer that takes no more: each call says so, with room or without, and asks no more.
TEST_F(EndsTest, AfterAConsumersEndItsWordsAreNotLookedAt) {
  absl::Span<std::byte> room;
  Fill();
  TakeAll();
  consumer.Close();
  EXPECT_FALSE(producer.peer_ended());
  EXPECT_EQ(producer.TrySend(1, Payload(504)), Outcome::kClosed);
  EXPECT_TRUE(producer.peer_ended());
  EXPECT_EQ(producer.taken_bytes(), producer.published_bytes());
  SpoilTheConsumersWords();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(producer.TrySend(1, Payload(8)), Outcome::kClosed);
    EXPECT_EQ(producer.TryStage(1, Payload(8)), Outcome::kClosed);
    EXPECT_EQ(producer.TryReserve(8, &room), Outcome::kClosed);
    EXPECT_FALSE(producer.ReserveKnown(8, &room));
    EXPECT_FALSE(producer.TrySendShort(1, {}));
    EXPECT_TRUE(producer.HasFreeSpace(8));
    EXPECT_TRUE(producer.PollEnded());
    EXPECT_TRUE(producer.Drained());
  }
  EXPECT_EQ(producer.violation(), Violation::kNone);
}

TEST_F(EndsTest, PollEndedLooksUntilItIsSo) {
  EXPECT_FALSE(producer.PollEnded());
  ASSERT_EQ(producer.TrySend(1, Payload(8)), Outcome::kOk);
  ASSERT_EQ(Take(), Outcome::kOk);
  EXPECT_EQ(producer.taken_bytes(), 0u);
  EXPECT_FALSE(producer.PollEnded());
  EXPECT_EQ(producer.taken_bytes(), 16u);
  consumer.Close();
  EXPECT_FALSE(producer.peer_ended());
  EXPECT_TRUE(producer.PollEnded());
  EXPECT_TRUE(producer.peer_ended());
}

TEST_F(EndsTest, AfterAViolationNothingIsLookedAt) {
  absl::Span<std::byte> room;
  Fill();
  producer.Poison(Violation::kMetadataInvalid);
  producer.Poison(Violation::kRecordTooLong);
  TakeAll();
  consumer.Close();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(producer.TrySend(1, Payload(8)), Outcome::kPoisoned);
    EXPECT_EQ(producer.TryReserve(8, &room), Outcome::kPoisoned);
    EXPECT_TRUE(producer.HasFreeSpace(8));
    EXPECT_FALSE(producer.PollEnded());
    EXPECT_FALSE(producer.Drained());
    EXPECT_EQ(producer.taken_bytes(), 0u);
    SpoilTheConsumersWords();
  }
  EXPECT_EQ(producer.violation(), Violation::kMetadataInvalid);
}

// With room that is known: it is not used either.
TEST_F(EndsTest, AProducerThatIsPoisonedUsesNoRoom) {
  producer.Poison(Violation::kMetadataInvalid);
  absl::Span<std::byte> room;
  EXPECT_EQ(producer.TrySend(1, Payload(8)), Outcome::kPoisoned);
  EXPECT_FALSE(producer.TrySendShort(1, {}));
  EXPECT_FALSE(producer.ReserveKnown(8, &room));
  EXPECT_EQ(producer.published_bytes(), 0u);
}

// What is asked of an end that was closed here: what the peer has taken, and nothing of its room.
TEST_F(EndsTest, AProducerThatWasClosedStillLearnsWhatWasTaken) {
  ASSERT_EQ(producer.TrySend(1, Payload(8)), Outcome::kOk);
  ASSERT_EQ(producer.TryStage(1, Payload(8)), Outcome::kOk);
  producer.Close();
  producer.Close();
  EXPECT_TRUE(producer.closed());
  EXPECT_EQ(producer.published_bytes(), 32u);
  EXPECT_FALSE(producer.Drained());
  EXPECT_EQ(Take(), Outcome::kOk);
  EXPECT_EQ(Take(), Outcome::kOk);
  EXPECT_EQ(Take(), Outcome::kClosed);
  EXPECT_TRUE(producer.Drained());
  EXPECT_TRUE(producer.HasFreeSpace(8));
  absl::Span<std::byte> room;
  EXPECT_FALSE(producer.ReserveKnown(8, &room));
  EXPECT_FALSE(producer.TrySendShort(1, {}));
  EXPECT_EQ(producer.published_bytes(), 32u);
}

// --- our caller errs ----------------------------------------------------------------------------

using EndsDeathTest = EndsTest;

TEST_F(EndsDeathTest, WhatCannotBeBuiltOn) {
  const RingGeometry wrong[] = {{}, {4097, 10}, {2048, 10}, {kCapacity, kCapacity - 7}};
  for (const RingGeometry& one : wrong) {
    EXPECT_DEATH(
        TestConsumer(receiver.own_control(), sender.peer_control(), sender.peer_data(), one),
        "ring geometry was not validated");
    EXPECT_DEATH(
        TestProducer(sender.own_control(), sender.own_data(), receiver.peer_control(), one),
        "ring geometry was not validated");
  }
}

TEST_F(EndsDeathTest, WhatABufferTagAndReservationMustBe) {
  EXPECT_DEATH(consumer.TryReceive(absl::MakeSpan(buffer).first(kMaxMessage - 1), &record),
               "buffer shorter than max_message_bytes");
  EXPECT_DEATH(producer.TryStage(kMaxTag + 1, {}), "tag uses the reserved bit");
  const char nothing[] = "nothing that long was reserved";
  EXPECT_DEATH(producer.Commit(1, 0), nothing);
  absl::Span<std::byte> room;
  for (const std::size_t reserved : {0u, 8u}) {
    ASSERT_EQ(producer.TryReserve(reserved, &room), Outcome::kOk);
    EXPECT_DEATH(producer.TrySend(1, {}), "TrySend between TryReserve and Commit");
    EXPECT_DEATH(producer.TryStage(1, {}), "TrySend between TryReserve and Commit");
    EXPECT_DEATH(producer.Commit(1, reserved + 1), nothing);
    EXPECT_DEATH(producer.Stage(1, reserved + 1), nothing);
    EXPECT_DEATH(producer.Commit(kMaxTag + 1, reserved), nothing);
    producer.Commit(kMaxTag, reserved);
    EXPECT_DEATH(producer.Commit(1, 0), nothing);  // once
  }
  ASSERT_EQ(producer.TryReserve(8, &room), Outcome::kOk);
  producer.Close();
  EXPECT_DEATH(producer.Commit(1, 0), "the producer was closed");
  EXPECT_DEATH(producer.TrySend(1, {}), "the producer was closed");
  EXPECT_DEATH(producer.TryReserve(1, &room), "the producer was closed");
}

// --- values -------------------------------------------------------------------------------------

TEST(RingTypesTest, NothingIsInThemAtFirst) {
  EXPECT_EQ(Record().size_bytes, 0u);
  EXPECT_EQ(Record().tag, 0u);
  EXPECT_EQ(RingGeometry().capacity_bytes, 0u);
  EXPECT_EQ(RingGeometry().max_message_bytes, 0u);
}

TEST(RingTypesTest, EachCapacityAndEachLimit) {
  for (unsigned bit = 0; bit < 64; ++bit) {
    const uint64_t power = uint64_t{1} << bit;
    for (const uint64_t capacity : {power - 1, power, power + 1}) {
      const bool right = capacity == power && bit >= 12 && bit <= 30;
      const bool also_a_power = capacity != 0 && (capacity & (capacity - 1)) == 0 &&
                                capacity >= 4096 && capacity <= uint64_t{1} << 30;
      EXPECT_EQ(IsValid({capacity, 0}), right || also_a_power) << capacity;
      if (!right) continue;
      EXPECT_TRUE(IsValid({capacity, static_cast<uint32_t>(capacity - 8)}));
      EXPECT_FALSE(IsValid({capacity, static_cast<uint32_t>(capacity - 7)}));
      EXPECT_FALSE(IsValid({capacity, static_cast<uint32_t>(capacity)}));
      EXPECT_FALSE(IsValid({capacity, static_cast<uint32_t>(capacity + 8)}));
      EXPECT_FALSE(IsValid({capacity, 0xffff'ffff}));
    }
  }
}

// --- the pause before a look --------------------------------------------------------------------

// A consumer's position, and a producer that writes so many records before each look.
class Pacing {
 public:
  // Whether the next record's lines were asked for at the look that found these: there is no pause.
  bool Take(int records, int empty_polls = 0) {
    for (int i = 0; i < empty_polls; ++i) {
      EXPECT_EQ(position_.Available([](std::size_t) {}), Outcome::kWouldBlock);
    }
    bool asked = false;
    tail_ += 8 * static_cast<uint64_t>(records);
    theirs_.SetControl(kTailOffset, tail_);
    EXPECT_EQ(position_.Available([&asked](std::size_t) { asked = true; }), Outcome::kOk);
    for (int i = 0; i < records; ++i) position_.Advance(8);
    position_.Release();
    return asked;
  }
  // How many batches of enough records it takes until there is no pause: each halves it.
  int Halvings() {
    int halvings = 0;
    while (!Take(200) && halvings < 40) ++halvings;
    return halvings;
  }

 private:
  HeapRegion ours_{kCapacity};
  HeapRegion theirs_{kCapacity};
  ReceivePosition<HeapOwnMemory, HeapPeerMemory, 8> position_{ours_.own_control(),
                                                              theirs_.peer_control(), kCapacity};
  uint64_t tail_ = 0;
};

TEST(ReceivePositionTest, AStreamIsLookedAtLaterAndAnExchangeAtOnce) {
  Pacing pacing;
  // A request and an answer at a time, however often.
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(pacing.Take(1, 10)) << i;
  // Several with each look, or one after the other without a pause: the pause begins with the next.
  EXPECT_TRUE(pacing.Take(3));
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(pacing.Take(3, i == 0 ? 1 : 0)) << i;
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(pacing.Take(1, 1)) << i;
  // Enough with each look: the pause becomes shorter, until there is none.
  int longest = 0;
  while (!pacing.Take(200) && longest < 20) ++longest;
  EXPECT_GT(longest, 0);
  EXPECT_LT(longest, 20);
  // Nothing for a while ends it as well.
  for (int i = 0; i < 2; ++i) pacing.Take(3);
  EXPECT_FALSE(pacing.Take(3));
  EXPECT_TRUE(pacing.Take(3, 10));
}

TEST(PacingTest, OneRecordAtATimeNeedsNoPause) {
  Pacing pacing;
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(pacing.Take(1)) << i;
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(pacing.Take(1, 5)) << i;
}

// So soon after the last one that no answer could have been read.
TEST(PacingTest, OneRecordAfterAFewLooksInVainIsAStream) {
  for (int empty = 1; empty <= 4; ++empty) {
    Pacing pacing;
    EXPECT_TRUE(pacing.Take(1, empty));
    for (int i = 0; i < 20; ++i) EXPECT_EQ(pacing.Take(1, empty), false) << empty << " " << i;
    // It ends with one that took longer, at once.
    EXPECT_TRUE(pacing.Take(1, 5));
    EXPECT_TRUE(pacing.Take(1, 5));
  }
}

TEST(PacingTest, AStreamThatEndsNeedsNoPauseFromTheNextRecordOn) {
  Pacing pacing;
  for (int i = 0; i < 10; ++i) pacing.Take(3);
  EXPECT_FALSE(pacing.Take(1));
  EXPECT_FALSE(pacing.Take(1));
  EXPECT_TRUE(pacing.Take(1));
  EXPECT_TRUE(pacing.Take(1));
}

// 1, 3, 7, 15, 31 pauses, and on to 127 where four records or more come with each look; halved by
// each batch of 128 or more.
TEST(PacingTest, APauseGrowsAndShrinksInSteps) {
  const struct {
    int records, batches, halvings;
  } rows[] = {{2, 2, 3}, {2, 3, 4}, {2, 4, 5}, {3, 5, 6},  {3, 20, 6},
              {4, 5, 6}, {4, 6, 7}, {4, 7, 8}, {4, 20, 8}, {127, 20, 8}};
  for (const auto& row : rows) {
    Pacing pacing;
    for (int i = 0; i < row.batches; ++i) pacing.Take(row.records);
    EXPECT_EQ(pacing.Halvings(), row.halvings) << row.records << " " << row.batches;
  }
  Pacing slow;
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(slow.Take(128)) << i;
}

// --- elements -----------------------------------------------------------------------------------

template <typename T>
struct Typed {
  HeapRegion sender{kCapacity};
  HeapRegion receiver{kCapacity};
  TypedProducer<T, HeapOwnMemory, HeapPeerMemory> producer{sender.own_control(), sender.own_data(),
                                                           receiver.peer_control(), kCapacity};
  TypedConsumer<T, HeapOwnMemory, HeapPeerMemory> consumer{
      receiver.own_control(), sender.peer_control(), sender.peer_data(), kCapacity};
};

// Bytes, at each odd number.
TEST(TypedEndsTest, OddNumbersOfBytesArrive) {
  Typed<std::byte> ends;
  std::vector<std::byte> into(kCapacity);
  for (std::size_t count = 1; count <= 300; ++count) {
    const auto bytes = Payload(count, static_cast<unsigned>(count));
    ASSERT_EQ(ends.producer.TryPush(bytes), count);
    ASSERT_EQ(ends.consumer.TryPop(absl::MakeSpan(into)), count);
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), into.begin())) << count;
    EXPECT_EQ(ends.consumer.TryPop(absl::MakeSpan(into)), 0u);
    EXPECT_EQ(ends.consumer.outcome(), Outcome::kWouldBlock);
  }
}

TEST(TypedEndsTest, OneElementAtATime) {
  Typed<uint64_t> ends;
  for (uint64_t i = 0; i < 3; ++i) EXPECT_TRUE(ends.producer.TryPush(100 + i));
  std::array<uint64_t, 2> into = {};
  for (uint64_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(ends.consumer.TryPop(into.data()));
    EXPECT_EQ(into, (std::array<uint64_t, 2>{100 + i, 0}));
  }
  EXPECT_FALSE(ends.consumer.TryPop(into.data()));
  // As many as fit, from the front.
  const std::size_t all = ends.producer.capacity();
  const std::vector<uint64_t> many(all + 5, 7);
  EXPECT_EQ(ends.producer.TryPush(many), all);
  EXPECT_EQ(ends.producer.TryPush(many), 0u);
  EXPECT_FALSE(ends.producer.TryPush(uint64_t{1}));
  EXPECT_EQ(ends.producer.outcome(), Outcome::kWouldBlock);
}

// No elements are no question: nothing is looked at, and what was said before stays.
TEST(TypedEndsTest, NoElementsAreNoQuestion) {
  Typed<uint64_t> ends;
  uint64_t into = 0;
  EXPECT_FALSE(ends.consumer.TryPop(&into));
  EXPECT_EQ(ends.consumer.outcome(), Outcome::kWouldBlock);
  const std::vector<uint64_t> many(ends.producer.capacity() + 1);
  while (ends.producer.TryPush(many) != 0) {
  }
  EXPECT_EQ(ends.producer.outcome(), Outcome::kWouldBlock);
  ends.sender.SetControl(kProducerStateOffset, kRubbish);
  ends.receiver.SetControl(kConsumerStateOffset, kRubbish);
  EXPECT_EQ(ends.consumer.TryPop(absl::Span<uint64_t>()), 0u);
  EXPECT_EQ(ends.producer.TryPush(absl::Span<const uint64_t>()), 0u);
  EXPECT_EQ(ends.consumer.outcome(), Outcome::kWouldBlock);
  EXPECT_EQ(ends.producer.outcome(), Outcome::kWouldBlock);
  EXPECT_EQ(ends.consumer.violation(), Violation::kNone);
  EXPECT_EQ(ends.producer.violation(), Violation::kNone);
}

struct Page {
  std::array<uint8_t, kCapacity> bytes;
};
struct TwoPages {
  std::array<uint8_t, 2 * kCapacity> bytes;
};

TEST(TypedEndsTest, AnElementAsLargeAsTheRing) {
  Typed<Page> ends;
  auto page = std::make_unique<Page>();
  page->bytes.fill(3);
  EXPECT_EQ(ends.producer.capacity(), 1u);
  EXPECT_TRUE(ends.producer.TryPush(*page));
  EXPECT_FALSE(ends.producer.TryPush(*page));
  page->bytes.fill(0);
  EXPECT_TRUE(ends.consumer.TryPop(page.get()));
  EXPECT_EQ(page->bytes[kCapacity - 1], 3);
}

TEST(TypedEndsDeathTest, WhatCannotBeBuiltOn) {
  HeapRegion sender{kCapacity};
  HeapRegion receiver{kCapacity};
  const char why[] = "ring geometry was not validated";
  using Bytes = TypedProducer<std::byte, HeapOwnMemory, HeapPeerMemory>;
  using BytesIn = TypedConsumer<std::byte, HeapOwnMemory, HeapPeerMemory>;
  using Large = TypedProducer<TwoPages, HeapOwnMemory, HeapPeerMemory>;
  using LargeIn = TypedConsumer<TwoPages, HeapOwnMemory, HeapPeerMemory>;
  for (const uint64_t capacity : {uint64_t{0}, uint64_t{2048}, uint64_t{4097}}) {
    EXPECT_DEATH(Bytes(sender.own_control(), sender.own_data(), receiver.peer_control(), capacity),
                 why);
    EXPECT_DEATH(
        BytesIn(receiver.own_control(), sender.peer_control(), sender.peer_data(), capacity), why);
  }
  EXPECT_DEATH(Large(sender.own_control(), sender.own_data(), receiver.peer_control(), kCapacity),
               why);
  EXPECT_DEATH(
      LargeIn(receiver.own_control(), sender.peer_control(), sender.peer_data(), kCapacity), why);
  Typed<uint64_t> ends;
  ends.producer.Close();
  EXPECT_DEATH(ends.producer.TryPush(uint64_t{1}), "the producer was closed");
}

}  // namespace
}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "parley/boundary/copy.h"
#include "parley/ring/consumer.h"
#include "parley/ring/layout.h"
#include "parley/ring/producer.h"
#include "parley/testing/heap_memory.h"
#include "parley/testing/sanitizers.h"

namespace parley {
namespace {

using testing::HeapOwnMemory;
using testing::HeapPeerMemory;
using testing::HeapRegion;
using TestProducer = BasicProducer<HeapOwnMemory, HeapPeerMemory>;
using TestConsumer = BasicConsumer<HeapOwnMemory, HeapPeerMemory>;

constexpr uint64_t kCapacity = 4096;
constexpr uint32_t kMaxMessage = 1024;

absl::Span<const std::byte> Bytes(const std::string& text) {
  return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(text.data()), text.size());
}

// Both regions of a pair, and honest ends on them.
struct RingTest : ::testing::Test {
  HeapRegion sender{kCapacity};    // written by the producer's process
  HeapRegion receiver{kCapacity};  // written by the consumer's process
  RingGeometry geometry{kCapacity, kMaxMessage};
  TestProducer producer{sender.own_control(), sender.own_data(), receiver.peer_control(), geometry};
  TestConsumer consumer{receiver.own_control(), sender.peer_control(), sender.peer_data(),
                        geometry};
  std::vector<std::byte> buffer = std::vector<std::byte>(kMaxMessage);

  Outcome Receive(std::string* text, uint32_t* tag = nullptr) {
    Record record;
    const Outcome outcome = consumer.TryReceive(absl::MakeSpan(buffer), &record);
    if (outcome == Outcome::kOk) {
      text->assign(reinterpret_cast<const char*>(buffer.data()), record.size_bytes);
      if (tag != nullptr) *tag = record.tag;
    }
    return outcome;
  }
};

TEST_F(RingTest, RecordsArriveInOrderWithTheirTags) {
  EXPECT_EQ(producer.TrySend(7, Bytes("hello")), Outcome::kOk);
  EXPECT_EQ(producer.TrySend(kMaxTag, Bytes("")), Outcome::kOk);
  std::string text;
  uint32_t tag = 0;
  EXPECT_EQ(Receive(&text, &tag), Outcome::kOk);
  EXPECT_EQ(text, "hello");
  EXPECT_EQ(tag, 7u);
  EXPECT_EQ(Receive(&text, &tag), Outcome::kOk);
  EXPECT_EQ(text, "");
  EXPECT_EQ(tag, kMaxTag);
  EXPECT_EQ(Receive(&text), Outcome::kWouldBlock);
}

TEST_F(RingTest, AgreesWithAQueueOverAMillionSteps) {
  std::mt19937_64 random(20261120);
  std::deque<std::string> model;
  uint64_t in_flight = 0;  // bytes, by the definition of a record
  uint64_t known = 0;      // of these, what the consumer saw when it last looked
  uint64_t untold = 0;     // taken, but the producer does not know yet
  for (int step = 0; step < 200'000; ++step) {
    if (random() % 2 == 0) {
      std::string text(random() % (kMaxMessage + 1), 'a');
      for (char& c : text) c = static_cast<char>('a' + random() % 26);
      const uint64_t record_bytes = 8 + (text.size() + 7) / 8 * 8;
      const Outcome expected =
          in_flight + untold + record_bytes <= kCapacity ? Outcome::kOk : Outcome::kWouldBlock;
      ASSERT_EQ(producer.TrySend(1, Bytes(text)), expected);
      if (expected == Outcome::kOk) {
        in_flight += record_bytes;
        model.push_back(text);
      }
    } else {
      std::string text;
      const Outcome outcome = Receive(&text);
      ASSERT_EQ(outcome, model.empty() ? Outcome::kWouldBlock : Outcome::kOk);
      if (outcome == Outcome::kOk) {
        ASSERT_EQ(text, model.front());
        const uint64_t record_bytes = 8 + (text.size() + 7) / 8 * 8;
        if (known == 0) known = in_flight;
        in_flight -= record_bytes;
        known -= record_bytes;
        untold += record_bytes;
        if (known == 0 || untold >= kCapacity / 8) untold = 0;
        model.pop_front();
      }
    }
  }
}

// Positions count bytes and are not cut at 32 bits, each way of sending and receiving.
TEST(RingWrapTest, PositionsPassFourGibibytes) {
  constexpr uint64_t kRing = uint64_t{1} << 20;
  constexpr uint32_t kRecord = 1 << 18;
  HeapRegion sender{kRing};
  HeapRegion receiver{kRing};
  const RingGeometry wide = {kRing, kRecord};
  TestProducer producer(sender.own_control(), sender.own_data(), receiver.peer_control(), wide);
  TestConsumer consumer(receiver.own_control(), sender.peer_control(), sender.peer_data(), wide);
  std::vector<std::byte> buffer(kRecord);
  const std::array<std::byte, 61> small = {};
  Record record;
  while (producer.published_bytes() < (uint64_t{1} << 32) + 4 * kRing) {
    ASSERT_EQ(producer.TrySend(1, buffer), Outcome::kOk);
    const auto odd = static_cast<std::size_t>(producer.published_bytes() / kRecord % 61);
    const auto short_one = absl::MakeConstSpan(small.data(), odd);
    // A copy of bytes is a call under a sanitizer: the short way then says so.
    ASSERT_EQ(producer.TrySendShort(2, short_one), odd <= internal::kMaxSmallCopyBytes);
    if (odd > internal::kMaxSmallCopyBytes) {
      ASSERT_EQ(producer.TrySend(2, short_one), Outcome::kOk);
    }
    ASSERT_EQ(producer.TrySend(3, small), Outcome::kOk);
    TestConsumer::View view;
    ASSERT_EQ(consumer.TryPeek(&record, &view), Outcome::kOk) << producer.published_bytes();
    ASSERT_EQ(record.size_bytes, kRecord);
    ASSERT_EQ(consumer.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kOk);
    ASSERT_EQ(record.size_bytes, odd);
    uint64_t behind_header = 0;
    ASSERT_TRUE(consumer.HasKnownRecord(&behind_header));
    uint64_t word = 0;
    ASSERT_TRUE(consumer.FetchKnown(behind_header, &word) && consumer.PaddingIsZero(word));
    record = consumer.Step(word);
    ASSERT_EQ(record.size_bytes, small.size());
    consumer.Release();
    ASSERT_EQ(consumer.released_bytes(), producer.published_bytes());
  }
}

TEST_F(RingTest, ReserveFillsInPlaceAndMayUseLess) {
  absl::Span<std::byte> room;
  ASSERT_EQ(producer.TryReserve(100, &room), Outcome::kOk);
  ASSERT_EQ(room.size(), 100u);
  std::memcpy(room.data(), "frame", 5);
  std::string text;
  EXPECT_EQ(Receive(&text), Outcome::kWouldBlock);
  producer.Commit(3, 5);
  EXPECT_EQ(Receive(&text), Outcome::kOk);
  EXPECT_EQ(text, "frame");
}

TEST_F(RingTest, ABatchBecomesVisibleAtOnceAndIsReleasedAtOnce) {
  ASSERT_EQ(producer.TryStage(1, Bytes("one")), Outcome::kOk);
  ASSERT_EQ(producer.TryStage(2, Bytes("two")), Outcome::kOk);
  Record record;
  TestConsumer::View view;
  EXPECT_EQ(consumer.TryPeek(&record, &view), Outcome::kWouldBlock);
  producer.Publish();
  ASSERT_EQ(consumer.TryPeek(&record, &view), Outcome::kOk);
  EXPECT_EQ(record.tag, 1u);
  ASSERT_EQ(consumer.TryPeek(&record, &view), Outcome::kOk);
  EXPECT_EQ(record.tag, 2u);
  std::array<std::byte, 3> copy;
  view.CopyTo(0, absl::MakeSpan(copy));
  EXPECT_EQ(std::memcmp(copy.data(), "two", 3), 0);
  EXPECT_FALSE(producer.Drained());
  consumer.Release();
  EXPECT_TRUE(producer.Drained());
}

// Not for each record, or the producer's line would travel for each; but never later than the last
// one that is known, so that a sender which waits for everything to be taken is not left waiting.
TEST_F(RingTest, FreeSpaceIsReleasedInStepsAndAtOnceWhenNothingMoreIsKnown) {
  const uint64_t step_bytes = consumer.capacity_bytes() / 8;
  const std::string payload(56, 'x');  // 64 bytes with the header
  const uint64_t records = consumer.capacity_bytes() / 64;
  for (uint64_t i = 0; i < records; ++i) {
    ASSERT_EQ(producer.TrySend(1, Bytes(payload)), Outcome::kOk);
  }
  std::string text;
  for (uint64_t i = 1; i <= records; ++i) {
    ASSERT_EQ(Receive(&text), Outcome::kOk);
    const uint64_t taken_bytes = i * 64;
    EXPECT_LT(taken_bytes - consumer.released_bytes(), step_bytes);
    if (taken_bytes % step_bytes != 0 && i != records) {
      EXPECT_LT(consumer.released_bytes(), taken_bytes);
    }
    // The producer sees just that.
    EXPECT_EQ(producer.Drained(), i == records);
    EXPECT_EQ(producer.taken_bytes(), consumer.released_bytes());
  }
  EXPECT_TRUE(producer.Drained());

  ASSERT_EQ(producer.TryStage(1, Bytes("one")), Outcome::kOk);
  ASSERT_EQ(producer.TrySend(2, Bytes("two")), Outcome::kOk);
  ASSERT_EQ(Receive(&text), Outcome::kOk);
  EXPECT_FALSE(producer.Drained());
  ASSERT_EQ(Receive(&text), Outcome::kOk);
  EXPECT_TRUE(producer.Drained());
}

TEST_F(RingTest, CloseDeliversWhatWasCommittedThenEnds) {
  ASSERT_EQ(producer.TryStage(1, Bytes("last words")), Outcome::kOk);
  EXPECT_FALSE(producer.closed());
  producer.Close();
  EXPECT_TRUE(producer.closed());
  std::string text;
  EXPECT_EQ(Receive(&text), Outcome::kOk);
  EXPECT_EQ(text, "last words");
  EXPECT_EQ(Receive(&text), Outcome::kClosed);
  EXPECT_EQ(Receive(&text), Outcome::kClosed);
}

TEST_F(RingTest, AConsumerThatClosesEndsTheProducer) {
  while (producer.TrySend(1, Bytes(std::string(500, 'x'))) == Outcome::kOk) {
  }
  consumer.Close();
  EXPECT_EQ(producer.TrySend(1, Bytes("x")), Outcome::kClosed);
  absl::Span<std::byte> room;
  EXPECT_EQ(producer.TryReserve(1, &room), Outcome::kClosed);
  std::string text;
  while (Receive(&text) == Outcome::kOk) {
  }
  EXPECT_EQ(Receive(&text), Outcome::kClosed);
}

// Also where a later look at it, for another reason, finds that it says something else.
TEST_F(RingTest, AReceiverThatHasEndedStaysSo) {
  ASSERT_EQ(producer.TrySend(1, Bytes("x")), Outcome::kOk);
  receiver.SetControl(kConsumerStateOffset, kStreamClosed);
  ASSERT_TRUE(producer.PollEnded());
  receiver.SetControl(kConsumerStateOffset, kStreamOpen);
  EXPECT_FALSE(producer.Drained());
  EXPECT_EQ(producer.TrySend(2, Bytes("y")), Outcome::kClosed);
  EXPECT_TRUE(producer.PollEnded());
}

TEST_F(RingTest, TheLongestRecordFillsTheRingExactly) {
  RingGeometry whole{kCapacity, kCapacity - kRecordHeaderBytes};
  HeapRegion a(kCapacity);
  HeapRegion b(kCapacity);
  TestProducer out(a.own_control(), a.own_data(), b.peer_control(), whole);
  TestConsumer in(b.own_control(), a.peer_control(), a.peer_data(), whole);
  std::vector<std::byte> into(whole.max_message_bytes);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(out.TrySend(1, absl::MakeConstSpan(into)), Outcome::kOk);
    EXPECT_EQ(out.TrySend(1, {}), Outcome::kWouldBlock);
    Record record;
    EXPECT_EQ(in.TryReceive(absl::MakeSpan(into), &record), Outcome::kOk);
    EXPECT_EQ(record.size_bytes, whole.max_message_bytes);
  }
}

// --- the peer lies -------------------------------------------------------------------------------

TEST_F(RingTest, PromiseP6ContainmentAHostileTailPoisonsForGood) {
  const struct {
    uint64_t tail;
    Violation violation;
  } kCases[] = {
      {kCapacity + 8, Violation::kProducerPositionOutOfRange},
      {~uint64_t{0}, Violation::kProducerPositionOutOfRange},
      {uint64_t{1} << 63, Violation::kProducerPositionOutOfRange},
      {uint64_t{1} << 32, Violation::kProducerPositionOutOfRange},
      {8 + 4, Violation::kProducerPositionMisaligned},
      {1, Violation::kProducerPositionMisaligned},
  };
  for (const auto& c : kCases) {
    TestConsumer victim(receiver.own_control(), sender.peer_control(), sender.peer_data(),
                        geometry);
    sender.SetControl(kTailOffset, c.tail);
    Record record;
    EXPECT_EQ(victim.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kPoisoned) << c.tail;
    EXPECT_EQ(victim.violation(), c.violation) << c.tail;
    // Sticky: an honest position afterwards changes nothing.
    sender.SetControl(kTailOffset, 0);
    EXPECT_EQ(victim.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kPoisoned);
    EXPECT_EQ(victim.violation(), c.violation);
  }
}

TEST_F(RingTest, ARewoundTailIsSeen) {
  ASSERT_EQ(producer.TrySend(1, Bytes("0123456789")), Outcome::kOk);
  ASSERT_EQ(producer.TrySend(1, Bytes("0123456789")), Outcome::kOk);
  std::string text;
  ASSERT_EQ(Receive(&text), Outcome::kOk);
  ASSERT_EQ(Receive(&text), Outcome::kOk);
  sender.SetControl(kTailOffset, 24);
  EXPECT_EQ(Receive(&text), Outcome::kPoisoned);
  // From here the released position is the reference: 24 is 24 behind 48.
  EXPECT_EQ(consumer.violation(), Violation::kProducerPositionOutOfRange);
}

TEST_F(RingTest, ATailThatRewindsBehindPeekedRecordsIsSeen) {
  ASSERT_EQ(producer.TrySend(1, Bytes("01234567")), Outcome::kOk);
  ASSERT_EQ(producer.TrySend(1, Bytes("01234567")), Outcome::kOk);
  Record record;
  TestConsumer::View view;
  ASSERT_EQ(consumer.TryPeek(&record, &view), Outcome::kOk);
  ASSERT_EQ(consumer.TryPeek(&record, &view), Outcome::kOk);
  sender.SetControl(kTailOffset, 16);
  EXPECT_EQ(consumer.TryPeek(&record, &view), Outcome::kPoisoned);
  EXPECT_EQ(consumer.violation(), Violation::kProducerPositionBackwards);
}

TEST_F(RingTest, PromiseP1MemoryAHostileRecordHeaderIsRefused) {
  const struct {
    uint64_t header;
    uint64_t tail;
    Violation violation;
  } kCases[] = {
      {kMaxMessage + 1, kCapacity, Violation::kRecordTooLong},
      {0xffff'ffff, kCapacity, Violation::kRecordTooLong},
      {0x8000'0000, kCapacity, Violation::kRecordTooLong},
      {9, 16, Violation::kRecordBeyondTail},
      {1, 8, Violation::kRecordBeyondTail},
      {uint64_t{1} << 63, 8, Violation::kRecordTagReserved},
  };
  for (const auto& c : kCases) {
    TestConsumer victim(receiver.own_control(), sender.peer_control(), sender.peer_data(),
                        geometry);
    sender.SetData(0, c.header);
    sender.SetControl(kTailOffset, c.tail);
    Record record;
    EXPECT_EQ(victim.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kPoisoned) << c.header;
    EXPECT_EQ(victim.violation(), c.violation) << c.header;
  }
}

TEST_F(RingTest, DirtyPaddingIsRefused) {
  ASSERT_EQ(producer.TrySend(1, Bytes("abc")), Outcome::kOk);
  sender.SetData(8, 0xff00'0000'0063'6261);
  std::string text;
  EXPECT_EQ(Receive(&text), Outcome::kPoisoned);
  EXPECT_EQ(consumer.violation(), Violation::kRecordPaddingNotZero);
}

TEST_F(RingTest, AnUnknownStateIsRefusedAtBothEnds) {
  sender.SetControl(kProducerStateOffset, 2);
  std::string text;
  EXPECT_EQ(Receive(&text), Outcome::kPoisoned);
  EXPECT_EQ(consumer.violation(), Violation::kProducerStateInvalid);

  while (producer.TrySend(1, Bytes(std::string(1000, 'x'))) == Outcome::kOk) {
  }
  receiver.SetControl(kConsumerStateOffset, ~uint64_t{0});
  EXPECT_EQ(producer.TrySend(1, Bytes(std::string(1000, 'x'))), Outcome::kPoisoned);
  EXPECT_EQ(producer.violation(), Violation::kConsumerStateInvalid);
}

TEST_F(RingTest, AHostileHeadPoisonsTheProducer) {
  const struct {
    uint64_t head;
    Violation violation;
  } kCases[] = {
      {kCapacity + 8, Violation::kConsumerPositionOutOfRange},
      {~uint64_t{0} - 7, Violation::kConsumerPositionBackwards},
      {uint64_t{1} << 63, Violation::kConsumerPositionOutOfRange},
      {4, Violation::kConsumerPositionMisaligned},
  };
  for (const auto& c : kCases) {
    TestProducer victim(sender.own_control(), sender.own_data(), receiver.peer_control(), geometry);
    receiver.SetControl(kHeadOffset, 0);
    const std::string filling(504, 'x');  // 512 bytes each: eight fill the ring
    for (int i = 0; i < 8; ++i) ASSERT_EQ(victim.TrySend(1, Bytes(filling)), Outcome::kOk);
    ASSERT_EQ(victim.TrySend(1, Bytes(filling)), Outcome::kWouldBlock);
    receiver.SetControl(kHeadOffset, c.head);
    EXPECT_EQ(victim.TrySend(1, Bytes(filling)), Outcome::kPoisoned) << c.head;
    EXPECT_EQ(victim.violation(), c.violation) << c.head;
    receiver.SetControl(kHeadOffset, kCapacity);
    EXPECT_EQ(victim.TrySend(1, Bytes(filling)), Outcome::kPoisoned);
  }
}

TEST_F(RingTest, ChangingWordsBetweenPeekAndReleaseChangesNothing) {
  ASSERT_EQ(producer.TrySend(1, Bytes("payload!")), Outcome::kOk);
  Record record;
  TestConsumer::View view;
  ASSERT_EQ(consumer.TryPeek(&record, &view), Outcome::kOk);
  sender.SetData(0, 0xffff'ffff);
  sender.SetControl(kTailOffset, 0);
  EXPECT_EQ(view.size_bytes(), 8u);
  consumer.Release();
  EXPECT_EQ(consumer.released_bytes(), 16u);
  EXPECT_TRUE(producer.Drained());
}

TEST_F(RingTest, PromiseP3WorkAPeerThatNeverDrainsCostsOnePollPerCall) {
  while (producer.TrySend(1, Bytes(std::string(1000, 'x'))) == Outcome::kOk) {
  }
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(producer.TrySend(1, Bytes(std::string(1000, 'x'))), Outcome::kWouldBlock);
  }
}

TEST_F(RingTest, PromiseP5SilenceOnlyCommittedBytesReachTheRegion) {
  ASSERT_EQ(producer.TrySend(5, Bytes("abc")), Outcome::kOk);
  std::vector<std::byte> seen(kCapacity);
  sender.peer_data().CopyOut(0, absl::MakeSpan(seen));
  const uint8_t expected[16] = {3, 0, 0, 0, 5, 0, 0, 0, 'a', 'b', 'c', 0, 0, 0, 0, 0};
  EXPECT_EQ(std::memcmp(seen.data(), expected, 16), 0);
  for (std::size_t i = 16; i < seen.size(); ++i) ASSERT_EQ(seen[i], std::byte{0}) << i;
  std::vector<std::byte> control(kControlBytes);
  sender.peer_control().CopyOut(0, absl::MakeSpan(control));
  EXPECT_EQ(control[0], std::byte{16});
  for (std::size_t i = 1; i < control.size(); ++i) ASSERT_EQ(control[i], std::byte{0}) << i;
}

TEST_F(RingTest, GoldenBytesOfTheWireFormat) {
  ASSERT_EQ(producer.TrySend(0x01020304, Bytes("12345678")), Outcome::kOk);
  producer.Close();
  Record record;
  ASSERT_EQ(consumer.TryReceive(absl::MakeSpan(buffer), &record), Outcome::kOk);
  consumer.Close();
  std::array<std::byte, 16> data;
  sender.peer_data().CopyOut(0, absl::MakeSpan(data));
  const uint8_t golden[16] = {8, 0, 0, 0, 4, 3, 2, 1, '1', '2', '3', '4', '5', '6', '7', '8'};
  EXPECT_EQ(std::memcmp(data.data(), golden, 16), 0);
  std::array<std::byte, 16> line;
  sender.peer_control().CopyOut(0, absl::MakeSpan(line));
  const uint8_t producer_line[16] = {16, 0, 0, 0, 0, 0, 0, 0, 1};
  EXPECT_EQ(std::memcmp(line.data(), producer_line, 16), 0);
  receiver.peer_control().CopyOut(128, absl::MakeSpan(line));
  EXPECT_EQ(std::memcmp(line.data(), producer_line, 16), 0);
}

// --- our caller errs -----------------------------------------------------------------------------

using RingDeathTest = RingTest;

TEST_F(RingDeathTest, PromiseP9AbortIsOursOnlyTheCallersBugsAbort) {
  Record record;
  EXPECT_DEATH(consumer.TryReceive(absl::MakeSpan(buffer).first(10), &record), "buffer shorter");
  EXPECT_DEATH(producer.TrySend(kMaxTag + 1, Bytes("x")), "reserved bit");
  EXPECT_DEATH(producer.Commit(1, 1), "nothing that long was reserved");
  EXPECT_DEATH(TestProducer(sender.own_control(), sender.own_data(), receiver.peer_control(),
                            RingGeometry{4097, 10}),
               "geometry");
  absl::Span<std::byte> room;
  ASSERT_EQ(producer.TryReserve(8, &room), Outcome::kOk);
  producer.Close();
  EXPECT_DEATH(producer.Commit(1, 8), "closed");
  EXPECT_DEATH(producer.TrySend(1, Bytes("x")), "closed|between TryReserve");
}

// The longest message is what was agreed on with the peer, so a longer one is no bug that aborts.
TEST_F(RingTest, PromiseP9AMessageThatIsTooLongIsAnOutcomeAndNothingHappens) {
  const std::string long_text(kMaxMessage + 1, 'x');
  absl::Span<std::byte> room;
  EXPECT_EQ(producer.TrySend(1, Bytes(long_text)), Outcome::kTooLong);
  EXPECT_EQ(producer.TryStage(1, Bytes(long_text)), Outcome::kTooLong);
  EXPECT_EQ(producer.TryReserve(kMaxMessage + 1, &room), Outcome::kTooLong);
  EXPECT_EQ(producer.TryReserve(~std::size_t{0}, &room), Outcome::kTooLong);
  EXPECT_TRUE(producer.HasFreeSpace(~std::size_t{0}));  // nothing to wait for
  EXPECT_EQ(room.data(), nullptr);
  EXPECT_EQ(producer.published_bytes(), 0u);
  EXPECT_EQ(producer.TrySend(1, Bytes(std::string(kMaxMessage, 'x'))), Outcome::kOk);
}

TEST_F(RingTest, BothEndsKnowTheirGeometry) {
  EXPECT_EQ(producer.capacity_bytes(), kCapacity);
  EXPECT_EQ(consumer.capacity_bytes(), kCapacity);
  EXPECT_EQ(producer.max_message_bytes(), kMaxMessage);
  EXPECT_EQ(consumer.max_message_bytes(), kMaxMessage);
}

TEST(RingGeometryTest, OnlyPowersOfTwoWithinLimits) {
  EXPECT_TRUE(IsValid({4096, 4088}));
  EXPECT_TRUE(IsValid({kMaxCapacityBytes, 1}));
  EXPECT_FALSE(IsValid({4096, 4089}));
  EXPECT_FALSE(IsValid({2048, 1}));
  EXPECT_FALSE(IsValid({12288, 1}));
  EXPECT_FALSE(IsValid({0, 0}));
  EXPECT_FALSE(IsValid({kMaxCapacityBytes * 2, 1}));
  EXPECT_FALSE(IsValid({uint64_t{1} << 63, 1}));
}

// --- two threads on one memory: what the thread sanitizer judges ---------------------------------

TEST(RingThreadsTest, AMillionRecordsAndAPlainVariableHandedAcross) {
  constexpr int kRecords = 100'000;
  HeapRegion sender(kCapacity);
  HeapRegion receiver(kCapacity);
  const RingGeometry geometry{kCapacity, 256};
  // Written plainly before each send, read plainly after each receive: ordered by the ring alone.
  std::vector<int> handed(kRecords);
  std::thread peer([&] {
    TestProducer producer(sender.own_control(), sender.own_data(), receiver.peer_control(),
                          geometry);
    std::mt19937 random(7);
    std::vector<std::byte> payload(256);
    for (int i = 0; i < kRecords; ++i) {
      handed[static_cast<std::size_t>(i)] = i;
      const std::size_t size = random() % 257;
      std::memset(payload.data(), i & 0xff, size);
      while (producer.TrySend(1, absl::MakeConstSpan(payload).first(size)) != Outcome::kOk) {
        std::this_thread::yield();
      }
    }
    producer.Close();
  });
  TestConsumer consumer(receiver.own_control(), sender.peer_control(), sender.peer_data(),
                        geometry);
  std::mt19937 random(7);
  std::vector<std::byte> buffer(256);
  int count = 0;
  for (Outcome outcome = Outcome::kWouldBlock; outcome != Outcome::kClosed;) {
    Record record;
    outcome = consumer.TryReceive(absl::MakeSpan(buffer), &record);
    ASSERT_NE(outcome, Outcome::kPoisoned) << ToString(consumer.violation());
    if (outcome == Outcome::kWouldBlock) std::this_thread::yield();
    if (outcome != Outcome::kOk) continue;
    ASSERT_EQ(record.size_bytes, random() % 257);
    for (uint32_t i = 0; i < record.size_bytes; ++i) {
      ASSERT_EQ(buffer[i], static_cast<std::byte>(count & 0xff));
    }
    ASSERT_EQ(handed[static_cast<std::size_t>(count)], count);
    ++count;
  }
  peer.join();
  EXPECT_EQ(count, kRecords);
}

// A peer that scribbles on everything while we run: no crash, no lock-up, nothing but outcomes.
TEST(RingThreadsTest, PromiseP2TimeTryCallsReturnUnderAScribblingPeer) {
#if PARLEY_HAS_TSAN
  GTEST_SKIP() << "the peer races on purpose; the thread sanitizer would only say so";
#endif
  HeapRegion sender(kCapacity);
  HeapRegion receiver(kCapacity);
  const RingGeometry geometry{kCapacity, kMaxMessage};
  std::atomic<bool> stop{false};
  std::thread scribbler([&] {
    std::mt19937_64 random(3);
    while (!stop.load(std::memory_order_relaxed)) {  // RELAXED: only a flag to end the test
      sender.SetControl(kTailOffset, random() % (2 * kCapacity) & ~uint64_t{7});
      sender.SetData(random() % kCapacity & ~std::size_t{7}, random() % 2048);
      receiver.SetControl(kHeadOffset, random() % (2 * kCapacity) & ~uint64_t{7});
    }
  });
  std::vector<std::byte> buffer(kMaxMessage);
  int poisoned = 0;
  // Longer where the scribbler has not been let run yet, which takes more than all of these rounds.
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  for (int round = 0;
       round < 3000 || (poisoned == 0 && std::chrono::steady_clock::now() < patience); ++round) {
    TestConsumer consumer(receiver.own_control(), sender.peer_control(), sender.peer_data(),
                          geometry);
    TestProducer producer(sender.own_control(), sender.own_data(), receiver.peer_control(),
                          geometry);
    for (int i = 0; i < 20; ++i) {
      Record record;
      if (consumer.TryReceive(absl::MakeSpan(buffer).first(kMaxMessage), &record) == Outcome::kOk) {
        ASSERT_LE(record.size_bytes, kMaxMessage);
      }
      producer.HasFreeSpace(1000);
    }
    poisoned += consumer.violation() != Violation::kNone ? 1 : 0;
  }
  stop.store(true, std::memory_order_relaxed);  // RELAXED: only a flag to end the test
  scribbler.join();
  EXPECT_GT(poisoned, 0);
}

}  // namespace
}  // namespace parley

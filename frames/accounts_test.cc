// SPDX-License-Identifier: Apache-2.0

// The two private accounts of a frame pool, alone: what each says to every word of the peer's.

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "parley/boundary/untrusted.h"
#include "parley/boundary/violation.h"
#include "parley/frames/frame_wire.h"
#include "parley/frames/receiver_pool.h"
#include "parley/frames/sender_pool.h"
#include "parley/shm/frame_layout.h"

namespace parley {
namespace {

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
constexpr FrameGeometry kFrames = {3, 8192};

Untrusted<FrameReturnedWire> Returned(uint32_t slot, uint64_t generation,
                                      uint32_t kind = kFrameReturned) {
  return Untrusted<FrameReturnedWire>({kind, slot, generation});
}
Untrusted<FrameSentWire> Sent(uint32_t slot, uint64_t generation, uint64_t size_bytes,
                              uint32_t kind = kFrameSent) {
  return Untrusted<FrameSentWire>({kind, slot, generation, size_bytes});
}

uint32_t LendOne(FrameSenderPool* lender) {
  uint32_t slot = 99;
  EXPECT_TRUE(lender->TryTake(&slot));
  lender->Lend(slot);
  return slot;
}

// What is longer than kReuseBytes goes out again at once, what is shorter when others have been.
TEST(FrameSenderPoolTest, AFrameIsUsedAnewWhenEnoughElseWasWrittenAndNotMuchLater) {
  const auto order = [](uint64_t frame_bytes) {
    FrameSenderPool lender({4, frame_bytes});
    std::vector<uint32_t> slots;
    for (int i = 0; i < 6; ++i) {
      slots.push_back(LendOne(&lender));
      EXPECT_EQ(lender.TakeReturn(Returned(slots.back(), lender.generation(slots.back()))),
                Violation::kNone);
    }
    return slots;
  };
  EXPECT_EQ(order(FrameSenderPool::kReuseBytes), (std::vector<uint32_t>{3, 3, 3, 3, 3, 3}));
  EXPECT_EQ(order(FrameSenderPool::kReuseBytes / 2), (std::vector<uint32_t>{2, 3, 2, 3, 2, 3}));
  EXPECT_EQ(order(FrameSenderPool::kReuseBytes / 2 + 4096),
            (std::vector<uint32_t>{2, 3, 2, 3, 2, 3}));
  EXPECT_EQ(order(4096), (std::vector<uint32_t>{0, 1, 2, 3, 0, 1}));
}

TEST(FrameSenderPoolTest, WhatIsOutIsNotUsed) {
  FrameSenderPool lender({3, 4 << 20});
  EXPECT_EQ(LendOne(&lender), 2u);
  EXPECT_EQ(LendOne(&lender), 1u);
  EXPECT_EQ(LendOne(&lender), 0u);
  uint32_t slot = 99;
  EXPECT_FALSE(lender.TryTake(&slot));
  EXPECT_EQ(lender.TakeReturn(Returned(2, 1)), Violation::kNone);
  EXPECT_EQ(lender.TakeReturn(Returned(0, 1)), Violation::kNone);
  EXPECT_EQ(LendOne(&lender), 0u);
  EXPECT_EQ(LendOne(&lender), 2u);
  EXPECT_EQ(lender.generation(0), 2u);
  EXPECT_EQ(lender.generation(1), 1u);
}

TEST(FrameSenderPoolTest, AttackR12AReturnCountsOnceAndOnlyForWhatWasLent) {
  FrameSenderPool lender({3, 4 << 20});
  // Nothing is lent: nothing can come back.
  for (const uint64_t generation : {uint64_t{0}, uint64_t{1}, kMost}) {
    EXPECT_NE(lender.TakeReturn(Returned(0, generation)), Violation::kNone);
  }
  uint32_t slot = 99;
  ASSERT_TRUE(lender.TryTake(&slot));
  // Taken to be written, and not sent: the peer can know its number and has not been given it.
  EXPECT_NE(lender.TakeReturn(Returned(slot, 1)), Violation::kNone);
  lender.Lend(slot);
  EXPECT_NE(lender.TakeReturn(Returned(slot, 0)), Violation::kNone);
  EXPECT_NE(lender.TakeReturn(Returned(slot, 2)), Violation::kNone);
  EXPECT_NE(lender.TakeReturn(Returned(slot, 1, kFrameSent)), Violation::kNone);
  EXPECT_NE(lender.TakeReturn(Returned(1, 1)), Violation::kNone);
  EXPECT_NE(lender.TakeReturn(Returned(3, 1)), Violation::kNone);
  EXPECT_NE(lender.TakeReturn(Returned(std::numeric_limits<uint32_t>::max(), 1)), Violation::kNone);
  EXPECT_EQ(lender.lent_count(), 1u);
  EXPECT_EQ(lender.TakeReturn(Returned(slot, 1)), Violation::kNone);
  EXPECT_EQ(lender.free_count(), 3u);
  EXPECT_NE(lender.TakeReturn(Returned(slot, 1)), Violation::kNone);
  EXPECT_EQ(lender.free_count(), 3u);
}

TEST(FrameSenderPoolTest, WhatWasRevokedMayComeBackLateAndIsNotFreedTwice) {
  FrameSenderPool lender({2, 4 << 20});
  const uint32_t first = LendOne(&lender);
  const uint32_t second = LendOne(&lender);
  EXPECT_EQ(lender.RevokeOldest(), first);
  EXPECT_EQ(lender.free_count(), 1u);
  EXPECT_EQ(LendOne(&lender), first);                                  // generation 2
  EXPECT_EQ(lender.TakeReturn(Returned(first, 1)), Violation::kNone);  // on its way already
  EXPECT_EQ(lender.free_count(), 0u);
  EXPECT_EQ(lender.lent_count(), 2u);
  EXPECT_NE(lender.TakeReturn(Returned(first, 1)), Violation::kNone);
  EXPECT_EQ(lender.RevokeOldest(), second);
  EXPECT_EQ(lender.TakeReturn(Returned(second, 1)), Violation::kNone);  // revoked, not lent anew
  EXPECT_EQ(lender.free_count(), 1u);
  EXPECT_EQ(lender.TakeReturn(Returned(first, 2)), Violation::kNone);
  EXPECT_EQ(lender.free_count(), 2u);
  EXPECT_EQ(lender.RevokeOldest(), std::nullopt);
}

TEST(FrameSenderPoolTest, AUseThatWasNeverSentIsNotCounted) {
  FrameSenderPool lender({1, 4 << 20});
  uint32_t slot = 99;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(lender.TryTake(&slot));
    EXPECT_EQ(lender.generation(slot), 1u);
    lender.PutBack(slot);
  }
  EXPECT_NE(lender.TakeReturn(Returned(slot, 1)), Violation::kNone);
}

// Every sequence of seven steps with two frames, against a set of what is out.
class Sequences {
 public:
  void Walk(const FrameSenderPool& lender, const std::multiset<std::pair<uint32_t, uint64_t>>& out,
            const std::set<std::pair<uint32_t, uint64_t>>& late, int left) {
    ++visited_;
    ASSERT_EQ(lender.lent_count(), out.size());
    ASSERT_EQ(lender.free_count() + lender.lent_count(), 2u);
    if (left == 0) return;
    {
      FrameSenderPool next = lender;
      auto more = out;
      uint32_t slot = 99;
      if (next.TryTake(&slot)) {
        next.Lend(slot);
        more.insert({slot, next.generation(slot)});
      } else {
        ASSERT_EQ(out.size(), 2u);
      }
      Walk(next, more, late, left - 1);
    }
    {
      FrameSenderPool next = lender;
      auto less = out;
      auto more = late;
      const std::optional<uint32_t> slot = next.RevokeOldest();
      ASSERT_EQ(slot.has_value(), !out.empty());
      if (slot) {
        less.erase({*slot, next.generation(*slot)});
        more.insert({*slot, next.generation(*slot)});
      }
      Walk(next, less, more, left - 1);
    }
    for (uint32_t slot = 0; slot < 3; ++slot) {
      for (uint64_t generation = 0; generation < 5; ++generation) {
        FrameSenderPool next = lender;
        auto less = out;
        auto later = late;
        const std::pair<uint32_t, uint64_t> use = {slot, generation};
        const bool was_out = less.erase(use) != 0;
        const bool may = was_out || later.contains(use);
        const Violation found = next.TakeReturn(Returned(slot, generation));
        ASSERT_EQ(found == Violation::kNone, may) << slot << " " << generation;
        // An honest peer returns in the order in which it received: what is older is void.
        std::erase_if(later,
                      [&](const auto& l) { return l.first == slot && l.second <= generation; });
        if (may) Walk(next, less, later, left - 1);
      }
    }
  }
  int visited() const { return visited_; }

 private:
  int visited_ = 0;
};

TEST(FrameSenderPoolTest, EverySequenceOfSevenStepsAgreesWithASetOfWhatIsOut) {
  Sequences sequences;
  sequences.Walk(FrameSenderPool({2, 4 << 20}), {}, {}, 7);
  EXPECT_GT(sequences.visited(), 1000);
}

TEST(FrameReceiverPoolTest, AFrameThatExistsABytesCountThatFitsAndANewerUse) {
  FrameReceiverPool borrower(kFrames);
  FrameSentWire sent = {};
  EXPECT_NE(borrower.TakeSent(Sent(3, 1, 0), &sent), Violation::kNone);
  EXPECT_NE(borrower.TakeSent(Sent(std::numeric_limits<uint32_t>::max(), 1, 0), &sent),
            Violation::kNone);
  EXPECT_NE(borrower.TakeSent(Sent(0, 0, 0), &sent), Violation::kNone);
  EXPECT_NE(borrower.TakeSent(Sent(0, 1, 8193), &sent), Violation::kNone);
  EXPECT_NE(borrower.TakeSent(Sent(0, 1, kMost), &sent), Violation::kNone);
  EXPECT_NE(borrower.TakeSent(Sent(0, 1, 0, kFrameReturned), &sent), Violation::kNone);
  EXPECT_FALSE(borrower.Holds(0));
  EXPECT_EQ(borrower.TakeSent(Sent(0, 1, 8192), &sent), Violation::kNone);
  EXPECT_EQ(sent.size_bytes, 8192u);
  EXPECT_TRUE(borrower.Holds(0, 1));
  EXPECT_NE(borrower.TakeSent(Sent(0, 1, 8192), &sent), Violation::kNone);
  borrower.GiveBack(0);
  EXPECT_FALSE(borrower.Holds(0));
  EXPECT_NE(borrower.TakeSent(Sent(0, 1, 8192), &sent), Violation::kNone);
  EXPECT_EQ(borrower.TakeSent(Sent(0, kMost, 0), &sent), Violation::kNone);
  EXPECT_NE(borrower.TakeSent(Sent(0, kMost, 0), &sent), Violation::kNone);
}

TEST(FrameReceiverPoolTest, ANewerUseOfAFrameThatIsHeldEndsTheOlderHold) {
  FrameReceiverPool borrower(kFrames);
  FrameSentWire sent = {};
  ASSERT_EQ(borrower.TakeSent(Sent(2, 5, 1), &sent), Violation::kNone);
  ASSERT_EQ(borrower.TakeSent(Sent(2, 7, 1), &sent), Violation::kNone);
  EXPECT_FALSE(borrower.Holds(2, 5));
  EXPECT_TRUE(borrower.Holds(2, 7));
  EXPECT_EQ(borrower.taken_back(), 1u);
}

TEST(FrameReceiverPoolTest, PromiseP1MemoryEveryOffsetOfAnySlotIsInside) {
  const FrameReceiverPool borrower(kFrames);
  for (uint32_t slot = 0; slot < 200; ++slot) {
    EXPECT_LE(borrower.OffsetOf(slot) + kFrames.frame_bytes, FrameAreaBytes(kFrames));
  }
  EXPECT_LE(borrower.OffsetOf(std::numeric_limits<uint32_t>::max()) + kFrames.frame_bytes,
            FrameAreaBytes(kFrames));
}

}  // namespace
}  // namespace parley

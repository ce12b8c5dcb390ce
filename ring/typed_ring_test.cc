// SPDX-License-Identifier: Apache-2.0
#include "parley/ring/typed_ring.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "parley/ring/layout.h"
#include "parley/testing/heap_memory.h"

namespace parley {
namespace {

using testing::HeapOwnMemory;
using testing::HeapPeerMemory;
using testing::HeapRegion;

constexpr uint64_t kCapacity = 4096;

struct Sample {
  int64_t time_ns;
  std::array<float, 3> axis;
  uint32_t flags;
};
static_assert(sizeof(Sample) == 24);  // does not divide the capacity: positions wrap mid-element

template <typename T>
struct Pair {
  HeapRegion sender{kCapacity};
  HeapRegion receiver{kCapacity};
  TypedProducer<T, HeapOwnMemory, HeapPeerMemory> producer{sender.own_control(), sender.own_data(),
                                                           receiver.peer_control(), kCapacity};
  TypedConsumer<T, HeapOwnMemory, HeapPeerMemory> consumer{
      receiver.own_control(), sender.peer_control(), sender.peer_data(), kCapacity};
};

TEST(TypedRingTest, ElementsOfAnOddSizeAgreeWithAQueue) {
  Pair<Sample> pair;
  std::deque<Sample> model;
  std::mt19937 random(1);
  int64_t next = 0;
  for (int step = 0; step < 100'000; ++step) {
    std::vector<Sample> batch(random() % 40);
    if (random() % 2 == 0) {
      for (Sample& s : batch) s = Sample{next++, {1.0f, 2.0f, static_cast<float>(step)}, 9};
      const std::size_t room = pair.producer.capacity() - model.size();
      const std::size_t sent = pair.producer.TryPush(absl::MakeConstSpan(batch));
      // The consumer may not have told of an eighth of the ring, as long as it knows of more.
      const std::size_t untold = model.empty() ? 0 : kCapacity / 8 / sizeof(Sample) + 1;
      ASSERT_LE(sent, std::min(room, batch.size()));
      ASSERT_GE(sent, std::min(room - std::min(room, untold), batch.size()));
      model.insert(model.end(), batch.begin(), batch.begin() + static_cast<std::ptrdiff_t>(sent));
      next -= static_cast<int64_t>(batch.size() - sent);
    } else {
      const std::size_t got = pair.consumer.TryPop(absl::MakeSpan(batch));
      // A snapshot may be short of the model, never beyond it.
      ASSERT_LE(got, model.size());
      if (!model.empty() && !batch.empty()) {
        ASSERT_GT(got, 0u);
      }
      for (std::size_t i = 0; i < got; ++i) {
        ASSERT_EQ(batch[i].time_ns, model.front().time_ns);
        ASSERT_EQ(batch[i].axis, model.front().axis);
        model.pop_front();
      }
    }
  }
}

TEST(TypedRingTest, ByteStreamForm) {
  Pair<std::byte> pair;
  std::vector<std::byte> out(5000, std::byte{7});
  EXPECT_EQ(pair.producer.TryPush(absl::MakeConstSpan(out)), kCapacity);
  EXPECT_EQ(pair.producer.TryPush(absl::MakeConstSpan(out)), 0u);
  EXPECT_EQ(pair.producer.outcome(), Outcome::kWouldBlock);
  std::vector<std::byte> in(5000);
  EXPECT_EQ(pair.consumer.TryPop(absl::MakeSpan(in)), kCapacity);
  EXPECT_EQ(in[4095], std::byte{7});
  pair.producer.Close();
  EXPECT_EQ(pair.consumer.TryPop(absl::MakeSpan(in)), 0u);
  EXPECT_EQ(pair.consumer.outcome(), Outcome::kClosed);
}

TEST(TypedRingTest, PositionsThatAreNoElementBoundaryPoison) {
  for (const uint64_t hostile : {uint64_t{23}, uint64_t{25}, uint64_t{8}, kCapacity + 8}) {
    Pair<Sample> pair;
    pair.sender.SetControl(kTailOffset, hostile);
    Sample sample;
    EXPECT_FALSE(pair.consumer.TryPop(&sample));
    EXPECT_EQ(pair.consumer.outcome(), Outcome::kPoisoned) << hostile;
    pair.sender.SetControl(kTailOffset, 24);
    EXPECT_FALSE(pair.consumer.TryPop(&sample));
  }
  Pair<Sample> pair;
  std::vector<Sample> many(kCapacity / 24);
  ASSERT_EQ(pair.producer.TryPush(absl::MakeConstSpan(many)), many.size());
  pair.receiver.SetControl(kHeadOffset, 8);
  EXPECT_FALSE(pair.producer.TryPush(many[0]));
  EXPECT_EQ(pair.producer.outcome(), Outcome::kPoisoned);
  EXPECT_EQ(pair.producer.violation(), Violation::kConsumerPositionMisaligned);
}

TEST(TypedRingTest, AsksWithoutTaking) {
  Pair<Sample> pair;
  const std::size_t all = pair.consumer.capacity();
  EXPECT_EQ(all, kCapacity / sizeof(Sample));
  EXPECT_FALSE(pair.consumer.HasData());
  EXPECT_TRUE(pair.producer.HasFreeSpace(all));
  ASSERT_TRUE(pair.producer.TryPush(Sample{1, {}, 0}));
  EXPECT_FALSE(pair.producer.HasFreeSpace(all));
  EXPECT_TRUE(pair.producer.HasFreeSpace(all - 1));
  EXPECT_TRUE(pair.consumer.HasData());
  Sample sample = {};
  EXPECT_TRUE(pair.consumer.TryPop(&sample));
  EXPECT_EQ(sample.time_ns, 1);
  EXPECT_FALSE(pair.consumer.HasData());
  EXPECT_TRUE(pair.producer.HasFreeSpace(all));
}

TEST(TypedRingTest, AConsumerThatClosesEndsTheProducer) {
  Pair<Sample> pair;
  pair.consumer.Close();
  std::vector<Sample> many(kCapacity / sizeof(Sample) + 1);
  std::size_t sent = 0;
  do {
    sent = pair.producer.TryPush(absl::MakeConstSpan(many));
  } while (sent != 0);
  EXPECT_EQ(pair.producer.outcome(), Outcome::kClosed);
  Sample sample;
  EXPECT_FALSE(pair.consumer.TryPop(&sample));
  EXPECT_EQ(pair.consumer.outcome(), Outcome::kClosed);
}

TEST(TypedRingTest, AViolationFoundElsewhereEndsBothAndTheFirstStays) {
  Pair<Sample> pair;
  ASSERT_TRUE(pair.producer.TryPush(Sample{}));
  pair.producer.Poison(Violation::kDoorbellFlood);
  pair.consumer.Poison(Violation::kDoorbellFlood);
  pair.consumer.Poison(Violation::kRecordTooLong);
  EXPECT_FALSE(pair.producer.TryPush(Sample{}));
  EXPECT_EQ(pair.producer.outcome(), Outcome::kPoisoned);
  EXPECT_EQ(pair.producer.violation(), Violation::kDoorbellFlood);
  Sample sample;
  EXPECT_FALSE(pair.consumer.TryPop(&sample));
  EXPECT_EQ(pair.consumer.outcome(), Outcome::kPoisoned);
  EXPECT_EQ(pair.consumer.violation(), Violation::kDoorbellFlood);
}

template <typename T>
concept CanBeTyped = requires { typename TypedProducer<T>; };
struct Padded {
  uint8_t a;
  uint32_t b;
};
static_assert(CanBeTyped<float> && CanBeTyped<Sample>);
static_assert(!CanBeTyped<Padded> && !CanBeTyped<void*> && !CanBeTyped<bool>);

}  // namespace
}  // namespace parley

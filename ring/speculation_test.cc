// SPDX-License-Identifier: Apache-2.0

// What a processor reads ahead while a validation is not decided yet (attack R9). The memory here
// accepts every value, as a mispredicted branch does: all that the receiving ends read then must
// still lie inside of the data, which are mapped twice in a row.

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/untrusted.h"
#include "parley/ring/consumer.h"
#include "parley/ring/layout.h"
#include "parley/ring/typed_ring.h"

namespace parley {
namespace {

constexpr uint64_t kCapacity = 4096;

// A value of which every check says yes.
class Mispredicted {
 public:
  explicit Mispredicted(uint64_t value) : value_(value) {}
  template <typename Accept>
  Validated<uint64_t> Validate(Accept&&) const {
    return Validated<uint64_t>(value_, true);
  }

 private:
  uint64_t value_;
};

// Values from around every boundary, and what was read outside of the data.
struct Script {
  std::mt19937_64 random{1};
  uint64_t reads = 0;
  uint64_t outside = 0;

  uint64_t Next() {
    constexpr std::array<uint64_t, 14> kAround = {
        0,          8,           kCapacity - 8, kCapacity,   kCapacity + 8, 2 * kCapacity,
        1U << 20,   1U << 30,    0x7fff'ffff,   0x8000'0000, 0xffff'fff8,   0xffff'ffff,
        1ULL << 62, ~uint64_t{7}};
    const uint64_t base = kAround[random() % kAround.size()];
    return random() % 4 == 0 ? random() : base + random() % 3 - 1;
  }
  void Read(std::size_t offset, std::size_t size_bytes) {
    ++reads;
    if (offset > 2 * kCapacity || size_bytes > 2 * kCapacity - offset) ++outside;
  }
};

class MispredictedPeer {
 public:
  struct View {};
  MispredictedPeer(Script* script, bool is_data) : script_(script), is_data_(is_data) {}
  Mispredicted LoadAcquire64(std::size_t) const { return Mispredicted(script_->Next()); }
  Mispredicted LoadRelaxed64(std::size_t offset) const {
    if (is_data_) script_->Read(offset, sizeof(uint64_t));
    return Mispredicted(script_->Next());
  }
  void CopyOut(std::size_t offset, absl::Span<std::byte> into) const {
    script_->Read(offset, into.size());
  }
  View ViewOf(std::size_t offset, std::size_t size_bytes) const {
    script_->Read(offset, size_bytes);
    return {};
  }
  void Prefetch(std::size_t) const {}

 private:
  Script* script_;
  bool is_data_;
};

class SpeculationTest : public testing::Test {
 protected:
  Script script_;
  std::vector<std::byte> control_ = std::vector<std::byte>(kControlBytes);
  OwnMemory own_control_ = OwnMemory(control_.data(), control_.size());
};

TEST_F(SpeculationTest, AttackR9ARecordsSizeIsConfinedBeforeItIsUsed) {
  for (const uint32_t max_message_bytes : {0U, 1000U, 4088U}) {
    for (int i = 0; i < 20'000; ++i) {
      BasicConsumer<OwnMemory, MispredictedPeer> consumer(
          own_control_, MispredictedPeer(&script_, false), MispredictedPeer(&script_, true),
          RingGeometry{kCapacity, max_message_bytes});
      Record record;
      MispredictedPeer::View view;
      for (int call = 0; call < 4; ++call) consumer.TryPeek(&record, &view);
    }
  }
  EXPECT_GT(script_.reads, 100'000u);
  EXPECT_EQ(script_.outside, 0u);
}

TEST_F(SpeculationTest, AttackR9ElementsEndInsideOfTheMapping) {
  std::vector<uint64_t> into(4 * kCapacity / sizeof(uint64_t));
  for (int i = 0; i < 20'000; ++i) {
    TypedConsumer<uint64_t, OwnMemory, MispredictedPeer> consumer(
        own_control_, MispredictedPeer(&script_, false), MispredictedPeer(&script_, true),
        kCapacity);
    for (int call = 0; call < 4; ++call) consumer.TryPop(absl::MakeSpan(into));
  }
  EXPECT_GT(script_.reads, 10'000u);
  EXPECT_EQ(script_.outside, 0u);
}

}  // namespace
}  // namespace parley

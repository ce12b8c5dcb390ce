// SPDX-License-Identifier: Apache-2.0

// The steps of core.h in their order, fences and all: no processor here would show that one of them
// is missing.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/untrusted.h"
#include "parley/patterns/latest/layout.h"

namespace parley {
namespace {

std::vector<std::string> steps;

void RecordFence(std::memory_order order) {
  // PAIRS WITH: nothing: it is only compared.
  steps.push_back(order == std::memory_order_seq_cst ? "fence in full" : "fence to acquire");
}

}  // namespace
}  // namespace parley

namespace std {
// NOLINTNEXTLINE(cert-dcl58-cpp): what core.h calls here in place of the library's
inline void parley_recorded_fence(memory_order order) { ::parley::RecordFence(order); }
}  // namespace std

#define atomic_thread_fence parley_recorded_fence
#include "parley/patterns/latest/core.h"
#undef atomic_thread_fence

namespace parley {
namespace {

const LatestGeometry& Geometry() {
  static const LatestGeometry geometry =
      *LatestGeometry::Make({.max_value_bytes = 128, .slots = 2});
  return geometry;
}

std::string Place(std::size_t offset) {
  if (offset == LatestGeometry::kVersionOffset) return "version";
  for (const uint32_t slot : {0u, 1u}) {
    const std::string of = " of slot " + std::to_string(slot);
    if (offset == Geometry().SequenceOffset(slot)) return "sequence" + of;
    if (offset == Geometry().SizeOffset(slot)) return "size" + of;
    if (offset == Geometry().ValueOffset(slot)) return "value" + of;
  }
  return "nothing at " + std::to_string(offset);
}

struct RecordedOwnMemory {
  void StoreRelaxed64(std::size_t offset, uint64_t value) {
    steps.push_back(Place(offset) + " = " + std::to_string(value));
  }
  void StoreRelease64(std::size_t offset, uint64_t value) {
    steps.push_back(Place(offset) + " = " + std::to_string(value) + ", released");
  }
  void CopyIn(std::size_t offset, absl::Span<const std::byte> from) {
    steps.push_back(Place(offset) + " of " + std::to_string(from.size()));
  }
  absl::Span<std::byte> Writable(std::size_t offset, std::size_t length) {
    steps.push_back("place of the " + Place(offset));
    return {bytes->data(), length};
  }
  std::vector<std::byte>* bytes;
};

struct RecordedPeerMemory {
  Untrusted<uint64_t> LoadAcquire64(std::size_t offset) const {
    steps.push_back(Place(offset) + ", acquired");
    return Untrusted<uint64_t>(ValueAt(offset));
  }
  Untrusted<uint64_t> LoadRelaxed64(std::size_t offset) const {
    steps.push_back(Place(offset));
    return Untrusted<uint64_t>(ValueAt(offset));
  }
  void CopyOut(std::size_t offset, absl::Span<std::byte> into) const {
    steps.push_back(Place(offset) + " of " + std::to_string(into.size()));
  }
  void Prefetch(std::size_t /*offset*/) const {}
  // Version 3 is complete, and has 5 bytes.
  uint64_t ValueAt(std::size_t offset) const {
    if (offset == LatestGeometry::kVersionOffset) return 3;
    if (offset == Geometry().SequenceOffset(1)) return 6;
    if (offset == Geometry().SizeOffset(1)) return 5;
    return 99;
  }
};

std::vector<std::string> Taken() { return std::exchange(steps, {}); }

TEST(LatestOrderingTest, AWriterMarksTheSlotFencesWritesFencesAndPublishes) {
  std::vector<std::byte> bytes(128);
  internal::BasicLatestWriter<RecordedOwnMemory> writer({&bytes}, Geometry());
  const std::vector<std::byte> value(5);
  writer.Write(value);
  EXPECT_EQ(Taken(), (std::vector<std::string>{"sequence of slot 1 = 1", "fence in full",
                                               "value of slot 1 of 5", "size of slot 1 = 5",
                                               "fence in full", "sequence of slot 1 = 2, released",
                                               "version = 1, released"}));
  // In place: marked once, however often the place is asked for.
  EXPECT_EQ(writer.Next().size(), 128u);
  EXPECT_EQ(writer.Next().data(), bytes.data());
  writer.Publish(7);
  EXPECT_EQ(Taken(), (std::vector<std::string>{
                         "sequence of slot 0 = 3", "fence in full", "place of the value of slot 0",
                         "place of the value of slot 0", "size of slot 0 = 7", "fence in full",
                         "sequence of slot 0 = 4, released", "version = 2, released"}));
  // A value that nobody touched has its mark as well.
  writer.Publish(0);
  EXPECT_EQ(Taken(),
            (std::vector<std::string>{
                "sequence of slot 1 = 5", "fence in full", "size of slot 1 = 0", "fence in full",
                "sequence of slot 1 = 6, released", "version = 3, released"}));
}

TEST(LatestOrderingTest, AReaderAcquiresTheSequenceCopiesFencesAndLooksAgain) {
  internal::BasicLatestReader<RecordedPeerMemory> reader({}, Geometry(), 0, 128);
  std::vector<std::byte> into(128);
  LatestValue value;
  EXPECT_EQ(reader.TryRead(absl::MakeSpan(into), &value), LatestOutcome::kOk);
  EXPECT_EQ(Taken(), (std::vector<std::string>{"version, acquired", "sequence of slot 1, acquired",
                                               "size of slot 1", "value of slot 1 of 5",
                                               "fence to acquire", "sequence of slot 1"}));
  EXPECT_EQ(reader.TryRead(absl::MakeSpan(into), &value), LatestOutcome::kNoNewer);
  EXPECT_EQ(Taken(), (std::vector<std::string>{"version, acquired"}));
  EXPECT_FALSE(reader.HasNewer());
  EXPECT_EQ(Taken(), (std::vector<std::string>{"version, acquired"}));
}

}  // namespace
}  // namespace parley

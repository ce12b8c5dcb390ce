// SPDX-License-Identifier: Apache-2.0
#include "parley/patterns/latest/core.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/untrusted.h"
#include "parley/boundary/violation.h"
#include "parley/shm/sections.h"
#include "parley/testing/heap_memory.h"

namespace parley {
namespace {

using testing::Circle;
using testing::HeapOwnMemory;
using testing::HeapPeerMemory;
using Writer = internal::BasicLatestWriter<HeapOwnMemory>;
using internal::BasicLatestReader;

// One that takes all that fits.
template <typename T>
BasicLatestReader<T> ReaderOf(T memory, const LatestGeometry& geometry) {
  return BasicLatestReader<T>(memory, geometry, 0, geometry.max_value_bytes());
}

LatestGeometry Geometry(uint64_t max_value_bytes, uint32_t slots = 4) {
  return *LatestGeometry::Make({.max_value_bytes = max_value_bytes, .slots = slots});
}

// A section of exactly the bytes that the geometry asks for.
struct Memory {
  explicit Memory(const LatestGeometry& g) : geometry(g), words(g.section_bytes() / 8) {}
  Circle circle() { return {words.data(), words.size() * 8, words.size() * 8}; }
  HeapOwnMemory own() { return HeapOwnMemory(circle()); }
  HeapPeerMemory peer() { return HeapPeerMemory(circle()); }
  void Set(uint64_t offset, uint64_t value) { own().StoreRelease64(offset, value); }

  LatestGeometry geometry;
  std::vector<uint64_t> words;
};

std::vector<std::byte> Bytes(std::size_t count, uint8_t fill) {
  return std::vector<std::byte>(count, std::byte{fill});
}

TEST(LatestGeometryTest, OnlyAllowedSizesCanBeMade) {
  for (const LatestGeometry::Options& bad : {LatestGeometry::Options(),
                                             {0, 4},
                                             {kMaxLatestValueBytes + 1, 4},
                                             {8, 0},
                                             {8, 1},
                                             {8, 3},
                                             {8, 63},
                                             {8, 65},
                                             {8, 128}}) {
    EXPECT_EQ(LatestGeometry::Make(bad).status().code(), absl::StatusCode::kInvalidArgument);
  }
  for (const uint32_t slots : {2u, 4u, 8u, 16u, 32u, 64u}) {
    for (const uint64_t bytes : {uint64_t{1}, kMaxLatestValueBytes}) {
      const auto good = LatestGeometry::Make({.max_value_bytes = bytes, .slots = slots});
      ASSERT_TRUE(good.ok()) << good.status();
      EXPECT_EQ(good->slots(), slots);
      EXPECT_EQ(good->max_value_bytes(), (bytes + 127) / 128 * 128);
    }
  }
  EXPECT_EQ(Geometry(128).max_value_bytes(), 128u);
  EXPECT_EQ(LatestValue().version, 0u);
  EXPECT_EQ(LatestValue().size_bytes, 0u);
  const LatestGeometry geometry = Geometry(129, 2);
  EXPECT_EQ(geometry.max_value_bytes(), 256u);
  EXPECT_EQ(geometry.section(), (Section{kSectionLatest, 2, 512}));
  EXPECT_EQ(geometry.section_bytes(), 1024u);
  EXPECT_EQ(LatestGeometry::kVersionOffset, 0u);
  EXPECT_EQ(geometry.SequenceOffset(0), 128u);
  EXPECT_EQ(geometry.SizeOffset(0), 136u);
  EXPECT_EQ(geometry.ValueOffset(0), 256u);
  EXPECT_EQ(geometry.SequenceOffset(1), 640u);
  EXPECT_EQ(geometry.SizeOffset(1), 648u);
  EXPECT_EQ(geometry.ValueOffset(1), 768u);
}

TEST(LatestGeometryTest, AnAnnouncedSectionIsOneThatMakeGivesOrRefused) {
  for (const uint64_t bytes : {uint64_t{1}, uint64_t{128}, uint64_t{4096}, kMaxLatestValueBytes}) {
    const LatestGeometry geometry = Geometry(bytes, 8);
    const auto announced = LatestGeometry::FromSection(geometry.section());
    ASSERT_TRUE(announced.ok()) << announced.status();
    EXPECT_EQ(*announced, geometry);
    EXPECT_LE(geometry.ValueOffset(7) + geometry.max_value_bytes(), geometry.section_bytes());
  }
  constexpr uint64_t kMost = ~uint64_t{0};
  for (const Section& hostile :
       {Section{4, 4, 512}, Section{kSectionLatest, 0, 512}, Section{kSectionLatest, 1, 512},
        Section{kSectionLatest, 3, 512}, Section{kSectionLatest, 128, 512},
        Section{kSectionLatest, 0xffffffff, 512}, Section{kSectionLatest, 4, 0},
        Section{kSectionLatest, 4, 128}, Section{kSectionLatest, 4, 256},
        Section{kSectionLatest, 4, 513}, Section{kSectionLatest, 4, kMost - 127},
        Section{kSectionLatest, 4, kLatestFrontBytes + kMaxLatestValueBytes + 128}}) {
    EXPECT_EQ(LatestGeometry::FromSection(hostile).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(LatestTest, TheNewestValueIsReadOnceAndWhole) {
  Memory section(Geometry(100));
  Writer writer(section.own(), section.geometry);
  auto reader = ReaderOf(section.peer(), section.geometry);
  auto buffer = Bytes(128, 0xff);
  LatestValue value;
  EXPECT_FALSE(reader.HasNewer());
  EXPECT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), LatestOutcome::kNoNewer);
  for (uint8_t i = 1; i < 20; ++i) {
    writer.Write(Bytes(i, i));
    writer.Write(Bytes(i + 1, i));  // the one before is never seen
    EXPECT_TRUE(reader.HasNewer());
    ASSERT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), LatestOutcome::kOk);
    EXPECT_EQ(value.version, 2u * i);
    ASSERT_EQ(value.size_bytes, i + 1u);
    EXPECT_EQ(std::vector(buffer.begin(), buffer.begin() + i + 1), Bytes(i + 1, i));
    EXPECT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), LatestOutcome::kNoNewer);
  }
  writer.Publish(0);
  EXPECT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), LatestOutcome::kOk);
  EXPECT_EQ(value.size_bytes, 0u);
}

TEST(LatestTest, AValueIsWrittenInPlaceAndSeenWhenItIsPublished) {
  Memory section(Geometry(16));
  Writer writer(section.own(), section.geometry);
  auto reader = ReaderOf(section.peer(), section.geometry);
  auto buffer = Bytes(128, 0);
  LatestValue value;
  std::memset(writer.Next().data(), 7, 16);
  EXPECT_EQ(writer.Next().data(), writer.Next().data());
  EXPECT_FALSE(reader.HasNewer());
  writer.Publish(16);
  ASSERT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), LatestOutcome::kOk);
  EXPECT_EQ(std::vector(buffer.begin(), buffer.begin() + 16), Bytes(16, 7));
}

// Writes between the reader's loads: what a writer at full speed does.
class OvertakingMemory {
 public:
  OvertakingMemory(Memory* section, Writer* writer, int versions_per_copy)
      : section_(section), writer_(writer), versions_per_copy_(versions_per_copy) {}
  Untrusted<uint64_t> LoadAcquire64(std::size_t offset) const {
    return section_->peer().LoadAcquire64(offset);
  }
  Untrusted<uint64_t> LoadRelaxed64(std::size_t offset) const {
    return section_->peer().LoadRelaxed64(offset);
  }
  void CopyOut(std::size_t offset, absl::Span<std::byte> into) const {
    ++copies;
    const std::size_t half = into.size() / 2;
    section_->peer().CopyOut(offset, into.first(half));
    for (int i = 0; i < versions_per_copy_; ++i) {
      const auto next = static_cast<uint8_t>(writer_->version() + 1);
      writer_->Write(Bytes(into.size(), next));
    }
    section_->peer().CopyOut(offset + half, into.subspan(half));
  }
  void Prefetch(std::size_t /*offset*/) const {}

  static inline int copies = 0;

 private:
  Memory* section_;
  Writer* writer_;
  int versions_per_copy_;
};

TEST(LatestTest, AValueThatIsOvertakenIsRefusedAndNeverTorn) {
  for (const uint32_t slots : {2u, 4u, 8u}) {
    for (int overtaking = 0; overtaking < 12; ++overtaking) {
      Memory section(Geometry(32, slots));
      Writer writer(section.own(), section.geometry);
      auto reader = ReaderOf(OvertakingMemory(&section, &writer, overtaking), section.geometry);
      writer.Write(Bytes(32, 1));
      auto buffer = Bytes(128, 0);
      LatestValue value;
      OvertakingMemory::copies = 0;
      const LatestOutcome outcome = reader.TryRead(absl::MakeSpan(buffer), &value);
      EXPECT_EQ(OvertakingMemory::copies, outcome == LatestOutcome::kOk ? 1 : 4);
      // A slot is reused after `slots` versions.
      EXPECT_EQ(outcome, overtaking < static_cast<int>(slots) ? LatestOutcome::kOk
                                                              : LatestOutcome::kOvertaken)
          << slots << " slots, overtaken by " << overtaking;
      if (outcome == LatestOutcome::kOk) {
        EXPECT_EQ(std::vector(buffer.begin(), buffer.begin() + 32),
                  Bytes(32, static_cast<uint8_t>(value.version)));
      }
      EXPECT_EQ(reader.violation(), Violation::kNone);
    }
  }
}

// What is asked for before it is known to be there.
class PrefetchedMemory {
 public:
  PrefetchedMemory(Memory* section, std::vector<std::size_t>* prefetched)
      : section_(section), prefetched_(prefetched) {}
  Untrusted<uint64_t> LoadAcquire64(std::size_t offset) const {
    return section_->peer().LoadAcquire64(offset);
  }
  Untrusted<uint64_t> LoadRelaxed64(std::size_t offset) const {
    return section_->peer().LoadRelaxed64(offset);
  }
  void CopyOut(std::size_t offset, absl::Span<std::byte> into) const {
    section_->peer().CopyOut(offset, into);
  }
  void Prefetch(std::size_t offset) const { prefetched_->push_back(offset); }

 private:
  Memory* section_;
  std::vector<std::size_t>* prefetched_;
};

TEST(LatestTest, TheNextVersionsLinesAreAskedForOnceAfterEachValue) {
  for (const auto& [size, slots] :
       {std::pair(std::size_t{1}, 2u), std::pair(std::size_t{1}, 8u),
        std::pair(std::size_t{129}, 4u), std::pair(std::size_t{5000}, 2u)}) {
    const std::size_t bytes = size;
    Memory section(Geometry(size, slots));
    Writer writer(section.own(), section.geometry);
    std::vector<std::size_t> prefetched;
    auto reader = ReaderOf(PrefetchedMemory(&section, &prefetched), section.geometry);
    auto buffer = Bytes(section.geometry.max_value_bytes(), 0);
    const auto read = [&] {
      prefetched.clear();
      LatestValue value;
      return reader.TryRead(absl::MakeSpan(buffer), &value);
    };
    // Of a version: its sequence, and its value as far as the one before went.
    const auto lines_of = [&](uint32_t version) {
      const uint32_t slot = section.geometry.SlotOf(version);
      std::vector<std::size_t> lines = {section.geometry.SequenceOffset(slot)};
      for (std::size_t i = 0; i < std::min(bytes, std::size_t{1024}); i += 128) {
        lines.push_back(section.geometry.ValueOffset(slot) + i);
      }
      return lines;
    };
    writer.Write(Bytes(size, 1));
    ASSERT_EQ(read(), LatestOutcome::kOk);
    EXPECT_TRUE(prefetched.empty());
    writer.Write(Bytes(size, 2));
    ASSERT_EQ(read(), LatestOutcome::kOk);
    EXPECT_EQ(prefetched, lines_of(2));
    // The first poll for the next version asks for its lines, the others leave the writer alone.
    ASSERT_EQ(read(), LatestOutcome::kNoNewer);
    EXPECT_EQ(prefetched, lines_of(3));
    ASSERT_EQ(read(), LatestOutcome::kNoNewer);
    EXPECT_TRUE(prefetched.empty());
    writer.Write(Bytes(size, 3));
    ASSERT_EQ(read(), LatestOutcome::kOk);
    EXPECT_TRUE(prefetched.empty());
  }
}

TEST(LatestTest, AVersionThatIsBeingWrittenIsNotRead) {
  Memory section(Geometry(8, 2));
  Writer writer(section.own(), section.geometry);
  auto reader = ReaderOf(section.peer(), section.geometry);
  writer.Write(Bytes(8, 1));
  writer.Write(Bytes(8, 2));
  writer.Next();  // version 3 begins in the slot of version 1
  auto buffer = Bytes(128, 0);
  LatestValue value;
  ASSERT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), LatestOutcome::kOk);
  EXPECT_EQ(value.version, 2u);
  // The slot of the newest version is being written: only a liar does that.
  section.Set(section.geometry.SequenceOffset(1), 5);
  section.Set(LatestGeometry::kVersionOffset, 3);
  EXPECT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), LatestOutcome::kOvertaken);
  EXPECT_EQ(reader.violation(), Violation::kNone);
}

TEST(LatestTest, EachLieIsAViolationForGood) {
  struct Lie {
    uint64_t offset;
    uint64_t value;
    Violation violation;
  };
  const LatestGeometry geometry = Geometry(24);
  constexpr uint64_t kVersion = LatestGeometry::kVersionOffset;
  for (const Lie& lie : {Lie{kVersion, 0, Violation::kProducerPositionBackwards},
                         Lie{kVersion, 1, Violation::kProducerPositionBackwards},
                         Lie{kVersion, ~uint64_t{0}, Violation::kProducerPositionOutOfRange},
                         Lie{kVersion, uint64_t{1} << 62, Violation::kProducerPositionOutOfRange},
                         Lie{geometry.SizeOffset(3), 129, Violation::kRecordTooLong},
                         Lie{geometry.SizeOffset(3), ~uint64_t{0}, Violation::kRecordTooLong}}) {
    Memory section(geometry);
    Writer writer(section.own(), section.geometry);
    auto reader = ReaderOf(section.peer(), section.geometry);
    auto buffer = Bytes(128, 0);
    LatestValue value;
    for (uint8_t i = 1; i <= 2; ++i) writer.Write(Bytes(24, i));
    ASSERT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), LatestOutcome::kOk);
    writer.Write(Bytes(24, 3));
    section.Set(lie.offset, lie.value);
    EXPECT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), LatestOutcome::kPoisoned)
        << lie.value;
    EXPECT_EQ(reader.violation(), lie.violation);
    writer.Write(Bytes(24, 4));
    EXPECT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), LatestOutcome::kPoisoned);
    EXPECT_TRUE(reader.HasNewer());  // a wait ends
  }
}

// Also where no newer version is there to be looked at.
TEST(LatestTest, AfterAViolationAWaitEndsAtOnce) {
  Memory section(Geometry(24));
  Writer writer(section.own(), section.geometry);
  auto reader = ReaderOf(section.peer(), section.geometry);
  auto buffer = Bytes(128, 0);
  LatestValue value;
  writer.Write(Bytes(24, 1));
  ASSERT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), LatestOutcome::kOk);
  EXPECT_FALSE(reader.HasNewer());
  reader.Poison(Violation::kUnexpectedMessage);
  reader.Poison(Violation::kMetadataInvalid);
  EXPECT_EQ(reader.violation(), Violation::kUnexpectedMessage);  // the first
  EXPECT_TRUE(reader.HasNewer());
  EXPECT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), LatestOutcome::kPoisoned);
}

// A lie that HasNewer finds is one, too.
TEST(LatestTest, HasNewerFindsALie) {
  Memory section(Geometry(24));
  auto reader = ReaderOf(section.peer(), section.geometry);
  section.Set(LatestGeometry::kVersionOffset, (uint64_t{1} << 62) - 1);
  EXPECT_TRUE(reader.HasNewer());
  EXPECT_EQ(reader.violation(), Violation::kNone);
  section.Set(LatestGeometry::kVersionOffset, uint64_t{1} << 62);
  static_cast<void>(reader.HasNewer());
  EXPECT_EQ(reader.violation(), Violation::kProducerPositionOutOfRange);
}

TEST(LatestTest, ValuesThatWereNotAgreedOnAreAViolation) {
  for (const auto& [size, violation] :
       {std::pair(7, Violation::kMetadataInvalid), std::pair(8, Violation::kNone),
        std::pair(9, Violation::kRecordTooLong)}) {
    Memory section(Geometry(100));
    Writer writer(section.own(), section.geometry);
    BasicLatestReader<HeapPeerMemory> reader(section.peer(), section.geometry, 8, 8);
    std::array<std::byte, 8> buffer;
    LatestValue value;
    writer.Write(Bytes(static_cast<std::size_t>(size), 1));
    EXPECT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value),
              violation == Violation::kNone ? LatestOutcome::kOk : LatestOutcome::kPoisoned);
    EXPECT_EQ(reader.violation(), violation);
  }
}

TEST(LatestDeathTest, PromiseP9AbortIsOursOnlyTheCallersBugsAbort) {
  Memory section(Geometry(8));
  Writer writer(section.own(), section.geometry);
  auto reader = ReaderOf(section.peer(), section.geometry);
  LatestValue value;
  std::array<std::byte, 127> short_buffer;
  EXPECT_DEATH(writer.Write(Bytes(129, 0)), "longer than max_value_bytes");
  EXPECT_DEATH(writer.Publish(129), "longer than max_value_bytes");
  EXPECT_DEATH(static_cast<void>(reader.TryRead(absl::MakeSpan(short_buffer), &value)),
               "shorter than max_value_bytes");
  EXPECT_DEATH(BasicLatestReader<HeapPeerMemory>(section.peer(), section.geometry, 0, 129),
               "longer than their slots");
}

}  // namespace
}  // namespace parley

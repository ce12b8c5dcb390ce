#include "parley/patterns/latest/core.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/untrusted.h"
#include "parley/boundary/violation.h"
#include "parley/ring/ring_types.h"
#include "parley/testing/heap_memory.h"

namespace parley {
namespace {

using testing::Circle;
using testing::HeapOwnMemory;
using testing::HeapPeerMemory;
using Writer = internal::BasicLatestWriter<HeapOwnMemory>;
using Reader = internal::BasicLatestReader<HeapPeerMemory>;

LatestGeometry Geometry(uint64_t max_value_bytes, uint32_t slots = 4) {
  return *LatestGeometry::Make({.max_value_bytes = max_value_bytes, .slots = slots});
}

// A section of exactly the bytes that the geometry asks for.
struct Section {
  explicit Section(const LatestGeometry& g) : geometry(g), words(g.section_bytes() / 8) {}
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
  for (const LatestGeometry::Options& bad : {LatestGeometry::Options{0, 4},
                                             {kMaxLatestValueBytes + 1, 4},
                                             {8, 0},
                                             {8, 1},
                                             {8, 3},
                                             {8, 128}}) {
    EXPECT_EQ(LatestGeometry::Make(bad).status().code(), absl::StatusCode::kInvalidArgument);
  }
  const LatestGeometry geometry = Geometry(129, 2);
  EXPECT_EQ(geometry.section_bytes(), 128u + 2 * 64 + 2 * 256);
  EXPECT_EQ(geometry.SlotOffset(1) - geometry.SlotOffset(0), 256u);
}

TEST(LatestTest, TheNewestValueIsReadOnceAndWhole) {
  Section section(Geometry(100));
  Writer writer(section.own(), section.geometry);
  Reader reader(section.peer(), section.geometry);
  auto buffer = Bytes(100, 0xff);
  Reader::Value value;
  EXPECT_FALSE(reader.HasData());
  EXPECT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), Outcome::kWouldBlock);
  for (uint8_t i = 1; i < 20; ++i) {
    writer.Write(Bytes(i, i));
    writer.Write(Bytes(i + 1, i));  // the one before is never seen
    EXPECT_TRUE(reader.HasData());
    ASSERT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), Outcome::kOk);
    EXPECT_EQ(value.version, 2u * i);
    ASSERT_EQ(value.size_bytes, i + 1u);
    EXPECT_EQ(std::vector(buffer.begin(), buffer.begin() + i + 1), Bytes(i + 1, i));
    EXPECT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), Outcome::kWouldBlock);
  }
  writer.Publish(0);
  EXPECT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), Outcome::kOk);
  EXPECT_EQ(value.size_bytes, 0u);
}

TEST(LatestTest, AValueIsWrittenInPlaceAndSeenWhenItIsPublished) {
  Section section(Geometry(16));
  Writer writer(section.own(), section.geometry);
  Reader reader(section.peer(), section.geometry);
  auto buffer = Bytes(16, 0);
  Reader::Value value;
  std::memset(writer.Next().data(), 7, 16);
  EXPECT_EQ(writer.Next().data(), writer.Next().data());
  EXPECT_FALSE(reader.HasData());
  writer.Publish(16);
  ASSERT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), Outcome::kOk);
  EXPECT_EQ(buffer, Bytes(16, 7));
}

// Writes between the reader's loads: what a writer at full speed does.
class OvertakingMemory {
 public:
  OvertakingMemory(Section* section, Writer* writer, int versions_per_copy)
      : section_(section), writer_(writer), versions_per_copy_(versions_per_copy) {}
  Untrusted<uint64_t> LoadAcquire64(std::size_t offset) const {
    return section_->peer().LoadAcquire64(offset);
  }
  Untrusted<uint64_t> LoadRelaxed64(std::size_t offset) const {
    return section_->peer().LoadRelaxed64(offset);
  }
  void CopyOut(std::size_t offset, absl::Span<std::byte> into) const {
    const std::size_t half = into.size() / 2;
    section_->peer().CopyOut(offset, into.first(half));
    for (int i = 0; i < versions_per_copy_; ++i) {
      const auto next = static_cast<uint8_t>(writer_->version() + 1);
      writer_->Write(Bytes(into.size(), next));
    }
    section_->peer().CopyOut(offset + half, into.subspan(half));
  }

 private:
  Section* section_;
  Writer* writer_;
  int versions_per_copy_;
};

TEST(LatestTest, AValueThatIsOvertakenIsRefusedAndNeverTorn) {
  for (const uint32_t slots : {2u, 4u, 8u}) {
    for (int overtaking = 0; overtaking < 12; ++overtaking) {
      Section section(Geometry(32, slots));
      Writer writer(section.own(), section.geometry);
      internal::BasicLatestReader<OvertakingMemory> reader({&section, &writer, overtaking},
                                                           section.geometry);
      writer.Write(Bytes(32, 1));
      auto buffer = Bytes(32, 0);
      internal::BasicLatestReader<OvertakingMemory>::Value value;
      const Outcome outcome = reader.TryRead(absl::MakeSpan(buffer), &value);
      // A slot is reused after `slots` versions.
      EXPECT_EQ(outcome, overtaking < static_cast<int>(slots) ? Outcome::kOk : Outcome::kWouldBlock)
          << slots << " slots, overtaken by " << overtaking;
      if (outcome == Outcome::kOk) {
        EXPECT_EQ(buffer, Bytes(32, static_cast<uint8_t>(value.version)));
      }
      EXPECT_EQ(reader.violation(), Violation::kNone);
    }
  }
}

TEST(LatestTest, AVersionThatIsBeingWrittenIsNotRead) {
  Section section(Geometry(8, 2));
  Writer writer(section.own(), section.geometry);
  Reader reader(section.peer(), section.geometry);
  writer.Write(Bytes(8, 1));
  writer.Write(Bytes(8, 2));
  writer.Next();  // version 3 begins in the slot of version 1
  auto buffer = Bytes(8, 0);
  Reader::Value value;
  ASSERT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), Outcome::kOk);
  EXPECT_EQ(value.version, 2u);
  // The slot of the newest version is being written: only a liar does that.
  section.Set(section.geometry.SequenceOffset(1), 5);
  section.Set(LatestGeometry::kVersionOffset, 3);
  EXPECT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), Outcome::kWouldBlock);
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
                         Lie{geometry.SizeOffset(3), 25, Violation::kRecordTooLong},
                         Lie{geometry.SizeOffset(3), ~uint64_t{0}, Violation::kRecordTooLong}}) {
    Section section(geometry);
    Writer writer(section.own(), section.geometry);
    Reader reader(section.peer(), section.geometry);
    auto buffer = Bytes(24, 0);
    Reader::Value value;
    for (uint8_t i = 1; i <= 2; ++i) writer.Write(Bytes(24, i));
    ASSERT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), Outcome::kOk);
    writer.Write(Bytes(24, 3));
    section.Set(lie.offset, lie.value);
    EXPECT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), Outcome::kPoisoned) << lie.value;
    EXPECT_EQ(reader.violation(), lie.violation);
    writer.Write(Bytes(24, 4));
    EXPECT_EQ(reader.TryRead(absl::MakeSpan(buffer), &value), Outcome::kPoisoned);
    EXPECT_TRUE(reader.HasData());  // a wait ends
  }
}

TEST(LatestDeathTest, PromiseP9AbortIsOursOnlyTheCallersBugsAbort) {
  Section section(Geometry(8));
  Writer writer(section.own(), section.geometry);
  Reader reader(section.peer(), section.geometry);
  Reader::Value value;
  std::array<std::byte, 7> short_buffer;
  EXPECT_DEATH(writer.Write(Bytes(9, 0)), "longer than max_value_bytes");
  EXPECT_DEATH(writer.Publish(9), "longer than max_value_bytes");
  EXPECT_DEATH(static_cast<void>(reader.TryRead(absl::MakeSpan(short_buffer), &value)),
               "shorter than max_value_bytes");
}

}  // namespace
}  // namespace parley

#ifndef PARLEY_PATTERNS_LATEST_CORE_H_
#define PARLEY_PATTERNS_LATEST_CORE_H_

// The writer and the reader of a latest value, over any memory: no descriptor, process or wait.
//
// Ordering, for a version v that a reader accepts:
//   1. the writer stores v's sequence as "being written", then fences (release);
//   2. it writes the value and its size;
//   3. it stores the sequence as "complete" and then the version, both with release order.
//   4. The reader loads the version and the sequence with acquire order, copies the value, fences
//      (acquire), and loads the sequence again.
//   5. If both loads gave "complete, v", no write of a later version to that slot had begun before
//      the copy ended: a write that the copy saw would have made step 1 of that version visible.
//
// Trust: the reader treats every word as hostile. A lying writer can make it answer kWouldBlock or
// kPoisoned, or hand over bytes of its choice, at most max_value_bytes, never anything else.
// Threads: one writer; each reader is used by one thread.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "parley/boundary/violation.h"
#include "parley/os/check.h"
#include "parley/patterns/latest/layout.h"
#include "parley/ring/ring_types.h"

namespace parley::internal {

template <typename OwnMemory>
class BasicLatestWriter {
 public:
  BasicLatestWriter(OwnMemory section, const LatestGeometry& geometry)
      : section_(section), geometry_(geometry) {}

  // A place for the next version, in no reader's sight until Publish. The same place until then.
  absl::Span<std::byte> Next() {
    const uint32_t slot = Begin();
    return section_.Writable(geometry_.SlotOffset(slot), geometry_.max_value_bytes());
  }
  // Makes what was written to Next() the newest version. Wait-free. size_bytes <= max_value_bytes.
  void Publish(std::size_t size_bytes) {
    PARLEY_CHECK(size_bytes <= geometry_.max_value_bytes(), "a value longer than max_value_bytes");
    const uint32_t slot = Begin();
    section_.StoreRelaxed64(geometry_.SizeOffset(slot), size_bytes);
    ++version_;
    begun_ = false;
    // PAIRS WITH: the first load of the sequence in BasicLatestReader::Attempt.
    section_.StoreRelease64(geometry_.SequenceOffset(slot), 2 * version_);
    // PAIRS WITH: the load of the version there.
    section_.StoreRelease64(LatestGeometry::kVersionOffset, version_);
  }
  // The same with a copy.
  void Write(absl::Span<const std::byte> value) {
    PARLEY_CHECK(value.size() <= geometry_.max_value_bytes(),
                 "a value longer than max_value_bytes");
    section_.CopyIn(geometry_.SlotOffset(Begin()), value);
    Publish(value.size());
  }

  uint64_t version() const { return version_; }
  const LatestGeometry& geometry() const { return geometry_; }

 private:
  uint32_t Begin() {
    const uint32_t slot = geometry_.SlotOf(version_ + 1);
    if (!begun_) {
      begun_ = true;
      // RELAXED: the fence orders it before the value.
      section_.StoreRelaxed64(geometry_.SequenceOffset(slot), 2 * version_ + 1);
      // PAIRS WITH: the fence in BasicLatestReader::Attempt.
      std::atomic_thread_fence(std::memory_order_release);
    }
    return slot;
  }

  OwnMemory section_;
  const LatestGeometry geometry_;
  uint64_t version_ = 0;
  bool begun_ = false;
};

template <typename PeerMemory>
class BasicLatestReader {
 public:
  struct Value {
    uint64_t version = 0;
    std::size_t size_bytes = 0;
  };
  // How often TryRead copies a value that the writer overtakes before it gives up.
  static constexpr int kMaxAttempts = 4;

  BasicLatestReader(PeerMemory section, const LatestGeometry& geometry)
      : section_(section), geometry_(geometry) {}

  // Copies the newest value that is newer than the last one that was read, whole.
  // into.size() >= max_value_bytes. kWouldBlock: there is none, or the writer overtook each of
  // kMaxAttempts copies; `into` may then hold anything. kPoisoned: see violation().
  Outcome TryRead(absl::Span<std::byte> into, Value* value) {
    PARLEY_CHECK(into.size() >= geometry_.max_value_bytes(),
                 "a buffer shorter than max_value_bytes");
    for (int attempt = 0; attempt < kMaxAttempts && violation_ == Violation::kNone; ++attempt) {
      const Outcome outcome = Attempt(into, value);
      if (outcome == Outcome::kOk || !HasData()) return outcome;
    }
    return violation_ == Violation::kNone ? Outcome::kWouldBlock : Outcome::kPoisoned;
  }

  // True if there is a newer version than the last one that was read, or a violation.
  bool HasData() {
    if (violation_ != Violation::kNone) return true;
    return FetchVersion() != read_;
  }

  Violation violation() const { return violation_; }
  void Poison(Violation violation) {
    if (violation_ == Violation::kNone) violation_ = violation;
  }
  const LatestGeometry& geometry() const { return geometry_; }

 private:
  // The last version read after a violation.
  uint64_t FetchVersion() {
    // TRUST: versions only grow; beyond 2^62 the sequence would not be a number of 64 bits.
    const auto version =
        section_.LoadAcquire64(LatestGeometry::kVersionOffset).Validate([&](uint64_t v) {
          return v >= read_ && v < (uint64_t{1} << 62);
        });
    if (version) return *version;
    Poison(version.Refused() < read_ ? Violation::kProducerPositionBackwards
                                     : Violation::kProducerPositionOutOfRange);
    return read_;
  }

  Outcome Attempt(absl::Span<std::byte> into, Value* value) {
    const uint64_t version = FetchVersion();
    if (violation_ != Violation::kNone) return Outcome::kPoisoned;
    if (version == read_) return Outcome::kWouldBlock;
    const uint32_t slot = geometry_.SlotOf(version);
    const auto complete = [&](uint64_t sequence) { return sequence == 2 * version; };
    // TRUST: only compared. Another sequence is a version that is written meanwhile.
    if (!section_.LoadAcquire64(geometry_.SequenceOffset(slot)).Validate(complete)) {
      return Outcome::kWouldBlock;
    }
    // TRUST: at most what the geometry has; an honest writer never stores more in any version.
    const auto size = section_.LoadRelaxed64(geometry_.SizeOffset(slot)).Validate([&](uint64_t s) {
      return s <= geometry_.max_value_bytes();
    });
    if (!size) {
      Poison(Violation::kRecordTooLong);
      return Outcome::kPoisoned;
    }
    const auto size_bytes = static_cast<std::size_t>(*size);
    section_.CopyOut(geometry_.SlotOffset(slot), into.first(size_bytes));
    // PAIRS WITH: the fence in BasicLatestWriter::Begin. The copy before the sequence.
    std::atomic_thread_fence(std::memory_order_acquire);
    // TRUST: as above.
    if (!section_.LoadRelaxed64(geometry_.SequenceOffset(slot)).Validate(complete)) {
      return Outcome::kWouldBlock;
    }
    read_ = version;
    *value = {version, size_bytes};
    return Outcome::kOk;
  }

  PeerMemory section_;
  const LatestGeometry geometry_;
  uint64_t read_ = 0;
  Violation violation_ = Violation::kNone;
};

}  // namespace parley::internal

#endif  // PARLEY_PATTERNS_LATEST_CORE_H_

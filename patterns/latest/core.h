// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_PATTERNS_LATEST_CORE_H_
#define PARLEY_PATTERNS_LATEST_CORE_H_

// The writer and the reader of a latest value, over any memory: no descriptor, process or wait.
//
// Ordering, for a version v that a reader accepts:
//   1. the writer stores v's sequence as "being written", then fences (in full, since a large copy
//      may be made of stores that the processor does not keep in order);
//   2. it writes the value and its size;
//   3. it fences, and stores the sequence as "complete" and then the version, with release order.
//   4. The reader loads the version and the sequence with acquire order, copies the value, fences
//      (acquire), and loads the sequence again.
//   5. If both loads gave "complete, v", no write of a later version to that slot had begun before
//      the copy ended: a write that the copy saw would have made step 1 of that version visible.
//
// Trust: the reader treats every word as hostile. A lying writer can make it answer kOvertaken or
// kPoisoned, or hand over bytes of its choice, at most max_value_bytes, never anything else.
// Threads: one writer; each reader is used by one thread.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "parley/boundary/untrusted.h"
#include "parley/boundary/violation.h"
#include "parley/os/check.h"
#include "parley/patterns/latest/layout.h"

namespace parley {

// What a look at the newest value gave.
enum class LatestOutcome : uint8_t {
  kOk,
  kNoNewer,    // nothing newer than what was read last
  kOvertaken,  // there is something, and the writer was at it each time: a reader that is slow
               // beside a fast one, or a writer that never finishes
  kPoisoned,   // the writer broke the protocol; see violation()
};

// One value as it was read.
struct LatestValue {
  uint64_t version = 0;  // 1 is the first one
  std::size_t size_bytes = 0;
};

}  // namespace parley

namespace parley::internal {

template <typename OwnMemory>
class BasicLatestWriter {
 public:
  BasicLatestWriter(OwnMemory section, const LatestGeometry& geometry)
      : section_(section), geometry_(geometry) {}

  // A place for the next version, in no reader's sight until Publish. The same place until then.
  absl::Span<std::byte> Next() {
    const uint32_t slot = Begin();
    return section_.Writable(geometry_.ValueOffset(slot), geometry_.max_value_bytes());
  }
  // Makes what was written to Next() the newest version. Wait-free. size_bytes <= max_value_bytes.
  void Publish(std::size_t size_bytes) {
    PARLEY_CHECK(size_bytes <= geometry_.max_value_bytes(), "a value longer than max_value_bytes");
    const uint32_t slot = Begin();
    section_.StoreRelaxed64(geometry_.SizeOffset(slot), size_bytes);
    ++version_;
    begun_ = false;
    // PAIRS WITH: the acquire loads in Attempt, for values that were written in place past the
    // caches, which a release store does not order.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    // PAIRS WITH: the first load of the sequence in BasicLatestReader::Attempt.
    section_.StoreRelease64(geometry_.SequenceOffset(slot), 2 * version_);
    // PAIRS WITH: the load of the version there.
    section_.StoreRelease64(LatestGeometry::kVersionOffset, version_);
  }
  // The same with a copy.
  void Write(absl::Span<const std::byte> value) {
    PARLEY_CHECK(value.size() <= geometry_.max_value_bytes(),
                 "a value longer than max_value_bytes");
    section_.CopyIn(geometry_.ValueOffset(Begin()), value);
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
      std::atomic_thread_fence(std::memory_order_seq_cst);
    }
    return slot;
  }

  OwnMemory section_;
  LatestGeometry geometry_;
  uint64_t version_ = 0;
  bool begun_ = false;
};

template <typename PeerMemory>
class BasicLatestReader {
 public:
  // How often TryRead copies a value that the writer overtakes before it gives up.
  static constexpr int kMaxAttempts = 4;
  // Of a value, that are asked for before its version is known.
  static constexpr std::size_t kMaxPrefetchBytes = 1024;

  // Takes values of min_value_bytes to max_value_bytes, at most geometry.max_value_bytes(): what
  // the users of both sides agree on. Others are a violation.
  BasicLatestReader(PeerMemory section, const LatestGeometry& geometry, uint64_t min_value_bytes,
                    uint64_t max_value_bytes)
      : section_(section),
        geometry_(geometry),
        min_value_bytes_(min_value_bytes),
        max_value_bytes_(max_value_bytes) {
    PARLEY_CHECK(max_value_bytes <= geometry.max_value_bytes(), "values longer than their slots");
  }

  // Copies the newest value that is newer than the last one that was read, whole, at most
  // kMaxAttempts times. into.size() >= max_value_bytes(). But for kOk it may then hold anything.
  LatestOutcome TryRead(absl::Span<std::byte> into, LatestValue* value) {
    PARLEY_CHECK(into.size() >= max_value_bytes_, "a buffer shorter than max_value_bytes");
    for (int attempt = 0; attempt < kMaxAttempts && violation_ == Violation::kNone; ++attempt) {
      const LatestOutcome outcome = Attempt(into, value);
      if (outcome != LatestOutcome::kOvertaken) return outcome;
    }
    return violation_ == Violation::kNone ? LatestOutcome::kOvertaken : LatestOutcome::kPoisoned;
  }

  // True if there is a newer version than the last one that was read, or a violation.
  bool HasNewer() {
    if (violation_ != Violation::kNone) return true;
    return Checked(section_.LoadAcquire64(LatestGeometry::kVersionOffset)) != read_;
  }

  uint64_t max_value_bytes() const { return max_value_bytes_; }

  Violation violation() const { return violation_; }
  void Poison(Violation violation) {
    if (violation_ == Violation::kNone) violation_ = violation;
  }
  const LatestGeometry& geometry() const { return geometry_; }

 private:
  // The last version read after a violation.
  uint64_t Checked(const Untrusted<uint64_t>& fetched) {
    // TRUST: versions only grow; beyond 2^62 the sequence would not be a number of 64 bits.
    const auto version =
        fetched.Validate([&](uint64_t v) { return v >= read_ && v < (uint64_t{1} << 62); });
    if (version) return *version;
    Poison(version.Refused() < read_ ? Violation::kProducerPositionBackwards
                                     : Violation::kProducerPositionOutOfRange);
    return read_;
  }

  // Asks for the lines of the version after the last one that was read, up to the size of that one,
  // while the newest version's number is on its way: a short value takes one trip between the
  // processors instead of two. Once after each value: polls leave the writer's lines alone.
  void PrefetchNext() {
    const uint32_t slot = geometry_.SlotOf(read_ + 1);
    if (prefetch_bytes_ != 0) section_.Prefetch(geometry_.SequenceOffset(slot));
    for (uint64_t i = 0; i < prefetch_bytes_; i += kLatestUnitBytes) {
      section_.Prefetch(geometry_.ValueOffset(slot) + i);
    }
    prefetch_bytes_ = 0;
  }

  LatestOutcome Attempt(absl::Span<std::byte> into, LatestValue* value) {
    const auto fetched = section_.LoadAcquire64(LatestGeometry::kVersionOffset);
    PrefetchNext();
    const uint64_t version = Checked(fetched);
    if (violation_ != Violation::kNone) return LatestOutcome::kPoisoned;
    if (version == read_) return LatestOutcome::kNoNewer;
    const uint32_t slot = geometry_.SlotOf(version);
    const auto complete = [&](uint64_t sequence) { return sequence == 2 * version; };
    // TRUST: only compared. Another sequence is a version that is written meanwhile.
    if (!section_.LoadAcquire64(geometry_.SequenceOffset(slot)).Validate(complete)) {
      return LatestOutcome::kOvertaken;
    }
    // TRUST: within what was agreed on; an honest writer never stores another in any version.
    const auto size = section_.LoadRelaxed64(geometry_.SizeOffset(slot)).Validate([&](uint64_t s) {
      return s >= min_value_bytes_ && s <= max_value_bytes_;
    });
    if (!size) {
      Poison(size.Refused() > max_value_bytes_ ? Violation::kRecordTooLong
                                               : Violation::kMetadataInvalid);
      return LatestOutcome::kPoisoned;
    }
    const auto size_bytes = static_cast<std::size_t>(*size);
    section_.CopyOut(geometry_.ValueOffset(slot), into.first(size_bytes));
    // PAIRS WITH: the fence in BasicLatestWriter::Begin. The copy before the sequence.
    std::atomic_thread_fence(std::memory_order_acquire);
    // TRUST: as above.
    if (!section_.LoadRelaxed64(geometry_.SequenceOffset(slot)).Validate(complete)) {
      return LatestOutcome::kOvertaken;
    }
    read_ = version;
    prefetch_bytes_ = std::min(size_bytes, kMaxPrefetchBytes);
    *value = {version, size_bytes};
    return LatestOutcome::kOk;
  }

  PeerMemory section_;
  LatestGeometry geometry_;
  uint64_t min_value_bytes_;
  uint64_t max_value_bytes_;
  uint64_t read_ = 0;
  std::size_t prefetch_bytes_ = 0;  // of the next value; 0 unless the last attempt gave one
  Violation violation_ = Violation::kNone;
};

}  // namespace parley::internal

#endif  // PARLEY_PATTERNS_LATEST_CORE_H_

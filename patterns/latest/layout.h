// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_PATTERNS_LATEST_LAYOUT_H_
#define PARLEY_PATTERNS_LATEST_LAYOUT_H_

// Where a broadcast's section of latest values keeps its versions. docs/SPEC.md shows the same.
//
//   | slot 0                                | slot 1                                | ...
//   | head line | slot line | value, padded | not used  | slot line | value, padded | ...
//
// The section is `count` slots of `bytes` each; all else follows from these two numbers.
//
// Trust: the writer may change any word at any time. A geometry is ours, or was announced in the
// handshake and validated by FromSection; it is private from then on.
// Threads: pure functions.
//
//   absl::StatusOr<LatestGeometry> geometry = LatestGeometry::Make({.max_value_bytes = 4096});
//   auto broadcast = Broadcast::Create({geometry->section()});

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/boundary/wire_type.h"
#include "parley/shm/sections.h"

namespace parley {

inline constexpr uint16_t kSectionLatest = 3;
inline constexpr uint64_t kMaxLatestValueBytes = uint64_t{64} << 20;
inline constexpr uint32_t kMinLatestSlots = 2;
inline constexpr uint32_t kMaxLatestSlots = 64;
// What a value's place is a multiple of: two lines of the cache, which are fetched together.
inline constexpr uint64_t kLatestUnitBytes = 128;

// The line that every reader polls; of slot 0 alone.
struct LatestHeadWire {
  uint64_t version;  // of the newest complete value; 0: none yet
  std::array<uint64_t, 15> reserved;
};
struct LatestSlotWire {
  uint64_t sequence;    // 2 * version when complete, one less while that version is written
  uint64_t size_bytes;  // of the value
  std::array<uint64_t, 14> reserved;
};
inline constexpr uint64_t kLatestFrontBytes = sizeof(LatestHeadWire) + sizeof(LatestSlotWire);
static_assert(WireType<LatestHeadWire> && sizeof(LatestHeadWire) == kLatestUnitBytes);
static_assert(WireType<LatestSlotWire> && sizeof(LatestSlotWire) == kLatestUnitBytes);

class LatestGeometry {
 public:
  struct Options {
    uint64_t max_value_bytes = 0;  // 1 to kMaxLatestValueBytes; rounded up to kLatestUnitBytes
    // A power of two. With more slots a slow reader is overtaken less often: a value stays whole
    // for slots - 1 further versions.
    uint32_t slots = 4;
  };
  // kInvalidArgument for sizes that are not allowed.
  static absl::StatusOr<LatestGeometry> Make(const Options& options) {
    if (options.max_value_bytes == 0 || options.max_value_bytes > kMaxLatestValueBytes) {
      return absl::InvalidArgumentError("a latest value has 1 byte to " +
                                        std::to_string(kMaxLatestValueBytes) + " bytes");
    }
    if (!SlotsOk(options.slots)) {
      return absl::InvalidArgumentError("a latest value has 2, 4, 8, 16, 32 or 64 slots");
    }
    const uint64_t units = (options.max_value_bytes + kLatestUnitBytes - 1) / kLatestUnitBytes;
    return LatestGeometry(kLatestFrontBytes + units * kLatestUnitBytes, options.slots);
  }
  // Of a section as it was announced. kInvalidArgument: one that Make never gives.
  static absl::StatusOr<LatestGeometry> FromSection(const Section& section) {
    // TRUST: a number of slots and a size of each as Make gives them, so that no offset below can
    // overflow or leave the section.
    if (section.kind != kSectionLatest || !SlotsOk(section.count) ||
        section.bytes % kLatestUnitBytes != 0 || section.bytes <= kLatestFrontBytes ||
        section.bytes > kLatestFrontBytes + kMaxLatestValueBytes) {
      return absl::InvalidArgumentError(
          "a section of latest values with an impossible size: " + std::to_string(section.count) +
          " slots of " + std::to_string(section.bytes) + " bytes");
    }
    return LatestGeometry(section.bytes, section.count);
  }

  Section section() const { return {kSectionLatest, slots_, slot_bytes_}; }
  uint64_t section_bytes() const { return slots_ * slot_bytes_; }
  uint64_t max_value_bytes() const { return slot_bytes_ - kLatestFrontBytes; }
  uint32_t slots() const { return slots_; }

  static constexpr uint64_t kVersionOffset = 0;
  // Masked where it is computed, so that a processor that runs ahead stays inside the section.
  uint32_t SlotOf(uint64_t version) const { return static_cast<uint32_t>(version) & (slots_ - 1); }
  uint64_t SequenceOffset(uint32_t slot) const {
    return slot * slot_bytes_ + sizeof(LatestHeadWire);
  }
  uint64_t SizeOffset(uint32_t slot) const { return SequenceOffset(slot) + 8; }
  uint64_t ValueOffset(uint32_t slot) const { return slot * slot_bytes_ + kLatestFrontBytes; }

  bool operator==(const LatestGeometry&) const = default;

 private:
  LatestGeometry(uint64_t slot_bytes, uint32_t slots) : slot_bytes_(slot_bytes), slots_(slots) {}
  static bool SlotsOk(uint32_t slots) {
    return slots >= kMinLatestSlots && slots <= kMaxLatestSlots && (slots & (slots - 1)) == 0;
  }

  uint64_t slot_bytes_;
  uint32_t slots_;
};

}  // namespace parley

#endif  // PARLEY_PATTERNS_LATEST_LAYOUT_H_

#ifndef PARLEY_PATTERNS_LATEST_LAYOUT_H_
#define PARLEY_PATTERNS_LATEST_LAYOUT_H_

// Where a latest-value section keeps its versions. docs/SPEC.md shows the same.
//
//   | head line: version | slot lines: sequence, size | slot 0 | slot 1 | ... |
//
// Trust: the writer may change any word at any time. A geometry is ours, or was agreed on in the
// handshake and made by Make; it is private from then on.
// Threads: pure functions.
//
//   absl::StatusOr<LatestGeometry> geometry = LatestGeometry::Make({.max_value_bytes = 4096});

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/boundary/wire_type.h"

namespace parley {

inline constexpr uint64_t kMaxLatestValueBytes = uint64_t{64} << 20;
inline constexpr uint32_t kMinLatestSlots = 2;
inline constexpr uint32_t kMaxLatestSlots = 64;

// The line that every reader polls.
struct LatestHeadWire {
  uint64_t version;  // of the newest complete value; 0: none yet
  std::array<uint64_t, 15> reserved;
};
// One for each slot.
struct LatestSlotWire {
  uint64_t sequence;    // 2 * version when complete, one less while that version is written
  uint64_t size_bytes;  // of the value
  std::array<uint64_t, 6> reserved;
};
static_assert(WireType<LatestHeadWire> && sizeof(LatestHeadWire) == 128);
static_assert(WireType<LatestSlotWire> && sizeof(LatestSlotWire) == 64);

class LatestGeometry {
 public:
  struct Options {
    uint64_t max_value_bytes = 0;  // 1 to kMaxLatestValueBytes
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
    if (options.slots < kMinLatestSlots || options.slots > kMaxLatestSlots ||
        (options.slots & (options.slots - 1)) != 0) {
      return absl::InvalidArgumentError("a latest value has 2, 4, 8, 16, 32 or 64 slots");
    }
    return LatestGeometry(options);
  }

  uint64_t max_value_bytes() const { return max_value_bytes_; }
  uint32_t slots() const { return slots_; }
  // Of the whole section.
  uint64_t section_bytes() const { return SlotOffset(slots_); }

  static constexpr uint64_t kVersionOffset = 0;
  // Masked where it is computed, so that a processor that runs ahead stays inside the section.
  uint32_t SlotOf(uint64_t version) const { return static_cast<uint32_t>(version) & (slots_ - 1); }
  uint64_t SequenceOffset(uint32_t slot) const {
    return sizeof(LatestHeadWire) + uint64_t{slot} * sizeof(LatestSlotWire);
  }
  uint64_t SizeOffset(uint32_t slot) const { return SequenceOffset(slot) + 8; }
  uint64_t SlotOffset(uint32_t slot) const {
    return sizeof(LatestHeadWire) + uint64_t{slots_} * sizeof(LatestSlotWire) +
           uint64_t{slot} * stride_bytes_;
  }

  bool operator==(const LatestGeometry&) const = default;

 private:
  explicit LatestGeometry(const Options& options)
      : max_value_bytes_(options.max_value_bytes),
        stride_bytes_((options.max_value_bytes + 127) / 128 * 128),
        slots_(options.slots) {}

  uint64_t max_value_bytes_;
  uint64_t stride_bytes_;  // whole pairs of cache lines
  uint32_t slots_;
};

}  // namespace parley

#endif  // PARLEY_PATTERNS_LATEST_LAYOUT_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SHM_MAPPING_H_
#define PARLEY_SHM_MAPPING_H_

// A region in our address space: guard pages around it, and its data twice in a row, so that a
// record which wraps around is contiguous all the same.
//
//   | guard | control page | frames, if any | data | the same data again | guard |
//
// One type per direction, because a region that we may write and one that we may only look at have
// nothing in common for their users. Of all folders above boundary/, this file alone holds raw
// pointers into memory that the peer can reach; everyone else gets PeerMemory or OwnMemory.
//
// Trust: maps what the caller verified (sealing/verify.h); it doesn't look itself. All pages are
// mapped when Map returns, or Populate says so; forked children and core dumps have none of them.
// Threads: one at a time; the memory views may be used from any thread while the mapping lives.

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/os/deadline.h"
#include "parley/sealing/guarded_range.h"
#include "parley/shm/geometry.h"

namespace parley {

namespace internal {

// What both directions have in common.
class MirroredRange {
 public:
  static absl::StatusOr<MirroredRange> MapWithoutPages(int fd, RegionGeometry geometry,
                                                       GuardedRange::Access access);
  absl::StatusOr<bool> Populate(Deadline until);

  std::byte* base() const { return range_.base(); }
  RegionGeometry geometry() const { return geometry_; }

 private:
  MirroredRange(GuardedRange range, RegionGeometry geometry, GuardedRange::Access access)
      : range_(std::move(range)), geometry_(geometry), access_(access) {}

  GuardedRange range_;
  RegionGeometry geometry_;
  GuardedRange::Access access_;
  uint64_t populated_bytes_ = 0;
};

}  // namespace internal

// The peer writes, we read.
class IncomingMapping {
 public:
  static absl::StatusOr<IncomingMapping> Map(int fd, RegionGeometry geometry);

  // The same in slices: first nothing but addresses, then pages of it until all are there (true) or
  // `until` is past (false); one slice of kSliceBytes at least.
  static absl::StatusOr<IncomingMapping> MapWithoutPages(int fd, RegionGeometry geometry);
  absl::StatusOr<bool> Populate(Deadline until) { return range_.Populate(until); }
  static constexpr uint64_t kSliceBytes = uint64_t{256} << 10;

  PeerMemory control() const;
  PeerMemory frames() const;
  // Twice `data_bytes`, the second half being the first one again.
  PeerMemory data() const;

 private:
  explicit IncomingMapping(internal::MirroredRange range) : range_(std::move(range)) {}
  internal::MirroredRange range_;
};

// We write, the peer reads. Never read back: until it was sealed, others could write it, too.
class OutgoingMapping {
 public:
  static absl::StatusOr<OutgoingMapping> Map(int fd, RegionGeometry geometry);

  // As of IncomingMapping.
  static absl::StatusOr<OutgoingMapping> MapWithoutPages(int fd, RegionGeometry geometry);
  absl::StatusOr<bool> Populate(Deadline until) { return range_.Populate(until); }

  OwnMemory control() const;
  OwnMemory frames() const;
  // Twice `data_bytes`, the second half being the first one again.
  OwnMemory data() const;

 private:
  explicit OutgoingMapping(internal::MirroredRange range) : range_(std::move(range)) {}
  internal::MirroredRange range_;
};

}  // namespace parley

#endif  // PARLEY_SHM_MAPPING_H_

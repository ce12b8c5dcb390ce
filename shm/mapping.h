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
// mapped when Map returns; forked children and core dumps have none of them.
// Threads: one at a time; the memory views may be used from any thread while the mapping lives.

#include "absl/status/statusor.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/sealing/guarded_range.h"
#include "parley/shm/geometry.h"

namespace parley {

// The peer writes, we read.
class IncomingMapping {
 public:
  static absl::StatusOr<IncomingMapping> Map(int fd, RegionGeometry geometry);

  PeerMemory control() const;
  PeerMemory frames() const;
  // Twice `data_bytes`, the second half being the first one again.
  PeerMemory data() const;

 private:
  IncomingMapping(GuardedRange range, RegionGeometry geometry);
  GuardedRange range_;
  RegionGeometry geometry_;
};

// We write, the peer reads. Never read back: until it was sealed, others could write it, too.
class OutgoingMapping {
 public:
  static absl::StatusOr<OutgoingMapping> Map(int fd, RegionGeometry geometry);

  OwnMemory control() const;
  OwnMemory frames() const;
  // Twice `data_bytes`, the second half being the first one again.
  OwnMemory data() const;

 private:
  OutgoingMapping(GuardedRange range, RegionGeometry geometry);
  GuardedRange range_;
  RegionGeometry geometry_;
};

}  // namespace parley

#endif  // PARLEY_SHM_MAPPING_H_

#ifndef PARLEY_SHM_REGION_H_
#define PARLEY_SHM_REGION_H_

// Regions: shared memory that exactly one process can write, by the kernel's word.
//
// An OutgoingRegion is written here and read by the peer; an IncomingRegion is the mirror image.
// Descriptors travel only from the accepting side to the connecting side, so a region has one of
// two births. In both, the writer maps it and then seals it, and the reader looks at the seals:
//
//   accepting side                                  connecting side
//   OutgoingRegion::Create        -- descriptor ->  IncomingRegion::Adopt
//   IncomingRegionDraft::Create   -- descriptor ->  OutgoingRegion::Adopt (maps, seals for good)
//   IncomingRegionDraft::Finish   <-- "mapped" ---
//
// A draft has its shape but not yet its final seals; it gives no access to its memory.
//
// Trust: a peer that holds the descriptor of a finished region can read it, and map it read-only;
// it can't change a byte, resize it, punch holes into it or seal it further (promise P1). A peer
// that misbehaves while a region is a draft makes Finish or Adopt fail and nothing else. The writer
// seals because adding a seal waits for the inode's lock, which any other holder of the descriptor
// can keep for ever (verify.h): so the accepting side never does it once the peer has the
// descriptor, and the connecting side does it by a deadline (seal_shared.h). Two things stay
// possible and are harmless, because nobody ever reads back what it wrote: the accepting side can
// have kept a writable mapping of the connecting side's region, and before Linux 6.13 a process
// that may open /dev/udmabuf can write through it.
// Threads: one at a time; the memory views may be used from any thread while the region lives.
// Errors: kInvalidArgument is the peer's lie, kAlreadyExists a memory object it sent twice,
// kResourceExhausted a limit (its or ours), anything else the system's refusal. A failure leaves no
// descriptor, mapping or claim behind, and closes a descriptor that was handed in.
//
//   absl::StatusOr<OutgoingRegion> mine = OutgoingRegion::Create({.data_bytes = 1 << 20}, limits);
//   absl::StatusOr<IncomingRegionDraft> theirs = IncomingRegionDraft::Create({1 << 20}, limits);
//   ... send mine->fd() and theirs->fd(), await "mapped" ...
//   absl::StatusOr<IncomingRegion> incoming = std::move(*theirs).Finish();

#include "absl/status/statusor.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/file_registry.h"
#include "parley/shm/geometry.h"
#include "parley/shm/mapping.h"

namespace parley {

namespace internal {
// What all three types have besides their mapping.
struct RegionFile {
  FileClaim hold;
  UniqueFd fd;
  RegionGeometry geometry;
  FileId identity;
};
}  // namespace internal

class OutgoingRegion {
 public:
  // A new region, mapped here and sealed with kRegionSeals: from now on not even this process can
  // map it writable again.
  static absl::StatusOr<OutgoingRegion> Create(RegionGeometry geometry,
                                               const RegionLimits& limits = {},
                                               HugePages pages = HugePages::kUsual);

  // Connecting side: a region that the peer made with IncomingRegionDraft::Create and we will
  // write. Verifies its shape, maps it, and seals it with kRegionSeals; after that, say "mapped".
  // kDeadlineExceeded if the peer kept the seal from being placed.
  static absl::StatusOr<OutgoingRegion> Adopt(UniqueFd fd, RegionGeometry geometry,
                                              const RegionLimits& limits, Deadline deadline);

  OwnMemory control() const { return mapping_.control(); }
  OwnMemory frames() const { return mapping_.frames(); }
  // 2 * data_bytes: the data, and the same bytes again. Empty without data.
  OwnMemory data() const { return mapping_.data(); }

  RegionGeometry geometry() const { return file_.geometry; }
  FileId identity() const { return file_.identity; }
  // To be sent, still owned here; -1 after CloseDescriptor. Once all readers have it, nobody needs
  // it: the mapping keeps the memory.
  int fd() const { return file_.fd.get(); }
  void CloseDescriptor() { file_.fd.Reset(); }

 private:
  OutgoingRegion(internal::RegionFile file, OutgoingMapping mapping);
  internal::RegionFile file_;
  OutgoingMapping mapping_;
};

class IncomingRegion {
 public:
  // Verifies and maps a finished region that the peer made and writes.
  static absl::StatusOr<IncomingRegion> Adopt(UniqueFd fd, RegionGeometry geometry,
                                              const RegionLimits& limits = {});

  PeerMemory control() const { return mapping_.control(); }
  PeerMemory frames() const { return mapping_.frames(); }
  // 2 * data_bytes: the data, and the same bytes again. Empty without data.
  PeerMemory data() const { return mapping_.data(); }

  RegionGeometry geometry() const { return file_.geometry; }
  FileId identity() const { return file_.identity; }
  int fd() const { return file_.fd.get(); }
  void CloseDescriptor() { file_.fd.Reset(); }

 private:
  friend class IncomingRegionDraft;
  IncomingRegion(internal::RegionFile file, IncomingMapping mapping);
  internal::RegionFile file_;
  IncomingMapping mapping_;
};

// Accepting side: a region that we make and pay for, and the peer will write.
class IncomingRegionDraft {
 public:
  // All pages present, sealed with kShapeSeals, mapped nowhere.
  static absl::StatusOr<IncomingRegionDraft> Create(RegionGeometry geometry,
                                                    const RegionLimits& limits = {},
                                                    HugePages pages = HugePages::kUsual);

  // After the peer said that it has mapped the region: verifies that it is sealed for good with no
  // page missing, and maps it for reading. No call in here can be made to wait by the peer.
  absl::StatusOr<IncomingRegion> Finish() &&;

  RegionGeometry geometry() const { return file_.geometry; }
  FileId identity() const { return file_.identity; }
  int fd() const { return file_.fd.get(); }

 private:
  explicit IncomingRegionDraft(internal::RegionFile file);
  internal::RegionFile file_;
};

}  // namespace parley

#endif  // PARLEY_SHM_REGION_H_

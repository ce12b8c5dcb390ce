// SPDX-License-Identifier: Apache-2.0
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
// Fork: a child has no region of its parent's; using one there aborts (sealing/guarded_range.h).
// Errors: kInvalidArgument is the peer's lie, kAlreadyExists a memory object it sent twice,
// kResourceExhausted a limit (its or ours), anything else the system's refusal. A failure leaves no
// descriptor, mapping or claim behind, and closes a descriptor that was handed in.
//
//   absl::StatusOr<OutgoingRegion> mine = OutgoingRegion::Create({.data_bytes = 1 << 20}, limits);
//   absl::StatusOr<IncomingRegionDraft> theirs = IncomingRegionDraft::Create({1 << 20}, limits);
//   ... send mine->fd() and theirs->fd(), await "mapped" ...
//   absl::StatusOr<IncomingRegion> incoming = std::move(*theirs).Finish();
//
// Memory takes time: 0.3 s for a region of 512 MiB. A caller that serves others meanwhile uses the
// builders. Each Step takes little more time than it is given, whatever the size, and what is half
// built is known to nobody else; dropped, it leaves nothing.
//
//   absl::StatusOr<OutgoingRegionBuilder> builder = OutgoingRegionBuilder::Start(geometry, limits);
//   absl::StatusOr<bool> done = builder->Step(Deadline::After(absl::Milliseconds(1)));
//   if (!done.ok()) return done.status();
//   if (!*done) ...   // false: serve the others, then Step again
//   OutgoingRegion mine = std::move(*builder).Take();

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/memfd.h"
#include "parley/sealing/seal_shared.h"
#include "parley/sealing/verify.h"
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

// A file of ours from its birth until all of its memory is there and its shape is sealed.
class ShapeBuilder {
 public:
  static absl::StatusOr<ShapeBuilder> Start(RegionGeometry geometry, const RegionLimits& limits,
                                            HugePages pages);
  absl::StatusOr<bool> Step(Deadline until);
  // After Step returned true. The file is verified by whoever takes it.
  UniqueFd Take() && { return std::move(memfd_).Take(); }

 private:
  ShapeBuilder(MemfdBuilder memfd, uint64_t file_bytes, HugePages pages)
      : memfd_(std::move(memfd)), file_bytes_(file_bytes), huge_(pages) {}
  MemfdBuilder memfd_;
  uint64_t file_bytes_;
  HugePages huge_;
  uint64_t gathered_bytes_ = 0;
  bool allocated_ = false;
  bool sealed_ = false;
};

}  // namespace internal

// Whether the connecting side trusts the accepting side not to hold its file's lock.
enum class MakerTrust : uint8_t {
  kNone,
  // Our own supervisor, which can end us anyway: the seal is placed in the calling thread, without
  // a helper process. So it works at a limit of processes, and under a filter that allows none.
  kSupervisor,
};

class OutgoingRegionAdoption;

class OutgoingRegion {
 public:
  // A new region, mapped here and sealed with kRegionSeals: from now on not even this process can
  // map it writable again.
  static absl::StatusOr<OutgoingRegion> Create(RegionGeometry geometry,
                                               const RegionLimits& limits = {},
                                               HugePages pages = HugePages::kUsual);

  // Connecting side: a region that the peer made with IncomingRegionDraft::Create and we will
  // write. Verifies its shape, maps it, seals it with kRegionSeals, brings in its pages, and
  // verifies it once more: in this order, so that nothing that was verified can change. After that,
  // say "mapped". kDeadlineExceeded if the peer kept the seal from being placed, or the size was
  // more than could be mapped until then.
  static absl::StatusOr<OutgoingRegion> Adopt(UniqueFd fd, RegionGeometry geometry,
                                              const RegionLimits& limits, Deadline deadline,
                                              MakerTrust maker = MakerTrust::kNone);

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
  friend class OutgoingRegionAdoption;
  friend class OutgoingRegionBuilder;
  OutgoingRegion(internal::RegionFile file, OutgoingMapping mapping);
  internal::RegionFile file_;
  OutgoingMapping mapping_;
};

// OutgoingRegion::Adopt in two halves, both in one thread: a helper process places the seal while
// the caller does something else.
class OutgoingRegionAdoption {
 public:
  static absl::StatusOr<OutgoingRegionAdoption> Start(UniqueFd fd, RegionGeometry geometry,
                                                      const RegionLimits& limits,
                                                      MakerTrust maker = MakerTrust::kNone);
  absl::StatusOr<OutgoingRegion> Finish(Deadline deadline) &&;

 private:
  OutgoingRegionAdoption(internal::RegionFile file, OutgoingMapping mapping,
                         std::optional<SharedSealing> sealing)
      : file_(std::move(file)), mapping_(std::move(mapping)), sealing_(std::move(sealing)) {}

  internal::RegionFile file_;
  OutgoingMapping mapping_;
  std::optional<SharedSealing> sealing_;  // of file_'s descriptor; none: the seals are on
};

class IncomingRegionFinisher;

class IncomingRegion {
 public:
  // Verifies and maps a finished region that the peer made and writes. kDeadlineExceeded if its
  // size was more than could be mapped until then.
  static absl::StatusOr<IncomingRegion> Adopt(
      UniqueFd fd, RegionGeometry geometry, const RegionLimits& limits = {},
      Deadline deadline = Deadline::After(absl::InfiniteDuration()));
  // The same in slices: verified and mapped, without its pages.
  static absl::StatusOr<IncomingRegionFinisher> StartAdopt(UniqueFd fd, RegionGeometry geometry,
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
  friend class IncomingRegionFinisher;
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

  // The same in slices. Verifies at once, so that a draft that was spoiled is refused here.
  absl::StatusOr<IncomingRegionFinisher> StartFinish() &&;

  RegionGeometry geometry() const { return file_.geometry; }
  FileId identity() const { return file_.identity; }
  int fd() const { return file_.fd.get(); }

 private:
  friend class IncomingRegionDraftBuilder;
  explicit IncomingRegionDraft(internal::RegionFile file);
  internal::RegionFile file_;
};

// The three things that take as long as the memory is large, in slices. Step works until all is
// done (true) or `until` is past (false): one slice at least, which takes 0.1 ms, or 1 ms where it
// makes a huge page. After an error nothing but destruction is left to do. Take before Step
// returned true is the caller's bug and aborts. A builder that is dropped leaves no memory,
// descriptor or claim.
class OutgoingRegionBuilder {
 public:
  // Errors, here and of Step, as of OutgoingRegion::Create.
  static absl::StatusOr<OutgoingRegionBuilder> Start(RegionGeometry geometry,
                                                     const RegionLimits& limits = {},
                                                     HugePages pages = HugePages::kUsual);
  absl::StatusOr<bool> Step(Deadline until);
  OutgoingRegion Take() &&;

 private:
  OutgoingRegionBuilder(internal::ShapeBuilder shape, RegionGeometry geometry,
                        const RegionLimits& limits)
      : shape_(std::move(shape)), limits_(limits), file_{{}, {}, geometry, {}} {}
  absl::Status MapAndSeal();

  internal::ShapeBuilder shape_;
  RegionLimits limits_;
  internal::RegionFile file_;
  MemfdFacts facts_;
  std::optional<OutgoingMapping> mapping_;
  bool done_ = false;
};

class IncomingRegionDraftBuilder {
 public:
  // Errors, here and of Step, as of IncomingRegionDraft::Create.
  static absl::StatusOr<IncomingRegionDraftBuilder> Start(RegionGeometry geometry,
                                                          const RegionLimits& limits = {},
                                                          HugePages pages = HugePages::kUsual);
  absl::StatusOr<bool> Step(Deadline until);
  IncomingRegionDraft Take() &&;

 private:
  IncomingRegionDraftBuilder(internal::ShapeBuilder shape, RegionGeometry geometry,
                             const RegionLimits& limits)
      : shape_(std::move(shape)), limits_(limits), file_{{}, {}, geometry, {}} {}

  internal::ShapeBuilder shape_;
  RegionLimits limits_;
  internal::RegionFile file_;
  bool done_ = false;
};

class IncomingRegionFinisher {
 public:
  // Errors as of IncomingRegionDraft::Finish.
  absl::StatusOr<bool> Step(Deadline until);
  // All that is left. kDeadlineExceeded if it was more than could be done until then.
  absl::StatusOr<IncomingRegion> Finish(Deadline deadline) &&;
  IncomingRegion Take() &&;

 private:
  friend class IncomingRegion;
  friend class IncomingRegionDraft;
  // For a file that was verified with kRegionSeals.
  static absl::StatusOr<IncomingRegionFinisher> Start(internal::RegionFile file,
                                                      const MemfdFacts& facts);
  IncomingRegionFinisher(internal::RegionFile file, const MemfdFacts& facts,
                         IncomingMapping mapping)
      : file_(std::move(file)), facts_(facts), mapping_(std::move(mapping)) {}

  internal::RegionFile file_;
  MemfdFacts facts_;
  IncomingMapping mapping_;
  bool done_ = false;
};

}  // namespace parley

#endif  // PARLEY_SHM_REGION_H_

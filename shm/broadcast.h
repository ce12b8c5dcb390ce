#ifndef PARLEY_SHM_BROADCAST_H_
#define PARLEY_SHM_BROADCAST_H_

// A region with one writer and any number of readers: what fan-out and a latest value for many
// stand on. Its writer makes it once, keeps the descriptor, and hands a duplicate of it to each
// reader; what comes back from a reader travels in a session of its own.
//
// Trust: the writer: a reader can map it read-only and nothing else; the kernel enforces it
// (kRegionSeals), as of OutgoingRegion. A reader: the bytes are the writer's at all times; the file
// is verified before it is mapped, as of IncomingRegion.
// Threads: one at a time; the memory views may be used from any thread while the region lives.
// Errors: as of shm/region.h.
//
//   absl::StatusOr<BroadcastRegion> region = BroadcastRegion::Create(*layout);      // the writer
//   ... send region->fd() to each reader ...
//   absl::StatusOr<BroadcastView> view = BroadcastView::Adopt(std::move(fd), *layout, deadline);

#include "absl/status/statusor.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/file_registry.h"
#include "parley/shm/geometry.h"
#include "parley/shm/region.h"
#include "parley/shm/sections.h"

namespace parley {

class BroadcastRegion {
 public:
  // `registry`: where the region is claimed, so that nobody hands it back to us as theirs.
  static absl::StatusOr<BroadcastRegion> Create(
      const SectionLayout& layout, FileRegistry* registry = &FileRegistry::OfThisProcess(),
      HugePages pages = HugePages::kUsual);

  OwnMemory control() const { return region_.control(); }
  // All sections; where each lies: layout().
  OwnMemory memory() const { return region_.frames(); }
  const SectionLayout& layout() const { return layout_; }
  // To be sent to any number of readers; owned here.
  int fd() const { return region_.fd(); }

 private:
  BroadcastRegion(OutgoingRegion region, const SectionLayout& layout);
  OutgoingRegion region_;
  SectionLayout layout_;
};

class BroadcastView {
 public:
  // `layout`: as the writer announced it, within our limits. One process may have several views of
  // one region, for instance in two sessions: they are in no registry, since all of them only read.
  static absl::StatusOr<BroadcastView> Adopt(UniqueFd fd, const SectionLayout& layout,
                                             Deadline deadline);

  PeerMemory control() const { return region_.control(); }
  PeerMemory memory() const { return region_.frames(); }
  const SectionLayout& layout() const { return layout_; }

 private:
  BroadcastView(IncomingRegion region, const SectionLayout& layout);
  IncomingRegion region_;
  SectionLayout layout_;
};

}  // namespace parley

#endif  // PARLEY_SHM_BROADCAST_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SHM_BROADCAST_H_
#define PARLEY_SHM_BROADCAST_H_

// A region with one writer and any number of readers: what fan-out and a latest value for many
// stand on. Its writer makes it once and hands it to any number of sessions (AcceptOptions); what
// comes back from a reader travels in a session of its own.
//
//   | control page | section of kind 3 | section of kind 9 | ...
//
// Trust: the writer: a reader can map it read-only and nothing else; the kernel enforces it
// (kRegionSeals), as of OutgoingRegion. A reader: the bytes are the writer's at all times; the file
// is verified before it is mapped, as of IncomingRegion. What a reader does to the file's locks
// holds up nobody: neither the writer nor another reader makes a call that takes one.
// Threads: making one: one. TakeSection: any. A section's memory: its one writer. Views: any number
// of threads, as the section's pattern says.
// Errors: as of shm/region.h.
//
//   auto broadcast = Broadcast::Create({{3, 4, 4096}, {9, 1, 65536}});      // the writer
//   absl::StatusOr<OwnMemory> values = (*broadcast)->TakeSection(3);
//   accept_options.broadcast = *broadcast;
//
//   connect_options.broadcast_kinds = {3};                                  // a reader
//   std::optional<BroadcastSection> values = session->broadcast()->Find(3);

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

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

struct BroadcastOptions {
  uint64_t max_bytes = uint64_t{1} << 30;  // of all sections together
  HugePages pages = HugePages::kUsual;
  // Where the region is claimed, so that nobody hands it back to us as theirs; outlives the region.
  // nullptr: the process's. Reader and writer in one process need one each.
  FileRegistry* registry = nullptr;
};

class Broadcast {
  struct Private {};

 public:
  // All of its memory is allocated here, and is zero. kInvalidArgument, kResourceExhausted: as of
  // SectionLayout::Make.
  static absl::StatusOr<std::shared_ptr<Broadcast>> Create(const SectionList& sections,
                                                           const BroadcastOptions& options = {});
  Broadcast(Private, OutgoingRegion region, const SectionLayout& layout)
      : region_(std::move(region)), layout_(layout) {}
  Broadcast(const Broadcast&) = delete;
  Broadcast& operator=(const Broadcast&) = delete;

  // The memory of one section, for its one writer, which keeps the broadcast alive. kNotFound:
  // there is none of this kind; kAlreadyExists: it was taken.
  absl::StatusOr<OwnMemory> TakeSection(uint16_t kind);

  const SectionLayout& layout() const { return layout_; }
  // To be sent to any number of readers; owned here.
  int fd() const { return region_.fd(); }

 private:
  const OutgoingRegion region_;
  const SectionLayout layout_;
  std::mutex mutex_;
  SectionList taken_;  // guarded by mutex_
};

// One section as a reader has it: as it was announced, and its bytes.
struct BroadcastSection {
  Section section;
  PeerMemory memory;  // whole pages
};

class BroadcastView {
 public:
  // `layout`: as the writer announced it, within our limits. One process may have several views of
  // one region, for instance in two sessions: `registry` has it in the one role of being read.
  static absl::StatusOr<BroadcastView> Adopt(
      UniqueFd fd, const SectionLayout& layout, Deadline deadline,
      FileRegistry* registry = &FileRegistry::OfThisProcess());

  // nullopt: there is none of this kind.
  std::optional<BroadcastSection> Find(uint16_t kind) const;
  const SectionLayout& layout() const { return layout_; }

 private:
  BroadcastView(IncomingRegion region, const SectionLayout& layout);
  IncomingRegion region_;
  SectionLayout layout_;
};

}  // namespace parley

#endif  // PARLEY_SHM_BROADCAST_H_

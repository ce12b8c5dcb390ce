// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_SAFETY_FOLDED_MEMORY_H_
#define PARLEY_BENCH_SAFETY_FOLDED_MEMORY_H_

// The switch that turns the mirrored mapping off, for the benchmark alone: data that are mapped
// once, so that whoever copies a record which wraps around does so in two parts. In place is not
// possible without the mirror.
//
// Trust: as OwnMemory and PeerMemory.
// Threads: as OwnMemory and PeerMemory.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"

namespace parley::bench {

class FoldedOwnMemory {
 public:
  FoldedOwnMemory(std::byte* base, std::size_t size_bytes)
      : memory_(base, size_bytes), size_bytes_(size_bytes) {}

  // Words are aligned and so never in two parts. Positions, in the control page, are released.
  void StoreRelease64(std::size_t offset, uint64_t value) { memory_.StoreRelease64(offset, value); }
  void StoreRelaxed64(std::size_t offset, uint64_t value) {
    memory_.StoreRelaxed64(Folded(offset), value);
  }
  void CopyIn(std::size_t offset, absl::Span<const std::byte> from) {
    offset = Folded(offset);
    const std::size_t first = std::min(from.size(), size_bytes_ - offset);
    memory_.CopyIn(offset, from.first(first));
    if (first != from.size()) [[unlikely]]
      memory_.CopyIn(0, from.subspan(first));
  }

 private:
  std::size_t Folded(std::size_t offset) const {
    return offset < size_bytes_ ? offset : offset - size_bytes_;
  }

  OwnMemory memory_;
  std::size_t size_bytes_;
};

class FoldedPeerMemory {
 public:
  using View = PeerView;

  FoldedPeerMemory(const std::byte* base, std::size_t size_bytes)
      : memory_(base, size_bytes), size_bytes_(size_bytes) {}

  Untrusted<uint64_t> LoadAcquire64(std::size_t offset) const {
    return memory_.LoadAcquire64(offset);
  }
  Untrusted<uint64_t> LoadRelaxed64(std::size_t offset) const {
    return memory_.LoadRelaxed64(Folded(offset));
  }
  void Prefetch(std::size_t offset) const { memory_.Prefetch(offset); }
  void CopyOut(std::size_t offset, absl::Span<std::byte> into) const {
    offset = Folded(offset);
    const std::size_t first = std::min(into.size(), size_bytes_ - offset);
    memory_.CopyOut(offset, into.first(first));
    if (first != into.size()) [[unlikely]]
      memory_.CopyOut(0, into.subspan(first));
  }

 private:
  std::size_t Folded(std::size_t offset) const {
    return offset < size_bytes_ ? offset : offset - size_bytes_;
  }

  PeerMemory memory_;
  std::size_t size_bytes_;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_SAFETY_FOLDED_MEMORY_H_

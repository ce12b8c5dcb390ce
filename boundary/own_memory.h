// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BOUNDARY_OWN_MEMORY_H_
#define PARLEY_BOUNDARY_OWN_MEMORY_H_

// Memory that we write and the peer reads: bounded, and never read back.
//
// Trust: the peer sees every byte written here as soon as it is written, and nothing else. There
// are no loads: our own state lives in private memory, and this is only its publication (whoever
// made the region for us may have kept a writable mapping of it).
// Threads: one writer.
// Ordering: whoever acquires the value of a StoreRelease64 sees everything written before it.
//
//   OwnMemory control(mapping_base, 4096);
//   control.StoreRelease64(kTailOffset, tail);

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "parley/boundary/copy.h"
#include "parley/os/check.h"

namespace parley {

class Futex;

class OwnMemory {
 public:
  OwnMemory() = default;
  OwnMemory(std::byte* base, std::size_t size_bytes) : base_(base), size_bytes_(size_bytes) {}

  std::size_t size_bytes() const { return size_bytes_; }

  void StoreRelease64(std::size_t offset_bytes, uint64_t value) {
    // PAIRS WITH: PeerMemory::LoadAcquire64 in the peer's process.
    __atomic_store_n(Word(offset_bytes), value, __ATOMIC_RELEASE);
  }
  void StoreRelaxed64(std::size_t offset_bytes, uint64_t value) {
    // RELAXED: a later StoreRelease64, or a fence of the caller's, publishes it.
    __atomic_store_n(Word(offset_bytes), value, __ATOMIC_RELAXED);
  }

  void CopyIn(std::size_t offset_bytes, absl::Span<const std::byte> from) {
    PARLEY_DEBUG_CHECK(offset_bytes <= size_bytes_ && from.size() <= size_bytes_ - offset_bytes);
    internal::Copy(base_ + offset_bytes, from.data(), from.size());
  }

  // The same for at most kMaxSmallCopyBytes: without a call.
  void CopyInSmall(std::size_t offset_bytes, absl::Span<const std::byte> from) {
    PARLEY_DEBUG_CHECK(offset_bytes <= size_bytes_ && from.size() <= size_bytes_ - offset_bytes &&
                       from.size() <= internal::kMaxSmallCopyBytes);
    internal::SmallCopy(base_ + offset_bytes, from.data(), from.size());
  }

  // Zeros, fewer than 8 of them.
  void ZeroSmall(std::size_t offset_bytes, std::size_t count) {
    PARLEY_DEBUG_CHECK(count < 8 && offset_bytes <= size_bytes_ &&
                       count <= size_bytes_ - offset_bytes);
    std::byte* at = base_ + offset_bytes;
    if ((count & 4) != 0) {
      __builtin_memset(at, 0, 4);
      at += 4;
    }
    if ((count & 2) != 0) {
      __builtin_memset(at, 0, 2);
      at += 2;
    }
    if ((count & 1) != 0) *at = std::byte{0};
  }

  // A part of this memory, for words that are asked for often.
  OwnMemory Part(std::size_t offset_bytes, std::size_t length_bytes) const {
    PARLEY_DEBUG_CHECK(offset_bytes <= size_bytes_ && length_bytes <= size_bytes_ - offset_bytes);
    return OwnMemory(base_ + offset_bytes, length_bytes);
  }

  // The bytes themselves, to be filled in place. The peer can watch them being filled.
  absl::Span<std::byte> Writable(std::size_t offset_bytes, std::size_t length_bytes) {
    PARLEY_DEBUG_CHECK(offset_bytes <= size_bytes_ && length_bytes <= size_bytes_ - offset_bytes);
    return absl::MakeSpan(base_ + offset_bytes, length_bytes);
  }

 private:
  friend class Futex;

  uint64_t* Word(std::size_t offset_bytes) {
    PARLEY_DEBUG_CHECK(offset_bytes % 8 == 0 && size_bytes_ >= 8 &&
                       offset_bytes <= size_bytes_ - 8);
    // SAFETY: aligned, inside the view, and only ever accessed by atomic stores.
    return reinterpret_cast<uint64_t*>(base_ + offset_bytes);
  }

  std::byte* base_ = nullptr;
  std::size_t size_bytes_ = 0;
};

}  // namespace parley

#endif  // PARLEY_BOUNDARY_OWN_MEMORY_H_

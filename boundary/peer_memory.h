// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BOUNDARY_PEER_MEMORY_H_
#define PARLEY_BOUNDARY_PEER_MEMORY_H_

// Memory that the peer writes and we only read: bounded, and each word fetched once.
//
// Trust: every byte can change between any two of our instructions. So words come out as
// Untrusted<T>, bytes are copied into private memory, and no pointer or span to the peer's memory
// leaves this class (PeerView, the one exception, says so in its name and its methods).
// Offsets and lengths are the caller's own, validated numbers; handing in others is a bug of ours.
// They are checked in debug builds, and the mapping's guard pages stand behind them in all builds.
// Threads: a view; any number, as far as the protocol above allows.
// Ordering: what the peer wrote before its release store is visible after the LoadAcquire64 that
// returns the stored value.
//
//   PeerMemory control(mapping_base, 4096);
//   Untrusted<uint64_t> tail = control.LoadAcquire64(kTailOffset);

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "parley/boundary/copy.h"
#include "parley/boundary/untrusted.h"
#include "parley/os/check.h"

namespace parley {

class Futex;

// A piece of the peer's memory seen in place: the bytes may change while they are read, each time
// they are read. Take a private copy of whatever is to be parsed or checked.
class PeerView {
 public:
  PeerView() = default;
  PeerView(const std::byte* base, std::size_t size_bytes) : base_(base), size_bytes_(size_bytes) {}

  // Ours: validated, and not read from the peer again.
  std::size_t size_bytes() const { return size_bytes_; }

  // Copies [offset, offset + into.size()) to private memory. The range lies inside the view.
  void CopyTo(std::size_t offset_bytes, absl::Span<std::byte> into) const {
    PARLEY_DEBUG_CHECK(offset_bytes <= size_bytes_ && into.size() <= size_bytes_ - offset_bytes);
    internal::Fetch(into.data(), base_ + offset_bytes, into.size());
  }

  // For bulk data whose value decides nothing (pixels to a screen, samples to a mixer) and for
  // checksums: a pointer to bytes that the peer may rewrite at any moment. Anything computed from
  // them twice may differ.
  const std::byte* BytesThatThePeerMayRewriteAtAnyTime() const { return base_; }

 private:
  const std::byte* base_ = nullptr;
  std::size_t size_bytes_ = 0;
};

class PeerMemory {
 public:
  using View = PeerView;

  PeerMemory() = default;
  PeerMemory(const std::byte* base, std::size_t size_bytes)
      : base_(base), size_bytes_(size_bytes) {}

  std::size_t size_bytes() const { return size_bytes_; }

  // One fetch of an aligned word.
  Untrusted<uint64_t> LoadAcquire64(std::size_t offset_bytes) const {
    // PAIRS WITH: OwnMemory::StoreRelease64 in the peer's process.
    return Untrusted<uint64_t>(__atomic_load_n(Word(offset_bytes), __ATOMIC_ACQUIRE));
  }
  Untrusted<uint64_t> LoadRelaxed64(std::size_t offset_bytes) const {
    // RELAXED: the caller has acquired the position that covers this word, or needs no order.
    return Untrusted<uint64_t>(__atomic_load_n(Word(offset_bytes), __ATOMIC_RELAXED));
  }

  // Copies to private memory; the range lies inside this memory.
  void CopyOut(std::size_t offset_bytes, absl::Span<std::byte> into) const {
    PARLEY_DEBUG_CHECK(offset_bytes <= size_bytes_ && into.size() <= size_bytes_ - offset_bytes);
    internal::Fetch(into.data(), base_ + offset_bytes, into.size());
  }

  // The same for at most kMaxSmallCopyBytes: without a call.
  void CopyOutSmall(std::size_t offset_bytes, absl::Span<std::byte> into) const {
    PARLEY_DEBUG_CHECK(offset_bytes <= size_bytes_ && into.size() <= size_bytes_ - offset_bytes &&
                       into.size() <= internal::kMaxSmallCopyBytes);
    internal::SmallCopy(into.data(), base_ + offset_bytes, into.size());
  }

  // A part of this memory, for words that are asked for often.
  PeerMemory Part(std::size_t offset_bytes, std::size_t length_bytes) const {
    PARLEY_DEBUG_CHECK(offset_bytes <= size_bytes_ && length_bytes <= size_bytes_ - offset_bytes);
    return PeerMemory(base_ + offset_bytes, length_bytes);
  }

  // Asks for the two lines of the cache from `offset_bytes` on, which lies inside this memory. A
  // hint: no value is fetched, and nothing happens where there is none.
  void Prefetch(std::size_t offset_bytes) const {
    PARLEY_DEBUG_CHECK(offset_bytes <= size_bytes_);
    __builtin_prefetch(base_ + offset_bytes);
    __builtin_prefetch(base_ + offset_bytes + internal::kLineBytes);
  }

  PeerView ViewOf(std::size_t offset_bytes, std::size_t length_bytes) const {
    PARLEY_DEBUG_CHECK(offset_bytes <= size_bytes_ && length_bytes <= size_bytes_ - offset_bytes);
    return PeerView(base_ + offset_bytes, length_bytes);
  }

 private:
  friend class Futex;

  const uint64_t* Word(std::size_t offset_bytes) const {
    PARLEY_DEBUG_CHECK(offset_bytes % 8 == 0 && size_bytes_ >= 8 &&
                       offset_bytes <= size_bytes_ - 8);
    // SAFETY: aligned, inside the view, and only ever accessed by atomic loads.
    return reinterpret_cast<const uint64_t*>(base_ + offset_bytes);
  }

  const std::byte* base_ = nullptr;
  std::size_t size_bytes_ = 0;
};

}  // namespace parley

#endif  // PARLEY_BOUNDARY_PEER_MEMORY_H_

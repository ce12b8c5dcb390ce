// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTING_HEAP_MEMORY_H_
#define PARLEY_TESTING_HEAP_MEMORY_H_

// "Shared" memory on the heap: what tests, fuzzers and the thread sanitizer use in place of a
// mapping. The bytes are exactly as many as the ring has, so the address sanitizer sees a step
// beyond; what the mirrored mapping does by page tables is done here by arithmetic.
//
// Trust: for tests only; either side of the test may write the bytes.
// Threads: as the ring under test; word accesses are atomic, bytes are plain, so that the thread
// sanitizer judges the ordering.
//
//   HeapRegion region(4096);
//   HeapRegion peer_region(4096);
//   BasicProducer<HeapOwnMemory, HeapPeerMemory> producer(
//       region.own_control(), region.own_data(), peer_region.peer_control(), {4096, 512});

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/types/span.h"
#include "parley/boundary/untrusted.h"
#include "parley/os/check.h"

namespace parley::testing {

// `words` seen as a circle of bytes; `reach` bytes may be addressed (twice the circle for data).
struct Circle {
  uint64_t* words = nullptr;
  std::size_t size_bytes = 0;
  std::size_t reach_bytes = 0;

  uint64_t* Word(std::size_t offset) const {
    PARLEY_CHECK(offset % 8 == 0 && offset + 8 <= reach_bytes, "word outside the test memory");
    return words + offset % size_bytes / 8;
  }
  // Calls with each contiguous piece of [offset, offset + length).
  template <typename Visit>
  void Pieces(std::size_t offset, std::size_t length, Visit visit) const {
    PARLEY_CHECK(offset <= reach_bytes && length <= reach_bytes - offset && length <= size_bytes,
                 "bytes outside the test memory");
    // SAFETY: the words of a vector, looked at as bytes.
    auto* bytes = reinterpret_cast<std::byte*>(words);
    const std::size_t at = size_bytes == 0 ? 0 : offset % size_bytes;
    const std::size_t first = std::min(length, size_bytes - at);
    if (first != 0) visit(bytes + at, first, std::size_t{0});
    if (length != first) visit(bytes, length - first, first);
  }
};

class HeapView {
 public:
  HeapView() = default;
  HeapView(Circle circle, std::size_t offset, std::size_t size)
      : circle_(circle), offset_(offset), size_bytes_(size) {}
  std::size_t size_bytes() const { return size_bytes_; }
  void CopyTo(std::size_t offset, absl::Span<std::byte> into) const {
    PARLEY_CHECK(offset <= size_bytes_ && into.size() <= size_bytes_ - offset, "outside the view");
    circle_.Pieces(offset_ + offset, into.size(),
                   [&](const std::byte* piece, std::size_t length, std::size_t at) {
                     std::memcpy(into.data() + at, piece, length);
                   });
  }

 private:
  Circle circle_;
  std::size_t offset_ = 0;
  std::size_t size_bytes_ = 0;
};

class HeapPeerMemory {
 public:
  using View = HeapView;

  HeapPeerMemory() = default;
  explicit HeapPeerMemory(Circle circle) : circle_(circle) {}

  Untrusted<uint64_t> LoadAcquire64(std::size_t offset) const {
    // PAIRS WITH: HeapOwnMemory::StoreRelease64.
    return Untrusted<uint64_t>(__atomic_load_n(circle_.Word(offset), __ATOMIC_ACQUIRE));
  }
  Untrusted<uint64_t> LoadRelaxed64(std::size_t offset) const {
    // RELAXED: as PeerMemory::LoadRelaxed64.
    return Untrusted<uint64_t>(__atomic_load_n(circle_.Word(offset), __ATOMIC_RELAXED));
  }
  void CopyOut(std::size_t offset, absl::Span<std::byte> into) const {
    HeapView(circle_, offset, into.size()).CopyTo(0, into);
  }
  void CopyOutSmall(std::size_t offset, absl::Span<std::byte> into) const { CopyOut(offset, into); }
  void Prefetch(std::size_t /*offset*/) const {}
  HeapView ViewOf(std::size_t offset, std::size_t length) const {
    return HeapView(circle_, offset, length);
  }

 private:
  Circle circle_;
};

class HeapOwnMemory {
 public:
  HeapOwnMemory() = default;
  explicit HeapOwnMemory(Circle circle) : circle_(circle) {}

  void StoreRelease64(std::size_t offset, uint64_t value) {
    // PAIRS WITH: HeapPeerMemory::LoadAcquire64.
    __atomic_store_n(circle_.Word(offset), value, __ATOMIC_RELEASE);
  }
  void StoreRelaxed64(std::size_t offset, uint64_t value) {
    // RELAXED: as OwnMemory::StoreRelaxed64.
    __atomic_store_n(circle_.Word(offset), value, __ATOMIC_RELAXED);
  }
  void CopyIn(std::size_t offset, absl::Span<const std::byte> from) {
    circle_.Pieces(offset, from.size(), [&](std::byte* piece, std::size_t length, std::size_t at) {
      std::memcpy(piece, from.data() + at, length);
    });
  }
  void CopyInSmall(std::size_t offset, absl::Span<const std::byte> from) { CopyIn(offset, from); }
  void ZeroSmall(std::size_t offset, std::size_t count) {
    circle_.Pieces(offset, count, [](std::byte* piece, std::size_t length, std::size_t) {
      std::memset(piece, 0, length);
    });
  }
  // Only for a range that does not wrap: the heap has no second mapping.
  absl::Span<std::byte> Writable(std::size_t offset, std::size_t length) {
    std::byte* whole = nullptr;
    circle_.Pieces(offset, length, [&](std::byte* piece, std::size_t piece_length, std::size_t) {
      PARLEY_CHECK(piece_length == length, "an in-place range wraps; use another record size");
      whole = piece;
    });
    return absl::MakeSpan(whole, length);
  }

 private:
  Circle circle_;
};

// One region's bytes: a control page and `data_bytes` of data.
class HeapRegion {
 public:
  static constexpr std::size_t kPageBytes = 4096;

  explicit HeapRegion(std::size_t data_bytes) : control_(kPageBytes / 8), data_(data_bytes / 8) {}

  Circle control() { return {control_.data(), kPageBytes, kPageBytes}; }
  Circle data() { return {data_.data(), data_.size() * 8, data_.size() * 16}; }
  HeapOwnMemory own_control() { return HeapOwnMemory(control()); }
  HeapOwnMemory own_data() { return HeapOwnMemory(data()); }
  HeapPeerMemory peer_control() { return HeapPeerMemory(control()); }
  HeapPeerMemory peer_data() { return HeapPeerMemory(data()); }

  // What a hostile owner does: any word, any time.
  void SetControl(std::size_t offset, uint64_t value) {
    HeapOwnMemory(control()).StoreRelease64(offset, value);
  }
  void SetData(std::size_t offset, uint64_t value) {
    HeapOwnMemory(data()).StoreRelease64(offset, value);
  }

 private:
  std::vector<uint64_t> control_;
  std::vector<uint64_t> data_;
};

}  // namespace parley::testing

#endif  // PARLEY_TESTING_HEAP_MEMORY_H_

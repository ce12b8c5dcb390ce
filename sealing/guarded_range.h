// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SEALING_GUARDED_RANGE_H_
#define PARLEY_SEALING_GUARDED_RANGE_H_

// A piece of our address space with an inaccessible page on either side, into which files are
// mapped.
//
//   | guard |  first byte ........................ last byte, rounded up to a page  | guard |
//
// Overruns in either direction hit a guard and stop there. Nothing in here is inherited by a forked
// child or written to a core dump.
//
// Trust: maps what the caller verified (sealing/verify.h); it doesn't look itself.
// Fork: a child has none of the memory. Each range's addresses stay reserved there, so that nothing
// else of the child's can get them, and an access ends the child with a sentence (SIGABRT) instead
// of a bare SIGSEGV, where the program has no handler of its own for that. It costs nothing until
// then. Destroying a range in a child is fine. A child that was made by a bare clone system call
// has plain SIGSEGV: no code of ours runs there.
// Threads: one at a time.

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace parley {

// The size of a page, the unit of mappings and of memfd geometry.
size_t PageBytes();

namespace internal {
// For tests: from now on PageBytes() is `page_bytes`, a power of two and a multiple of the real
// one, so that a machine of 4 KiB does what one of 16 or 64 KiB does. Before any region is made.
void SimulatePageBytes(size_t page_bytes);
}  // namespace internal

class GuardedRange {
 public:
  enum class Access {
    kRead,          // the bytes that other processes see
    kReadWrite,     // the same, and ours to change
    kReadPrivately  // a write-sealed file; before Linux 6.7 those can't be mapped shared
  };

  // Reserves `size_bytes`, rounded up to pages; from kAlignedFromBytes on at a multiple of it, so
  // that huge pages of a file mapped at its front can be mapped as such. kResourceExhausted where
  // the address space (or RLIMIT_AS) has no room.
  static absl::StatusOr<GuardedRange> Reserve(uint64_t size_bytes);

  static constexpr uint64_t kAlignedFromBytes = uint64_t{2} << 20;

  GuardedRange() = default;
  GuardedRange(GuardedRange&& other) noexcept;
  GuardedRange& operator=(GuardedRange&& other) noexcept;
  ~GuardedRange() { Unmap(); }

  // Maps `size_bytes` of `fd` from `file_offset_bytes` on at `at_bytes` of this range, with all
  // page table entries made now, so that no later access waits for one. Both offsets are multiples
  // of the page. After an error destroy the range: it is as it was, or partly mapped, or has a gap
  // that is not ours any more. kAborted: another thread was given the gap's addresses meanwhile;
  // try again with a new range.
  absl::Status Map(uint64_t at_bytes, int fd, uint64_t file_offset_bytes, uint64_t size_bytes,
                   Access access);

  // The two halves of Map, for a caller that makes the page table entries in slices. `at_bytes` of
  // Populate is a multiple of the page.
  absl::Status MapWithoutPages(uint64_t at_bytes, int fd, uint64_t file_offset_bytes,
                               uint64_t size_bytes, Access access) {
    const Piece piece = {at_bytes, file_offset_bytes, size_bytes};
    return MapWithoutPages(fd, absl::MakeConstSpan(&piece, 1), access);
  }
  // The same for several pieces of `fd`, of which each begins where the one before ends. Pieces of
  // no bytes are left out.
  struct Piece {
    uint64_t at_bytes;
    uint64_t file_offset_bytes;
    uint64_t size_bytes;
  };
  absl::Status MapWithoutPages(int fd, absl::Span<const Piece> pieces, Access access);
  absl::Status Populate(uint64_t at_bytes, uint64_t size_bytes, Access access);

  // Where the range begins; nullptr for an empty one.
  std::byte* base() const { return base_; }
  // Without the guards.
  size_t size_bytes() const { return size_bytes_; }

 private:
  GuardedRange(std::byte* base, size_t size_bytes) : base_(base), size_bytes_(size_bytes) {}
  void Unmap();

  std::byte* base_ = nullptr;
  size_t size_bytes_ = 0;
  // A part that was given back to be mapped and was not: it may be anybody's now.
  size_t lost_at_bytes_ = 0;
  size_t lost_bytes_ = 0;
};

// Reserves a range for the first `size_bytes` of `fd` and calls `map(range)`, again where another
// thread was in between.
template <typename MapInto>
absl::StatusOr<GuardedRange> ReserveAndMap(uint64_t size_bytes, MapInto map) {
  constexpr int kTries = 16;
  absl::Status status;
  for (int i = 0; i < kTries; ++i) {
    absl::StatusOr<GuardedRange> range = GuardedRange::Reserve(size_bytes);
    if (!range.ok()) return range.status();
    status = map(*range);
    if (status.ok()) return range;
    if (status.code() != absl::StatusCode::kAborted) break;
  }
  return status;
}

}  // namespace parley

#endif  // PARLEY_SEALING_GUARDED_RANGE_H_

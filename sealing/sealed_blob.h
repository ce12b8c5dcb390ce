// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SEALING_SEALED_BLOB_H_
#define PARLEY_SEALING_SEALED_BLOB_H_

// Bytes written once, which afterwards nobody can change: not the peer, not their maker, not the
// kernel on anyone's behalf. So the reader may parse them where they lie, without a copy.
//
// Trust: an adopted blob's *content* is the peer's and may be nonsense; it can't change between two
// looks, can't vanish (no SIGBUS), is no larger than the reader's limit, and costs the reader no
// memory beyond its page table.
// Threads: a blob is immutable; any thread may read it. The writer: one at a time.
//
//   absl::StatusOr<SealedBlob> blob = SealedBlob::CreateFromFile(fd, kMaxFilmBytes);
//   SendOverASocket(blob->fd());   // the other process:
//   absl::StatusOr<SealedBlob> same = SealedBlob::Adopt(std::move(received), kMaxFilmBytes);
//   Parse(same->bytes());

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/guarded_range.h"

namespace parley {

class SealedBlob {
 public:
  // A sealed copy of `content`.
  static absl::StatusOr<SealedBlob> Create(absl::Span<const std::byte> content);

  // What `fd`, a regular file or a pipe, holds from its present position to its end, read straight
  // into the blob. No deadline: whoever opened the descriptor knows whether it can stall. Memory is
  // bounded by `max_bytes` whatever the file claims. kInvalidArgument for a directory, device or
  // socket; kResourceExhausted for more than `max_bytes`; kFailedPrecondition where a non-blocking
  // pipe has nothing yet.
  static absl::StatusOr<SealedBlob> CreateFromFile(int fd, uint64_t max_bytes);

  // Verifies (sealing/verify.h, with kBlobSeals) and maps a blob that another process made.
  // kInvalidArgument if it is anything but a complete, sealed memfd of ordinary pages;
  // kResourceExhausted beyond `max_bytes`. `fd` is closed on every error.
  static absl::StatusOr<SealedBlob> Adopt(UniqueFd fd, uint64_t max_bytes);

  // Valid and constant as long as this object (or what it was moved to) lives. Empty for a blob of
  // zero bytes, which is as good as any other.
  absl::Span<const std::byte> bytes() const { return {mapping_.base(), size_bytes_}; }
  size_t size_bytes() const { return size_bytes_; }

  // To be sent; still owned here. Its file offset is anybody's: read it with pread only.
  int fd() const { return fd_.get(); }
  // A second descriptor of the same file, close-on-exec, for whoever needs one of its own.
  absl::StatusOr<UniqueFd> DuplicateFd() const;

  const FileId& identity() const { return identity_; }

 private:
  SealedBlob(UniqueFd fd, GuardedRange mapping, size_t size_bytes, FileId identity);

  UniqueFd fd_;
  GuardedRange mapping_;
  size_t size_bytes_ = 0;
  FileId identity_;
};

// Fills a blob in place, for producers that would otherwise write twice.
//
//   absl::StatusOr<SealedBlobWriter> writer = SealedBlobWriter::Create(size);
//   Render(writer->buffer());
//   absl::StatusOr<SealedBlob> blob = std::move(*writer).Seal(used);
class SealedBlobWriter {
 public:
  // `capacity_bytes` zero bytes. Errors as of CreateMemfd.
  static absl::StatusOr<SealedBlobWriter> Create(uint64_t capacity_bytes);

  // Valid until Grow or Seal.
  absl::Span<std::byte> buffer() const { return {mapping_.base(), capacity_bytes_}; }

  // Extends the buffer; what is written stays. On error the writer keeps its old capacity.
  absl::Status Grow(uint64_t new_capacity_bytes);

  // Unmaps the buffer, cuts the file to `used_bytes` (at most the capacity; more is the caller's
  // bug and aborts) and seals it. What lay beyond `used_bytes` is wiped. kFailedPrecondition if
  // another writable mapping or an I/O operation of the caller's still holds the pages.
  absl::StatusOr<SealedBlob> Seal(uint64_t used_bytes) &&;
  // The whole buffer.
  absl::StatusOr<SealedBlob> Seal() && { return std::move(*this).Seal(capacity_bytes_); }

 private:
  SealedBlobWriter(UniqueFd fd, GuardedRange mapping, size_t capacity_bytes);

  UniqueFd fd_;
  GuardedRange mapping_;
  size_t capacity_bytes_ = 0;
};

}  // namespace parley

#endif  // PARLEY_SEALING_SEALED_BLOB_H_

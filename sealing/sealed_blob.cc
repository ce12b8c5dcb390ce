// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/sealed_blob.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "parley/os/check.h"
#include "parley/os/errors.h"
#include "parley/sealing/memfd.h"
#include "parley/sealing/seals.h"
#include "parley/sealing/verify.h"

namespace parley {
namespace {

constexpr uint64_t kFirstPipeBytes = uint64_t{64} << 10;

absl::StatusOr<GuardedRange> MapForWriting(int fd, uint64_t size_bytes) {
  if (size_bytes == 0) return GuardedRange();
  return ReserveAndMap(size_bytes, [&](GuardedRange& range) {
    return range.Map(0, fd, 0, size_bytes, GuardedRange::Access::kReadWrite);
  });
}

// What a file is, where it is nothing to make a blob of.
const char* KindOfRefused(mode_t mode) {
  if (S_ISREG(mode) || S_ISFIFO(mode)) return nullptr;
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "something else";
}

absl::Status TooLarge(uint64_t max_bytes) {
  return absl::ResourceExhaustedError("the file is larger than the limit of " +
                                      std::to_string(max_bytes) + " bytes");
}

// How many bytes came, 0 at the end of the file.
absl::StatusOr<size_t> ReadSome(int fd, std::byte* into, size_t size_bytes) {
  // The kernel cuts longer reads anyway, and some file systems refuse them.
  constexpr size_t kMaxBytes = size_t{1} << 30;
  while (true) {
    const ssize_t got = ::read(fd, into, std::min(size_bytes, kMaxBytes));
    if (got >= 0) return static_cast<size_t>(got);
    if (errno == EAGAIN) {
      return absl::FailedPreconditionError(
          "cannot read the file to its end: the descriptor is non-blocking and has nothing yet");
    }
    if (errno != EINTR) return ErrnoStatus(errno, "read the file");
  }
}

}  // namespace

SealedBlob::SealedBlob(UniqueFd fd, GuardedRange mapping, size_t size_bytes, FileId identity)
    : fd_(std::move(fd)),
      mapping_(std::move(mapping)),
      size_bytes_(size_bytes),
      identity_(identity) {}

absl::StatusOr<SealedBlob> SealedBlob::Create(absl::Span<const std::byte> content) {
  absl::StatusOr<SealedBlobWriter> writer = SealedBlobWriter::Create(content.size());
  if (!writer.ok()) return writer.status();
  if (!content.empty()) {
    std::memcpy(writer->buffer().data(), content.data(), content.size());
  }
  return std::move(*writer).Seal();
}

absl::StatusOr<SealedBlob> SealedBlob::CreateFromFile(int fd, uint64_t max_bytes) {
  struct stat file;
  if (::fstat(fd, &file) != 0) return ErrnoStatus(errno, "look at the file");
  if (const char* kind = KindOfRefused(file.st_mode); kind != nullptr) {
    return absl::InvalidArgumentError(std::string("cannot read ") + kind +
                                      ": a regular file or a pipe is needed");
  }
  // The size is a hint: a pipe has none, files in /proc say 0, and any file can change meanwhile.
  uint64_t hint_bytes = kFirstPipeBytes;
  if (S_ISREG(file.st_mode) && file.st_size > 0) {
    const off_t at = ::lseek(fd, 0, SEEK_CUR);
    hint_bytes = static_cast<uint64_t>(std::max<off_t>(1, file.st_size - std::max<off_t>(0, at)));
    if (hint_bytes > max_bytes) return TooLarge(max_bytes);
  }
  absl::StatusOr<SealedBlobWriter> writer =
      SealedBlobWriter::Create(std::min(hint_bytes, max_bytes));
  if (!writer.ok()) return writer.status();

  uint64_t used_bytes = 0;
  while (true) {
    const absl::Span<std::byte> rest = writer->buffer().subspan(used_bytes);
    if (!rest.empty()) {
      const absl::StatusOr<size_t> got = ReadSome(fd, rest.data(), rest.size());
      if (!got.ok()) return got.status();
      if (*got == 0) break;
      used_bytes += *got;
      continue;
    }
    // Full. One byte more tells whether that was all, before memory is taken for the next step.
    std::byte next;
    const absl::StatusOr<size_t> got = ReadSome(fd, &next, 1);
    if (!got.ok()) return got.status();
    if (*got == 0) break;
    if (used_bytes >= max_bytes) return TooLarge(max_bytes);
    const uint64_t doubled = std::max(used_bytes, kFirstPipeBytes / 2) * 2;
    const absl::Status status = writer->Grow(std::min(doubled, max_bytes));
    if (!status.ok()) return status;
    writer->buffer()[used_bytes++] = next;
  }
  return std::move(*writer).Seal(used_bytes);
}

absl::StatusOr<SealedBlob> SealedBlob::Adopt(UniqueFd fd, uint64_t max_bytes) {
  const absl::StatusOr<MemfdFacts> facts = VerifyMemfdOfAnySize(fd.get(), max_bytes, kBlobSeals);
  if (!facts.ok()) return facts.status();
  GuardedRange mapping;
  if (facts->size_bytes > 0) {
    absl::StatusOr<GuardedRange> range = ReserveAndMap(facts->size_bytes, [&](GuardedRange& in) {
      return in.Map(0, fd.get(), 0, facts->size_bytes, GuardedRange::Access::kReadPrivately);
    });
    if (!range.ok()) return range.status();
    absl::Status status = VerifyNothingAllocatedSince(fd.get(), *facts);
    if (!status.ok()) return status;
    mapping = std::move(*range);
  }
  return SealedBlob(std::move(fd), std::move(mapping), static_cast<size_t>(facts->size_bytes),
                    facts->identity);
}

absl::StatusOr<UniqueFd> SealedBlob::DuplicateFd() const {
  UniqueFd duplicate(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
  if (!duplicate.ok()) return ErrnoStatus(errno, "duplicate the descriptor of a sealed blob");
  return duplicate;
}

SealedBlobWriter::SealedBlobWriter(UniqueFd fd, GuardedRange mapping, size_t capacity_bytes)
    : fd_(std::move(fd)), mapping_(std::move(mapping)), capacity_bytes_(capacity_bytes) {}

absl::StatusOr<SealedBlobWriter> SealedBlobWriter::Create(uint64_t capacity_bytes) {
  absl::StatusOr<UniqueFd> fd = CreateMemfd(capacity_bytes);
  if (!fd.ok()) return fd.status();
  absl::StatusOr<GuardedRange> mapping = MapForWriting(fd->get(), capacity_bytes);
  if (!mapping.ok()) return mapping.status();
  return SealedBlobWriter(std::move(*fd), std::move(*mapping), static_cast<size_t>(capacity_bytes));
}

absl::Status SealedBlobWriter::Grow(uint64_t new_capacity_bytes) {
  PARLEY_CHECK(fd_.ok(), "SealedBlobWriter: used after Seal");
  if (new_capacity_bytes <= capacity_bytes_) return absl::OkStatus();
  absl::Status status = ResizeMemfd(fd_.get(), capacity_bytes_, new_capacity_bytes);
  if (!status.ok()) return status;
  absl::StatusOr<GuardedRange> mapping = MapForWriting(fd_.get(), new_capacity_bytes);
  if (!mapping.ok()) {
    // Shrinking takes no memory and can't be refused: nothing is sealed yet.
    ResizeMemfd(fd_.get(), new_capacity_bytes, capacity_bytes_).IgnoreError();
    return mapping.status();
  }
  mapping_ = std::move(*mapping);
  capacity_bytes_ = static_cast<size_t>(new_capacity_bytes);
  return absl::OkStatus();
}

absl::StatusOr<SealedBlob> SealedBlobWriter::Seal(uint64_t used_bytes) && {
  PARLEY_CHECK(fd_.ok(), "SealedBlobWriter: used after Seal");
  PARLEY_CHECK(used_bytes <= capacity_bytes_, "SealedBlobWriter::Seal: more than the capacity");
  UniqueFd fd = std::move(fd_);
  mapping_ = GuardedRange();  // F_SEAL_WRITE is granted only while nobody can write
  if (used_bytes < capacity_bytes_) {
    absl::Status status = ResizeMemfd(fd.get(), capacity_bytes_, used_bytes);
    if (!status.ok()) return status;
  }
  capacity_bytes_ = 0;
  if (absl::Status status = AddSeals(fd.get(), kBlobSeals); !status.ok()) return status;
  // Ours passes through the same door as a foreign one.
  return SealedBlob::Adopt(std::move(fd), used_bytes);
}

}  // namespace parley

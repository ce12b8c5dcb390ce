// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/verify.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <optional>
#include <string>

#include "parley/os/errors.h"
#include "parley/sealing/guarded_range.h"

namespace parley {
namespace {

constexpr uint64_t kBlockBytes = 512;  // of st_blocks, whatever the file system's own block is

uint64_t AllocatedBytes(const struct stat& file) {
  return static_cast<uint64_t>(file.st_blocks) * kBlockBytes;
}

std::string Bytes(uint64_t count) { return std::to_string(count) + " bytes"; }

absl::StatusOr<MemfdFacts> Verify(int fd, std::optional<uint64_t> expected_size_bytes,
                                  uint64_t limit_bytes, SealSet required_seals) {
  if (absl::Status status = VerifySeals(fd, required_seals); !status.ok()) return status;

  struct statfs file_system;
  if (::fstatfs(fd, &file_system) != 0) return ErrnoStatus(errno, "look at a memfd");
  if (file_system.f_type != TMPFS_MAGIC) {
    return absl::InvalidArgumentError("the memfd has huge pages, which can go missing");
  }

  struct stat file;
  if (::fstat(fd, &file) != 0) return ErrnoStatus(errno, "look at a memfd");
  if (!S_ISREG(file.st_mode) || file.st_size < 0) {
    return absl::InvalidArgumentError("the descriptor is no memfd: it is not a regular file");
  }
  const MemfdFacts facts = {
      static_cast<uint64_t>(file.st_size), AllocatedBytes(file), {file.st_dev, file.st_ino}};
  if (expected_size_bytes.has_value() && facts.size_bytes != *expected_size_bytes) {
    return absl::InvalidArgumentError("the memfd has " + Bytes(facts.size_bytes) + ", announced " +
                                      "were " + Bytes(*expected_size_bytes));
  }
  if (facts.size_bytes > limit_bytes) {
    return absl::ResourceExhaustedError("the memfd has " + Bytes(facts.size_bytes) +
                                        ", the limit is " + Bytes(limit_bytes));
  }
  const uint64_t page_bytes = PageBytes();
  const uint64_t pages = facts.size_bytes / page_bytes + (facts.size_bytes % page_bytes != 0);
  const uint64_t allocated_pages = facts.allocated_bytes / page_bytes;
  if (allocated_pages < pages) {
    return absl::InvalidArgumentError("the memfd has holes: " + Bytes(facts.allocated_bytes) +
                                      " of " + Bytes(facts.size_bytes) + " are allocated");
  }
  if (allocated_pages > pages) {
    return absl::InvalidArgumentError(
        "the memfd has pages beyond its end: " + Bytes(facts.allocated_bytes) +
        " are allocated for " + Bytes(facts.size_bytes));
  }
  return facts;
}

}  // namespace

absl::StatusOr<MemfdFacts> VerifyMemfd(int fd, uint64_t expected_size_bytes, uint64_t limit_bytes,
                                       SealSet required_seals) {
  return Verify(fd, expected_size_bytes, limit_bytes, required_seals);
}

absl::StatusOr<MemfdFacts> VerifyMemfdOfAnySize(int fd, uint64_t limit_bytes,
                                                SealSet required_seals) {
  return Verify(fd, std::nullopt, limit_bytes, required_seals);
}

absl::Status VerifyNothingAllocatedSince(int fd, const MemfdFacts& facts) {
  struct stat file;
  if (::fstat(fd, &file) != 0) return ErrnoStatus(errno, "look at a memfd");
  const uint64_t now_bytes = AllocatedBytes(file);
  if (now_bytes == facts.allocated_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError("the memfd had hidden holes: before it was mapped " +
                                    Bytes(facts.allocated_bytes) + " were allocated, now " +
                                    Bytes(now_bytes));
}

}  // namespace parley

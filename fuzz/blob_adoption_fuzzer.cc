// SPDX-License-Identifier: Apache-2.0

// Attacks SealedBlob::Adopt and CreateFromFile with every kind of descriptor. Adopted is exactly a
// memfd with all blob seals, all pages, ordinary ones, within the limit; nothing is left behind.
//
// Input: limit, then the descriptor (descriptor_fixtures.cc).

#include <fcntl.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/fuzz/descriptor_fixtures.h"
#include "parley/fuzz/footprint.h"
#include "parley/os/check.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/sealed_blob.h"
#include "parley/sealing/seals.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

uint64_t SumOf(const SealedBlob& blob) {
  uint64_t sum = 0;
  for (const std::byte b : blob.bytes()) sum += std::to_integer<uint64_t>(b);
  return sum;
}

blkcnt_t BlocksOf(int fd) {
  struct stat file = {};
  PARLEY_CHECK(::fstat(fd, &file) == 0, "fstat");
  return file.st_blocks;
}

void AdoptMemfd(testing::Script& script, uint64_t limit) {
  ForeignMemfd foreign = MakeMemfd(script, 8192);
  const UniqueFd same(::fcntl(foreign.fd.get(), F_DUPFD_CLOEXEC, 3));
  const blkcnt_t blocks_before = BlocksOf(same.get());
  const bool sealed = (foreign.seals & kBlobSeals) == kBlobSeals;
  const absl::StatusOr<SealedBlob> blob = SealedBlob::Adopt(std::move(foreign.fd), limit);
  const bool allowed =
      sealed && !foreign.pages_missing && !foreign.huge_pages && foreign.size_bytes <= limit;
  PARLEY_CHECK(blob.ok() == allowed, "a blob was adopted, or refused, against the rules");
  // A hole that can be counted is refused before anybody pays for it.
  PARLEY_CHECK(foreign.hole_hidden || BlocksOf(same.get()) == blocks_before, "a hole was filled");
  if (blob.ok()) {
    PARLEY_CHECK(blob->size_bytes() == foreign.size_bytes, "another size");
    PARLEY_CHECK(SumOf(*blob) == 0, "bytes that nobody wrote");
    return;
  }
  const absl::StatusCode code = blob.status().code();
  PARLEY_CHECK(code == absl::StatusCode::kInvalidArgument ||
                   (code == absl::StatusCode::kResourceExhausted && foreign.size_bytes > limit),
               "an error that is not typed as documented");
}

void AdoptAnything(testing::Script& script, uint64_t limit) {
  const absl::StatusOr<SealedBlob> blob = SealedBlob::Adopt(MakeDescriptor(script, 4096), limit);
  if (blob.ok()) {
    PARLEY_CHECK(blob->size_bytes() <= limit, "beyond the limit");
    PARLEY_CHECK(VerifySeals(blob->fd(), kBlobSeals).ok(), "seals are missing");
    static_cast<void>(SumOf(*blob));  // no SIGBUS
    return;
  }
  const absl::StatusCode code = blob.status().code();
  PARLEY_CHECK(
      code == absl::StatusCode::kInvalidArgument || code == absl::StatusCode::kResourceExhausted,
      "an error that is not typed as documented");
}

void CopyFile(testing::Script& script, uint64_t limit) {
  ForeignMemfd foreign = MakeMemfd(script, 4096);
  if (foreign.huge_pages) return;
  const absl::StatusOr<SealedBlob> blob = SealedBlob::CreateFromFile(foreign.fd.get(), limit);
  PARLEY_CHECK(blob.ok() == (foreign.size_bytes <= limit), "CreateFromFile and its limit");
  if (blob.ok()) {
    PARLEY_CHECK(blob->size_bytes() == foreign.size_bytes && SumOf(*blob) == 0, "another content");
  }
}

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fuzz = parley::fuzz;
  parley::testing::Script script(data, size);
  const uint8_t what = script.Take8();
  const uint64_t limit = (what & 0x80) != 0 ? script.Take16() : uint64_t{1} << 20;
  fuzz::LeavesNothing([&] {
    switch (what % 3) {
      case 0:
        return fuzz::AdoptMemfd(script, limit);
      case 1:
        return fuzz::AdoptAnything(script, limit);
      case 2:
        return fuzz::CopyFile(script, limit);
    }
  });
  return 0;
}

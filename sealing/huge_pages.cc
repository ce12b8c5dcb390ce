// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/huge_pages.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>

#include "absl/status/statusor.h"
#include "parley/sealing/guarded_range.h"

// Linux 6.1; the value is the kernel's ABI.
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace parley {
namespace {

// The kernel gives up where a page is in use this moment.
constexpr int kTries = 3;

bool Gather(std::byte* at) {
  for (int i = 0; i < kTries; ++i) {
    if (::madvise(at, kHugePageBytes, MADV_COLLAPSE) == 0) return true;
    if (errno != EAGAIN && errno != EBUSY && errno != EINTR) return false;
  }
  return false;
}

}  // namespace

bool GatherOneHugePage(int fd, uint64_t at_bytes) {
  // The kernel works on the file: page table entries would only cost time (twice as much).
  const absl::StatusOr<GuardedRange> range = ReserveAndMap(kHugePageBytes, [&](GuardedRange& in) {
    return in.MapWithoutPages(0, fd, at_bytes, kHugePageBytes, GuardedRange::Access::kReadWrite);
  });
  return range.ok() && Gather(range->base());
}

uint64_t GatherIntoHugePages(int fd, uint64_t size_bytes) {
  const uint64_t whole_bytes = size_bytes / kHugePageBytes * kHugePageBytes;
  uint64_t gathered_bytes = 0;
  while (gathered_bytes < whole_bytes && GatherOneHugePage(fd, gathered_bytes)) {
    gathered_bytes += kHugePageBytes;
  }
  return gathered_bytes;
}

}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SEALING_HUGE_PAGES_H_
#define PARLEY_SEALING_HUGE_PAGES_H_

// Huge pages for a memfd of ours, by request: for messages that are longer than a cache, which then
// miss the translation of fewer addresses and collide less in the cache (docs/BENCHMARKS.md).
//
// They are the usual memory of a memfd, gathered into pages of 2 MiB (Linux 6.1, MADV_COLLAPSE; no
// setting of the machine but "deny" is in the way), so a region of them has the same seals and
// fails as late as any other. Not those of hugetlbfs, whose lack is a SIGBUS (sealing/verify.h).
//
// Trust: for a memfd that nobody else has yet.
// Threads: any.
//
//   absl::StatusOr<UniqueFd> fd = CreateMemfd(size_bytes);
//   const uint64_t huge_bytes = GatherIntoHugePages(fd->get(), size_bytes);   // 0: none to be had

#include <cstdint>

#include "parley/sealing/guarded_range.h"

namespace parley {

// Ranges of as much lie at a multiple of it.
inline constexpr uint64_t kHugePageBytes = GuardedRange::kAlignedFromBytes;

// Gathers the one at `at_bytes` of the file, a multiple of kHugePageBytes: false where the kernel
// can't or has no memory for it; then the file is as it was. About 1 ms, which can't be divided.
bool GatherOneHugePage(int fd, uint64_t at_bytes);

// How many bytes of the file are in huge pages now: whole ones, from the front. 0 where the kernel
// can't or has no memory for it, or the file is shorter; then it is as it was. Takes about as long
// as the memory's allocation did.
uint64_t GatherIntoHugePages(int fd, uint64_t size_bytes);

}  // namespace parley

#endif  // PARLEY_SEALING_HUGE_PAGES_H_

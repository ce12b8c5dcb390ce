// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_SCALE_FOOTPRINT_H_
#define PARLEY_BENCH_SCALE_FOOTPRINT_H_

// What this process holds, by the kernel's accounts.
//
// Threads: any.

#include <cstdint>

namespace parley::bench {

struct Footprint {
  int64_t rss_bytes = 0;    // resident, of any kind
  int64_t shmem_bytes = 0;  // of it: shared memory, such as rings
  int64_t anon_bytes = 0;   // of it: private memory
  int64_t mappings = 0;     // lines of /proc/self/maps
  int64_t descriptors = 0;
};

Footprint FootprintNow();

}  // namespace parley::bench

#endif  // PARLEY_BENCH_SCALE_FOOTPRINT_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_OS_THREAD_CPU_H_
#define PARLEY_OS_THREAD_CPU_H_

// Processor time of the calling thread, in ns: what something cost, where the clock on the wall
// would count preemption too. One system call.
//
// Trust: interrupts are charged to whoever runs.
// Threads: any.

#include <time.h>

#include <cstdint>

namespace parley {

inline int64_t ThreadCpuNs() {
  timespec now = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace parley

#endif  // PARLEY_OS_THREAD_CPU_H_

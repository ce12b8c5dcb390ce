// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_CLOCK_H_
#define PARLEY_BENCH_CLOCK_H_

// A clock that is cheap enough to be read once per round trip: the processor's counter where there
// is a steady one, CLOCK_MONOTONIC elsewhere.
//
// Threads: any.

#include <cstdint>

#if defined(__x86_64__)
#include <x86intrin.h>
#else
#include "parley/os/deadline.h"
#endif

namespace parley::bench {

inline uint64_t Ticks() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return static_cast<uint64_t>(MonotonicNowNs());
#endif
}

// Measured against CLOCK_MONOTONIC for some 20 ms.
double MeasureTicksPerNs();

// Between two looks of a spin that is meant to win: nothing. A pause costs up to 40 ns on current
// processors, as much as half a round trip.
inline void SpinOnce() { asm volatile("" : : : "memory"); }

// Where the wait is not part of what is measured.
inline void Relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace parley::bench

#endif  // PARLEY_BENCH_CLOCK_H_

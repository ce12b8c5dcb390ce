// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_OS_RELAX_H_
#define PARLEY_OS_RELAX_H_

// A short pause between two looks at a word that another processor writes: 15 to 60 ns on current
// processors, during which a second thread of the same core has the core for itself.
//
// Trust: nothing of the peer's comes in here, and there is no loop, so that a call that pauses
// still has a bound that can be read off its code (channel/try_calls_test.cc).
// Threads: any.

#include <cstddef>
#include <cstdint>
#include <utility>

namespace parley::internal {

inline void Relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  // `yield` takes no time on processors with one thread for each core; a barrier for instructions
  // empties the pipeline, which is a pause like that of x86.
  asm volatile("isb" : : : "memory");
#endif
}

template <std::size_t kTimes>
inline void RelaxTimes() {
  [&]<std::size_t... kEach>(std::index_sequence<kEach...>) {
    ((static_cast<void>(kEach), Relax()), ...);
  }(std::make_index_sequence<kTimes>());
}

inline constexpr uint32_t kMaxRelaxTimes = 127;

// `times` <= kMaxRelaxTimes.
inline void RelaxFor(uint32_t times) {
  if ((times & 1) != 0) RelaxTimes<1>();
  if ((times & 2) != 0) RelaxTimes<2>();
  if ((times & 4) != 0) RelaxTimes<4>();
  if ((times & 8) != 0) RelaxTimes<8>();
  if ((times & 16) != 0) RelaxTimes<16>();
  if ((times & 32) != 0) RelaxTimes<32>();
  if ((times & 64) != 0) RelaxTimes<64>();
}

}  // namespace parley::internal

#endif  // PARLEY_OS_RELAX_H_

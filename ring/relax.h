#ifndef PARLEY_RING_RELAX_H_
#define PARLEY_RING_RELAX_H_

// A short pause between two looks at a word that another processor writes: 15 to 60 ns on current
// processors, during which a second thread of the same core has the core for itself.
//
// Threads: any.

namespace parley::internal {

inline void Relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace parley::internal

#endif  // PARLEY_RING_RELAX_H_

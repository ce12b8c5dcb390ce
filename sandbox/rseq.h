// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_RSEQ_H_
#define PARLEY_SANDBOX_RSEQ_H_

// What the C library has registered with rseq(2) for each thread, as who takes it back or registers
// it again must say it. Its header is not in all C libraries.
//
// Trust: nothing of the peer's comes in here.

#include <cstddef>

// glibc's, 2.35 and later, else null: from the thread pointer to where the kernel writes each time
// that a thread is moved.
extern "C" {
extern const ptrdiff_t __rseq_offset __attribute__((weak));  // NOLINT: its name
}

namespace parley::internal {

inline constexpr unsigned kRseqBytes = 32;
#if defined(__aarch64__)
inline constexpr unsigned kRseqSignature = 0xd428bc00;
#else
inline constexpr unsigned kRseqSignature = 0x53053053;
#endif

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_RSEQ_H_

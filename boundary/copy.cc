// SPDX-License-Identifier: Apache-2.0
#include "parley/boundary/copy.h"

#include <cstdint>
#include <cstring>

namespace parley::internal {

namespace {

// Where libc's memcpy turns to `rep movsb`, a target off a cache line makes it up to 30 times
// slower on some processors (AMD Zen 4: 64 KiB in 45 us instead of 1.4), and a record's payload
// begins behind a header of 8. From here on the target is brought to a line first, on x86.
constexpr std::size_t kAlignFromBytes = 1024;
#if defined(__x86_64__) && !defined(PARLEY_ONLY_OPAQUE_COPIES)
constexpr bool kAligns = true;
#else
constexpr bool kAligns = false;
#endif
static_assert(kMaxSmallCopyBytes == 0 || kMaxSmallCopyBytes >= kLineBytes);

}  // namespace

// memcpy of a size unknown here stays one call of libc's routine. Into lines of our own, vector
// loops were no faster, and loops of words 1.8 times slower at 64 KiB. The empty asm statements
// hide both pointers' origin, so this stays true under link-time optimisation.
[[gnu::noinline]] void OpaqueCopy(std::byte* target, const std::byte* source,
                                  std::size_t size_bytes) {
  if (kAligns && size_bytes >= kAlignFromBytes) {
    // SAFETY: only to learn how far the next line is.
    const std::size_t past_line = reinterpret_cast<uintptr_t>(target) % kLineBytes;
    if (past_line != 0) {
      const std::size_t to_line = kLineBytes - past_line;
      SmallCopy(target, source, to_line);
      target += to_line;
      source += to_line;
      size_bytes -= to_line;
    }
  }
  asm volatile("" : "+r"(target), "+r"(source), "+r"(size_bytes) : : "memory");
  std::memcpy(target, source, size_bytes);
  asm volatile("" : : : "memory");
}

#if defined(__x86_64__) && !defined(PARLEY_ONLY_OPAQUE_COPIES)

// libc's memcpy turns to `rep movsb` for long copies, which waits for lines that another processor
// has written: 64 KiB through a channel in 5.6 us instead of 2.9 (AMD Zen 4). Below its threshold,
// 2,112 bytes or more, it uses the widest vectors that the processor has. So long copies are made
// of short ones. Our own loop of 16 bytes took 2.2 times as long at 16 KiB (Intel Sapphire Rapids).
constexpr std::size_t kFetchPieceBytes = 2048;

[[gnu::noinline]] void OpaqueFetch(std::byte* target, const std::byte* source,
                                   std::size_t size_bytes) {
  while (size_bytes != 0) {
    std::size_t piece = size_bytes < kFetchPieceBytes ? size_bytes : kFetchPieceBytes;
    // Hides the size as well: a memcpy of a known size may be expanded to `rep movs` here.
    asm volatile("" : "+r"(target), "+r"(source), "+r"(piece) : : "memory");
    std::memcpy(target, source, piece);
    target += piece;
    source += piece;
    size_bytes -= piece;
  }
  asm volatile("" : : : "memory");
}

#else

void OpaqueFetch(std::byte* target, const std::byte* source, std::size_t size_bytes) {
  OpaqueCopy(target, source, size_bytes);
}

#endif

}  // namespace parley::internal

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BOUNDARY_COPY_H_
#define PARLEY_BOUNDARY_COPY_H_

// The routines that move bytes between private memory and memory that the peer can reach: Copy puts
// into it, Fetch takes out of it. They differ in what is fast (copy.cc).
//
// Trust: the peer may write the shared side at the same time; then the bytes that arrive are any
// mixture, but each lands in private memory once and is only looked at there. The compiler sees
// opaque instructions or an opaque call, so it can neither fetch shared bytes a second time nor
// reason that they stay.
// Threads: any, on memory that the ring's positions give to one of them.

#include <cstddef>
#include <cstdint>

// The sanitizers see through calls, not through assembly.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PARLEY_ONLY_OPAQUE_COPIES
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define PARLEY_ONLY_OPAQUE_COPIES
#endif
#endif

namespace parley::internal {

inline constexpr std::size_t kLineBytes = 64;  // of the cache

// `size_bytes` from `source` to `target`, which do not overlap. Not inlined, on purpose.
void OpaqueCopy(std::byte* target, const std::byte* source, std::size_t size_bytes);
// The same, out of memory that another processor has written; at least kLineBytes.
void OpaqueFetch(std::byte* target, const std::byte* source, std::size_t size_bytes);

#if (defined(__x86_64__) || defined(__aarch64__)) && !defined(PARLEY_ONLY_OPAQUE_COPIES)

inline constexpr std::size_t kMaxSmallCopyBytes = 64;

// One load instruction, wherever the compiler puts it; the value is private from then on.
template <typename Register>
inline Register FetchOnce(const std::byte* p) {
  using Range = const std::byte[sizeof(Register)];
  // SAFETY: the caller has bounded [p, p + width); any object may be read as bytes, at any
  // alignment on x86 and on arm64.
  const Range& range = *reinterpret_cast<const Range*>(p);
  Register value;
#if defined(__aarch64__)
  // "Q": an address without an offset, which each width can have. Values narrower than a register
  // are loaded with zeros above them.
  if constexpr (sizeof(Register) == 1) {
    asm volatile("ldrb %w0, %1" : "=r"(value) : "Q"(range));
  } else if constexpr (sizeof(Register) == 2) {
    asm volatile("ldrh %w0, %1" : "=r"(value) : "Q"(range));
  } else if constexpr (sizeof(Register) == 4) {
    asm volatile("ldr %w0, %1" : "=r"(value) : "Q"(range));
  } else if constexpr (sizeof(Register) == 8) {
    asm volatile("ldr %x0, %1" : "=r"(value) : "Q"(range));
  } else {
    asm volatile("ldr %q0, %1" : "=w"(value) : "Q"(range));
  }
#else
  if constexpr (sizeof(Register) == 1) {
    asm volatile("movb %1, %0" : "=q"(value) : "m"(range));
  } else if constexpr (sizeof(Register) == 2) {
    asm volatile("movw %1, %0" : "=r"(value) : "m"(range));
  } else if constexpr (sizeof(Register) == 4) {
    asm volatile("movl %1, %0" : "=r"(value) : "m"(range));
  } else if constexpr (sizeof(Register) == 8) {
    asm volatile("movq %1, %0" : "=r"(value) : "m"(range));
  } else {
    asm volatile("movdqu %1, %0" : "=x"(value) : "m"(range));
  }
#endif
  return value;
}
template <typename Register>
inline void StoreOnce(std::byte* p, Register value) {
  __builtin_memcpy(p, &value, sizeof(Register));
}

// Both ends of the range, so that they overlap in the middle: no loop, no tail.
template <typename Register>
inline void CopyEnds(std::byte* target, const std::byte* source, std::size_t size_bytes) {
  const auto first = FetchOnce<Register>(source);
  const auto last = FetchOnce<Register>(source + size_bytes - sizeof(Register));
  StoreOnce(target, first);
  StoreOnce(target + size_bytes - sizeof(Register), last);
}

using Vector16 = long long __attribute__((vector_size(16)));

// size_bytes <= kMaxSmallCopyBytes.
inline void SmallCopy(std::byte* target, const std::byte* source, std::size_t size_bytes) {
  if (size_bytes >= 16) {
    if (size_bytes > 32) {
      CopyEnds<Vector16>(target, source, 32);
      CopyEnds<Vector16>(target + (size_bytes - 32), source + (size_bytes - 32), 32);
    } else {
      CopyEnds<Vector16>(target, source, size_bytes);
    }
  } else if (size_bytes >= 8) {
    CopyEnds<uint64_t>(target, source, size_bytes);
  } else if (size_bytes >= 4) {
    CopyEnds<uint32_t>(target, source, size_bytes);
  } else if (size_bytes >= 2) {
    CopyEnds<uint16_t>(target, source, size_bytes);
  } else if (size_bytes == 1) {
    StoreOnce(target, FetchOnce<uint8_t>(source));
  }
}

#else

inline constexpr std::size_t kMaxSmallCopyBytes = 0;
inline void SmallCopy(std::byte*, const std::byte*, std::size_t) {}

#endif

// As OpaqueCopy and OpaqueFetch; without a call where the size is small.
inline void Copy(std::byte* target, const std::byte* source, std::size_t size_bytes) {
  if (size_bytes <= kMaxSmallCopyBytes) {
    SmallCopy(target, source, size_bytes);
  } else {
    OpaqueCopy(target, source, size_bytes);
  }
}
inline void Fetch(std::byte* target, const std::byte* source, std::size_t size_bytes) {
  if (size_bytes <= kMaxSmallCopyBytes) {
    SmallCopy(target, source, size_bytes);
  } else {
    OpaqueFetch(target, source, size_bytes);
  }
}

}  // namespace parley::internal

#endif  // PARLEY_BOUNDARY_COPY_H_

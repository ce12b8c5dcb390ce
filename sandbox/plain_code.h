// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_PLAIN_CODE_H_
#define PARLEY_SANDBOX_PLAIN_CODE_H_

// Marks a function that runs between clone and exec or in a signal handler: no sanitizer may add
// code to it, since a runtime may take locks. Such code calls the kernel by ::syscall alone, which
// sanitizers do not wrap.
//
// Trust: such a handler may run in a hijacked process; nothing that it does may matter to others.
// Threads: any.

#if defined(__clang__)
#define PARLEY_PLAIN_CODE __attribute__((disable_sanitizer_instrumentation))
#else
#define PARLEY_PLAIN_CODE __attribute__((no_sanitize("address", "thread", "undefined")))
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PARLEY_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PARLEY_SANITIZED 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
#define PARLEY_THREAD_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PARLEY_THREAD_SANITIZED 1
#endif
#endif

namespace parley::internal {
// A build with the address or thread sanitizer, whose runtime needs more of the kernel and memory
// at fixed addresses.
#ifdef PARLEY_SANITIZED
inline constexpr bool kSanitizer = true;
#else
inline constexpr bool kSanitizer = false;
#endif

// Of those, the thread sanitizer.
#ifdef PARLEY_THREAD_SANITIZED
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif
}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_PLAIN_CODE_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTING_SANITIZERS_H_
#define PARLEY_TESTING_SANITIZERS_H_

// Whether a test's build has a sanitizer, 0 or 1: for what does not hold there, with the reason
// beside it.
//
//   if (PARLEY_HAS_TSAN) GTEST_SKIP() << "the peer races on purpose";
//
// What is confined asks sandbox/plain_code.h.

#if defined(__SANITIZE_THREAD__)
#define PARLEY_HAS_TSAN 1
#elif defined(__has_feature)
#define PARLEY_HAS_TSAN __has_feature(thread_sanitizer)
#else
#define PARLEY_HAS_TSAN 0
#endif

// Of those with memory, threads or system calls of their own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PARLEY_HAS_SANITIZER 1
#elif defined(__has_feature)
#define PARLEY_HAS_SANITIZER                                              \
  (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
   __has_feature(memory_sanitizer))
#else
#define PARLEY_HAS_SANITIZER 0
#endif

#endif  // PARLEY_TESTING_SANITIZERS_H_

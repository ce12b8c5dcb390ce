// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_OS_PLATFORM_H_
#define PARLEY_OS_PLATFORM_H_

// Where Parley works, said in one line each to a compiler that builds it elsewhere. Included before
// anything else that could fail there with a page of errors.

#if !defined(__linux__)
#error "Parley is for Linux: it needs memfd seals, pidfds and futexes"
#endif

#if !defined(__cplusplus) || __cplusplus < 202002L
#error "Parley needs C++20: compile with -std=c++20 or newer"
#endif

// Shared words have 64 bits and must be atomic in one instruction, positions in a ring only grow,
// and a futex sleep is given a 64-bit time: none of that holds on a 32-bit system (nor on x32).
#if !defined(__LP64__)
#error "Parley needs a 64-bit system"
#endif

#if !defined(__GCC_ATOMIC_LLONG_LOCK_FREE) || __GCC_ATOMIC_LLONG_LOCK_FREE != 2
#error "Parley needs lock-free 64-bit atomics: the words that two processes share are such"
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Parley needs a little-endian system: shared words are not converted"
#endif

#endif  // PARLEY_OS_PLATFORM_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_OS_CHECK_H_
#define PARLEY_OS_CHECK_H_

// Aborts on a bug of our own caller, with a message that says what was broken.
//
// Trust: no condition given to PARLEY_CHECK may depend on a byte that the peer wrote (promise P9).
// A peer's lie is a value (see ring/violation.h), never an abort.
// Threads: any.
//
//   PARLEY_CHECK(into.size() >= max_message_bytes, "TryReceive: buffer smaller than max_message");

#include "parley/os/platform.h"

namespace parley::internal {
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              const char* message);
}  // namespace parley::internal

#define PARLEY_CHECK(condition, message)                                        \
  do {                                                                          \
    if (!(condition)) [[unlikely]] {                                            \
      ::parley::internal::CheckFailed(__FILE__, __LINE__, #condition, message); \
    }                                                                           \
  } while (false)

// An invariant of our own that validation has established already; checked again wherever NDEBUG is
// not defined (tests, sanitizers, fuzzers), free in optimised builds. Never a check of a peer's
// byte: those are validated in every build.
#ifdef NDEBUG
#define PARLEY_DEBUG_CHECK(condition) static_cast<void>(0)
#else
#define PARLEY_DEBUG_CHECK(condition) PARLEY_CHECK(condition, "internal invariant")
#endif

#endif  // PARLEY_OS_CHECK_H_

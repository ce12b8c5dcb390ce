// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BOUNDARY_DEBUG_CHECK_H_
#define PARLEY_BOUNDARY_DEBUG_CHECK_H_

// An invariant of our own that validation has established already; checked again wherever NDEBUG is
// not defined (tests, sanitizers, fuzzers), free in optimised builds.
//
// Trust: never a check of a peer's byte: those are validated in every build (promise P9).

#include "parley/os/check.h"

#ifdef NDEBUG
#define PARLEY_DEBUG_CHECK(condition) static_cast<void>(0)
#else
#define PARLEY_DEBUG_CHECK(condition) PARLEY_CHECK(condition, "internal invariant")
#endif

#endif  // PARLEY_BOUNDARY_DEBUG_CHECK_H_

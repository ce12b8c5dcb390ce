// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_LANDLOCK_H_
#define PARLEY_SANDBOX_LANDLOCK_H_

// Landlock with no exceptions: the calling thread, and what it starts later, can open, make, run or
// remove no file, use no new TCP port, and signal or reach by abstract name nobody outside.
//
// Trust: holds against arbitrary code in that thread. Where threads were made before, those have
// only the system call filter.
// Threads: binds the calling one.

#include "absl/status/statusor.h"

namespace parley::internal {

// The version of Landlock that is now in force; 0 where the kernel has none, or a filter around
// us refuses the question. An error only if it is
// there and does not work. Needs no_new_privs.
absl::StatusOr<int> DenyAllByLandlock();

}  // namespace parley::internal

#endif  // PARLEY_SANDBOX_LANDLOCK_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SANDBOX_SYSTEM_CALL_NAME_H_
#define PARLEY_SANDBOX_SYSTEM_CALL_NAME_H_

// The name that a system call has in its manual page.
//
// Trust: any number will do, whoever gave it.
// Threads: any.

#include <string>

namespace parley {

// "openat", or "system call 999" where this architecture's table has no such number.
std::string SystemCallName(int number);

}  // namespace parley

#endif  // PARLEY_SANDBOX_SYSTEM_CALL_NAME_H_

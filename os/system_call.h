// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_OS_SYSTEM_CALL_H_
#define PARLEY_OS_SYSTEM_CALL_H_

// A raw system call, each of whose arguments is as wide as a register:
//
//   const auto got = SystemCall(SYS_preadv2, fd, &into, 1, -1, -1, RWF_NOWAIT);
//
// ::syscall() takes what C passes for `...`: of an int, 32 bits; the other half of its register or
// of its place on the stack (a call's sixth argument) is whatever was there. The kernel looks at an
// int's 32 bits. A seccomp filter compares 64, and ends the process. For calls that a confined
// process makes.
//
// Trust: what the filter allows is for the filter to say; this only says what was meant.
// Threads: any.

#include <unistd.h>

#include <type_traits>

namespace parley {
namespace internal {

// Sign-extended if it has a sign, as by the C library's own functions.
template <typename T>
auto AsRegister(T argument) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<long>(argument);  // NOLINT(google-runtime-int): as ::syscall has it
  } else {
    static_assert(std::is_pointer_v<T> || std::is_null_pointer_v<T>);
    return static_cast<const void*>(argument);
  }
}

}  // namespace internal

// The kernel's answer, or -1 and errno.
template <typename... Arguments>
auto SystemCall(long number, Arguments... arguments) {  // NOLINT(google-runtime-int): see above
  static_assert(sizeof...(Arguments) <= 6);
  return ::syscall(number, internal::AsRegister(arguments)...);
}

}  // namespace parley

#endif  // PARLEY_OS_SYSTEM_CALL_H_

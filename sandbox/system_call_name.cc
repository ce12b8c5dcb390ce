// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/system_call_name.h"

#include <seccomp.h>

#include <cstdlib>
#include <memory>

namespace parley {

std::string SystemCallName(int number) {
  // Negative numbers are libseccomp's own stand-ins for calls that are missing here.
  if (number >= 0) {
    const std::unique_ptr<char, decltype(&std::free)> name(
        ::seccomp_syscall_resolve_num_arch(::seccomp_arch_native(), number), &std::free);
    if (name != nullptr) return name.get();
  }
  return "system call " + std::to_string(number);
}

}  // namespace parley

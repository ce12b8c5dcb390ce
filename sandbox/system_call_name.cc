#include "parley/sandbox/system_call_name.h"

#include <seccomp.h>

#include <cstdlib>
#include <memory>

namespace parley {

std::string SystemCallName(int number) {
  struct Free {
    void operator()(char* text) const { std::free(text); }
  };
  // Negative numbers are libseccomp's own stand-ins for calls that are missing here.
  if (number >= 0) {
    const std::unique_ptr<char, Free> name(
        ::seccomp_syscall_resolve_num_arch(::seccomp_arch_native(), number));
    if (name != nullptr) return name.get();
  }
  return "system call " + std::to_string(number);
}

}  // namespace parley

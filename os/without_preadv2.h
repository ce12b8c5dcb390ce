// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_OS_WITHOUT_PREADV2_H_
#define PARLEY_OS_WITHOUT_PREADV2_H_

// For tests: a machine whose kernel or filter has no preadv2, as a child process.
//
//   EXPECT_EQ(InChildWithoutPreadv2(ENOSYS, [] { return *EventfdCountsCanBeTaken() ? 1 : 0; }), 0);

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace parley::testing {

// From now on, preadv2 fails with `error` in this process, as in a kernel or filter without it.
inline bool RefusePreadv2(int error) {
  std::array<sock_filter, 4> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_preadv2, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter = {static_cast<uint16_t>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// What `body` returns in a child process where preadv2 fails with `error`; 100: there is no such
// child.
template <typename Body>
int InChildWithoutPreadv2(int error, const Body& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(RefusePreadv2(error) ? body() : 100);
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return 100;
  return WEXITSTATUS(status);
}

}  // namespace parley::testing

#endif  // PARLEY_OS_WITHOUT_PREADV2_H_

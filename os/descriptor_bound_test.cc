// SPDX-License-Identifier: Apache-2.0
#include "parley/os/descriptor_bound.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#include "gtest/gtest.h"

namespace parley {
namespace {

TEST(DescriptorBoundTest, NoneIsNeededWhereCloseRangeWorks) {
  if (::syscall(SYS_close_range, ~0u, ~0u, 0) != 0) GTEST_SKIP() << "no close_range here";
  EXPECT_EQ(DescriptorBoundWithoutCloseRange(), 0);
}

TEST(DescriptorBoundTest, WithoutItTheBoundIsAboveEachDescriptor) {
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    const int high = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 700);
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program = {4, filter};
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) ::_exit(77);
    ::_exit(high >= 700 && DescriptorBoundWithoutCloseRange() > high ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no system call filters here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace parley

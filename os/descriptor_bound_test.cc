// SPDX-License-Identifier: Apache-2.0
#include "parley/os/descriptor_bound.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "parley/testing/slow_files.h"

namespace parley {
namespace {

using testing_support::FailSystemCall;
using testing_support::RunInChild;

int SizeOfTheKernelsTable() {
  std::ifstream status("/proc/self/status");
  std::string word;
  int size = -1;
  while (status >> word) {
    if (word == "FDSize:") status >> size;
  }
  return size;
}

void SetLimit(rlim_t soft) {
  rlimit limit = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = soft;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
}

TEST(DescriptorBoundTest, ItIsTwiceTheKernelsTable) {
  EXPECT_EQ(RunInChild([] {
              SetLimit(1001);  // a number that no table has
              const int size = SizeOfTheKernelsTable();
              ASSERT_GT(size, 0);
              FailSystemCall(SYS_close_range, EPERM);
              EXPECT_EQ(DescriptorBoundWithoutCloseRange(), 2 * size);
            }),
            "ok");
}

TEST(DescriptorBoundTest, WithoutProcItIsTheLimit) {
  EXPECT_EQ(RunInChild([] {
              FailSystemCall(SYS_close_range, EPERM);
              FailSystemCall(SYS_openat, EACCES);
              rlimit before = {};
              ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
              constexpr rlim_t kMax = 1 << 20;
              for (const rlim_t soft : {rlim_t{50}, rlim_t{1001}, before.rlim_max}) {
                SetLimit(soft);
                EXPECT_EQ(DescriptorBoundWithoutCloseRange(),
                          static_cast<int>(soft < kMax ? soft : kMax));
              }
              FailSystemCall(SYS_prlimit64, EPERM);
              EXPECT_EQ(DescriptorBoundWithoutCloseRange(), static_cast<int>(kMax));
            }),
            "ok");
}

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

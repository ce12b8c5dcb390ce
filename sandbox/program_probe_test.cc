// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/program_probe.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "gtest/gtest.h"
#include "parley/sandbox/namespace_holder.h"
#include "parley/sandbox/plain_code.h"

namespace parley::internal {
namespace {

int InAProcessOfItsOwn(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

// execveat is answered so for the rest of the calling process's life.
void Answer(uint32_t answer) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execveat, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, answer),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {4, filter};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0) {
    ::_exit(9);
  }
}

int Ask() {
  int error = 0;
  const UniqueFd program = HolderProgram(&error);
  if (!program.ok()) return 8;
  return ProgramRunsHere(program) ? 1 : 0;
}

class ProgramProbeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kSanitizer) GTEST_SKIP() << "no holders in a build with a sanitizer";
    if (::sysconf(_SC_PAGESIZE) != 4096) GTEST_SKIP() << "no programs with these pages";
    if (InAProcessOfItsOwn(Ask) == 8) GTEST_SKIP() << "no file may be executed here";
  }
};

TEST_F(ProgramProbeTest, AFileThatIsExecutedRuns) {
  EXPECT_EQ(InAProcessOfItsOwn(Ask), 1);
  // The calling process has no child afterwards, and its standard streams.
  EXPECT_EQ(InAProcessOfItsOwn([] {
              const int answer = Ask();
              const bool has_streams = ::fcntl(0, F_GETFD) >= 0 && ::fcntl(2, F_GETFD) >= 0;
              const bool has_child = ::waitpid(-1, nullptr, WNOHANG | __WALL) >= 0;
              return has_streams && !has_child ? answer : 7;
            }),
            1);
}

TEST_F(ProgramProbeTest, ARefusalIsKnownBeforeAnythingDependsOnIt) {
  for (const uint32_t answer : {SECCOMP_RET_ERRNO | EACCES, SECCOMP_RET_ERRNO | EPERM,
                                SECCOMP_RET_ERRNO | ENOSYS, SECCOMP_RET_KILL_PROCESS}) {
    EXPECT_EQ(InAProcessOfItsOwn([answer] {
                Answer(answer);
                return Ask();
              }),
              0)
        << answer;
  }
}

// What passes is no reason for copies for ever.
TEST_F(ProgramProbeTest, WhatWeLackIsNoRefusal) {
  for (const uint32_t error : {uint32_t{ENOMEM}, uint32_t{EAGAIN}, uint32_t{EMFILE}}) {
    EXPECT_EQ(InAProcessOfItsOwn([error] {
                Answer(SECCOMP_RET_ERRNO | error);
                return Ask();
              }),
              1)
        << error;
  }
}

}  // namespace
}  // namespace parley::internal

// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/program_probe.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "gtest/gtest.h"
#include "parley/sandbox/namespace_holder.h"
#include "parley/sandbox/plain_code.h"
#include "parley/testing/filter.h"

namespace parley::internal {
namespace {

using testing::InAProcessOfItsOwn;

void Answer(uint32_t answer) { testing::Answer({.call = SYS_execveat}, answer); }

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

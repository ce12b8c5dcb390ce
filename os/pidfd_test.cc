// SPDX-License-Identifier: Apache-2.0
#include "parley/os/pidfd.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "gtest/gtest.h"
#include "parley/testing/slow_files.h"

namespace parley {
namespace {

TEST(PidfdTest, BecomesReadableWhenTheProcessEnds) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  auto pidfd = OpenPidfd(child);
  ASSERT_TRUE(pidfd.ok()) << pidfd.status();
  EXPECT_NE(::fcntl(pidfd->get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_FALSE(ProcessHasEnded(pidfd->get()));
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(ProcessHasEnded(pidfd->get()));
}

TEST(PidfdTest, NoSuchProcessIsAnError) { EXPECT_FALSE(OpenPidfd(0x3fffffff).ok()); }

// A second entry would be whatever lies behind the first.
TEST(PidfdTest, OneDescriptorIsAskedFor) {
  EXPECT_EQ(testing_support::RunInChild([] {
              const auto self = OpenPidfd(::getpid());
              ASSERT_TRUE(self.ok()) << self.status();
              const pid_t child = ::fork();
              if (child == 0) ::_exit(0);
              const auto ended = OpenPidfd(child);
              ASSERT_TRUE(ended.ok()) << ended.status();
              ASSERT_EQ(::waitpid(child, nullptr, 0), child);
              testing_support::RefuseSystemCall(SYS_ppoll, 1, ~1U);
              EXPECT_FALSE(ProcessHasEnded(self->get()));
              EXPECT_TRUE(ProcessHasEnded(ended->get()));
            }),
            "ok");
}

TEST(PidfdTest, WhatCannotBeAskedHasNotEnded) {
  EXPECT_EQ(testing_support::RunInChild([] {
              const auto self = OpenPidfd(::getpid());
              ASSERT_TRUE(self.ok()) << self.status();
              testing_support::FailSystemCall(SYS_ppoll, ENOMEM);
              EXPECT_FALSE(ProcessHasEnded(self->get()));
            }),
            "ok");
}

}  // namespace
}  // namespace parley

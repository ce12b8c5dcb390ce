// SPDX-License-Identifier: Apache-2.0
#include "parley/os/pidfd.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"

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

}  // namespace
}  // namespace parley

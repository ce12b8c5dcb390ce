// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/real_time/real_time.h"

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace parley {
namespace {

TEST(RealTimeTest, AProcessThatNeverSleepsIsEnded) {
  const pid_t spinning = ::fork();
  if (spinning == 0) {
    // Were there no limit: 20 s of processor time.
    const rlimit patience = {.rlim_cur = 20, .rlim_max = 20};
    ::setrlimit(RLIMIT_CPU, &patience);
    while (true) {
    }
  }
  const absl::Status made = MakeRealTime(spinning, 1);
  if (!made.ok()) {
    ::kill(spinning, SIGKILL);
    ::waitpid(spinning, nullptr, 0);
    GTEST_SKIP() << "not permitted here: " << made;
  }
  EXPECT_EQ(::sched_getscheduler(spinning), SCHED_FIFO);
  rlimit limit = {};
  ASSERT_EQ(::prlimit(spinning, RLIMIT_RTTIME, nullptr, &limit), 0);
  EXPECT_EQ(limit.rlim_max, 1'000'000u);
  int status = 0;
  rusage usage = {};
  ASSERT_EQ(::wait4(spinning, &status, 0, &usage), spinning);
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  // SIGXCPU at the soft limit, whose default is the end.
  EXPECT_EQ(WTERMSIG(status), SIGXCPU);
  EXPECT_LT(usage.ru_utime.tv_sec, 10);
}

TEST(RealTimeTest, WhatIsNoProcessOrNoPriorityIsAnError) {
  EXPECT_FALSE(MakeRealTime(-1, 1).ok());
  EXPECT_FALSE(MakeRealTime(::getpid(), 1000).ok());
}

}  // namespace
}  // namespace parley

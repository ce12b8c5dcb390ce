// SPDX-License-Identifier: Apache-2.0

// Each system call number that there is, made once under each profile in a process of its own: what
// the kernel does is what the policy says. `testing_worker sweep PROFILE` does it by hand, as any
// user and in a container.

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/exit_report.h"
#include "parley/sandbox/spawn.h"
#include "parley/sandbox/testing_spawn.h"

namespace parley {
namespace {

class SweepTest : public ::testing::TestWithParam<const char*> {};

TEST_P(SweepTest, TheKernelAnswersEachNumberAsThePolicySays) {
  if (testing::HasSanitizer())
    GTEST_SKIP() << "a sanitizer's runtime needs more than a profile has";
  UniqueFd replies;
  auto worker = Spawn(testing::WorkerOptions({"sweep", GetParam()}, replies));
  ASSERT_TRUE(worker.ok()) << worker.status();
  auto report = worker->Wait(Deadline::After(absl::Minutes(4)));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(testing::NextReply(replies.get()), "swept 527");
  EXPECT_TRUE(report->clean()) << report->ToString();
}

INSTANTIATE_TEST_SUITE_P(S2, SweepTest,
                         ::testing::Values("ring", "eventfd", "epoll", "write", "read", "heap",
                                           "threads", "files_absent", "sanitizer", "all"),
                         [](const auto& profile) { return std::string(profile.param); });

}  // namespace
}  // namespace parley

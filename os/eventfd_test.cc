// SPDX-License-Identifier: Apache-2.0
#include "parley/os/eventfd.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"
#include "parley/os/without_preadv2.h"
#include "parley/testing/slow_files.h"

namespace parley {
namespace {

using testing_support::FailSystemCall;
using testing_support::RefuseSystemCall;
using testing_support::RunInChild;

// First, for it says whether the tests after it ask what they mean to ask.
TEST(WithoutPreadv2Test, TheAnswerIsTheChilds) {
  const pid_t self = ::getpid();
  EXPECT_EQ(testing::InChildWithoutPreadv2(ENOSYS, [&] { return ::getpid() != self ? 7 : 8; }), 7);
  EXPECT_EQ(testing::InChildWithoutPreadv2(EDOM,
                                           [] {
                                             errno = 0;
                                             ::syscall(SYS_preadv2, -1, nullptr, 0, 0, 0, 0);
                                             return errno;
                                           }),
            EDOM);
  // A child that is killed has no answer, and 0 would be one.
  EXPECT_EQ(testing::InChildWithoutPreadv2(ENOSYS, [] { return ::raise(SIGKILL); }), 100);
  EXPECT_EQ(::getpid(), self);
}

// A second buffer would be whatever lies behind the first.
TEST(EventfdTest, OneBufferIsReadInto) {
  EXPECT_EQ(RunInChild([] {
              const UniqueFd fd(::eventfd(3, EFD_CLOEXEC | EFD_NONBLOCK));
              RefuseSystemCall(SYS_preadv2, 2, ~1U);
              EXPECT_EQ(TakeEventfdCount(fd.get()), 3u);
            }),
            "ok");
}

TEST(EventfdTest, WhyThereIsNoEventfdDecidesWhetherThatIsAnAnswer) {
  for (const int error : {EMFILE, ENFILE, ENOMEM, ENODEV}) {
    EXPECT_EQ(RunInChild([error] {
                FailSystemCall(SYS_eventfd2, error);
                const absl::StatusOr<bool> answer = EventfdCountsCanBeTaken();
                EXPECT_FALSE(answer.ok()) << error;
              }),
              "ok");
  }
  for (const int error : {ENOSYS, EPERM, EACCES, EINVAL}) {
    EXPECT_EQ(RunInChild([error] {
                FailSystemCall(SYS_eventfd2, error);
                const absl::StatusOr<bool> answer = EventfdCountsCanBeTaken();
                ASSERT_TRUE(answer.ok()) << error << answer.status();
                EXPECT_FALSE(*answer) << error;
              }),
              "ok");
  }
}

TEST(EventfdTest, TheCountIsTakenOnceAndNeverWaitedFor) {
  const UniqueFd fd(::eventfd(3, EFD_CLOEXEC | EFD_NONBLOCK));
  EXPECT_EQ(TakeEventfdCount(fd.get()), 3u);
  EXPECT_EQ(TakeEventfdCount(fd.get()), 0u);
  // As a peer can, who shares it.
  ASSERT_EQ(::fcntl(fd.get(), F_SETFL, O_RDWR), 0);
  EXPECT_EQ(TakeEventfdCount(fd.get()), 0u);
  EXPECT_EQ(TakeEventfdCount(-1), 0u);
}

TEST(EventfdTest, AMachineWithoutPreadv2IsToldFromOneWithIt) {
  EXPECT_TRUE(*EventfdCountsCanBeTaken());
  for (const int error : {ENOSYS, EOPNOTSUPP, EPERM}) {
    const int answer =
        testing::InChildWithoutPreadv2(error, [] { return *EventfdCountsCanBeTaken() ? 1 : 0; });
    EXPECT_EQ(answer, 0) << error;
  }
}

// A full descriptor table was "no eventfds here": the peer was told that no doorbell fits.
TEST(EventfdTest, AFullDescriptorTableIsNoAnswer) {
  const UniqueFd lowest(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0));
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit full = {static_cast<rlim_t>(lowest.get()), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &full), 0);
  const absl::StatusOr<bool> answer = EventfdCountsCanBeTaken();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(absl::IsResourceExhausted(answer.status())) << answer.status();
  EXPECT_TRUE(*EventfdCountsCanBeTaken());
}

}  // namespace
}  // namespace parley

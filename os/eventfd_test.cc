// SPDX-License-Identifier: Apache-2.0
#include "parley/os/eventfd.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"
#include "parley/os/without_preadv2.h"

namespace parley {
namespace {

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

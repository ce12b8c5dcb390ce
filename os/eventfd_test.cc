#include "parley/os/eventfd.h"

#include <fcntl.h>
#include <sys/eventfd.h>

#include <cerrno>

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
  EXPECT_TRUE(EventfdCountsCanBeTaken());
  for (const int error : {ENOSYS, EOPNOTSUPP, EPERM}) {
    const int answer = testing::InChildWithoutPreadv2(
        error, [] { return EventfdCountsCanBeTaken() ? 1 : 0; });
    EXPECT_EQ(answer, 0) << error;
  }
}

}  // namespace
}  // namespace parley

#include "parley/os/unique_fd.h"

#include <fcntl.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <utility>

#include "gtest/gtest.h"

namespace parley {
namespace {

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(UniqueFdTest, ClosesOnceAndOnlyWhatItOwns) {
  int raw = -1;
  {
    UniqueFd fd(::eventfd(0, EFD_CLOEXEC));
    ASSERT_TRUE(fd.ok());
    raw = fd.get();
    UniqueFd moved(std::move(fd));
    EXPECT_EQ(moved.get(), raw);
    EXPECT_TRUE(IsOpen(raw));
  }
  EXPECT_FALSE(IsOpen(raw));
}

TEST(UniqueFdTest, AssignmentClosesTheOldOne) {
  UniqueFd a(::eventfd(0, EFD_CLOEXEC));
  UniqueFd b(::eventfd(0, EFD_CLOEXEC));
  const int old = a.get();
  const int kept = b.get();
  a = std::move(b);
  EXPECT_FALSE(IsOpen(old));
  EXPECT_TRUE(IsOpen(kept));
}

TEST(UniqueFdTest, ReleaseKeepsItOpenAndErrnoSurvivesClosing) {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC));
  UniqueFd taken(fd.Release());
  EXPECT_FALSE(fd.ok());
  EXPECT_TRUE(IsOpen(taken.get()));
  errno = ENOENT;
  taken.Reset();
  EXPECT_EQ(errno, ENOENT);
}

}  // namespace
}  // namespace parley

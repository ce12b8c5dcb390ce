// SPDX-License-Identifier: Apache-2.0
#include "parley/os/unique_fd.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
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

TEST(UniqueFdTest, ErrnoSurvivesACloseThatFails) {
  const int raw = ::eventfd(0, EFD_CLOEXEC);
  UniqueFd fd(raw);
  ::close(raw);  // as by a bug of the caller's
  errno = ENOENT;
  fd.Reset();
  EXPECT_EQ(errno, ENOENT);
  EXPECT_FALSE(fd.ok());
  EXPECT_EQ(fd.get(), -1);
}

// "-1 and errno", as a call answers that made nothing.
TEST(UniqueFdTest, NothingIsTakenAsItIs) {
  errno = ENOENT;
  UniqueFd fd(-1);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_FALSE(fd.ok());
  fd.Reset(-1);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(UniqueFd().get(), -1);
}

TEST(UniqueFdTest, AssignedToItselfItStaysOpen) {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC));
  const int raw = fd.get();
  UniqueFd& same = fd;
  fd = std::move(same);
  EXPECT_EQ(fd.get(), raw);
  EXPECT_TRUE(IsOpen(raw));
}

// How `body` ends in a process that was started with its standard descriptors closed.
int WithoutStandardDescriptors(bool (*body)()) {
  const pid_t child = ::fork();
  if (child == 0) {
    for (int fd = 0; fd < UniqueFd::kFirst; ++fd) ::close(fd);
    ::_exit(body() ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

bool NoStandardDescriptorIsOpen() { return !IsOpen(0) && !IsOpen(1) && !IsOpen(2); }

TEST(UniqueFdTest, NoDescriptorIsBelowThree) {
  EXPECT_EQ(WithoutStandardDescriptors([] {
              const int raw = ::eventfd(0, EFD_CLOEXEC);
              if (raw != 0) return false;
              UniqueFd first(raw);
              UniqueFd second;
              second.Reset(::eventfd(7, EFD_CLOEXEC));
              uint64_t value = 0;
              return first.get() >= 3 && second.get() >= 3 && NoStandardDescriptorIsOpen() &&
                     (::fcntl(first.get(), F_GETFD) & FD_CLOEXEC) != 0 &&
                     ::read(second.get(), &value, sizeof(value)) == sizeof(value) && value == 7;
            }),
            0);
}

// Three is no standard descriptor, and its number is kept.
TEST(UniqueFdTest, FromThreeOnTheNumberIsKept) {
  EXPECT_EQ(WithoutStandardDescriptors([] {
              const UniqueFd high(::fcntl(::eventfd(0, EFD_CLOEXEC), F_DUPFD_CLOEXEC, 20));
              bool kept = high.ok();
              for (const int number : {3, 4, 5}) {
                UniqueFd first(::dup3(high.get(), number, O_CLOEXEC));
                kept = kept && first.get() == number;
                UniqueFd second;
                second.Reset(first.Release());
                kept = kept && second.get() == number;
              }
              return kept;
            }),
            0);
}

// Whether it had to be moved or not.
TEST(UniqueFdTest, ErrnoIsKeptWhereItIsMoved) {
  EXPECT_EQ(WithoutStandardDescriptors([] {
              for (const int error : {EINVAL, ENOENT}) {
                const int raw = ::eventfd(0, EFD_CLOEXEC);
                errno = error;
                const UniqueFd fd(raw);
                if (raw != 0 || !fd.ok() || errno != error) return false;
              }
              // Not open: that is the error, and not a full table.
              const UniqueFd closed(1);
              return !closed.ok() && errno == EBADF;
            }),
            0);
}

TEST(UniqueFdTest, WhereNoHigherNumberIsToBeHadItIsAnError) {
  EXPECT_EQ(WithoutStandardDescriptors([] {
              const rlimit three = {3, 3};
              if (::setrlimit(RLIMIT_NOFILE, &three) != 0) return false;
              const UniqueFd fd(::eventfd(0, EFD_CLOEXEC));
              const int error = errno;
              return !fd.ok() && error == EMFILE && NoStandardDescriptorIsOpen();
            }),
            0);
}

}  // namespace
}  // namespace parley

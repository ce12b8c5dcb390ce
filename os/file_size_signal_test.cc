// SPDX-License-Identifier: Apache-2.0
#include "parley/os/file_size_signal.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "parley/testing/slow_files.h"

namespace parley {
namespace {

using testing_support::RunInChild;

std::vector<int> Blocked() {
  sigset_t mask;
  EXPECT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &mask), 0);
  std::vector<int> blocked;
  for (int number = 1; number < SIGRTMIN; ++number) {
    if (::sigismember(&mask, number) == 1) blocked.push_back(number);
  }
  return blocked;
}

bool IsPending() {
  sigset_t pending;
  EXPECT_EQ(::sigpending(&pending), 0);
  return ::sigismember(&pending, SIGXFSZ) == 1;
}

void Block(int number) {
  sigset_t one;
  ::sigemptyset(&one);
  ::sigaddset(&one, number);
  ::pthread_sigmask(SIG_BLOCK, &one, nullptr);
}

// One byte more than the limit has room for.
ssize_t WriteTooMuch() {
  const rlimit none = {0, RLIM_INFINITY};
  EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &none), 0);
  std::FILE* const file = std::tmpfile();
  EXPECT_NE(file, nullptr);
  errno = 0;
  return ::write(::fileno(file), "x", 1);
}

TEST(FileSizeSignalTest, WithoutItTheProcessIsKilled) {
  EXPECT_EQ(RunInChild([] { WriteTooMuch(); }), "signal " + std::to_string(SIGXFSZ));
}

TEST(FileSizeSignalTest, TheLimitIsAnErrorAloneAndTheSignalIsGoneAfterwards) {
  EXPECT_EQ(RunInChild([] {
              Block(SIGUSR2);
              {
                const NoFileSizeSignal no_signal;
                EXPECT_EQ(Blocked(), (std::vector<int>{SIGUSR2, SIGXFSZ}));
                EXPECT_EQ(WriteTooMuch(), -1);
                EXPECT_EQ(errno, EFBIG);
                EXPECT_TRUE(IsPending());
              }
              EXPECT_FALSE(IsPending());
              EXPECT_EQ(Blocked(), (std::vector<int>{SIGUSR2}));
            }),
            "ok");
}

// Where nothing was written, there is no signal to wait for.
TEST(FileSizeSignalTest, WithoutAWriteItEndsAtOnce) {
  EXPECT_EQ(RunInChild([] {
              {
                const NoFileSizeSignal no_signal;
              }
              EXPECT_TRUE(Blocked().empty());
            }),
            "ok");
}

TEST(FileSizeSignalTest, ASignalThatWasPendingStaysSo) {
  EXPECT_EQ(RunInChild([] {
              Block(SIGXFSZ);
              ::raise(SIGXFSZ);
              for (const bool writes : {false, true}) {
                {
                  const NoFileSizeSignal no_signal;
                  EXPECT_EQ(writes ? WriteTooMuch() : -1, -1);
                }
                EXPECT_TRUE(IsPending()) << writes;
                EXPECT_EQ(Blocked(), (std::vector<int>{SIGXFSZ})) << writes;
              }
            }),
            "ok");
}

// Whatever was in the memory that it is made in.
TEST(FileSizeSignalTest, NoOtherSignalIsBlockedMeanwhile) {
  EXPECT_EQ(RunInChild([] {
              alignas(NoFileSizeSignal) std::byte memory[sizeof(NoFileSizeSignal)];
              std::memset(memory, 0xFF, sizeof(memory));
              asm volatile("" : : "r"(memory) : "memory");
              void* const place = memory;
              auto* const no_signal = std::construct_at(static_cast<NoFileSizeSignal*>(place));
              EXPECT_EQ(Blocked(), (std::vector<int>{SIGXFSZ}));
              no_signal->~NoFileSizeSignal();
              EXPECT_TRUE(Blocked().empty());
            }),
            "ok");
}

}  // namespace
}  // namespace parley

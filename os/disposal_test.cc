// SPDX-License-Identifier: Apache-2.0
#include "parley/os/disposal.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/connected_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/testing/slow_files.h"

namespace parley {
namespace {

using testing_support::FailSystemCall;
using testing_support::HangingFile;
using testing_support::LingeringSocket;
using testing_support::RunInChild;
using testing_support::SendWithDescriptor;

template <typename Body>
absl::Duration TimeOf(const Body& body) {
  const absl::Time before = absl::Now();
  body();
  return absl::Now() - before;
}

// Until no helper is left.
bool AllHelpersEnd(absl::Duration within) {
  const Deadline deadline = Deadline::After(within);
  while (TendDisposal().helpers > 0 && !deadline.Expired()) absl::SleepFor(absl::Milliseconds(1));
  return TendDisposal().helpers == 0;
}

// Two ends, of which `victim` has a message with `file` in its queue.
struct LoadedPair {
  UniqueFd attacker;
  UniqueFd victim;
  LoadedPair() {
    int fds[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    attacker.Reset(fds[0]);
    victim.Reset(fds[1]);
  }
};

TEST(DisposalTest, AttackF12ALingeringSocketIsReleasedElsewhereAndAtOnce) {
  const absl::Duration control = TimeOf([] { LingeringSocket(absl::Seconds(2)).Reset(); });
  EXPECT_GE(control, absl::Milliseconds(1900));  // so slow is the attack
  EXPECT_LE(TimeOf([] { DisposeOf(LingeringSocket(absl::Seconds(60))); }), absl::Milliseconds(500));
  EXPECT_TRUE(AllHelpersEnd(absl::Seconds(5)));  // a process that ends does not linger

  LoadedPair pair;
  ASSERT_TRUE(SendWithDescriptor(pair.attacker.get(), LingeringSocket(absl::Seconds(60)).get()));
  EXPECT_LE(TimeOf([&] { DisposeOf(std::move(pair.victim)); }), absl::Milliseconds(500));
  EXPECT_TRUE(AllHelpersEnd(absl::Seconds(5)));
}

// The release itself, and not only what is closed before it.
TEST(DisposalTest, ItIsClosedInTheEnd) {
  for (int i = 0; i < 100; ++i) {
    LoadedPair pair;
    DisposeOf(std::move(pair.victim));
    EXPECT_TRUE(AllHelpersEnd(absl::Seconds(5)));
    EXPECT_EQ(::send(pair.attacker.get(), "x", 1, MSG_NOSIGNAL), -1);
    EXPECT_EQ(errno, EPIPE);
  }
}

// A listener's end waited for every helper, and so for those that the peer had made slow.
TEST(DisposalTest, AttackF12AWaitIsForItsOwnDescriptorAlone) {
  if (!HangingFile::Possible()) GTEST_SKIP() << "no root, no FUSE, or its release does not wait";
  EXPECT_EQ(RunInChild([] {
              HangingFile file;
              ASSERT_TRUE(file.ok());
              LoadedPair slow;
              ASSERT_TRUE(file.SendTo(slow.attacker.get()));
              EXPECT_LE(TimeOf([&] { DisposeOfAndAwait(std::move(slow.victim)); }),
                        absl::Milliseconds(500));
              absl::Duration fastest = absl::InfiniteDuration();
              for (int i = 0; i < 20; ++i) {
                LoadedPair pair;
                fastest =
                    std::min(fastest, TimeOf([&] { DisposeOfAndAwait(std::move(pair.victim)); }));
                EXPECT_EQ(TendDisposal().helpers, 1) << "the one that hangs";
                EXPECT_EQ(::send(pair.attacker.get(), "x", 1, MSG_NOSIGNAL), -1);
              }
              EXPECT_LT(fastest, absl::Milliseconds(8)) << "as if its own helper hung";
              file.StopDaemon();
              EXPECT_TRUE(AllHelpersEnd(absl::Seconds(5)));
            }),
            "ok");
}

TEST(DisposalTest, AttackF12AHelperThatHangsHoldsNothingOfOursAndOurProcessEnds) {
  if (!HangingFile::Possible()) GTEST_SKIP() << "no root, no FUSE, or its release does not wait";
  EXPECT_EQ(RunInChild([] {
              HangingFile file;
              ASSERT_TRUE(file.ok());
              LoadedPair pair;
              int other[2] = {-1, -1};
              ASSERT_EQ(::pipe2(other, O_CLOEXEC | O_NONBLOCK), 0);
              ASSERT_TRUE(file.SendTo(pair.attacker.get()));
              DisposeOf(std::move(pair.victim));
              EXPECT_FALSE(AllHelpersEnd(absl::Milliseconds(500)));  // it hangs
              ::close(other[1]);
              char byte = 0;
              EXPECT_EQ(::read(other[0], &byte, 1), 0);  // no copy of the write end anywhere
              file.StopDaemon();
              EXPECT_TRUE(AllHelpersEnd(absl::Seconds(5)));
            }),
            "ok");
  EXPECT_EQ(RunInChild([] {
              HangingFile file;
              ASSERT_TRUE(file.ok());
              LoadedPair pair;
              ASSERT_TRUE(file.SendTo(pair.attacker.get()));
              const pid_t child = ::fork();
              if (child == 0) {
                absl::SleepFor(absl::Milliseconds(50));  // its own is then the last
                DisposeOf(std::move(pair.victim));
                ::_exit(0);
              }
              pair.victim.Reset();
              const Deadline deadline = Deadline::After(absl::Seconds(3));
              pid_t ended = 0;
              while (ended == 0 && !deadline.Expired()) {
                ended = ::waitpid(child, nullptr, WNOHANG);
                absl::SleepFor(absl::Milliseconds(1));
              }
              EXPECT_EQ(ended, child);
              file.StopDaemon();
            }),
            "ok");
}

TEST(DisposalTest, WithoutAHelperDescriptorsAreParkedAndGoWithTheNextOne) {
  EXPECT_EQ(RunInChild([] {
              // No helper is to be had: they hang, or a limit is reached.
              const pid_t child = ::fork();
              if (child == 0) {
                FailSystemCall(SYS_clone, EAGAIN);
                for (std::size_t i = 0; i < kMaxParkedDescriptors; ++i) {
                  EXPECT_FALSE(DisposalIsFull());
                  DisposeOf(UniqueFd(::eventfd(0, EFD_CLOEXEC)));
                  EXPECT_EQ(TendDisposal().parked, i + 1);
                }
                EXPECT_TRUE(DisposalIsFull());
                EXPECT_EQ(TendDisposal().helpers, 0);
                ::_exit(::testing::Test::HasFailure() ? 1 : 0);
              }
              int status = -1;
              ASSERT_EQ(::waitpid(child, &status, 0), child);
              EXPECT_EQ(status, 0);
            }),
            "ok");
}

TEST(DisposalTest, PromiseP7ResourcesAtMostSoManyHelpersHang) {
  if (!HangingFile::Possible()) GTEST_SKIP() << "no root, no FUSE, or its release does not wait";
  EXPECT_EQ(RunInChild([] {
              std::vector<std::unique_ptr<HangingFile>> files;
              constexpr int kTooMany = kMaxDisposalHelpers + 3;
              for (int i = 0; i < kTooMany; ++i) {
                files.push_back(std::make_unique<HangingFile>());
                ASSERT_TRUE(files.back()->ok());
                LoadedPair pair;
                ASSERT_TRUE(files.back()->SendTo(pair.attacker.get()));
                EXPECT_LE(TimeOf([&] { DisposeOf(std::move(pair.victim)); }),
                          absl::Milliseconds(500));
              }
              EXPECT_EQ(TendDisposal().helpers, kMaxDisposalHelpers);
              EXPECT_EQ(TendDisposal().parked, 3u);
              for (auto& file : files) file->StopDaemon();
              EXPECT_TRUE(AllHelpersEnd(absl::Seconds(5)));
              EXPECT_EQ(TendDisposal().parked, 0u);
            }),
            "ok");
}

// No child that the program's own wait() finds, no SIGCHLD, errno kept, signals as before.
TEST(DisposalTest, TheProgramDoesNotNoticeItsHelpers) {
  EXPECT_EQ(RunInChild([] {
              static int children = 0;
              struct sigaction counted = {};
              counted.sa_handler = [](int) { ++children; };
              ASSERT_EQ(::sigaction(SIGCHLD, &counted, nullptr), 0);
              errno = 4711;
              DisposeOf(UniqueFd(::eventfd(0, EFD_CLOEXEC)));
              EXPECT_EQ(errno, 4711);
              EXPECT_TRUE(AllHelpersEnd(absl::Seconds(5)));
              EXPECT_EQ(children, 0);
              DisposeOf(UniqueFd(::eventfd(0, EFD_CLOEXEC)));
              EXPECT_EQ(::waitpid(-1, nullptr, 0), -1);
              EXPECT_EQ(errno, ECHILD);
              sigset_t mask;
              ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &mask), 0);
              EXPECT_EQ(sigismember(&mask, SIGTERM), 0);
            }),
            "ok");
}

}  // namespace
}  // namespace parley

#include "parley/sealing/seal_shared.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/test_support.h"

namespace parley {
namespace {

using testing_support::FailSystemCall;
using testing_support::FootprintNow;
using testing_support::InodeLockHolder;
using testing_support::LeakOf;
using testing_support::RawMemfd;
using testing_support::RunInChild;

std::atomic<int> child_signals = 0;

Deadline Soon() { return Deadline::After(absl::Seconds(5)); }

TEST(SealSharedTest, AddsAndVerifies) {
  UniqueFd fd = RawMemfd(4096);
  ASSERT_TRUE(AddSealsToShared(fd.get(), kRegionSeals, Soon()).ok());
  EXPECT_TRUE(VerifySeals(fd.get(), kRegionSeals).ok());
  EXPECT_TRUE(AddSealsToShared(fd.get(), kRegionSeals, Soon()).ok());
}

TEST(SealSharedTest, SaysWhyTheKernelRefused) {
  UniqueFd fd = RawMemfd(4096);
  ASSERT_TRUE(AddSeals(fd.get(), kShapeSeals | F_SEAL_SEAL).ok());
  const absl::Status status = AddSealsToShared(fd.get(), kRegionSeals, Soon());
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << status;
  EXPECT_EQ(AddSealsToShared(-1, kRegionSeals, Soon()).code(), absl::StatusCode::kInvalidArgument);
}

TEST(SealSharedTest, WithoutAHelperProcessThereAreNoSeals) {
  EXPECT_EQ(RunInChild([] {
              UniqueFd fd = RawMemfd(4096);
              FailSystemCall(SYS_clone, EAGAIN);
              const absl::Status status = AddSealsToShared(fd.get(), kRegionSeals, Soon());
              EXPECT_NE(status.ToString().find("start a helper process"), std::string::npos)
                  << status;
              EXPECT_FALSE(VerifySeals(fd.get(), kShapeSeals).ok());
            }),
            "ok");
}

TEST(SealSharedTest, LeavesNothingBehind) {
  EXPECT_EQ(LeakOf([] {
              UniqueFd fd = RawMemfd(4096);
              ASSERT_TRUE(AddSealsToShared(fd.get(), kRegionSeals, Soon()).ok());
            }),
            "nothing");
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG | __WALL), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(SealSharedTest, PromiseP8NoSignalTellsOfTheHelper) {
  struct sigaction action = {};
  action.sa_handler = [](int) { ++child_signals; };
  struct sigaction before = {};
  ASSERT_EQ(::sigaction(SIGCHLD, &action, &before), 0);
  UniqueFd fd = RawMemfd(4096);
  EXPECT_TRUE(AddSealsToShared(fd.get(), kRegionSeals, Soon()).ok());
  ::sigaction(SIGCHLD, &before, nullptr);
  EXPECT_EQ(child_signals, 0);
}

TEST(SealSharedTest, PromiseP2APeerThatHoldsTheInodeLockCostsADeadline) {
  UniqueFd fd = RawMemfd(4096);
  ASSERT_TRUE(AddSeals(fd.get(), kShapeSeals).ok());
  InodeLockHolder peer(fd.get());
  if (!peer.ok()) GTEST_SKIP() << "no userfaultfd here";
  // This is what the helper is for: the plain call never comes back.
  EXPECT_EQ(RunInChild([&] {
              const pid_t victim = ::fork();
              if (victim == 0) {
                AddSeals(fd.get(), kRegionSeals).IgnoreError();
                ::_exit(0);
              }
              ::usleep(300'000);
              ::kill(victim, SIGKILL);
              ::usleep(100'000);
              EXPECT_EQ(::waitpid(victim, nullptr, WNOHANG), 0) << "it could be killed";
            }),
            "ok");

  const int descriptors = FootprintNow().descriptors;
  const int64_t start_ns = MonotonicNowNs();
  const absl::Status status =
      AddSealsToShared(fd.get(), kRegionSeals, Deadline::After(absl::Milliseconds(100)));
  const int64_t took_ns = MonotonicNowNs() - start_ns;
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_GE(took_ns, 100'000'000);
  EXPECT_LT(took_ns, 3'000'000'000);
  EXPECT_EQ(FootprintNow().descriptors, descriptors);

  // Once the peer lets go, the killed helper ends, and the next call buries it.
  peer.Stop();
  bool buried = false;
  for (int i = 0; i < 500 && !buried; ++i) {
    UniqueFd other = RawMemfd(4096);
    ASSERT_TRUE(AddSealsToShared(other.get(), kShapeSeals, Soon()).ok());
    siginfo_t child = {};
    buried = ::waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT | __WALL) == -1;
    if (!buried) ::usleep(10'000);
  }
  EXPECT_TRUE(buried);
}

}  // namespace
}  // namespace parley

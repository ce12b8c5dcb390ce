// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/seal_shared.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/guarded_range.h"
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

// What may go wrong with the helper's own program: then it is a copy of this process.
TEST(SealSharedTest, WhereNoFileMayBeExecutedACopySeals) {
  for (const long call : {long{SYS_execveat}, long{SYS_memfd_create}}) {
    EXPECT_EQ(RunInChild([call] {
                UniqueFd fd = RawMemfd(4096);
                FailSystemCall(call, EACCES);
                EXPECT_EQ(AddSealsToShared(fd.get(), kRegionSeals, Soon()), absl::OkStatus());
                EXPECT_TRUE(VerifySeals(fd.get(), kRegionSeals).ok());
              }),
              "ok")
        << call;
  }
}

// A worker that writes no files connects to somebody whom it does not trust. Once it died here.
TEST(SealSharedTest, AFileSizeLimitIsNoObstacleAndNoSignal) {
  for (const rlim_t size_bytes : {rlim_t{0}, rlim_t{100}}) {
    EXPECT_EQ(RunInChild([size_bytes] {
                UniqueFd fd = RawMemfd(4096);
                const rlimit limit = {size_bytes, size_bytes};
                ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
                EXPECT_EQ(AddSealsToShared(fd.get(), kRegionSeals, Soon()), absl::OkStatus());
                EXPECT_TRUE(VerifySeals(fd.get(), kRegionSeals).ok());
              }),
              "ok")
        << size_bytes;
  }
}

// Of many calls, the fastest: the machine does other things, too. Enough once one took less than
// `enough_ns`.
int64_t FastestNs(int calls, int64_t enough_ns) {
  int64_t fastest_ns = std::numeric_limits<int64_t>::max();
  const Deadline end = Deadline::After(absl::Seconds(2));
  for (int i = 0; i < calls && fastest_ns > enough_ns && !end.Expired(); ++i) {
    const UniqueFd fd = RawMemfd(4096);
    const int64_t start_ns = MonotonicNowNs();
    EXPECT_TRUE(AddSealsToShared(fd.get(), kRegionSeals, Soon()).ok());
    fastest_ns = std::min(fastest_ns, MonotonicNowNs() - start_ns);
  }
  return fastest_ns;
}

// As a ratio within one run. With a copy of this process it was 1 ms for each 10 MB.
TEST(SealSharedTest, TheCostDoesNotDependOnOurMemoryOrDescriptors) {
  EXPECT_EQ(RunInChild([] {
              const int64_t before_ns = FastestNs(60, 0);
              const int64_t limit_ns = 3 * before_ns + 300'000;
              constexpr size_t kBytes = size_t{512} << 20;
              void* const memory = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              ASSERT_NE(memory, MAP_FAILED);
              // Pages of the usual size, as a heap of small objects has them.
              ::madvise(memory, kBytes, MADV_NOHUGEPAGE);
              // By the kernel if it can: a sanitizer's memset would fill its shadow as well.
              constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, since Linux 5.14
              if (::madvise(memory, kBytes, kPopulateWrite) != 0) std::memset(memory, 1, kBytes);
              const int64_t large_ns = FastestNs(2000, limit_ns);
              ::munmap(memory, kBytes);
              std::vector<UniqueFd> many;
              rlimit limit = {};
              ::getrlimit(RLIMIT_NOFILE, &limit);
              limit.rlim_cur = limit.rlim_max;
              ::setrlimit(RLIMIT_NOFILE, &limit);
              const int wanted = static_cast<int>(std::min<rlim_t>(limit.rlim_max / 2, 3000));
              for (int i = 0; i < wanted; ++i) many.push_back(RawMemfd(0));
              const int64_t many_ns = FastestNs(2000, limit_ns);
              std::printf("sealing: %.3f ms; with 512 MiB %.3f ms; with %d descriptors %.3f ms\n",
                          static_cast<double>(before_ns) / 1e6, static_cast<double>(large_ns) / 1e6,
                          wanted, static_cast<double>(many_ns) / 1e6);
              EXPECT_LE(large_ns, limit_ns);
              EXPECT_LE(many_ns, limit_ns);
            }),
            "ok");
}

// Whether a process has the file of `fd` open.
bool HasFile(pid_t pid, int fd) {
  struct stat wanted = {};
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd";
  DIR* const all = ::opendir(folder.c_str());
  if (all == nullptr || ::fstat(fd, &wanted) != 0) return false;
  bool found = false;
  while (const dirent* entry = ::readdir(all)) {
    struct stat file = {};
    const std::string link = folder + "/" + entry->d_name;
    if (entry->d_name[0] == '.' || ::stat(link.c_str(), &file) != 0) continue;
    found = found || (file.st_dev == wanted.st_dev && file.st_ino == wanted.st_ino);
  }
  ::closedir(all);
  return found;
}

// All processes whose program is the helper's and that have the file of `fd`, in this process's own
// namespace: other programs seal at the same time.
std::vector<pid_t> Helpers(int fd) {
  std::vector<pid_t> found;
  DIR* const all = ::opendir("/proc");
  if (all == nullptr) return found;
  while (const dirent* entry = ::readdir(all)) {
    // NOLINTNEXTLINE(cert-err34-c): 0 for what is no number
    const pid_t pid = static_cast<pid_t>(std::atoi(entry->d_name));
    std::string name;
    std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/comm"), name);
    if (pid > 0 && name == "parley-seal" && HasFile(pid, fd)) found.push_back(pid);
  }
  ::closedir(all);
  return found;
}

// What a process has open, by its links in /proc.
std::vector<std::string> OpenFilesOf(pid_t pid) {
  std::vector<std::string> links;
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd";
  DIR* const all = ::opendir(folder.c_str());
  if (all == nullptr) return links;
  while (const dirent* entry = ::readdir(all)) {
    std::array<char, 256> target = {};
    const std::string link = folder + "/" + entry->d_name;
    if (::readlink(link.c_str(), target.data(), target.size() - 1) > 0) {
      links.emplace_back(target.data());
    }
  }
  ::closedir(all);
  return links;
}

// The attack: a client with a lock, a port (here: a socket's other end) and other channels connects
// to a peer that holds the inode's lock, and dies. Nothing of it may stay.
TEST(SealSharedTest, PromiseP8AHelperThatHangsHasTheMemfdAndNothingElse) {
  UniqueFd fd = RawMemfd(4096);
  ASSERT_TRUE(AddSeals(fd.get(), kShapeSeals).ok());
  InodeLockHolder peer(fd.get());
  if (!peer.ok()) GTEST_SKIP() << "no userfaultfd here";
  std::array<int, 2> ends = {};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  std::string name = ::testing::TempDir() + "/lockXXXXXX";
  const UniqueFd mine(::mkostemp(name.data(), O_CLOEXEC));
  const std::vector<pid_t> before = Helpers(fd.get());
  const pid_t client = ::fork();
  if (client == 0) {
    ::close(ends[0]);
    // As a careless program has them: not close-on-exec.
    const int lock = ::open(name.c_str(), O_RDWR);
    if (lock < 0 || ::flock(lock, LOCK_EX) != 0) ::_exit(1);
    constexpr size_t kBytes = size_t{64} << 20;
    void* const memory =
        ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::memset(memory, 1, kBytes);
    const absl::Status status =
        internal::AddSealsAlone(fd.get(), kRegionSeals, Deadline::After(absl::Milliseconds(200)));
    ::_exit(status.code() == absl::StatusCode::kDeadlineExceeded ? 0 : 2);
  }
  ::close(ends[1]);
  int status = -1;
  ASSERT_EQ(::waitpid(client, &status, 0), client);
  EXPECT_EQ(status, 0);
  // At once.
  char byte = 0;
  EXPECT_EQ(::recv(ends[0], &byte, 1, MSG_DONTWAIT), 0) << "the connection is still open";
  EXPECT_EQ(::flock(mine.get(), LOCK_EX | LOCK_NB), 0) << "the lock is still held";
  ::close(ends[0]);
  ::unlink(name.c_str());

  std::vector<pid_t> hanging = Helpers(fd.get());
  std::erase_if(hanging, [&](pid_t pid) {
    return std::find(before.begin(), before.end(), pid) != before.end();
  });
  ASSERT_EQ(hanging.size(), 1u);
  EXPECT_EQ(OpenFilesOf(hanging[0]), std::vector<std::string>{"/memfd:raw (deleted)"});
  std::ifstream statm("/proc/" + std::to_string(hanging[0]) + "/statm");
  uint64_t pages = 0;
  uint64_t resident = 0;
  statm >> pages >> resident;
  EXPECT_LT(pages * PageBytes(), uint64_t{1} << 20);
  EXPECT_LE(resident, 16u);
  EXPECT_NE(::getpgid(hanging[0]), ::getpgid(0));
  peer.Stop();
}

TEST(SealSharedTest, PromiseP7AtMostSoManyHelpersHang) {
  const UniqueFd fd = RawMemfd(4096);
  ASSERT_TRUE(AddSeals(fd.get(), kShapeSeals).ok());
  InodeLockHolder peer(fd.get());
  if (!peer.ok()) GTEST_SKIP() << "no userfaultfd here";
  EXPECT_EQ(RunInChild([&] {
              const size_t before = Helpers(fd.get()).size();
              const auto try_once = [&] {
                return internal::AddSealsAlone(fd.get(), kRegionSeals,
                                               Deadline::After(absl::Milliseconds(50)))
                    .code();
              };
              for (int i = 0; i < kMaxLeftoversOfOneMaker; ++i) {
                EXPECT_EQ(try_once(), absl::StatusCode::kDeadlineExceeded);
              }
              EXPECT_EQ(Helpers(fd.get()).size() - before, size_t{kMaxLeftoversOfOneMaker});
              const int64_t start_ns = MonotonicNowNs();
              for (int i = 0; i < 20; ++i) {
                EXPECT_EQ(try_once(), absl::StatusCode::kResourceExhausted);
              }
              EXPECT_LT(MonotonicNowNs() - start_ns, 500'000'000) << "refused at once";
              EXPECT_EQ(Helpers(fd.get()).size() - before, size_t{kMaxLeftoversOfOneMaker});
              // Another user's files are not concerned: root can make one.
              const UniqueFd other = RawMemfd(4096);
              if (::fchown(other.get(), 12345, 12345) == 0) {
                EXPECT_TRUE(AddSealsToShared(other.get(), kRegionSeals, Soon()).ok());
              }
            }),
            "ok");
}

// Once a peer lets go, what it had made hang ends, and there is room again.
TEST(SealSharedTest, HelpersThatWereLetGoCountNoMore) {
  const UniqueFd fd = RawMemfd(4096);
  InodeLockHolder peer(fd.get());
  if (!peer.ok()) GTEST_SKIP() << "no userfaultfd here";
  for (int i = 0; i < kMaxLeftoversOfOneMaker; ++i) {
    EXPECT_EQ(
        internal::AddSealsAlone(fd.get(), kRegionSeals, Deadline::After(absl::Milliseconds(50)))
            .code(),
        absl::StatusCode::kDeadlineExceeded);
  }
  const UniqueFd next = RawMemfd(4096);
  EXPECT_EQ(AddSealsToShared(next.get(), kRegionSeals, Soon()).code(),
            absl::StatusCode::kResourceExhausted);
  peer.Stop();
  bool ended = false;
  for (int i = 0; i < 300 && !ended; ++i) {
    ended = AddSealsToShared(next.get(), kRegionSeals, Soon()).ok();
    ::usleep(10'000);
  }
  EXPECT_TRUE(ended);
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

// Where something else failed meanwhile: no process, no descriptor, and no wait for a peer.
TEST(SealSharedTest, PromiseP2ASealingThatIsGivenUpLeavesNothing) {
  EXPECT_EQ(LeakOf([] {
              const int descriptors = FootprintNow().descriptors;
              {
                const UniqueFd fd = RawMemfd(4096);
                ASSERT_TRUE(SharedSealing::Start(fd.get(), kRegionSeals).ok());
              }
              // It was killed. One that has not ended yet has a descriptor until somebody asks.
              const int left = FootprintNow().descriptors - descriptors;
              ASSERT_LE(left, 1);
              for (int i = 0; i < 5000 && internal::SealHelpersLeft() != 0; ++i) ::usleep(1000);
              EXPECT_EQ(internal::SealHelpersLeft(), 0u);
              EXPECT_EQ(FootprintNow().descriptors, descriptors);
            }),
            "nothing");
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG | __WALL), -1);
  EXPECT_EQ(errno, ECHILD);

  const UniqueFd fd = RawMemfd(4096);
  InodeLockHolder peer(fd.get());
  if (!peer.ok()) GTEST_SKIP() << "no userfaultfd here";
  EXPECT_EQ(RunInChild([&] {
              const int64_t start_ns = MonotonicNowNs();
              ASSERT_TRUE(SharedSealing::Start(fd.get(), kRegionSeals).ok());
              EXPECT_LT(MonotonicNowNs() - start_ns, 1'000'000'000);
              EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG | __WALL), -1);
            }),
            "ok");
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
  EXPECT_LE(FootprintNow().descriptors, descriptors + 1);  // by which we know when it has ended

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

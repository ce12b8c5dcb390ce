// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/memfd.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/sealing/guarded_range.h"
#include "parley/sealing/seals.h"
#include "parley/sealing/test_support.h"

namespace {

// The error of a memfd_create with MFD_NOEXEC_SEAL; 0: the kernel's own answer.
int memfd_error = 0;
int memfd_calls = 0;

}  // namespace

// Before the C library's, for all of this program.
extern "C" int memfd_create(const char* name, unsigned flags) noexcept {
  constexpr unsigned kNoexecSeal = 8;
  ++memfd_calls;
  if (memfd_error != 0 && (flags & kNoexecSeal) != 0) {
    errno = memfd_error;
    return -1;
  }
  // DESCRIPTOR: the caller's to own.
  return static_cast<int>(::syscall(SYS_memfd_create, name, flags));
}

namespace parley {
namespace {

// What a kernel gives at least.
const size_t kPage = PageBytes();
const auto kPageAt = static_cast<off_t>(kPage);

using testing_support::FailSystemCall;
using testing_support::LeakOf;
using testing_support::RefuseSystemCall;
using testing_support::RunInChild;

constexpr uint64_t kMiB = uint64_t{1} << 20;

struct stat StatOf(int fd) {
  struct stat file = {};
  EXPECT_EQ(::fstat(fd, &file), 0);
  return file;
}

TEST(MemfdTest, PromiseP7AllPagesAreThereAtOnce) {
  for (const uint64_t size :
       {uint64_t{0}, uint64_t{1}, uint64_t{kPage}, uint64_t{kPage + 1}, 9 * kMiB}) {
    auto fd = CreateMemfd(size);
    ASSERT_TRUE(fd.ok()) << fd.status();
    const struct stat file = StatOf(fd->get());
    EXPECT_EQ(static_cast<uint64_t>(file.st_size), size);
    EXPECT_EQ(static_cast<uint64_t>(file.st_blocks) * 512, (size + kPage - 1) / kPage * kPage);
  }
}

TEST(MemfdTest, PromiseP8CloseOnExecNotExecutableOneNameForAll) {
  auto fd = CreateMemfd(kPage);
  ASSERT_TRUE(fd.ok());
  EXPECT_NE(::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC, 0);
  char target[64] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(fd->get());
  ASSERT_GT(::readlink(link.c_str(), target, sizeof(target) - 1), 0);
  EXPECT_STREQ(target, "/memfd:parley (deleted)");
  auto seals = GetSeals(fd->get());
  ASSERT_TRUE(seals.ok());
  EXPECT_EQ(*seals & ~SealSet{F_SEAL_EXEC}, 0u);
  if ((*seals & F_SEAL_EXEC) != 0) {
    EXPECT_EQ(StatOf(fd->get()).st_mode & 0111, 0u);
    EXPECT_NE(::fchmod(fd->get(), 0777), 0);
  }
}

// The first answer counts, not what errno was before it.
TEST(MemfdTest, AnErrorOfBeforeCostsNoSeal) {
  errno = 0;
  auto usual = CreateMemfd(kPage);
  ASSERT_TRUE(usual.ok()) << usual.status();
  const auto seals = GetSeals(usual->get());
  ASSERT_TRUE(seals.ok()) << seals.status();
  for (const int error : {EINVAL, EPERM, ENOSYS, ENOENT}) {
    errno = error;
    auto fd = CreateMemfd(kPage);
    ASSERT_TRUE(fd.ok()) << fd.status();
    EXPECT_EQ(*GetSeals(fd->get()), *seals) << error;
  }
}

TEST(MemfdTest, AKernelWithoutTheNoexecFlagServesAsWell) {
  EXPECT_EQ(RunInChild([] {
              constexpr unsigned kNoexecSeal = 8;
              RefuseSystemCall(SYS_memfd_create, 1, kNoexecSeal);
              ASSERT_LT(::memfd_create("x", kNoexecSeal), 0);
              auto fd = CreateMemfd(kPage);
              ASSERT_TRUE(fd.ok()) << fd.status();
              EXPECT_TRUE(AddSeals(fd->get(), kRegionSeals).ok());
            }),
            "ok");
}

TEST(MemfdTest, PromiseP8FileSizeLimitIsAnErrorAndNoSignal) {
  EXPECT_EQ(RunInChild([] {
              const rlimit limit = {kMiB, kMiB};
              ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
              auto fd = CreateMemfd(2 * kMiB);
              EXPECT_EQ(fd.status().code(), absl::StatusCode::kResourceExhausted);
              EXPECT_NE(fd.status().ToString().find("RLIMIT_FSIZE"), std::string::npos);
              EXPECT_TRUE(CreateMemfd(kMiB).ok());
              // Neither left pending nor left blocked.
              sigset_t signals;
              ::sigpending(&signals);
              EXPECT_EQ(::sigismember(&signals, SIGXFSZ), 0);
              ::pthread_sigmask(SIG_BLOCK, nullptr, &signals);
              EXPECT_EQ(::sigismember(&signals, SIGXFSZ), 0);
            }),
            "ok");
  // The test can fail: without the precaution it kills.
  EXPECT_EQ(RunInChild([] {
              const rlimit limit = {kMiB, kMiB};
              ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
              const UniqueFd fd(::memfd_create("raw", MFD_CLOEXEC));
              EXPECT_NE(::ftruncate(fd.get(), 2 * kMiB), 0);
            }),
            "signal " + std::to_string(SIGXFSZ));
}

TEST(MemfdTest, ASignalThatWasPendingAlreadyStaysPending) {
  EXPECT_EQ(RunInChild([] {
              sigset_t signals;
              ::sigemptyset(&signals);
              ::sigaddset(&signals, SIGXFSZ);
              ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
              ::raise(SIGXFSZ);
              EXPECT_TRUE(CreateMemfd(kPage).ok());
              ::sigpending(&signals);
              EXPECT_EQ(::sigismember(&signals, SIGXFSZ), 1);
            }),
            "ok");
}

TEST(MemfdTest, PromiseP7MoreThanTheMachineHasIsNotEvenTried) {
  for (const uint64_t size : {uint64_t{64} << 40, (uint64_t{1} << 63) - 1, ~uint64_t{0}}) {
    EXPECT_EQ(LeakOf([&] {
                const absl::Status status = CreateMemfd(size).status();
                EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
              }),
              "nothing");
  }
}

TEST(MemfdTest, PromiseP7FullDescriptorTable) {
  EXPECT_EQ(RunInChild([] {
              const rlimit limit = {0, 0};
              ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
              const absl::Status status = CreateMemfd(kPage).status();
              EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
              EXPECT_NE(status.ToString().find("ulimit -n"), std::string::npos);
            }),
            "ok");
}

TEST(MemfdTest, ABusyTimerDoesNotStopIt) {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  struct sigaction before = {};
  ASSERT_EQ(::sigaction(SIGALRM, &action, &before), 0);
  itimerval storm = {};
  storm.it_interval.tv_usec = storm.it_value.tv_usec = 5000;
  ASSERT_EQ(::setitimer(ITIMER_REAL, &storm, nullptr), 0);
  auto fd = CreateMemfd(128 * kMiB);
  storm = {};
  ::setitimer(ITIMER_REAL, &storm, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  ASSERT_TRUE(fd.ok()) << fd.status();
  EXPECT_EQ(static_cast<uint64_t>(StatOf(fd->get()).st_blocks) * 512, 128 * kMiB);
}

TEST(MemfdTest, ResizeAllocatesAndARefusedOneChangesNothing) {
  auto fd = CreateMemfd(kPage);
  ASSERT_TRUE(fd.ok());
  ASSERT_TRUE(ResizeMemfd(fd->get(), kPage, 3 * kPage).ok());
  EXPECT_EQ(StatOf(fd->get()).st_blocks * 512, 3 * kPageAt);
  EXPECT_FALSE(ResizeMemfd(fd->get(), 3 * kPage, uint64_t{64} << 40).ok());
  EXPECT_EQ(StatOf(fd->get()).st_size, 3 * kPageAt);
  ASSERT_TRUE(ResizeMemfd(fd->get(), 3 * kPage, 100).ok());
  EXPECT_EQ(StatOf(fd->get()).st_size, 100);
}

// In pieces, of which none is left out.
TEST(MemfdTest, ALongResizeAllocatesAllOfIt) {
  auto fd = CreateMemfd(kPage);
  ASSERT_TRUE(fd.ok());
  for (const uint64_t size : {kMiB, 3 * kMiB + kPage, 3 * kMiB + kPage, 2 * kMiB}) {
    const auto before = static_cast<uint64_t>(StatOf(fd->get()).st_size);
    ASSERT_TRUE(ResizeMemfd(fd->get(), before, size).ok());
    EXPECT_EQ(static_cast<uint64_t>(StatOf(fd->get()).st_size), size);
    EXPECT_EQ(static_cast<uint64_t>(StatOf(fd->get()).st_blocks) * 512, size);
  }
}

TEST(MemfdTest, AStepIsOnePiece) {
  constexpr uint64_t kPiece = MemfdBuilder::kPieceBytes;
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, kPiece, kPiece + 1, 4 * kPiece - kPage}) {
    auto builder = MemfdBuilder::Start(size);
    ASSERT_TRUE(builder.ok()) << builder.status();
    EXPECT_EQ(static_cast<uint64_t>(StatOf(builder->fd()).st_size), size);
    const uint64_t pieces = (size + kPiece - 1) / kPiece;
    for (uint64_t i = 1; i <= pieces; ++i) {
      EXPECT_EQ(builder->Step(Deadline::AtMonotonicNs(0)).value_or(false), i == pieces);
      const uint64_t there = std::min(i * kPiece, size);
      EXPECT_EQ(static_cast<uint64_t>(StatOf(builder->fd()).st_blocks) * 512,
                (there + kPage - 1) / kPage * kPage);
    }
    EXPECT_EQ(builder->Step(Deadline::AtMonotonicNs(0)).value_or(false), true);
    const UniqueFd fd = std::move(*builder).Take();
    EXPECT_EQ(static_cast<uint64_t>(StatOf(fd.get()).st_size), size);
  }
}

TEST(MemfdDeathTest, AnUnfinishedOneCannotBeTaken) {
  auto builder = MemfdBuilder::Start(2 * MemfdBuilder::kPieceBytes);
  ASSERT_TRUE(builder.ok());
  EXPECT_DEATH(std::move(*builder).Take(), "not all memory is there yet");
  ASSERT_FALSE(*builder->Step(Deadline::AtMonotonicNs(0)));
  EXPECT_DEATH(std::move(*builder).Take(), "not all memory is there yet");
}

// All memory and swap of the machine are the limit, to the byte; here without any page of it.
TEST(MemfdTest, PromiseP7TheMachinesMemoryIsTheLimit) {
  struct sysinfo machine = {};
  ASSERT_EQ(::sysinfo(&machine), 0);
  const uint64_t all = (uint64_t{machine.totalram} + machine.totalswap) * machine.mem_unit;
  EXPECT_TRUE(MemfdBuilder::Start(all - 1).ok());
  for (const uint64_t size : {all, all + 1, 2 * all - 2}) {
    const absl::Status status = MemfdBuilder::Start(size).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_NE(status.ToString().find("this machine has " + std::to_string(all) + " in all"),
              std::string::npos)
        << status;
  }
  EXPECT_EQ(RunInChild([] {
              FailSystemCall(SYS_sysinfo, EACCES);
              EXPECT_EQ(CreateMemfd(kPage).status().code(), absl::StatusCode::kPermissionDenied);
            }),
            "ok");
}

// A filter that is older than a flag has an error of its own for it; what any other error says is
// the answer.
TEST(MemfdTest, WhichErrorsAreTriedAgainWithoutTheFlag) {
  for (const int error : {EINVAL, EPERM, ENOSYS}) {
    memfd_calls = 0;
    memfd_error = error;
    auto fd = CreateMemfd(kPage);
    memfd_error = 0;
    EXPECT_TRUE(fd.ok()) << fd.status();
    EXPECT_EQ(memfd_calls, 2) << error;
  }
  for (const int error : {EMFILE, ENFILE, ENOMEM, EACCES}) {
    memfd_calls = 0;
    memfd_error = error;
    EXPECT_EQ(CreateMemfd(kPage).status().code(), error == EACCES
                                                      ? absl::StatusCode::kPermissionDenied
                                                      : absl::StatusCode::kResourceExhausted);
    memfd_error = 0;
    EXPECT_EQ(memfd_calls, 1) << error;
  }
}

// Its size is not set, so nothing of it is allocated either.
TEST(MemfdTest, ASizeThatIsRefusedIsAnError) {
  EXPECT_EQ(RunInChild([] {
              auto fd = CreateMemfd(kPage);
              auto builder = MemfdBuilder::Start(kPage);
              ASSERT_TRUE(fd.ok() && builder.ok());
              FailSystemCall(SYS_ftruncate, EACCES);
              for (const uint64_t size : {uint64_t{100}, uint64_t{3 * kPage}}) {
                EXPECT_EQ(ResizeMemfd(fd->get(), kPage, size).code(),
                          absl::StatusCode::kPermissionDenied);
                EXPECT_EQ(StatOf(fd->get()).st_size, kPageAt);
              }
              EXPECT_EQ(builder->Step(Deadline::Never()).status().code(),
                        absl::StatusCode::kPermissionDenied);
              EXPECT_EQ(CreateMemfd(kPage).status().code(), absl::StatusCode::kPermissionDenied);
            }),
            "ok");
}

TEST(MemfdTest, PromiseP7NoMemoryForThePagesIsAnErrorAndTheOldSizeStays) {
  EXPECT_EQ(RunInChild([] {
              auto fd = CreateMemfd(kPage);
              ASSERT_TRUE(fd.ok());
              FailSystemCall(SYS_fallocate, ENOSPC);
              EXPECT_EQ(ResizeMemfd(fd->get(), kPage, 3 * kPage).code(),
                        absl::StatusCode::kResourceExhausted);
              EXPECT_EQ(StatOf(fd->get()).st_size, kPageAt);
              EXPECT_EQ(CreateMemfd(kPage).status().code(), absl::StatusCode::kResourceExhausted);
            }),
            "ok");
}

}  // namespace
}  // namespace parley

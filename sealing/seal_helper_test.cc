// SPDX-License-Identifier: Apache-2.0

// Which process places a seal, what it has, and what each failure on the way is made of.

#include "parley/sealing/seal_helper.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/seal_shared.h"
#include "parley/sealing/seals.h"
#include "parley/sealing/test_support.h"
#include "parley/testing/process_facts.h"
#include "parley/testing/sanitizers.h"

namespace {

// What is chosen and seen of the calls below.
struct Calls {
  int copies = 0;  // of this process that were asked for
  int files = 0;   // memfds that were asked for
  int naps = 0;
  std::deque<int> wait_errors;  // of the next calls of waitpid
  std::function<void()> at_poll;
};
Calls calls;

template <typename Function>
Function Real(const char* name) {
  // SAFETY: dlsym gives functions as void*; the caller's type is that of the C library's header.
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

#if !PARLEY_HAS_SANITIZER
// All of these before the C library's, for all of this program.
extern "C" {

long syscall(long number, ...) noexcept {  // NOLINT(google-runtime-int): the C library's type
  static const auto real = Real<long (*)(long, ...)>("syscall");  // NOLINT(google-runtime-int)
  std::va_list list;
  va_start(list, number);
  std::array<long, 6> a;                           // NOLINT(google-runtime-int)
  for (auto& each : a) each = va_arg(list, long);  // NOLINT(google-runtime-int)
  va_end(list);
  if (number == SYS_clone) ++calls.copies;
  return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int memfd_create(const char* name, unsigned flags) noexcept {
  static const auto real = Real<int (*)(const char*, unsigned)>("memfd_create");
  ++calls.files;
  return real(name, flags);
}

int nanosleep(const timespec* time, timespec* left) {
  static const auto real = Real<int (*)(const timespec*, timespec*)>("nanosleep");
  ++calls.naps;
  return real(time, left);
}

pid_t waitpid(pid_t pid, int* status, int options) {
  static const auto real = Real<pid_t (*)(pid_t, int*, int)>("waitpid");
  if (!calls.wait_errors.empty()) {
    errno = calls.wait_errors.front();
    calls.wait_errors.pop_front();
    return -1;
  }
  return real(pid, status, options);
}

int ppoll(pollfd* entries, nfds_t count, const timespec* limit, const sigset_t* mask) {
  static const auto real =
      Real<int (*)(pollfd*, nfds_t, const timespec*, const sigset_t*)>("ppoll");
  if (calls.at_poll) std::exchange(calls.at_poll, nullptr)();
  return real(entries, count, limit, mask);
}

}  // extern "C"
#endif

namespace parley {
namespace {

using internal::SealHelper;
using testing::DescriptorsOf;
using testing::Eventually;
using testing::StatusOf;
using testing_support::FailSystemCall;
using testing_support::InodeLockHolder;
using testing_support::RawMemfd;
using testing_support::RefuseSystemCall;
using testing_support::RunInChild;

constexpr size_t kFileBytes = 8192;

Deadline Soon() { return Deadline::After(absl::Seconds(5)); }

std::vector<pid_t> Children() {
  std::vector<pid_t> children;
  std::ifstream all("/proc/thread-self/children");
  for (pid_t pid = 0; all >> pid;) children.push_back(pid);
  return children;
}

std::string LinkOf(pid_t pid, const std::string& name) {
  char target[256] = {};
  const std::string link = "/proc/" + std::to_string(pid) + "/" + name;
  return ::readlink(link.c_str(), target, sizeof(target) - 1) > 0 ? target : "";
}

// Without burying any.
bool NoChildIsLeft() {
  siginfo_t child = {};
  return ::waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT | __WALL) == -1 && errno == ECHILD;
}

class SealHelperTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (PARLEY_HAS_SANITIZER) GTEST_SKIP() << "these calls are the sanitizer's";
#if !defined(__x86_64__) && !defined(__aarch64__)
    GTEST_SKIP() << "the helper has no program of its own on this processor";
#endif
    calls = {};
  }
};

// First: a helper that forgot its child's number would end all processes at its deadline, and
// whoever changes that line on purpose (./dev mutate) is stopped here.
TEST_F(SealHelperTest, OneThatIsNotWaitedForIsTheCallersBug) {
  EXPECT_DEATH(
      {
        const UniqueFd fd = RawMemfd(kFileBytes);
        static_cast<void>(SealHelper::Start(fd.get(), SealHelper::kSizeAsItIs, kShapeSeals,
                                            SealHelper::Kind::kOwnProgram));
      },
      "destroyed before Wait");
}

TEST_F(SealHelperTest, ItsOwnProgramSealsAndThisProcessIsNotCopied) {
  EXPECT_EQ(RunInChild([] {
              for (const int error : {0, EINVAL, EINTR}) {
                const UniqueFd fd = RawMemfd(kFileBytes);
                calls = {};
                errno = error;  // of a call before
                EXPECT_EQ(AddSealsToShared(fd.get(), kRegionSeals, Soon()), absl::OkStatus());
                EXPECT_TRUE(VerifySeals(fd.get(), kRegionSeals).ok());
                EXPECT_EQ(calls.copies, 0);
                // Twice where the kernel does not know MFD_NOEXEC_SEAL (before Linux 6.3).
                EXPECT_TRUE(calls.files == 1 || calls.files == 2) << calls.files;
                EXPECT_TRUE(NoChildIsLeft());
              }
            }),
            "ok");
}

// Each reason for which there is no such program; then it is a copy. What is no such reason is the
// answer.
TEST_F(SealHelperTest, WhenItIsACopyOfThisProcess) {
  struct Row {
    long call;
    int error;
    absl::StatusCode code;
    int copies;
  };
  const Row rows[] = {
      {SYS_execveat, EACCES, absl::StatusCode::kOk, 1},
      {SYS_execveat, ENOEXEC, absl::StatusCode::kOk, 1},
      {SYS_memfd_create, EACCES, absl::StatusCode::kOk, 1},
      {SYS_memfd_create, EPERM, absl::StatusCode::kOk, 1},
      {SYS_memfd_create, ENOSYS, absl::StatusCode::kOk, 1},
      {SYS_memfd_create, ENFILE, absl::StatusCode::kResourceExhausted, 0},
      {SYS_pwrite64, EFBIG, absl::StatusCode::kOk, 1},
      {SYS_pwrite64, ENOSPC, absl::StatusCode::kResourceExhausted, 0},
      {SYS_clone, EAGAIN, absl::StatusCode::kResourceExhausted, 0},
      {SYS_clone, EACCES, absl::StatusCode::kPermissionDenied, 0},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(RunInChild([&] {
                const UniqueFd fd = RawMemfd(kFileBytes);
                calls = {};
                FailSystemCall(row.call, row.error);
                const absl::Status status = AddSealsToShared(fd.get(), kRegionSeals, Soon());
                EXPECT_EQ(status.code(), row.code) << row.call << " " << row.error << " " << status;
                EXPECT_EQ(VerifySeals(fd.get(), kRegionSeals).ok(), status.ok());
                EXPECT_EQ(calls.copies, row.copies) << row.call << " " << row.error;
                if (row.call == SYS_clone) {
                  const bool says = status.ToString().find("ulimit -u") != std::string::npos;
                  EXPECT_EQ(says, row.error == EAGAIN) << status;
                  EXPECT_NE(status.ToString().find("start a helper process"), std::string::npos);
                }
                EXPECT_TRUE(NoChildIsLeft());
              }),
              "ok");
  }
}

// Before Linux 6.3 there was no flag for it.
TEST_F(SealHelperTest, AKernelWithoutTheExecFlagServesAsWell) {
  EXPECT_EQ(RunInChild([] {
              const UniqueFd fd = RawMemfd(kFileBytes);
              calls = {};
              RefuseSystemCall(SYS_memfd_create, 1, 0x10);
              EXPECT_EQ(AddSealsToShared(fd.get(), kRegionSeals, Soon()), absl::OkStatus());
              EXPECT_EQ(calls.files, 2);
              EXPECT_EQ(calls.copies, 0);
            }),
            "ok");
}

// The attendant was there, and could not start it.
TEST_F(SealHelperTest, WhatKeptTheAttendantFromStartingItIsTheAnswer) {
  EXPECT_EQ(RunInChild([] {
              const UniqueFd fd = RawMemfd(kFileBytes);
              RefuseSystemCall(SYS_clone, 0, CLONE_VFORK);
              const absl::Status status = AddSealsToShared(fd.get(), kRegionSeals, Soon());
              EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
              EXPECT_NE(status.ToString().find("start a helper process"), std::string::npos);
              EXPECT_TRUE(NoChildIsLeft());
            }),
            "ok");
}

// By either: what the kernel said of the seals, and pages beyond the end are freed first.
TEST_F(SealHelperTest, BothKindsDoTheSame) {
  for (const bool copy : {false, true}) {
    EXPECT_EQ(RunInChild([copy] {
                const UniqueFd sealed = RawMemfd(kFileBytes);
                const UniqueFd fd = RawMemfd(kFileBytes);
                ASSERT_TRUE(AddSeals(sealed.get(), kShapeSeals | F_SEAL_SEAL).ok());
                ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, 0, 4 * kFileBytes), 0);
                if (copy) FailSystemCall(SYS_execveat, EACCES);
                EXPECT_EQ(AddSealsToShared(sealed.get(), kRegionSeals, Soon()).code(),
                          absl::StatusCode::kPermissionDenied);
                errno = EIO;
                EXPECT_EQ(AddSealsToShared(fd.get(), kRegionSeals, Soon()), absl::OkStatus());
                struct stat file = {};
                ASSERT_EQ(::fstat(fd.get(), &file), 0);
                EXPECT_EQ(file.st_blocks * 512, std::max<off_t>(kFileBytes, ::getpagesize()));
                EXPECT_EQ(file.st_size, off_t{kFileBytes});
                EXPECT_TRUE(NoChildIsLeft());
              }),
              "ok");
  }
}

TEST_F(SealHelperTest, EachSealIsAddedByItself) {
  EXPECT_EQ(RunInChild([] {
              for (const SealSet one : {SealSet{F_SEAL_SEAL}, SealSet{F_SEAL_SHRINK},
                                        SealSet{F_SEAL_GROW}, SealSet{F_SEAL_FUTURE_WRITE}}) {
                const UniqueFd fd = RawMemfd(kFileBytes);
                EXPECT_EQ(AddSealsToShared(fd.get(), one, Soon()), absl::OkStatus());
                EXPECT_EQ(*GetSeals(fd.get()) & ~SealSet{F_SEAL_EXEC}, one) << SealNames(one);
              }
            }),
            "ok");
}

// Where they don't matter, pages beyond the end stay.
TEST_F(SealHelperTest, ASealAloneFreesNothing) {
  EXPECT_EQ(RunInChild([] {
              const UniqueFd fd = RawMemfd(kFileBytes);
              ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, 0, 4 * kFileBytes), 0);
              EXPECT_EQ(internal::AddSealsAlone(fd.get(), kRegionSeals, Soon()), absl::OkStatus());
              struct stat file = {};
              ASSERT_EQ(::fstat(fd.get(), &file), 0);
              EXPECT_EQ(file.st_blocks * 512, std::max<off_t>(4 * kFileBytes, ::getpagesize()));
            }),
            "ok");
}

TEST_F(SealHelperTest, WhatNeitherKindCanDoIsAnError) {
  EXPECT_EQ(RunInChild([] {
              const UniqueFd fd = RawMemfd(kFileBytes);
              FailSystemCall(SYS_memfd_create, EACCES);
              FailSystemCall(SYS_clone, EAGAIN);
              EXPECT_EQ(AddSealsToShared(fd.get(), kRegionSeals, Soon()).code(),
                        absl::StatusCode::kResourceExhausted);
            }),
            "ok");
  EXPECT_EQ(RunInChild([] {
              const UniqueFd fd = RawMemfd(kFileBytes);
              FailSystemCall(SYS_memfd_create, EACCES);
              EXPECT_EQ(AddSealsToShared(fd.get(), kRegionSeals, Deadline::AtMonotonicNs(0)).code(),
                        absl::StatusCode::kDeadlineExceeded);
              EXPECT_EQ(calls.copies, 0);
              FailSystemCall(SYS_fstat, EACCES);
              FailSystemCall(SYS_newfstatat, EACCES);
              EXPECT_EQ(AddSealsToShared(fd.get(), kRegionSeals, Soon()).code(),
                        absl::StatusCode::kPermissionDenied);
            }),
            "ok");
}

// Whoever waits is told of an error, and nothing is left running.
TEST_F(SealHelperTest, AWaitThatFailsIsAnError) {
  for (const bool copy : {false, true}) {
    EXPECT_EQ(RunInChild([copy] {
                const UniqueFd fd = RawMemfd(kFileBytes);
                if (copy) FailSystemCall(SYS_memfd_create, EACCES);
                FailSystemCall(SYS_ppoll, ENOMEM);
                const absl::Status status = AddSealsToShared(fd.get(), kRegionSeals, Soon());
                EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
                EXPECT_NE(status.ToString().find("poll"), std::string::npos) << status;
                EXPECT_TRUE(Eventually([] {
                  const std::vector<pid_t> children = Children();
                  return children.empty() || StatusOf(children[0], "State").rfind('Z', 0) == 0;
                }));
              }),
              "ok");
  }
  // One descriptor is waited for: a second would be whatever lies behind it.
  EXPECT_EQ(RunInChild([] {
              const UniqueFd fd = RawMemfd(kFileBytes);
              RefuseSystemCall(SYS_ppoll, 1, ~1U);
              EXPECT_EQ(AddSealsToShared(fd.get(), kRegionSeals, Soon()), absl::OkStatus());
            }),
            "ok");
}

TEST_F(SealHelperTest, ASignalDoesNotLeaveAChild) {
  EXPECT_EQ(RunInChild([] {
              const UniqueFd fd = RawMemfd(kFileBytes);
              calls.wait_errors = {EINTR, EINTR};
              EXPECT_EQ(AddSealsToShared(fd.get(), kRegionSeals, Soon()), absl::OkStatus());
              EXPECT_TRUE(calls.wait_errors.empty());
              EXPECT_TRUE(NoChildIsLeft());
            }),
            "ok");
}

// A handler of ours must not run in it.
TEST_F(SealHelperTest, TheAttendantHasEachSignalBlocked) {
  for (const bool copy : {false, true}) {
    EXPECT_EQ(RunInChild([copy] {
                const UniqueFd fd = RawMemfd(kFileBytes);
                if (copy) FailSystemCall(SYS_memfd_create, EACCES);
                bool seen = false;
                calls.at_poll = [&seen] {
                  for (const pid_t child : Children()) {
                    const std::string mask = StatusOf(child, "SigBlk");
                    if (mask.empty()) continue;
                    seen = true;
                    const uint64_t blocked = std::stoull(mask, nullptr, 16);
                    for (int number = 1; number < 32; ++number) {
                      const bool can_be = number != SIGKILL && number != SIGSTOP;
                      EXPECT_EQ((blocked >> (number - 1) & 1) != 0, can_be) << number;
                    }
                  }
                };
                EXPECT_EQ(AddSealsToShared(fd.get(), kRegionSeals, Soon()), absl::OkStatus());
                EXPECT_TRUE(seen);
                sigset_t own;
                ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &own), 0);
                EXPECT_EQ(::sigismember(&own, SIGTERM), 0);
              }),
              "ok");
  }
}

// It is not ended before the helper has left our memory: that is waited for, and is short.
TEST_F(SealHelperTest, OneThatIsGivenUpAtOnceHasLeftOurMemory) {
  EXPECT_EQ(RunInChild([] {
              for (int i = 0; i < 100; ++i) {
                const UniqueFd fd = RawMemfd(kFileBytes);
                static_cast<void>(SharedSealing::Start(fd.get(), kRegionSeals));
                EXPECT_TRUE(Children().empty());
              }
              EXPECT_GT(calls.naps, 0);
            }),
            "ok");
  // Also where the attendant ends before it starts anybody.
  EXPECT_EQ(RunInChild([] {
              FailSystemCall(SYS_getppid, EACCES);
              for (int i = 0; i < 100; ++i) {
                const UniqueFd fd = RawMemfd(kFileBytes);
                static_cast<void>(SharedSealing::Start(fd.get(), kRegionSeals));
                EXPECT_TRUE(Children().empty());
              }
            }),
            "ok");
}

TEST_F(SealHelperTest, FromThreeOnADescriptorIsOurs) {
  EXPECT_DEATH(static_cast<void>(SealHelper::Start(2, SealHelper::kSizeAsItIs, kShapeSeals,
                                                   SealHelper::Kind::kOwnProgram)),
               "not a descriptor of ours");
  for (const bool copy : {false, true}) {
    EXPECT_EQ(RunInChild([copy] {
                const UniqueFd fd = RawMemfd(kFileBytes);
                ASSERT_EQ(::dup2(fd.get(), 3), 3);
                if (copy) FailSystemCall(SYS_execveat, EACCES);
                EXPECT_EQ(AddSealsToShared(3, kRegionSeals, Soon()), absl::OkStatus());
              }),
              "ok");
  }
}

// --- a peer that holds the inode's lock

// A copy that hangs has the memfd and nothing else of ours, however its copies were closed; so many
// of them as of the others.
TEST_F(SealHelperTest, PromiseP8ACopyThatHangsHasTheMemfdAlone) {
  for (const bool one_by_one : {false, true}) {
    const UniqueFd file = RawMemfd(kFileBytes);
    InodeLockHolder peer(file.get());
    if (!peer.ok()) GTEST_SKIP() << "no userfaultfd here";
    EXPECT_EQ(RunInChild([&] {
                const UniqueFd fd(::fcntl(file.get(), F_DUPFD_CLOEXEC, 50));
                ASSERT_EQ(::dup2(STDERR_FILENO, STDIN_FILENO), STDIN_FILENO);
                for (const int distance : {-2, -1, 1, 2}) {
                  ASSERT_GE(::dup2(STDERR_FILENO, fd.get() + distance), 0);
                }
                FailSystemCall(SYS_execveat, EACCES);
                if (one_by_one) FailSystemCall(SYS_close_range, EPERM);
                const auto seal = [&] {
                  return internal::AddSealsAlone(fd.get(), kRegionSeals,
                                                 Deadline::After(absl::Milliseconds(200)))
                      .code();
                };
                EXPECT_EQ(seal(), absl::StatusCode::kDeadlineExceeded);
                const std::vector<pid_t> children = Children();
                ASSERT_EQ(children.size(), 1u);
                EXPECT_EQ(DescriptorsOf(children[0]), std::set<int>{fd.get()});
                EXPECT_EQ(LinkOf(children[0], "cwd"), "/");
                EXPECT_EQ(::getsid(children[0]), children[0]);
                int hang = 1;
                while (hang < 50 && seal() == absl::StatusCode::kDeadlineExceeded) ++hang;
                EXPECT_GE(hang, kMaxLeftoversOfOneMaker);
                EXPECT_LT(hang, 50);
                // Once they are let go, the next calls bury them.
                peer.Stop();
                EXPECT_TRUE(Eventually([] {
                  const UniqueFd other = RawMemfd(kFileBytes);
                  AddSealsToShared(other.get(), kShapeSeals, Soon()).IgnoreError();
                  return NoChildIsLeft();
                }));
              }),
              "ok");
    peer.Stop();
  }
}

// So many of one maker, and so many of all together.
TEST_F(SealHelperTest, PromiseP7SixteenHelpersHangWhoeverMadeTheFiles) {
  if (::getuid() != 0) GTEST_SKIP() << "files of several makers want root";
  static_assert(kMaxLeftovers == 4 * kMaxLeftoversOfOneMaker);
  EXPECT_EQ(RunInChild([] {
              std::vector<UniqueFd> files;
              std::vector<std::unique_ptr<InodeLockHolder>> peers;
              for (uid_t maker = 12345; maker < 12350; ++maker) {
                files.push_back(RawMemfd(kFileBytes));
                if (::fchown(files.back().get(), maker, maker) != 0) return;
                peers.push_back(std::make_unique<InodeLockHolder>(files.back().get()));
                if (!peers.back()->ok()) return;
              }
              // One that was killed before it came to hang does not count: so until all do.
              const auto seal = [](const UniqueFd& file) {
                return internal::AddSealsAlone(file.get(), kRegionSeals,
                                               Deadline::After(absl::Milliseconds(30)))
                    .code();
              };
              for (size_t i = 0; i < 4; ++i) {
                int calls_made = 0;
                EXPECT_TRUE(Eventually([&] {
                  ++calls_made;
                  return seal(files[i]) == absl::StatusCode::kResourceExhausted;
                }));
                EXPECT_GT(calls_made, kMaxLeftoversOfOneMaker);
              }
              EXPECT_EQ(seal(files[4]), absl::StatusCode::kResourceExhausted);
            }),
            "ok");
}

// Its name is one that a reader of `ps` can look for.
TEST_F(SealHelperTest, AHelperThatHangsIsNamed) {
  const UniqueFd fd = RawMemfd(kFileBytes);
  InodeLockHolder peer(fd.get());
  if (!peer.ok()) GTEST_SKIP() << "no userfaultfd here";
  EXPECT_EQ(
      RunInChild([&] {
        bool found = false;
        calls.at_poll = [&found] {
          found = Eventually([] {
            for (const pid_t attendant : Children()) {
              const std::string of = "/proc/" + std::to_string(attendant);
              pid_t helper = 0;
              std::ifstream(of + "/task/" + std::to_string(attendant) + "/children") >> helper;
              std::string words;
              std::getline(std::ifstream("/proc/" + std::to_string(helper) + "/cmdline"), words);
              if (words == std::string("parley-seal") + '\0') return true;
            }
            return false;
          });
        };
        EXPECT_EQ(internal::AddSealsAlone(fd.get(), kRegionSeals,
                                          Deadline::After(absl::Milliseconds(100)))
                      .code(),
                  absl::StatusCode::kDeadlineExceeded);
        EXPECT_TRUE(found);
        EXPECT_TRUE(NoChildIsLeft());
      }),
      "ok");
  peer.Stop();
}

// A process that dies in the middle of it takes its attendant with it, which shares its
// descriptors.
TEST_F(SealHelperTest, PromiseP8AMakerThatDiesTakesItsAttendantWithIt) {
  const UniqueFd fd = RawMemfd(kFileBytes);
  InodeLockHolder peer(fd.get());
  if (!peer.ok()) GTEST_SKIP() << "no userfaultfd here";
  int ends[2] = {-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const pid_t client = ::fork();
  if (client == 0) {
    calls.at_poll = [&] { static_cast<void>(!::write(theirs.get(), "!", 1)); };
    internal::AddSealsAlone(fd.get(), kRegionSeals, Deadline::After(absl::Seconds(30)))
        .IgnoreError();
    ::_exit(0);
  }
  theirs.Reset();
  char byte = 0;
  EXPECT_TRUE(Eventually([&] { return ::read(ours.get(), &byte, 1) == 1; }));
  ::usleep(50'000);  // so that it is in the middle of it, mostly
  ::kill(client, SIGKILL);
  ASSERT_EQ(::waitpid(client, nullptr, 0), client);
  EXPECT_TRUE(Eventually([&] { return ::read(ours.get(), &byte, 1) == 0; }));
  peer.Stop();
}

}  // namespace
}  // namespace parley

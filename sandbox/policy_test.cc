// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/policy.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/bpf.h"
#include "parley/sandbox/profile.h"
#include "parley/sandbox/profile_for_tests.h"

namespace parley {
namespace {

using Answer = Policy::Answer;
constexpr Policy::Verdict kAllow = {Answer::kAllow};
constexpr Policy::Verdict kReport = {Answer::kReport};
constexpr Policy::Verdict kKill = {Answer::kKill};

// As the system call's registers see an int: sign-extended.
uint64_t A(int value) { return static_cast<uint64_t>(int64_t{value}); }

struct Case {
  const char* call;
  Policy::Arguments arguments;
  Policy::Verdict expected;
};

// Some are x86-64's alone. (Those that no libseccomp of Debian 12 knows, Ask knows by itself.)
bool IsHere(const std::string& call) {
#if defined(__x86_64__)
  return !call.empty();
#else
  return ::seccomp_syscall_resolve_name(call.c_str()) >= 0 || call == "uretprobe" ||
         call == "uprobe";
#endif
}

void Check(const Profile& profile, const std::vector<Case>& cases,
           Answer unlisted = Answer::kReport) {
  auto policy = Policy::Compile(profile, {.unlisted = unlisted});
  ASSERT_TRUE(policy.ok()) << policy.status();
  for (size_t i = 0; i < cases.size(); ++i) {
    if (!IsHere(cases[i].call)) continue;
    const Policy::Verdict got = policy->Ask(cases[i].call, cases[i].arguments);
    EXPECT_TRUE(got == cases[i].expected) << "case " << i << ", " << cases[i].call << ": answer "
                                          << static_cast<int>(got.answer) << " error " << got.error;
  }
}

constexpr int kDoorbellFlags = MSG_DONTWAIT | MSG_NOSIGNAL;

TEST(PolicyTest, RingAllowsWhatAChannelDoes) {
  Check(Profile::Ring({4}),
        {
            {"ppoll", {}, kAllow},
            {"ppoll", {0x1000, 64}, kAllow},
            {"restart_syscall", {}, kAllow},
            {"sendto", {4, 0x1000, 1, A(kDoorbellFlags), 0, 0}, kAllow},
            {"recvfrom", {4, 0x1000, 1, A(MSG_DONTWAIT), 0, 0}, kAllow},
            {"recvfrom", {4, 0x1000, 1, A(MSG_DONTWAIT | MSG_TRUNC), 0, 0}, kAllow},
            {"futex", {0x1000, A(FUTEX_WAKE), 1}, kAllow},
            {"futex", {0x1000, A(FUTEX_WAIT | FUTEX_PRIVATE_FLAG), 1}, kAllow},
            {"futex",
             {0x1000, A(FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME), 1},
             kAllow},
            // The futex doorbell: shared, since the other side is another process.
            {"futex", {0x1000, A(FUTEX_WAIT_BITSET), 1}, kAllow},
            {"membarrier", {A(MEMBARRIER_CMD_PRIVATE_EXPEDITED), 0}, kAllow},
            {"membarrier", {A(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED), 0}, kAllow},
            {"clock_gettime", {A(CLOCK_MONOTONIC)}, kAllow},
            {"clock_nanosleep", {A(CLOCK_MONOTONIC), A(TIMER_ABSTIME)}, kAllow},
            {"fcntl", {4, A(F_GET_SEALS)}, kAllow},
            {"fcntl", {4, A(F_GETFL)}, kAllow},
            {"fstat", {4}, kAllow},
            {"close", {4}, kAllow},
            {"munmap", {0x1000, 4096}, kAllow},
            {"exit_group", {}, kAllow},
        });
}

TEST(PolicyTest, RingRefusesTheRestByName) {
  Check(Profile::Ring({4}),
        {
            {"open", {}, kReport},
            {"openat", {}, kReport},
            {"newfstatat", {4, 0x1000, 0x2000, 0x1000}, kReport},
            {"socket", {}, kReport},
            {"connect", {}, kReport},
            {"execve", {}, kReport},
            {"execveat", {}, kReport},
            {"fork", {}, kReport},
            {"vfork", {}, kReport},
            {"clone", {}, kReport},
            {"clone3", {}, {Answer::kErrno, ENOSYS}},
            {"epoll_wait", {4}, kReport},
            {"epoll_pwait2", {4}, kReport},
            {"epoll_ctl", {4}, kReport},
            {"write", {2}, kReport},
            {"read", {4}, kReport},
            {"sendmsg", {4}, kReport},
            {"recvmsg", {4}, kReport},
            {"brk", {}, kReport},
            {"mmap", {0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS}, kReport},
            {"dup", {}, kReport},
            {"dup2", {}, kReport},
            {"memfd_create", {}, kReport},
            {"eventfd2", {}, kReport},
            {"pipe2", {}, kReport},
            {"timerfd_create", {}, kReport},
            {"signalfd4", {}, kReport},
            {"kill", {}, kReport},
            {"tkill", {}, kReport},
            {"tgkill", {1, 1, SIGABRT}, kReport},
            {"rt_sigaction", {}, kReport},
            {"prctl", {}, kReport},
            {"seccomp", {}, kReport},
            {"setsockopt", {}, kReport},
            {"rt_sigqueueinfo", {}, kReport},
            {"timer_create", {}, kReport},
            {"splice", {}, kReport},
            {"vmsplice", {}, kReport},
            {"prlimit64", {}, kReport},
        });
}

TEST(PolicyTest, TheHighHalfOfAnArgumentCounts) {
  constexpr uint64_t kHigh = uint64_t{1} << 32;
  Check(Profile::Ring({4}).WithHeap().WithWriteTo(2),
        {
            {"fcntl", {4, kHigh | A(F_GETFL)}, kReport},
            {"futex", {0x1000, kHigh | A(FUTEX_WAKE)}, kReport},
            {"sendto", {4, 0x1000, 1, kHigh | A(kDoorbellFlags), 0}, kReport},
            {"sendto", {4, 0x1000, 1, A(kDoorbellFlags), kHigh}, kReport},
            {"write", {kHigh | 2, 0x1000, 8}, kReport},
            {"mprotect", {0x1000, 4096, kHigh | PROT_READ}, kReport},
            {"mmap", {0, 4096, kHigh, MAP_PRIVATE | MAP_ANONYMOUS}, kReport},
        });
}

// Attack S12. Descriptor 9 is open and not the channel's.
TEST(PolicyTest, EachCallThatTakesADescriptorNamesIt) {
  const std::vector<Case> elsewhere = {
      {"sendto", {9, 0x1000, 1, A(kDoorbellFlags), 0, 0}, kReport},
      {"recvfrom", {9, 0x1000, 1, A(MSG_DONTWAIT), 0, 0}, kReport},
      {"shutdown", {9, 2}, kReport},
      {"fstat", {9, 0x1000}, kReport},
      {"fcntl", {9, A(F_GETFL)}, kReport},
      {"fcntl", {9, A(F_GETFD)}, kReport},
      {"fcntl", {9, A(F_GET_SEALS)}, kReport},
      {"read", {9, 0x1000, 1}, kReport},
      {"write", {9, 0x1000, 8}, kReport},
      {"writev", {9, 0x1000, 1}, kReport},
      {"preadv2", {9, 0x1000, 1, ~uint64_t{0}, ~uint64_t{0}, RWF_NOWAIT}, kReport},
      {"epoll_wait", {9, 0x1000, 1}, kReport},
      {"epoll_pwait", {9, 0x1000, 1}, kReport},
      {"epoll_pwait2", {9, 0x1000, 1}, kReport},
      {"sendmsg", {9, 0x1000, A(kDoorbellFlags)}, kReport},
  };
  Check(Profile::Ring({4}), elsewhere);
  Check(Profile::Ring({}), elsewhere);
  Profile all = Profile::Ring({4, 5}).WithEventfd(5).WithEpoll(6).WithWriteTo(7).WithReadFrom(8);
  all = all.WithHeap().WithThreads().WithSanitizer().WithAbortOf(9).WithoutDump().WithSendmsgOf(10);
  for (const int stream : {0, 1, 2}) all = all.WithStream(stream, Profile::Stream::kNull);
  Check(all, elsewhere);
  // A number that is named, with a higher half, is another argument.
  constexpr uint64_t kHigh = uint64_t{1} << 32;
  std::vector<Case> high = elsewhere;
  for (Case& one : high) one.arguments[0] = kHigh | 4;
  Check(all, high);
  Check(Profile::Ring({4}).WithEpoll(6),
        {{"epoll_pwait2", {6, 0x1000, 1}, kAllow}, {"epoll_ctl", {6, 1, 4, 0x1000}, kReport}});
}

// What a filter cannot read is bounded: entries of one wait, each a place in a wait queue.
TEST(PolicyTest, PollIsBoundedByItsLength) {
  const uint64_t max = Profile::kMaxPolled;
  Check(Profile::Ring({4}), {{"poll", {0x1000, max}, kAllow},
                             {"ppoll", {0x1000, max}, kAllow},
                             {"poll", {0x1000, max + 1}, kReport},
                             {"ppoll", {0x1000, max + 1}, kReport},
                             {"ppoll", {0x1000, uint64_t{1} << 32}, kReport}});
}

TEST(PolicyTest, StandardStreamsAreQuietUnlessNamed) {
  constexpr Policy::Verdict kBadFd = {Answer::kErrno, EBADF};
  constexpr Policy::Verdict kNoTerminal = {Answer::kErrno, ENOTTY};
  using Stream = Profile::Stream;
  Check(Profile::Ring({4}).WithStream(2, Stream::kNull), {{"write", {2, 0x1000, 100}, kAllow},
                                                          {"writev", {2, 0x1000, 2}, kAllow},
                                                          {"read", {2, 0x1000, 2}, kAllow},
                                                          {"fstat", {2, 0x1000}, kAllow},
                                                          {"newfstatat", {2, 0x1000}, kBadFd},
                                                          {"newfstatat", {3, 0x1000}, kReport},
                                                          {"ioctl", {2, 0x5401}, kNoTerminal},
                                                          {"ioctl", {2, 0x5412}, kReport},
                                                          {"write", {1, 0x1000, 100}, kReport}});
  Check(Profile::Ring({4}).WithStream(2, Stream::kNone), {{"write", {2, 0x1000, 100}, kBadFd},
                                                          {"writev", {2, 0x1000, 2}, kBadFd},
                                                          {"fstat", {2, 0x1000}, kReport}});
  Check(Profile::Ring({4}).WithWriteTo(2).WithStream(2, Stream::kNamed),
        {{"write", {2, 0x1000, 100}, kAllow}, {"newfstatat", {2, 0x1000}, kBadFd}});
}

// Each addition that a program makes for a descriptor of its own names it; none of LockDown's does.
TEST(PolicyTest, AnAdditionForADescriptorNamesIt) {
  const Profile ring = Profile::Ring({4, 5});
  EXPECT_TRUE(ring.Names(4));
  EXPECT_TRUE(ring.Names(5));
  EXPECT_FALSE(ring.Names(0));
  for (const int fd : {0, 1, 2, 9}) {
    EXPECT_TRUE(ring.WithEventfd(fd).Names(fd)) << fd;
    EXPECT_TRUE(ring.WithEpoll(fd).Names(fd)) << fd;
    EXPECT_TRUE(ring.WithWriteTo(fd).Names(fd)) << fd;
    EXPECT_TRUE(ring.WithReadFrom(fd).Names(fd)) << fd;
    const Profile all = ring.WithEventfd(fd).WithEpoll(10).WithWriteTo(11).WithReadFrom(12);
    for (const int named : {4, 5, fd, 10, 11, 12}) EXPECT_TRUE(all.Names(named)) << named;
    EXPECT_FALSE(ring.WithStream(fd, Profile::Stream::kNull).Names(fd)) << fd;
    EXPECT_FALSE(ring.WithStream(fd, Profile::Stream::kNone).Names(fd)) << fd;
    EXPECT_FALSE(ring.WithSendmsgOf(fd).Names(fd)) << fd;
    EXPECT_FALSE(ring.WithAbortOf(fd).Names(fd)) << fd;
    EXPECT_FALSE(ring.WithHeap().WithThreads().WithFilesAbsent().WithoutDump().Names(fd)) << fd;
  }
  EXPECT_TRUE(ring.WithSanitizer().Names(2));
  EXPECT_FALSE(ring.WithSanitizer().Names(1));
}

// glibc's last words before an abort, where there is no heap.
TEST(PolicyTest, AnAbortInAnyProfileIsOne) {
  Check(Profile::Ring({4}).WithAbortOf(7),
        {{"mmap",
          {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS},
          {Answer::kErrno, ENOMEM}},
         {"mmap", {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS}, kReport}});
  Check(Profile::Ring({4}).WithHeap().WithAbortOf(7),
        {{"mmap", {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS}, kAllow}});
}

#if defined(__x86_64__)
TEST(PolicyTest, CallsThatNewKernelsMakeWithoutAFilterAreNamed) {
  constexpr Policy::Verdict kNotAsked = {Answer::kNotAsked};
  Check(Profile::Ring({4}), {{"uretprobe", {}, kNotAsked}, {"uprobe", {}, kNotAsked}});
  auto policy = Policy::Compile(Profile::Ring({4}), {});
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_TRUE(policy->AskRaw(AUDIT_ARCH_X86_64, 335) == kNotAsked);
  EXPECT_TRUE(policy->AskRaw(AUDIT_ARCH_X86_64, 336) == kNotAsked);
  EXPECT_TRUE(policy->AskRaw(AUDIT_ARCH_I386, 335) == kKill);
  EXPECT_TRUE(policy->AskRaw(AUDIT_ARCH_X86_64, 337) == kKill);
}
#endif

// Attack S1 and the writing commands of S2.
TEST(PolicyTest, PromiseP8NoSideDoorsThroughFcntlAndIoctl) {
  std::vector<Case> cases;
  for (const int command :
       {F_DUPFD, F_DUPFD_CLOEXEC, F_SETFD, F_SETFL, F_SETLK, F_SETLKW, F_OFD_SETLKW, F_SETOWN,
        F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY, F_SETPIPE_SZ, F_ADD_SEALS}) {
    cases.push_back({"fcntl", {4, A(command)}, kReport});
  }
  for (const uint64_t request :
       {0x5421u /* FIONBIO */, 0x5452u /* FIOASYNC */, 0x8901u /* FIOSETOWN */,
        0x8902u /* SIOCSPGRP */, 0x5412u /* TIOCSTI */}) {
    cases.push_back({"ioctl", {4, request}, kReport});
  }
  Check(Profile::Ring({4}).WithEventfd(5).WithHeap().WithThreads().WithSanitizer(), cases);
}

TEST(PolicyTest, DoorbellsCannotBlockNameAnAddressOrWakeInOtherWays) {
  Check(Profile::Ring({4}).WithThreads().WithHeap(),
        {
            {"sendto", {4, 0x1000, 1, 0, 0, 0}, kReport},
            {"sendto", {4, 0x1000, 1, A(MSG_NOSIGNAL), 0, 0}, kReport},
            {"sendto", {4, 0x1000, 1, A(MSG_DONTWAIT), 0, 0}, kReport},
            {"sendto", {4, 0x1000, 1, A(kDoorbellFlags | MSG_OOB), 0, 0}, kReport},
            {"sendto", {4, 0x1000, 1, A(kDoorbellFlags), 0x2000, 16}, kReport},
            {"recvfrom", {4, 0x1000, 1, 0, 0, 0}, kReport},
            {"futex", {0x1000, A(FUTEX_FD)}, kReport},
            {"futex", {0x1000, A(FUTEX_REQUEUE)}, kReport},
            {"futex", {0x1000, A(FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG)}, kReport},
            {"futex", {0x1000, A(FUTEX_WAKE_OP)}, kReport},
            {"futex", {0x1000, A(FUTEX_LOCK_PI)}, kReport},
            {"futex", {0x1000, A(FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG)}, kReport},
            {"futex", {0x1000, A(FUTEX_TRYLOCK_PI)}, kReport},
            {"futex", {0x1000, A(FUTEX_WAIT_REQUEUE_PI)}, kReport},
            {"futex", {0x1000, A(FUTEX_CMP_REQUEUE_PI)}, kReport},
            {"futex", {0x1000, A(FUTEX_LOCK_PI2)}, kReport},
            {"futex_waitv", {}, kReport},
            {"membarrier", {A(MEMBARRIER_CMD_GLOBAL)}, kReport},
            {"membarrier", {A(MEMBARRIER_CMD_GLOBAL_EXPEDITED), 1}, kReport},
            {"membarrier", {A(MEMBARRIER_CMD_GLOBAL_EXPEDITED)}, {Answer::kErrno, EPERM}},
            // The CPU clock of process 1.
            {"clock_gettime", {static_cast<uint64_t>(int64_t{~1} * 8 + 2)}, kReport},
            {"clock_gettime", {0xfffffff2}, kReport},
            {"clock_gettime", {A(CLOCK_TAI)}, kAllow},
            {"clock_gettime", {A(CLOCK_TAI) + 1}, kReport},
            {"clock_getres", {A(CLOCK_TAI) + 1}, kReport},
            {"clock_nanosleep", {A(CLOCK_TAI) + 1, 0}, kReport},
        });
}

TEST(PolicyTest, EventfdIsThatDescriptorAndThatUseOnly) {
  Check(Profile::Ring({4}).WithEventfd(7),
        {
            {"write", {7, 0x1000, 8}, kAllow},
            {"write", {7, 0x1000, 9}, kReport},
            {"write", {8, 0x1000, 8}, kReport},
            {"preadv2", {7, 0x1000, 1, ~uint64_t{0}, ~uint64_t{0}, RWF_NOWAIT}, kAllow},
            {"preadv2", {7, 0x1000, 1, ~uint64_t{0}, ~uint64_t{0}, 0}, kReport},
            {"preadv2", {8, 0x1000, 1, ~uint64_t{0}, ~uint64_t{0}, RWF_NOWAIT}, kReport},
            {"read", {7, 0x1000, 8}, kReport},
        });
}

TEST(PolicyTest, WritingAndReadingNameTheirDescriptor) {
  Check(Profile::Ring({4}).WithWriteTo(2).WithReadFrom(9), {
                                                               {"write", {2, 0x1000, 100}, kAllow},
                                                               {"writev", {2, 0x1000, 1}, kAllow},
                                                               {"write", {1, 0x1000, 100}, kReport},
                                                               {"write", {9, 0x1000, 100}, kReport},
                                                               {"read", {9, 0x1000, 100}, kAllow},
                                                               {"read", {2, 0x1000, 100}, kReport},
                                                               {"pwrite64", {2}, kReport},
                                                           });
}

TEST(PolicyTest, HeapNeverMakesCodeOrSharedOrHugeMemory) {
  constexpr uint64_t kAnonymous = MAP_PRIVATE | MAP_ANONYMOUS;
  constexpr uint64_t kReadWrite = PROT_READ | PROT_WRITE;
  Check(Profile::Ring({4}).WithHeap(),
        {
            {"brk", {0}, kAllow},
            {"mmap", {0, 4096, kReadWrite, kAnonymous, ~uint64_t{0}, 0}, kAllow},
            {"mmap", {0, 4096, kReadWrite, kAnonymous | MAP_NORESERVE, ~uint64_t{0}, 0}, kAllow},
            {"mmap", {0, 4096, PROT_NONE, kAnonymous | MAP_FIXED, ~uint64_t{0}, 0}, kAllow},
            {"mmap", {0, 4096, kReadWrite | PROT_EXEC, kAnonymous}, kReport},
            {"mmap", {0, 4096, PROT_EXEC, kAnonymous}, kReport},
            {"mmap", {0, 4096, kReadWrite, MAP_SHARED | MAP_ANONYMOUS}, kReport},
            {"mmap", {0, 4096, kReadWrite, MAP_SHARED_VALIDATE | MAP_ANONYMOUS}, kReport},
            {"mmap", {0, 4096, PROT_READ, MAP_PRIVATE, 4, 0}, kReport},
            {"mmap", {0, 4096, PROT_READ, MAP_SHARED, 4, 0}, kReport},
            {"mmap", {0, 4096, kReadWrite, kAnonymous | MAP_HUGETLB}, {Answer::kErrno, ENOMEM}},
            {"mmap", {0, 4096, kReadWrite | PROT_EXEC, kAnonymous | MAP_HUGETLB}, kReport},
            {"mmap", {0, 4096, kReadWrite, kAnonymous | MAP_LOCKED}, kReport},
            {"mprotect", {0x1000, 4096, kReadWrite}, kAllow},
            {"mprotect", {0x1000, 4096, PROT_READ | PROT_EXEC}, kReport},
            {"pkey_mprotect", {0x1000, 4096, PROT_READ}, kReport},
            {"mremap", {}, {Answer::kErrno, ENOMEM}},
            {"mmap", {0, 4096, kReadWrite, kAnonymous | MAP_GROWSDOWN}, kReport},
            {"madvise", {0x1000, 4096, MADV_HUGEPAGE}, {Answer::kErrno, EINVAL}},
            {"madvise", {0x1000, 4096, 25 /* MADV_COLLAPSE */}, {Answer::kErrno, EINVAL}},
            {"madvise", {0x1000, 4096, MADV_NOHUGEPAGE}, kAllow},
            {"madvise", {0x1000, 4096, MADV_DONTNEED}, kAllow},
            {"madvise", {0x1000, 4096, MADV_FREE}, kAllow},
            {"madvise", {0x1000, 4096, MADV_REMOVE}, kReport},
            {"madvise", {0x1000, 4096, MADV_MERGEABLE}, kReport},
            {"madvise", {0x1000, 4096, MADV_DOFORK}, kReport},
            {"madvise", {0x1000, 4096, 100 /* MADV_HWPOISON */}, kReport},
            {"mlock", {}, kReport},
            {"shmget", {}, kReport},
        });
}

TEST(PolicyTest, ThreadsMadeBeforehandAndNoNewOnes) {
  Check(Profile::Ring({4}).WithThreads(),
        {
            {"madvise", {0x1000, 4096, MADV_DONTNEED}, kAllow},
            {"sched_getaffinity", {0, 128}, kAllow},
            {"sched_getaffinity", {1, 128}, kReport},
            {"sched_setaffinity", {}, kReport},
            {"sched_setscheduler", {}, kReport},
            {"exit", {}, kAllow},
            {"clone", {CLONE_VM | CLONE_THREAD | CLONE_SIGHAND}, kReport},
            {"clone3", {}, {Answer::kErrno, ENOSYS}},
        });
}

TEST(PolicyTest, AbortReachesOnlyItself) {
  Check(Profile::Ring({4}).WithAbortOf(4711), {
                                                  {"tgkill", {4711, 4712, SIGABRT}, kAllow},
                                                  {"tgkill", {4711, 4712, SIGKILL}, kReport},
                                                  {"tgkill", {4710, 4712, SIGABRT}, kReport},
                                              });
}

TEST(PolicyTest, FilesCanBeAnsweredAsAbsent) {
  constexpr Policy::Verdict kNoEntry = {Answer::kErrno, ENOENT};
  Check(Profile::Ring({4}).WithFilesAbsent(), {
                                                  {"open", {}, kNoEntry},
                                                  {"openat", {}, kNoEntry},
                                                  {"newfstatat", {}, kNoEntry},
                                                  {"readlink", {}, kNoEntry},
                                                  {"ioctl", {2, 0x5401}, {Answer::kErrno, ENOTTY}},
                                                  {"ioctl", {2, 0x5421 /* FIONBIO */}, kReport},
                                                  {"unlink", {}, kReport},
                                                  {"rename", {}, kReport},
                                                  {"socket", {}, kReport},
                                              });
}

TEST(PolicyTest, TheFirstOfTwoContradictingRulesHolds) {
  Check(Profile::Ring({4}).WithFilesAbsent().WithSanitizer(),
        {{"openat", {}, {Answer::kErrno, ENOENT}}});
  Check(Profile::Ring({4}).WithSanitizer().WithFilesAbsent(),
        {{"openat", {}, {Answer::kErrno, EPERM}}});
}

TEST(PolicyTest, AnEarlierRuleThatSettlesAllArgumentsHolds) {
  const Rule kill = {.call = "read", .filters = {}, .answer = Rule::Answer::kKill};
  const ArgumentFilter third = {.index = 0, .value = 3};
  const Rule allow_third = {.call = "read", .filters = {third}};
  const Rule fail_third = {
      .call = "read", .filters = {third}, .answer = Rule::Answer::kErrno, .error = EPERM};
  // Also where the first one's answer is the default, for which there is no rule in the filter.
  Check(ProfileForTests::Of({kill, allow_third}), {{"read", {3}, kKill}});
  Check(ProfileForTests::Of({kill, allow_third}), {{"read", {3}, kKill}}, Answer::kKill);
  Check(ProfileForTests::Of({fail_third, allow_third}),
        {{"read", {3}, {Answer::kErrno, EPERM}}, {"read", {4}, kReport}});
}

// Of two limits of one argument, libseccomp 2.5.4 lost what only the wider one allows, where the
// upper halves differ (found by sandbox_policy_fuzzer).
TEST(PolicyTest, OfTwoRulesThatSayTheSameTheWiderOneHolds) {
  const auto at_most = [](uint64_t value) {
    return ArgumentFilter{.index = 3, .op = ArgumentFilter::Op::kAtMost, .value = value};
  };
  const Rule wide = {.call = "futex", .filters = {at_most(0xff0000'00ff)}};
  const Rule narrow = {.call = "futex", .filters = {at_most(0)}};
  const Rule elsewhere = {.call = "read", .filters = {at_most(0)}};
  const std::vector<Case> questions = {
      {"futex", {0, 0, 0, 0}, kAllow},
      {"futex", {0, 0, 0, 0x40000}, kAllow},
      {"futex", {0, 0, 0, 0xff0000'00ff}, kAllow},
      {"futex", {0, 0, 0, 0xff0000'0100}, kReport},
      {"read", {0, 0, 0, 1}, kReport},
  };
  Check(ProfileForTests::Of({wide, elsewhere, narrow}), questions);
  Check(ProfileForTests::Of({narrow, elsewhere, wide}), questions);

  // A number and a limit, a mask and a number, a limit and a mask, one filter more and one less.
  const ArgumentFilter five = {.index = 0, .value = 5};
  const ArgumentFilter odd = {.index = 0, .mask = 1, .value = 1};
  const ArgumentFilter small = {.index = 0, .mask = ~uint64_t{7}, .value = 0};
  const ArgumentFilter at_most_six = {.index = 0, .op = ArgumentFilter::Op::kAtMost, .value = 6};
  const ArgumentFilter other = {.index = 1, .value = 9};
  const auto both = [](std::vector<ArgumentFilter> first, std::vector<ArgumentFilter> later) {
    return ProfileForTests::Of({{.call = "read", .filters = std::move(first)},
                                {.call = "read", .filters = std::move(later)}});
  };
  for (const auto& profile : {both({five}, {at_most_six}), both({at_most_six}, {five})}) {
    Check(profile, {{"read", {5}, kAllow}, {"read", {6}, kAllow}, {"read", {7}, kReport}});
  }
  for (const auto& profile : {both({five}, {odd}), both({odd}, {five})}) {
    Check(profile, {{"read", {5}, kAllow}, {"read", {7}, kAllow}, {"read", {6}, kReport}});
  }
  for (const auto& profile : {both({at_most_six}, {small}), both({small}, {at_most_six})}) {
    Check(profile, {{"read", {6}, kAllow}, {"read", {7}, kAllow}, {"read", {8}, kReport}});
  }
  for (const auto& profile : {both({five, other}, {other}), both({other}, {five, other})}) {
    Check(profile, {{"read", {5, 9}, kAllow}, {"read", {4, 9}, kAllow}, {"read", {5}, kReport}});
  }
}

// Of `profile`, to compare.
std::string ProgramOf(const Profile& profile) {
  const auto policy = Policy::Compile(profile, {.unlisted = Answer::kReport});
  if (!policy.ok()) return policy.status().ToString();
  std::string bytes(policy->program().size() * sizeof(sock_filter), '\0');
  std::memcpy(bytes.data(), policy->program().data(), bytes.size());
  return bytes;
}

bool Meets(const ArgumentFilter& filter, uint64_t value) {
  if (filter.op == ArgumentFilter::Op::kAtMost) return value <= filter.value;
  return (value & filter.mask) == filter.value;
}

// Every value that `filter` lets through, `wider` does.
bool IsWider(const ArgumentFilter& wider, const ArgumentFilter& filter) {
  std::vector<uint64_t> values = {uint64_t{1} << 32, uint64_t{1} << 63, ~uint64_t{0}};
  for (uint64_t value = 0; value < 40; ++value) values.push_back(value);
  return std::all_of(values.begin(), values.end(),
                     [&](uint64_t value) { return Meets(wider, value) || !Meets(filter, value); });
}

// Of two rules with one answer the narrower one is not in the filter: all pairs of numbers, limits
// and masks around a power of two.
TEST(PolicyTest, WhatAWiderRuleSaysIsNotSaidAgain) {
  std::vector<ArgumentFilter> filters;
  for (const uint64_t value : std::vector<uint64_t>{0, 1, 5, 7, 8, 9, 16}) {
    filters.push_back({.index = 0, .value = value});
    filters.push_back({.index = 0, .op = ArgumentFilter::Op::kAtMost, .value = value});
  }
  for (const uint64_t mask : {uint64_t{1}, uint64_t{3}, uint64_t{8}, ~uint64_t{1}, ~uint64_t{7}}) {
    filters.push_back({.index = 0, .mask = mask, .value = 0});
    filters.push_back({.index = 0, .mask = mask, .value = mask & 9});
  }
  const auto program = [](const std::vector<ArgumentFilter>& of_rules) {
    std::vector<Rule> rules;
    for (const ArgumentFilter& filter : of_rules) {
      rules.push_back({.call = "read", .filters = {filter}});
    }
    return ProgramOf(ProfileForTests::Of(std::move(rules)));
  };
  for (size_t i = 0; i < filters.size(); ++i) {
    for (size_t j = 0; j < filters.size(); ++j) {
      const std::string both = program({filters[i], filters[j]});
      if (IsWider(filters[i], filters[j])) {
        EXPECT_EQ(both, program({filters[i]})) << i << " and " << j;
      } else if (IsWider(filters[j], filters[i])) {
        EXPECT_EQ(both, program({filters[j]})) << i << " and " << j;
      } else {
        EXPECT_NE(both, program({filters[i]})) << i << " and " << j;
        EXPECT_NE(both, program({filters[j]})) << i << " and " << j;
      }
    }
  }
}

TEST(PolicyTest, TwoAnswersForTheSameArgumentsAreRefused) {
  using Filters = std::vector<ArgumentFilter>;
  const auto compiles = [](Filters first, Filters later) {
    return Policy::Compile(ProfileForTests::Of({{.call = "read",
                                                 .filters = std::move(first),
                                                 .answer = Rule::Answer::kErrno,
                                                 .error = EPERM},
                                                {.call = "read", .filters = std::move(later)}}),
                           {})
        .status()
        .code();
  };
  const ArgumentFilter two = {.index = 0, .value = 2};
  const ArgumentFilter three = {.index = 0, .value = 3};
  const ArgumentFilter four = {.index = 0, .value = 4};
  const ArgumentFilter at_most_three = {.index = 0, .op = ArgumentFilter::Op::kAtMost, .value = 3};
  const ArgumentFilter odd = {.index = 0, .mask = 1, .value = 1};
  const ArgumentFilter other = {.index = 1, .value = 4};
  EXPECT_EQ(compiles({three}, {}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(compiles({three}, {other}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(compiles({three}, {at_most_three}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(compiles({two}, {at_most_three}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(compiles({at_most_three}, {two}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(compiles({odd}, {three}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(compiles({three}, {four}), absl::StatusCode::kOk);
  EXPECT_EQ(compiles({at_most_three}, {four}), absl::StatusCode::kOk);
  EXPECT_EQ(compiles({odd}, {four}), absl::StatusCode::kOk);
  EXPECT_EQ(compiles({three, other}, {four, other}), absl::StatusCode::kOk);
}

// Named profiles may be put together in any order.
TEST(PolicyTest, AHeapAndAnAbortMayComeInEitherOrder) {
  for (const Profile& profile : {Profile::Ring({4}).WithAbortOf(7).WithHeap(),
                                 Profile::Ring({4}).WithHeap().WithAbortOf(7)}) {
    Check(profile,
          {{"mmap", {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS}, kAllow},
           {"tgkill", {7, 7, SIGABRT}, kAllow}});
  }
}

// As the kernel takes it: the call is not made, and returns 0.
TEST(PolicyTest, AnErrorThatIsNotGivenIsNone) {
  Check(ProfileForTests::Of({{.call = "getpid", .filters = {}, .answer = Rule::Answer::kErrno}}),
        {{"getpid", {}, {Answer::kErrno, 0}}});
}

TEST(PolicyTest, SanitizerReportsAreNotCutShort) {
  Check(Profile::Ring({4}).WithSanitizer(), {
                                                {"openat", {}, {Answer::kErrno, EPERM}},
                                                {"clone", {}, {Answer::kErrno, EPERM}},
                                                {"sigaltstack", {}, kAllow},
                                                {"write", {2, 0x1000, 3}, kAllow},
                                                {"execve", {}, kReport},
                                                {"socket", {}, kReport},
                                            });
}

// Attack S2: also where everything is combined.
TEST(PolicyTest, PromiseP8NoSideDoorsTheDangerousListKills) {
  const Profile all =
      Profile::Ring({4}).WithEventfd(5).WithHeap().WithThreads().WithSanitizer().WithWriteTo(2);
  auto policy = Policy::Compile(all, {.unlisted = Answer::kReport});
  ASSERT_TRUE(policy.ok()) << policy.status();
  // A list of its own, so that a name that is taken off the other one is missed here.
  const std::vector<std::string> kills = {"acct",
                                          "add_key",
                                          "adjtimex",
                                          "bpf",
                                          "chroot",
                                          "clock_adjtime",
                                          "clock_settime",
                                          "delete_module",
                                          "fanotify_init",
                                          "finit_module",
                                          "fsconfig",
                                          "fsmount",
                                          "fsopen",
                                          "fspick",
                                          "init_module",
                                          "io_setup",
                                          "io_submit",
                                          "io_uring_enter",
                                          "io_uring_register",
                                          "io_uring_setup",
                                          "ioperm",
                                          "iopl",
                                          "kcmp",
                                          "kexec_file_load",
                                          "kexec_load",
                                          "keyctl",
                                          "memfd_secret",
                                          "migrate_pages",
                                          "modify_ldt",
                                          "mount",
                                          "mount_setattr",
                                          "move_mount",
                                          "move_pages",
                                          "name_to_handle_at",
                                          "open_by_handle_at",
                                          "open_tree",
                                          "perf_event_open",
                                          "personality",
                                          "pidfd_getfd",
                                          "pidfd_open",
                                          "pidfd_send_signal",
                                          "pivot_root",
                                          "process_madvise",
                                          "process_mrelease",
                                          "process_vm_readv",
                                          "process_vm_writev",
                                          "ptrace",
                                          "quotactl",
                                          "reboot",
                                          "remap_file_pages",
                                          "request_key",
                                          "setns",
                                          "settimeofday",
                                          "swapoff",
                                          "swapon",
                                          "umount2",
                                          "unshare",
                                          "userfaultfd"};
  for (const std::string& call : kills) EXPECT_TRUE(policy->Ask(call) == kKill) << call;
  EXPECT_EQ(CallsThatKillAtOnce().size(), kills.size());
  for (const char* call : CallsThatKillAtOnce()) {
    EXPECT_NE(std::find(kills.begin(), kills.end(), call), kills.end()) << call;
  }
}

// No profile allows any call outside of the manual in profile.h: whoever adds one must add it here.
TEST(PolicyTest, NothingElseIsAllowedWhateverTheArguments) {
  const std::vector<std::string> known = {"brk",
                                          "clock_getres",
                                          "clock_gettime",
                                          "clock_nanosleep",
                                          "close",
                                          "epoll_ctl",
                                          "epoll_pwait",
                                          "epoll_pwait2",
                                          "epoll_wait",
                                          "exit",
                                          "exit_group",
                                          "fcntl",
                                          "fstat",
                                          "futex",
                                          "getpid",
                                          "getrandom",
                                          "getrusage",
                                          "gettid",
                                          "gettimeofday",
                                          "madvise",
                                          "membarrier",
                                          "mmap",
                                          "mprotect",
                                          "munmap",
                                          "nanosleep",
                                          "poll",
                                          "ppoll",
                                          "prctl",
                                          "preadv2",
                                          "read",
                                          "recvfrom",
                                          "restart_syscall",
                                          "rseq",
                                          "rt_sigaction",
                                          "set_robust_list",
                                          "rt_sigprocmask",
                                          "rt_sigreturn",
                                          "sched_getaffinity",
                                          "sched_yield",
                                          "sendto",
                                          "shutdown",
                                          "sigaltstack",
                                          "tgkill",
                                          "time",
                                          "timerfd_settime",
                                          "write",
                                          "writev"};
  const Profile all = Profile::Ring({4})
                          .WithEventfd(5)
                          .WithEpoll(6)
                          .WithSanitizer()
                          .WithWriteTo(2)
                          .WithReadFrom(3)
                          .WithAbortOf(1)
                          .WithStream(0, Profile::Stream::kNull);
  for (const Rule& rule : all.rules()) {
    if (rule.answer != Rule::Answer::kAllow) continue;
    EXPECT_NE(std::find(known.begin(), known.end(), rule.call), known.end()) << rule.call;
  }
}

#if defined(__x86_64__)
TEST(PolicyTest, OtherArchitecturesAndX32Kill) {
  auto policy = Policy::Compile(Profile::Ring({4}).WithHeap(), {.unlisted = Answer::kReport});
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_TRUE(policy->AskRaw(AUDIT_ARCH_X86_64, SYS_getpid) == kAllow);
  // i386's numbers mean other calls: 39 is mkdir there.
  for (uint32_t number = 0; number < 512; ++number) {
    EXPECT_TRUE(policy->AskRaw(AUDIT_ARCH_I386, number) == kKill) << number;
    EXPECT_TRUE(policy->AskRaw(AUDIT_ARCH_X86_64, 0x40000000u | number) == kKill) << number;
  }
  EXPECT_TRUE(policy->AskRaw(AUDIT_ARCH_AARCH64, SYS_getpid) == kKill);
  // A number that no kernel has, and -1, which ptrace uses for "skip": never allowed.
  EXPECT_TRUE(policy->AskRaw(AUDIT_ARCH_X86_64, 5000) == kReport);
  EXPECT_FALSE(policy->AskRaw(AUDIT_ARCH_X86_64, 0xffffffffu) == kAllow);
}
#endif

TEST(PolicyTest, ForOthersEverythingUnlistedKills) {
  auto policy = Policy::Compile(Profile::Ring({4}), {.unlisted = Answer::kKill});
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_TRUE(policy->Ask("openat") == kKill);
  EXPECT_TRUE(policy->Ask("ptrace") == kKill);
  EXPECT_TRUE(policy->Ask("ppoll") == kAllow);
  EXPECT_TRUE(policy->Ask("no such call") == kKill);
}

TEST(PolicyTest, AnAnswerThatAllowsCannotBeTheDefault) {
  EXPECT_FALSE(Policy::Compile(Profile::Ring({4}), {.unlisted = Answer::kAllow}).ok());
}

TEST(PolicyTest, ExportsTheProgramAsRawBytes) {
  auto policy = Policy::Compile(Profile::Ring({4}), {.unlisted = Answer::kKill});
  ASSERT_TRUE(policy.ok()) << policy.status();
  UniqueFd file(::memfd_create("policy", MFD_CLOEXEC));
  ASSERT_TRUE(policy->WriteTo(file.get()).ok());
  std::vector<sock_filter> back(policy->program().size());
  const size_t size_bytes = back.size() * sizeof(sock_filter);
  ASSERT_EQ(::lseek(file.get(), 0, SEEK_END), static_cast<off_t>(size_bytes));
  ASSERT_EQ(::pread(file.get(), back.data(), size_bytes, 0), static_cast<ssize_t>(size_bytes));
  EXPECT_EQ(std::memcmp(back.data(), policy->program().data(), size_bytes), 0);
  EXPECT_FALSE(policy->WriteTo(-1).ok());
}

TEST(BpfTest, AMalformedProgramKills) {
  const seccomp_data call = {};
  const sock_filter runs_off[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)};
  const sock_filter jumps_out[] = {BPF_STMT(BPF_JMP | BPF_JA, 0xffffffff),
                                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_filter unaligned[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2),
                                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_filter outside[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, sizeof(seccomp_data)),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_filter unknown[] = {BPF_STMT(BPF_LDX | BPF_IMM, 0),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  EXPECT_EQ(internal::RunFilter({}, call), SECCOMP_RET_KILL_PROCESS);
  EXPECT_EQ(internal::RunFilter(runs_off, call), SECCOMP_RET_KILL_PROCESS);
  EXPECT_EQ(internal::RunFilter(jumps_out, call), SECCOMP_RET_KILL_PROCESS);
  EXPECT_EQ(internal::RunFilter(unaligned, call), SECCOMP_RET_KILL_PROCESS);
  EXPECT_EQ(internal::RunFilter(outside, call), SECCOMP_RET_KILL_PROCESS);
  EXPECT_EQ(internal::RunFilter(unknown, call), SECCOMP_RET_KILL_PROCESS);
}

}  // namespace
}  // namespace parley

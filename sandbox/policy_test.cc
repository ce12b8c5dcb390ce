#include "parley/sandbox/policy.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
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

void Check(const Profile& profile, const std::vector<Case>& cases,
           Answer unlisted = Answer::kReport) {
  auto policy = Policy::Compile(profile, {.unlisted = unlisted});
  ASSERT_TRUE(policy.ok()) << policy.status();
  for (size_t i = 0; i < cases.size(); ++i) {
    const Policy::Verdict got = policy->Ask(cases[i].call, cases[i].arguments);
    EXPECT_TRUE(got == cases[i].expected) << "case " << i << ", " << cases[i].call << ": answer "
                                          << static_cast<int>(got.answer) << " error " << got.error;
  }
}

constexpr int kDoorbellFlags = MSG_DONTWAIT | MSG_NOSIGNAL;

TEST(PolicyTest, RingAllowsWhatAChannelDoes) {
  Check(Profile::Ring(),
        {
            {"ppoll", {}, kAllow},
            {"epoll_pwait2", {}, kAllow},
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
  Check(Profile::Ring(), {
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
  Check(Profile::Ring().WithHeap().WithWriteTo(2),
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
  Check(Profile::Ring().WithEventfd(5).WithHeap().WithThreads().WithSanitizer(), cases);
}

TEST(PolicyTest, DoorbellsCannotBlockNameAnAddressOrWakeInOtherWays) {
  Check(Profile::Ring().WithThreads().WithHeap(),
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
        });
}

TEST(PolicyTest, EventfdIsThatDescriptorAndThatUseOnly) {
  Check(Profile::Ring().WithEventfd(7),
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
  Check(Profile::Ring().WithWriteTo(2).WithReadFrom(9), {
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
  Check(Profile::Ring().WithHeap(),
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
            {"mmap", {0, 4096, kReadWrite, kAnonymous | MAP_HUGETLB}, kReport},
            {"mmap", {0, 4096, kReadWrite, kAnonymous | MAP_LOCKED}, kReport},
            {"mprotect", {0x1000, 4096, kReadWrite}, kAllow},
            {"mprotect", {0x1000, 4096, PROT_READ | PROT_EXEC}, kReport},
            {"pkey_mprotect", {0x1000, 4096, PROT_READ}, kReport},
            {"mremap", {}, kAllow},
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
  Check(Profile::Ring().WithThreads(),
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
  Check(Profile::Ring().WithAbortOf(4711), {
                                               {"tgkill", {4711, 4712, SIGABRT}, kAllow},
                                               {"tgkill", {4711, 4712, SIGKILL}, kReport},
                                               {"tgkill", {4710, 4712, SIGABRT}, kReport},
                                           });
}

TEST(PolicyTest, FilesCanBeAnsweredAsAbsent) {
  constexpr Policy::Verdict kNoEntry = {Answer::kErrno, ENOENT};
  Check(Profile::Ring().WithFilesAbsent(), {
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
  Check(Profile::Ring().WithFilesAbsent().WithSanitizer(),
        {{"openat", {}, {Answer::kErrno, ENOENT}}});
  Check(Profile::Ring().WithSanitizer().WithFilesAbsent(),
        {{"openat", {}, {Answer::kErrno, EPERM}}});
}

// What libseccomp makes of overlapping rules is not what their order says; see policy.cc.
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

// Of two limits of one argument, libseccomp 2.5.4 loses what only the wider one allows, where the
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
  const ArgumentFilter three = {.index = 0, .value = 3};
  const ArgumentFilter four = {.index = 0, .value = 4};
  const ArgumentFilter at_most_three = {.index = 0, .op = ArgumentFilter::Op::kAtMost, .value = 3};
  const ArgumentFilter odd = {.index = 0, .mask = 1, .value = 1};
  const ArgumentFilter other = {.index = 1, .value = 4};
  EXPECT_EQ(compiles({three}, {}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(compiles({three}, {other}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(compiles({three}, {at_most_three}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(compiles({odd}, {three}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(compiles({three}, {four}), absl::StatusCode::kOk);
  EXPECT_EQ(compiles({at_most_three}, {four}), absl::StatusCode::kOk);
  EXPECT_EQ(compiles({odd}, {four}), absl::StatusCode::kOk);
  EXPECT_EQ(compiles({three, other}, {four, other}), absl::StatusCode::kOk);
}

TEST(PolicyTest, SanitizerReportsAreNotCutShort) {
  Check(Profile::Ring().WithSanitizer(), {
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
      Profile::Ring().WithEventfd(5).WithHeap().WithThreads().WithSanitizer().WithWriteTo(2);
  auto policy = Policy::Compile(all, {});
  ASSERT_TRUE(policy.ok()) << policy.status();
  for (const char* call : CallsThatKillAtOnce()) EXPECT_TRUE(policy->Ask(call) == kKill) << call;
  for (const char* call : {"io_uring_setup", "userfaultfd", "ptrace", "process_vm_readv",
                           "pidfd_getfd", "kcmp", "perf_event_open", "io_setup", "mount"}) {
    EXPECT_TRUE(policy->Ask(call) == kKill) << call;
  }
}

// No profile allows any call outside of the manual in profile.h: whoever adds one must add it here.
TEST(PolicyTest, NothingElseIsAllowedWhateverTheArguments) {
  const std::vector<std::string> known = {"brk",
                                          "clock_getres",
                                          "clock_gettime",
                                          "clock_nanosleep",
                                          "close",
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
                                          "mremap",
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
                                          "write",
                                          "writev"};
  const Profile all =
      Profile::Ring().WithEventfd(5).WithSanitizer().WithWriteTo(2).WithReadFrom(3).WithAbortOf(1);
  for (const Rule& rule : all.rules()) {
    if (rule.answer != Rule::Answer::kAllow) continue;
    EXPECT_NE(std::find(known.begin(), known.end(), rule.call), known.end()) << rule.call;
  }
}

#if defined(__x86_64__)
TEST(PolicyTest, OtherArchitecturesAndX32Kill) {
  auto policy = Policy::Compile(Profile::Ring().WithHeap(), {});
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
  auto policy = Policy::Compile(Profile::Ring(), {.unlisted = Answer::kKill});
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_TRUE(policy->Ask("openat") == kKill);
  EXPECT_TRUE(policy->Ask("ptrace") == kKill);
  EXPECT_TRUE(policy->Ask("ppoll") == kAllow);
  EXPECT_TRUE(policy->Ask("no such call") == kKill);
}

TEST(PolicyTest, AnAnswerThatAllowsCannotBeTheDefault) {
  EXPECT_FALSE(Policy::Compile(Profile::Ring(), {.unlisted = Answer::kAllow}).ok());
}

TEST(PolicyTest, ExportsTheProgramAsRawBytes) {
  auto policy = Policy::Compile(Profile::Ring(), {.unlisted = Answer::kKill});
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

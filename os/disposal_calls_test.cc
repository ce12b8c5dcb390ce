// SPDX-License-Identifier: Apache-2.0

// What the helpers of disposal.h have and wait for, with their start, their maker's calls and its
// time chosen here: without root, and without a file whose release hangs.

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/connected_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/disposal.h"
#include "parley/os/unique_fd.h"
#include "parley/testing/process_facts.h"
#include "parley/testing/sanitizers.h"
#include "parley/testing/slow_files.h"

namespace {

using Main = int (*)(void*);

// kHeld: before it does anything. kHangs: in the release, once ours is closed.
enum class Start { kAtOnce, kHeld, kHangs, kFails };

// What is chosen and seen of the calls below, for this process.
struct Calls {
  Start start = Start::kAtOnce;
  std::function<void()> after_clone;
  int watched = -1;  // the descriptor before whose close here...
  std::function<void()> before_close;
  std::function<void()> at_nap;
  std::function<void()> at_futex_wait;

  pid_t helper = 0;  // the newest
  pid_t will_hang = 0;
  int clones = 0;
  int naps = 0;
  int yields = 0;
  int futex_waits = 0;
  int futex_error = 0;  // of the last
  std::vector<pid_t> waited_for;
};
Calls calls;

// A helper that is held waits here, before it does anything.
struct Held {
  Main run;
  void* argument;
};
[[maybe_unused]] std::array<Held, 64> held;
uint32_t hold = 0;
// Those that hang: stopped, which no process can block.
std::vector<pid_t> hanging;

// It has no thread-local storage of its own, so no function of the C library.
#if defined(__x86_64__)
constexpr bool kCanHold = true;
__attribute__((no_stack_protector)) void RawNap() {
  const timespec nap = {0, 1'000'000};
  long result = SYS_nanosleep;
  asm volatile("syscall" : "+a"(result) : "D"(&nap), "S"(0L) : "rcx", "r11", "memory");
}
#elif defined(__aarch64__)
constexpr bool kCanHold = true;
__attribute__((no_stack_protector)) void RawNap() {
  const timespec nap = {0, 1'000'000};
  register long x8 asm("x8") = SYS_nanosleep;
  register const timespec* x0 asm("x0") = &nap;
  register long x1 asm("x1") = 0;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
}
#else
constexpr bool kCanHold = false;
void RawNap() {}
#endif

[[maybe_unused]] __attribute__((no_stack_protector)) int HeldMain(void* argument) {
  const auto* own = static_cast<const Held*>(argument);
  // PAIRS WITH: the store in Release.
  while (__atomic_load_n(&hold, __ATOMIC_ACQUIRE) != 0) RawNap();
  return own->run(own->argument);
}

void Hold() {
  // PAIRS WITH: the load in HeldMain.
  __atomic_store_n(&hold, 1U, __ATOMIC_RELEASE);
}
void Release() {
  // PAIRS WITH: the load in HeldMain.
  __atomic_store_n(&hold, 0U, __ATOMIC_RELEASE);
  for (const pid_t helper : std::exchange(hanging, {})) ::kill(helper, SIGCONT);
  if (calls.start == Start::kHangs) calls.start = Start::kAtOnce;
}

template <typename Function>
Function Real(const char* name) {
  // SAFETY: dlsym gives functions as void*; the caller's type is that of the C library's header.
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

// Once: what it does may come here again.
[[maybe_unused]] void Do(std::function<void()>* what) {
  if (*what) std::exchange(*what, nullptr)();
}

}  // namespace

#if !PARLEY_HAS_SANITIZER
// All of these before the C library's, for all of this program.
extern "C" {

int clone(Main run, void* stack, int flags, void* argument, ...) noexcept {
  static const auto real = Real<int (*)(Main, void*, int, void*, ...)>("clone");
  if (calls.start == Start::kFails) {
    errno = EAGAIN;
    return -1;
  }
  Held* const own = &held[static_cast<std::size_t>(calls.clones) % held.size()];
  *own = {run, argument};
  ++calls.clones;
  const bool is_held = calls.start == Start::kHeld;
  calls.helper = is_held ? real(HeldMain, stack, flags, own) : real(run, stack, flags, argument);
  if (calls.start == Start::kHangs) calls.will_hang = calls.helper;
  Do(&calls.after_clone);
  return calls.helper;
}

int close(int fd) {
  static const auto real = Real<int (*)(int)>("close");
  if (fd >= 0 && fd == calls.watched) {
    calls.watched = -1;
    Do(&calls.before_close);
  }
  if (calls.will_hang != 0) {  // it is alone, and waits for us
    hanging.push_back(calls.will_hang);
    ::kill(std::exchange(calls.will_hang, 0), SIGSTOP);
  }
  return real(fd);
}

int nanosleep(const timespec* time, timespec* left) {
  static const auto real = Real<int (*)(const timespec*, timespec*)>("nanosleep");
  ++calls.naps;
  Do(&calls.at_nap);
  return real(time, left);
}

int sched_yield() noexcept {
  static const auto real = Real<int (*)()>("sched_yield");
  ++calls.yields;
  return real();
}

pid_t waitpid(pid_t pid, int* status, int options) {
  static const auto real = Real<pid_t (*)(pid_t, int*, int)>("waitpid");
  calls.waited_for.push_back(pid);
  return real(pid, status, options);
}

long syscall(long number, ...) noexcept {  // NOLINT(google-runtime-int): the C library's type
  static const auto real = Real<long (*)(long, ...)>("syscall");  // NOLINT(google-runtime-int)
  std::va_list list;
  va_start(list, number);
  std::array<long, 6> a;                           // NOLINT(google-runtime-int)
  for (auto& each : a) each = va_arg(list, long);  // NOLINT(google-runtime-int)
  va_end(list);
  const bool waits = number == SYS_futex && a[1] == FUTEX_WAIT;
  if (waits) {
    ++calls.futex_waits;
    Do(&calls.at_futex_wait);
  }
  const auto result = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (waits) calls.futex_error = result < 0 ? errno : 0;
  return result;
}

}  // extern "C"
#endif

namespace parley {
namespace {

using testing::DescriptorsOf;
using testing::Eventually;
using testing::StatusOf;
using testing_support::FailSystemCall;
using testing_support::RunInChild;

struct Pair {
  UniqueFd peer;
  UniqueFd ours;
  Pair() {
    int fds[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    peer.Reset(fds[0]);
    ours.Reset(fds[1]);
  }
  // Whether anybody still has the other end. Asked often, its queue is full.
  bool IsOpen() const {
    return ::send(peer.get(), "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 || errno == EAGAIN;
  }
};

UniqueFd AnyFile() { return UniqueFd(::eventfd(0, EFD_CLOEXEC)); }

bool AllHelpersEnd() {
  return Eventually([] { return TendDisposal().helpers == 0; });
}

bool Sleeps(pid_t pid) { return StatusOf(pid, "State").rfind('S', 0) == 0; }
bool HasEnded(pid_t pid) { return StatusOf(pid, "State").rfind('Z', 0) == 0; }

// Each of them in a process of its own, which has had no helper yet.
class DisposalCallsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (PARLEY_HAS_SANITIZER) GTEST_SKIP() << "these calls are the sanitizer's";
    if (!kCanHold) GTEST_SKIP() << "no system calls of our own on this processor";
    calls = {};
  }
};

TEST_F(DisposalCallsTest, AHelperHasItsDescriptorsAndNothingElse) {
  EXPECT_EQ(RunInChild([] {
              const UniqueFd file = AnyFile();
              std::vector<UniqueFd> ours;  // next to those that go, and the lowest
              ASSERT_EQ(::dup2(file.get(), STDIN_FILENO), STDIN_FILENO);
              for (const int number : {40, 42, 50, 52, 59, 61, 700}) {
                ours.emplace_back(::dup3(file.get(), number, O_CLOEXEC));
              }
              const std::vector<std::vector<int>> batches = {{51, 41, 60}, {60}, {41, 43, 51, 60}};
              for (const std::vector<int>& batch : batches) {
                const std::set<int> wanted(batch.begin(), batch.end());
                std::vector<UniqueFd> fds;
                for (const int number : batch) {
                  fds.emplace_back(::dup3(file.get(), number, O_CLOEXEC));
                }
                fds.emplace_back();  // an empty one is left out
                bool seen = false;
                calls.watched = batch[0];
                calls.before_close = [&] {
                  const pid_t helper = calls.helper;
                  EXPECT_TRUE(Eventually([&] { return DescriptorsOf(helper) == wanted; }));
                  EXPECT_EQ(DescriptorsOf(helper), wanted);
                  // It waits for us, with no signal let through but those that nobody can block.
                  EXPECT_TRUE(Eventually([&] { return Sleeps(helper); }));
                  const uint64_t blocked = std::stoull(StatusOf(helper, "SigBlk"), nullptr, 16);
                  for (int number = 1; number < 32; ++number) {
                    const bool can_be = number != SIGKILL && number != SIGSTOP;
                    EXPECT_EQ((blocked >> (number - 1) & 1) != 0, can_be) << number;
                  }
                  seen = true;
                };
                DisposeOf(std::move(fds));
                EXPECT_TRUE(seen);
                for (const int number : batch) EXPECT_LT(::fcntl(number, F_GETFD), 0) << number;
                EXPECT_TRUE(AllHelpersEnd());
              }
              for (const UniqueFd& each : ours) EXPECT_GE(::fcntl(each.get(), F_GETFD), 0);
            }),
            "ok");
}

// What we close after this is closed: so its maker waits until a helper has closed its copies, and
// not for longer.
TEST_F(DisposalCallsTest, ItsMakerWaitsUntilAHelperIsAlone) {
  EXPECT_EQ(RunInChild([] {
              DisposeOf(AnyFile());  // the one whose place the others take
              ASSERT_TRUE(AllHelpersEnd());
              calls.start = Start::kHeld;
              // A machine that is busy may need more than the tenth of a second that is waited.
              EXPECT_TRUE(Eventually([] {
                UniqueFd fd = AnyFile();
                const std::set<int> wanted = {fd.get()};
                std::set<int> seen;
                Hold();
                calls.futex_waits = 0;
                calls.at_futex_wait = [] { Release(); };
                calls.watched = fd.get();
                calls.before_close = [&] {
                  seen = DescriptorsOf(calls.helper);
                  Release();
                };
                DisposeOf(std::move(fd));
                const bool waited = calls.futex_waits == 1 && calls.futex_error != ETIMEDOUT;
                EXPECT_TRUE(AllHelpersEnd());
                return waited && seen == wanted;
              }));
            }),
            "ok");
}

TEST_F(DisposalCallsTest, ItsMakerDoesNotWaitForOneThatIsAlone) {
  EXPECT_EQ(RunInChild([] {
              for (int i = 0; i < 3; ++i) {
                UniqueFd fd = AnyFile();
                const std::set<int> wanted = {fd.get()};
                calls.after_clone = [&] {
                  EXPECT_TRUE(Eventually([&] {
                    return DescriptorsOf(calls.helper) == wanted && Sleeps(calls.helper);
                  }));
                };
                calls.futex_waits = 0;
                DisposeOf(std::move(fd));
                EXPECT_EQ(calls.futex_waits, 0);
                EXPECT_TRUE(AllHelpersEnd());
              }
            }),
            "ok");
}

TEST_F(DisposalCallsTest, AHelperWhoseMakerDiedEnds) {
  EXPECT_EQ(RunInChild([] {
              ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
              int ends[2] = {-1, -1};
              ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
              const pid_t maker = ::fork();
              if (maker == 0) {
                UniqueFd fd = AnyFile();
                calls.watched = fd.get();
                calls.before_close = [&] {
                  const pid_t helper = calls.helper;
                  if (Eventually([&] { return Sleeps(helper); })) {
                    static_cast<void>(!::write(ends[1], &helper, sizeof(helper)));
                  }
                  ::raise(SIGKILL);
                };
                DisposeOf(std::move(fd));
                ::_exit(0);
              }
              ASSERT_EQ(::waitpid(maker, nullptr, 0), maker);
              ::close(ends[1]);
              pid_t helper = -1;
              ASSERT_EQ(::read(ends[0], &helper, sizeof(helper)), ssize_t{sizeof(helper)});
              EXPECT_TRUE(Eventually(
                  [&] { return ::waitpid(helper, nullptr, WNOHANG | __WALL) == helper; }));
            }),
            "ok");
}

// 8 ms once, for all that comes until one of them has ended.
TEST_F(DisposalCallsTest, WhereAllHelpersHangOneCallWaitsEightMilliseconds) {
  EXPECT_EQ(RunInChild([] {
              for (int round = 0; round < 2; ++round) {
                calls.start = Start::kHangs;
                std::vector<std::unique_ptr<Pair>> pairs;
                const auto dispose = [&] {
                  pairs.push_back(std::make_unique<Pair>());
                  DisposeOf(std::move(pairs.back()->ours));
                };
                calls.naps = 0;
                for (int i = 0; i < kMaxDisposalHelpers; ++i) dispose();
                EXPECT_EQ(TendDisposal().helpers, kMaxDisposalHelpers);
                EXPECT_EQ(TendDisposal().parked, 0u);
                EXPECT_EQ(calls.naps, 0);
                if (round == 1) {
                  // One that ends meanwhile is enough.
                  calls.at_nap = [] {
                    Release();
                    const pid_t last = calls.helper;
                    EXPECT_TRUE(Eventually([&] { return HasEnded(last); }));
                    calls.start = Start::kAtOnce;
                  };
                  dispose();
                  EXPECT_EQ(calls.naps, 1);
                  EXPECT_EQ(TendDisposal().parked, 0u);
                } else {
                  dispose();
                  EXPECT_EQ(calls.naps, 8);
                  EXPECT_EQ(TendDisposal().parked, 1u);
                  dispose();
                  pairs.push_back(std::make_unique<Pair>());
                  DisposeOfAndAwait(std::move(pairs.back()->ours));
                  EXPECT_EQ(calls.naps, 8);
                  EXPECT_EQ(TendDisposal().parked, 3u);
                  EXPECT_EQ(TendDisposal().helpers, kMaxDisposalHelpers);
                }
                Release();
                EXPECT_TRUE(AllHelpersEnd());
                EXPECT_EQ(TendDisposal().parked, 0u);
                for (const auto& pair : pairs) EXPECT_FALSE(pair->IsOpen());
              }
            }),
            "ok");
}

TEST_F(DisposalCallsTest, AWaitForOneThatHangsIsEightMilliseconds) {
  EXPECT_EQ(RunInChild([] {
              calls.start = Start::kHangs;
              Pair pair;
              errno = 4711;
              DisposeOfAndAwait(std::move(pair.ours));
              EXPECT_EQ(errno, 4711);
              EXPECT_EQ(calls.naps, 8);
              EXPECT_TRUE(pair.IsOpen());
              EXPECT_EQ(TendDisposal().helpers, 1);
              Release();
              EXPECT_TRUE(AllHelpersEnd());
              EXPECT_FALSE(pair.IsOpen());
            }),
            "ok");
}

// Its helper, which waits for its maker, is woken and goes on at once.
TEST_F(DisposalCallsTest, AWaitEndsWithTheRelease) {
  EXPECT_EQ(RunInChild([] {
              // A machine that is busy may need more than 8 ms.
              EXPECT_TRUE(Eventually([] {
                Pair pair;
                calls.watched = pair.ours.get();
                calls.before_close = [] {
                  const pid_t helper = calls.helper;
                  EXPECT_TRUE(Eventually([&] { return Sleeps(helper); }));
                };
                calls.naps = 0;
                DisposeOfAndAwait(std::move(pair.ours));
                return calls.naps < 8 && !pair.IsOpen();
              }));
            }),
            "ok");
}

// Another thread that is in there for as long as its helper takes is not waited for.
TEST_F(DisposalCallsTest, AWaitEndsWhereItCannotAsk) {
  EXPECT_EQ(RunInChild([] {
              calls.start = Start::kHangs;
              Pair pair;
              UniqueFd other = AnyFile();
              std::atomic<bool> is_in_there = false;
              std::atomic<bool> may_go_on = false;
              std::thread thread;
              calls.at_nap = [&] {
                calls.after_clone = [&] {
                  is_in_there = true;
                  while (!may_go_on) ::usleep(1000);
                };
                thread = std::thread([&] { DisposeOf(std::move(other)); });
                while (!is_in_there) ::usleep(1000);
              };
              DisposeOfAndAwait(std::move(pair.ours));
              EXPECT_EQ(calls.naps, 8);
              EXPECT_TRUE(pair.IsOpen());
              may_go_on = true;
              thread.join();
              Release();
              EXPECT_TRUE(AllHelpersEnd());
              EXPECT_FALSE(pair.IsOpen());
            }),
            "ok");
}

// A child begins anew, though a thread of its parent's was in there as it was forked.
TEST_F(DisposalCallsTest, AForkedChildOfAProcessThatWasInHereGoesOn) {
  EXPECT_EQ(RunInChild([] {
              int status = -1;
              calls.after_clone = [&status] {
                const pid_t child = ::fork();
                if (child == 0) {
                  calls = {};
                  Pair first;
                  Pair second;
                  errno = 4711;
                  DisposeOf(std::move(first.ours));
                  DisposeOfAndAwait(std::move(second.ours));
                  EXPECT_EQ(errno, 4711);
                  EXPECT_EQ(calls.clones, 2);
                  EXPECT_EQ(calls.yields, 0);
                  EXPECT_TRUE(AllHelpersEnd());
                  EXPECT_FALSE(first.IsOpen());
                  EXPECT_FALSE(second.IsOpen());
                  EXPECT_EQ(TendDisposal().parked, 0u);
                  EXPECT_FALSE(DisposalIsFull());
                  ::_exit(::testing::Test::HasFailure() ? 1 : 0);
                }
                EXPECT_EQ(::waitpid(child, &status, 0), child);
              };
              DisposeOf(AnyFile());
              EXPECT_EQ(status, 0);
              EXPECT_TRUE(AllHelpersEnd());
            }),
            "ok");
}

TEST_F(DisposalCallsTest, WhatItsParentHadParkedIsTheChildsToo) {
  EXPECT_EQ(RunInChild([] {
              calls.start = Start::kFails;
              Pair pair;
              DisposeOf(std::move(pair.ours));
              const pid_t child = ::fork();
              if (child == 0) {
                EXPECT_EQ(TendDisposal().parked, 1u);
                calls.start = Start::kAtOnce;
                EXPECT_EQ(TendDisposal().parked, 0u);
                EXPECT_TRUE(AllHelpersEnd());
                EXPECT_EQ(calls.clones, 1);
                EXPECT_TRUE(pair.IsOpen());
                ::_exit(::testing::Test::HasFailure() ? 1 : 0);
              }
              int status = -1;
              EXPECT_EQ(::waitpid(child, &status, 0), child);
              EXPECT_EQ(status, 0);
              calls.start = Start::kAtOnce;
              EXPECT_EQ(TendDisposal().parked, 0u);
              EXPECT_TRUE(AllHelpersEnd());
              EXPECT_FALSE(pair.IsOpen());
            }),
            "ok");
}

// Were ours closed then, and it had copies of others of ours, these would be open until it goes on.
TEST_F(DisposalCallsTest, AHelperThatIsNotAloneInTimeIsNone) {
  EXPECT_EQ(RunInChild([] {
              calls.start = Start::kHeld;
              Hold();
              Pair pair;
              calls.at_futex_wait = [] {
                sigset_t mask;
                EXPECT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &mask), 0);
                EXPECT_EQ(sigismember(&mask, SIGALRM), 1) << "a handler would end the wait";
              };
              EXPECT_FALSE(TryDisposeOf(pair.ours));
              EXPECT_GE(calls.futex_waits, 1);
              EXPECT_TRUE(pair.ours.ok());
              EXPECT_EQ(TendDisposal().helpers, 1);
              calls.start = Start::kAtOnce;
              // It has a copy of this one too.
              Pair other;
              EXPECT_FALSE(TryDisposeOf(other.ours));
              ConnectedSocket(std::move(other.ours)).Reset();
              EXPECT_FALSE(other.IsOpen()) << "it is shut down";
              EXPECT_EQ(TendDisposal().parked, 1u);
              EXPECT_EQ(calls.clones, 1);
              Release();
              EXPECT_TRUE(Eventually([&] { return TryDisposeOf(pair.ours); }));
              EXPECT_EQ(TendDisposal().parked, 0u);
              EXPECT_TRUE(AllHelpersEnd());
              EXPECT_FALSE(pair.IsOpen());
            }),
            "ok");
}

// A close of ours may hang in a flush, although it is not the last.
TEST_F(DisposalCallsTest, ACloseThatHangsKeepsNoOtherThread) {
  EXPECT_EQ(RunInChild([] {
              Pair slow;
              Pair pair;
              std::atomic<bool> hangs = false;
              std::atomic<bool> may_go_on = false;
              calls.watched = slow.ours.get();
              calls.before_close = [&] {
                hangs = true;
                while (!may_go_on) ::usleep(1000);
              };
              std::thread thread([&] { DisposeOf(std::move(slow.ours)); });
              while (!hangs) ::usleep(1000);
              for (int i = 0; i < 3 * kMaxDisposalHelpers; ++i) {
                Pair other;
                DisposeOfAndAwait(std::move(other.ours));
                EXPECT_TRUE(Eventually([&] { return !other.IsOpen(); }));
              }
              EXPECT_EQ(TendDisposal().parked, 0u);
              may_go_on = true;
              thread.join();
              EXPECT_TRUE(AllHelpersEnd());
              EXPECT_FALSE(slow.IsOpen());
            }),
            "ok");
}

// The parent's helpers are not the child's: it neither counts nor collects them.
TEST_F(DisposalCallsTest, AForkedChildHasNoHelpers) {
  EXPECT_EQ(RunInChild([] {
              calls.start = Start::kHangs;
              DisposeOf(AnyFile());
              EXPECT_EQ(TendDisposal().helpers, 1);
              const pid_t child = ::fork();
              if (child == 0) {
                calls = {};
                EXPECT_EQ(TendDisposal().helpers, 0);
                EXPECT_TRUE(calls.waited_for.empty());
                Pair pair;
                DisposeOf(std::move(pair.ours));
                EXPECT_TRUE(AllHelpersEnd());
                EXPECT_FALSE(pair.IsOpen());
                for (const pid_t pid : calls.waited_for) EXPECT_EQ(pid, calls.helper);
                ::_exit(::testing::Test::HasFailure() ? 1 : 0);
              }
              int status = -1;
              EXPECT_EQ(::waitpid(child, &status, 0), child);
              EXPECT_EQ(status, 0);
              EXPECT_EQ(TendDisposal().helpers, 1);
              Release();
              EXPECT_TRUE(AllHelpersEnd());
            }),
            "ok");
}

// Also where they have the program's own process group, as most have.
TEST_F(DisposalCallsTest, TheProgramsOwnChildrenAreLeftToIt) {
  EXPECT_EQ(RunInChild([] {
              ASSERT_EQ(::setpgid(0, 0), 0);
              const pid_t child = ::fork();
              if (child == 0) ::_exit(23);
              ASSERT_TRUE(Eventually([&] { return HasEnded(child); }));
              DisposeOf(AnyFile());
              EXPECT_TRUE(AllHelpersEnd());
              for (const pid_t pid : calls.waited_for) EXPECT_EQ(pid, calls.helper);
              int status = -1;
              EXPECT_EQ(::waitpid(child, &status, 0), child);
              EXPECT_EQ(WEXITSTATUS(status), 23);
            }),
            "ok");
}

TEST_F(DisposalCallsTest, WhatIsParkedGoesWithTheNextHelpersOfABatchEach) {
  EXPECT_EQ(RunInChild([] {
              calls.start = Start::kFails;
              std::vector<std::unique_ptr<Pair>> pairs;
              const auto parked = [&] { return TendDisposal().parked; };
              for (std::size_t i = 0; i < kMaxParkedDescriptors + 6; ++i) {
                EXPECT_EQ(DisposalIsFull(), i >= kMaxParkedDescriptors) << i;
                pairs.push_back(std::make_unique<Pair>());
                errno = 4711;
                if (i % 2 == 0) {
                  DisposeOf(std::move(pairs.back()->ours));
                } else {
                  DisposeOfAndAwait(std::move(pairs.back()->ours));
                }
                EXPECT_EQ(errno, 4711);
                EXPECT_EQ(parked(), i + 1);
                EXPECT_EQ(TendDisposal().helpers, 0);
              }
              EXPECT_EQ(calls.naps, 0);
              calls.start = Start::kHangs;
              const DisposalState state = TendDisposal();
              EXPECT_EQ(state.helpers, 2);
              EXPECT_EQ(state.parked, 0u);
              EXPECT_EQ(calls.clones, 2);
              EXPECT_FALSE(DisposalIsFull());
              Release();
              EXPECT_TRUE(AllHelpersEnd());
              for (const auto& pair : pairs) EXPECT_FALSE(pair->IsOpen());
            }),
            "ok");
}

// A second thread left what it disposed of open for good while the first waited for its helper.
TEST_F(DisposalCallsTest, WhatComesWhileAnotherThreadIsInHereGoesWithTheNextHelper) {
  EXPECT_EQ(RunInChild([] {
              Pair first;
              Pair second;
              Pair third;
              calls.after_clone = [&] {
                std::thread([&] {
                  DisposeOf(std::move(second.ours));
                  EXPECT_FALSE(TryDisposeOf(third.ours));
                  EXPECT_FALSE(DisposalIsFull());
                  EXPECT_EQ(TendDisposal().helpers, 0) << "it cannot say";
                }).join();
              };
              DisposeOf(std::move(first.ours));
              EXPECT_TRUE(third.ours.ok());
              EXPECT_TRUE(AllHelpersEnd());
              EXPECT_FALSE(first.IsOpen());
              EXPECT_FALSE(second.IsOpen());
              EXPECT_EQ(calls.clones, 2);
            }),
            "ok");
}

// It waited for the next call where the first had only something parked to see to.
TEST_F(DisposalCallsTest, WhatComesWhileWhatIsParkedGoesNeedsNoOtherCall) {
  EXPECT_EQ(RunInChild([] {
              Pair first;
              Pair second;
              calls.start = Start::kFails;
              DisposeOf(std::move(first.ours));
              calls.start = Start::kAtOnce;
              calls.after_clone = [&] {
                std::thread([&] { DisposeOf(std::move(second.ours)); }).join();
              };
              TendDisposal();
              EXPECT_TRUE(Eventually([&] { return !first.IsOpen() && !second.IsOpen(); }));
              EXPECT_TRUE(AllHelpersEnd());
            }),
            "ok");
}

// A thread that confines its process may come while others wait here for their turn.
TEST_F(DisposalCallsTest, NoHelperIsMadeAfterTheProcessGaveThatUp) {
  EXPECT_EQ(RunInChild([] {
              Pair first;
              Pair second;
              Pair third;
              std::vector<std::thread> threads;
              calls.after_clone = [&] {
                threads.emplace_back([&] { DisposeOf(std::move(second.ours)); });
                threads.emplace_back([&] { ConnectedSocket(std::move(third.ours)).Reset(); });
                DisposeInPlaceFromNow();
              };
              DisposeOf(std::move(first.ours));
              for (std::thread& thread : threads) thread.join();
              EXPECT_FALSE(second.IsOpen());
              EXPECT_FALSE(third.IsOpen());
              EXPECT_EQ(calls.clones, 1);
              EXPECT_TRUE(AllHelpersEnd());
              EXPECT_FALSE(first.IsOpen());
            }),
            "ok");
}

// Each of these ended behind one that hangs, if that was parked before it.
TEST_F(DisposalCallsTest, WhatOneCallBringsHasAHelperOfItsOwn) {
  EXPECT_EQ(RunInChild([] {
              Pair parked;
              calls.start = Start::kFails;
              DisposeOf(std::move(parked.ours));
              EXPECT_EQ(TendDisposal().parked, 1u);
              calls.start = Start::kAtOnce;
              Pair next;
              const std::set<int> wanted = {next.ours.get()};
              bool seen = false;
              calls.watched = next.ours.get();
              calls.before_close = [&] {
                EXPECT_TRUE(Eventually([&] { return DescriptorsOf(calls.helper) == wanted; }));
                seen = true;
              };
              DisposeOfAndAwait(std::move(next.ours));
              EXPECT_TRUE(seen);
              EXPECT_FALSE(next.IsOpen());
              EXPECT_EQ(calls.clones, 2);
              EXPECT_TRUE(AllHelpersEnd());
              EXPECT_FALSE(parked.IsOpen());
            }),
            "ok");
}

TEST_F(DisposalCallsTest, WhatWouldBeParkedStaysTheCallersIfItOnlyTries) {
  EXPECT_EQ(RunInChild([] {
              Pair pair;
              const int number = pair.ours.get();
              calls.start = Start::kFails;
              errno = 4711;
              EXPECT_FALSE(TryDisposeOf(pair.ours));
              EXPECT_EQ(errno, 4711);
              EXPECT_EQ(pair.ours.get(), number);
              EXPECT_TRUE(pair.IsOpen());
              EXPECT_EQ(TendDisposal().parked, 0u);
              calls.start = Start::kAtOnce;
              EXPECT_TRUE(TryDisposeOf(pair.ours));
              EXPECT_EQ(errno, 4711);
              EXPECT_FALSE(pair.ours.ok());
              EXPECT_TRUE(TryDisposeOf(pair.ours));
              EXPECT_EQ(calls.clones, 1);
              EXPECT_TRUE(AllHelpersEnd());
              EXPECT_FALSE(pair.IsOpen());

              Pair other;
              DisposeInPlaceFromNow();
              EXPECT_TRUE(TryDisposeOf(other.ours));
              EXPECT_FALSE(other.ours.ok());
              EXPECT_FALSE(other.IsOpen());
              EXPECT_EQ(calls.clones, 1);
            }),
            "ok");
}

// A peer that makes all helpers hang keeps no other peer from seeing the end.
TEST_F(DisposalCallsTest, AttackF12ThePeerOfAConnectionThatIsParkedSeesTheEnd) {
  EXPECT_EQ(RunInChild([] {
              calls.start = Start::kHangs;
              std::vector<std::unique_ptr<Pair>> pairs;
              for (int i = 0; i < kMaxDisposalHelpers + 3; ++i) {
                pairs.push_back(std::make_unique<Pair>());
                if (i < kMaxDisposalHelpers) {
                  DisposeOf(std::move(pairs.back()->ours));
                  continue;
                }
                EXPECT_TRUE(pairs.back()->IsOpen());
                ConnectedSocket(std::move(pairs.back()->ours)).Reset();
                EXPECT_FALSE(pairs.back()->IsOpen()) << i;
              }
              EXPECT_EQ(TendDisposal().helpers, kMaxDisposalHelpers);
              EXPECT_EQ(TendDisposal().parked, 3u);
              EXPECT_EQ(calls.naps, 8);
              Release();
              EXPECT_TRUE(AllHelpersEnd());
              EXPECT_EQ(TendDisposal().parked, 0u);
            }),
            "ok");
}

TEST_F(DisposalCallsTest, OfNothingNothingIsMade) {
  EXPECT_EQ(RunInChild([] {
              errno = 4711;
              DisposeOf(UniqueFd());
              DisposeOfAndAwait(UniqueFd());
              DisposeOf(std::vector<UniqueFd>());
              DisposeOf(std::vector<UniqueFd>(3));
              EXPECT_EQ(errno, 4711);
              EXPECT_EQ(calls.clones, 0);
              EXPECT_EQ(calls.naps, 0);
              EXPECT_EQ(TendDisposal().helpers, 0);
              EXPECT_EQ(TendDisposal().parked, 0u);
            }),
            "ok");
}

TEST_F(DisposalCallsTest, WithoutMemoryForAHelperItIsParked) {
  EXPECT_EQ(RunInChild([] {
              Pair pair;
              FailSystemCall(SYS_mmap, ENOMEM);
              DisposeOf(std::move(pair.ours));
              EXPECT_EQ(TendDisposal().parked, 1u);
              EXPECT_EQ(TendDisposal().helpers, 0);
              EXPECT_EQ(calls.clones, 0);
              EXPECT_TRUE(pair.IsOpen());
            }),
            "ok");
}

TEST_F(DisposalCallsTest, InPlaceThereAreNoHelpers) {
  EXPECT_EQ(RunInChild([] {
              EXPECT_FALSE(DisposesInPlace());
              DisposeInPlaceFromNow();
              EXPECT_TRUE(DisposesInPlace());
              Pair first;
              Pair second;
              DisposeOf(std::move(first.ours));
              EXPECT_FALSE(first.IsOpen());
              DisposeOfAndAwait(std::move(second.ours));
              EXPECT_FALSE(second.IsOpen());
              EXPECT_EQ(calls.clones, 0);
              EXPECT_EQ(calls.naps, 0);
              EXPECT_EQ(TendDisposal().parked, 0u);
            }),
            "ok");
}

}  // namespace
}  // namespace parley

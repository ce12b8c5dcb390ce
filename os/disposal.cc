// SPDX-License-Identifier: Apache-2.0
#include "parley/os/disposal.h"

#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <utility>
#include <vector>

#if defined(__SANITIZE_THREAD__)
#define PARLEY_OS_DISPOSAL_COPIES 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PARLEY_OS_DISPOSAL_COPIES 1
#endif
#endif

namespace parley {
namespace {

constexpr std::size_t kMaxBatch = kMaxParkedDescriptors;
constexpr std::size_t kStackBytes = 32 * 1024;

std::atomic<bool> in_place{false};

// What one helper reads, and the stack it runs on.
struct alignas(64) Slot {
  uint32_t is_alone;      // 1: the helper has closed its copies of everything else
  uint32_t may_end;       // 1: our own descriptors are closed
  const uint32_t* first;  // of `count` descriptors
  uint32_t count;
  std::array<uint32_t, kMaxBatch> descriptors;  // ascending
  alignas(64) std::array<std::byte, kStackBytes> stack;
};

// A system call that leaves errno alone: the helper has no thread-local storage of its own.
#if defined(__x86_64__) && !defined(PARLEY_OS_DISPOSAL_COPIES)
#define PARLEY_OS_DISPOSAL_SHARES 1
template <typename A, typename B, typename D>
[[gnu::always_inline]] inline void Call(long number, A a, B b, long c, D d) {
  long result = number;
  register D fourth asm("r10") = d;
  asm volatile("syscall"
               : "+a"(result)
               : "D"(a), "S"(b), "d"(c), "r"(fourth)
               : "rcx", "r11", "memory");
}
#elif defined(__aarch64__) && !defined(PARLEY_OS_DISPOSAL_COPIES)
#define PARLEY_OS_DISPOSAL_SHARES 1
template <typename A, typename B, typename D>
[[gnu::always_inline]] inline void Call(long number, A a, B b, long c, D d) {
  register long x8 asm("x8") = number;
  register A x0 asm("x0") = a;
  register B x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register D x3 asm("x3") = d;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
}
#else
// The helper is a copy of this process, with an errno of its own.
template <typename A, typename B, typename D>
void Call(long number, A a, B b, long c, D d) {
  ::syscall(number, a, b, c, d);
}
#endif

#if defined(PARLEY_OS_DISPOSAL_SHARES)
constexpr int kCloneFlags = CLONE_VM;
constexpr int kSlotMapping = MAP_PRIVATE;
#else
constexpr int kCloneFlags = 0;
constexpr int kSlotMapping = MAP_SHARED;
#endif

// Runs in the helper: system calls alone, no library, no thread-local storage, no signals.
__attribute__((no_sanitize("address", "thread", "undefined"), no_stack_protector)) int HelperMain(
    void* argument) {
  auto* slot = static_cast<Slot*>(argument);
  uint32_t* const word = &slot->may_end;
  unsigned long next = 0;
  for (uint32_t i = 0; i < slot->count; ++i) {
    const unsigned long fd = slot->first[i];
    if (fd > next) Call(SYS_close_range, next, fd - 1, 0, 0L);
    next = fd + 1;
  }
  Call(SYS_close_range, next, ~0UL >> 32, 0, 0L);
  // PAIRS WITH: the load in StartHelper.
  __atomic_store_n(&slot->is_alone, 1U, __ATOMIC_RELEASE);
  Call(SYS_futex, &slot->is_alone, long{FUTEX_WAKE}, 1, 0L);
  // Until our maker has closed its own. Should it have died meanwhile: two seconds.
  const timespec second = {1, 0};
  // PAIRS WITH: the store in StartHelper.
  for (int i = 0; i < 2 && __atomic_load_n(word, __ATOMIC_ACQUIRE) == 0; ++i) {
    Call(SYS_futex, word, long{FUTEX_WAIT}, 0, &second);
  }
  Call(SYS_exit, 0L, 0L, 0, 0L);
  return 0;
}

struct Helpers {
  std::atomic_flag busy;
  std::atomic<pid_t> maker = 0;  // whose children they are; 0: nobody's yet
  pid_t newest = 0;
  bool stuck = false;                                // all of them hung when we last waited for one
  std::array<pid_t, kMaxDisposalHelpers> pids = {};  // 0: none
  std::array<Slot*, kMaxDisposalHelpers> slots = {};
  std::vector<UniqueFd> parked;
};

// Never destroyed: other objects' destructors come here to the end.
Helpers& TheHelpers() {
  static auto* helpers = new Helpers;
  return *helpers;
}

void SleepForAMillisecond() {
  const timespec millisecond = {0, 1'000'000};
  ::nanosleep(&millisecond, nullptr);
}

// RELAXED: in the process itself it is set once, before that could matter.
bool IsForked() {
  const pid_t maker = TheHelpers().maker.load(std::memory_order_relaxed);
  return maker != 0 && maker != ::getpid();
}

// Who holds it keeps it for about 0.1 s at most (StartHelper).
enum class IfHeld { kGiveUp, kWait };

// Not a mutex: in a child of a process of several threads it may be held by nobody for ever. Such a
// child always gives up.
class Lock {
 public:
  explicit Lock(IfHeld if_held) {
    for (int i = 0; i < kYields || (if_held == IfHeld::kWait && !IsForked()); ++i) {
      // PAIRS WITH: the clear in ~Lock.
      if (!TheHelpers().busy.test_and_set(std::memory_order_acquire)) {
        held_ = true;
        return;
      }
      if (i < kYields) {
        ::sched_yield();
      } else {
        SleepForAMillisecond();
      }
    }
  }
  // PAIRS WITH: the test_and_set in Lock.
  ~Lock() {
    if (held_) TheHelpers().busy.clear(std::memory_order_release);
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  bool held() const { return held_; }

 private:
  static constexpr int kYields = 10'000;

  bool held_ = false;
};

// Collects those that have ended. A forked child has none, and stacks of its own.
int CollectEnded(Helpers& helpers) {
  if (const pid_t self = ::getpid(); helpers.maker.exchange(self) != self) {
    helpers.pids = {};
    helpers.slots = {};
  }
  int alive = 0;
  for (pid_t& pid : helpers.pids) {
    if (pid == 0) continue;
    if (::waitpid(pid, nullptr, WNOHANG | __WALL) == 0) {
      ++alive;
    } else {
      pid = 0;
      helpers.stuck = false;
    }
  }
  return alive;
}

constexpr int kMaxAwaitMs = 8;

// A helper that does not hang ends within a millisecond. Once all were waited for in vain, no call
// waits again until one of them has ended.
int WaitForFreeHelper(Helpers& helpers) {
  int alive = CollectEnded(helpers);
  for (int i = 0; i < kMaxAwaitMs && alive == kMaxDisposalHelpers && !helpers.stuck; ++i) {
    SleepForAMillisecond();
    alive = CollectEnded(helpers);
  }
  helpers.stuck = alive == kMaxDisposalHelpers;
  return alive;
}

Slot* NewSlot() {
  void* memory =
      ::mmap(nullptr, sizeof(Slot), PROT_READ | PROT_WRITE, kSlotMapping | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : new (memory) Slot;
}

// Hands the first of `fds` to a new helper. False if there is none to be had.
bool StartHelper(Helpers& helpers, std::vector<UniqueFd>& fds) {
  const auto free = std::find(helpers.pids.begin(), helpers.pids.end(), 0);
  if (free == helpers.pids.end()) return false;
  Slot*& slot = helpers.slots[static_cast<std::size_t>(free - helpers.pids.begin())];
  if (slot == nullptr) slot = NewSlot();
  if (slot == nullptr) return false;

  const std::size_t count = std::min(fds.size(), kMaxBatch);
  for (std::size_t i = 0; i < count; ++i) {
    slot->descriptors[i] = static_cast<uint32_t>(fds[i].get());
  }
  std::sort(slot->descriptors.begin(),
            slot->descriptors.begin() + static_cast<std::ptrdiff_t>(count));
  slot->count = static_cast<uint32_t>(count);
  slot->first = slot->descriptors.data();
  slot->is_alone = 0;
  slot->may_end = 0;

  // A handler of ours must not run on the helper's stack.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::clone(HelperMain, slot->stack.data() + slot->stack.size(), kCloneFlags, slot);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return false;
  *free = pid;
  helpers.newest = pid;

  // What we close after this is closed: the helper has no copy of it any more.
  const timespec limit = {0, 100'000'000};
  // PAIRS WITH: the store in HelperMain.
  if (__atomic_load_n(&slot->is_alone, __ATOMIC_ACQUIRE) == 0) {
    ::syscall(SYS_futex, &slot->is_alone, FUTEX_WAIT, 0, &limit, nullptr, 0);
  }
  // The helper's table has a copy of each, so none of these is the last.
  fds.erase(fds.begin(), fds.begin() + static_cast<std::ptrdiff_t>(count));
  // PAIRS WITH: the load in HelperMain.
  __atomic_store_n(&slot->may_end, 1U, __ATOMIC_RELEASE);
  ::syscall(SYS_futex, &slot->may_end, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  return true;
}

// Until none of `fds` is left or no helper is to be had. How many exist.
int StartHelpers(Helpers& helpers, std::vector<UniqueFd>& fds) {
  int alive = CollectEnded(helpers);
  while (!fds.empty()) {
    if (alive == kMaxDisposalHelpers) alive = WaitForFreeHelper(helpers);
    if (!StartHelper(helpers, fds)) break;
    ++alive;
  }
  return alive;
}

// The helper that has the last of them. Those for which there is none stay in `fds`.
pid_t HandOver(Helpers& helpers, std::vector<UniqueFd>& fds) {
  fds.erase(std::remove_if(fds.begin(), fds.end(), [](const UniqueFd& fd) { return !fd.ok(); }),
            fds.end());
  StartHelpers(helpers, fds);
  const pid_t newest = helpers.newest;
  if (fds.empty()) StartHelpers(helpers, helpers.parked);
  return newest;
}

// The helper that has the last of them; 0: it is closed, or waits for one.
pid_t Dispose(std::vector<UniqueFd> fds) {
  if (DisposesInPlace()) return 0;
  const Lock lock(IfHeld::kWait);
  if (!lock.held()) {
    // A forked child of a process that was in here: they stay open.
    for (UniqueFd& fd : fds) static_cast<void>(fd.Release());
    return 0;
  }
  Helpers& helpers = TheHelpers();
  const pid_t newest = HandOver(helpers, fds);
  if (fds.empty()) return newest;
  for (UniqueFd& fd : fds) helpers.parked.push_back(std::move(fd));
  return 0;
}

bool HasEnded(pid_t helper) {
  const Lock lock(IfHeld::kGiveUp);
  if (!lock.held()) return true;
  Helpers& helpers = TheHelpers();
  CollectEnded(helpers);
  return std::find(helpers.pids.begin(), helpers.pids.end(), helper) == helpers.pids.end();
}

std::vector<UniqueFd> OneOf(UniqueFd fd) {
  std::vector<UniqueFd> one;
  one.push_back(std::move(fd));
  return one;
}

}  // namespace

void DisposeOf(UniqueFd fd) {
  if (fd.ok()) DisposeOf(OneOf(std::move(fd)));
}

void DisposeOfAndAwait(UniqueFd fd) {
  if (!fd.ok()) return;
  const int error = errno;
  const pid_t helper = Dispose(OneOf(std::move(fd)));
  for (int i = 0; i < kMaxAwaitMs && helper != 0 && !HasEnded(helper); ++i) SleepForAMillisecond();
  errno = error;
}

void DisposeInPlaceFromNow() { in_place.store(true); }
bool DisposesInPlace() { return in_place.load(); }

void DisposeOf(std::vector<UniqueFd> fds) {
  if (fds.empty()) return;
  const int error = errno;
  Dispose(std::move(fds));
  errno = error;
}

bool TryDisposeOf(UniqueFd& fd) {
  if (!fd.ok() || DisposesInPlace()) {
    fd.Reset();
    return true;
  }
  const int error = errno;
  std::vector<UniqueFd> one = OneOf(std::move(fd));
  const Lock lock(IfHeld::kWait);
  if (lock.held()) HandOver(TheHelpers(), one);
  if (!one.empty()) fd = std::move(one[0]);
  errno = error;
  return !fd.ok();  // NOLINT(bugprone-use-after-move): it has what it had, or nothing
}

DisposalState TendDisposal() {
  const Lock lock(IfHeld::kGiveUp);
  if (!lock.held()) return {};
  Helpers& helpers = TheHelpers();
  const int alive = StartHelpers(helpers, helpers.parked);
  return {alive, helpers.parked.size()};
}

bool DisposalIsFull() {
  const Lock lock(IfHeld::kGiveUp);
  return lock.held() && TheHelpers().parked.size() >= kMaxParkedDescriptors;
}

}  // namespace parley

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
#include <iterator>
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
  uint32_t is_closing;    // 1: we have not closed them yet, and use the slot
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
  // PAIRS WITH: the loads in AwaitAlone and OneIsLate.
  __atomic_store_n(&slot->is_alone, 1U, __ATOMIC_RELEASE);
  Call(SYS_futex, &slot->is_alone, long{FUTEX_WAKE}, 1, 0L);
  // Until our maker has closed its own. Should it have died meanwhile: two seconds.
  const timespec second = {1, 0};
  // PAIRS WITH: the store in Finish.
  for (int i = 0; i < 2 && __atomic_load_n(word, __ATOMIC_ACQUIRE) == 0; ++i) {
    Call(SYS_futex, word, long{FUTEX_WAIT}, 0, &second);
  }
  Call(SYS_exit, 0L, 0L, 0, 0L);
  return 0;
}

// What a thread disposed of while another one was in here for long.
struct Late {
  UniqueFd fd;
  Late* next;
};

struct Helpers {
  explicit Helpers(pid_t process) : maker(process) {}

  const pid_t maker;  // whose children they are
  std::atomic_flag busy;
  std::atomic<Late*> late = nullptr;
  pid_t newest = 0;
  bool stuck = false;                                // all of them hung when we last waited for one
  std::array<pid_t, kMaxDisposalHelpers> pids = {};  // 0: none
  std::array<Slot*, kMaxDisposalHelpers> slots = {};
  std::vector<UniqueFd> parked;
};

// Of this process; a forked child begins anew, whatever a thread of its parent's was doing in here.
// Never destroyed: other objects' destructors come here to the end.
Helpers& TheHelpers() {
  static std::atomic<Helpers*> current = nullptr;
  const pid_t self = ::getpid();
  // PAIRS WITH: the exchange below, of another thread.
  Helpers* present = current.load(std::memory_order_acquire);
  if (present != nullptr && present->maker == self) return *present;
  auto* const fresh = new Helpers(self);
  // PAIRS WITH: the load above.
  if (!current.compare_exchange_strong(present, fresh, std::memory_order_acq_rel)) {
    delete fresh;
    return *present;
  }
  // What its parent had parked is open in the child too.
  if (present != nullptr && !present->busy.test()) fresh->parked = std::move(present->parked);
  return *fresh;
}

constexpr int kMaxAwaitMs = 8;
constexpr int kMaxTendings = 4;  // by one call, of what other threads leave

void SleepForAMillisecond() {
  const timespec millisecond = {0, 1'000'000};
  ::nanosleep(&millisecond, nullptr);
}

// Waits 8 ms at most for the thread that holds it, which may be in here for 0.1 s (StartHelper).
class Lock {
 public:
  explicit Lock(Helpers& helpers, int max_ms = kMaxAwaitMs) : helpers_(helpers) {
    constexpr int kYields = 16;
    for (int i = 0; i < kYields + max_ms; ++i) {
      // PAIRS WITH: the clear in ~Lock.
      held_ = !helpers.busy.test_and_set();
      if (held_) break;
      if (i < kYields) {
        ::sched_yield();
      } else {
        SleepForAMillisecond();
      }
    }
  }
  // PAIRS WITH: the test_and_set in Lock.
  ~Lock() {
    if (held_) helpers_.busy.clear();
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  bool held() const { return held_; }

 private:
  Helpers& helpers_;
  bool held_ = false;
};

// Collects those that have ended.
int CollectEnded(Helpers& helpers) {
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

// A helper that was too late to be alone has copies of all that we had then. As long as it closes
// them, what is closed elsewhere would have its last close there, and not in a process that ends.
bool OneIsLate(const Helpers& helpers) {
  for (std::size_t i = 0; i < helpers.pids.size(); ++i) {
    // PAIRS WITH: the store in HelperMain.
    if (helpers.pids[i] != 0 &&
        __atomic_load_n(&helpers.slots[i]->is_alone, __ATOMIC_ACQUIRE) == 0) {
      return true;
    }
  }
  return false;
}

// One without a helper, with a slot whose last user is through with it; -1: none.
int FreePlace(Helpers& helpers) {
  if (OneIsLate(helpers)) return -1;
  for (int i = 0; i < kMaxDisposalHelpers; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (helpers.pids[at] != 0) continue;
    if (helpers.slots[at] == nullptr) helpers.slots[at] = NewSlot();
    if (helpers.slots[at] == nullptr) return -1;
    // PAIRS WITH: the store in Finish.
    if (__atomic_load_n(&helpers.slots[at]->is_closing, __ATOMIC_ACQUIRE) == 0) return i;
  }
  return -1;
}

// For 0.1 s: a helper that gets no processor for so long is none.
bool AwaitAlone(Slot& slot) {
  timespec before = {};
  ::clock_gettime(CLOCK_MONOTONIC, &before);
  while (true) {
    // PAIRS WITH: the store in HelperMain.
    if (__atomic_load_n(&slot.is_alone, __ATOMIC_ACQUIRE) != 0) return true;
    timespec now = {};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const int64_t left_ns = 100'000'000 - (int64_t{now.tv_sec} - before.tv_sec) * 1'000'000'000 -
                            (now.tv_nsec - before.tv_nsec);
    if (left_ns <= 0) return false;
    const timespec limit = {0, static_cast<decltype(limit.tv_nsec)>(left_ns)};
    ::syscall(SYS_futex, &slot.is_alone, FUTEX_WAIT, 0, &limit, nullptr, 0);
  }
}

// What a helper has copies of, for us to close (Finish).
struct Handed {
  Slot* slot;
  std::vector<UniqueFd> fds;
};

// Hands the first of `fds` to a new helper. False if there is none to be had: they stay.
bool StartHelper(Helpers& helpers, std::vector<UniqueFd>& fds, std::vector<Handed>& handed) {
  const int place = DisposesInPlace() ? -1 : FreePlace(helpers);
  if (place < 0) return false;
  Slot* const slot = helpers.slots[static_cast<std::size_t>(place)];

  const std::size_t count = std::min(fds.size(), kMaxBatch);
  const auto end = fds.begin() + static_cast<std::ptrdiff_t>(count);
  for (std::size_t i = 0; i < count; ++i) {
    slot->descriptors[i] = static_cast<uint32_t>(fds[i].get());
  }
  std::sort(slot->descriptors.begin(),
            slot->descriptors.begin() + static_cast<std::ptrdiff_t>(count));
  slot->count = static_cast<uint32_t>(count);
  slot->first = slot->descriptors.data();
  slot->is_alone = 0;
  slot->may_end = 0;

  // A handler of ours must not run on the helper's stack, and not end the wait for it.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::clone(HelperMain, slot->stack.data() + slot->stack.size(), kCloneFlags, slot);
  if (pid > 0) helpers.pids[static_cast<std::size_t>(place)] = pid;
  // What we close after this is closed: the helper has no copy of it any more.
  const bool is_alone = pid > 0 && AwaitAlone(*slot);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!is_alone) return false;

  helpers.newest = pid;
  slot->is_closing = 1;
  handed.push_back({slot, {std::make_move_iterator(fds.begin()), std::make_move_iterator(end)}});
  fds.erase(fds.begin(), end);
  return true;
}

// Without the lock: a close of what is not the last reference may hang too, in a flush.
void Finish(std::vector<Handed> handed) {
  for (Handed& each : handed) {
    // The helper's table has a copy of each, so none of these is the last.
    each.fds.clear();
    // PAIRS WITH: the load in HelperMain.
    __atomic_store_n(&each.slot->may_end, 1U, __ATOMIC_RELEASE);
    ::syscall(SYS_futex, &each.slot->may_end, FUTEX_WAKE, 1, nullptr, nullptr, 0);
    // PAIRS WITH: the load in FreePlace.
    __atomic_store_n(&each.slot->is_closing, 0U, __ATOMIC_RELEASE);
  }
}

// Until none of `fds` is left or no helper is to be had. How many exist.
int StartHelpers(Helpers& helpers, std::vector<UniqueFd>& fds, std::vector<Handed>& handed) {
  int alive = CollectEnded(helpers);
  while (!fds.empty()) {
    if (alive == kMaxDisposalHelpers) alive = WaitForFreeHelper(helpers);
    if (!StartHelper(helpers, fds, handed)) break;
    ++alive;
  }
  return CollectEnded(helpers);
}

std::vector<UniqueFd> TakeLate(Helpers& helpers) {
  std::vector<UniqueFd> taken;
  Late* late = helpers.late.exchange(nullptr);
  while (late != nullptr) {
    taken.push_back(std::move(late->fd));
    delete std::exchange(late, late->next);
  }
  return taken;
}

void LeaveForLater(Helpers& helpers, UniqueFd fd) {
  auto* const late = new Late{std::move(fd), helpers.late.load()};
  while (!helpers.late.compare_exchange_weak(late->next, late)) {
  }
}

// Hands over what is parked and what was left for later. A thread that leaves something writes
// `late` and then tries `busy` once more; the one that started helpers clears `busy` and then reads
// `late`. So one of the two finds the other.
DisposalState Tend(Helpers& helpers, int max_ms) {
  DisposalState state;
  for (int i = 0; i < kMaxTendings; ++i) {
    std::vector<Handed> handed;
    {
      const Lock lock(helpers, max_ms);
      if (!lock.held()) break;
      for (UniqueFd& fd : TakeLate(helpers)) helpers.parked.push_back(std::move(fd));
      state.helpers = StartHelpers(helpers, helpers.parked, handed);
      state.parked = helpers.parked.size();
    }
    Finish(std::move(handed));
    if (helpers.late.load() == nullptr) break;
  }
  return state;
}

// Hands `fds` over, to helpers of their own; what waits for one comes after them. Those for which
// there is none are parked if `parks`, and stay otherwise. In place: all stay. The helper that has
// the last of them, or 0.
pid_t HandOver(std::vector<UniqueFd>& fds, bool parks) {
  fds.erase(std::remove_if(fds.begin(), fds.end(), [](const UniqueFd& fd) { return !fd.ok(); }),
            fds.end());
  Helpers& helpers = TheHelpers();
  std::vector<Handed> handed;
  pid_t newest = 0;
  bool others_wait = false;
  {
    const Lock lock(helpers);
    if (lock.held() && !DisposesInPlace()) {
      StartHelpers(helpers, fds, handed);
      if (fds.empty()) {
        newest = helpers.newest;
        others_wait = !helpers.parked.empty();
      } else if (parks) {
        std::move(fds.begin(), fds.end(), std::back_inserter(helpers.parked));
        fds.clear();
      }
    }
  }
  Finish(std::move(handed));
  if (parks && !DisposesInPlace()) {
    for (UniqueFd& fd : fds) LeaveForLater(helpers, std::move(fd));
    fds.clear();
  }
  if (DisposesInPlace()) {
    TakeLate(helpers);  // and closes it
  } else if (others_wait || helpers.late.load() != nullptr) {
    Tend(helpers, 1);
  }
  return newest;
}

bool HasEnded(pid_t helper) {
  Helpers& helpers = TheHelpers();
  const Lock lock(helpers, 0);
  if (!lock.held()) return false;
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
  std::vector<UniqueFd> one = OneOf(std::move(fd));
  const pid_t helper = HandOver(one, true);
  for (int i = 0; i < kMaxAwaitMs && helper != 0 && !HasEnded(helper); ++i) SleepForAMillisecond();
  one.clear();
  errno = error;
}

void DisposeInPlaceFromNow() {
  Helpers& helpers = TheHelpers();
  {
    const Lock lock(helpers);  // nobody makes a helper when this returns
    in_place.store(true);
  }
  TakeLate(helpers);
}
bool DisposesInPlace() { return in_place.load(); }

void DisposeOf(std::vector<UniqueFd> fds) {
  if (fds.empty()) return;
  const int error = errno;
  HandOver(fds, true);
  fds.clear();
  errno = error;
}

bool TryDisposeOf(UniqueFd& fd) {
  if (!fd.ok()) return true;
  const int error = errno;
  std::vector<UniqueFd> one = OneOf(std::move(fd));
  HandOver(one, false);
  if (!one.empty() && !DisposesInPlace()) fd = std::move(one[0]);
  one.clear();
  errno = error;
  return !fd.ok();  // NOLINT(bugprone-use-after-move): it has what it had, or nothing
}

DisposalState TendDisposal() { return Tend(TheHelpers(), kMaxAwaitMs); }

bool DisposalIsFull() {
  Helpers& helpers = TheHelpers();
  const Lock lock(helpers, 0);
  return lock.held() && helpers.parked.size() >= kMaxParkedDescriptors;
}

}  // namespace parley

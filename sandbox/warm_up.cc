// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/warm_up.h"

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <limits>

namespace parley::internal {
namespace {

// More than the 128 KiB that malloc keeps at the top of an arena, in blocks that are too small for
// mappings of their own.
constexpr size_t kBlocks = 64;
constexpr size_t kBlockBytes = 65536;

// What is left with KeepHeap: less than the 128 KiB from which on malloc makes mappings.
constexpr size_t kLeftBytes = 100'000;

// Joined, a thread may still be listed: the kernel wakes the joining one first. It is gone within a
// few yields; on a busy machine it may wait for a processor, and so is waited for by time: 2 s.
constexpr int kYields = 1000;
constexpr timespec kPause = {0, 100'000};
constexpr int kPauses = 20'000;

void* ShrinkOwnArena(void* id) {
  *static_cast<pid_t*>(id) = ::gettid();
  std::array<void*, kBlocks> blocks;
  for (void*& block : blocks) {
    block = std::malloc(kBlockBytes);
    // Or the compiler may leave out the pair.
    asm volatile("" : : "r"(block) : "memory");
  }
  for (void* block : blocks) std::free(block);
  return nullptr;
}

int CompareInts(const void* a, const void* b) {
  return *static_cast<const int*>(a) - *static_cast<const int*>(b);
}

}  // namespace

void WarmUpLibc() {
  // Kept in private memory, so that a clone has what its template did.
  static std::atomic<bool> is_warm{false};
  if (is_warm.exchange(true)) return;
  // Without a thread to spare (RLIMIT_NPROC) there are no other arenas either.
  pthread_t thread;
  pid_t id = -1;
  if (::pthread_create(&thread, nullptr, ShrinkOwnArena, &id) == 0) {
    ::pthread_join(thread, nullptr);
    const auto is_listed = [id] { return ::syscall(SYS_tgkill, ::getpid(), id, 0) == 0; };
    for (int i = 0; i < kYields && is_listed(); ++i) ::sched_yield();
    for (int i = 0; i < kPauses && is_listed(); ++i) {
      ::clock_nanosleep(CLOCK_MONOTONIC, 0, &kPause, nullptr);
    }
  }
  // Beyond 1 KiB it wants memory.
  std::array<int, 1024> numbers = {};
  std::qsort(numbers.data(), numbers.size(), sizeof(int), CompareInts);
  ::tzset();
}

void KeepHeap() {
#ifdef M_TRIM_THRESHOLD
  // NOLINTNEXTLINE(concurrency-mt-unsafe): before the lock-down there is one thread
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
  void* const block = std::malloc(kLeftBytes);
  asm volatile("" : : "r"(block) : "memory");  // or the compiler may leave out the pair
  std::free(block);
}

}  // namespace parley::internal

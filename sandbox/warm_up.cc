// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/warm_up.h"

#include <pthread.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <ctime>

namespace parley::internal {
namespace {

// More than the 128 KiB that malloc keeps at the top of an arena, in blocks that are too small for
// mappings of their own.
constexpr size_t kBlocks = 64;
constexpr size_t kBlockBytes = 65536;

void* ShrinkOwnArena(void*) {
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
  // Without a thread to spare (RLIMIT_NPROC) there are no other arenas either.
  pthread_t thread;
  if (::pthread_create(&thread, nullptr, ShrinkOwnArena, nullptr) == 0) {
    ::pthread_join(thread, nullptr);
  }
  // Beyond 1 KiB it wants memory.
  std::array<int, 1024> numbers = {};
  std::qsort(numbers.data(), numbers.size(), sizeof(int), CompareInts);
  ::tzset();
}

}  // namespace parley::internal

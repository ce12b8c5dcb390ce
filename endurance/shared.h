// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_ENDURANCE_SHARED_H_
#define PARLEY_ENDURANCE_SHARED_H_

// Memory that a process shares with the children that it forks afterwards.

#include <sys/mman.h>

#include <atomic>
#include <cstdint>

#include "parley/os/check.h"

namespace parley::endurance {

// Zeroed, for as long as the process lives. For what is made of lock-free atomics and characters,
// for which zeros are a value.
template <typename T>
T* NewShared() {
  static_assert(std::atomic<int64_t>::is_always_lock_free);
  void* memory =
      ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  PARLEY_CHECK(memory != MAP_FAILED, "mmap");
  return static_cast<T*>(memory);
}

// For a number with one writer.
inline void Raise(std::atomic<int64_t>& largest, int64_t value) {
  if (value > largest.load()) largest.store(value);
}

}  // namespace parley::endurance

#endif  // PARLEY_ENDURANCE_SHARED_H_

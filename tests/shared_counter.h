// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTS_SHARED_COUNTER_H_
#define PARLEY_TESTS_SHARED_COUNTER_H_

// A number that a test shares with the children that it forks afterwards, for what the test itself
// has to know.

#include <sys/mman.h>

#include <atomic>
#include <cstdint>

#include "parley/os/check.h"

namespace parley {

class SharedCounter {
 public:
  SharedCounter()
      : page_(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    PARLEY_CHECK(page_ != MAP_FAILED, "mmap");
  }
  SharedCounter(const SharedCounter&) = delete;
  ~SharedCounter() { ::munmap(page_, 4096); }

  void Set(uint64_t value) { Word().store(value); }
  uint64_t Get() { return Word().load(); }

 private:
  std::atomic_ref<uint64_t> Word() {
    return std::atomic_ref<uint64_t>(*static_cast<uint64_t*>(page_));
  }
  void* page_;
};

}  // namespace parley

#endif  // PARLEY_TESTS_SHARED_COUNTER_H_

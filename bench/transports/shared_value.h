// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_TRANSPORTS_SHARED_VALUE_H_
#define PARLEY_BENCH_TRANSPORTS_SHARED_VALUE_H_

// A plain value that the two measured processes fill in and the one that started them reads, once
// they have ended. Trusted, and no part of any transport.
//
//   const SharedValue<Result> result;    // before the fork
//   result->count = 7;                   // in one of the two
//
// Threads: as the value's user says.

#include <sys/mman.h>

#include <memory>
#include <type_traits>

#include "parley/os/check.h"

namespace parley::bench {

template <typename T>
class SharedValue {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  SharedValue() {
    void* memory = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    PARLEY_CHECK(memory != MAP_FAILED, "mmap of a shared value");
    value_ = std::construct_at(static_cast<T*>(memory));
  }
  SharedValue(const SharedValue&) = delete;
  SharedValue& operator=(const SharedValue&) = delete;
  ~SharedValue() { ::munmap(value_, sizeof(T)); }

  T& operator*() const { return *value_; }
  T* operator->() const { return value_; }

 private:
  T* value_ = nullptr;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_TRANSPORTS_SHARED_VALUE_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_TRANSPORTS_SHARED_MEMORY_H_
#define PARLEY_BENCH_TRANSPORTS_SHARED_MEMORY_H_

// Plain memory that both processes map, for what is compared with Parley: no seals, no guard pages,
// writable by both.
//
// Threads: one at a time; the bytes as their user says.

#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"

namespace parley::bench {

class SharedMemory {
 public:
  // Made before the fork; every page is there, in both processes.
  static absl::StatusOr<SharedMemory> Create(std::size_t bytes);
  // `control_bytes`, then `data_bytes` twice in a row; both multiples of the page.
  static absl::StatusOr<SharedMemory> CreateMirrored(std::size_t control_bytes,
                                                     std::size_t data_bytes);
  SharedMemory(SharedMemory&& other) noexcept { *this = std::move(other); }
  SharedMemory& operator=(SharedMemory&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~SharedMemory();

  std::byte* base() const { return base_; }
  std::size_t size_bytes() const { return bytes_; }

 private:
  SharedMemory(std::byte* base, std::size_t bytes) : base_(base), bytes_(bytes) {}
  std::byte* base_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_TRANSPORTS_SHARED_MEMORY_H_

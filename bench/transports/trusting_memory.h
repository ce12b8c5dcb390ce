// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_TRANSPORTS_TRUSTING_MEMORY_H_
#define PARLEY_BENCH_TRANSPORTS_TRUSTING_MEMORY_H_

// The switch that turns Parley's validation off, for the benchmark alone: memory whose words pass
// every check unseen. Rings over it are the same code with the checks compiled out, so that the
// difference is what the checks cost, and nothing else.
//
// Trust: blind.
// Threads: as PeerMemory.

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "parley/boundary/peer_memory.h"
#include "parley/boundary/untrusted.h"

namespace parley::bench {

// In the place of Untrusted.
template <typename T>
class Trusted {
 public:
  explicit constexpr Trusted(T value) : value_(value) {}
  template <typename Accept>
  constexpr Validated<T> Validate(Accept&& /*not asked*/) const {
    return Validated<T>(value_, true);
  }
  constexpr T AnyValueIsAcceptable() const { return value_; }

 private:
  T value_;
};

// In the place of PeerMemory.
class TrustingMemory {
 public:
  using View = PeerView;

  TrustingMemory(const std::byte* base, std::size_t size_bytes) : memory_(base, size_bytes) {}

  Trusted<uint64_t> LoadAcquire64(std::size_t offset) const {
    return Trusted<uint64_t>(memory_.LoadAcquire64(offset).AnyValueIsAcceptable());
  }
  Trusted<uint64_t> LoadRelaxed64(std::size_t offset) const {
    return Trusted<uint64_t>(memory_.LoadRelaxed64(offset).AnyValueIsAcceptable());
  }
  void CopyOut(std::size_t offset, absl::Span<std::byte> into) const {
    memory_.CopyOut(offset, into);
  }
  void Prefetch(std::size_t offset) const { memory_.Prefetch(offset); }
  View ViewOf(std::size_t offset, std::size_t length) const {
    return memory_.ViewOf(offset, length);
  }

 private:
  PeerMemory memory_;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_TRANSPORTS_TRUSTING_MEMORY_H_

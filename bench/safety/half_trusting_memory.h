#ifndef PARLEY_BENCH_SAFETY_HALF_TRUSTING_MEMORY_H_
#define PARLEY_BENCH_SAFETY_HALF_TRUSTING_MEMORY_H_

// Switches that turn one kind of check off, for the benchmark alone; TrustingMemory turns off all.
//
// Trust: blind, in one respect each.
// Threads: as PeerMemory.

#include <cstddef>
#include <cstdint>

#include "parley/bench/transports/trusting_memory.h"
#include "parley/boundary/peer_memory.h"

namespace parley::bench {

// Believes where the peer says that it is.
class PositionTrustingMemory : public PeerMemory {
 public:
  using PeerMemory::PeerMemory;
  Trusted<uint64_t> LoadAcquire64(std::size_t offset) const {
    return Trusted<uint64_t>(PeerMemory::LoadAcquire64(offset).AnyValueIsAcceptable());
  }
};

// Believes the length of a record.
class HeaderTrustingMemory : public PeerMemory {
 public:
  using PeerMemory::PeerMemory;
  Trusted<uint64_t> LoadRelaxed64(std::size_t offset) const {
    return Trusted<uint64_t>(PeerMemory::LoadRelaxed64(offset).AnyValueIsAcceptable());
  }
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_SAFETY_HALF_TRUSTING_MEMORY_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_SAFETY_HEADER_TRUSTING_MEMORY_H_
#define PARLEY_BENCH_SAFETY_HEADER_TRUSTING_MEMORY_H_

// The switch that turns the checks of records' headers off and leaves those of positions, for the
// benchmark alone; TrustingMemory turns off both.
//
// Trust: blind for headers.
// Threads: as PeerMemory.

#include <cstddef>
#include <cstdint>

#include "parley/bench/transports/trusting_memory.h"
#include "parley/boundary/peer_memory.h"

namespace parley::bench {

class HeaderTrustingMemory : public PeerMemory {
 public:
  using PeerMemory::PeerMemory;
  Trusted<uint64_t> LoadRelaxed64(std::size_t offset) const {
    return Trusted<uint64_t>(PeerMemory::LoadRelaxed64(offset).AnyValueIsAcceptable());
  }
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_SAFETY_HEADER_TRUSTING_MEMORY_H_

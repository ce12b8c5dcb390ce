// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_SAFETY_BOTH_ENDS_H_
#define PARLEY_BENCH_SAFETY_BOTH_ENDS_H_

// Both ends of a channel in this process. The handshake is left out: callgrind can't follow it (it
// places seals in a process of its own), and its result is told here instead.
//
// Threads: as a channel.

#include <memory>

#include "absl/status/statusor.h"
#include "parley/channel/channel.h"
#include "parley/handshake/options.h"
#include "parley/sealing/file_registry.h"

namespace parley::bench {

struct BothEnds {
  // `fences`: kAsymmetric, else full; of both ends.
  static absl::StatusOr<std::unique_ptr<BothEnds>> Create(DoorbellKind doorbell, FenceMode fences);

  // One memory object has a role at each end.
  FileRegistry accepting_registry;
  FileRegistry connecting_registry;
  Channel accepting;
  Channel connecting;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_SAFETY_BOTH_ENDS_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SHM_GEOMETRY_H_
#define PARLEY_SHM_GEOMETRY_H_

// The shape of a region: one control page, then frames, or none, then a power of two of data bytes,
// or none.
//
// Trust: a geometry that the peer announced is validated once, here, and from then on is private.
// It is never read from shared memory.
// Threads: values; any.
//
//   if (absl::Status status = ValidateGeometry(geometry, limits); !status.ok()) return status;

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "parley/shm/shape.h"

namespace parley {

class FileRegistry;

// Neither part of a region is larger, whatever the limits say: the arithmetic on sizes can't
// overflow below this.
inline constexpr uint64_t kMaxPartBytes = uint64_t{1} << 40;

struct RegionGeometry {
  // A power of two and a multiple of the page, or 0 for a direction that carries no data: that one
  // still has its control page, for the cursor that answers the other direction.
  uint64_t data_bytes = 0;
  // Memory that is handed over in pieces and not in a ring (frames/): a multiple of the page, or 0.
  uint64_t frames_bytes = 0;

  bool operator==(const RegionGeometry&) const = default;
};

struct RegionLimits {
  uint64_t max_data_bytes = uint64_t{256} << 20;
  uint64_t max_frames_bytes = uint64_t{256} << 20;
  // Where the identity of each region is claimed for its lifetime, so that none has two roles.
  // Outlives the regions. nullptr: the caller compares identities itself.
  FileRegistry* registry = nullptr;
  // The identity is claimed as one of its readers (FileRegistry::ClaimAsReader). For regions that
  // this process only reads.
  bool as_reader = false;
};

// One page, the same for both ends since they share a kernel.
size_t ControlBytes();

// The size of the memfd: control page, frames and data.
uint64_t FileBytes(RegionGeometry geometry);

// kInvalidArgument for a shape that no region has; kResourceExhausted beyond the limits.
absl::Status ValidateGeometry(RegionGeometry geometry, const RegionLimits& limits);

}  // namespace parley

#endif  // PARLEY_SHM_GEOMETRY_H_

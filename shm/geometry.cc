// SPDX-License-Identifier: Apache-2.0
#include "parley/shm/geometry.h"

#include <algorithm>
#include <string>

#include "parley/sealing/guarded_range.h"

namespace parley {
namespace {

absl::Status CheckLimit(uint64_t bytes, uint64_t limit_bytes, const char* what) {
  const uint64_t most = std::min(limit_bytes, kMaxPartBytes);
  if (bytes <= most) return absl::OkStatus();
  return absl::ResourceExhaustedError("a region of " + std::to_string(bytes) + " " + what +
                                      " bytes is beyond the limit of " + std::to_string(most));
}

}  // namespace

size_t ControlBytes() { return PageBytes(); }

uint64_t FileBytes(RegionGeometry geometry) {
  return ControlBytes() + geometry.frames_bytes + geometry.data_bytes;
}

absl::Status ValidateGeometry(RegionGeometry geometry, const RegionLimits& limits) {
  const uint64_t data_bytes = geometry.data_bytes;
  absl::Status status = CheckLimit(data_bytes, limits.max_data_bytes, "data");
  if (!status.ok()) return status;
  status = CheckLimit(geometry.frames_bytes, limits.max_frames_bytes, "frame");
  if (!status.ok()) return status;
  const bool power_of_two = (data_bytes & (data_bytes - 1)) == 0;
  if (data_bytes != 0 && (!power_of_two || data_bytes < PageBytes())) {
    return absl::InvalidArgumentError("a region's data size is 0 or a power of two and at least " +
                                      std::to_string(PageBytes()) + ", not " +
                                      std::to_string(data_bytes));
  }
  if (geometry.frames_bytes % PageBytes() != 0) {
    return absl::InvalidArgumentError("a region's frames are a multiple of " +
                                      std::to_string(PageBytes()) + " bytes, not " +
                                      std::to_string(geometry.frames_bytes));
  }
  return absl::OkStatus();
}

}  // namespace parley

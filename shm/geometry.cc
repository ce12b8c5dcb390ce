#include "parley/shm/geometry.h"

#include <string>

#include "parley/sealing/guarded_range.h"

namespace parley {

size_t ControlBytes() { return PageBytes(); }

uint64_t FileBytes(RegionGeometry geometry) { return ControlBytes() + geometry.data_bytes; }

absl::Status ValidateGeometry(RegionGeometry geometry, const RegionLimits& limits) {
  const uint64_t data_bytes = geometry.data_bytes;
  if (data_bytes > limits.max_data_bytes || data_bytes > kLargestDataBytes) {
    return absl::ResourceExhaustedError(
        "a region of " + std::to_string(data_bytes) + " data bytes is beyond the limit of " +
        std::to_string(limits.max_data_bytes < kLargestDataBytes ? limits.max_data_bytes
                                                                 : kLargestDataBytes));
  }
  const bool power_of_two = (data_bytes & (data_bytes - 1)) == 0;
  if (data_bytes != 0 && (!power_of_two || data_bytes < PageBytes())) {
    return absl::InvalidArgumentError("a region's data size is 0 or a power of two and at least " +
                                      std::to_string(PageBytes()) + ", not " +
                                      std::to_string(data_bytes));
  }
  return absl::OkStatus();
}

}  // namespace parley

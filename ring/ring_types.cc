// SPDX-License-Identifier: Apache-2.0
#include "parley/ring/ring_types.h"

#include <bit>

#include "parley/ring/layout.h"

namespace parley {

bool IsValid(const RingGeometry& geometry) {
  return std::has_single_bit(geometry.capacity_bytes) &&
         geometry.capacity_bytes >= kMinCapacityBytes &&
         geometry.capacity_bytes <= kMaxCapacityBytes &&
         geometry.max_message_bytes <= geometry.capacity_bytes - kRecordHeaderBytes;
}

}  // namespace parley

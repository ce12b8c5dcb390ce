// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CHANNEL_BULK_WIRE_H_
#define PARLEY_CHANNEL_BULK_WIRE_H_

// What stands at the front of a message that travels in several records: docs/SPEC.md shows the
// same table, and a test compares the two.
//
//   record                               record            record
//   +---------------+----------------+   +------------+    +---------+
//   | BulkHeader    | first bytes    |   | more bytes |    | the rest|   all with the same tag
//   +---------------+----------------+   +------------+    +---------+
//
// Trust: the peer writes all of it, and decides where the bytes are cut.

#include <cstddef>
#include <cstdint>

#include "parley/boundary/wire_type.h"

namespace parley {

struct BulkHeaderWire {
  uint64_t total_bytes;  // of the whole message, without this header
  uint64_t reserved;     // 0
};

static_assert(WireType<BulkHeaderWire> && sizeof(BulkHeaderWire) == 16);
static_assert(offsetof(BulkHeaderWire, total_bytes) == 0 &&
              offsetof(BulkHeaderWire, reserved) == 8);

}  // namespace parley

#endif  // PARLEY_CHANNEL_BULK_WIRE_H_

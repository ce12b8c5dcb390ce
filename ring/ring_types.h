// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_RING_RING_TYPES_H_
#define PARLEY_RING_RING_TYPES_H_

// What both ends of a ring share: the outcome of a Try call, a record and the private geometry.
//
// Trust: an Outcome says what the peer did, or that the message is longer than what was agreed on
// with it; there is no heap and no text on the hot path.
// Threads: values.

#include <cstdint>

namespace parley {

enum class Outcome : uint8_t {
  kOk,          // it happened
  kWouldBlock,  // no room, or no data: nothing happened; try later
  kClosed,      // the other end closed in order, and everything before that has been delivered
  kPoisoned,    // the peer broke the protocol; see violation(); for good
  kTooLong,     // the caller's message is longer than max_message_bytes(): nothing happened
};

// Validated and private; the payload is elsewhere.
struct Record {
  uint32_t size_bytes = 0;  // of the payload
  uint32_t tag = 0;
};

// Agreed in the handshake, validated once, and private from then on.
struct RingGeometry {
  // A power of two from kMinCapacityBytes to kMaxCapacityBytes.
  uint64_t capacity_bytes = 0;
  // The longest payload of a record; at most capacity_bytes - kRecordHeaderBytes.
  uint32_t max_message_bytes = 0;
};

// Whether a ring can be built on this. Total: any values may be asked about.
bool IsValid(const RingGeometry& geometry);

}  // namespace parley

#endif  // PARLEY_RING_RING_TYPES_H_

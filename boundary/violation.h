// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BOUNDARY_VIOLATION_H_
#define PARLEY_BOUNDARY_VIOLATION_H_

// What a peer did that an honest one cannot do. The first violation poisons one channel for good.
//
// Trust: the value is ours; the peer's only influence is which of these it provokes.
// Threads: a value; any.

#include <cstdint>

namespace parley {

enum class Violation : uint8_t {
  kNone = 0,
  kProducerPositionOutOfRange,  // its tail is further ahead than the ring is long
  kProducerPositionBackwards,   // its tail moved back
  kProducerPositionMisaligned,  // its tail is not at a record's or element's boundary
  kProducerStateInvalid,        // neither open nor closed
  kConsumerPositionOutOfRange,  // its head is ahead of what we sent
  kConsumerPositionBackwards,   // its head moved back
  kConsumerPositionMisaligned,  // its head is not at a possible boundary
  kConsumerStateInvalid,        // neither open nor closed
  kRecordTooLong,               // longer than the agreed maximum
  kRecordBeyondTail,            // longer than the bytes that it has published
  kRecordPaddingNotZero,        // bytes after the payload's end are not zero
  kRecordTagReserved,           // a tag bit that is reserved is set
  kDoorbellFlood,               // woken again and again without progress
  kSignalsTooExpensive,         // to wake it takes too much of our processor
  kUnexpectedMessage,           // something on the socket that does not belong there
  kMetadataInvalid,             // a higher layer's header fails its checks
};

// "producer position out of range", for messages and logs; never null.
const char* ToString(Violation violation);

}  // namespace parley

#endif  // PARLEY_BOUNDARY_VIOLATION_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_PATTERNS_REQUEST_WIRE_H_
#define PARLEY_PATTERNS_REQUEST_WIRE_H_

// What requests and responses look like in a channel's records. docs/SPEC.md shows the same.
//
// Trust: sizes and offsets only; each field is validated by the end that receives it.
// Threads: constants.
//
//   static_assert(sizeof(RequestHeaderWire) == 24);

#include <cstddef>
#include <cstdint>

#include "parley/boundary/wire_type.h"

namespace parley {

inline constexpr uint32_t kRequestStart = 1;
inline constexpr uint32_t kRequestCancel = 2;
inline constexpr uint32_t kRequestResponse = 3;

// How a request ended. From kRequestUserCode on they are the users' own.
inline constexpr uint32_t kRequestDone = 0;
inline constexpr uint32_t kRequestCancelled = 1;  // the server stopped, because it was told to
inline constexpr uint32_t kRequestExpired = 2;    // its time was over
inline constexpr uint32_t kRequestUserCode = 256;

// Of one client at once.
inline constexpr uint32_t kMaxOutstandingRequests = 256;

// In front of each record's payload.
struct RequestHeaderWire {
  uint32_t kind;       // kRequestStart, kRequestCancel, kRequestResponse
  uint32_t code;       // of a response: how it ended; else 0
  uint64_t id;         // of the request: the client's first is 1, each further one more
  uint64_t budget_us;  // of a start: for how long the client will wait; else 0
};
static_assert(WireType<RequestHeaderWire> && sizeof(RequestHeaderWire) == 24);

}  // namespace parley

#endif  // PARLEY_PATTERNS_REQUEST_WIRE_H_

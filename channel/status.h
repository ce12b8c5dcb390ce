// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CHANNEL_STATUS_H_
#define PARLEY_CHANNEL_STATUS_H_

// How the outcomes of a channel are said as a status. Internal to channel/.
//
// Trust: texts of ours only; the peer's influence is which of them.
// Threads: pure functions.

#include <cstdint>

#include "absl/status/status.h"
#include "parley/boundary/violation.h"
#include "parley/wait/waiter.h"

namespace parley::internal {

// kDataLoss "the peer broke the protocol: ...".
absl::Status ViolationStatus(Violation violation);
// kInvalidArgument.
absl::Status TooLongStatus(uint32_t max_message_bytes);
// kOutOfRange.
absl::Status EndOfStream(const char* what);
// kUnavailable.
absl::Status PeerGoneStatus();
// OK for kReady; kCancelled for an interrupt.
absl::Status WaitStatus(Waiter::Result result, Violation violation);

}  // namespace parley::internal

#endif  // PARLEY_CHANNEL_STATUS_H_

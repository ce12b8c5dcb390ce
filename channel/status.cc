// SPDX-License-Identifier: Apache-2.0
#include "parley/channel/status.h"

#include <string>

namespace parley::internal {

absl::Status ViolationStatus(Violation violation) {
  return absl::DataLossError(std::string("the peer broke the protocol: ") + ToString(violation));
}

absl::Status TooLongStatus(uint32_t max_message_bytes) {
  return absl::InvalidArgumentError("the message is longer than max_message_bytes(), which is " +
                                    std::to_string(max_message_bytes));
}

absl::Status EndOfStream(const char* what) { return absl::OutOfRangeError(what); }

absl::Status PeerGoneStatus() {
  return absl::UnavailableError("the peer ended without closing the stream");
}

absl::Status WaitStatus(Waiter::Result result, Violation violation) {
  switch (result) {
    case Waiter::Result::kReady:
      return absl::OkStatus();
    case Waiter::Result::kDeadline:
      return absl::DeadlineExceededError("the peer did nothing in time");
    case Waiter::Result::kPeerGone:
      return PeerGoneStatus();
    case Waiter::Result::kViolation:
      return ViolationStatus(violation);
    case Waiter::Result::kInterrupted:
      return absl::CancelledError("the wait was interrupted");
  }
  return absl::InternalError("impossible wait result");
}

}  // namespace parley::internal

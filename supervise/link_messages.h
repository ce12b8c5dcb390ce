// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_SUPERVISE_LINK_MESSAGES_H_
#define PARLEY_SUPERVISE_LINK_MESSAGES_H_

// The worker's messages to its host, validated: total functions of bytes, without a channel, for
// the host, its tests and its fuzz target.
//
// Trust: each takes a message of the worker's that was copied into private memory, and gives a
// value whose fields are in range and whose text is printable, or nothing: then the worker broke
// the protocol.
// Threads: pure functions; any.
//
//   const std::optional<ReadRequest> request = ParseRead(bytes, max_answer_bytes);
//   if (!request) channel.receiver.Poison(Violation::kMetadataInvalid);

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace parley::internal {

struct ReadRequest {
  uint64_t offset = 0;
  uint32_t size_bytes = 0;
};
// `max_bytes`: what fits into one answer. The offset is any: beyond the end there is nothing.
std::optional<ReadRequest> ParseRead(absl::Span<const std::byte> message, std::size_t max_bytes);

// Why the worker gives up: never OK.
std::optional<absl::Status> ParseFailed(absl::Span<const std::byte> message);

// The outcome of the job `number`, which is the only one that may be reported now.
std::optional<absl::Status> ParseJobDone(absl::Span<const std::byte> message, uint64_t number);

// The number up to which a worker of this epoch has dealt with its messages: one of those that it
// was sent and has not acknowledged yet, from `oldest` to `newest`.
std::optional<uint64_t> ParseAcknowledged(absl::Span<const std::byte> message, uint32_t epoch,
                                          uint64_t oldest, uint64_t newest);

}  // namespace parley::internal

#endif  // PARLEY_SUPERVISE_LINK_MESSAGES_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_RESULT_WRITER_H_
#define PARLEY_THUMB_RESULT_WRITER_H_

// A result as messages; the other side of result_reader.h.
//
// Threads: one at a time.

#include <cstddef>
#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/thumb/make_thumbnail.h"

namespace parley::thumb {

using SendMessage = std::function<absl::Status(uint32_t tag, absl::Span<const std::byte> bytes)>;

// In messages of at most `max_message_bytes`. The first error of `send`.
absl::Status SendResult(const ThumbResult& result, std::size_t max_message_bytes,
                        const SendMessage& send);

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_RESULT_WRITER_H_

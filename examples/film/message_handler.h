// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_MESSAGE_HANDLER_H_
#define PARLEY_EXAMPLES_FILM_MESSAGE_HANDLER_H_

// Whoever takes the messages of one worker: the film's receiver, or that of its second look.
//
// Trust: every message is hostile, and already a private copy but for what OnFrame says.
// Threads: one at a time.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace parley::film {

enum class Verdict {
  kGoOn,
  kEnded,       // in order
  kFailed,      // the worker says why in failure()
  kViolation,   // status() says which
  kSinkFailed,  // status() is the sink's
};

class MessageHandler {
 public:
  virtual ~MessageHandler() = default;
  // Anything but kGoOn is final.
  virtual Verdict OnMessage(uint32_t tag, absl::Span<const std::byte> message) = 0;
  // A frame of the channel's arena: its metadata, a private copy, and its bytes, which are private
  // or, where the session reads in place, may change at any time. By default no such message
  // exists.
  virtual Verdict OnFrame(uint32_t tag, absl::Span<const std::byte> /*metadata*/,
                          absl::Span<const std::byte> /*payload*/) {
    return OnMessage(tag, {});
  }
  virtual const absl::Status& status() const = 0;
  // Printable ASCII.
  virtual const std::string& failure() const = 0;
};

// Up to the first zero; everything that a terminal could obey becomes '?'.
template <size_t kSize>
std::string Printable(const std::array<uint8_t, kSize>& text) {
  std::string out;
  for (const uint8_t c : text) {
    if (c == 0) break;
    out.push_back(c >= 0x20 && c < 0x7f ? static_cast<char>(c) : '?');
  }
  return out;
}

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_MESSAGE_HANDLER_H_

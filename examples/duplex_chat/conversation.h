// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_DUPLEX_CHAT_CONVERSATION_H_
#define PARLEY_EXAMPLES_DUPLEX_CHAT_CONVERSATION_H_

// A conversation over one channel: lines typed here go to the other side, its lines are printed,
// both at once, in one event loop.
//
// Trust: the other side may say anything (it is made printable), not read (what was typed waits;
// after a while the conversation ends), flood (its lines are taken a few at a time) or die (the
// conversation ends).
// Threads: one.
//
//   Conversation conversation(*std::move(channel), {.stop_fd = signals.get()});
//   absl::Status end = conversation.Run();

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "parley/channel/channel.h"
#include "parley/examples/duplex_chat/line_reader.h"
#include "parley/os/deadline.h"

namespace parley {

struct ConversationOptions {
  int stop_fd = -1;  // readable: end at once
  // How long a line may wait for an other side that does not read.
  absl::Duration patience = absl::Seconds(30);
};

class Conversation {
 public:
  Conversation(Channel channel, const ConversationOptions& options);

  // Until both sides have ended their input: OK. kUnavailable: the other side died;
  // kDeadlineExceeded: it reads no more; kDataLoss: it broke the protocol; kCancelled: stop_fd.
  absl::Status Run();

 private:
  // Each does what can be done now without waiting; an error ends the conversation.
  absl::Status Hear();
  absl::Status Say();
  // Sleeps until there is something to do.
  absl::Status Sleep();
  absl::Status CheckPatience();

  Channel channel_;
  const ConversationOptions options_;
  LineReader input_;
  std::vector<std::byte> heard_;
  std::optional<std::string> unsent_;  // while there is no room for it, nothing more is read
  std::optional<Deadline> notice_;     // when to say that the other side does not read
  std::optional<Deadline> give_up_;
  bool hearing_ = true;
  bool saying_ = true;
  bool more_to_hear_ = false;
};

}  // namespace parley

#endif  // PARLEY_EXAMPLES_DUPLEX_CHAT_CONVERSATION_H_

// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/duplex_chat/conversation.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <iostream>

#include "absl/types/span.h"
#include "parley/examples/hello/printable.h"
#include "parley/os/poll.h"

namespace parley {
namespace {

constexpr uint32_t kLineTag = 1;
constexpr int kLinesPerTurn = 64;
constexpr absl::Duration kNoticeAfter = absl::Seconds(1);

void Notice(const std::string& text) { std::cerr << "* " << text << std::endl; }

absl::Span<const std::byte> BytesOf(const std::string& text) {
  // SAFETY: characters seen as bytes.
  return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(text.data()), text.size());
}

}  // namespace

Conversation::Conversation(Channel channel, const ConversationOptions& options)
    : channel_(std::move(channel)),
      options_(options),
      input_(STDIN_FILENO, channel_.sender.max_message_bytes()),
      heard_(channel_.receiver.max_message_bytes()) {}

absl::Status Conversation::Run() {
  while (hearing_ || saying_) {
    if (absl::Status s = Hear(); !s.ok()) return s;
    if (absl::Status s = Say(); !s.ok()) return s;
    if (!hearing_ && !saying_) break;
    if (absl::Status s = Sleep(); !s.ok()) return s;
    if (absl::Status s = CheckPatience(); !s.ok()) return s;
  }
  // Both sides have ended. Whether the other one also took all that was said here:
  return channel_.sender.AwaitDrained(Deadline::After(options_.patience));
}

absl::Status Conversation::Hear() {
  more_to_hear_ = false;
  for (int i = 0; hearing_ && i < kLinesPerTurn; ++i) {
    Record record;
    const Outcome outcome = channel_.receiver.TryReceive(absl::MakeSpan(heard_), &record);
    if (outcome == Outcome::kWouldBlock) return absl::OkStatus();
    if (outcome == Outcome::kOk) {
      // SAFETY: bytes seen as characters.
      const std::string text(reinterpret_cast<const char*>(heard_.data()), record.size_bytes);
      std::cout << "> " << Printable(text) << '\n';
    } else if (outcome == Outcome::kClosed) {
      hearing_ = false;
      if (saying_) Notice("the other side has said all it had to say");
    } else {
      return absl::DataLossError(std::string("the other side broke the protocol: ") +
                                 ToString(channel_.receiver.violation()));
    }
  }
  more_to_hear_ = hearing_;
  return absl::OkStatus();
}

absl::Status Conversation::Say() {
  while (saying_) {
    if (!unsent_) unsent_ = input_.TakeLine();
    if (!unsent_) {
      if (!input_.at_end()) return absl::OkStatus();
      saying_ = false;
      channel_.sender.Close();  // the other side hears everything, and then that it is the end
      if (hearing_) Notice("you have said all you had to say; still listening");
      return absl::OkStatus();
    }
    const Outcome outcome = channel_.sender.TrySend(kLineTag, BytesOf(*unsent_));
    if (outcome == Outcome::kClosed) return absl::UnavailableError("the other side hung up");
    if (outcome == Outcome::kPoisoned) {
      return absl::DataLossError(std::string("the other side broke the protocol: ") +
                                 ToString(channel_.sender.violation()));
    }
    if (outcome == Outcome::kWouldBlock) {
      if (!give_up_) {
        notice_ = Deadline::After(kNoticeAfter);
        give_up_ = Deadline::After(options_.patience);
      }
      return absl::OkStatus();
    }
    unsent_.reset();
    notice_.reset();
    give_up_.reset();
  }
  return absl::OkStatus();
}

absl::Status Conversation::Sleep() {
  Sender& sender = channel_.sender;
  Receiver& receiver = channel_.receiver;
  // Announce the sleep first; whoever finds news now does not sleep.
  bool news = more_to_hear_;
  const bool await_data = hearing_ && !news;
  if (await_data && !receiver.PrepareToWait()) news = true;
  const bool await_room = unsent_.has_value();
  if (await_room && !sender.PrepareToWait(unsent_->size())) news = true;

  // poll ignores entries with the descriptor -1. While a line waits for room, no other one is read:
  // that is how the slowness of the other side reaches whoever types here.
  const bool await_line = saying_ && !await_room && !input_.at_end();
  std::array<pollfd, 4> polled = {{
      {options_.stop_fd, POLLIN, 0},
      {await_line ? STDIN_FILENO : -1, POLLIN, 0},
      {await_data ? receiver.descriptor() : -1, POLLIN, 0},
      {await_room ? sender.descriptor() : -1, POLLIN, 0},
  }};
  Deadline wake = Deadline::After(news ? absl::ZeroDuration() : absl::Hours(1));
  if (notice_) wake = wake.Or(*notice_);
  if (give_up_) wake = wake.Or(*give_up_);
  std::cout.flush();
  const auto ready = PollUntil(absl::MakeSpan(polled), wake);
  if (!ready.ok()) return ready.status();
  if (polled[0].revents != 0) return absl::CancelledError("interrupted");
  if (polled[1].revents != 0) input_.Read();
  if (polled[2].revents != 0) {
    if (absl::Status s = receiver.FinishWait(); !s.ok()) return s;
  }
  if (polled[3].revents != 0) {
    if (absl::Status s = sender.FinishWait(unsent_->size()); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status Conversation::CheckPatience() {
  if (notice_ && notice_->Expired()) {
    Notice("the other side does not read; what you said waits (Ctrl-C gives up)");
    notice_.reset();
  }
  if (give_up_ && give_up_->Expired()) {
    return absl::DeadlineExceededError("gave up: the other side reads no more");
  }
  return absl::OkStatus();
}

}  // namespace parley

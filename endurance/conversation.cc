// SPDX-License-Identifier: Apache-2.0
#include "parley/endurance/conversation.h"

#include <algorithm>
#include <cstring>

#include "parley/endurance/shared.h"

namespace parley::endurance {
namespace {

uint64_t Mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

std::size_t SizeOf(uint64_t number) {
  const uint64_t mixed = Mix(number);
  const std::size_t size = sizeof(number) + mixed % 1024;
  return mixed % 31 == 0 ? size + 8192 : size;
}

}  // namespace

void FillMessage(uint64_t number, std::vector<std::byte>* message) {
  message->resize(SizeOf(number));
  std::memcpy(message->data(), &number, sizeof(number));
  for (std::size_t at = sizeof(number); at < message->size(); at += sizeof(uint64_t)) {
    const uint64_t word = Mix(number * 4096 + at);
    std::memcpy(message->data() + at, &word, std::min(sizeof(word), message->size() - at));
  }
}

uint64_t CheckMessage(absl::Span<const std::byte> message) {
  uint64_t number = 0;
  if (message.size() < sizeof(number)) return 0;
  std::memcpy(&number, message.data(), sizeof(number));
  std::vector<std::byte> expected;
  FillMessage(number, &expected);
  const bool same = expected.size() == message.size() &&
                    std::memcmp(expected.data(), message.data(), message.size()) == 0;
  return same ? number : 0;
}

Talk::Talk(Channel& channel, Diary& diary, const Pace& pace)
    : channel_(channel), diary_(diary), pace_(pace), random_(pace.seed) {
  buffer_.resize(channel.receiver.max_message_bytes());
}

Deadline Talk::NextDeadline() {
  const int64_t range_us = absl::ToInt64Microseconds(pace_.longest - pace_.shortest);
  const auto more_us = static_cast<int64_t>(random_() % (static_cast<uint64_t>(range_us) + 1));
  return In(pace_.shortest + absl::Microseconds(more_us));
}

absl::Status Talk::Send(absl::Span<const std::byte> bytes) {
  const Deadline patience = Patience();
  while (true) {
    const villain::Call call(diary_.notes, "Send", NextDeadline());
    absl::Status status = channel_.sender.Send(kTag, bytes, call.deadline());
    if (!absl::IsDeadlineExceeded(status) || patience.Expired()) return status;
    diary_.timeouts.fetch_add(1);
  }
}

absl::StatusOr<uint64_t> Talk::Receive() {
  const Deadline patience = Patience();
  while (true) {
    const villain::Call call(diary_.notes, "Receive", NextDeadline());
    const auto record = channel_.receiver.Receive(absl::MakeSpan(buffer_), call.deadline());
    if (record.ok()) {
      received_bytes_ = record->size_bytes;
      const uint64_t number = CheckMessage(received());
      if (number == 0 || record->tag != kTag) {
        return absl::DataLossError("a message had another content than was sent");
      }
      diary_.messages.fetch_add(1);
      return number;
    }
    if (!absl::IsDeadlineExceeded(record.status()) || patience.Expired()) return record.status();
    diary_.timeouts.fetch_add(1);
  }
}

absl::Status Talk::AwaitEnd() {
  const absl::Status status = Receive().status();
  if (absl::IsOutOfRange(status)) return absl::OkStatus();
  return status.ok() ? absl::DataLossError("a message after the last one") : status;
}

absl::Status Converse(Channel& channel, Diary& diary, const Pace& pace) {
  Talk talk(channel, diary, pace);
  std::vector<std::byte> message;
  for (uint64_t number = 1; number <= static_cast<uint64_t>(pace.messages); ++number) {
    FillMessage(number, &message);
    if (absl::Status s = talk.Send(message); !s.ok()) return s;
    const auto back = talk.Receive();
    if (!back.ok()) return back.status();
    if (*back != number) return absl::DataLossError("a message came back as another one");
  }
  channel.sender.Close();
  return talk.AwaitEnd();
}

absl::Status Answer(Channel& channel, Diary& diary, const Pace& pace) {
  Talk talk(channel, diary, pace);
  for (uint64_t expected = 1;; ++expected) {
    const auto number = talk.Receive();
    if (absl::IsOutOfRange(number.status())) break;
    if (!number.ok()) return number.status();
    if (*number != expected) return absl::DataLossError("a message was lost or came twice");
    if (absl::Status s = talk.Send(talk.received()); !s.ok()) return s;
  }
  channel.sender.Close();
  return absl::OkStatus();
}

Diary& NoDiary() {
  static Diary* const diary = NewShared<Diary>();
  return *diary;
}

}  // namespace parley::endurance

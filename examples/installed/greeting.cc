// SPDX-License-Identifier: Apache-2.0

// One process greets another over a channel, built against an installed Parley.
//
//   greeting PATH &          waits at the socket PATH and prints what it is sent
//   greeting PATH WORD       sends WORD there

#include <array>
#include <cstddef>
#include <iostream>
#include <string>

#include "parley/channel/channel.h"

constexpr uint32_t kTextTag = 1;

absl::Status Print(const std::string& path, parley::Deadline deadline) {
  auto listener = parley::ChannelListener::Listen(path, {});
  if (!listener.ok()) return listener.status();
  auto channel = listener->Accept(deadline);
  if (!channel.ok()) return channel.status();
  std::array<std::byte, 16384> buffer;
  auto message = channel->receiver.Receive(absl::MakeSpan(buffer), deadline);
  if (!message.ok()) return message.status();
  for (std::size_t i = 0; i < message->size_bytes; ++i) {
    const char c = static_cast<char>(buffer[i]);
    std::cout << (c >= ' ' && c <= '~' ? c : '?');  // the text is the sender's: no escapes
  }
  std::cout << std::endl;
  return absl::OkStatus();
}

absl::Status Say(const std::string& path, const std::string& word, parley::Deadline deadline) {
  auto channel = parley::ConnectChannel(path, {}, deadline);
  if (!channel.ok()) return channel.status();
  auto bytes = absl::MakeConstSpan(word.data(), word.size());
  // SAFETY: characters seen as bytes.
  auto sent = channel->sender.Send(
      kTextTag, {reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, deadline);
  return sent.ok() ? channel->sender.AwaitDrained(deadline) : sent;
}

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::cerr << "usage: greeting PATH [WORD]\n";
    return 2;
  }
  const auto deadline = parley::Deadline::After(absl::Seconds(10));
  const absl::Status status =
      argc == 2 ? Print(argv[1], deadline) : Say(argv[1], argv[2], deadline);
  if (!status.ok()) std::cerr << "greeting: " << status.message() << '\n';
  return status.ok() ? 0 : 1;
}

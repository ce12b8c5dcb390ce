// SPDX-License-Identifier: Apache-2.0

// Prints each message that hello_sender sends, until it closes.
//
//   hello_receiver PATH

#include <csignal>
#include <iostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "parley/channel/channel.h"
#include "parley/examples/hello/printable.h"

volatile std::sig_atomic_t interrupted = 0;

// Waits as long as it takes, and still notices Ctrl-C: short deadlines, again and again.
template <typename Call>
auto UntilInterrupted(Call call) {
  auto result = call(parley::Deadline::After(absl::Milliseconds(200)));
  while (absl::IsDeadlineExceeded(result.status()) && !interrupted) {
    result = call(parley::Deadline::After(absl::Milliseconds(200)));
  }
  return result;
}

absl::StatusOr<parley::Channel> AcceptOne(const std::string& path) {
  parley::AcceptOptions options;
  options.direction = parley::Direction::kReceiveOnly;
  auto listener = parley::ChannelListener::Listen(path, options);
  if (!listener.ok()) return listener.status();
  return UntilInterrupted([&](auto deadline) { return listener->Accept(deadline); });
}  // the listener goes, and its socket file with it

absl::Status PrintAll(parley::Receiver& receiver) {
  std::vector<std::byte> buffer(receiver.max_message_bytes());
  while (!interrupted) {
    auto message = UntilInterrupted(
        [&](auto deadline) { return receiver.Receive(absl::MakeSpan(buffer), deadline); });
    if (absl::IsOutOfRange(message.status())) return absl::OkStatus();  // the sender closed
    if (!message.ok()) return message.status();
    // SAFETY: bytes seen as characters.
    const std::string text(reinterpret_cast<const char*>(buffer.data()), message->size_bytes);
    std::cout << parley::Printable(text) << std::endl;  // the text is the sender's: no escapes
  }
  return absl::CancelledError("interrupted");
}

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: hello_receiver PATH   waits for hello_sender on the socket PATH\n";
    return 2;
  }
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { interrupted = 1; });
  auto channel = AcceptOne(argv[1]);
  const absl::Status status = channel.ok() ? PrintAll(channel->receiver) : channel.status();
  if (status.ok()) return 0;
  std::cerr << "hello_receiver: " << (interrupted ? "interrupted" : status.message()) << '\n';
  return interrupted ? 130 : 1;
}

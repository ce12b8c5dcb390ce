// SPDX-License-Identifier: Apache-2.0

// Sends each of its arguments as one message to hello_receiver.
//
//   hello_sender PATH MESSAGE...

#include <iostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"

constexpr uint32_t kTextTag = 1;

absl::Status SendAll(const std::string& path, const std::vector<std::string>& messages) {
  parley::ConnectOptions options;
  options.direction = parley::Direction::kSendOnly;
  const auto patience = parley::Deadline::After(absl::Seconds(5));
  auto channel = parley::ConnectChannel(path, options, patience);
  if (!channel.ok()) return channel.status();

  parley::Sender& sender = channel->sender;
  for (const std::string& text : messages) {
    if (text.size() > sender.max_message_bytes()) {
      return absl::InvalidArgumentError("a message has at most " +
                                        std::to_string(sender.max_message_bytes()) + " bytes");
    }
    // SAFETY: characters seen as bytes.
    const auto bytes =
        absl::MakeConstSpan(reinterpret_cast<const std::byte*>(text.data()), text.size());
    const absl::Status sent = sender.Send(kTextTag, bytes, patience);
    if (!sent.ok()) return sent;
  }
  sender.Close();
  return sender.AwaitDrained(patience);  // so that success means: all of it was received
}

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: hello_sender PATH MESSAGE...   sends to hello_receiver at socket PATH\n";
    return 2;
  }
  const absl::Status status = SendAll(argv[1], {argv + 2, argv + argc});
  if (status.ok()) return 0;
  std::cerr << "hello_sender: " << status.message() << '\n';
  return 1;
}

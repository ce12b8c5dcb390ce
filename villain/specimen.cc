// SPDX-License-Identifier: Apache-2.0

// A user's own peer, as `villain attack` meets it: a few lines on top of a channel.
//
//   specimen listen PATH      serves one peer after the other
//   specimen connect PATH     connects again and again
//   specimen inherited        the socket whose number is in PARLEY_SOCKET
//   specimen wedged           never looks at its socket, and never ends
//   specimen reports          as inherited, and prints what a sanitizer prints

#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "parley/channel/channel.h"

namespace {

using parley::Channel;
using parley::Deadline;

void Use(Channel& channel) {
  const Deadline until = Deadline::After(absl::Milliseconds(400));
  std::vector<std::byte> buffer(channel.receiver.max_message_bytes());
  while (!until.Expired()) {
    const Deadline soon = Deadline::After(absl::Milliseconds(20));
    const auto record = channel.receiver.Receive(absl::MakeSpan(buffer), soon);
    if (!record.ok() && !absl::IsDeadlineExceeded(record.status())) return;
    const absl::Status sent = channel.sender.Send(1, {}, Deadline::After(absl::Milliseconds(20)));
    if (!sent.ok() && !absl::IsDeadlineExceeded(sent)) return;
  }
}

int Listen(const std::string& path) {
  auto listener = parley::ChannelListener::Listen(path, {});
  if (!listener.ok()) return 1;
  while (true) {
    auto channel = listener->Accept(Deadline::After(absl::Seconds(1)));
    if (channel.ok()) Use(*channel);
  }
}

int Connect(const std::string& path) {
  while (true) {
    auto channel = parley::ConnectChannel(path, {}, Deadline::After(absl::Seconds(1)));
    if (channel.ok()) Use(*channel);
    ::usleep(10'000);
  }
}

int Inherited() {
  auto channel = parley::ConnectInheritedChannel({}, Deadline::After(absl::Seconds(1)));
  if (channel.ok()) Use(*channel);
  return 0;  // a hostile peer is no failure of this program
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 2 && words[0] == "listen") return Listen(words[1]);
  if (words.size() == 2 && words[0] == "connect") return Connect(words[1]);
  if (words.size() == 1 && words[0] == "inherited") return Inherited();
  if (words.size() == 1 && words[0] == "reports") {
    std::fputs("==17==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000010\n",
               stderr);
    return Inherited();
  }
  if (words.size() == 1 && words[0] == "wedged") {
    while (true) ::pause();
  }
  return 2;
}

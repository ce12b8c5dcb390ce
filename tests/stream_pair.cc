// SPDX-License-Identifier: Apache-2.0

// Two processes that stream, to be watched by strace: see steady_state_test.cc.
//
//   stream_pair busy|waiting MESSAGES
//
// busy: both ends try without ever waiting. waiting: the calls that sleep. The stretch to be looked
// at lies between two writes to the descriptor -1, which do nothing but appear in the trace. The
// parent prints how often each process rang and slept.

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"

namespace parley {
namespace {

Deadline Generous() { return Deadline::After(absl::Seconds(60)); }

void Mark(std::string_view text) { static_cast<void>(!::write(-1, text.data(), text.size())); }

// Sends `count` messages and receives as many, both all the time.
bool Busy(Channel& channel, uint64_t count) {
  const std::array<std::byte, 32> message = {};
  std::vector<std::byte> buffer(channel.receiver.max_message_bytes());
  const Deadline deadline = Generous();
  Record record;
  uint64_t sent = 0;
  uint64_t received = 0;
  while (sent < count || received < count) {
    if (sent < count && channel.sender.TrySend(1, message) == Outcome::kOk) ++sent;
    if (received < count &&
        channel.receiver.TryReceive(absl::MakeSpan(buffer), &record) == Outcome::kOk) {
      ++received;
    }
    if (deadline.Expired()) return false;
  }
  return true;
}

bool SendAll(Channel& channel, uint64_t count) {
  const std::array<std::byte, 32> message = {};
  for (uint64_t i = 0; i < count; ++i) {
    if (!channel.sender.Send(1, message, Generous()).ok()) return false;
  }
  return channel.sender.AwaitDrained(Generous()).ok();
}

bool ReceiveAll(Channel& channel, uint64_t count) {
  std::vector<std::byte> buffer(channel.receiver.max_message_bytes());
  for (uint64_t i = 0; i < count; ++i) {
    if (!channel.receiver.Receive(absl::MakeSpan(buffer), Generous()).ok()) return false;
  }
  return true;
}

int Stream(Channel channel, bool busy, bool parent, uint64_t count) {
  // Both are there and awake.
  std::vector<std::byte> buffer(channel.receiver.max_message_bytes());
  if (!channel.sender.Send(1, {}, Generous()).ok()) return 1;
  if (!channel.receiver.Receive(absl::MakeSpan(buffer), Generous()).ok()) return 1;
  const uint64_t rings = channel.sender.stats().signals + channel.receiver.stats().signals;
  const uint64_t sleeps = channel.sender.stats().sleeps + channel.receiver.stats().sleeps;
  Mark("begin");
  const bool done = busy     ? Busy(channel, count)
                    : parent ? SendAll(channel, count)
                             : ReceiveAll(channel, count);
  Mark("end");
  if (!done) return 2;
  const auto& sent = channel.sender.stats();
  const auto& received = channel.receiver.stats();
  // `early`: rung before the marks, so perhaps taken between the other end's.
  std::printf("%s early=%llu rings=%llu sleeps=%llu\n", parent ? "parent" : "child",
              static_cast<unsigned long long>(rings),
              static_cast<unsigned long long>(sent.signals + received.signals - rings),
              static_cast<unsigned long long>(sent.sleeps + received.sleeps - sleeps));
  std::fflush(stdout);
  channel.sender.Close();
  static_cast<void>(channel.receiver.Receive(absl::MakeSpan(buffer), Generous()));
  return 0;
}

int Run(bool busy, uint64_t count) {
  auto sockets = PeerSocket::Pair();
  if (!sockets.ok()) return 1;
  const pid_t child = ::fork();
  if (child == 0) {
    {
      auto unused = std::move(sockets->first);
    }
    auto channel = ConnectChannel(std::move(sockets->second), {}, Generous());
    return channel.ok() ? Stream(*std::move(channel), busy, false, count) : 3;
  }
  {
    auto unused = std::move(sockets->second);
  }
  auto channel = AcceptChannel(std::move(sockets->first), {}, Generous());
  const int mine = channel.ok() ? Stream(*std::move(channel), busy, true, count) : 3;
  int status = 0;
  ::waitpid(child, &status, 0);
  return mine != 0 ? mine : WEXITSTATUS(status);
}

}  // namespace
}  // namespace parley

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  return parley::Run(std::strcmp(argv[1], "busy") == 0, std::strtoull(argv[2], nullptr, 10));
}

// SPDX-License-Identifier: Apache-2.0

// An echo server in a WaitSet and a client with a few channels, to be watched by strace: see
// wait_set_test.cc.
//
//   echo_loop MESSAGES
//
// The stretch of the server that is to be looked at lies between two writes to the descriptor -1,
// which do nothing but appear in the trace. It prints what the set counted in it.

#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"
#include "parley/tests/echo_server.h"
#include "parley/wait_set/wait_set.h"

namespace parley {
namespace {

constexpr std::size_t kChannels = 4;
constexpr uint64_t kWarmUp = 20;

Deadline Generous() { return Deadline::After(absl::Seconds(60)); }

void Mark(std::string_view text) { static_cast<void>(!::write(-1, text.data(), text.size())); }

int Ask(std::vector<PeerSocket> sockets, uint64_t messages) {
  std::vector<Channel> channels;
  for (PeerSocket& socket : sockets) {
    auto channel = ConnectChannel(std::move(socket), {}, Generous(), WaitOptions::LowestPower());
    if (!channel.ok()) return 3;
    channels.push_back(*std::move(channel));
  }
  std::vector<std::byte> buffer(channels[0].receiver.max_message_bytes());
  for (uint64_t i = 0; i < messages + kWarmUp; ++i) {
    Channel& channel = channels[i % kChannels];
    if (!channel.sender.Send(1, {}, Generous()).ok()) return 4;
    if (!channel.receiver.Receive(absl::MakeSpan(buffer), Generous()).ok()) return 5;
  }
  return 0;
}

int Serve(std::vector<PeerSocket> sockets, uint64_t messages) {
  auto set = WaitSet::Create();
  if (!set.ok()) return 6;
  EchoServer server(set->get());
  for (PeerSocket& socket : sockets) {
    auto channel = AcceptChannel(std::move(socket), {}, Generous());
    if (!channel.ok()) return 7;
    server.Add(*std::move(channel));
  }
  while (server.echoed() < kWarmUp && server.ended() == 0) (*set)->RunOnce(Generous());
  const WaitSetStats before = (*set)->stats();
  Mark("begin");
  while (server.echoed() < kWarmUp + messages && server.ended() == 0) (*set)->RunOnce(Generous());
  Mark("end");
  const WaitSetStats& after = (*set)->stats();
  std::printf("polls=%llu handlers=%llu spurious=%llu\n",
              static_cast<unsigned long long>(after.polls - before.polls),
              static_cast<unsigned long long>(after.handlers - before.handlers),
              static_cast<unsigned long long>(after.spurious - before.spurious));
  std::fflush(stdout);
  return server.echoed() == kWarmUp + messages ? 0 : 8;
}

int Run(uint64_t messages) {
  std::vector<PeerSocket> ours;
  std::vector<PeerSocket> theirs;
  for (std::size_t i = 0; i < kChannels; ++i) {
    auto sockets = PeerSocket::Pair();
    if (!sockets.ok()) return 1;
    ours.push_back(std::move(sockets->first));
    theirs.push_back(std::move(sockets->second));
  }
  const pid_t child = ::fork();
  if (child == 0) {
    ours.clear();
    return Ask(std::move(theirs), messages);
  }
  theirs.clear();
  const int served = Serve(std::move(ours), messages);
  int status = 0;
  ::waitpid(child, &status, 0);
  return served != 0 ? served : WEXITSTATUS(status);
}

}  // namespace
}  // namespace parley

int main(int argc, char** argv) {
  if (argc != 2) return 64;
  return parley::Run(std::strtoull(argv[1], nullptr, 10));
}

#include "parley/testing/channel_pair.h"

#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"

namespace parley::testing {

absl::StatusOr<std::unique_ptr<ChannelPair>> ChannelPair::Create(
    const ChannelPairOptions& options) {
  std::unique_ptr<ChannelPair> pair(new ChannelPair);  // NOLINT: private constructor
  AcceptOptions accept;
  accept.held = &pair->accepting_held_;
  accept.peer_is_confined_or_trusted = options.eventfd;
  accept.send = options.ring;
  accept.receive = options.ring;
  ConnectOptions connect;
  connect.held = &pair->connecting_held_;
  connect.accepting_side_is_supervisor = options.eventfd;

  auto sockets = PeerSocket::Pair();
  if (!sockets.ok()) return sockets.status();
  const Deadline deadline = Deadline::After(absl::Seconds(30));
  absl::StatusOr<Channel> connected = absl::UnknownError("not tried");
  std::thread other([&] {
    connected = ConnectChannel(std::move(sockets->second), connect, deadline, options.wait);
  });
  absl::StatusOr<Channel> accepted =
      AcceptChannel(std::move(sockets->first), accept, deadline, options.wait);
  other.join();
  if (!accepted.ok()) return accepted.status();
  if (!connected.ok()) return connected.status();
  pair->accepting_ = *std::move(accepted);
  pair->connecting_ = *std::move(connected);
  return pair;
}

}  // namespace parley::testing

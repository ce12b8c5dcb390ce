#include "parley/bench/safety/both_ends.h"

#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "parley/channel/wait_options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"

namespace parley::bench {

absl::StatusOr<std::unique_ptr<BothEnds>> BothEnds::Create(DoorbellChoice doorbell,
                                                           FenceChoice fences) {
  auto sockets = PeerSocket::Pair();
  if (!sockets.ok()) return sockets.status();
  auto ends = std::make_unique<BothEnds>();
  const Deadline deadline = Deadline::After(absl::Minutes(1));
  const WaitOptions wait = WaitOptions::LowestPower();
  absl::StatusOr<Channel> connected = absl::UnknownError("no handshake");
  std::thread connecting([&] {
    ConnectOptions options;
    options.accepting_side_is_supervisor = doorbell == DoorbellChoice::kEventfd;
    options.fences = fences;
    options.held = &ends->connecting_held;
    connected = ConnectChannel(std::move(sockets->second), options, deadline, wait);
  });
  AcceptOptions options;
  options.doorbell = doorbell;
  options.peer_is_confined_or_trusted = doorbell == DoorbellChoice::kEventfd;
  options.fences = fences;
  options.held = &ends->accepting_held;
  auto accepted = AcceptChannel(std::move(sockets->first), options, deadline, wait);
  connecting.join();
  if (!accepted.ok()) return accepted.status();
  if (!connected.ok()) return connected.status();
  ends->accepting = *std::move(accepted);
  ends->connecting = *std::move(connected);
  return ends;
}

}  // namespace parley::bench

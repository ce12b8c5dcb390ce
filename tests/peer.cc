// SPDX-License-Identifier: Apache-2.0
#include "parley/tests/peer.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "parley/handshake/connector.h"
#include "parley/handshake/peer_socket.h"
#include "parley/sealing/file_registry.h"

namespace parley {
namespace {

// The two halves of a socketpair, of which each process keeps one.
struct Sockets {
  Sockets() {
    auto pair = PeerSocket::Pair();
    EXPECT_TRUE(pair.ok()) << pair.status();
    ours = std::move(pair->first).Release();
    childs = std::move(pair->second).Release();
  }
  UniqueFd ours;
  UniqueFd childs;
};

AcceptOptions ToAccept(const PeerSetup& setup, int pidfd) {
  AcceptOptions options;
  options.send = setup.ring;
  options.receive = setup.ring;
  if (setup.doorbell == DoorbellKind::kEventfd)
    options.trust = PeerTrust::Because("both ends are this test");
  options.doorbell = setup.doorbell;
  options.peer_pidfd = pidfd;
  options.limits.max_capacity_bytes =
      std::max(options.limits.max_capacity_bytes, setup.ring.capacity_bytes);
  return options;
}

ConnectOptions ToConnect(const PeerSetup& setup) {
  ConnectOptions options;
  if (setup.doorbell == DoorbellKind::kEventfd)
    options.trust = PeerTrust::Because("both ends are this test");
  options.doorbell = setup.doorbell;
  options.limits.max_capacity_bytes =
      std::max(options.limits.max_capacity_bytes, setup.ring.capacity_bytes);
  return options;
}

absl::StatusOr<Channel> MakeEnd(const PeerSetup& setup, bool accepting, UniqueFd socket,
                                int pidfd) {
  auto adopted = PeerSocket::Adopt(std::move(socket));
  if (!adopted.ok()) return adopted.status();
  if (accepting) {
    return AcceptChannel(*std::move(adopted), ToAccept(setup, pidfd), Generous(), setup.wait);
  }
  return ConnectChannel(*std::move(adopted), ToConnect(setup), Generous(), setup.wait);
}

Channel Expected(absl::StatusOr<Channel> channel) {
  EXPECT_TRUE(channel.ok()) << channel.status();
  return channel.ok() ? *std::move(channel) : Channel();
}

}  // namespace

Peer Peer::Start(const PeerSetup& setup, const std::function<int(Channel&)>& body) {
  Sockets sockets;
  Child child([&] {
    sockets.ours.Reset();
    auto channel = MakeEnd(setup, !setup.accepting, std::move(sockets.childs), -1);
    return channel.ok() ? body(*channel) : 99;
  });
  sockets.childs.Reset();
  Channel channel =
      Expected(MakeEnd(setup, setup.accepting, std::move(sockets.ours), child.pidfd()));
  return Peer{std::move(channel), std::move(child)};
}

Peer Peer::Hostile(const PeerSetup& setup, const std::function<int(Session&)>& body) {
  Sockets sockets;
  Child child([&] {
    sockets.ours.Reset();
    auto socket = PeerSocket::Adopt(std::move(sockets.childs));
    if (!socket.ok()) return 98;
    auto session = ConnectHandshake(*std::move(socket), ToConnect(setup), Generous());
    return session.ok() ? body(**session) : 99;
  });
  sockets.childs.Reset();
  Channel channel = Expected(MakeEnd(setup, true, std::move(sockets.ours), child.pidfd()));
  return Peer{std::move(channel), std::move(child)};
}

int Echo(Channel& channel) {
  std::vector<std::byte> buffer(channel.receiver.max_message_bytes());
  while (true) {
    auto record = channel.receiver.Receive(absl::MakeSpan(buffer), Generous());
    if (!record.ok()) return absl::IsOutOfRange(record.status()) ? 0 : 1;
    const auto bytes = absl::MakeConstSpan(buffer).first(record->size_bytes);
    if (!channel.sender.Send(record->tag, bytes, Generous()).ok()) return 2;
  }
}

bool RoundTrip(Channel& channel, const std::string& text) {
  if (!channel.sender.Send(1, BytesOf(text), Generous()).ok()) return false;
  std::vector<std::byte> buffer(channel.receiver.max_message_bytes());
  auto record = channel.receiver.Receive(absl::MakeSpan(buffer), Generous());
  return record.ok() && record->size_bytes == text.size() &&
         std::memcmp(buffer.data(), text.data(), text.size()) == 0;
}

}  // namespace parley

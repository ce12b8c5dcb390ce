#include "parley/handshake/doorbells.h"

#include <fcntl.h>

#include <cerrno>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/wire.h"
#include "parley/os/errors.h"

namespace parley {
namespace {

bool Exists(const RingGeometry& ring) { return ring.capacity_bytes != 0; }

// For one ring: first what the peer waits on, then what it signals. Both are shared, so both stay
// open here as well.
absl::StatusOr<Doorbell> MakeEventfdDoorbell(std::vector<UniqueFd>& for_peer) {
  auto we_wait = CreateEventfd();
  if (!we_wait.ok()) return we_wait.status();
  auto they_wait = CreateEventfd();
  if (!they_wait.ok()) return they_wait.status();
  for (const int fd : {they_wait->get(), we_wait->get()}) {
    for_peer.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!for_peer.back().ok()) return ErrnoStatus(errno, "duplicate a doorbell");
  }
  return Doorbell::OfEventfds(*std::move(we_wait), *std::move(they_wait));
}

absl::StatusOr<Doorbell> MakeSocketDoorbell(std::vector<UniqueFd>& for_peer) {
  auto sockets = PeerSocket::Pair();
  if (!sockets.ok()) return sockets.status();
  sockets->first.RefuseDescriptors();
  for_peer.push_back(std::move(sockets->second).Release());
  return Doorbell::OfSocket(std::move(sockets->first).Release());
}

// The rest of the descriptors, in order.
class Remaining {
 public:
  explicit Remaining(absl::Span<UniqueFd> fds) : fds_(fds) {}
  absl::StatusOr<UniqueFd> Next() {
    if (fds_.empty()) return absl::InvalidArgumentError("a doorbell is missing");
    UniqueFd fd = std::move(fds_.front());
    fds_.remove_prefix(1);
    return fd;
  }
  bool empty() const { return fds_.empty(); }

 private:
  absl::Span<UniqueFd> fds_;
};

absl::StatusOr<UniqueFd> AdoptEventfd(Remaining& descriptors) {
  auto fd = descriptors.Next();
  if (!fd.ok()) return fd.status();
  if (absl::Status status = VerifyEventfd(fd->get()); !status.ok()) return status;
  return fd;
}

absl::StatusOr<Doorbell> AdoptEventfdDoorbell(Remaining& descriptors) {
  auto wait = AdoptEventfd(descriptors);
  if (!wait.ok()) return wait.status();
  auto signal = AdoptEventfd(descriptors);
  if (!signal.ok()) return signal.status();
  return Doorbell::OfEventfds(*std::move(wait), *std::move(signal));
}

absl::StatusOr<Doorbell> AdoptSocketDoorbell(Remaining& descriptors) {
  auto fd = descriptors.Next();
  if (!fd.ok()) return fd.status();
  auto socket = PeerSocket::Adopt(*std::move(fd));
  if (!socket.ok()) return socket.status();
  return Doorbell::OfSocket(std::move(*socket).Release());
}

// Those that need no descriptor: words of the two regions.
Doorbells FutexDoorbells(const Established& channel) {
  const OwnMemory own = channel.outgoing.control();
  const PeerMemory peer = channel.incoming.control();
  Doorbells doorbells;
  if (Exists(channel.send)) doorbells.send = Doorbell::OfSendersFutex(own, peer);
  if (Exists(channel.receive)) doorbells.receive = Doorbell::OfReceiversFutex(own, peer);
  return doorbells;
}

}  // namespace

absl::StatusOr<MadeDoorbells> MakeDoorbells(uint32_t kind, const RingGeometry& send,
                                            const RingGeometry& receive) {
  MadeDoorbells made;
  if (kind == kDoorbellEventfd) {
    if (Exists(receive)) {
      auto doorbell = MakeEventfdDoorbell(made.for_peer);
      if (!doorbell.ok()) return doorbell.status();
      made.own.receive = *std::move(doorbell);
    }
    if (Exists(send)) {
      auto doorbell = MakeEventfdDoorbell(made.for_peer);
      if (!doorbell.ok()) return doorbell.status();
      made.own.send = *std::move(doorbell);
    }
  } else if (kind == kDoorbellSocket && Exists(receive) && Exists(send)) {
    auto doorbell = MakeSocketDoorbell(made.for_peer);
    if (!doorbell.ok()) return doorbell.status();
    made.own.send = *std::move(doorbell);
  }
  return made;
}

void InstallMadeDoorbells(uint32_t kind, Doorbells doorbells, Established* channel) {
  if (kind == kDoorbellFutex) doorbells = FutexDoorbells(*channel);
  if (kind == kDoorbellSocket) {
    Doorbell& first = Exists(channel->receive) ? doorbells.receive : doorbells.send;
    first = Doorbell::OfSocket(std::move(channel->socket));
  }
  channel->send_doorbell = std::move(doorbells.send);
  channel->receive_doorbell = std::move(doorbells.receive);
}

absl::StatusOr<Doorbells> AdoptDoorbells(uint32_t kind, const RingGeometry& send,
                                         const RingGeometry& receive,
                                         absl::Span<UniqueFd> descriptors) {
  Remaining remaining(descriptors);
  Doorbells adopted;
  if (kind == kDoorbellEventfd) {
    if (Exists(send)) {
      auto doorbell = AdoptEventfdDoorbell(remaining);
      if (!doorbell.ok()) return doorbell.status();
      adopted.send = *std::move(doorbell);
    }
    if (Exists(receive)) {
      auto doorbell = AdoptEventfdDoorbell(remaining);
      if (!doorbell.ok()) return doorbell.status();
      adopted.receive = *std::move(doorbell);
    }
  } else if (kind == kDoorbellSocket && Exists(send) && Exists(receive)) {
    auto doorbell = AdoptSocketDoorbell(remaining);
    if (!doorbell.ok()) return doorbell.status();
    adopted.receive = *std::move(doorbell);
  }
  if (!remaining.empty()) {
    return absl::InvalidArgumentError("more descriptors than the handshake has");
  }
  return adopted;
}

void InstallAdoptedDoorbells(uint32_t kind, Doorbells doorbells, Established* channel) {
  if (kind == kDoorbellFutex) doorbells = FutexDoorbells(*channel);
  if (kind == kDoorbellSocket) {
    Doorbell& first = Exists(channel->send) ? doorbells.send : doorbells.receive;
    first = Doorbell::OfSocket(std::move(channel->socket));
  }
  channel->send_doorbell = std::move(doorbells.send);
  channel->receive_doorbell = std::move(doorbells.receive);
}

}  // namespace parley

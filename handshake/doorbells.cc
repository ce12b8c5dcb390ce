// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/doorbells.h"

#include <fcntl.h>

#include <cerrno>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/handshake/wire.h"
#include "parley/os/errors.h"
#include "parley/wait/eventfd.h"
#include "parley/wait/eventfd_doorbell.h"
#include "parley/wait/futex_doorbell.h"
#include "parley/wait/socket_doorbell.h"

namespace parley {
namespace {

bool Exists(const RingGeometry& ring) { return ring.capacity_bytes != 0; }

// For one ring: first what the peer waits on, then what it signals. Both are shared, so both stay
// open here as well.
absl::StatusOr<std::unique_ptr<Doorbell>> MakeEventfds(std::vector<UniqueFd>& for_peer) {
  auto we_wait = CreateEventfd();
  if (!we_wait.ok()) return we_wait.status();
  auto they_wait = CreateEventfd();
  if (!they_wait.ok()) return they_wait.status();
  for (const int fd : {they_wait->get(), we_wait->get()}) {
    for_peer.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!for_peer.back().ok()) return ErrnoStatus(errno, "duplicate a doorbell");
  }
  return MakeEventfdDoorbell(*std::move(we_wait), *std::move(they_wait));
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

absl::StatusOr<std::unique_ptr<Doorbell>> AdoptEventfds(Remaining& descriptors) {
  auto wait = AdoptEventfd(descriptors);
  if (!wait.ok()) return wait.status();
  auto signal = AdoptEventfd(descriptors);
  if (!signal.ok()) return signal.status();
  return MakeEventfdDoorbell(*std::move(wait), *std::move(signal));
}

}  // namespace

absl::StatusOr<MadeDoorbells> MakeDoorbells(uint32_t kind, const RingGeometry& send,
                                            const RingGeometry& receive) {
  MadeDoorbells made;
  if (kind != kDoorbellEventfd) return made;
  if (Exists(receive)) {
    auto doorbell = MakeEventfds(made.for_peer);
    if (!doorbell.ok()) return doorbell.status();
    made.own.receive = *std::move(doorbell);
  }
  if (Exists(send)) {
    auto doorbell = MakeEventfds(made.for_peer);
    if (!doorbell.ok()) return doorbell.status();
    made.own.send = *std::move(doorbell);
  }
  return made;
}

absl::StatusOr<Doorbells> AdoptDoorbells(uint32_t kind, const RingGeometry& send,
                                         const RingGeometry& receive,
                                         absl::Span<UniqueFd> descriptors) {
  Remaining remaining(descriptors);
  Doorbells adopted;
  if (kind == kDoorbellEventfd) {
    if (Exists(send)) {
      auto doorbell = AdoptEventfds(remaining);
      if (!doorbell.ok()) return doorbell.status();
      adopted.send = *std::move(doorbell);
    }
    if (Exists(receive)) {
      auto doorbell = AdoptEventfds(remaining);
      if (!doorbell.ok()) return doorbell.status();
      adopted.receive = *std::move(doorbell);
    }
  }
  if (!remaining.empty()) {
    return absl::InvalidArgumentError("more descriptors than the handshake has");
  }
  return adopted;
}

absl::Status InstallDoorbells(uint32_t kind, Doorbells doorbells, Session* session) {
  SendDirection* const send = session->send();
  ReceiveDirection* const receive = session->receive();
  if (kind == kDoorbellFutex) {
    const OwnMemory own = session->control();
    const PeerMemory peer = session->peer_control();
    if (send != nullptr) doorbells.send = MakeSendersFutexDoorbell(own, peer);
    if (receive != nullptr) doorbells.receive = MakeReceiversFutexDoorbell(own, peer);
  }
  if (kind == kDoorbellSocket) {
    auto made = MakeSocketDoorbells(session->connection(), send != nullptr, receive != nullptr,
                                    session->peer_is_supervisor());
    if (!made.ok()) return made.status();
    doorbells = {std::move(made->send), std::move(made->receive)};
  }
  for (const auto* doorbell : {&doorbells.send, &doorbells.receive}) {
    if (*doorbell == nullptr) continue;
    (*doorbell)->WatchForEnd(session->connection(), session->peer().pidfd.get());
  }
  session->termination().Wakes(doorbells.send.get(), doorbells.receive.get());
  if (send != nullptr) send->doorbell = std::move(doorbells.send);
  if (receive != nullptr) receive->doorbell = std::move(doorbells.receive);
  return absl::OkStatus();
}

}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/safety/both_ends.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "parley/handshake/doorbells.h"
#include "parley/handshake/identity.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/wire.h"
#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/region.h"
#include "parley/wait/doorbell.h"
#include "parley/wait/eventfd.h"
#include "parley/wait/eventfd_doorbell.h"
#include "parley/wait/memory_barrier.h"
#include "parley/wait/wait_options.h"

namespace parley::bench {
namespace {

constexpr RingGeometry kRing = {uint64_t{64} << 10, uint32_t{16} << 10};

// A region as its writer and as its reader have it.
struct Way {
  OutgoingRegion written;
  IncomingRegion read;
  std::unique_ptr<Doorbell> senders;    // with eventfds
  std::unique_ptr<Doorbell> receivers;  // with eventfds
};

absl::StatusOr<UniqueFd> Duplicate(int fd) {
  UniqueFd duplicate(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!duplicate.ok()) return ErrnoStatus(errno, "duplicate a descriptor");
  return duplicate;
}

absl::Status AddEventfds(Way& way) {
  auto data = CreateEventfd();
  if (!data.ok()) return data.status();
  auto space = CreateEventfd();
  if (!space.ok()) return space.status();
  auto same_data = Duplicate(data->get());
  if (!same_data.ok()) return same_data.status();
  auto same_space = Duplicate(space->get());
  if (!same_space.ok()) return same_space.status();
  way.senders = MakeEventfdDoorbell(*std::move(space), *std::move(data));
  way.receivers = MakeEventfdDoorbell(*std::move(same_data), *std::move(same_space));
  return absl::OkStatus();
}

absl::StatusOr<Way> MakeWay(DoorbellKind doorbell, FileRegistry* writers, FileRegistry* readers) {
  RegionLimits limits;
  limits.registry = writers;
  auto written = OutgoingRegion::Create({kRing.capacity_bytes}, limits);
  if (!written.ok()) return written.status();
  auto fd = Duplicate(written->fd());
  if (!fd.ok()) return fd.status();
  limits.registry = readers;
  auto read = IncomingRegion::Adopt(*std::move(fd), {kRing.capacity_bytes}, limits);
  if (!read.ok()) return read.status();
  written->CloseDescriptor();
  read->CloseDescriptor();
  Way way = {*std::move(written), *std::move(read), nullptr, nullptr};
  if (doorbell == DoorbellKind::kEventfd) {
    if (absl::Status status = AddEventfds(way); !status.ok()) return status;
  }
  return way;
}

absl::StatusOr<Channel> MakeEnd(Way& sends, Way& receives, DoorbellKind doorbell, PeerSocket socket,
                                bool asymmetric) {
  PeerIdentity self;
  self.pid = ::getpid();
  self.own_pair = true;
  SessionTerms terms;
  terms.id = {1, 2};
  terms.peer = std::move(self);
  terms.send = terms.receive = DirectionSpec{kRing.capacity_bytes, kRing.max_message_bytes};
  terms.skips_fences = asymmetric;
  terms.barrier_before_sleep = asymmetric;
  auto session = Session::Make(std::move(terms), std::move(sends.written), std::move(receives.read),
                               std::move(socket).Release());
  const uint32_t kind = doorbell == DoorbellKind::kEventfd ? kDoorbellEventfd : kDoorbellSocket;
  const absl::Status installed = InstallDoorbells(
      kind, {std::move(sends.senders), std::move(receives.receivers)}, session.get());
  if (!installed.ok()) return installed;
  return MakeChannel(session, WaitOptions::LowestPower());
}

}  // namespace

absl::StatusOr<std::unique_ptr<BothEnds>> BothEnds::Create(DoorbellKind doorbell,
                                                           FenceMode fences) {
  const bool asymmetric = fences == FenceMode::kAsymmetric;
  if (asymmetric && !RegisterForBarriers()) {
    return absl::UnimplementedError("this kernel, or a filter, has no membarrier");
  }
  auto ends = std::make_unique<BothEnds>();
  auto there = MakeWay(doorbell, &ends->connecting_registry, &ends->accepting_registry);
  if (!there.ok()) return there.status();
  auto back = MakeWay(doorbell, &ends->accepting_registry, &ends->connecting_registry);
  if (!back.ok()) return back.status();
  auto sockets = PeerSocket::Pair();
  if (!sockets.ok()) return sockets.status();
  // As a handshake leaves them.
  sockets->first.RefuseDescriptors();
  sockets->second.RefuseDescriptors();
  auto connecting = MakeEnd(*there, *back, doorbell, std::move(sockets->first), asymmetric);
  if (!connecting.ok()) return connecting.status();
  auto accepting = MakeEnd(*back, *there, doorbell, std::move(sockets->second), asymmetric);
  if (!accepting.ok()) return accepting.status();
  ends->connecting = *std::move(connecting);
  ends->accepting = *std::move(accepting);
  return ends;
}

}  // namespace parley::bench

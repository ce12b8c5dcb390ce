#include "parley/bench/safety/both_ends.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "parley/channel/wait_options.h"
#include "parley/handshake/identity.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/region.h"
#include "parley/wait/doorbell.h"
#include "parley/wait/memory_barrier.h"

namespace parley::bench {
namespace {

constexpr RingGeometry kRing = {uint64_t{64} << 10, uint32_t{16} << 10};

using Doorbells = std::pair<Doorbell, Doorbell>;

// A region as its writer and as its reader have it.
struct Way {
  OutgoingRegion written;
  IncomingRegion read;
  Doorbells doorbells;  // the sender's, the receiver's
};

absl::StatusOr<UniqueFd> Duplicate(int fd) {
  UniqueFd duplicate(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!duplicate.ok()) return ErrnoStatus(errno, "duplicate a descriptor");
  return duplicate;
}

absl::StatusOr<Doorbells> MakeDoorbells(DoorbellKind doorbell) {
  if (doorbell != DoorbellKind::kEventfd) {
    auto ends = PeerSocket::Pair();
    if (!ends.ok()) return ends.status();
    return Doorbells(Doorbell::OfSocket(std::move(ends->first).Release()),
                     Doorbell::OfSocket(std::move(ends->second).Release()));
  }
  auto data = CreateEventfd();
  if (!data.ok()) return data.status();
  auto room = CreateEventfd();
  if (!room.ok()) return room.status();
  auto same_data = Duplicate(data->get());
  if (!same_data.ok()) return same_data.status();
  auto same_room = Duplicate(room->get());
  if (!same_room.ok()) return same_room.status();
  return Doorbells(Doorbell::OfEventfds(*std::move(room), *std::move(data)),
                   Doorbell::OfEventfds(*std::move(same_data), *std::move(same_room)));
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
  auto doorbells = MakeDoorbells(doorbell);
  if (!doorbells.ok()) return doorbells.status();
  return Way{*std::move(written), *std::move(read), *std::move(doorbells)};
}

absl::StatusOr<Channel> MakeEnd(OutgoingRegion outgoing, IncomingRegion incoming, Doorbell send,
                                Doorbell receive, PeerSocket socket, bool asymmetric) {
  PeerIdentity self;
  self.pid = ::getpid();
  self.own_pair = true;
  Established end = {.id = {1, 2},
                     .outgoing = std::move(outgoing),
                     .incoming = std::move(incoming),
                     .send = kRing,
                     .receive = kRing,
                     .send_doorbell = std::move(send),
                     .receive_doorbell = std::move(receive),
                     .socket = std::move(socket).Release(),
                     .peer = std::move(self),
                     .peer_format = "",
                     .skips_fences = asymmetric,
                     .barrier_before_sleep = asymmetric};
  return MakeChannel(std::move(end), WaitOptions::LowestPower());
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
  auto connecting =
      MakeEnd(std::move(there->written), std::move(back->read), std::move(there->doorbells.first),
              std::move(back->doorbells.second), std::move(sockets->first), asymmetric);
  if (!connecting.ok()) return connecting.status();
  auto accepting =
      MakeEnd(std::move(back->written), std::move(there->read), std::move(back->doorbells.first),
              std::move(there->doorbells.second), std::move(sockets->second), asymmetric);
  if (!accepting.ok()) return accepting.status();
  ends->connecting = *std::move(connecting);
  ends->accepting = *std::move(accepting);
  return ends;
}

}  // namespace parley::bench

// SPDX-License-Identifier: Apache-2.0
#include "parley/testing/channel_pair.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "parley/handshake/doorbells.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/session.h"
#include "parley/handshake/wire.h"
#include "parley/os/deadline.h"
#include "parley/os/errors.h"
#include "parley/os/unique_fd.h"
#include "parley/ring/ring_types.h"
#include "parley/sealing/guarded_range.h"
#include "parley/shm/arena_layout.h"
#include "parley/shm/broadcast.h"
#include "parley/shm/geometry.h"
#include "parley/shm/region.h"
#include "parley/wait/doorbell.h"
#include "parley/wait/eventfd.h"
#include "parley/wait/eventfd_doorbell.h"

namespace parley::testing {
namespace {

// One direction: the region as its writer and as its reader have it, and with eventfds both ends of
// the doorbell.
struct Way {
  OutgoingRegion written;
  IncomingRegion read;
  std::unique_ptr<Doorbell> senders_doorbell;
  std::unique_ptr<Doorbell> receivers_doorbell;
};

absl::StatusOr<UniqueFd> Duplicate(int fd) {
  UniqueFd duplicate(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!duplicate.ok()) return ErrnoStatus(errno, "duplicate a descriptor");
  return duplicate;
}

// Of one direction: the sender's and the receiver's.
absl::StatusOr<std::pair<std::unique_ptr<Doorbell>, std::unique_ptr<Doorbell>>> EventfdDoorbells() {
  std::array<UniqueFd, 4> fds;
  for (const std::size_t i : {std::size_t{0}, std::size_t{2}}) {
    auto made = CreateEventfd();
    if (!made.ok()) return made.status();
    fds[i] = *std::move(made);
    auto same = Duplicate(fds[i].get());
    if (!same.ok()) return same.status();
    fds[i + 1] = *std::move(same);
  }
  return std::make_pair(MakeEventfdDoorbell(std::move(fds[0]), std::move(fds[2])),
                        MakeEventfdDoorbell(std::move(fds[3]), std::move(fds[1])));
}

absl::StatusOr<Way> MakeWay(RegionGeometry geometry, bool eventfd, FileRegistry* writer_registry,
                            FileRegistry* reader_registry) {
  RegionLimits limits;
  limits.registry = writer_registry;
  auto written = OutgoingRegion::Create(geometry, limits);
  if (!written.ok()) return written.status();
  auto fd = Duplicate(written->fd());
  if (!fd.ok()) return fd.status();
  limits.registry = reader_registry;
  auto read = IncomingRegion::Adopt(*std::move(fd), geometry, limits);
  if (!read.ok()) return read.status();
  written->CloseDescriptor();
  read->CloseDescriptor();
  Way way = {*std::move(written), *std::move(read), nullptr, nullptr};
  if (!eventfd) return way;
  auto doorbells = EventfdDoorbells();
  if (!doorbells.ok()) return doorbells.status();
  way.senders_doorbell = std::move(doorbells->first);
  way.receivers_doorbell = std::move(doorbells->second);
  return way;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChannelPair>> ChannelPair::Create(
    const ChannelPairOptions& options) {
  RingGeometry ring = {options.ring.capacity_bytes, options.ring.max_message_bytes};
  if (!IsValid(ring) || ring.max_message_bytes < kMinMessageLimitBytes) {
    return absl::InvalidArgumentError(
        "ChannelPairOptions: a ring's capacity is a power of two from 4 KiB to 1 GiB, and its "
        "longest message from 64 bytes to capacity - 8");
  }
  // No ring is shorter than a page, which has 16 or 64 KiB on some machines.
  ring.capacity_bytes = std::max<uint64_t>(ring.capacity_bytes, PageBytes());
  ArenaGeometry arena = options.ring.arena;
  if (arena.bytes != 0 && arena.alignment == 0) arena.alignment = kMinArenaAlignment;
  if (!IsArena(arena)) {
    return absl::InvalidArgumentError(
        "ChannelPairOptions: an arena is a multiple of 4 KiB, aligned to a power of two");
  }
  const RegionGeometry region = {ring.capacity_bytes, ArenaSectionBytes(arena)};
  auto pair = std::make_unique<ChannelPair>(Private());
  auto out =
      MakeWay(region, options.eventfd, &pair->accepting_registry_, &pair->connecting_registry_);
  if (!out.ok()) return out.status();
  auto back =
      MakeWay(region, options.eventfd, &pair->connecting_registry_, &pair->accepting_registry_);
  if (!back.ok()) return back.status();
  auto sockets = PeerSocket::Pair();
  if (!sockets.ok()) return sockets.status();
  // As a handshake leaves them: so that the end of one is seen at once (os/disposal.h).
  sockets->first.RefuseDescriptors();
  sockets->second.RefuseDescriptors();

  const auto self = [] {
    PeerIdentity identity;
    identity.pid = ::getpid();
    identity.uid = ::geteuid();
    identity.gid = ::getegid();
    identity.own_pair = true;
    return identity;
  };
  const ChannelId id = {1, 2};
  // One end: writes the one way, reads the other.
  const uint32_t doorbell = options.futex     ? kDoorbellFutex
                            : options.eventfd ? kDoorbellEventfd
                                              : kDoorbellSocket;
  const DirectionSpec direction = {ring.capacity_bytes, ring.max_message_bytes, arena};
  const auto make_end = [&](Way& sending, Way& receiving, PeerSocket socket,
                            std::optional<BroadcastView> view) -> absl::StatusOr<Channel> {
    SessionTerms terms;
    terms.id = id;
    terms.peer = self();
    terms.send = terms.receive = direction;
    terms.reads_broadcast = options.broadcast != nullptr;
    auto session =
        Session::Make(std::move(terms), std::move(sending.written), std::move(receiving.read),
                      std::move(socket).Release(), std::move(view));
    const absl::Status installed = InstallDoorbells(
        doorbell, {std::move(sending.senders_doorbell), std::move(receiving.receivers_doorbell)},
        session.get());
    if (!installed.ok()) return installed;
    return MakeChannel(session, options.wait);
  };
  std::optional<BroadcastView> view;
  if (options.broadcast != nullptr) {
    auto fd = Duplicate(options.broadcast->fd());
    if (!fd.ok()) return fd.status();
    auto read = BroadcastView::Adopt(*std::move(fd), options.broadcast->layout(), Deadline::Never(),
                                     &pair->connecting_registry_);
    if (!read.ok()) return read.status();
    view = *std::move(read);
  }
  auto accepting = make_end(*out, *back, std::move(sockets->first), std::nullopt);
  if (!accepting.ok()) return accepting.status();
  auto connecting = make_end(*back, *out, std::move(sockets->second), std::move(view));
  if (!connecting.ok()) return connecting.status();
  pair->accepting_ = *std::move(accepting);
  pair->connecting_ = *std::move(connecting);
  return pair;
}

absl::StatusOr<std::unique_ptr<ChannelPair>> ChannelPair::CreateByHandshake(
    AcceptOptions accept, ConnectOptions connect, const WaitOptions& wait) {
  auto pair = std::make_unique<ChannelPair>(Private());
  accept.registry = &pair->accepting_registry_;
  connect.registry = &pair->connecting_registry_;
  auto sockets = PeerSocket::Pair();
  if (!sockets.ok()) return sockets.status();
  const Deadline deadline = Deadline::After(absl::Seconds(30));
  absl::StatusOr<Channel> connecting = absl::UnknownError("not run");
  std::thread other(
      [&] { connecting = ConnectChannel(std::move(sockets->second), connect, deadline, wait); });
  auto accepting = AcceptChannel(std::move(sockets->first), accept, deadline, wait);
  other.join();
  if (!accepting.ok()) return accepting.status();
  if (!connecting.ok()) return connecting.status();
  pair->accepting_ = *std::move(accepting);
  pair->connecting_ = *std::move(connecting);
  return pair;
}

}  // namespace parley::testing

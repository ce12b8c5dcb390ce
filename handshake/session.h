// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_SESSION_H_
#define PARLEY_HANDSHAKE_SESSION_H_

// What a completed handshake leaves: two regions, the directions that exist, who the peer is, and
// two facts that all who use it share: the first violation, and the peer's death.
//
//   Session --- id, peer, protocol
//     |-- send():    a ring that we write, its arena, its doorbell     (or null)
//     |-- receive(): a ring that the peer writes, its arena, its doorbell (or null)
//     |-- broadcast(): the accepting side's, which its other sessions read as well (or null)
//     '-- control page of each region, termination()
//
// Shared by the ports that stand on it (Sender, Receiver, frames, ...), each of which keeps it
// alive. So nothing points to something that can move.
//
// Trust: everything in here was validated and is private; only the bytes of the peer's region and
// the meaning of the protocol string are the peer's.
// Threads: poison and death may be set and read from any thread; a direction belongs to the one
// thread that uses it; the rest is constant.
//
//   absl::StatusOr<std::shared_ptr<Session>> session =
//       ConnectHandshake(std::move(socket), options, deadline);
//   if (session.ok() && (*session)->send() != nullptr) SendOn(*session);

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/handshake/identity.h"
#include "parley/handshake/wire.h"
#include "parley/os/connected_socket.h"
#include "parley/os/unique_fd.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/arena_layout.h"
#include "parley/shm/broadcast.h"
#include "parley/shm/region.h"
#include "parley/wait/doorbell.h"
#include "parley/wait/event_count.h"
#include "parley/wait/termination.h"

namespace parley {

// A direction on which this side sends. All of its memory is ours.
struct SendDirection {
  RingGeometry ring;
  OwnMemory data;  // 2 * capacity_bytes: the ring, and the same bytes again
  ArenaGeometry arena;
  OwnMemory arena_memory;              // the table and the bytes; empty without an arena
  std::unique_ptr<Doorbell> doorbell;  // signals data to the peer; waits for free space
};

// A direction on which this side receives. All of its memory is the peer's.
struct ReceiveDirection {
  RingGeometry ring;
  PeerMemory data;
  ArenaGeometry arena;
  PeerMemory arena_memory;
  std::unique_ptr<Doorbell> doorbell;  // waits for data; signals free space to the peer
};

// What was agreed and with whom; by name.
struct SessionTerms {
  ChannelId id = {};
  PeerIdentity peer;
  std::string protocol;                  // the peer's format blob: at most 4 KiB, its content
  std::optional<DirectionSpec> send;     // none: there is no such direction
  std::optional<DirectionSpec> receive;  //
  bool skips_fences = false;             // this side; the peer makes the barrier before it sleeps
  bool barrier_before_sleep = false;     // this side; the peer skips its fences
  bool reads_broadcast = false;          // the connecting side
  bool peer_is_supervisor = false;       // this side is a worker: it is trusted with our sockets
};

class Session {
  struct Private {};

 public:
  // `outgoing` and `incoming` have what `terms` says. `connection` tells of the peer's end. The
  // doorbells are put in place afterwards (doorbells.h), before anything else uses the session.
  // `broadcast`: on the connecting side, if there is one.
  static std::shared_ptr<Session> Make(SessionTerms terms, OutgoingRegion outgoing,
                                       IncomingRegion incoming, UniqueFd connection,
                                       std::optional<BroadcastView> broadcast = std::nullopt) {
    return std::make_shared<Session>(Private(), std::move(terms), std::move(outgoing),
                                     std::move(incoming), std::move(connection),
                                     std::move(broadcast));
  }
  Session(Private, SessionTerms terms, OutgoingRegion outgoing, IncomingRegion incoming,
          UniqueFd connection, std::optional<BroadcastView> broadcast);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Random, new for each session, the same at both ends.
  const ChannelId& id() const { return terms_.id; }
  const PeerIdentity& peer() const { return terms_.peer; }
  const std::string& protocol() const { return terms_.protocol; }
  bool skips_fences() const { return terms_.skips_fences; }
  bool barrier_before_sleep() const { return terms_.barrier_before_sleep; }
  // The connecting side has the accepting side's broadcast.
  bool reads_broadcast() const { return terms_.reads_broadcast; }
  bool peer_is_supervisor() const { return terms_.peer_is_supervisor; }

  // Null: there is no such direction.
  SendDirection* send() { return send_ ? &*send_ : nullptr; }
  ReceiveDirection* receive() { return receive_ ? &*receive_ : nullptr; }
  // What the accepting side writes for all of its readers, as one of them has it. Null: none was
  // agreed on, or this is the accepting side.
  const BroadcastView* broadcast() const { return broadcast_ ? &*broadcast_ : nullptr; }
  // The control page of our region, and of the peer's.
  OwnMemory control() const { return outgoing_.control(); }
  PeerMemory peer_control() const { return incoming_.control(); }

  // Readable once the peer's end is closed; may be the doorbell of both directions as well.
  int connection() const { return connection_.get(); }
  // Gives up all descriptors and keeps the memory: what a process does that lingers on purpose.
  void DropDescriptors();

  internal::Termination& termination() { return termination_; }
  const internal::Termination& termination() const { return termination_; }
  // For an end whose epoch is at `own` in our region, and its peer's at `peer` in its region.
  internal::EventCountPlaces Places(std::size_t own, std::size_t peer) const {
    return {control(), peer_control(), own, peer, skips_fences(), barrier_before_sleep()};
  }

 private:
  SessionTerms terms_;
  const OutgoingRegion outgoing_;
  const IncomingRegion incoming_;
  const std::optional<BroadcastView> broadcast_;
  ConnectedSocket connection_;  // closed without releasing what the peer queued
  std::optional<SendDirection> send_;
  std::optional<ReceiveDirection> receive_;
  internal::Termination termination_;
};

// The region and the ring that belong to a direction as it was agreed on. All zero: a region with
// its control page alone.
RegionGeometry RegionOf(const DirectionSpec& direction);
RingGeometry RingOf(const DirectionSpec& direction);
// For a region whose sizes the negotiation has checked. nullptr: the process's registry.
RegionLimits LimitsOf(FileRegistry* registry);

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_SESSION_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_ACCEPTOR_H_
#define PARLEY_HANDSHAKE_ACCEPTOR_H_

// The accepting side of one handshake, as a state machine that never waits: whoever drives it polls
// fd() and calls Advance() when there is something to read. So one thread serves many, and a peer
// that stops between two steps holds nobody up.
//
// Trust: the peer sends anything in any order at any pace. What it can cause: its own refusal.
// Memory and descriptors are created only after its identity and sizes passed the policy and the
// limits, and after it answered the Welcome, so that it is alive; everything is given back when
// this object goes. Memory is made and mapped in slices, so no call takes longer because the peer's
// request is large.
// Threads: one at a time.
//
//   Acceptor acceptor(std::move(socket), &checked_options);
//   while (true) {
//     if (!acceptor.busy()) AwaitReadable(acceptor.fd(), deadline);   // poll
//     absl::StatusOr<bool> done = acceptor.Advance(Deadline::After(absl::Milliseconds(1)));
//     if (!done.ok()) return done.status();
//     if (*done) return std::move(acceptor).Take();
//   }

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/handshake/checked_options.h"
#include "parley/handshake/doorbells.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/session.h"
#include "parley/os/deadline.h"

namespace parley {

class Acceptor {
 public:
  // `options` outlives this.
  Acceptor(PeerSocket socket, const CheckedAcceptOptions* options);
  Acceptor(Acceptor&&) = default;
  Acceptor& operator=(Acceptor&&) = default;

  // Takes at most one message and answers it, or goes on with what is under way: until that is done
  // or `until` is past, at least one slice of about 0.1 ms (a huge page: 1 ms). True when the
  // handshake is complete; an error ends it (and the peer was told why, if it reads its socket).
  absl::StatusOr<bool> Advance(Deadline until = Deadline::AtMonotonicNs(0));

  // Tells the peer why there will be no channel. For drivers that give up (busy, deadline).
  void Refuse(RefusalReason reason) const;

  // Once Advance returned true. kResourceExhausted: no descriptor left for the doorbells.
  absl::StatusOr<std::shared_ptr<Session>> Take() &&;

  int fd() const { return socket_.fd(); }

  // For drivers of many. There is work to do without a message: call Advance soon.
  bool busy() const { return state_ == State::kMaking || state_ == State::kFinishing; }
  // Nothing came from the peer yet:
  bool AwaitsHello() const { return state_ == State::kAwaitingHello; }
  // With the next message it takes memory.
  bool AwaitsAccepted() const { return state_ == State::kAwaitingAccepted; }
  // Of memory that the peer was given, or is about to be: 0 before it answered the Welcome, and
  // where the handshake failed before the descriptors were sent.
  uint64_t memory_bytes() const;
  // The connection of a handshake that failed or is given up; all else is given back.
  PeerSocket TakeSocket() && { return std::move(socket_); }

 private:
  enum class State {
    kAwaitingHello,
    kAwaitingAccepted,
    kMaking,  // the regions
    kAwaitingMapped,
    kFinishing,  // the peer's region
    kDone,
    kFailed,
  };
  // What is being made, one after the other.
  struct Making {
    OutgoingRegionBuilder outgoing;
    IncomingRegionDraftBuilder incoming;
    bool outgoing_done = false;
  };

  absl::Status TakeMessage();
  absl::Status OnHello(absl::Span<const std::byte> message);
  absl::Status OnAccepted(absl::Span<const std::byte> message);
  absl::Status OnMapped(absl::Span<const std::byte> message);
  absl::Status Make(Deadline until);
  absl::Status SendDescriptors();
  absl::Status Finish(Deadline until);
  absl::Status Fail(RefusalReason reason, absl::Status why);

  PeerSocket socket_;
  const CheckedAcceptOptions* options_;
  State state_ = State::kAwaitingHello;

  ChannelId id_ = {};
  PeerIdentity peer_;
  std::string peer_format_;
  Agreement agreement_;
  std::optional<Making> making_;
  std::optional<OutgoingRegion> outgoing_;
  std::optional<IncomingRegionDraft> incoming_draft_;
  std::optional<IncomingRegionFinisher> finisher_;
  std::optional<IncomingRegion> incoming_;
  Doorbells doorbells_;
  bool peer_has_memory_ = false;
};

// Drives one handshake to its end. kInvalidArgument: what is wrong with the options, or with the
// peer's messages; kDeadlineExceeded when the whole exchange took too long.
absl::StatusOr<std::shared_ptr<Session>> AcceptHandshake(PeerSocket socket,
                                                         const AcceptOptions& options,
                                                         Deadline deadline);

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_ACCEPTOR_H_

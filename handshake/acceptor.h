#ifndef PARLEY_HANDSHAKE_ACCEPTOR_H_
#define PARLEY_HANDSHAKE_ACCEPTOR_H_

// The accepting side of one handshake, as a state machine that never waits: whoever drives it polls
// fd() and calls Advance() when there is something to read. So one thread serves many, and a peer
// that stops between two steps holds nobody up.
//
// Trust: the peer sends anything in any order at any pace. What it can cause: its own refusal.
// Memory and descriptors are created only after its identity and sizes passed the policy and the
// limits; everything is given back when this object goes.
// Threads: one at a time.
//
//   Acceptor acceptor(std::move(socket), &checked_options);
//   while (true) {
//     ... poll acceptor.fd() until the deadline ...
//     absl::StatusOr<bool> done = acceptor.Advance();
//     if (!done.ok()) return done.status();
//     if (*done) return std::move(acceptor).Take();
//   }

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/handshake/checked_options.h"
#include "parley/handshake/doorbells.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"

namespace parley {

class Acceptor {
 public:
  // `options` outlives this.
  Acceptor(PeerSocket socket, const CheckedAcceptOptions* options);
  Acceptor(Acceptor&&) = default;
  Acceptor& operator=(Acceptor&&) = default;

  // Takes at most one message and answers it. True when the handshake is complete; an error ends it
  // (and the peer was told why, if it listens).
  absl::StatusOr<bool> Advance();

  // Tells the peer why there will be no channel. For drivers that give up (busy, deadline).
  void Refuse(RefusalReason reason) const;

  // Once Advance returned true. kResourceExhausted: no descriptor left for the doorbells.
  absl::StatusOr<Established> Take() &&;

  int fd() const { return socket_.fd(); }

  // For drivers of many. Nothing came from the peer yet:
  bool AwaitsHello() const { return state_ == State::kAwaitingHello; }
  // Advance has nothing to do until the peer sends.
  bool AwaitsPeer() const { return true; }
  // Of memory that the peer was given, or is about to be: 0 before the Welcome.
  uint64_t OutstandingBytes() const;
  // The connection of a handshake that failed or is given up; all else is given back.
  PeerSocket TakeSocket() && { return std::move(socket_); }

 private:
  enum class State { kAwaitingHello, kAwaitingMapped, kDone, kFailed };

  absl::Status OnHello(absl::Span<const std::byte> message);
  absl::Status OnMapped(absl::Span<const std::byte> message);
  absl::Status CreateAndSend();
  absl::Status Fail(RefusalReason reason, absl::Status why);

  PeerSocket socket_;
  const CheckedAcceptOptions* options_;
  State state_ = State::kAwaitingHello;

  ChannelId id_ = {};
  PeerIdentity peer_;
  std::string peer_format_;
  Agreement agreement_;
  std::optional<OutgoingRegion> outgoing_;
  std::optional<IncomingRegionDraft> incoming_draft_;
  std::optional<IncomingRegion> incoming_;
  Doorbells doorbells_;
  bool peer_has_memory_ = false;
};

// Drives one handshake to its end. kInvalidArgument: what is wrong with the options, or with the
// peer's messages; kDeadlineExceeded when the whole exchange took too long.
absl::StatusOr<Established> AcceptHandshake(PeerSocket socket, const AcceptOptions& options,
                                            Deadline deadline);

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_ACCEPTOR_H_

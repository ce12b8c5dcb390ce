// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_CONNECTOR_H_
#define PARLEY_HANDSHAKE_CONNECTOR_H_

// The connecting side of a handshake.
//
// Trust: the accepting side may be hostile as well: what it sends is parsed and verified like
// anything else, its regions are adopted only with the seals that protect us, and the ring sizes it
// grants are those asked for or within our limits. One thing it can do that the other direction
// can't: descriptors are installed here, so a hostile accepting side that sends one on a FUSE file
// can hang this process when it closes it. Who connects trusts the other side that far.
// Threads: one at a time.
//
//   auto socket = PeerSocket::Inherited();
//   absl::StatusOr<std::shared_ptr<Session>> session =
//       ConnectHandshake(*std::move(socket), options, Deadline::After(absl::Seconds(5)));

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/handshake/checked_options.h"
#include "parley/handshake/options.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/session.h"
#include "parley/os/deadline.h"

namespace parley {

// kPermissionDenied: our policy does not admit who listens there;
// kFailedPrecondition: refused, with the other side's reason; kInvalidArgument: it broke the
// protocol; kDeadlineExceeded; kUnavailable: it went away, or refused for want of something, and
// the next try may do; kResourceExhausted.
absl::StatusOr<std::shared_ptr<Session>> ConnectHandshake(PeerSocket socket,
                                                          const CheckedConnectOptions& checked,
                                                          Deadline deadline);
// The same; kInvalidArgument as well for options that can't be.
absl::StatusOr<std::shared_ptr<Session>> ConnectHandshake(PeerSocket socket,
                                                          const ConnectOptions& options,
                                                          Deadline deadline);

// Whether an error of these is the other side's refusal: it has the reason in its own words.
bool IsRefusal(const absl::Status& status);

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_CONNECTOR_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_IDENTIFY_PEER_H_
#define PARLEY_HANDSHAKE_IDENTIFY_PEER_H_

// Asks the kernel who is at the other end of a socket.
//
// Trust: identity.h says whom the kernel names, and when that is the process at the other end.
// Threads: any.

#include "absl/status/statusor.h"
#include "parley/handshake/identity.h"
#include "parley/handshake/peer_socket.h"

namespace parley {

// What the kernel says of `socket`, which came to be as `origin` says. `known_pidfd`: the peer's,
// from its spawn; duplicated. -1: none.
absl::StatusOr<PeerIdentity> IdentifyPeer(int socket, int known_pidfd = -1,
                                          PeerSocket::Origin origin = PeerSocket::Origin::kGiven);

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_IDENTIFY_PEER_H_

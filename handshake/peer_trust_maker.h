// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_PEER_TRUST_MAKER_H_
#define PARLEY_HANDSHAKE_PEER_TRUST_MAKER_H_

// Makes the trust that a verified confinement gives. A target of its own with a visibility list:
// only what has seen the worker lock itself down may depend on it.
//
// Trust: the caller has verified that the peer runs under a filter that denies F_SETFL, FIONBIO,
// AIO and io_uring, and that the socket's other end is that peer's alone.
// Threads: any.
//
//   accept.trust = internal::PeerTrustMaker::ConfinedBy("Profile::Decoder, worker 4711");

#include <string>
#include <utility>

#include "parley/handshake/peer_trust.h"

namespace parley::internal {

class PeerTrustMaker {
 public:
  static PeerTrust ConfinedBy(std::string what) {
    return PeerTrust(PeerTrust::Kind::kConfined, std::move(what));
  }
};

}  // namespace parley::internal

#endif  // PARLEY_HANDSHAKE_PEER_TRUST_MAKER_H_

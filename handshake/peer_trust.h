// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_PEER_TRUST_H_
#define PARLEY_HANDSHAKE_PEER_TRUST_H_

// Why a peer may be given what a hostile one could abuse: eventfds (it could block our writes) and
// system-wide memory barriers (it could slow this process down). There is no such trust by default.
//
// Trust: the token is the caller's word for the peer. Two things make one: `Because`, with a reason
// that a search finds, and internal::PeerTrustMaker (peer_trust_maker.h), which code uses that has
// seen the peer lock itself down.
// Threads: a value.
//
//   options.trust = PeerTrust::Because("the other process is this program, started by us");

#include <string>
#include <utility>

namespace parley {

namespace internal {
class PeerTrustMaker;
}  // namespace internal

class [[nodiscard]] PeerTrust {
 public:
  // None.
  PeerTrust() = default;
  // The caller takes the responsibility. `reason` is a sentence for whoever reads the code; an
  // empty one is refused where the options are given.
  static PeerTrust Because(std::string reason) {
    return PeerTrust(Kind::kBecause, std::move(reason));
  }

  explicit operator bool() const { return kind_ != Kind::kNone; }
  // The peer runs under a system call filter of ours, and that was verified.
  bool confined() const { return kind_ == Kind::kConfined; }
  // Empty without trust.
  const std::string& reason() const { return reason_; }

 private:
  friend class internal::PeerTrustMaker;
  enum class Kind { kNone, kBecause, kConfined };
  PeerTrust(Kind kind, std::string reason) : kind_(kind), reason_(std::move(reason)) {}

  Kind kind_ = Kind::kNone;
  std::string reason_;
};

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_PEER_TRUST_H_

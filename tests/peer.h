// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_TESTS_PEER_H_
#define PARLEY_TESTS_PEER_H_

// A second process at the other end of a channel, for tests.
//
//   Peer peer = Peer::Start({}, Echo);
//   EXPECT_TRUE(peer.channel.sender.Send(1, bytes, In(1000)).ok());

#include <cstddef>
#include <functional>
#include <string>

#include "absl/types/span.h"
#include "parley/channel/channel.h"
#include "parley/handshake/options.h"
#include "parley/handshake/session.h"
#include "parley/os/deadline.h"
#include "parley/tests/child.h"

namespace parley {

inline Deadline In(int milliseconds) { return Deadline::After(absl::Milliseconds(milliseconds)); }
// Long enough for any machine; a test that gets there has failed.
inline Deadline Generous() { return In(30'000); }

inline absl::Span<const std::byte> BytesOf(const std::string& text) {
  return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(text.data()), text.size());
}

struct PeerSetup {
  DoorbellKind doorbell = DoorbellKind::kSocket;
  // Whether this process is the accepting side and the child the connecting one, or the reverse.
  bool accepting = true;
  RingRequest ring = {65536, 16384};  // each way
  WaitOptions wait;
};

struct Peer {
  // The child makes the other end and returns what `body` returns.
  static Peer Start(const PeerSetup& setup, const std::function<int(Channel&)>& body);
  // The same without a channel at the child's end: what a hijacked process does with its handshake.
  // The child is always the connecting side.
  static Peer Hostile(const PeerSetup& setup, const std::function<int(Session&)>& body);

  Channel channel;  // ours; without ends if the handshake failed, which fails the test
  Child child;
};

// For suites with a doorbell as their parameter.
inline std::string DoorbellName(DoorbellKind doorbell) {
  return doorbell == DoorbellKind::kFutex     ? "Futex"
         : doorbell == DoorbellKind::kEventfd ? "Eventfd"
                                              : "Socket";
}

// Sends back all that it receives until the end; the body of an honest peer.
int Echo(Channel& channel);

// Sends `text` and expects it back.
bool RoundTrip(Channel& channel, const std::string& text);

}  // namespace parley

#endif  // PARLEY_TESTS_PEER_H_

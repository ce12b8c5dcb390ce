// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CHANNEL_HOSTILE_ACCESS_H_
#define PARLEY_CHANNEL_HOSTILE_ACCESS_H_

// What an attacker who has taken over this process can write anyway, made easy: the raw words and
// bytes of our own region, and the doorbell. A dependency of its own, so that nothing uses it by
// accident: tests, the villain and the demo's --hijack.
//
// Trust: this *is* the hostile peer.
// Threads: as careless as the attack wants.
//
//   HostileAccess::Control(channel.sender).StoreRelease64(kTailOffset, ~uint64_t{0});

#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/channel/internal/end_state.h"
#include "parley/channel/receiver.h"
#include "parley/channel/sender.h"
#include "parley/wait/doorbell.h"

namespace parley {

class HostileAccess {
 public:
  // Our region's control page and data (mapped twice in a row).
  static OwnMemory Control(const Sender& sender) { return Of(sender).control(); }
  static OwnMemory Data(const Sender& sender) { return Of(sender).send()->data; }
  static OwnMemory Control(const Receiver& receiver) { return receiver.state().session->control(); }
  // The peer's control page, of which we can read and sleep on every word.
  static PeerMemory PeerControl(const Sender& sender) { return Of(sender).peer_control(); }
  // The connection, as a hostile process may use it.
  static int ConnectionOf(const Sender& sender) { return Of(sender).connection(); }
  // What wakes the peer's receiver, or its sender.
  static Doorbell& DoorbellOf(const Sender& sender) { return *Of(sender).send()->doorbell; }
  static Doorbell& DoorbellOf(const Receiver& receiver) {
    return *receiver.state().session->receive()->doorbell;
  }
  // Where the next record will start in Data(), modulo the capacity.
  static uint64_t Published(const Sender& sender) { return sender.state().ring.published_bytes(); }

 private:
  static Session& Of(const Sender& sender) { return *sender.state().session; }
};

}  // namespace parley

#endif  // PARLEY_CHANNEL_HOSTILE_ACCESS_H_

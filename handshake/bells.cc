#include "parley/handshake/bells.h"

#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/handshake/doorbell.h"

namespace parley {

void UseFutexBells(Established* channel) {
  const OwnMemory own = channel->outgoing.control();
  const PeerMemory peer = channel->incoming.control();
  if (channel->send.capacity_bytes != 0) {
    channel->send_bell = Doorbell::OfSendersFutex(own, peer);
  }
  if (channel->receive.capacity_bytes != 0) {
    channel->receive_bell = Doorbell::OfReceiversFutex(own, peer);
  }
}

}  // namespace parley

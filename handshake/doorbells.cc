#include "parley/handshake/doorbells.h"

#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/wait/doorbell.h"

namespace parley {

void UseFutexDoorbells(Established* channel) {
  const OwnMemory own = channel->outgoing.control();
  const PeerMemory peer = channel->incoming.control();
  if (channel->send.capacity_bytes != 0) {
    channel->send_doorbell = Doorbell::OfSendersFutex(own, peer);
  }
  if (channel->receive.capacity_bytes != 0) {
    channel->receive_doorbell = Doorbell::OfReceiversFutex(own, peer);
  }
}

}  // namespace parley

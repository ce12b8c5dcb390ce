#ifndef PARLEY_HANDSHAKE_DOORBELLS_H_
#define PARLEY_HANDSHAKE_DOORBELLS_H_

// The doorbells that need no descriptor: words of the two regions that a channel has anyway.
//
// Trust: the peer owns the words that we sleep on, as Doorbell says.
// Threads: before anything else uses the channel.
//
//   if (welcome.doorbell == kDoorbellFutex) UseFutexDoorbells(&established);

#include "parley/handshake/options.h"

namespace parley {

// For each of the channel's rings that exists.
void UseFutexDoorbells(Established* channel);

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_DOORBELLS_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CHANNEL_STATS_H_
#define PARLEY_CHANNEL_STATS_H_

// What one end of a channel has done so far.
//
// Trust: counted here, from validated values.
// Threads: a copy; taken on the thread that uses the end.

#include <cstdint>

#include "parley/wait/wait_stats.h"

namespace parley {

struct ChannelStats : WaitStats {
  uint64_t messages = 0;    // sent or received
  uint64_t bytes = 0;       // of the ring: payloads, each with a header of 8, padded to 8
  uint64_t violations = 0;  // 0 or 1: the first one ends the channel
};

}  // namespace parley

#endif  // PARLEY_CHANNEL_STATS_H_

#ifndef PARLEY_CHANNEL_STATS_H_
#define PARLEY_CHANNEL_STATS_H_

// What one end of a channel has done so far.
//
// Trust: counted here, from validated values.
// Threads: a copy; taken on the thread that uses the end.

#include <cstdint>

namespace parley {

struct ChannelStats {
  uint64_t messages = 0;          // sent or received
  uint64_t bytes = 0;             // their payloads
  uint64_t waits = 0;             // calls that had to wait at all
  uint64_t sleeps = 0;            // of these, how often the thread went to sleep
  uint64_t wakeups = 0;           // sleeps that the peer's doorbell ended
  uint64_t spurious_wakeups = 0;  // of these, those without progress
  uint64_t throttles = 0;         // times a flooding doorbell was ignored for a while
  uint64_t rings = 0;             // how often the peer's doorbell was rung: one system call each
  uint64_t violations = 0;        // 0 or 1: the first one ends the channel
};

}  // namespace parley

#endif  // PARLEY_CHANNEL_STATS_H_

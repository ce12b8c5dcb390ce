#ifndef PARLEY_CHANNEL_WAIT_OPTIONS_H_
#define PARLEY_CHANNEL_WAIT_OPTIONS_H_

// How an end of a channel waits: how long it spins before it sleeps, and how much pointless waking
// it puts up with.
//
// Trust: a peer that rings without progress costs at most `fruitless_wakeups` wake-ups, then one
// look per `park_time`, `parks` times; then it is a violation. Progress gives the budget back.
// Threads: a value.

#include "absl/time/time.h"

namespace parley {

struct WaitOptions {
  // The longest spin before a sleep. The real one adapts between this and nothing to what worked
  // lately. No spin at all where only one processor may be used.
  absl::Duration longest_spin = absl::Microseconds(20);
  int fruitless_wakeups = 64;
  int parks = 64;
  absl::Duration park_time = absl::Milliseconds(1);
};

}  // namespace parley

#endif  // PARLEY_CHANNEL_WAIT_OPTIONS_H_

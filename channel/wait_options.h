#ifndef PARLEY_CHANNEL_WAIT_OPTIONS_H_
#define PARLEY_CHANNEL_WAIT_OPTIONS_H_

// How an end of a channel waits: how long it spins before it sleeps, and how much pointless waking
// it puts up with.
//
// Trust: a peer that rings without progress costs at most `spurious_wakeups` wake-ups, then one
// look per `throttle_time`, `parks` times; then it is a violation. Progress gives the budget back.
// A peer that times its messages badly costs at most `spin_budget` of a processor.
// Threads: a value.
//
//   auto channel = ConnectChannel(name, options, deadline, WaitOptions::LowestLatency());

#include "absl/time/time.h"

namespace parley {

// With a futex doorbell there is nothing that also tells of the peer's death, so no sleep is longer
// than this, and the sockets are looked at this often while an end waits: what a thread that waits
// for nothing costs, and how late it learns of a death.
inline constexpr absl::Duration kMaxFutexSleep = absl::Milliseconds(20);

struct WaitOptions {
  // The longest spin before a sleep. The real one is learned from the last waits. No spin at all on
  // a machine with one processor; an end that is pinned to one of several spins as well.
  absl::Duration max_spin = absl::Microseconds(100);
  // The part of a processor that may go into spins that did not end with news. 1 and more: no
  // learning, always the longest spin.
  double spin_budget = 0.02;
  int spurious_wakeups = 64;
  int throttles = 64;
  absl::Duration throttle_time = absl::Milliseconds(1);

  // For what follows the default is a good choice: spins through gaps of microseconds, sleeps
  // through those of milliseconds.
  static WaitOptions Balanced() { return {}; }
  // A processor for each waiting end, as long as it waits up to a second.
  static WaitOptions LowestLatency() {
    WaitOptions options;
    options.max_spin = absl::Seconds(1);
    options.spin_budget = 1;
    return options;
  }
  // Sleeps at once.
  static WaitOptions LowestPower() {
    WaitOptions options;
    options.max_spin = absl::ZeroDuration();
    return options;
  }
};

}  // namespace parley

#endif  // PARLEY_CHANNEL_WAIT_OPTIONS_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_WAIT_OPTIONS_H_
#define PARLEY_WAIT_WAIT_OPTIONS_H_

// How an end of a channel waits: how long it spins before it sleeps, how much pointless waking it
// puts up with, and who signals.
//
// Trust: a peer that signals without progress costs `spurious_wakeups` wake-ups at once, and one
// each `spurious_refill` after that; more of them are throttled, to one each `throttle_time`, later
// to one each 16 of these. A peer that uses up the throttles as well is a flood, which is a
// violation. Progress gives the throttles back, and two wake-ups for each record, or for each
// message's length of free space. A peer that times its messages badly costs at most `spin_budget`
// of a processor.
// Threads: a value.
//
//   auto channel = ConnectChannel(name, options, deadline, WaitOptions::LowestLatency());

#include <memory>

#include "absl/time/time.h"

namespace parley {

class Signaller;  // wait/signaller.h

struct WaitOptions {
  // The longest spin before a sleep. The real one is learned from the last waits. No spin at all on
  // a machine with one processor, or where peer and we turn out to share one.
  absl::Duration max_spin = absl::Microseconds(100);
  // The part of a processor that may go into spins that found nothing. 1 and more: no learning,
  // always the longest spin.
  double spin_budget = 0.02;
  int spurious_wakeups = 64;
  absl::Duration spurious_refill = absl::Milliseconds(4);  // one more each
  int throttles = 64;
  absl::Duration throttle_refill = absl::Seconds(1);  // one more each
  absl::Duration throttle_time = absl::Milliseconds(1);
  // Signals the peer from a thread of its own, for callers that can't afford a system call whose
  // cost the peer has a say in. May be shared by any number of channels. Null: the caller signals.
  std::shared_ptr<Signaller> signaller;

  // For what follows the default is a good choice: spins through gaps of microseconds, sleeps
  // through those of milliseconds.
  static WaitOptions Balanced() { return {}; }
  // A processor for each waiting end, as long as it waits up to a second. A twentieth of a wait
  // beyond half a millisecond is slept, to find out whether the peer shares the processor.
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

#endif  // PARLEY_WAIT_WAIT_OPTIONS_H_

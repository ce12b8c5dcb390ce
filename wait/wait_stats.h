// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_WAIT_STATS_H_
#define PARLEY_WAIT_WAIT_STATS_H_

// How one end has waited and signalled so far.
//
// Trust: counted here; the peer's influence is how often it signals and lets us wait.
// Threads: a copy; taken on the thread that uses the end.

#include <cstdint>

namespace parley {

struct WaitStats {
  uint64_t waits = 0;             // calls that had to wait at all
  uint64_t sleeps = 0;            // of these, how often the thread went to sleep
  uint64_t wakeups = 0;           // sleeps that a signal of the peer ended
  uint64_t spurious_wakeups = 0;  // of these, those without progress
  uint64_t throttles = 0;         // times a flooding doorbell was ignored for a while
  uint64_t signals = 0;           // how often the peer was signalled: one system call each
};

}  // namespace parley

#endif  // PARLEY_WAIT_WAIT_STATS_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_FUTEX_H_
#define PARLEY_WAIT_FUTEX_H_

// Sleeping on a word that the peer writes, and waking a peer that sleeps on one of ours: the two
// futex(2) calls that two processes need.
//
// The word is the low half of one of the 64-bit words of a region. A mapping that can only be read
// is enough to sleep on it.
//
// Trust: the peer may put any number of threads to sleep on our word, among them one that makes our
// wake-up fail (FUTEX_WAIT_REQUEUE_PI), and may wake, requeue or never wake who sleeps on its own.
// So: we wake one and never all; whether it worked is not told, because
// an honest peer can't make it fail; each sleep has an end; and being awake proves nothing. Neither
// call takes a lock that the peer can hold: the kernel's own, for a moment each. But a wake-up
// walks the kernel's bucket of the word, in which a peer can queue sleepers without end
// (futex_waitv, io_uring): Waiter has a budget for that.
// Threads: any.
// Ordering: none that is relied upon; the caller's stores and loads have theirs.
//
//   Futex::WakeOne(own, kDataSignalsOffset);                               // we ring
//   Futex::SleepWhile(peer, kDataSignalsOffset, rings_seen, until_ns);     // we wait

#include <cstddef>
#include <cstdint>

#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"

namespace parley {

class Futex {
 public:
  enum class Slept {
    kWoken,     // by somebody, for whatever reason
    kChanged,   // not at all: the word is another one than expected
    kTimedOut,  // until the end
    kFailed,    // a signal; or the kernel refuses, see below
  };

  // Wakes at most one of those that sleep on the word.
  static void WakeOne(OwnMemory memory, std::size_t offset_bytes);
  // Sleeps until CLOCK_MONOTONIC shows `until_ns`, unless the low half of the word is another one
  // than `expected`, or somebody wakes us. Where the kernel refuses (a filter that is not ours),
  // sleeps for a millisecond at most, so that whoever tries again makes no busy loop of it.
  static Slept SleepWhile(const PeerMemory& memory, std::size_t offset_bytes, uint32_t expected,
                          int64_t until_ns);
};

}  // namespace parley

#endif  // PARLEY_WAIT_FUTEX_H_

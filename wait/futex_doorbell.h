// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_FUTEX_DOORBELL_H_
#define PARLEY_WAIT_FUTEX_DOORBELL_H_

// A doorbell of two counts, each in the region of the side that signals: the other side sleeps on
// it. There is nothing to poll, so descriptor() is -1, and the sleeper has to look for the peer's
// end by itself: each sleep ends after kMaxFutexSleep.
//
// No signal is lost:
//   1. The sleeper notes the count (Prepare), announces its sleep, and polls its ring once more.
//   2. It sleeps only while the count is the one that it noted.
//   3. A peer that sees the announcement adds to the count after that, and wakes after it has
// added.
//   4. So either the kernel, which compares the count and queues the sleeper under one lock, finds
//      it changed and lets nobody sleep; or the sleeper is queued before the count changes, and the
//      wake-up behind the change finds it.
//   5. A sleeper that notes the new count already sees in its poll what the signal was for: the
//      count is stored with release order, after the position, and loaded with acquire order.
// (A count that comes round, after 2^32 signals between note and sleep, costs a sleep's limit.)
//
// Trust: the peer sets its count to anything, and wakes, requeues or leaves sleeping a thread that
// sleeps on it.

#include <cstdint>
#include <memory>

#include "absl/time/time.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/wait/doorbell.h"

namespace parley {

// No sleep on a futex is longer, and the connection is polled this often while an end waits: what a
// thread that waits for nothing costs, and how late it learns of a death or an interrupt.
inline constexpr absl::Duration kMaxFutexSleep = absl::Milliseconds(20);

// For the ring that we send on and for the one that we receive on: words of the control pages of
// our region and of the peer's, whose mappings outlive this. At most one of each for a region,
// since only this counts in it.
std::unique_ptr<Doorbell> MakeSendersFutexDoorbell(OwnMemory own_control, PeerMemory peer_control);
std::unique_ptr<Doorbell> MakeReceiversFutexDoorbell(OwnMemory own_control,
                                                     PeerMemory peer_control);

}  // namespace parley

#endif  // PARLEY_WAIT_FUTEX_DOORBELL_H_

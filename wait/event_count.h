// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_EVENT_COUNT_H_
#define PARLEY_WAIT_EVENT_COUNT_H_

// Whether somebody has to be woken: the words and fences between a sleeper and the end that it
// waits for.
//
//   sleeper                                       the other end
//     1. stores a new epoch in its region           1. publishes its position
//     2. full fence, or a barrier on the others     2. full fence, or none if the sleeper has one
//     3. polls the position once more               3. loads the epoch
//     4. sleeps until signalled, or its deadline    4. signals if it has not for this epoch
//
// Either the sleeper's step 3 sees the position, or the other end's step 3 sees the epoch: never
// neither. Which of the two fences is settled in the handshake (FenceMode).
// An epoch and not a flag, so that a peer which lies about waiting costs one signal for each
// operation of ours and no more.
//
// Trust: the epoch is only compared for inequality.
// Threads: one at a time.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/wait/memory_barrier.h"

namespace parley::internal {

struct EventCountPlaces {
  OwnMemory own_control;
  PeerMemory peer_control;
  std::size_t own_epoch_offset = 0;   // of this end's epoch, in our region
  std::size_t peer_epoch_offset = 0;  // of that of the peer's end, in its region
  bool skips_fences = false;          // this side; the peer makes the barrier
  bool barrier_before_sleep = false;  // this side; the peer skips its fences
};

class EventCount {
 public:
  explicit EventCount(const EventCountPlaces& places)
      : peer_epoch_(places.peer_control.Part(places.peer_epoch_offset, sizeof(uint64_t))),
        own_epoch_(places.own_control.Part(places.own_epoch_offset, sizeof(uint64_t))),
        skips_fences_(places.skips_fences),
        barrier_before_sleep_(places.barrier_before_sleep) {}

  // After something was published: whether the peer waits for it and was not signalled yet. `epoch`
  // is to be given to SetSignalled then.
  bool PeerAwaitsSignal(uint64_t* epoch) const {
    // PAIRS WITH: the fence or barrier in Announce of the peer. Our position before its epoch, or
    // its epoch before our position.
    if (!skips_fences_) [[likely]] {
      std::atomic_thread_fence(std::memory_order_seq_cst);
    } else {
      // PAIRS WITH: the same; the compiler keeps the order, the peer makes the processor keep it.
      std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    // TRUST: only compared with the last one seen; a lie costs one signal.
    *epoch = peer_epoch_.LoadRelaxed64(0).AnyValueIsAcceptable();
    return *epoch != signalled_;
  }
  void SetSignalled(uint64_t epoch) { signalled_ = epoch; }

  // Announces a sleep; what is waited for has to be polled once more after this.
  void Announce() {
    own_epoch_.StoreRelaxed64(0, ++epoch_);
    // PAIRS WITH: PeerAwaitsSignal of the peer: its fence, or its lack of one.
    if (barrier_before_sleep_ && !barrier_failed_) barrier_failed_ = !SystemWideBarrier();
    if (!barrier_before_sleep_ || barrier_failed_) {
      std::atomic_thread_fence(std::memory_order_seq_cst);
    }
  }
  // A filter that came later denies the barrier: a signal can be missed, so sleeps have to be
  // short.
  bool barrier_failed() const { return barrier_failed_; }

 private:
  const PeerMemory peer_epoch_;  // a word
  uint64_t signalled_ = 0;       // the peer's epoch
  OwnMemory own_epoch_;          // a word
  const bool skips_fences_;
  const bool barrier_before_sleep_;
  uint64_t epoch_ = 0;
  bool barrier_failed_ = false;
};

}  // namespace parley::internal

#endif  // PARLEY_WAIT_EVENT_COUNT_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_LOCAL_WAKE_H_
#define PARLEY_WAIT_LOCAL_WAKE_H_

// Wakes a thread of this process out of a wait of one end: because another thread drained a signal
// that was for this end, because the session ended, or because somebody called Interrupt.
//
//   sleeper                                      poster
//     1. sets kAsleep; a reason is there: awake    1. sets its reason
//     2. polls the descriptor among others         2. kAsleep was set: writes the descriptor
//     3. clears kAsleep, empties the descriptor
//
// Steps 1 are read-modify-write operations on one word: one of the two sees the other.
//
// Trust: nothing of the peer's comes in here but how often its signals are handed over.
// Threads: Post from any, and from a signal handler; ThrottleEnd from any; the rest from the thread
// that waits.

#include <atomic>
#include <cstdint>
#include <utility>

#include "parley/os/unique_fd.h"

namespace parley::internal {

class LocalWake {
 public:
  static constexpr uint32_t kSignal = 1;     // a signal of the peer's, drained by the other end
  static constexpr uint32_t kCheck = 2;      // the session may have ended
  static constexpr uint32_t kInterrupt = 4;  // somebody called Interrupt

  // `eventfd`: the sleeper polls it; none: it sleeps in slices (futex).
  explicit LocalWake(UniqueFd eventfd) : owned_(std::move(eventfd)), fd_(owned_.get()) {}
  // The same with one that outlives this.
  explicit LocalWake(int eventfd) : fd_(eventfd) {}
  LocalWake(const LocalWake&) = delete;
  LocalWake& operator=(const LocalWake&) = delete;

  // False if the same reason was there already. At most one system call, on `fd`.
  bool Post(uint32_t reason);

  // False: there is a reason not to sleep.
  bool BeginSleep();
  // For event loops: as BeginSleep, but a reason that is there makes the descriptor readable.
  void BeginPolledSleep();
  void EndSleep();
  // Until `until_ns` (CLOCK_MONOTONIC) this end is deaf: signals that were handed over wake nobody.
  // 0: no longer.
  void SetThrottled(int64_t until_ns);
  // When the throttle that is on ends; 0: none is on.
  int64_t ThrottleEnd(int64_t now_ns) const {
    // RELAXED: a time; nothing is published by it.
    const int64_t until_ns = throttled_until_ns_.load(std::memory_order_relaxed);
    return until_ns > now_ns ? until_ns : 0;
  }

  // Whether `reason` was there; it no longer is.
  bool Take(uint32_t reason) {
    // PAIRS WITH: Post.
    return (flags_.fetch_and(~reason, std::memory_order_seq_cst) & reason) != 0;
  }
  bool Has(uint32_t reason) const {
    return (flags_.load(std::memory_order_acquire) & reason) != 0;  // PAIRS WITH: Post
  }
  // Takes the descriptor's count; what is left of it when our own posts are taken off, which is the
  // peer's where it shares the descriptor. One system call.
  uint64_t TakeForeignCount();
  int fd() const { return fd_; }

 private:
  static constexpr uint32_t kAsleep = 8;
  static constexpr uint32_t kThrottled = 16;
  static bool Wakes(uint32_t flags);
  void Write();

  std::atomic<uint32_t> flags_{0};
  // Of what is in the descriptor's count.
  std::atomic<uint64_t> own_count_{0};
  std::atomic<int64_t> throttled_until_ns_{0};
  const UniqueFd owned_;
  const int fd_;
};
static_assert(std::atomic<uint32_t>::is_always_lock_free);
static_assert(std::atomic<uint64_t>::is_always_lock_free);

}  // namespace parley::internal

#endif  // PARLEY_WAIT_LOCAL_WAKE_H_

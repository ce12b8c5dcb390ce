#ifndef PARLEY_CHANNEL_CORE_H_
#define PARLEY_CHANNEL_CORE_H_

// What the two ends of one channel share in this process. Internal to channel/.
//
// Trust: holds what the handshake validated. The poison is ours: the first violation that either
// end finds stops both.
// Threads: poison and death may be set and read from any thread; the rest is constant.

#include <atomic>

#include "parley/boundary/violation.h"
#include "parley/handshake/options.h"

namespace parley::internal {

class Core {
 public:
  explicit Core(Established established) : established_(std::move(established)) {}

  Established& established() { return established_; }

  // Keeps the first violation. Not inlined: it is for the end of a channel, and the one locked
  // instruction that a Try call can come to.
  [[gnu::noinline, gnu::cold]] void Poison(Violation violation) {
    Violation none = Violation::kNone;
    // RELAXED: a flag; nothing else is published by it.
    poison_.compare_exchange_strong(none, violation, std::memory_order_relaxed);
  }
  Violation poison() const {
    return poison_.load(std::memory_order_relaxed);  // RELAXED: as in Poison
  }

  void SetPeerGone() {
    // PAIRS WITH: peer_gone. The kernel orders the death only for the thread that saw it; another
    // one's last look must not be older.
    peer_gone_.store(true, std::memory_order_release);
  }
  bool peer_gone() const {
    return peer_gone_.load(std::memory_order_acquire);  // PAIRS WITH: SetPeerGone
  }

 private:
  Established established_;
  std::atomic<Violation> poison_{Violation::kNone};
  std::atomic<bool> peer_gone_{false};
};

}  // namespace parley::internal

#endif  // PARLEY_CHANNEL_CORE_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_TERMINATION_H_
#define PARLEY_WAIT_TERMINATION_H_

// How a session ends other than in order: by the first violation that either end of this side
// finds, or by the peer's death. Whoever finds it wakes the other end.
//
// Trust: the words are ours. The peer's influence is which violation it provokes, and when it dies.
// Threads: any.
//
//   if (termination.poison() != Violation::kNone) return Outcome::kPoisoned;

#include <array>
#include <atomic>

#include "parley/boundary/violation.h"
#include "parley/wait/doorbell.h"

namespace parley::internal {

class Termination {
 public:
  Termination() = default;
  Termination(const Termination&) = delete;
  Termination& operator=(const Termination&) = delete;

  // The ends to wake: null where there is none. They outlive this. Before anything else.
  void Wakes(Doorbell* send, Doorbell* receive) { doorbells_ = {send, receive}; }

  // Keeps the first violation, and wakes the ends that sleep. At most one system call for each, on
  // an object of this process. Not inlined: it is for the end of a channel.
  void Poison(Violation violation);
  Violation poison() const {
    return poison_.load(std::memory_order_relaxed);  // RELAXED: as in Poison
  }

  void SetPeerGone();
  bool peer_gone() const {
    return peer_gone_.load(std::memory_order_acquire);  // PAIRS WITH: SetPeerGone
  }

  // By either.
  bool ended() const { return poison() != Violation::kNone || peer_gone(); }

 private:
  void WakeAll();
  std::atomic<Violation> poison_{Violation::kNone};
  std::atomic<bool> peer_gone_{false};
  std::array<Doorbell*, 2> doorbells_ = {};
};

}  // namespace parley::internal

#endif  // PARLEY_WAIT_TERMINATION_H_

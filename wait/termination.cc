// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/termination.h"

namespace parley::internal {

void Termination::WakeAll() {
  for (Doorbell* const doorbell : doorbells_) {
    if (doorbell != nullptr) doorbell->Wake(LocalWake::kCheck);
  }
}

[[gnu::cold]] void Termination::Poison(Violation violation) {
  Violation none = Violation::kNone;
  // RELAXED: a flag; nothing else is published by it.
  if (poison_.compare_exchange_strong(none, violation, std::memory_order_relaxed)) WakeAll();
}

void Termination::SetPeerGone() {
  // PAIRS WITH: peer_gone. The kernel orders the death only for the thread that saw it; another
  // one's last poll must not be older.
  if (!peer_gone_.exchange(true, std::memory_order_acq_rel)) WakeAll();
}

}  // namespace parley::internal

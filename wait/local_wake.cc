// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/local_wake.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "parley/os/eventfd.h"

namespace parley::internal {

bool LocalWake::Wakes(uint32_t flags) {
  const uint32_t reasons = kCheck | kInterrupt | ((flags & kThrottled) != 0 ? 0 : kSignal);
  return (flags & reasons) != 0;
}

void LocalWake::Write() {
  if (fd_ < 0) return;
  const int saved = errno;
  const uint64_t one = 1;
  // Before the write, so that whoever takes it knows it as ours.
  own_count_.fetch_add(one, std::memory_order_release);  // PAIRS WITH: TakeForeignCount
  static_cast<void>(!::write(fd_, &one, sizeof(one)));
  errno = saved;
}

bool LocalWake::Post(uint32_t reason) {
  // PAIRS WITH: BeginSleep, BeginPolledSleep, Take.
  const uint32_t before = flags_.fetch_or(reason, std::memory_order_seq_cst);
  if ((before & kAsleep) != 0 && !Wakes(before) && Wakes(before | reason)) Write();
  return (before & reason) == 0;
}

bool LocalWake::BeginSleep() {
  // PAIRS WITH: Post.
  if (!Wakes(flags_.fetch_or(kAsleep, std::memory_order_seq_cst))) return true;
  EndSleep();
  return false;
}

void LocalWake::BeginPolledSleep() {
  // PAIRS WITH: Post.
  if (Wakes(flags_.fetch_or(kAsleep, std::memory_order_seq_cst))) Write();
}

void LocalWake::EndSleep() {
  flags_.fetch_and(~kAsleep, std::memory_order_seq_cst);  // PAIRS WITH: Post
}

void LocalWake::SetThrottled(int64_t until_ns) {
  // RELAXED: as in ThrottleEnd.
  throttled_until_ns_.store(until_ns, std::memory_order_relaxed);
  if (until_ns != 0) {
    flags_.fetch_or(kThrottled, std::memory_order_seq_cst);  // PAIRS WITH: Post
  } else {
    flags_.fetch_and(~kThrottled, std::memory_order_seq_cst);  // PAIRS WITH: Post
  }
}

uint64_t LocalWake::TakeForeignCount() {
  if (fd_ < 0) return 0;
  const uint64_t count = TakeEventfdCount(fd_);
  // PAIRS WITH: Write. To zero, so that a peer that takes ours saves up no wake-ups of its own.
  const uint64_t own = own_count_.exchange(0, std::memory_order_acquire);
  return count - std::min(own, count);
}

}  // namespace parley::internal

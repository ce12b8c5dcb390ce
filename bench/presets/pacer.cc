// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/presets/pacer.h"

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "parley/bench/clock.h"
#include "parley/os/deadline.h"

namespace parley::bench {

Pacer::Pacer(double rate_hz, double ticks_per_ns)
    : ticks_per_ns_(ticks_per_ns), spins_(rate_hz >= kSpinsFromHz) {
  if (rate_hz <= 0) return;
  period_ns_ = static_cast<int64_t>(1e9 / rate_hz);
  period_ticks_ = static_cast<uint64_t>(1e9 / rate_hz * ticks_per_ns);
  due_ns_ = MonotonicNowNs();
  due_ticks_ = Ticks();
}

void Pacer::Await() {
  if (period_ns_ == 0) return;
  if (spins_) {
    SpinUntilDue();
  } else {
    SleepUntilDue();
  }
}

double Pacer::spun_s() const { return static_cast<double>(spun_ticks_) / ticks_per_ns_ * 1e-9; }

void Pacer::SleepUntilDue() {
  due_ns_ = std::max(due_ns_ + period_ns_, MonotonicNowNs());
  const timespec due = {due_ns_ / 1'000'000'000, due_ns_ % 1'000'000'000};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, nullptr) == EINTR) {
  }
}

void Pacer::SpinUntilDue() {
  const uint64_t begin = Ticks();
  due_ticks_ = std::max(due_ticks_ + period_ticks_, begin);
  uint64_t now = begin;
  while (now < due_ticks_) now = Ticks();
  spun_ticks_ += now - begin;
}

}  // namespace parley::bench

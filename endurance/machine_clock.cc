// SPDX-License-Identifier: Apache-2.0
#include "parley/endurance/machine_clock.h"

#include <cerrno>
#include <ctime>

#include "parley/os/deadline.h"
#include "parley/os/errors.h"

namespace parley::endurance {
namespace {

absl::Duration Ahead() {
  timespec real = {};
  // Between two readings of the other clock, so that a pause in here is seen.
  absl::Duration best_width = absl::InfiniteDuration();
  absl::Duration ahead;
  for (int i = 0; i < 5; ++i) {
    const int64_t before_ns = MonotonicNowNs();
    ::clock_gettime(CLOCK_REALTIME, &real);
    const int64_t after_ns = MonotonicNowNs();
    const absl::Duration width = absl::Nanoseconds(after_ns - before_ns);
    if (width >= best_width) continue;
    best_width = width;
    ahead = absl::DurationFromTimespec(real) - absl::Nanoseconds(before_ns) - width / 2;
  }
  return ahead;
}

}  // namespace

MachineClock::MachineClock() : ahead_(Ahead()) {}

absl::Status MachineClock::Set(absl::Duration away) const {
  const timespec wanted = absl::ToTimespec(absl::Nanoseconds(MonotonicNowNs()) + ahead_ + away);
  if (::clock_settime(CLOCK_REALTIME, &wanted) != 0) return ErrnoStatus(errno, "set the clock");
  return absl::OkStatus();
}

absl::Duration MachineClock::Offset() const { return Ahead() - ahead_; }

}  // namespace parley::endurance

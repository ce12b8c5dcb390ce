// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_OS_DEADLINE_H_
#define PARLEY_OS_DEADLINE_H_

// A point on CLOCK_MONOTONIC by which a call returns (promise P2).
//
// Trust: the peer has no influence; signals and clock changes do not stretch a deadline, because
// every restart after EINTR computes the remaining time from the same point.
// Threads: a value; any.
//
//   const Deadline deadline = Deadline::After(absl::Seconds(2));
//   while (!done && !deadline.Expired()) Work();

#include <cstdint>
#include <ctime>

#include "absl/time/time.h"
#include "parley/os/platform.h"

namespace parley {

// Nanoseconds of CLOCK_MONOTONIC. From the vDSO: no system call.
int64_t MonotonicNowNs();

class Deadline {
 public:
  // `from_now` in the past or zero gives an expired deadline; more than ten years is cut to that.
  static Deadline After(absl::Duration from_now);
  static Deadline AtMonotonicNs(int64_t at_ns) { return Deadline(at_ns); }
  // In ten years: for a wait that ends with the peer in any case, such as a worker's for its host.
  static Deadline Never() { return After(absl::InfiniteDuration()); }

  bool Expired() const { return MonotonicNowNs() >= at_ns_; }
  // Never negative.
  absl::Duration Remaining() const;
  // Never negative; what ppoll and clock_nanosleep take.
  timespec RemainingTimespec() const;
  int64_t monotonic_ns() const { return at_ns_; }
  // The earlier of the two.
  Deadline Or(Deadline other) const {
    return Deadline(at_ns_ < other.at_ns_ ? at_ns_ : other.at_ns_);
  }

 private:
  explicit Deadline(int64_t at_ns) : at_ns_(at_ns) {}
  int64_t at_ns_;
};

}  // namespace parley

#endif  // PARLEY_OS_DEADLINE_H_

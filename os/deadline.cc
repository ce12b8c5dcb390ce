// SPDX-License-Identifier: Apache-2.0
#include "parley/os/deadline.h"

#include <algorithm>

namespace parley {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr int64_t kMaxNs = int64_t{10} * 365 * 24 * 3600 * kNsPerSecond;

int64_t RemainingNs(int64_t at_ns) { return std::max<int64_t>(0, at_ns - MonotonicNowNs()); }

}  // namespace

int64_t MonotonicNowNs() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * kNsPerSecond + now.tv_nsec;
}

Deadline Deadline::After(absl::Duration from_now) {
  const int64_t wanted = absl::ToInt64Nanoseconds(from_now);
  return Deadline(MonotonicNowNs() + std::clamp<int64_t>(wanted, 0, kMaxNs));
}

absl::Duration Deadline::Remaining() const { return absl::Nanoseconds(RemainingNs(at_ns_)); }

timespec Deadline::RemainingTimespec() const {
  const int64_t remaining = RemainingNs(at_ns_);
  timespec result;
  result.tv_sec = static_cast<time_t>(remaining / kNsPerSecond);
  result.tv_nsec = static_cast<long>(remaining % kNsPerSecond);  // NOLINT: timespec's own type
  return result;
}

}  // namespace parley

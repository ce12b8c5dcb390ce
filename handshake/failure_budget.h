// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_FAILURE_BUDGET_H_
#define PARLEY_HANDSHAKE_FAILURE_BUDGET_H_

// What connections that come to nothing may take of a listener: a tenth of a processor, and then
// pauses in which none is taken. It counts processor time, so that a queue full of cheap ones, whom
// the policy refuses at accept, is gone through quickly: an honest peer waits behind them.
// Pure: times come in, so that tests simulate.
//
// Trust: peers decide how many come, and what each costs.
// Threads: one at a time.
//
//   budget.Charge(MonotonicNowNs(), cpu_ns_of_one_that_failed);
//   next_accept_ns = now_ns + budget.PauseNs(now_ns);  // after each one

#include <algorithm>
#include <cstdint>

namespace parley::internal {

class FailureBudget {
 public:
  static constexpr int64_t kBurstNs = 10'000'000;  // what may be spent at once
  static constexpr int64_t kPart = 10;             // a tenth of the time that passes comes back
  // What a failure costs beside the calls that are measured: its share of a round.
  static constexpr int64_t kEachNs = 10'000;
  // However expensive they are, one is taken after that. So a tenth is kept up to 2 ms for each.
  static constexpr int64_t kMaxPauseNs = 20'000'000;
  // Shorter ones are saved up: a pause costs a round.
  static constexpr int64_t kWorthwhilePauseNs = 4'000'000;

  // One came to nothing, which took `cpu_ns` of processor time from its accept on.
  void Charge(int64_t now_ns, int64_t cpu_ns) {
    Refill(now_ns);
    left_ns_ -= std::max<int64_t>(0, cpu_ns) + kEachNs;
  }
  // For how long no connection is to be taken; 0: no pause.
  int64_t PauseNs(int64_t now_ns) {
    Refill(now_ns);
    if (left_ns_ >= 0) return 0;
    // What a longer pause would have paid for is forgotten: peers would decide how long nobody is
    // let in.
    left_ns_ = std::max(left_ns_, -kMaxPauseNs / kPart);
    return -left_ns_ * kPart;
  }

 private:
  void Refill(int64_t now_ns) {
    left_ns_ = std::min(kBurstNs, left_ns_ + std::max<int64_t>(0, now_ns - refilled_ns_) / kPart);
    refilled_ns_ = now_ns;
  }

  int64_t left_ns_ = kBurstNs;
  int64_t refilled_ns_ = 0;
};

}  // namespace parley::internal

#endif  // PARLEY_HANDSHAKE_FAILURE_BUDGET_H_

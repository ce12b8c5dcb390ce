// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_ADAPTIVE_SPIN_H_
#define PARLEY_WAIT_ADAPTIVE_SPIN_H_

// How long to spin before a sleep, learned from how long the last waits took.
//
// A spin that ends with data saves the scheduler's 5 to 50 microseconds; one that does not is
// wasted. So: about twice what the last waits took, if that is no longer than the longest spin;
// else only a glance, to notice when data come faster again. And what is wasted is bounded by a
// part of the time that passes, whatever the peer does.
//
// A spin on the processor that the peer needs keeps the peer from answering: for a time slice, and
// under SCHED_FIFO for the whole spin. So a spin that has lasted kProbeAfterNs makes way by a sleep
// of ProbeNs, and again each time that it has lasted twice as long as before it last did, up to
// kMaxProbeGapNs. Where data come in such a sleep, kProbesToSleep times in a row, the two share a
// processor, and there is no spin for kSharedNs.
//
// Trust: the peer decides when data come. The worst pattern costs `max_spin` for each wait while
// the budget lasts, then nothing; each spin that paid was for a message.
// Threads: one at a time.
//
//   AdaptiveSpin spin(options);
//   const int64_t spin_ns = spin.Allowance(MonotonicNowNs());
//   ... spin.Paid(waited_ns), or spin.Failed(spun_ns) and after the sleep spin.Slept(waited_ns)

#include <algorithm>
#include <cstdint>

#include "parley/wait/wait_options.h"

namespace parley::internal {

class AdaptiveSpin {
 public:
  explicit AdaptiveSpin(const WaitOptions& options)
      : max_ns_(absl::ToInt64Nanoseconds(options.max_spin)),
        budget_per_mille_(static_cast<int64_t>(options.spin_budget * 1000)) {}

  // How long to spin now. 0: not at all.
  int64_t Allowance(int64_t now_ns) {
    if (max_ns_ == 0 || now_ns < shared_until_ns_) return 0;
    if (budget_per_mille_ >= 1000) return max_ns_;
    Refill(now_ns);
    const int64_t wished_ns =
        expected_ns_ > max_ns_ ? kGlanceNs : std::max(kGlanceNs, 2 * expected_ns_);
    return std::min({wished_ns, max_ns_, credit_ns_});
  }

  static constexpr int64_t kProbeAfterNs = 500'000;
  static constexpr int64_t kMaxProbeGapNs = 16'000'000;
  // After so long a spin: a twentieth of it, so that a peer with a lower priority gets on.
  static constexpr int64_t ProbeNs(int64_t gap_ns) {
    return std::max<int64_t>(50'000, gap_ns / 20);
  }
  static constexpr int kProbesToSleep = 3;
  static constexpr int64_t kSharedNs = 1'000'000'000;

  // How a spin that made way went on.
  void Probed(int64_t now_ns, bool found_data) {
    probes_that_found_ = found_data ? probes_that_found_ + 1 : 0;
    if (probes_that_found_ < kProbesToSleep) return;
    shared_until_ns_ = now_ns + kSharedNs;
    probes_that_found_ = kProbesToSleep - 1;  // one more is enough next time
  }

  // Data came after so long a spin.
  void Paid(int64_t waited_ns) { Learn(waited_ns); }
  // No data in so long a spin; a sleep follows.
  void Failed(int64_t spun_ns) { credit_ns_ = std::max<int64_t>(0, credit_ns_ - spun_ns); }
  // A wait that slept has ended, with data, after so long in all.
  void Slept(int64_t waited_ns) { Learn(waited_ns); }

 private:
  static constexpr int64_t kGlanceNs = 2'000;
  static constexpr int64_t kMaxCreditNs = 1'000'000;

  void Refill(int64_t now_ns) {
    // In steps, so that rounding loses nothing.
    const int64_t steps = (now_ns - refilled_ns_) / 1000;
    if (refilled_ns_ == 0 || steps > kMaxCreditNs) {
      refilled_ns_ = now_ns;
      credit_ns_ = kMaxCreditNs;
      return;
    }
    refilled_ns_ += steps * 1000;
    credit_ns_ = std::min(kMaxCreditNs, credit_ns_ + steps * budget_per_mille_);
  }

  // A moving average over about four waits. What is long counts as not much longer than the longest
  // spin, so that a few short waits are enough to come back from it.
  void Learn(int64_t waited_ns) {
    expected_ns_ += (std::min(waited_ns, 4 * max_ns_) - expected_ns_) / 4;
  }

  const int64_t max_ns_;
  const int64_t budget_per_mille_;
  int64_t expected_ns_ = 0;
  int64_t credit_ns_ = 0;
  int64_t refilled_ns_ = 0;
  int probes_that_found_ = 0;
  int64_t shared_until_ns_ = 0;
};

}  // namespace parley::internal

#endif  // PARLEY_WAIT_ADAPTIVE_SPIN_H_

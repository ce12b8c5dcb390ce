#ifndef PARLEY_CHANNEL_SPIN_PLAN_H_
#define PARLEY_CHANNEL_SPIN_PLAN_H_

// How long to spin before a sleep, learned from how long the last waits took. Internal to channel/.
//
// A spin that ends with news saves the scheduler's 5 to 50 microseconds; one that does not is
// wasted. So: about twice what the last waits took, if that is no longer than the longest spin;
// else only a glance, to notice when the news come faster again. And what is wasted is bounded by a
// part of the time that passes, whatever the peer does.
//
// Trust: the peer decides when news come. The worst pattern costs `longest` for each wait while the
// budget lasts, then nothing; each spin that paid was for a message.
// Threads: one at a time.
//
//   SpinPlan plan(options);
//   const int64_t spin_ns = plan.Allowance(MonotonicNowNs());
//   ... plan.Paid(waited_ns), or plan.Failed(spun_ns) and after the sleep plan.Slept(waited_ns)

#include <algorithm>
#include <cstdint>

#include "parley/channel/wait_options.h"

namespace parley::internal {

class SpinPlan {
 public:
  explicit SpinPlan(const WaitOptions& options)
      : max_ns_(absl::ToInt64Nanoseconds(options.max_spin)),
        budget_per_mille_(static_cast<int64_t>(options.spin_budget * 1000)) {}

  // How long to spin now. 0: not at all.
  int64_t Allowance(int64_t now_ns) {
    if (max_ns_ == 0) return 0;
    if (budget_per_mille_ >= 1000) return max_ns_;
    Refill(now_ns);
    const int64_t wished_ns =
        expected_ns_ > max_ns_ ? kGlanceNs : std::max(kGlanceNs, 2 * expected_ns_);
    return std::min({wished_ns, max_ns_, credit_ns_});
  }

  // News came after so long a spin.
  void Paid(int64_t waited_ns) { Learn(waited_ns); }
  // No news in so long a spin; a sleep follows.
  void Failed(int64_t spun_ns) { credit_ns_ = std::max<int64_t>(0, credit_ns_ - spun_ns); }
  // A wait that slept has ended, with news, after so long in all.
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
};

}  // namespace parley::internal

#endif  // PARLEY_CHANNEL_SPIN_PLAN_H_

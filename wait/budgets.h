// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_BUDGETS_H_
#define PARLEY_WAIT_BUDGETS_H_

// What a peer may cost an end by waking it, and by being signalled: rates, which time gives back.
// Pure: the time comes in, so that tests simulate days.
//
// Trust: the peer decides when it wakes us and what a signal to it costs. The budgets are the
// bound. Threads: one at a time.
//
//   if (budget.Spurious(now_ns) == WakeBudget::Verdict::kFlood) Poison(Violation::kDoorbellFlood);

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"
#include "parley/wait/wait_options.h"

namespace parley::internal {

// `burst` units at once, and one more each `refill_ns`.
class RateBudget {
 public:
  RateBudget(int64_t burst, int64_t refill_ns)
      : burst_(burst), refill_ns_(std::max<int64_t>(1, refill_ns)), left_(burst) {}

  // Takes a unit. False: there is none.
  bool Take(int64_t now_ns) {
    if (left_ == burst_) refilled_ns_ = now_ns;
    const int64_t earned = std::max<int64_t>(0, (now_ns - refilled_ns_) / refill_ns_);
    refilled_ns_ += earned * refill_ns_;
    left_ = std::min(burst_, left_ + earned);
    was_full_ = left_ == burst_;
    if (left_ == 0) return false;
    --left_;
    return true;
  }
  void GiveBack(int64_t units) { left_ = std::min(burst_, left_ + std::min(burst_, units)); }
  void GiveAllBack() { left_ = burst_; }
  // Nothing is earned before that.
  void EarnFrom(int64_t ns) { refilled_ns_ = std::max(refilled_ns_, ns); }
  // Whether the last Take found all of them.
  bool was_full() const { return was_full_; }

 private:
  const int64_t burst_;
  const int64_t refill_ns_;
  int64_t left_;
  int64_t refilled_ns_ = 0;
  bool was_full_ = true;
};

// For wake-ups that brought less than enough.
class WakeBudget {
 public:
  enum class Verdict { kGoOn, kThrottle, kFlood };

  explicit WakeBudget(const WaitOptions& options)
      : wakeups_(options.spurious_wakeups, absl::ToInt64Nanoseconds(options.spurious_refill)),
        throttles_(options.throttles, absl::ToInt64Nanoseconds(options.throttle_refill)),
        throttle_ns_(absl::ToInt64Nanoseconds(options.throttle_time)),
        short_throttles_(options.throttles) {}

  // A wake-up that brought nothing.
  Verdict Spurious(int64_t now_ns) {
    if (TakeWakeUp(now_ns)) return Verdict::kGoOn;
    return throttles_.Take(now_ns) ? Verdict::kThrottle : Verdict::kFlood;
  }
  // One that brought a little: throttled like the others, so that a peer can't wake us for each
  // byte that it takes, but it is no violation to be slow.
  Verdict Little(int64_t now_ns) {
    if (TakeWakeUp(now_ns)) return Verdict::kGoOn;
    throttles_.GiveAllBack();
    return Verdict::kThrottle;
  }
  // After kThrottle: for how long. Once `throttles` of them did not help, twice as long each time,
  // up to kMaxThrottleFactor; as at first when all the wake-ups have been given back.
  int64_t throttle_ns() const {
    const int doublings = std::max(0, throttled_ - short_throttles_);
    return throttle_ns_ * std::min(kMaxThrottleFactor, int64_t{1} << doublings);
  }
  static constexpr int64_t kMaxThrottleFactor = 16;
  // The peer did enough, `steps` times. In proportion: a peer that makes a little progress for each
  // burst of wake-ups would have all of them free (W5, W13).
  void Refund(uint64_t steps) {
    wakeups_.GiveBack(kWakeUpsPerStep * static_cast<int64_t>(std::min<uint64_t>(steps, INT32_MAX)));
    throttles_.GiveAllBack();
  }
  // An honest peer signals at most once for what it publishes, and that signal may find a sleeper
  // that has taken it already. One more, since a full queue is handed to both ends.
  static constexpr int64_t kWakeUpsPerStep = 2;

 private:
  bool TakeWakeUp(int64_t now_ns) {
    const bool taken = wakeups_.Take(now_ns);
    if (wakeups_.was_full()) throttled_ = 0;
    if (taken) return true;
    if (throttled_ - short_throttles_ < 30) ++throttled_;
    // Being throttled is no time in which the peer behaved.
    wakeups_.EarnFrom(now_ns + throttle_ns());
    return false;
  }

  RateBudget wakeups_;
  RateBudget throttles_;
  const int64_t throttle_ns_;
  const int short_throttles_;
  int throttled_ = 0;  // since all the wake-ups were there
};

// For the time that signals take. A signal walks the kernel's queue of all that wait on the object,
// in our context; the peer decides how many these are.
//
// Only the time of a processor counts. Reading that clock is a system call, so not each signal is
// measured; one that was slow by the clock on the wall has the next ones measured. (A thread that
// wakes its peer on its own processor is often slow on the wall, and costs nothing.)
class SignalBudget {
 public:
  // What is spent beyond `usual_ns` for each signal until it is a violation; a thousandth of the
  // time that passes is given back. No signal is put off before that: whoever has published may
  // have nothing more to send, and wait for an answer at another end.
  static constexpr int64_t kMaxSpentNs = 20'000'000;
  static constexpr int64_t kRefillDivisor = 1000;
  static constexpr int kMeasuredAfterSlow = 16;
  static constexpr int64_t kMeasuredEachNs = 10'000'000;
  // Waking a process that sleeps on another processor was measured at 17 us on a virtual machine.
  static constexpr int64_t kMinUsualNs = 50'000;

  // `usual_ns`: what a signal may cost on this machine without being charged.
  explicit SignalBudget(int64_t usual_ns) : usual_ns_(std::max(kMinUsualNs, usual_ns)) {}

  // Whether the next signal's processor time is to be measured: after a slow one, and where the
  // peer had the time to let many wait since the last measurement.
  bool measures(int64_t now_ns) const {
    return measure_ > 0 || now_ns - measured_ns_ >= kMeasuredEachNs;
  }

  // A signal took `wall_ns`. False: too expensive, a violation.
  bool SentUnmeasured(int64_t now_ns, int64_t wall_ns) {
    if (wall_ns > usual_ns_) {
      unmeasured_ns_ = wall_ns;
      measure_ = kMeasuredAfterSlow;
      return true;
    }
    return Charge(now_ns, wall_ns);
  }
  // A signal took `cpu_ns` of a processor. False: too expensive, a violation.
  bool SentMeasured(int64_t now_ns, int64_t cpu_ns) {
    measure_ = cpu_ns > usual_ns_ ? kMeasuredAfterSlow : std::max(0, measure_ - 1);
    measured_ns_ = now_ns;
    // The slow one before it was as expensive as this one, if it was slow for that reason.
    const int64_t before_ns = std::min(unmeasured_ns_, cpu_ns);
    unmeasured_ns_ = 0;
    if (before_ns > usual_ns_) spent_ns_ += before_ns - usual_ns_;
    return Charge(now_ns, cpu_ns);
  }

 private:
  bool Charge(int64_t now_ns, int64_t cost_ns) {
    const int64_t earned_ns =
        charged_ns_ == 0 ? 0 : std::max<int64_t>(0, (now_ns - charged_ns_) / kRefillDivisor);
    charged_ns_ = now_ns;
    // A cheap one pays for an expensive one: interrupts are charged to whoever runs.
    spent_ns_ = std::max<int64_t>(0, spent_ns_ - earned_ns + cost_ns - usual_ns_);
    return spent_ns_ <= kMaxSpentNs;
  }

  const int64_t usual_ns_;
  int64_t spent_ns_ = 0;
  int64_t charged_ns_ = 0;
  int64_t unmeasured_ns_ = 0;
  int measure_ = 0;
  int64_t measured_ns_ = 0;
};

}  // namespace parley::internal

#endif  // PARLEY_WAIT_BUDGETS_H_

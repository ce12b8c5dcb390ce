// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/waiter.h"

#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "parley/os/check.h"
#include "parley/os/relax.h"
#include "parley/os/thread_cpu.h"
#include "parley/os/unique_fd.h"

namespace parley::internal {
namespace {

// Where a wake-up can be missed.
constexpr absl::Duration kSleepWithoutBarrier = absl::Milliseconds(1);
// How often a long spin asks the kernel whether the peer is still there.
constexpr int64_t kCheckWhileSpinningNs = 1'000'000;
// How many polls between two readings of the clock.
constexpr int kPollsPerClock = 16;
// A signal that wakes a process costs more than a send that wakes nobody.
constexpr int64_t kUsualFactor = 16;

// An end that is pinned to one processor of several spins as well: its peer may be on another. If
// it is not, the spins find that out (AdaptiveSpin::Probed).
bool OnlyOneProcessor() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) >= 2) return false;
  return ::sysconf(_SC_NPROCESSORS_ONLN) < 2;
}

// What a signal may cost on this machine: measured once, on a socket that nobody waits on.
int64_t UsualSignalNs() {
  static const int64_t usual_ns = [] {
    std::array<int, 2> ends;
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
      return int64_t{0};
    const UniqueFd first(ends[0]);
    const UniqueFd second(ends[1]);
    int64_t best_ns = SignalBudget::kMaxSpentNs;
    for (int i = 0; i < 8; ++i) {
      const int64_t before_ns = MonotonicNowNs();
      const char byte = 1;
      static_cast<void>(::send(first.get(), &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL));
      best_ns = std::min(best_ns, MonotonicNowNs() - before_ns);
    }
    return best_ns * kUsualFactor;
  }();
  return usual_ns;
}

}  // namespace

Waiter::Waiter(Passkey, EventCount* events, Doorbell* doorbell, Termination* termination,
               const WaitOptions& options, WaitStats* stats, uint64_t steps_per_refund)
    : events_(events),
      doorbell_(doorbell),
      termination_(termination),
      stats_(stats),
      steps_per_refund_(steps_per_refund),
      signal_budget_(UsualSignalNs()),
      wake_budget_(options),
      spin_(options),
      may_spin_(options.max_spin > absl::ZeroDuration() && !OnlyOneProcessor()) {}

absl::StatusOr<std::unique_ptr<Waiter>> Waiter::Create(EventCount* events, Doorbell* doorbell,
                                                       Termination* termination,
                                                       const WaitOptions& options, WaitStats* stats,
                                                       uint64_t steps_per_refund) {
  WaitOptions own = options;
  own.signaller.reset();
  auto waiter = std::make_unique<Waiter>(Passkey(), events, doorbell, termination, own, stats,
                                         steps_per_refund);
  if (options.signaller != nullptr) {
    auto number = options.signaller->Add(waiter.get());
    if (!number.ok()) return number.status();
    waiter->signaller_ = options.signaller;
    waiter->signaller_number_ = *number;
  }
  return waiter;
}

Waiter::~Waiter() {
  if (signaller_ != nullptr) signaller_->Remove(signaller_number_);
}

[[gnu::noinline]] void Waiter::Signal(uint64_t epoch) {
  if (signaller_ != nullptr) {
    events_->SetSignalled(epoch);
    ++stats_->signals;
    signaller_->Post(signaller_number_);
    return;
  }
  events_->SetSignalled(epoch);
  ++stats_->signals;
  SignalNow();
}

void Waiter::SignalNow() {
  bool cheap_enough = true;
  const int64_t before_ns = MonotonicNowNs();
  if (signal_budget_.measures(before_ns)) {
    const int64_t cpu_before_ns = ThreadCpuNs();
    doorbell_->Signal();
    const int64_t cpu_ns = ThreadCpuNs() - cpu_before_ns;
    cheap_enough = signal_budget_.SentMeasured(MonotonicNowNs(), cpu_ns);
  } else {
    doorbell_->Signal();
    const int64_t now_ns = MonotonicNowNs();
    cheap_enough = signal_budget_.SentUnmeasured(now_ns, now_ns - before_ns);
  }
  if (!cheap_enough) termination_->Poison(Violation::kSignalsTooExpensive);
}

[[gnu::noinline]] void Waiter::CheckForEnd() {
  empty_polls_ = 0;
  const int64_t now_ns = MonotonicNowNs();
  if (now_ns < next_check_ns_) return;
  next_check_ns_ = now_ns + kCheckEachNs;
  if (!termination_->peer_gone() && doorbell_->PeerHasEnded()) termination_->SetPeerGone();
}

bool Waiter::Arm(absl::FunctionRef<bool()> ready) {
  PARLEY_CHECK(doorbell_->can_be_polled(),
               "a channel with a futex doorbell has no descriptor to poll");
  if (!Announce(ready)) return false;
  doorbell_->BeginPolledSleep();
  return true;
}

Waitable::Armed Waiter::ArmForSet(absl::FunctionRef<bool()> ready) {
  if (termination_->poison() != Violation::kNone) return Waitable::Armed::kWoken;
  if (!Announce(ready)) return Waitable::Armed::kReady;
  if (termination_->peer_gone()) return Waitable::Armed::kWoken;
  return doorbell_->wake().BeginSleep() ? Waitable::Armed::kSleeping : Waitable::Armed::kWoken;
}

bool Waiter::Announce(absl::FunctionRef<bool()> ready) {
  doorbell_->Prepare();
  events_->Announce();
  return !ready();
}

// kDeadline: nothing came, and it is time to sleep.
Waiter::Result Waiter::Spin(absl::FunctionRef<bool()> ready, absl::FunctionRef<uint64_t()> progress,
                            uint64_t enough, Deadline deadline) {
  if (!may_spin_) {
    wait_began_ns_ = MonotonicNowNs();
    return Result::kDeadline;
  }
  // The first polls need no clock.
  for (int i = 0; i < kPollsPerClock; ++i) {
    if (ready()) {
      spin_.Paid(0);
      return Result::kReady;
    }
    Relax();
  }
  wait_began_ns_ = MonotonicNowNs();
  const int64_t allowed_ns = spin_.Allowance(wait_began_ns_);
  if (allowed_ns == 0) return Result::kDeadline;
  const int64_t end_ns = std::min(wait_began_ns_ + allowed_ns, deadline.monotonic_ns());
  int64_t next_check_ns = wait_began_ns_ + kCheckWhileSpinningNs;
  int64_t probe_gap_ns = AdaptiveSpin::kProbeAfterNs;
  int64_t next_probe_ns = wait_began_ns_ + probe_gap_ns;
  int64_t now_ns = wait_began_ns_;
  while (now_ns < end_ns) {
    for (int i = 0; i < kPollsPerClock; ++i) {
      if (ready()) {
        spin_.Paid(MonotonicNowNs() - wait_began_ns_);
        return Result::kReady;
      }
      Relax();
    }
    if (doorbell_->wake().Has(LocalWake::kInterrupt | LocalWake::kCheck)) break;
    now_ns = MonotonicNowNs();
    if (now_ns >= next_probe_ns) {
      const Deadline soon =
          Deadline::AtMonotonicNs(now_ns + AdaptiveSpin::ProbeNs(probe_gap_ns)).Or(deadline);
      const Result made = MakeWay(ready, progress, enough, soon);
      if (made != Result::kDeadline) return made;
      now_ns = MonotonicNowNs();
      probe_gap_ns = std::min(2 * probe_gap_ns, AdaptiveSpin::kMaxProbeGapNs);
      next_probe_ns = now_ns + probe_gap_ns;
    }
    if (now_ns >= next_check_ns) {
      next_check_ns = now_ns + kCheckWhileSpinningNs;
      if (EndIsNear()) break;
    }
  }
  spin_.Failed(now_ns - wait_began_ns_);
  return Result::kDeadline;
}

// A peer that needs the processor on which we spin gets it for a moment.
Waiter::Result Waiter::MakeWay(absl::FunctionRef<bool()> ready,
                               absl::FunctionRef<uint64_t()> progress, uint64_t enough,
                               Deadline soon) {
  const Result result = SleepUntil(ready, progress, enough, soon);
  const bool found = result == Result::kReady;
  const int64_t after_ns = MonotonicNowNs();
  spin_.Probed(after_ns, found);
  if (found) spin_.Paid(after_ns - wait_began_ns_);
  return result;
}

// For long spins: whether a descriptor tells of something other than a signal.
bool Waiter::EndIsNear() { return termination_->ended() || doorbell_->PeerHasEnded(); }

bool Waiter::Sleep(Deadline deadline) {
  ++stats_->sleeps;
  return doorbell_->Sleep(
      events_->barrier_failed() ? Deadline::After(kSleepWithoutBarrier).Or(deadline) : deadline);
}

Doorbell::Drained Waiter::TakeSignals() {
  const Doorbell::Drained drained = doorbell_->Drain();
  if (drained == Doorbell::Drained::kUnexpected)
    termination_->Poison(Violation::kUnexpectedMessage);
  if (drained == Doorbell::Drained::kPeerGone) termination_->SetPeerGone();
  return drained;
}

void Waiter::Refund(uint64_t progress, uint64_t enough) {
  const uint64_t step = enough * steps_per_refund_;
  const uint64_t made = progress - refunded_;
  if (made < step) return;
  const uint64_t steps = step == 1 ? made : made / step;
  refunded_ += steps * step;
  wake_budget_.Refund(steps);
}

int64_t Waiter::CountWakeUp(Progress progress, int64_t now_ns) {
  ++stats_->wakeups;
  if (progress == Progress::kEnough) {
    wake_budget_.Refund(0);
    return 0;
  }
  if (progress == Progress::kNone) ++stats_->spurious_wakeups;
  switch (progress == Progress::kNone ? wake_budget_.Spurious(now_ns)
                                      : wake_budget_.Little(now_ns)) {
    case WakeBudget::Verdict::kGoOn:
      return 0;
    case WakeBudget::Verdict::kFlood:
      termination_->Poison(Violation::kDoorbellFlood);
      return 0;
    case WakeBudget::Verdict::kThrottle:
      break;
  }
  return now_ns + wake_budget_.throttle_ns();
}

void Waiter::SleepThrottled(int64_t until_ns, Deadline deadline) {
  ++stats_->throttles;
  doorbell_->wake().SetThrottled(until_ns);
  const timespec until = Deadline::AtMonotonicNs(until_ns).Or(deadline).RemainingTimespec();
  static_cast<void>(::clock_nanosleep(CLOCK_MONOTONIC, 0, &until, nullptr));
  doorbell_->wake().SetThrottled(0);
}

Waiter::Result Waiter::TakeWakeUps(Progress progress, absl::Span<const short> revents) {
  PARLEY_CHECK(doorbell_->can_be_polled(),
               "a channel with a futex doorbell has no descriptor to poll");
  if (revents.empty()) {
    doorbell_->EndPolledSleep();
  } else {
    doorbell_->EndPolledSleep(revents);
  }
  if (termination_->poison() != Violation::kNone) return Result::kViolation;
  const int64_t now_ns = MonotonicNowNs();
  if (throttled_until_ns_ != 0 && now_ns < throttled_until_ns_ && progress != Progress::kEnough) {
    // Something else: the caller's own reason, an interrupt, or the end of the peer.
    doorbell_->wake().TakeForeignCount();
    if (doorbell_->PeerHasEnded()) termination_->SetPeerGone();
  } else {
    if (throttled_until_ns_ != 0) {
      throttled_until_ns_ = 0;
      doorbell_->EndThrottle();
    }
    const Doorbell::Drained drained = TakeSignals();
    if (drained == Doorbell::Drained::kUnexpected) return Result::kViolation;
    // Nothing drained: the caller polls for a reason of its own, such as a timer; no fault of the
    // peer's, and not counted.
    int64_t until_ns = 0;
    if (drained == Doorbell::Drained::kSignalled || drained == Doorbell::Drained::kRedundant) {
      until_ns = CountWakeUp(progress, now_ns);
      if (termination_->poison() != Violation::kNone) return Result::kViolation;
    } else if (drained == Doorbell::Drained::kThrottled) {
      until_ns = doorbell_->OtherThrottleEnd(now_ns);
    }
    if (until_ns != 0) {
      ++stats_->throttles;
      throttled_until_ns_ = until_ns;
      doorbell_->Throttle(until_ns);
    }
  }
  static_cast<void>(doorbell_->wake().Take(LocalWake::kCheck));
  if (doorbell_->wake().Take(LocalWake::kInterrupt)) return Result::kInterrupted;
  return termination_->peer_gone() ? Result::kPeerGone : Result::kReady;
}

Waiter::Result Waiter::Wait(absl::FunctionRef<bool()> ready, absl::FunctionRef<uint64_t()> progress,
                            uint64_t enough, Deadline deadline) {
  ++stats_->waits;
  Refund(progress(), enough);
  const Result spun = Spin(ready, progress, enough, deadline);
  if (spun != Result::kDeadline) return spun;
  const Result result = SleepUntil(ready, progress, enough, deadline);
  if (result == Result::kReady && may_spin_) spin_.Slept(MonotonicNowNs() - wait_began_ns_);
  return result;
}

Waiter::Result Waiter::SleepUntil(absl::FunctionRef<bool()> ready,
                                  absl::FunctionRef<uint64_t()> progress, uint64_t enough,
                                  Deadline deadline) {
  while (true) {
    if (termination_->poison() != Violation::kNone) return Result::kViolation;
    if (doorbell_->wake().Take(LocalWake::kInterrupt)) return Result::kInterrupted;
    const uint64_t before = progress();
    if (!Announce(ready)) return Result::kReady;
    if (termination_->peer_gone()) return Result::kPeerGone;
    const bool woken = Sleep(deadline);
    const bool now_ready = ready();
    if (now_ready && !woken) return Result::kReady;
    if (!woken && deadline.Expired()) return Result::kDeadline;
    if (!woken) continue;

    static_cast<void>(doorbell_->wake().Take(LocalWake::kCheck));
    const Doorbell::Drained drained = TakeSignals();
    if (drained == Doorbell::Drained::kUnexpected) return Result::kViolation;
    if (termination_->peer_gone()) return ready() ? Result::kReady : Result::kPeerGone;
    if (now_ready) wake_budget_.Refund(1);
    if (drained == Doorbell::Drained::kSignalled || drained == Doorbell::Drained::kRedundant) {
      const uint64_t step = progress() - before;
      const Progress made = now_ready || step >= enough ? Progress::kEnough
                            : step != 0                 ? Progress::kLittle
                                                        : Progress::kNone;
      const int64_t until_ns = CountWakeUp(made, made == Progress::kEnough ? 0 : MonotonicNowNs());
      if (termination_->poison() != Violation::kNone) return Result::kViolation;
      if (until_ns != 0) SleepThrottled(until_ns, deadline);
    } else if (drained == Doorbell::Drained::kThrottled && !now_ready) {
      const int64_t until_ns = doorbell_->OtherThrottleEnd(MonotonicNowNs());
      if (until_ns != 0) SleepThrottled(until_ns, deadline);
    }
    if (now_ready) return Result::kReady;
    if (deadline.Expired()) return ready() ? Result::kReady : Result::kDeadline;
  }
}

}  // namespace parley::internal

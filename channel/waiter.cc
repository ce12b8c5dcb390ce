#include "parley/channel/waiter.h"

#include <sched.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <ctime>

#include "absl/types/span.h"
#include "parley/os/check.h"
#include "parley/os/errors.h"
#include "parley/os/poll.h"
#include "parley/ring/relax.h"
#include "parley/wait/memory_barrier.h"

namespace parley::internal {
namespace {

// Where a wake-up can be missed.
constexpr absl::Duration kSleepWithoutBarrier = absl::Milliseconds(1);
// How often a long spin asks the kernel whether the peer is still there.
constexpr int64_t kDataWhileSpinningNs = 1'000'000;
// How many looks between two readings of the clock.
constexpr int kPollsPerClock = 16;

// An end that is pinned to one processor of several spins as well: its peer may be on another. If
// it is not, the plan learns it from the spins that were in vain.
bool OnlyOneProcessor() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) >= 2) return false;
  return ::sysconf(_SC_NPROCESSORS_ONLN) < 2;
}

}  // namespace

Waiter::Waiter(Passkey, Core* core, Doorbell* doorbell, std::size_t my_epoch,
               std::size_t peer_epoch, const WaitOptions& options, ChannelStats* stats)
    : core_(core),
      doorbell_(doorbell),
      own_control_(core->established().outgoing.control()),
      peer_control_(core->established().incoming.control()),
      my_epoch_offset_(my_epoch),
      peer_epoch_offset_(peer_epoch),
      skips_fences_(core->established().skips_fences),
      barrier_before_sleep_(core->established().barrier_before_sleep),
      options_(options),
      stats_(stats),
      plan_(options),
      may_spin_(options.max_spin > absl::ZeroDuration() && !OnlyOneProcessor()) {}

absl::StatusOr<std::unique_ptr<Waiter>> Waiter::Create(Core* core, Doorbell* doorbell,
                                                       std::size_t my_epoch, std::size_t peer_epoch,
                                                       const WaitOptions& options,
                                                       ChannelStats* stats) {
  auto waiter =
      std::make_unique<Waiter>(Passkey(), core, doorbell, my_epoch, peer_epoch, options, stats);
  if (doorbell->is_futex()) {
    waiter->doorbells_polled_ = 0;
  } else {
    waiter->epoll_.Reset(::epoll_create1(EPOLL_CLOEXEC));
    if (!waiter->epoll_.ok()) return ErrnoStatus(errno, "create an epoll descriptor");
  }
  for (const int fd : {doorbell->wait_fd(), core->established().socket.get(),
                       core->established().peer.pidfd.get()}) {
    if (fd < 0) continue;
    waiter->polled_[waiter->polled_count_++] = {fd, POLLIN, 0};
    if (!waiter->epoll_.ok()) continue;
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (::epoll_ctl(waiter->epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
      return ErrnoStatus(errno, "watch a doorbell");
    }
  }
  return waiter;
}

void Waiter::Signal(uint64_t epoch) {
  signalled_epoch_ = epoch;
  ++stats_->rings;
  doorbell_->Signal();
}

bool Waiter::Arm(absl::FunctionRef<bool()> ready) {
  PARLEY_CHECK(!doorbell_->is_futex(), "a channel with a futex doorbell has no descriptor to poll");
  return Announce(ready);
}

bool Waiter::Announce(absl::FunctionRef<bool()> ready) {
  signals_seen_ = doorbell_->SignalsSeen();
  own_control_.StoreRelaxed64(my_epoch_offset_, ++epoch_);
  // PAIRS WITH: SignalIfAwaited of the peer: its fence, or its lack of one.
  if (barrier_before_sleep_ && !barrier_failed_) barrier_failed_ = !SystemWideBarrier();
  if (!barrier_before_sleep_ || barrier_failed_) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  return !ready();
}

bool Waiter::Spin(absl::FunctionRef<bool()> ready, Deadline deadline) {
  if (!may_spin_) {
    wait_began_ns_ = MonotonicNowNs();
    return false;
  }
  // The first looks need no clock.
  for (int i = 0; i < kPollsPerClock; ++i) {
    if (ready()) {
      plan_.Paid(0);
      return true;
    }
    Relax();
  }
  wait_began_ns_ = MonotonicNowNs();
  const int64_t allowed_ns = plan_.Allowance(wait_began_ns_);
  if (allowed_ns == 0) return false;
  const int64_t end_ns = std::min(wait_began_ns_ + allowed_ns, deadline.monotonic_ns());
  int64_t next_data_ns = wait_began_ns_ + kDataWhileSpinningNs;
  int64_t now_ns = wait_began_ns_;
  while (now_ns < end_ns) {
    for (int i = 0; i < kPollsPerClock; ++i) {
      if (ready()) {
        plan_.Paid(MonotonicNowNs() - wait_began_ns_);
        return true;
      }
      Relax();
    }
    now_ns = MonotonicNowNs();
    if (now_ns >= next_data_ns) {
      next_data_ns = now_ns + kDataWhileSpinningNs;
      if (EndIsNear()) break;
    }
  }
  plan_.Failed(now_ns - wait_began_ns_);
  return false;
}

// For long spins: whether a descriptor tells of something other than a wake-up.
bool Waiter::EndIsNear() {
  if (core_->poison() != Violation::kNone) return true;
  const auto ready =
      PollUntil(absl::MakeSpan(polled_.data(), polled_count_), Deadline::AtMonotonicNs(0));
  if (!ready.ok() || *ready == 0) return false;
  return PolledEnd();
}

// Whether the last poll saw the peer's end. The doorbell is the first, if it is there; the others
// only ever tell of that.
bool Waiter::PolledEnd() const {
  bool end = false;
  for (std::size_t i = 0; i < polled_count_; ++i) {
    end |= (polled_[i].revents & (i < doorbells_polled_ ? POLLHUP | POLLERR : ~0)) != 0;
  }
  return end;
}

bool Waiter::Sleep(Deadline deadline) {
  ++stats_->sleeps;
  const Deadline until =
      barrier_failed_ ? Deadline::After(kSleepWithoutBarrier).Or(deadline) : deadline;
  if (doorbell_->is_futex()) return SleepOnFutex(until);
  const auto ready = PollUntil(absl::MakeSpan(polled_.data(), polled_count_), until);
  // Failure of ppoll itself (no memory) is treated like a short sleep: the caller looks again.
  return !ready.ok() || *ready != 0;
}

// In slices, which end when it is time to look for the peer's end: so a peer that never wakes us,
// or that moves us to another word, costs a slice, and so does its death. By the clock and not
// after each sleep, so that wake-ups without end (an heir may give them) hide no death either.
bool Waiter::SleepOnFutex(Deadline deadline) {
  const int64_t now_ns = MonotonicNowNs();
  if (now_ns >= next_poll_for_end_ns_) {
    next_poll_for_end_ns_ = now_ns + absl::ToInt64Nanoseconds(kMaxFutexSleep);
    const auto ended =
        PollUntil(absl::MakeSpan(polled_.data(), polled_count_), Deadline::AtMonotonicNs(0));
    if (ended.ok() && *ended != 0) return true;
  }
  return doorbell_->Sleep(signals_seen_,
                          Deadline::AtMonotonicNs(next_poll_for_end_ns_).Or(deadline));
}

// After a poll: takes the wake-ups and notes a death. False: a violation.
bool Waiter::TakeSignals() {
  switch (doorbell_->Drain()) {
    case Doorbell::Drained::kUnexpected:
      core_->Poison(Violation::kUnexpectedMessage);
      return false;
    case Doorbell::Drained::kPeerGone:
      core_->SetPeerGone();
      break;
    case Doorbell::Drained::kSignalled:
    case Doorbell::Drained::kQuiet:
      break;
  }
  if (PolledEnd()) core_->SetPeerGone();
  return true;
}

Waiter::Result Waiter::TakeWakeUps(Progress progress) {
  PARLEY_CHECK(!doorbell_->is_futex(), "a channel with a futex doorbell has no descriptor to poll");
  if (core_->poison() != Violation::kNone) return Result::kViolation;
  const Deadline now = Deadline::AtMonotonicNs(0);
  const auto woken = PollUntil(absl::MakeSpan(polled_.data(), polled_count_), now);
  // The caller looks for a reason of its own, such as a timer: no fault of the peer's, not counted.
  if (woken.ok() && *woken == 0) return core_->peer_gone() ? Result::kPeerGone : Result::kReady;
  if (!TakeSignals()) return Result::kViolation;
  if (core_->peer_gone()) return Result::kPeerGone;
  return CountWakeUp(progress, now);
}

void Waiter::Refund(uint64_t progress, uint64_t enough) {
  if (progress - refunded_ < enough) return;
  refunded_ = progress;
  spurious_ = 0;
  throttles_ = 0;
}

// Deaf to the doorbell for a while.
void Waiter::Throttle(Deadline deadline) {
  ++stats_->throttles;
  const timespec until = Deadline::After(options_.throttle_time).Or(deadline).RemainingTimespec();
  static_cast<void>(::clock_nanosleep(CLOCK_MONOTONIC, 0, &until, nullptr));
}

// Wake-ups without enough progress use up the budget; enough of it gives the budget back. Those
// with a little are parked like those with none, so that a peer can't wake us for each byte that it
// takes, but it is no violation to be slow.
Waiter::Result Waiter::CountWakeUp(Progress progress, Deadline deadline) {
  ++stats_->wakeups;
  if (progress == Progress::kEnough) {
    spurious_ = 0;
    throttles_ = 0;
    return Result::kReady;
  }
  if (progress == Progress::kNone) ++stats_->spurious_wakeups;
  if (++spurious_ <= options_.spurious_wakeups) return Result::kReady;
  if (progress == Progress::kLittle) {
    throttles_ = 0;
  } else if (++throttles_ > options_.throttles) {
    core_->Poison(Violation::kDoorbellFlood);
    return Result::kViolation;
  }
  Throttle(deadline);
  return Result::kReady;
}

Waiter::Result Waiter::Wait(absl::FunctionRef<bool()> ready, absl::FunctionRef<uint64_t()> progress,
                            uint64_t enough, Deadline deadline) {
  ++stats_->waits;
  Refund(progress(), enough);
  if (Spin(ready, deadline)) return Result::kReady;
  const Result result = SleepUntil(ready, progress, enough, deadline);
  if (result == Result::kReady && may_spin_) plan_.Slept(MonotonicNowNs() - wait_began_ns_);
  return result;
}

Waiter::Result Waiter::SleepUntil(absl::FunctionRef<bool()> ready,
                                  absl::FunctionRef<uint64_t()> progress, uint64_t enough,
                                  Deadline deadline) {
  while (true) {
    if (core_->poison() != Violation::kNone) return Result::kViolation;
    const uint64_t before = progress();
    if (!Announce(ready)) return Result::kReady;
    if (core_->peer_gone()) return Result::kPeerGone;
    const bool woken = Sleep(deadline);
    const bool now_ready = ready();
    if (now_ready && !woken) return Result::kReady;
    if (!woken && deadline.Expired()) return Result::kDeadline;
    if (!woken) continue;

    if (!TakeSignals()) return Result::kViolation;
    if (core_->peer_gone()) return ready() ? Result::kReady : Result::kPeerGone;
    const uint64_t step = progress() - before;
    const Progress made = now_ready || step >= enough ? Progress::kEnough
                          : step != 0                 ? Progress::kLittle
                                                      : Progress::kNone;
    const Result counted = CountWakeUp(made, deadline);
    if (counted != Result::kReady) return counted;
    if (now_ready) return Result::kReady;
    if (deadline.Expired()) return ready() ? Result::kReady : Result::kDeadline;
  }
}

}  // namespace parley::internal

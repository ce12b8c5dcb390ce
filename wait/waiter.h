// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_WAITER_H_
#define PARLEY_WAIT_WAITER_H_

// Sleeping until the peer has done something, and waking a peer that sleeps: an event count, a
// spin, a doorbell and the budgets, put together for one end of a channel.
//
// Trust: the peer may never signal, always signal, make signals to it expensive, lie about its
// epoch, or die; see WaitOptions and wait/budgets.h.
// Threads: the thread of this end; Interrupt from any, and from a signal handler.
//
//   waiter->SignalIfAwaited();                                     // after something was published
//   switch (waiter->Wait(has_data, progress, 1, deadline)) ...

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/os/deadline.h"
#include "parley/wait/adaptive_spin.h"
#include "parley/wait/budgets.h"
#include "parley/wait/doorbell.h"
#include "parley/wait/event_count.h"
#include "parley/wait/signaller.h"
#include "parley/wait/termination.h"
#include "parley/wait/wait_options.h"
#include "parley/wait/wait_stats.h"
#include "parley/wait/waitable.h"

namespace parley::internal {

class Waiter final : private Signaller::Task {
  struct Passkey {};

 public:
  enum class Result {
    kReady,        // what was waited for holds
    kDeadline,     //
    kPeerGone,     // the peer has ended; what it published before that may still be taken
    kViolation,    // the channel was poisoned, here or by the other end of it
    kInterrupted,  // by Interrupt
  };
  // What a wake-up brought.
  enum class Progress { kNone, kLittle, kEnough };

  // All pointers outlive the waiter; `events` are those of this end, `termination` wakes
  // `doorbell`, whose peer is watched.
  // `steps_per_refund`: how many times `enough` has to be there until wake-ups are refunded.
  // kResourceExhausted: the signaller is full.
  static absl::StatusOr<std::unique_ptr<Waiter>> Create(EventCount* events, Doorbell* doorbell,
                                                        Termination* termination,
                                                        const WaitOptions& options,
                                                        WaitStats* stats,
                                                        uint64_t steps_per_refund = 1);
  Waiter(Passkey, EventCount* events, Doorbell* doorbell, Termination* termination,
         const WaitOptions& options, WaitStats* stats, uint64_t steps_per_refund);
  ~Waiter() override;

  // Signals the peer if it waits for what was just published.
  void SignalIfAwaited() {
    uint64_t epoch = 0;
    if (events_->PeerAwaitsSignal(&epoch)) [[unlikely]]
      Signal(epoch);
  }

  // The same where it was asked already: `epoch` is what PeerAwaitsSignal gave.
  void Signal(uint64_t epoch);

  // Waits until ready() or the deadline. progress(): a number that grows when the peer did
  // something useful, even if not enough; steps of less than `enough` keep the peer from being
  // called a flood, but not from being throttled.
  Result Wait(absl::FunctionRef<bool()> ready, absl::FunctionRef<uint64_t()> progress,
              uint64_t enough, Deadline deadline);

  // What the peer did since the last call refunds the wake-up budget, for each `enough` of it, also
  // where no wake-up told of it: an honest peer's signal can come when its data were taken already,
  // each time. `progress` and `enough` as in Wait, which calls this itself.
  void Refund(uint64_t progress, uint64_t enough);

  // For event loops: announces a sleep; true if nothing is ready, so that sleeping is right. Not
  // with the futex doorbell, which the caller chose: aborts.
  bool Arm(absl::FunctionRef<bool()> ready);
  // After descriptor() became readable: takes the signals. kReady only says that there may be
  // data. Not with the futex doorbell.
  Result TakeWakeUps(Progress progress) { return TakeWakeUps(progress, {}); }

  // For a WaitSet (wait/waitable.h), which polls the doorbell's descriptors itself. `revents`, for
  // each of the doorbell's polled(); empty: as above.
  Result TakeWakeUps(Progress progress, absl::Span<const short> revents);
  Waitable::Armed ArmForSet(absl::FunctionRef<bool()> ready);
  void Disarm() { doorbell_->wake().EndSleep(); }
  absl::Span<const pollfd> polled() const { return doorbell_->polled(); }
  int64_t throttled_until_ns() const { return throttled_until_ns_; }

  // A Try call found nothing. True: the peer has ended, and had already when the last call that
  // got false returned; so what it had published was seen. Asks the kernel at most once in
  // kEmptyPollsPerCheck calls and in kCheckEachNs: then it is one system call, which does not wait.
  bool PeerGoneAtEmptyPoll() {
    if (end_seen_) return true;
    if (++empty_polls_ >= kEmptyPollsPerCheck) [[unlikely]]
      CheckForEnd();
    end_seen_ = termination_->peer_gone();
    return false;
  }
  static constexpr int kEmptyPollsPerCheck = 64;
  static constexpr int64_t kCheckEachNs = 10'000'000;

  // Ends the wait that is under way, or else the next one, with kInterrupted. For an event loop
  // makes descriptor() readable.
  void Interrupt() { doorbell_->Wake(LocalWake::kInterrupt); }

  // Null where the caller signals.
  const Signaller* signaller() const { return signaller_.get(); }

  // Readable when signalled, or when the peer has ended; -1 with the futex doorbell. Made by the
  // first call.
  int descriptor() { return doorbell_->descriptor(); }

 private:
  void SignalNow() override;
  void CheckForEnd();
  bool Announce(absl::FunctionRef<bool()> ready);
  Result Spin(absl::FunctionRef<bool()> ready, absl::FunctionRef<uint64_t()> progress,
              uint64_t enough, Deadline deadline);
  Result MakeWay(absl::FunctionRef<bool()> ready, absl::FunctionRef<uint64_t()> progress,
                 uint64_t enough, Deadline soon);
  bool EndIsNear();
  Result SleepUntil(absl::FunctionRef<bool()> ready, absl::FunctionRef<uint64_t()> progress,
                    uint64_t enough, Deadline deadline);
  bool Sleep(Deadline deadline);
  // Drains; a death is noted, a violation ends the channel.
  Doorbell::Drained TakeSignals();
  // Charges a wake-up. 0: go on; else: throttled until then. A flood ends the channel.
  int64_t CountWakeUp(Progress progress, int64_t now_ns);
  // As long as that the thread of this end sleeps without the doorbell.
  void SleepThrottled(int64_t until_ns, Deadline deadline);

  EventCount* const events_;
  Doorbell* const doorbell_;
  Termination* const termination_;
  WaitStats* const stats_;
  const uint64_t steps_per_refund_;
  std::shared_ptr<Signaller> signaller_;
  std::size_t signaller_number_ = 0;

  SignalBudget signal_budget_;
  WakeBudget wake_budget_;
  uint64_t refunded_ = 0;  // progress

  AdaptiveSpin spin_;
  const bool may_spin_;
  int64_t wait_began_ns_ = 0;

  int64_t throttled_until_ns_ = 0;  // of an event loop; 0: not throttled
  int empty_polls_ = 0;
  int64_t next_check_ns_ = 0;
  bool end_seen_ = false;
};

}  // namespace parley::internal

#endif  // PARLEY_WAIT_WAITER_H_

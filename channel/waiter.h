#ifndef PARLEY_CHANNEL_WAITER_H_
#define PARLEY_CHANNEL_WAITER_H_

// Sleeping until the peer has done something, and waking a peer that sleeps. Internal to channel/.
//
//   sleeper                                   the other end
//     epoch += 1, published in its region       position published
//     full fence, or a barrier on the others    full fence, or none if the sleeper has a barrier
//     looks once more                           reads the epoch; if it was not rung for yet: rings
//     sleeps until rung, or the deadline
//
// Either the sleeper's last look sees the position, or the other end sees the epoch: never neither.
// Which of the two fences is settled in the handshake (FenceMode).
// How an end sleeps depends on its doorbell (wait/doorbell.h): it polls the doorbell and what
// tells of the peer's end; or, with the futex, which nothing can poll, it notes how often it was
// rung before it announces a sleep, sleeps on that count for kMaxFutexSleep at most, and polls
// for the peer's end as often.
// An epoch and not a flag, so that a peer which lies about waiting costs one non-blocking system
// call per operation of ours and no more.
//
// Trust: the peer may never ring, always ring, lie about its epoch, or die; see WaitOptions.
// Threads: Ring from the thread of this end; the waits too.

#include <poll.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/channel/core.h"
#include "parley/channel/spin_plan.h"
#include "parley/channel/stats.h"
#include "parley/channel/wait_options.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"

namespace parley::internal {

class Waiter {
 private:
  struct Passkey {};

 public:
  // Through Create only.
  Waiter(Passkey, Core* core, Doorbell* doorbell, std::size_t my_epoch, std::size_t peer_epoch,
         const WaitOptions& options, ChannelStats* stats);

  enum class Result {
    kReady,     // what was waited for holds
    kDeadline,  //
    kPeerGone,  // the peer has ended; what it published before that may still be taken
    kViolation  // the channel was poisoned, here or by the other end of it
  };
  // What a wake-up brought.
  enum class Progress { kNone, kLittle, kEnough };

  // `my_epoch`: the offset of this end's epoch in our region; `peer_epoch`: that of the peer's
  // other end in its region.
  static absl::StatusOr<std::unique_ptr<Waiter>> Create(Core* core, Doorbell* doorbell,
                                                        std::size_t my_epoch,
                                                        std::size_t peer_epoch,
                                                        const WaitOptions& options,
                                                        ChannelStats* stats);

  // Rings the peer if it waits for what was just published.
  void SignalIfAwaited() {
    // PAIRS WITH: the fence or barrier in Arm of the peer. Our position before its epoch, or its
    // epoch before our position.
    if (!skips_fences_) {
      std::atomic_thread_fence(std::memory_order_seq_cst);
    } else {
      // PAIRS WITH: the same; the compiler keeps the order, the peer makes the processor keep it.
      std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    // TRUST: only compared with the last one seen; a lie costs one system call.
    const uint64_t epoch = peer_control_.LoadRelaxed64(peer_epoch_offset_).AnyValueIsAcceptable();
    if (epoch != signalled_epoch_) [[unlikely]]
      Signal(epoch);
  }

  // Waits until ready() or the deadline. progress(): a number that grows when the peer did
  // something useful, even if not enough; steps of less than `enough` keep the peer from being
  // called a flood, but not from being listened to less often.
  Result Wait(absl::FunctionRef<bool()> ready, absl::FunctionRef<uint64_t()> progress,
              uint64_t enough, Deadline deadline);

  // What the peer did since the last call gives the wake-up budget back if it is enough, also where
  // no wake-up told of it: an honest peer's ring can come when its data were taken already, each
  // time. `progress` and `enough` as in Wait, which calls this itself.
  void Refund(uint64_t progress, uint64_t enough);

  // For event loops: announces a sleep; true if nothing is ready, so that sleeping is right. Not
  // with the futex doorbell, which the caller chose: aborts.
  bool Arm(absl::FunctionRef<bool()> ready);
  // After descriptor() became readable: takes the wake-ups. kReady only says that there may be
  // news. Not with the futex doorbell.
  Result TakeWakeUps(Progress progress);

  // Readable when rung, or when the peer has ended; -1 with the futex doorbell.
  int descriptor() const { return epoll_.get(); }

 private:
  void Signal(uint64_t epoch);
  bool Announce(absl::FunctionRef<bool()> ready);
  bool Spin(absl::FunctionRef<bool()> ready, Deadline deadline);
  bool EndIsNear();
  bool PolledEnd() const;
  Result SleepUntil(absl::FunctionRef<bool()> ready, absl::FunctionRef<uint64_t()> progress,
                    uint64_t enough, Deadline deadline);
  // One sleep; false at the deadline, or earlier where the barrier failed.
  bool Sleep(Deadline deadline);
  bool SleepOnFutex(Deadline deadline);
  bool TakeSignals();
  Result CountWakeUp(Progress progress, Deadline deadline);
  void Throttle(Deadline deadline);

  Core* const core_;
  Doorbell* const doorbell_;
  OwnMemory own_control_;
  PeerMemory peer_control_;
  const std::size_t my_epoch_offset_;
  const std::size_t peer_epoch_offset_;
  const bool skips_fences_;
  const bool barrier_before_sleep_;
  bool barrier_failed_ = false;  // by a filter that came later: sleeps are short from then on
  const WaitOptions options_;
  ChannelStats* const stats_;
  UniqueFd epoll_;
  std::array<pollfd, 3> polled_ = {};  // doorbell (not the futex), socket, pidfd
  std::size_t polled_count_ = 0;
  std::size_t doorbells_polled_ = 1;  // of these: 0 with the futex
  uint32_t signals_seen_ = 0;         // futex: taken before the sleep was announced
  int64_t next_poll_for_end_ns_ = 0;  // futex

  uint64_t epoch_ = 0;
  uint64_t signalled_epoch_ = 0;
  uint64_t refunded_ = 0;  // progress
  SpinPlan plan_;
  const bool may_spin_;
  int64_t wait_began_ns_ = 0;
  int spurious_ = 0;
  int throttles_ = 0;
};

}  // namespace parley::internal

#endif  // PARLEY_CHANNEL_WAITER_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_DOORBELL_H_
#define PARLEY_WAIT_DOORBELL_H_

// One end of a wake-up between the two processes; it carries no data. The sender's end signals data
// and sleeps until there is free space, the receiver's the other way round. Three kinds, chosen in
// the handshake:
//
//   wait/socket_doorbell.h    one byte on the connection. Nothing that the peer does to its end can
//                             make ours wait. The default.
//   wait/eventfd_doorbell.h   two eventfds that both sides share. Cheaper to signal, but a peer
//                             that may clear O_NONBLOCK and saturate the counter makes our write
//                             wait for ever: only for a peer under our system call filter, or one
//                             that the caller declares trusted.
//   wait/futex_doorbell.h     a count in the own region, and a futex wake on it. The cheapest
// sleep,
//                             and nothing that the peer does can make our signal wait, but there is
//                             nothing to poll: where both callers ask for it.
//
// Trust: the peer signals too often, never, or with rubbish; it fills our queue or never reads its
// own. Each call is at most a fixed number of system calls, none of which waits but Sleep, which
// ends at its deadline. What a signal *costs* is the peer's choice (it decides how many wait on the
// object), which is why Waiter has a budget for it.
// Threads: Signal from the thread that uses the end (or from a Signaller); Wake from any thread and
// from a signal handler; the rest from the thread that waits.
//
//   doorbell->Prepare();  ... announce, poll once more ...  doorbell->Sleep(deadline);
//   if (doorbell->Drain() == Doorbell::Drained::kPeerGone) ...

#include <poll.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "parley/os/deadline.h"
#include "parley/wait/local_wake.h"

namespace parley {

class Doorbell {
 public:
  enum class Drained {
    kQuiet,       // nothing
    kSignalled,   // at least one signal for this end
    kRedundant,   // only signals for the other end that has not taken the last one yet
    kThrottled,   // only signals for the other end, which is throttled
    kPeerGone,    // the peer has ended
    kUnexpected,  // something that is no signal: a violation
  };

  virtual ~Doorbell() = default;
  Doorbell(const Doorbell&) = delete;
  Doorbell& operator=(const Doorbell&) = delete;

  // Wakes the peer's end. One system call; a full queue means that it has signals enough.
  virtual void Signal() = 0;
  // Before a sleep is announced. What was signalled until now is seen by the poll that follows.
  virtual void Prepare() = 0;
  // Sleeps until there is something to drain, somebody called Wake, or the deadline. True: it was
  // not the deadline, which proves nothing. One system call.
  virtual bool Sleep(Deadline deadline) = 0;
  // After Sleep, or where descriptor() was readable: takes the signals that are there. At most
  // eleven system calls; 27 with a socket before Linux 6.16.
  virtual Drained Drain() = 0;

  enum class Kind { kSocket, kEventfd, kFutex };
  virtual Kind kind() const = 0;
  // With kFutex there is nothing to poll: descriptor() is -1, and what follows does nothing.
  bool can_be_polled() const { return kind() != Kind::kFutex; }
  // For event loops. Readable when there is something
  // to drain. Made by the first call, so call it before a lock-down; -1 too if that failed.
  virtual int descriptor() = 0;
  // For a WaitSet, which polls these itself, for POLLIN: the doorbell first. Empty with a futex.
  virtual absl::Span<const pollfd> polled() const { return {}; }
  // It is done; `revents`, for each of polled(), is what Drain goes by.
  virtual void EndPolledSleep(absl::Span<const short> /*revents*/) {}
  // An event loop is about to poll descriptor(); it is done.
  virtual void BeginPolledSleep() = 0;
  virtual void EndPolledSleep() = 0;
  // Makes descriptor() blind for signals until `until_ns` (CLOCK_MONOTONIC), when it becomes
  // readable; the end of the peer is seen all the same. EndThrottle takes that back.
  virtual void Throttle(int64_t until_ns) = 0;
  virtual void EndThrottle() = 0;
  // When the throttle of the other end of this side ends; 0: it has none.
  virtual int64_t OtherThrottleEnd(int64_t /*now_ns*/) const { return 0; }

  // Ends a sleep of this end, or the next one, for one of LocalWake's reasons. With the futex the
  // sleep goes on for kMaxFutexSleep at most.
  void Wake(uint32_t reason) { wake_->Post(reason); }
  internal::LocalWake& wake() { return *wake_; }

  // Adds what this end polls, signals and made, as far as it is there. `eventfds`: of these, those
  // that are written to or read.
  virtual void AddDescriptors(std::vector<int>& all, std::vector<int>& eventfds) const = 0;
  // The descriptors that become readable at the peer's end: the connection where it is not the
  // doorbell itself, and a pidfd. -1: none. Not owned. Before the first sleep.
  virtual void WatchForEnd(int connection, int pidfd) = 0;
  // One look at these. One system call.
  virtual bool PeerHasEnded() = 0;

 protected:
  explicit Doorbell(std::shared_ptr<internal::LocalWake> wake) : wake_(std::move(wake)) {}
  const std::shared_ptr<internal::LocalWake> wake_;  // never null
};

}  // namespace parley

#endif  // PARLEY_WAIT_DOORBELL_H_

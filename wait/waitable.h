// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_WAITABLE_H_
#define PARLEY_WAIT_WAITABLE_H_

// What a WaitSet needs of a port: the end of a channel, or what stands on one. The set polls the
// descriptors; the port says when there is use in sleeping, and takes its signals.
//
// Trust: the peer decides when the descriptors are readable, and for how long. TakeWakeUps keeps
// its wake-up budget (wait/budgets.h) and says when they are to be left alone.
// Threads: the thread that uses the port, which is that of the set.
//
//   switch (port->Arm()) { case Waitable::Armed::kSleeping: ... poll port->polled() ... }
//   if (port->TakeWakeUps(revents, &status)) Handle(status);

#include <poll.h>

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace parley {

class Waitable {
 public:
  // Who polls for it.
  class Watcher {
   public:
    virtual ~Watcher() = default;
    // The port ends, with its descriptors still open. The watcher forgets it.
    virtual void PortEnds() = 0;
  };
  enum class Armed {
    kSleeping,  // nothing is there: poll
    kReady,     // there is something: a try is worth it
    kWoken,     // TakeWakeUps has something to say at once
    kOver,      // the stream ended in order, and kReady was said since: nothing will ever come
  };
  static constexpr std::size_t kMaxDescriptors = 4;

  Waitable() = default;
  Waitable(const Waitable&) = delete;
  Waitable& operator=(const Waitable&) = delete;
  virtual ~Waitable() {
    if (watcher_ != nullptr) watcher_->PortEnds();
  }

  // What to poll, for POLLIN: the first is the doorbell, which is left alone while throttled. The
  // same for the port's life, 1 to kMaxDescriptors. Another port may have some of them as well.
  // Empty: a futex doorbell.
  virtual absl::Span<const pollfd> polled() = 0;

  // Announces a sleep. At most one system call on what the peer shares.
  virtual Armed Arm() = 0;
  // The caller no longer sleeps. No system call. TakeWakeUps and Arm may follow in any order.
  virtual void Disarm() = 0;
  // Takes the signals. `revents`: what poll said, for each of polled(). False: it was for nothing,
  // and Arm is to be called again. True: `*status` is to be told to the caller; OK means that a try
  // is worth it, kCancelled that somebody called Interrupt, everything else is final.
  virtual bool TakeWakeUps(absl::Span<const short> revents, absl::Status* status) = 0;

  // Until when (CLOCK_MONOTONIC) the doorbell is to be left alone; then TakeWakeUps. 0: it is not.
  virtual int64_t throttled_until_ns() const = 0;
  // Whether the peer ended or broke the protocol: the descriptors tell nothing more.
  virtual bool ended() const = 0;

  // Null: nobody. A port has one watcher at most.
  Watcher* watcher() const { return watcher_; }
  void SetWatcher(Watcher* watcher) { watcher_ = watcher; }

 private:
  Watcher* watcher_ = nullptr;
};

}  // namespace parley

#endif  // PARLEY_WAIT_WAITABLE_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_SET_WAIT_SET_H_
#define PARLEY_WAIT_SET_WAIT_SET_H_

// Waits for any number of ports, descriptors and timers at once, with one epoll, and calls a
// handler for each that is ready. For a thread that serves many channels; by itself, or inside
// somebody else's loop through one descriptor.
//
//   absl::StatusOr<std::unique_ptr<WaitSet>> set = WaitSet::Create();
//   absl::StatusOr<Registration> data = (*set)->Add(
//       channel.receiver.waitable(), [&](const absl::Status& status) {
//         if (!status.ok()) return Drop(&channel);     // the peer ended, or broke the protocol
//         Record record;
//         for (int i = 0; i < 16; ++i) {               // the others want their turn
//           switch (channel.receiver.TryReceive(absl::MakeSpan(buffer), &record)) {
//             case Outcome::kOk:         Handle(record, buffer); break;
//             case Outcome::kWouldBlock: return;
//             default:                   return Drop(&channel);
//           }
//         }
//       });
//   while (running) (*set)->RunOnce(Deadline::After(absl::Minutes(1)));
//
// What it costs: a round costs what is ready in it, not what is registered. An idle registration
// costs memory, and no end of a channel has an epoll of its own here.
//
// Who gets a turn: each ready handler runs once in a round, in the order in which they became
// ready. What is still ready after that goes to the end of the queue.
//
// Trust: a peer decides when its own port is ready, and no more. Wake-ups without progress are
// taken here and call no handler. They use up the budget of that port alone (wait/budgets.h); then
// its doorbell leaves the epoll until the throttle ends, so it costs the others nothing. A peer's
// end is told once, and its descriptors leave the epoll, whoever keeps them readable. No call walks
// a list whose length a peer decides.
// Foreign descriptors are level-triggered: whoever can keep one readable has its handler called in
// each round.
// Threads: one, which is also the one that uses and destroys the registered ports. Interrupt from
// any, and from a signal handler.
// Fork: a set belongs to the process that made it. Used in a forked child it aborts; destroying it
// there is fine.
// Lifetime, in any order: a port, a registration or what a handler belongs to may end at any time,
// in a handler too. The set itself must not end in a handler.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/wait/waitable.h"
#include "parley/wait_set/timer_queue.h"

namespace parley {

class WaitSet;
namespace internal {
class WaitEntry;
struct WaitSource;
}  // namespace internal

// That a set waits for something. Ends with this object; the handler is not called after that.
class Registration {
 public:
  // Of nothing.
  Registration() = default;
  Registration(Registration&&) noexcept = default;
  Registration& operator=(Registration&& other) noexcept {
    if (this != &other) {
      Reset();
      entry_ = std::move(other.entry_);
    }
    return *this;
  }
  ~Registration() { Reset(); }
  explicit operator bool() const { return entry_ != nullptr; }

  // Waits: once, where the set was told kOnce; again, after Pause. If nothing comes by `deadline`
  // the handler is called with kDeadlineExceeded (a timer's with OK). Of a port that has ended the
  // handler is called again with what it ended by.
  void Resume(Deadline deadline = Deadline::AtMonotonicNs(internal::TimerQueue::kNever));
  // Waits no more, until Resume. What was ready and not handled yet is left for then.
  void Pause();
  void Reset();

 private:
  friend class WaitSet;
  explicit Registration(std::shared_ptr<internal::WaitEntry> entry) : entry_(std::move(entry)) {}
  std::shared_ptr<internal::WaitEntry> entry_;
};

struct WaitSetStats {
  uint64_t polls = 0;     // of the epoll
  uint64_t events = 0;    // that these brought
  uint64_t handlers = 0;  // that ran
  uint64_t spurious = 0;  // wake-ups of a port that called no handler
};

class WaitSet {
  struct Private {};

 public:
  // OK: a try is worth it (it may still find nothing). kDeadlineExceeded: see Resume. kCancelled:
  // somebody called the port's Interrupt, or the port was destroyed. kUnavailable, kDataLoss: the
  // peer ended, or broke the protocol; the last call. kResourceExhausted: the kernel refused to
  // poll it; the last call.
  using Handler = std::function<void(const absl::Status&)>;
  enum class Mode {
    kAlways,  // from now on, and again after each call of the handler
    kOnce,    // for each Resume, until the handler is called
  };
  enum class Ran { kHandlers, kDeadline, kInterrupted };

  // Two descriptors. kResourceExhausted. `now_ns`: for tests.
  static absl::StatusOr<std::unique_ptr<WaitSet>> Create(int64_t (*now_ns)() = &MonotonicNowNs);
  WaitSet(Private, UniqueFd epoll, UniqueFd eventfd, int64_t (*now_ns)());
  WaitSet(const WaitSet&) = delete;
  WaitSet& operator=(const WaitSet&) = delete;
  // Registrations may outlive it; no handler is called any more.
  ~WaitSet();

  // A port (Receiver::waitable and the like), which is in no other set. kFailedPrecondition: it has
  // a futex doorbell; kResourceExhausted.
  absl::StatusOr<Registration> Add(Waitable* port, Handler handler, Mode mode = Mode::kAlways);
  // `fd`: the caller's, closed only after the registration has ended. `events`: POLLIN, POLLOUT or
  // both; hang-ups and errors are told as well. The same descriptor may be added more than once.
  // kInvalidArgument: it can't be polled (a file); kResourceExhausted.
  absl::StatusOr<Registration> AddDescriptor(int fd, short events, Handler handler,
                                             Mode mode = Mode::kAlways);
  // Set by Resume, for once.
  Registration AddTimer(Handler handler);

  // Waits until something is ready, the deadline, or Interrupt, and runs the handlers of what is
  // ready, each once. Looks at least once. Not from a handler. System calls: one epoll_pwait2 (and
  // one more for each time that only spurious wake-ups came), and those of the ports' doorbells.
  Ran RunOnce(Deadline deadline);

  // Ends the RunOnce that is under way, or else the next one, when it has run what is ready. At
  // most one system call, on an object of this process.
  void Interrupt();

  // For somebody else's loop: readable (POLLIN) when RunOnce has something to do; it is called with
  // an expired deadline then. Makes a timer descriptor at the first call. kResourceExhausted.
  absl::StatusOr<int> descriptor();

  const WaitSetStats& stats() const { return stats_; }

 private:
  friend class Registration;
  friend class internal::WaitEntry;
  using Entry = internal::WaitEntry;
  using Source = internal::WaitSource;
  static constexpr int kMaxEvents = 256;
  static constexpr int kMaxTimersInARound = 256;

  absl::StatusOr<Registration> AddPolled(std::shared_ptr<Entry> shared,
                                         absl::Span<const pollfd> polled);
  void Remove(Entry* entry);
  void Resume(Entry* entry, Deadline deadline);
  void Pause(Entry* entry);
  void PortEnds(Entry* entry);

  void Arm(Entry* entry);
  void ArmPort(Entry* entry);
  void TakeWakeUps(Entry* entry);
  void Expire(Entry* entry);
  void Queue(Entry* entry, absl::Status status);
  void Unqueue(Entry* entry);
  void End(Entry* entry, absl::Status status);
  void Run(Entry* entry);
  void Touch(Entry* entry);
  void Untouch(Entry* entry);

  absl::Status Subscribe(Entry* entry, absl::Span<const pollfd> polled);
  void Unsubscribe(Entry* entry);
  bool Require(Source* source, uint32_t events);
  void Mask(Source* source);
  bool Control(Source* source, bool in_epoll, uint32_t events);
  void TakeEvent(uint64_t key, uint32_t revents);

  void Poll(Deadline deadline);
  void TakeTimers();
  void Round();
  void SetTimer();
  bool InMaker() const;

  const UniqueFd epoll_;
  const UniqueFd eventfd_;  // for Interrupt
  UniqueFd timerfd_;        // where descriptor() was asked for
  int64_t timer_at_ns_ = internal::TimerQueue::kNever;
  int64_t (*const now_ns_)();
  const uint32_t made_in_;  // which process
  std::atomic<bool> interrupted_{false};
  bool running_ = false;
  WaitSetStats stats_;

  internal::TimerQueue timers_;
  Entry* all_ = nullptr;    // a list
  Entry* first_ = nullptr;  // a queue of those that are ready
  Entry* last_ = nullptr;
  std::size_t queued_ = 0;
  std::vector<Entry*> touched_;  // those of which signals have to be taken; null: removed
  std::vector<Entry*> taken_;
  std::vector<Entry*> expired_;

  std::unordered_map<int, std::unique_ptr<Source>> sources_;  // by descriptor
  // By the number in an event's key, whose other half tells old events from new ones.
  std::vector<Source*> numbered_;
  std::vector<uint32_t> free_numbers_;
  uint32_t generation_ = 0;
};

}  // namespace parley

#endif  // PARLEY_WAIT_SET_WAIT_SET_H_

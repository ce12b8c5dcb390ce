// SPDX-License-Identifier: Apache-2.0
#include "parley/wait_set/wait_set.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <limits>
#include <string>

#include "parley/os/check.h"
#include "parley/os/errors.h"
#include "parley/os/eventfd.h"
#include "parley/os/system_call.h"
#include "parley/wait/eventfd.h"

namespace parley {
namespace internal {

// A descriptor in the epoll, for all entries that poll it.
struct WaitSource {
  // One entry's share.
  struct Share {
    WaitSource* source = nullptr;
    WaitEntry* entry = nullptr;
    Share* next = nullptr;  // of the same source: as many as ports of one session are registered
    uint32_t events = 0;
  };
  int fd = -1;
  uint64_t key = 0;
  bool in_epoll = false;
  uint32_t events = 0;  // in the epoll
  Share* shares = nullptr;
};

// What a Registration stands for.
class WaitEntry final : public Waitable::Watcher, public std::enable_shared_from_this<WaitEntry> {
 public:
  enum class State {
    kIdle,     // nobody waits
    kArmed,    // in the epoll, where it has something to poll
    kQueued,   // to be told `status`
    kRunning,  // its handler
    kEnded,    // with `status`
  };

  WaitEntry(WaitSet* s, Waitable* p, WaitSet::Handler h, WaitSet::Mode m)
      : set(s), port(p), handler(std::move(h)), mode(m) {}
  void PortEnds() override {
    port = nullptr;
    if (set != nullptr) set->PortEnds(this);
  }
  bool waits() const { return state == State::kArmed || state == State::kQueued; }
  // What this wants to be told of `share`; false: nothing at all.
  bool Wants(const WaitSource::Share& share, uint32_t* events) const {
    if (!waits()) return false;
    *events = throttled && &share == shares.data() ? 0 : share.events;
    return true;
  }

  WaitSet* set;    // null: it has ended
  Waitable* port;  // null: it has ended, or there never was one
  const bool is_port = port != nullptr;
  WaitSet::Handler handler;
  const WaitSet::Mode mode;
  bool is_timer = false;
  State state = State::kIdle;
  absl::Status status;
  bool removed = false;

  std::array<WaitSource::Share, Waitable::kMaxDescriptors> shares;
  std::array<short, Waitable::kMaxDescriptors> revents = {};
  std::size_t share_count = 0;
  std::size_t polled_count = 0;  // of the port
  bool throttled = false;
  bool touched = false;
  std::size_t touched_at = 0;
  Timer deadline{this};
  Timer throttle{this};

  WaitEntry* previous = nullptr;  // of all
  WaitEntry* next = nullptr;
  WaitEntry* queue_previous = nullptr;  // of those that are ready
  WaitEntry* queue_next = nullptr;
};

}  // namespace internal

namespace {

using internal::WaitEntry;
using State = internal::WaitEntry::State;
constexpr int64_t kSecondNs = 1'000'000'000;
constexpr uint64_t kInterruptKey = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kTimerKey = kInterruptKey - 1;

static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLERR == POLLERR &&
              EPOLLHUP == POLLHUP);

// How many forks lie between the program's first process and this one.
std::atomic<uint32_t>& Forks() {
  static std::atomic<uint32_t> forks{0};
  [[maybe_unused]] static const int registered = ::pthread_atfork(nullptr, nullptr, [] {
    Forks().fetch_add(1, std::memory_order_relaxed);  // RELAXED: the child has one thread
  });
  return forks;
}

int64_t NsUntil(int64_t at_ns, int64_t now_ns) { return at_ns <= now_ns ? 0 : at_ns - now_ns; }

int EpollWait(int epoll, absl::Span<epoll_event> events, int64_t timeout_ns) {
  const int size = static_cast<int>(events.size());
#if defined(SYS_epoll_pwait2)
  static std::atomic<bool> missing{false};
  // RELAXED: a hint.
  if (timeout_ns != 0 && !missing.load(std::memory_order_relaxed)) {
    const timespec timeout = {timeout_ns / kSecondNs, timeout_ns % kSecondNs};
    const auto count = static_cast<int>(
        SystemCall(SYS_epoll_pwait2, epoll, events.data(), size, &timeout, nullptr, 0));
    if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
    missing.store(true, std::memory_order_relaxed);  // RELAXED: a hint
  }
#endif
  constexpr int64_t kMillisecondNs = 1'000'000;
  constexpr int64_t kMaxMs = 1'000'000'000;
  const int64_t ms =
      std::min(kMaxMs, timeout_ns / kMillisecondNs + (timeout_ns % kMillisecondNs != 0));
  return ::epoll_wait(epoll, events.data(), size, static_cast<int>(ms));
}

bool IsFinal(const absl::Status& status) {
  return !status.ok() && !absl::IsCancelled(status) && !absl::IsDeadlineExceeded(status);
}

}  // namespace

// --- registrations -------------------------------------------------------------------------------

void Registration::Resume(Deadline deadline) {
  PARLEY_CHECK(entry_ != nullptr, "an empty Registration waits for nothing");
  if (entry_->set != nullptr) entry_->set->Resume(entry_.get(), deadline);
}

void Registration::Pause() {
  PARLEY_CHECK(entry_ != nullptr, "an empty Registration waits for nothing");
  if (entry_->set != nullptr) entry_->set->Pause(entry_.get());
}

void Registration::Reset() {
  const std::shared_ptr<WaitEntry> entry = std::exchange(entry_, nullptr);
  if (entry != nullptr && entry->set != nullptr) entry->set->Remove(entry.get());
}

absl::StatusOr<std::unique_ptr<WaitSet>> WaitSet::Create(int64_t (*now_ns)()) {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.ok()) return ErrnoStatus(errno, "make an epoll");
  auto eventfd = CreateEventfd();
  if (!eventfd.ok()) return eventfd.status();
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = kInterruptKey;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, eventfd->get(), &event) != 0) {
    return ErrnoStatus(errno, "poll an eventfd");
  }
  return std::make_unique<WaitSet>(Private(), std::move(epoll), *std::move(eventfd), now_ns);
}

WaitSet::WaitSet(Private, UniqueFd epoll, UniqueFd eventfd, int64_t (*now_ns)())
    : epoll_(std::move(epoll)),
      eventfd_(std::move(eventfd)),
      now_ns_(now_ns),
      made_in_(Forks().load(std::memory_order_relaxed)) {}  // RELAXED: of this process

WaitSet::~WaitSet() {
  PARLEY_CHECK(!running_, "a WaitSet must not end in one of its handlers");
  while (all_ != nullptr) {
    Entry* const entry = all_;
    Remove(entry);
    entry->set = nullptr;
  }
}

bool WaitSet::InMaker() const {
  return Forks().load(std::memory_order_relaxed) == made_in_;  // RELAXED: of this process
}

absl::StatusOr<Registration> WaitSet::Add(Waitable* port, Handler handler, Mode mode) {
  PARLEY_CHECK(port->watcher() == nullptr, "a port can be in one WaitSet, once");
  const absl::Span<const pollfd> polled = port->polled();
  if (polled.empty()) {
    return absl::FailedPreconditionError("a channel with a futex doorbell has nothing to poll");
  }
  return AddPolled(std::make_shared<Entry>(this, port, std::move(handler), mode), polled);
}

absl::StatusOr<Registration> WaitSet::AddDescriptor(int fd, short events, Handler handler,
                                                    Mode mode) {
  const pollfd polled = {fd, events, 0};
  return AddPolled(std::make_shared<Entry>(this, nullptr, std::move(handler), mode), {&polled, 1});
}

Registration WaitSet::AddTimer(Handler handler) {
  auto entry = std::make_shared<Entry>(this, nullptr, std::move(handler), Mode::kOnce);
  entry->is_timer = true;
  return *AddPolled(std::move(entry), {});
}

absl::StatusOr<Registration> WaitSet::AddPolled(std::shared_ptr<Entry> shared,
                                                absl::Span<const pollfd> polled) {
  PARLEY_CHECK(InMaker(), "a WaitSet can't be used in a forked child");
  Entry* const entry = shared.get();
  Registration registration(std::move(shared));
  entry->next = all_;
  if (all_ != nullptr) all_->previous = entry;
  all_ = entry;
  entry->polled_count = polled.size();
  if (absl::Status status = Subscribe(entry, polled); !status.ok()) return status;
  if (entry->port != nullptr) entry->port->SetWatcher(entry);
  if (entry->mode == Mode::kAlways) Arm(entry);
  SetTimer();
  return registration;
}

void WaitSet::Remove(Entry* entry) {
  if (std::exchange(entry->removed, true)) return;
  if (entry->port != nullptr) {
    if (entry->state == State::kArmed) entry->port->Disarm();
    entry->port->SetWatcher(nullptr);
    entry->port = nullptr;
  }
  Unqueue(entry);
  Untouch(entry);
  timers_.Cancel(&entry->deadline);
  timers_.Cancel(&entry->throttle);
  entry->state = State::kIdle;
  Unsubscribe(entry);
  (entry->previous != nullptr ? entry->previous->next : all_) = entry->next;
  if (entry->next != nullptr) entry->next->previous = entry->previous;
  entry->previous = entry->next = nullptr;
}

void WaitSet::Resume(Entry* entry, Deadline deadline) {
  PARLEY_CHECK(InMaker(), "a WaitSet can't be used in a forked child");
  // An expiry that nobody was told of yet is put off.
  if (entry->state == State::kQueued &&
      (entry->is_timer || absl::IsDeadlineExceeded(entry->status))) {
    Unqueue(entry);
  }
  if (entry->state == State::kEnded) {
    absl::Status status = entry->status;
    Queue(entry, std::move(status));
  } else if (entry->state != State::kQueued) {
    if (entry->state != State::kArmed) Arm(entry);
    if (entry->state == State::kArmed) {
      if (deadline.monotonic_ns() == internal::TimerQueue::kNever) {
        timers_.Cancel(&entry->deadline);
      } else {
        timers_.Set(&entry->deadline, deadline.monotonic_ns());
      }
    }
  }
  SetTimer();
}

void WaitSet::Pause(Entry* entry) {
  if (entry->state == State::kArmed && entry->port != nullptr) entry->port->Disarm();
  timers_.Cancel(&entry->deadline);
  Unqueue(entry);
  if (entry->state == State::kEnded) return;
  // What was queued as the last word is said at Resume.
  const bool ended = IsFinal(entry->status) || (entry->is_port && entry->port == nullptr);
  entry->state = ended ? State::kEnded : State::kIdle;
}

// The port's destructor runs, on this thread.
void WaitSet::PortEnds(Entry* entry) {
  const bool told = entry->waits();
  Unqueue(entry);
  Untouch(entry);
  timers_.Cancel(&entry->deadline);
  timers_.Cancel(&entry->throttle);
  entry->throttled = false;
  entry->state = State::kIdle;
  Unsubscribe(entry);
  End(entry, absl::CancelledError("the port was destroyed"));
  if (told) {
    Queue(entry, entry->status);
    SetTimer();
  }
}

// --- what is ready -------------------------------------------------------------------------------

void WaitSet::Queue(Entry* entry, absl::Status status) {
  timers_.Cancel(&entry->deadline);
  entry->status = std::move(status);
  if (entry->state == State::kQueued) return;
  entry->state = State::kQueued;
  entry->queue_previous = last_;
  entry->queue_next = nullptr;
  (last_ != nullptr ? last_->queue_next : first_) = entry;
  last_ = entry;
  ++queued_;
}

void WaitSet::Unqueue(Entry* entry) {
  if (entry->state != State::kQueued) return;
  entry->state = State::kIdle;
  (entry->queue_previous != nullptr ? entry->queue_previous->queue_next : first_) =
      entry->queue_next;
  (entry->queue_next != nullptr ? entry->queue_next->queue_previous : last_) =
      entry->queue_previous;
  entry->queue_previous = entry->queue_next = nullptr;
  --queued_;
}

void WaitSet::End(Entry* entry, absl::Status status) {
  entry->status = std::move(status);
  entry->state = State::kEnded;
}

void WaitSet::Touch(Entry* entry) {
  if (std::exchange(entry->touched, true)) return;
  entry->touched_at = touched_.size();
  touched_.push_back(entry);
}

void WaitSet::Untouch(Entry* entry) {
  if (std::exchange(entry->touched, false)) touched_[entry->touched_at] = nullptr;
}

void WaitSet::Arm(Entry* entry) {
  if (entry->port != nullptr) return ArmPort(entry);
  entry->state = State::kArmed;
  for (std::size_t i = 0; i < entry->share_count; ++i) {
    if (Require(entry->shares[i].source, entry->shares[i].events)) continue;
    Queue(entry, ErrnoStatus(errno, "poll a descriptor"));
  }
}

void WaitSet::ArmPort(Entry* entry) {
  switch (entry->port->Arm()) {
    case Waitable::Armed::kReady:
      return Queue(entry, absl::OkStatus());
    case Waitable::Armed::kOver:
      Unsubscribe(entry);
      End(entry, absl::OutOfRangeError("the end of the stream"));
      // Who asked for it once more is told once more.
      if (entry->mode == Mode::kOnce) Queue(entry, entry->status);
      return;
    case Waitable::Armed::kWoken:
      entry->state = State::kArmed;
      return Touch(entry);
    case Waitable::Armed::kSleeping:
      break;
  }
  entry->state = State::kArmed;
  for (std::size_t i = entry->throttled ? 1 : 0; i < entry->share_count; ++i) {
    if (Require(entry->shares[i].source, entry->shares[i].events)) continue;
    return Queue(entry, ErrnoStatus(errno, "poll a port"));
  }
}

// Of a port: its signals. What they were for is found out before anybody is called.
void WaitSet::TakeWakeUps(Entry* entry) {
  absl::Status status;
  const bool tell = entry->port->TakeWakeUps({entry->revents.data(), entry->polled_count}, &status);
  entry->revents = {};
  if (entry->port->ended()) Unsubscribe(entry);
  const int64_t until_ns = entry->port->throttled_until_ns();
  const bool throttled = until_ns != 0 && entry->share_count != 0;
  if (throttled != entry->throttled) {
    entry->throttled = throttled;
    timers_.Cancel(&entry->throttle);
    if (throttled) Mask(entry->shares[0].source);
  }
  if (throttled) timers_.Set(&entry->throttle, until_ns);
  if (tell) {
    // A last word that is queued stays.
    if (entry->state == State::kArmed || !IsFinal(entry->status)) Queue(entry, std::move(status));
  } else if (entry->state == State::kArmed) {
    ++stats_.spurious;
    ArmPort(entry);
  }
}

// Its deadline.
void WaitSet::Expire(Entry* entry) {
  if (entry->state != State::kArmed) return;
  if (entry->is_timer) return Queue(entry, absl::OkStatus());
  if (entry->port != nullptr) {
    // One more poll: what is there counts.
    ArmPort(entry);
    if (entry->state != State::kArmed) return;
    entry->port->Disarm();
  }
  Queue(entry, absl::DeadlineExceededError("nothing came in time"));
}

void WaitSet::Run(Entry* entry) {
  const absl::Status status = entry->status;
  Unqueue(entry);
  entry->state = State::kRunning;
  std::shared_ptr<Entry> keep = entry->shared_from_this();  // the handler may reset it
  ++stats_.handlers;
  running_ = true;
  entry->handler(status);
  const bool removed = entry->removed;
  // What the handler holds may end with it, and is not to end this set, or run it.
  if (removed) keep.reset();
  running_ = false;
  if (!removed && entry->state == State::kRunning) {
    if (IsFinal(status) || (entry->is_port && entry->port == nullptr)) {
      Unsubscribe(entry);
      End(entry, status);
    } else if (entry->mode == Mode::kAlways) {
      Arm(entry);
    } else {
      entry->state = State::kIdle;
    }
  }
}

// --- the epoll -----------------------------------------------------------------------------------

absl::Status WaitSet::Subscribe(Entry* entry, absl::Span<const pollfd> polled) {
  PARLEY_CHECK(polled.size() <= entry->shares.size(), "a port has at most kMaxDescriptors");
  for (const pollfd& one : polled) {
    std::unique_ptr<Source>& source = sources_[one.fd];
    if (source == nullptr) {
      source = std::make_unique<Source>();
      source->fd = one.fd;
      uint32_t number = static_cast<uint32_t>(numbered_.size());
      if (free_numbers_.empty()) {
        numbered_.push_back(nullptr);
      } else {
        number = free_numbers_.back();
        free_numbers_.pop_back();
      }
      numbered_[number] = source.get();
      source->key = uint64_t{++generation_ >> 1} << 32 | number;
    }
    auto& share = entry->shares[entry->share_count++];
    share.source = source.get();
    share.entry = entry;
    share.events = static_cast<uint32_t>(one.events) & (EPOLLIN | EPOLLOUT);
    share.next = source->shares;
    source->shares = &share;
    // Now, so that the kernel's refusal is this call's.
    if (!Require(source.get(), share.events)) {
      absl::Status status = errno == EPERM || errno == EBADF
                                ? absl::InvalidArgumentError("this descriptor can't be polled")
                                : ErrnoStatus(errno, "poll a descriptor");
      Unsubscribe(entry);
      return status;
    }
  }
  return absl::OkStatus();
}

void WaitSet::Unsubscribe(Entry* entry) {
  for (std::size_t i = 0; i < entry->share_count; ++i) {
    auto& share = entry->shares[i];
    Source* const source = share.source;
    auto** place = &source->shares;
    while (*place != &share) place = &(*place)->next;
    *place = share.next;
    if (source->shares != nullptr) {
      Mask(source);
      continue;
    }
    if (source->in_epoll) Control(source, false, 0);
    const auto number = static_cast<uint32_t>(source->key);
    numbered_[number] = nullptr;
    free_numbers_.push_back(number);
    sources_.erase(source->fd);
  }
  entry->share_count = 0;
}

bool WaitSet::Control(Source* source, bool in_epoll, uint32_t events) {
  // A child's calls would change its parent's epoll.
  if (!InMaker()) return true;
  epoll_event event = {};
  event.events = events;
  event.data.u64 = source->key;
  const int operation = !in_epoll          ? EPOLL_CTL_DEL
                        : source->in_epoll ? EPOLL_CTL_MOD
                                           : EPOLL_CTL_ADD;
  const bool done = ::epoll_ctl(epoll_.get(), operation, source->fd, &event) == 0;
  if (!done && in_epoll) return false;
  source->in_epoll = in_epoll;
  source->events = events;
  return true;
}

// Has at least these events polled. What nobody wants any more is taken out when it comes, not
// before: most who stop waiting wait again.
bool WaitSet::Require(Source* source, uint32_t events) {
  if (source->in_epoll && (source->events & events) == events) return true;
  return Control(source, true, source->events | events);
}

// Has nothing polled that nobody wants. A hang-up can't be left out of what is polled, so where
// nobody waits at all the descriptor leaves the epoll.
void WaitSet::Mask(Source* source) {
  bool wanted = false;
  uint32_t events = 0;
  for (auto* share = source->shares; share != nullptr; share = share->next) {
    uint32_t own = 0;
    wanted |= share->entry->Wants(*share, &own);
    events |= own;
  }
  if (source->in_epoll && (!wanted || events != source->events)) Control(source, wanted, events);
}

void WaitSet::TakeEvent(uint64_t key, uint32_t revents) {
  const auto number = static_cast<uint32_t>(key);
  Source* const source = number < numbered_.size() ? numbered_[number] : nullptr;
  // Of a descriptor that was closed before its registration ended, or of one that left just now.
  if (source == nullptr || source->key != key) return;
  uint32_t unwanted = revents;
  for (auto* share = source->shares; share != nullptr; share = share->next) {
    Entry* const entry = share->entry;
    uint32_t events = 0;
    if (!entry->Wants(*share, &events)) continue;
    const uint32_t told = revents & (events | EPOLLERR | EPOLLHUP);
    unwanted &= ~told;
    if (told == 0) continue;
    if (entry->port == nullptr) {
      Queue(entry, absl::OkStatus());
      continue;
    }
    entry->revents[static_cast<std::size_t>(share - entry->shares.data())] =
        static_cast<short>(told);
    Touch(entry);
  }
  if (unwanted != 0) Mask(source);
}

// --- the loop ------------------------------------------------------------------------------------

void WaitSet::Poll(Deadline deadline) {
  int64_t timeout_ns = 0;
  if (queued_ == 0 && touched_.empty()) {
    timeout_ns = NsUntil(std::min(deadline.monotonic_ns(), timers_.next_ns()), now_ns_());
  }
  std::array<epoll_event, kMaxEvents> events;
  ++stats_.polls;
  // EINTR: a handler of a signal ran, and may have called Interrupt. The caller polls again.
  const int count = EpollWait(epoll_.get(), absl::MakeSpan(events), timeout_ns);
  PARLEY_CHECK(count >= 0 || errno == EINTR, "the epoll of a WaitSet was closed");
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    if (event.data.u64 == kInterruptKey) TakeEventfdCount(eventfd_.get());
    if (event.data.u64 == kInterruptKey || event.data.u64 == kTimerKey) continue;
    ++stats_.events;
    TakeEvent(event.data.u64, event.events);
  }
}

void WaitSet::TakeTimers() {
  const int64_t now_ns = now_ns_();
  for (int i = 0; i < kMaxTimersInARound; ++i) {
    internal::Timer* const timer = timers_.PopExpired(now_ns);
    if (timer == nullptr) return;
    Entry* const entry = static_cast<Entry*>(timer->owner);
    if (timer == &entry->deadline) {
      expired_.push_back(entry);
    } else {
      // As if its doorbell were readable.
      entry->throttled = false;
      if (entry->waits()) Touch(entry);
    }
  }
}

void WaitSet::Round() {
  // A signal that one end takes for the other one then needs no wake-up.
  for (Entry* const entry : touched_) {
    if (entry == nullptr) continue;
    entry->touched = false;
    entry->port->Disarm();
  }
  // What TakeWakeUps touches once more is for the next round.
  taken_.swap(touched_);
  for (Entry* const entry : taken_) {
    // Who paused since asks again at Resume.
    if (entry != nullptr && entry->waits()) TakeWakeUps(entry);
  }
  taken_.clear();
  for (Entry* const entry : expired_) Expire(entry);
  expired_.clear();
  // Those that are ready now. A handler may make others ready, and remove any.
  for (std::size_t left = queued_; left > 0 && first_ != nullptr; --left) Run(first_);
}

WaitSet::Ran WaitSet::RunOnce(Deadline deadline) {
  PARLEY_CHECK(!running_, "RunOnce must not be called by one of its handlers");
  PARLEY_CHECK(InMaker(), "a WaitSet can't be used in a forked child");
  const uint64_t handlers_before = stats_.handlers;
  Ran ran = Ran::kDeadline;
  while (true) {
    Poll(deadline);
    TakeTimers();
    Round();
    // RELAXED: only whether it is worth the exchange.
    if (interrupted_.load(std::memory_order_relaxed)) {
      // PAIRS WITH: Interrupt. Its eventfd may be written after this, which costs one poll.
      interrupted_.exchange(false, std::memory_order_acq_rel);
      ran = Ran::kInterrupted;
      break;
    }
    if (stats_.handlers != handlers_before) {
      ran = Ran::kHandlers;
      break;
    }
    if (now_ns_() >= deadline.monotonic_ns()) break;
  }
  SetTimer();
  return ran;
}

void WaitSet::Interrupt() {
  // PAIRS WITH: RunOnce.
  if (interrupted_.exchange(true, std::memory_order_acq_rel)) return;
  const int saved = errno;
  const uint64_t one = 1;
  static_cast<void>(!::write(eventfd_.get(), &one, sizeof(one)));
  errno = saved;
}

absl::StatusOr<int> WaitSet::descriptor() {
  if (timerfd_.ok()) return epoll_.get();
  UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer.ok()) return ErrnoStatus(errno, "make a timer descriptor");
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = kTimerKey;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, timer.get(), &event) != 0) {
    return ErrnoStatus(errno, "poll a timer descriptor");
  }
  timerfd_ = std::move(timer);
  SetTimer();
  return epoll_.get();
}

// Makes descriptor() readable when there is something to do that no descriptor tells of.
void WaitSet::SetTimer() {
  if (!timerfd_.ok() || running_) return;
  const int64_t at_ns =
      queued_ != 0 || !touched_.empty() ? 1 : std::max<int64_t>(1, timers_.next_ns());
  if (at_ns == timer_at_ns_) return;
  timer_at_ns_ = at_ns;
  itimerspec spec = {};
  if (at_ns != internal::TimerQueue::kNever) {
    spec.it_value = {at_ns / kSecondNs, at_ns % kSecondNs};
  }
  static_cast<void>(::timerfd_settime(timerfd_.get(), TFD_TIMER_ABSTIME, &spec, nullptr));
}

}  // namespace parley

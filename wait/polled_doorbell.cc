// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/polled_doorbell.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <ctime>
#include <utility>

#include "absl/types/span.h"
#include "parley/os/poll.h"

namespace parley::internal {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

bool Watch(int epoll, int fd) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = fd;
  return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

// Without the events, the end of a connection is still told.
void SetWatched(int epoll, int fd, bool watched) {
  epoll_event event = {};
  event.events = watched ? uint32_t{EPOLLIN} : 0;
  event.data.fd = fd;
  static_cast<void>(::epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
}

// 0: never, and what has expired is forgotten.
void SetTimer(int timer, int64_t at_ns) {
  itimerspec spec = {};
  spec.it_value = {at_ns / kSecondNs, at_ns % kSecondNs};
  static_cast<void>(::timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, nullptr));
}

}  // namespace

PolledDoorbell::PolledDoorbell(int fd, std::shared_ptr<LocalWake> wake)
    : Doorbell(std::move(wake)) {
  polled_[0] = {fd, POLLIN, 0};
  if (wake_->fd() != fd) {
    polled_[count_++] = {wake_->fd(), POLLIN, 0};
    ends_from_ = 2;
  }
}

void PolledDoorbell::WatchForEnd(int connection, int pidfd) {
  count_ = ends_from_;
  for (const int watched : {connection, pidfd}) {
    if (watched >= 0 && watched != fd()) polled_[count_++] = {watched, POLLIN, 0};
  }
}

bool PolledDoorbell::Poll(Deadline deadline) {
  const auto ready = PollUntil(absl::MakeSpan(polled_.data(), count_), deadline);
  // Failure of ppoll itself (no memory) is treated like a short sleep: the caller polls again.
  return !ready.ok() || *ready != 0;
}

// Whether the last poll saw the peer's end.
bool PolledDoorbell::PolledEnd() const {
  bool end = (polled_[0].revents & (POLLHUP | POLLERR)) != 0;
  for (std::size_t i = ends_from_; i < count_; ++i) end |= polled_[i].revents != 0;
  return end;
}

bool PolledDoorbell::PeerHasEnded() {
  static_cast<void>(Poll(Deadline::AtMonotonicNs(0)));
  return PolledEnd();
}

bool PolledDoorbell::Sleep(Deadline deadline) {
  if (!wake_->BeginSleep()) {
    static_cast<void>(Poll(Deadline::AtMonotonicNs(0)));
    return true;
  }
  const bool woken = Poll(deadline);
  wake_->EndSleep();
  return woken;
}

Doorbell::Drained PolledDoorbell::Drain() {
  if (ends_from_ == 2 && polled_[1].revents != 0) wake_->TakeForeignCount();
  Drained result = DrainSignals();
  if (result != Drained::kUnexpected && PolledEnd()) result = Drained::kPeerGone;
  return result;
}

int PolledDoorbell::descriptor() {
  if (epoll_.ok()) return epoll_.get();
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!epoll.ok() || !timer.ok() || !Watch(epoll.get(), timer.get())) return -1;
  for (std::size_t i = 0; i < count_; ++i) {
    if (!Watch(epoll.get(), polled_[i].fd)) return -1;
  }
  epoll_ = std::move(epoll);
  timer_ = std::move(timer);
  return epoll_.get();
}

void PolledDoorbell::EndPolledSleep() {
  wake_->EndSleep();
  static_cast<void>(Poll(Deadline::AtMonotonicNs(0)));
}

void PolledDoorbell::EndPolledSleep(absl::Span<const short> revents) {
  wake_->EndSleep();
  for (std::size_t i = 0; i < count_; ++i) polled_[i].revents = revents[i];
}

void PolledDoorbell::Throttle(int64_t until_ns) {
  wake_->SetThrottled(until_ns);
  if (!epoll_.ok()) return;
  SetWatched(epoll_.get(), fd(), false);
  SetTimer(timer_.get(), until_ns);
}

void PolledDoorbell::EndThrottle() {
  wake_->SetThrottled(0);
  if (!epoll_.ok()) return;
  SetTimer(timer_.get(), 0);
  SetWatched(epoll_.get(), fd(), true);
}

void PolledDoorbell::AddDescriptors(std::vector<int>& all, std::vector<int>& eventfds) const {
  for (std::size_t i = 0; i < count_; ++i) all.push_back(polled_[i].fd);
  all.push_back(wake_->fd());
  eventfds.push_back(wake_->fd());
  all.push_back(epoll_.get());
  all.push_back(timer_.get());
}

}  // namespace parley::internal

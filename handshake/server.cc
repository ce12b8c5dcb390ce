// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/server.h"

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "parley/handshake/identify_peer.h"
#include "parley/os/connected_socket.h"
#include "parley/os/errors.h"
#include "parley/os/poll.h"
#include "parley/os/thread_cpu.h"

namespace parley {
namespace {

constexpr int kAcceptsAtOnce = 16;
// After trouble of our own.
constexpr int64_t kPauseNs = 20'000'000;
// Of what is unfinished in all, this part is for users that have none of it.
constexpr int kReservedPart = 4;

// The kernel's count of what the peer has not taken out of its queue; descriptors in flight stay
// charged to our user until it has.
bool PeerTookAll(const PeerSocket& socket) {
  int bytes = 0;
  return ::ioctl(socket.fd(), SIOCOUTQ, &bytes) != 0 || bytes == 0;
}

}  // namespace

absl::Status CheckServerLimits(const ServerLimits& limits) {
  constexpr int kMaxPending = 4096;
  if (limits.max_pending < 1 || limits.max_pending > kMaxPending) {
    return absl::InvalidArgumentError("ServerLimits::max_pending is " +
                                      std::to_string(limits.max_pending) + "; allowed: 1 to 4096");
  }
  if (limits.max_pending_of_user < 1 || limits.max_unfinished < 1 ||
      limits.max_unfinished_of_user < 1 || limits.max_unfinished_bytes < 1 ||
      limits.max_unfinished_bytes_of_user < 1) {
    return absl::InvalidArgumentError(
        "ServerLimits: the limits of a user and of what is unfinished are at least 1");
  }
  if (limits.given_up_time < absl::ZeroDuration() || (limits.socket_file_mode & ~0666U) != 0) {
    return absl::InvalidArgumentError(
        "ServerLimits: given_up_time is at least 0, and socket_file_mode at most 0666");
  }
  if (limits.handshake_time <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("ServerLimits::handshake_time is " +
                                      absl::FormatDuration(limits.handshake_time) +
                                      "; allowed: more than 0");
  }
  return absl::OkStatus();
}

Server::Server(Listener listener, CheckedAcceptOptions options, ServerLimits limits)
    : listener_(std::move(listener)), options_(std::move(options)), limits_(limits) {}

Server::~Server() {
  PARLEY_CHECK(!in_round_, "a listener must not end in its own policy or format check");
}

Server::RoundMark::RoundMark(bool* in_round) : in_round_(in_round) {
  PARLEY_CHECK(!*in_round, "a listener must not be used by its own policy or format check");
  *in_round = true;
}

absl::StatusOr<std::shared_ptr<Session>> Server::Accept(Deadline deadline) {
  trouble_ = absl::OkStatus();
  while (ready_.empty()) {
    Round(deadline, deadline);
    if (!ready_.empty() || !deadline.Expired()) continue;
    SetTimer();
    if (!trouble_.ok()) return trouble_;
    return absl::DeadlineExceededError("no peer completed a handshake in time");
  }
  std::shared_ptr<Session> first = std::move(ready_.front());
  ready_.pop_front();
  SetTimer();
  return first;
}

void Server::Tend() {
  Round(Deadline::AtMonotonicNs(0), Deadline::After(absl::Milliseconds(1)));
  SetTimer();
}

// Waits until there is something to do, and does each of it once, or until `work_until`.
void Server::Round(Deadline wait_until, Deadline work_until) {
  const RoundMark mark(&in_round_);
  ForgetGivenUp();
  const bool accepts = MonotonicNowNs() >= next_accept_ns_ &&
                       ready_.size() < static_cast<std::size_t>(limits_.max_pending);
  if (!accepts) wait_until = wait_until.Or(Deadline::AtMonotonicNs(next_accept_ns_));
  Watch(listener_.fd(), accepts);
  std::vector<pollfd> polled = {{accepts ? listener_.fd() : -1, POLLIN, 0}};
  const Sums sums = SumUp();
  for (Pending& p : pending_) {
    const bool was_deferred = p.deferred_for.has_value();
    p.deferred_for.reset();
    if (p.acceptor.AwaitsAccepted()) {
      if (const auto other = InTheWayOf(p.uid, sums); other && other->passes) {
        p.deferred_for = other->reason;
      }
    }
    const bool is_deferred = p.deferred_for.has_value();
    if (is_deferred != was_deferred) Watch(p.acceptor.fd(), !is_deferred);
    polled.push_back({is_deferred ? -1 : p.acceptor.fd(), POLLIN, 0});
    wait_until = wait_until.Or(p.acceptor.busy() ? Deadline::AtMonotonicNs(0) : p.deadline);
  }
  const auto ready = PollUntil(absl::MakeSpan(polled), wait_until);
  if (!ready.ok()) {
    trouble_ = ready.status();
    next_accept_ns_ = MonotonicNowNs() + kPauseNs;
    return;
  }

  // Each once, so that a peer with much to do does not keep the others waiting.
  bool advanced = false;
  auto next = pending_.begin();
  for (std::size_t i = 1; i < polled.size(); ++i) {
    const auto p = next++;
    const bool has_work = polled[i].revents != 0 || p->acceptor.busy();
    if (has_work) {
      // Each makes a slice of its memory: many of them would add up.
      if (advanced && work_until.Expired()) break;
      advanced = true;
      step_began_cpu_ns_ = ThreadCpuNs();
      if (AdvanceOne(p)) break;
    } else if (p->deadline.Expired()) {
      step_began_cpu_ns_ = ThreadCpuNs();
      Drop(p, p->deferred_for.value_or(RefusalReason::kDeadline),
           absl::DeadlineExceededError(
               p->deferred_for ? "others with unfinished handshakes were in the peer's way too long"
                               : "the peer did not finish the handshake in time"));
    }
  }
  if (polled[0].revents != 0) TakeConnections();
}

// True if that completed a handshake.
bool Server::AdvanceOne(std::list<Pending>::iterator pending) {
  if (pending->acceptor.AwaitsAccepted()) {
    if (const auto other = InTheWayOf(pending->uid, SumUp())) {
      if (other->passes) return false;
      const bool of_user = other->reason == RefusalReason::kUnfinished;
      Drop(pending, other->reason,
           absl::ResourceExhaustedError(
               "too much is out with unfinished handshakes of " +
               (of_user ? "user " + std::to_string(pending->uid) : std::string("all users"))));
      return false;
    }
  }
  const Deadline late = pending->deadline;
  auto done = pending->acceptor.Advance();
  if (!done.ok()) {
    Drop(pending, std::nullopt, done.status());  // the acceptor has refused it
    return false;
  }
  if (!*done) {
    pending->cpu_ns += ThreadCpuNs() - step_began_cpu_ns_;
    // It came in time, and we were away: the next step has its time, too.
    if (late.Expired()) pending->deadline = Deadline::After(limits_.handshake_time);
    return false;
  }
  Watch(pending->acceptor.fd(), /*active=*/false);  // its wake-ups are the channel's from now on
  auto taken = std::move(pending->acceptor).Take();
  const int64_t cpu_ns = pending->cpu_ns;
  pending_.erase(pending);
  if (!taken.ok()) {
    CountFailure(taken.status(), cpu_ns);
    return false;
  }
  ready_.push_back(*std::move(taken));
  return true;
}

void Server::Drop(std::list<Pending>::iterator pending, std::optional<RefusalReason> reason,
                  absl::Status why) {
  if (reason) pending->acceptor.Refuse(*reason);
  // A helper may keep it open for a while: it would be reported as hung up.
  Watch(pending->acceptor.fd(), /*active=*/false);
  if (const uint64_t bytes = pending->acceptor.memory_bytes(); bytes != 0) {
    given_up_.push_back({std::move(pending->acceptor).TakeSocket(), pending->uid, bytes,
                         Deadline::After(limits_.given_up_time)});
    // Its peer learns that this is the end.
    given_up_.back().socket.HangUp();
  }
  const int64_t earlier_cpu_ns = pending->cpu_ns;
  pending_.erase(pending);  // frees its memory, which is charged as well
  CountFailure(std::move(why), earlier_cpu_ns);
}

void Server::ForgetGivenUp() {
  given_up_.remove_if(
      [](const GivenUp& g) { return g.remembered_until.Expired() && PeerTookAll(g.socket); });
}

Server::Sums Server::SumUp() const {
  Sums sums;
  for (const Pending& p : pending_) {
    if (p.acceptor.memory_bytes() == 0) continue;
    for (Outstanding* sum : {&sums.of_user[p.uid], &sums.of_all}) {
      ++sum->live;
      sum->bytes += p.acceptor.memory_bytes();
    }
  }
  for (const GivenUp& g : given_up_) {
    for (Outstanding* sum : {&sums.of_user[g.uid], &sums.of_all}) {
      ++sum->given_up;
      sum->bytes += g.bytes;
    }
  }
  return sums;
}

std::optional<Server::Obstacle> Server::InTheWayOf(uid_t uid, const Sums& sums) const {
  const auto found = sums.of_user.find(uid);
  const Outstanding of_user = found == sums.of_user.end() ? Outstanding() : found->second;
  const Outstanding& of_all = sums.of_all;
  const auto full = [](const Outstanding& out, int max, uint64_t max_bytes) {
    return out.live + out.given_up >= max || out.bytes >= max_bytes;
  };
  const bool has_some = of_user.live + of_user.given_up > 0;
  const auto open_to_it = [&](auto max) { return has_some ? max - max / kReservedPart : max; };
  const bool user_full =
      full(of_user, limits_.max_unfinished_of_user, limits_.max_unfinished_bytes_of_user);
  const bool all_full =
      full(of_all, open_to_it(limits_.max_unfinished), open_to_it(limits_.max_unfinished_bytes));
  if (!user_full && !all_full) return std::nullopt;
  return Obstacle{user_full ? RefusalReason::kUnfinished : RefusalReason::kBusy,
                  (user_full ? of_user : of_all).live > 0};
}

// A bounded number at once, so that a flood of connections does not keep us from the handshakes.
void Server::TakeConnections() {
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    step_began_cpu_ns_ = ThreadCpuNs();
    auto socket = listener_.TryAccept();
    if (!socket.ok()) {
      trouble_ = socket.status();
      CountFailure(socket.status(), 0);
      next_accept_ns_ = MonotonicNowNs() + kPauseNs;
      return;
    }
    if (!*socket) break;
    TakeOne(**std::move(socket));
    // Each may be expensive: what a refusal costs is the peer's choice.
    const int64_t now_ns = MonotonicNowNs();
    const int64_t pause_ns = budget_.PauseNs(now_ns);
    next_accept_ns_ = now_ns + pause_ns;
    if (pause_ns >= internal::FailureBudget::kWorthwhilePauseNs) return;
  }
}

void Server::TakeOne(PeerSocket socket) {
  auto peer = IdentifyPeer(socket.fd(), options_->peer_pidfd, socket.origin());
  if (!peer.ok()) {
    trouble_ = peer.status();
    return RefuseAtOnce(std::move(socket), RefusalReason::kResources, peer.status());
  }
  if (!options_->policy.Admits(*peer)) {
    return RefuseAtOnce(std::move(socket), RefusalReason::kIdentity,
                        absl::PermissionDeniedError("the policy does not admit process " +
                                                    std::to_string(peer->pid) + " of user " +
                                                    std::to_string(peer->uid)));
  }
  if (!MakeRoom(peer->uid)) {
    return RefuseAtOnce(std::move(socket), RefusalReason::kBusy,
                        absl::ResourceExhaustedError("too many handshakes under way"));
  }
  peer->pidfd.Reset();
  pending_.push_back({Acceptor(std::move(socket), &options_), peer->uid,
                      Deadline::After(limits_.handshake_time), ThreadCpuNs() - step_began_cpu_ns_});
  Watch(pending_.back().acceptor.fd(), /*active=*/true);
}

// A free slot for one more of this user: the oldest that has said nothing goes, of the user itself
// where it has all of its slots, else of the one that has the most.
bool Server::MakeRoom(uid_t uid) {
  std::map<uid_t, int> counts;
  for (const Pending& p : pending_) ++counts[p.uid];
  const bool user_full = counts[uid] >= limits_.max_pending_of_user;
  if (!user_full && pending_.size() < static_cast<std::size_t>(limits_.max_pending)) return true;
  auto victim = pending_.end();
  for (auto p = pending_.begin(); p != pending_.end(); ++p) {
    if (!p->acceptor.AwaitsHello() || (user_full && p->uid != uid)) continue;
    if (victim != pending_.end() && counts[p->uid] <= counts[victim->uid]) continue;
    if (PeekNext(p->acceptor.fd()) == NextMessage::kNone) victim = p;
  }
  if (victim == pending_.end()) return false;
  Drop(victim, RefusalReason::kBusy,
       absl::ResourceExhaustedError("a silent peer made room for another one"));
  return true;
}

void Server::RefuseAtOnce(PeerSocket socket, RefusalReason reason, absl::Status why) {
  {
    const PeerSocket closed = std::move(socket);  // at the end of this, and charged as well
    static_cast<void>(closed.Send(EncodeRefused(reason)));
    closed.StopReceiving();
  }
  CountFailure(std::move(why), 0);
}

void Server::CountFailure(absl::Status why, int64_t earlier_cpu_ns) {
  ++failures_;
  const int64_t cpu_ns = ThreadCpuNs();
  budget_.Charge(MonotonicNowNs(), earlier_cpu_ns + cpu_ns - step_began_cpu_ns_);
  step_began_cpu_ns_ = cpu_ns;
  last_failure_ = std::move(why);
}

absl::StatusOr<int> Server::descriptor() {
  if (epoll_.ok()) return epoll_.get();
  UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!timer.ok() || !epoll.ok()) return ErrnoStatus(errno, "make a listener's descriptor to poll");
  timer_ = std::move(timer);
  epoll_ = std::move(epoll);
  Watch(timer_.get(), /*active=*/true);
  Watch(listener_.fd(), /*active=*/true);
  for (const Pending& p : pending_) Watch(p.acceptor.fd(), !p.deferred_for.has_value());
  SetTimer();
  return epoll_.get();
}

// Of what descriptor() stands for. A closed descriptor leaves by itself; one that is not to be
// looked at now is taken out, because its hang-up would be reported all the same. Failure (no
// memory) costs the caller's loop a wake-up.
void Server::Watch(int fd, bool active) {
  if (!epoll_.ok()) return;
  epoll_event event = {};
  event.events = EPOLLIN;
  static_cast<void>(::epoll_ctl(epoll_.get(), active ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, &event));
}

void Server::SetTimer() {
  if (!timer_.ok()) return;
  int64_t at_ns = std::numeric_limits<int64_t>::max();
  if (next_accept_ns_ > MonotonicNowNs()) at_ns = next_accept_ns_;
  const Sums sums = SumUp();
  for (const Pending& p : pending_) {
    // One that was deferred is not watched, and may go on once what was in its way is gone.
    const auto other = InTheWayOf(p.uid, sums);
    const bool goes_on = p.deferred_for && !(other && other->passes);
    at_ns = std::min(at_ns, p.acceptor.busy() || goes_on ? 1 : p.deadline.monotonic_ns());
  }
  if (!ready_.empty()) at_ns = 1;
  itimerspec when = {};
  when.it_value = {at_ns / 1'000'000'000, at_ns % 1'000'000'000};
  static_cast<void>(::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr));
}

}  // namespace parley

#include "parley/handshake/server.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "parley/os/poll.h"

namespace parley {

absl::Status CheckServerLimits(const ServerLimits& limits) {
  constexpr int kMaxPending = 4096;
  if (limits.max_pending < 1 || limits.max_pending > kMaxPending) {
    return absl::InvalidArgumentError("ServerLimits::max_pending is " +
                                      std::to_string(limits.max_pending) + "; allowed: 1 to 4096");
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

absl::StatusOr<Established> Server::Accept(Deadline deadline) {
  while (true) {
    std::vector<pollfd> polled = {{listener_.fd(), POLLIN, 0}};
    Deadline wake = deadline;
    for (const Pending& p : pending_) {
      polled.push_back({p.acceptor.fd(), POLLIN, 0});
      wake = wake.Or(p.deadline);
    }
    auto ready = PollUntil(absl::MakeSpan(polled), wake);
    if (!ready.ok()) return ready.status();

    auto p = pending_.begin();
    std::optional<Established> complete;
    bool advanced = false;
    for (std::size_t i = 1; i < polled.size() && !complete; ++i) {
      const auto current = p++;
      if (polled[i].revents == 0) continue;
      // A step may have to allocate the regions: many of them would add up.
      if (advanced && deadline.Expired()) break;
      advanced = true;
      auto done = current->acceptor.Advance();
      if (done.ok() && !*done) continue;
      if (done.ok()) complete.emplace(std::move(current->acceptor).Take());
      if (!done.ok()) CountFailure(done.status());
      pending_.erase(current);
    }
    DropTimedOut();
    if (complete) return *std::move(complete);
    if (polled[0].revents != 0) {
      if (absl::Status s = TakeConnections(); !s.ok()) return s;
    }
    if (deadline.Expired()) {
      return absl::DeadlineExceededError("no peer completed a handshake in time");
    }
  }
}

// A bounded number at once, so that a flood of connections does not keep us from the handshakes.
absl::Status Server::TakeConnections() {
  for (int i = 0; i < limits_.max_pending; ++i) {
    auto socket = listener_.TryAccept();
    if (!socket.ok()) return socket.status();
    if (!*socket) return absl::OkStatus();
    Acceptor acceptor(**std::move(socket), &options_);
    if (pending_.size() >= static_cast<std::size_t>(limits_.max_pending)) {
      acceptor.Refuse(RefusalReason::kBusy);
      CountFailure(absl::ResourceExhaustedError("too many handshakes under way"));
      continue;
    }
    pending_.push_back({std::move(acceptor), Deadline::After(limits_.handshake_time)});
  }
  return absl::OkStatus();
}

void Server::DropTimedOut() {
  for (auto p = pending_.begin(); p != pending_.end();) {
    if (!p->deadline.Expired()) {
      ++p;
      continue;
    }
    p->acceptor.Refuse(RefusalReason::kDeadline);
    CountFailure(absl::DeadlineExceededError("the peer did not finish the handshake in time"));
    p = pending_.erase(p);
  }
}

void Server::CountFailure(absl::Status why) {
  ++failures_;
  last_failure_ = std::move(why);
}

}  // namespace parley

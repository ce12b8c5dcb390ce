// SPDX-License-Identifier: Apache-2.0
#include "parley/endurance/link.h"

#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "parley/handshake/listener.h"

namespace parley::endurance {

AcceptOptions AcceptOptionsOf(const LinkSetup& setup) {
  AcceptOptions options;
  options.send = setup.ring;
  options.receive = setup.ring;
  options.format = setup.format;
  options.limits.max_capacity_bytes =
      std::max(options.limits.max_capacity_bytes, setup.ring.capacity_bytes);
  if (setup.eventfd) options.trust = PeerTrust::Because("both ends are this test");
  options.doorbell = setup.eventfd ? DoorbellKind::kEventfd : DoorbellKind::kSocket;
  return options;
}

ConnectOptions ConnectOptionsOf(const LinkSetup& setup) {
  ConnectOptions options;
  options.format = setup.format;
  options.limits.max_capacity_bytes =
      std::max(options.limits.max_capacity_bytes, setup.max_capacity_bytes);
  if (setup.eventfd) options.trust = PeerTrust::Because("both ends are this test");
  return options;
}

absl::StatusOr<Link> Link::Accepting(const LinkSetup& setup) {
  Link link(setup);
  auto listener = ChannelListener::Listen(setup.name, AcceptOptionsOf(setup), setup.limits);
  if (!listener.ok()) return listener.status();
  link.listener_ = std::make_unique<ChannelListener>(*std::move(listener));
  return link;
}

absl::StatusOr<Link> Link::Connecting(const LinkSetup& setup) { return Link(setup); }

absl::StatusOr<Channel> Link::Next(Deadline deadline) {
  if (listener_) return listener_->Accept(deadline);
  auto socket = ConnectTo(setup_.name, deadline);
  if (absl::IsUnavailable(socket.status())) return absl::NotFoundError("nobody listens");
  if (!socket.ok()) return socket.status();
  return ConnectChannel(*std::move(socket), ConnectOptionsOf(setup_), deadline);
}

absl::StatusOr<std::optional<Channel>> Link::Next(Diary& diary, absl::Duration within) {
  absl::StatusOr<Channel> channel = [&] {
    const villain::Call call(diary.notes, listener_ ? "Accept" : "ConnectChannel", In(within));
    return Next(call.deadline());
  }();
  if (listener_) diary.failures.store(static_cast<int64_t>(listener_->failures()));
  if (channel.ok()) {
    diary.sessions.fetch_add(1);
    return std::make_optional(*std::move(channel));
  }
  const absl::Status& status = channel.status();
  if (absl::IsDeadlineExceeded(status)) {
    diary.timeouts.fetch_add(1);
    return std::nullopt;
  }
  if (!listener_) {
    if (absl::IsNotFound(status)) {
      ::usleep(100);
      return std::nullopt;
    }
    if (absl::IsUnavailable(status)) {
      diary.failures.fetch_add(1);
      ::usleep(100);
      return std::nullopt;
    }
  }
  return status;
}

void Link::RestIfAsked(Diary& diary) {
  if (!diary.RestWanted()) return;
  if (listener_) {
    // Handshakes with those who are gone end with the first look at them, and what they were given
    // is remembered for a time after that. Nobody else comes now.
    for (const absl::Duration within :
         {absl::Milliseconds(20), setup_.limits.given_up_time, absl::Milliseconds(1)}) {
      static_cast<void>(Next(diary, within));
    }
  }
  diary.Rest();
}

}  // namespace parley::endurance

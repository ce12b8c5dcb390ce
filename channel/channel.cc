// SPDX-License-Identifier: Apache-2.0
#include "parley/channel/channel.h"

#include <algorithm>
#include <utility>

#include "parley/channel/internal/end_state.h"
#include "parley/handshake/acceptor.h"
#include "parley/handshake/checked_options.h"
#include "parley/handshake/connector.h"
#include "parley/handshake/listener.h"
#include "parley/handshake/server.h"
#include "parley/handshake/session.h"

namespace parley {

class ChannelMaker {
 public:
  static absl::StatusOr<Channel> Make(const std::shared_ptr<Session>& session,
                                      const WaitOptions& wait) {
    Channel channel;
    channel.id = session->id();
    channel.peer_format = session->protocol();
    channel.session = session;
    if (session->send() != nullptr) {
      auto sender = Sender::Create(session, wait);
      if (!sender.ok()) return sender.status();
      channel.sender = *std::move(sender);
    }
    if (session->receive() != nullptr) {
      auto receiver = Receiver::Create(session, wait);
      if (!receiver.ok()) return receiver.status();
      channel.receiver = *std::move(receiver);
    }
    return channel;
  }

  static ChannelDescriptors DescriptorsOf(const Channel& channel) {
    std::vector<int> all;
    std::vector<int> eventfds;
    if (channel.sender) Add(*channel.sender.state_, all, eventfds);
    if (channel.receiver) Add(*channel.receiver.state_, all, eventfds);
    return {Unique(std::move(all)), Unique(std::move(eventfds))};
  }

 private:
  template <typename State>
  static void Add(const State& state, std::vector<int>& all, std::vector<int>& eventfds) {
    Session& session = *state.session;
    all.push_back(session.connection());
    all.push_back(session.peer().pidfd.get());
    if (session.send() != nullptr) session.send()->doorbell->AddDescriptors(all, eventfds);
    if (session.receive() != nullptr) session.receive()->doorbell->AddDescriptors(all, eventfds);
    if (state.waiter->signaller() != nullptr) {
      all.push_back(state.waiter->signaller()->eventfd());
      eventfds.push_back(state.waiter->signaller()->eventfd());
    }
  }
  static std::vector<int> Unique(std::vector<int> fds) {
    std::sort(fds.begin(), fds.end());
    fds.erase(std::unique(fds.begin(), fds.end()), fds.end());
    fds.erase(fds.begin(), std::lower_bound(fds.begin(), fds.end(), 0));
    return fds;
  }
};

ChannelDescriptors DescriptorsOf(const Channel& channel) {
  return ChannelMaker::DescriptorsOf(channel);
}

absl::StatusOr<Channel> MakeChannel(const std::shared_ptr<Session>& session,
                                    const WaitOptions& wait) {
  return ChannelMaker::Make(session, wait);
}

absl::StatusOr<Channel> AcceptChannel(PeerSocket socket, const AcceptOptions& options,
                                      Deadline deadline, const WaitOptions& wait) {
  auto session = AcceptHandshake(std::move(socket), options, deadline);
  if (!session.ok()) return session.status();
  return MakeChannel(*session, wait);
}

absl::StatusOr<Channel> ConnectChannel(PeerSocket socket, const ConnectOptions& options,
                                       Deadline deadline, const WaitOptions& wait) {
  auto session = ConnectHandshake(std::move(socket), options, deadline);
  if (!session.ok()) return session.status();
  return MakeChannel(*session, wait);
}

absl::StatusOr<Channel> ConnectChannel(const std::string& name, const ConnectOptions& options,
                                       Deadline deadline, const WaitOptions& wait) {
  const auto checked = CheckedConnectOptions::Make(options);
  if (!checked.ok()) return checked.status();
  auto socket = ConnectTo(name, deadline);
  if (!socket.ok()) return socket.status();
  auto session = ConnectHandshake(*std::move(socket), *checked, deadline);
  if (!session.ok()) return session.status();
  return MakeChannel(*session, wait);
}

absl::StatusOr<Channel> ConnectInheritedChannel(const ConnectOptions& options, Deadline deadline,
                                                const WaitOptions& wait) {
  auto socket = PeerSocket::Inherited();
  if (!socket.ok()) return socket.status();
  return ConnectChannel(*std::move(socket), options, deadline, wait);
}

absl::StatusOr<ChannelListener> ChannelListener::Listen(const std::string& name,
                                                        AcceptOptions options, ServerLimits limits,
                                                        const WaitOptions& wait) {
  auto checked = CheckedAcceptOptions::Make(std::move(options));
  if (!checked.ok()) return checked.status();
  if (absl::Status status = CheckServerLimits(limits); !status.ok()) return status;
  const mode_t mode = limits.socket_file_mode;
  auto listener = Listener::Bind(name, mode != 0 ? mode : (*checked)->policy.socket_file_mode());
  if (!listener.ok()) return listener.status();
  return ChannelListener(
      std::make_unique<Server>(*std::move(listener), *std::move(checked), limits), wait);
}

ChannelListener::ChannelListener(std::unique_ptr<Server> server, const WaitOptions& wait)
    : server_(std::move(server)), wait_(wait) {}
ChannelListener::ChannelListener(ChannelListener&& other) noexcept = default;
ChannelListener& ChannelListener::operator=(ChannelListener&& other) noexcept = default;
ChannelListener::~ChannelListener() = default;

void ChannelListener::Tend() { server_->Tend(); }
bool ChannelListener::HasReady() const { return server_->HasReady(); }
absl::StatusOr<int> ChannelListener::descriptor() { return server_->descriptor(); }
uint64_t ChannelListener::failures() const { return server_->failures(); }
const absl::Status& ChannelListener::last_failure() const { return server_->last_failure(); }

absl::StatusOr<Channel> ChannelListener::Accept(Deadline deadline) {
  auto session = server_->Accept(deadline);
  if (!session.ok()) return session.status();
  return MakeChannel(*session, wait_);
}

}  // namespace parley

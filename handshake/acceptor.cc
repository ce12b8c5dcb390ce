// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/acceptor.h"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <utility>
#include <variant>
#include <vector>

#include "parley/handshake/doorbells.h"
#include "parley/handshake/identify_peer.h"
#include "parley/handshake/negotiate.h"
#include "parley/os/check.h"
#include "parley/os/errors.h"
#include "parley/os/poll.h"

namespace parley {
namespace {

absl::StatusOr<ChannelId> RandomChannelId() {
  ChannelId id;
  // So few bytes come whole or not at all.
  if (::getrandom(id.data(), sizeof(id), GRND_NONBLOCK) != sizeof(id)) {
    return ErrnoStatus(errno, "make a random channel id");
  }
  return id;
}

}  // namespace

Acceptor::Acceptor(PeerSocket socket, const CheckedAcceptOptions* options)
    : socket_(std::move(socket)), options_(options) {
  socket_.RefuseDescriptors();
}

absl::StatusOr<bool> Acceptor::Advance(Deadline until) {
  PARLEY_CHECK(state_ != State::kDone && state_ != State::kFailed,
               "Advance after the end of the handshake");
  absl::Status status;
  if (!busy()) status = TakeMessage();
  if (status.ok() && state_ == State::kMaking) status = Make(until);
  if (status.ok() && state_ == State::kFinishing) status = Finish(until);
  if (!status.ok()) return status;
  return state_ == State::kDone;
}

absl::Status Acceptor::TakeMessage() {
  std::array<std::byte, kMaxMessageBytes> message;
  auto got = socket_.TryReceive(absl::MakeSpan(message));
  if (!got.ok()) {
    if (got.status().code() == absl::StatusCode::kUnavailable) {
      state_ = State::kFailed;
      return got.status();
    }
    return Fail(RefusalReason::kMalformed, got.status());
  }
  if (!*got) return absl::OkStatus();
  const auto bytes = absl::MakeConstSpan(message).first(**got);
  switch (state_) {
    case State::kAwaitingHello:
      return OnHello(bytes);
    case State::kAwaitingAccepted:
      return OnAccepted(bytes);
    default:
      return OnMapped(bytes);
  }
}

absl::Status Acceptor::OnHello(absl::Span<const std::byte> message) {
  auto hello = ParseHello(message);
  if (!hello.ok()) return Fail(RefusalReason::kMalformed, hello.status());
  const AcceptOptions& options = options_->get();
  auto peer = IdentifyPeer(socket_.fd(), options.peer_pidfd, socket_.origin());
  if (!peer.ok()) return Fail(RefusalReason::kResources, peer.status());
  peer_ = *std::move(peer);
  if (!options.policy.Admits(peer_)) {
    return Fail(RefusalReason::kIdentity,
                absl::PermissionDeniedError("the policy does not admit process " +
                                            std::to_string(peer_.pid) + " of user " +
                                            std::to_string(peer_.uid)));
  }
  const std::variant<Agreement, Refusal> answer = Negotiate(*options_, *hello);
  if (const auto* refusal = std::get_if<Refusal>(&answer)) {
    return Fail(refusal->reason, refusal->ToStatus());
  }
  agreement_ = std::get<Agreement>(answer);
  if (options.check_format) {
    absl::Status status = options.check_format(hello->format);
    if (!status.ok()) return Fail(RefusalReason::kFormat, std::move(status));
  }
  peer_format_ = std::move(hello->format);
  auto id = RandomChannelId();
  if (!id.ok()) return Fail(RefusalReason::kResources, id.status());
  id_ = *id;
  Welcome welcome;
  static_cast<Agreement&>(welcome) = agreement_;
  welcome.channel_id = id_;
  welcome.format = options.format;
  if (absl::Status sent = socket_.Send(EncodeWelcome(welcome)); !sent.ok()) {
    return Fail(RefusalReason::kResources, std::move(sent));
  }
  state_ = State::kAwaitingAccepted;
  return absl::OkStatus();
}

absl::Status Acceptor::OnAccepted(absl::Span<const std::byte> message) {
  absl::Status status = ParseChannelId(message, MessageType::kAccepted, id_);
  if (!status.ok()) return Fail(RefusalReason::kMalformed, std::move(status));
  const AcceptOptions& options = options_->get();
  const RegionLimits limits = LimitsOf(options.registry);
  // The connecting side's "receive" is our "send".
  auto outgoing = OutgoingRegionBuilder::Start(RegionOf(agreement_.receive), limits, options.pages);
  if (!outgoing.ok()) return Fail(RefusalReason::kResources, outgoing.status());
  auto incoming =
      IncomingRegionDraftBuilder::Start(RegionOf(agreement_.send), limits, options.pages);
  if (!incoming.ok()) return Fail(RefusalReason::kResources, incoming.status());
  making_.emplace(Making{*std::move(outgoing), *std::move(incoming)});
  state_ = State::kMaking;
  return absl::OkStatus();
}

absl::Status Acceptor::Make(Deadline until) {
  if (!making_->outgoing_done) {
    const auto done = making_->outgoing.Step(until);
    if (!done.ok()) return Fail(RefusalReason::kResources, done.status());
    making_->outgoing_done = *done;
    if (!*done || until.Expired()) return absl::OkStatus();
  }
  const auto done = making_->incoming.Step(until);
  if (!done.ok()) return Fail(RefusalReason::kResources, done.status());
  if (!*done) return absl::OkStatus();
  outgoing_.emplace(std::move(making_->outgoing).Take());
  incoming_draft_.emplace(std::move(making_->incoming).Take());
  making_.reset();
  absl::Status sent = SendDescriptors();
  if (!sent.ok()) return Fail(RefusalReason::kResources, std::move(sent));
  state_ = State::kAwaitingMapped;
  return absl::OkStatus();
}

absl::Status Acceptor::SendDescriptors() {
  auto doorbells =
      MakeDoorbells(agreement_.doorbell, RingOf(agreement_.receive), RingOf(agreement_.send));
  if (!doorbells.ok()) return doorbells.status();
  // In the order of docs/SPEC.md.
  std::vector<int> descriptors = {outgoing_->fd(), incoming_draft_->fd()};
  if (!agreement_.broadcast.empty()) descriptors.push_back((*options_)->broadcast->fd());
  for (const UniqueFd& fd : doorbells->for_peer) descriptors.push_back(fd.get());
  absl::Status sent = socket_.Send(EncodeChannelId(MessageType::kDescriptors, id_), descriptors);
  if (!sent.ok()) return sent;
  peer_has_memory_ = true;
  outgoing_->CloseDescriptor();
  doorbells_ = std::move(doorbells->own);
  return absl::OkStatus();
}

absl::Status Acceptor::OnMapped(absl::Span<const std::byte> message) {
  absl::Status status = ParseChannelId(message, MessageType::kMapped, id_);
  if (!status.ok()) return Fail(RefusalReason::kMalformed, std::move(status));
  auto finisher = std::move(*incoming_draft_).StartFinish();
  incoming_draft_.reset();
  if (!finisher.ok()) return Fail(RefusalReason::kMemory, finisher.status());
  finisher_.emplace(*std::move(finisher));
  state_ = State::kFinishing;
  return absl::OkStatus();
}

absl::Status Acceptor::Finish(Deadline until) {
  const auto done = finisher_->Step(until);
  if (!done.ok()) return Fail(RefusalReason::kMemory, done.status());
  if (!*done) return absl::OkStatus();
  incoming_.emplace(std::move(*finisher_).Take());
  finisher_.reset();
  incoming_->CloseDescriptor();
  absl::Status status = socket_.Send(EncodeChannelId(MessageType::kReady, id_));
  if (!status.ok()) {
    state_ = State::kFailed;
    return status;
  }
  state_ = State::kDone;
  return absl::OkStatus();
}

uint64_t Acceptor::memory_bytes() const {
  if (!peer_has_memory_ && state_ != State::kMaking) return 0;
  return FileBytes(RegionOf(agreement_.send)) + FileBytes(RegionOf(agreement_.receive));
}

absl::Status Acceptor::Fail(RefusalReason reason, absl::Status why) {
  Refuse(reason);
  state_ = State::kFailed;
  return why;
}

void Acceptor::Refuse(RefusalReason reason) const {
  // Best effort: a peer that does not read its answer does not get one.
  static_cast<void>(socket_.Send(EncodeRefused(reason)));
  socket_.StopReceiving();
}

absl::StatusOr<std::shared_ptr<Session>> Acceptor::Take() && {
  PARLEY_CHECK(state_ == State::kDone, "Take before the handshake is complete");
  SessionTerms terms;
  terms.id = id_;
  terms.peer = std::move(peer_);
  terms.protocol = std::move(peer_format_);
  // The connecting side's "receive" is our "send".
  if (options_->send().exists) terms.send = agreement_.receive;
  if (options_->receive().exists) terms.receive = agreement_.send;
  terms.skips_fences = (agreement_.features & kFeatureSkipsFences) != 0;
  terms.barrier_before_sleep = (agreement_.features & kFeatureBarrierBeforeSleep) != 0;
  terms.reads_broadcast = !agreement_.broadcast.empty();
  auto session = Session::Make(std::move(terms), *std::move(outgoing_), *std::move(incoming_),
                               std::move(socket_).Release());
  absl::Status status = InstallDoorbells(agreement_.doorbell, std::move(doorbells_), session.get());
  if (!status.ok()) return status;
  return session;
}

absl::StatusOr<std::shared_ptr<Session>> AcceptHandshake(PeerSocket socket,
                                                         const AcceptOptions& options,
                                                         Deadline deadline) {
  const auto checked = CheckedAcceptOptions::Make(options);
  if (!checked.ok()) return checked.status();
  Acceptor acceptor(std::move(socket), &*checked);
  while (true) {
    // The pidfd as well: an heir of a dead peer may keep the socket open. poll skips a -1.
    std::array<pollfd, 2> polled = {{{acceptor.fd(), POLLIN, 0}, {options.peer_pidfd, POLLIN, 0}}};
    const Deadline now = Deadline::AtMonotonicNs(0);
    auto ready = PollUntil(absl::MakeSpan(polled), acceptor.busy() ? now : deadline);
    if (!ready.ok()) return ready.status();
    if (deadline.Expired() && (*ready == 0 || acceptor.busy())) {
      acceptor.Refuse(RefusalReason::kDeadline);
      return absl::DeadlineExceededError("the peer did not finish the handshake in time");
    }
    if (polled[1].revents != 0 && polled[0].revents == 0) {
      return absl::UnavailableError("the peer ended during the handshake");
    }
    if (*ready == 0 && !acceptor.busy()) continue;
    auto done = acceptor.Advance(Deadline::After(absl::Milliseconds(10)).Or(deadline));
    if (!done.ok()) return done.status();
    if (*done) return std::move(acceptor).Take();
  }
}

}  // namespace parley

#include "parley/handshake/acceptor.h"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <limits>
#include <utility>
#include <variant>
#include <vector>

#include "parley/handshake/doorbells.h"
#include "parley/handshake/negotiate.h"
#include "parley/os/check.h"
#include "parley/os/errors.h"
#include "parley/os/poll.h"

namespace parley {
namespace {

RegionGeometry RegionOf(const DirectionSpec& direction) {
  return {direction.capacity_bytes, FrameAreaBytes(direction.frames)};
}

RingGeometry RingOf(const DirectionSpec& direction) {
  return {direction.capacity_bytes, direction.max_message_bytes};
}

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

absl::StatusOr<bool> Acceptor::Advance() {
  PARLEY_CHECK(state_ == State::kAwaitingHello || state_ == State::kAwaitingMapped,
               "Advance after the end of the handshake");
  std::array<std::byte, kMaxMessageBytes> message;
  auto got = socket_.TryReceive(absl::MakeSpan(message));
  if (!got.ok()) {
    if (got.status().code() == absl::StatusCode::kUnavailable) {
      state_ = State::kFailed;
      return got.status();
    }
    return Fail(RefusalReason::kMalformed, got.status());
  }
  if (!*got) return false;
  const auto bytes = absl::MakeConstSpan(message).first(**got);
  const absl::Status status = state_ == State::kAwaitingHello ? OnHello(bytes) : OnMapped(bytes);
  if (!status.ok()) return status;
  return state_ == State::kDone;
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
  if (absl::Status status = CreateAndSend(); !status.ok()) {
    return Fail(RefusalReason::kResources, std::move(status));
  }
  state_ = State::kAwaitingMapped;
  return absl::OkStatus();
}

absl::Status Acceptor::CreateAndSend() {
  const AcceptOptions& options = options_->get();
  RegionLimits limits;
  limits.max_data_bytes = options.limits.max_capacity_bytes;
  limits.max_frames_bytes = std::numeric_limits<uint64_t>::max();  // our own options, checked
  limits.registry = options.registry != nullptr ? options.registry : &FileRegistry::OfThisProcess();
  // The connecting side's "receive" is our "send".
  auto outgoing = OutgoingRegion::Create(RegionOf(agreement_.receive), limits, options.pages);
  if (!outgoing.ok()) return outgoing.status();
  auto draft = IncomingRegionDraft::Create(RegionOf(agreement_.send), limits, options.pages);
  if (!draft.ok()) return draft.status();
  auto doorbells =
      MakeDoorbells(agreement_.doorbell, RingOf(agreement_.receive), RingOf(agreement_.send));
  if (!doorbells.ok()) return doorbells.status();

  // In the order of docs/SPEC.md.
  std::vector<int> descriptors = {outgoing->fd(), draft->fd()};
  for (const UniqueFd& fd : doorbells->for_peer) descriptors.push_back(fd.get());
  Welcome welcome;
  static_cast<Agreement&>(welcome) = agreement_;
  welcome.channel_id = id_;
  welcome.format = options.format;
  const absl::Status sent = socket_.Send(EncodeWelcome(welcome), descriptors);
  if (!sent.ok()) return sent;
  peer_has_memory_ = true;
  outgoing->CloseDescriptor();
  outgoing_.emplace(*std::move(outgoing));
  incoming_draft_.emplace(*std::move(draft));
  doorbells_ = std::move(doorbells->own);
  return absl::OkStatus();
}

absl::Status Acceptor::OnMapped(absl::Span<const std::byte> message) {
  absl::Status status = ParseChannelId(message, MessageType::kMapped, id_);
  if (!status.ok()) return Fail(RefusalReason::kMalformed, std::move(status));
  auto incoming = std::move(*incoming_draft_).Finish();
  incoming_draft_.reset();
  if (!incoming.ok()) return Fail(RefusalReason::kMemory, incoming.status());
  incoming->CloseDescriptor();
  incoming_.emplace(*std::move(incoming));
  status = socket_.Send(EncodeChannelId(MessageType::kReady, id_));
  if (!status.ok()) {
    state_ = State::kFailed;
    return status;
  }
  state_ = State::kDone;
  return absl::OkStatus();
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

uint64_t Acceptor::OutstandingBytes() const {
  if (!peer_has_memory_) return 0;
  return agreement_.send.capacity_bytes + agreement_.receive.capacity_bytes +
         FrameAreaBytes(agreement_.send.frames) + FrameAreaBytes(agreement_.receive.frames);
}

absl::StatusOr<Established> Acceptor::Take() && {
  PARLEY_CHECK(state_ == State::kDone, "Take before the handshake is complete");
  Established result{id_,
                     *std::move(outgoing_),
                     *std::move(incoming_),
                     RingOf(agreement_.receive),
                     RingOf(agreement_.send),
                     agreement_.receive.frames,
                     agreement_.send.frames,
                     nullptr,
                     nullptr,
                     std::move(socket_).Release(),
                     std::move(peer_),
                     std::move(peer_format_),
                     (agreement_.features & kFeatureSkipsFences) != 0,
                     (agreement_.features & kFeatureBarrierBeforeSleep) != 0};
  absl::Status status = InstallDoorbells(agreement_.doorbell, std::move(doorbells_), &result);
  if (!status.ok()) return status;
  return result;
}

absl::StatusOr<Established> AcceptHandshake(PeerSocket socket, const AcceptOptions& options,
                                            Deadline deadline) {
  const auto checked = CheckedAcceptOptions::Make(options);
  if (!checked.ok()) return checked.status();
  Acceptor acceptor(std::move(socket), &*checked);
  while (true) {
    // The pidfd as well: an heir of a dead peer may keep the socket open. poll skips a -1.
    std::array<pollfd, 2> polled = {{{acceptor.fd(), POLLIN, 0}, {options.peer_pidfd, POLLIN, 0}}};
    auto ready = PollUntil(absl::MakeSpan(polled), deadline);
    if (!ready.ok()) return ready.status();
    if (*ready == 0) {
      acceptor.Refuse(RefusalReason::kDeadline);
      return absl::DeadlineExceededError("the peer did not finish the handshake in time");
    }
    if (polled[0].revents == 0) {
      return absl::UnavailableError("the peer ended during the handshake");
    }
    auto done = acceptor.Advance();
    if (!done.ok()) return done.status();
    if (*done) return std::move(acceptor).Take();
  }
}

}  // namespace parley

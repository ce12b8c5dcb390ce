#include "parley/handshake/acceptor.h"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <limits>
#include <utility>
#include <vector>

#include "parley/handshake/doorbells.h"
#include "parley/os/check.h"
#include "parley/os/errors.h"
#include "parley/os/poll.h"
#include "parley/wait/memory_barrier.h"

namespace parley {
namespace {

uint32_t RolesOfConnectingSide(Direction accepting) {
  switch (accepting) {
    case Direction::kBoth:
      return kRoleSends | kRoleReceives;
    case Direction::kSendOnly:
      return kRoleReceives;
    case Direction::kReceiveOnly:
      return kRoleSends;
  }
  return 0;
}

// The ring for one direction: the peer's wish, else ours, else the default, all within the limits
// and with what our own caller relies on: room for its messages where it sends, messages no longer
// than its buffers where it receives. Otherwise the peer would choose when our caller's checks
// abort.
absl::StatusOr<DirectionSpec> AgreeOnDirection(const DirectionSpec& wish, const RingRequest& ours,
                                               bool we_send, const ChannelLimits& limits) {
  DirectionSpec granted = wish;
  if (granted.capacity_bytes == 0) {
    granted = {ours.capacity_bytes, ours.max_message_bytes};
    if (granted.capacity_bytes == 0) granted.capacity_bytes = kDefaultCapacityBytes;
    if (granted.max_message_bytes == 0) {
      granted.max_message_bytes = static_cast<uint32_t>(granted.capacity_bytes / 4);
    }
  }
  granted.frames = ours.frames;
  if (granted.capacity_bytes > limits.max_capacity_bytes ||
      granted.max_message_bytes > limits.max_message_bytes) {
    return absl::ResourceExhaustedError(
        "the peer asks for a ring of " + std::to_string(granted.capacity_bytes) +
        " bytes and messages of " + std::to_string(granted.max_message_bytes) +
        ", beyond our limits");
  }
  if (wish.frames.count != 0 && !(wish.frames == ours.frames)) {
    return absl::ResourceExhaustedError("the peer asks for " + std::to_string(wish.frames.count) +
                                        " frames of " + std::to_string(wish.frames.frame_bytes) +
                                        " bytes, not for those of our options");
  }
  const bool too_small = we_send && (granted.capacity_bytes < ours.capacity_bytes ||
                                     granted.max_message_bytes < ours.max_message_bytes);
  const bool too_long =
      !we_send && ours.max_message_bytes != 0 && granted.max_message_bytes > ours.max_message_bytes;
  if (too_small || too_long) {
    return absl::ResourceExhaustedError(
        "the peer asks for a ring of " + std::to_string(granted.capacity_bytes) +
        " bytes and messages of " + std::to_string(granted.max_message_bytes) +
        (too_small ? ", less than we send" : ", longer than we receive"));
  }
  PARLEY_CHECK(IsValid(RingGeometry{granted.capacity_bytes, granted.max_message_bytes}),
               "AcceptOptions: a ring's capacity is a power of two from 4 KiB to 1 GiB, and its "
               "longest message at most capacity - 8");
  PARLEY_CHECK(IsValid(granted.frames) &&
                   granted.frames.count * granted.frames.frame_bytes <= limits.max_frames_bytes,
               "AcceptOptions: at most 64 frames of a multiple of 4 KiB each, below 256 MiB, and "
               "all of them within limits.max_frames_bytes");
  return granted;
}

// One kDoorbell bit out of those offered; 0: none that we would use.
uint32_t ChooseDoorbell(uint32_t offered, const AcceptOptions& options) {
  const uint32_t eventfd = options.peer_is_confined_or_trusted ? offered & kDoorbellEventfd : 0;
  const uint32_t socket = offered & kDoorbellSocket;
  switch (options.doorbell) {
    case DoorbellKind::kAutomatic:
      return eventfd != 0 ? eventfd : socket;
    case DoorbellKind::kSocket:
      return socket;
    case DoorbellKind::kEventfd:
      return eventfd;
    case DoorbellKind::kFutex:
      return offered & kDoorbellFutex;
  }
  return 0;
}

// Each feature only where the connecting side offers its counterpart.
uint32_t AgreeOnFeatures(uint32_t offered, FenceMode fences) {
  uint32_t granted = 0;
  if ((offered & kFeatureSkipsFences) != 0 && fences != FenceMode::kFull &&
      SystemWideBarrierWorks()) {
    granted |= kFeatureBarrierBeforeSleep;
  }
  if ((offered & kFeatureBarrierBeforeSleep) != 0 && fences == FenceMode::kAsymmetric &&
      RegisterForBarriers()) {
    granted |= kFeatureSkipsFences;
  }
  return granted;
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

Acceptor::Acceptor(PeerSocket socket, const AcceptOptions* options)
    : socket_(std::move(socket)), options_(options) {
  PARLEY_CHECK(options->format.size() <= kMaxFormatBytes, "format longer than 4 KiB");
  PARLEY_CHECK(options->doorbell != DoorbellKind::kEventfd || options->peer_is_confined_or_trusted,
               "eventfd doorbells are only for a peer that is confined by us or trusted: it could "
               "block our writes");
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
  auto peer = IdentifyPeer(socket_.fd(), options_->peer_pidfd);
  if (!peer.ok()) return Fail(RefusalReason::kResources, peer.status());
  peer_ = *std::move(peer);
  if (!options_->policy.Admits(peer_)) {
    return Fail(RefusalReason::kIdentity,
                absl::PermissionDeniedError("the policy does not admit process " +
                                            std::to_string(peer_.pid) + " of user " +
                                            std::to_string(peer_.uid)));
  }
  Welcome welcome;
  if (absl::Status status = Grant(*hello, &welcome); !status.ok()) return status;
  if (options_->check_format) {
    absl::Status status = options_->check_format(hello->format);
    if (!status.ok()) return Fail(RefusalReason::kFormat, std::move(status));
  }
  peer_format_ = std::move(hello->format);
  if (absl::Status status = CreateAndSend(welcome); !status.ok()) {
    return Fail(RefusalReason::kResources, std::move(status));
  }
  state_ = State::kAwaitingMapped;
  return absl::OkStatus();
}

absl::Status Acceptor::Grant(const Hello& hello, Welcome* welcome) {
  if (hello.version_min > kWireVersion || hello.version_max < kWireVersion) {
    return Fail(RefusalReason::kVersion,
                absl::FailedPreconditionError("no protocol version in common with the peer"));
  }
  if ((hello.features & ~kKnownFeatures) != 0) {
    return Fail(RefusalReason::kFeatures,
                absl::FailedPreconditionError("the peer asks for features unknown here"));
  }
  if (hello.roles != RolesOfConnectingSide(options_->direction)) {
    return Fail(RefusalReason::kRoles, absl::FailedPreconditionError(
                                           "who sends and who receives does not match the peer's "
                                           "idea of it"));
  }
  welcome->doorbell = ChooseDoorbell(hello.doorbells, *options_);
  if (welcome->doorbell == 0) {
    return Fail(RefusalReason::kDoorbell,
                absl::FailedPreconditionError("no doorbell in common with the peer"));
  }
  welcome->features = AgreeOnFeatures(hello.features, options_->fences);
  features_ = welcome->features;
  welcome->roles = hello.roles;
  welcome->format = options_->format;
  // The connecting side's "send" is our "receive".
  if ((hello.roles & kRoleSends) != 0) {
    auto granted =
        AgreeOnDirection(hello.send, options_->receive, /*we_send=*/false, options_->limits);
    if (!granted.ok()) return Fail(RefusalReason::kSize, granted.status());
    welcome->send = *granted;
  }
  if ((hello.roles & kRoleReceives) != 0) {
    auto granted =
        AgreeOnDirection(hello.receive, options_->send, /*we_send=*/true, options_->limits);
    if (!granted.ok()) return Fail(RefusalReason::kSize, granted.status());
    welcome->receive = *granted;
  }
  auto id = RandomChannelId();
  if (!id.ok()) return Fail(RefusalReason::kResources, id.status());
  id_ = *id;
  welcome->channel_id = id_;
  send_ = {welcome->receive.capacity_bytes, welcome->receive.max_message_bytes};
  receive_ = {welcome->send.capacity_bytes, welcome->send.max_message_bytes};
  send_frames_ = welcome->receive.frames;
  receive_frames_ = welcome->send.frames;
  return absl::OkStatus();
}

absl::Status Acceptor::CreateAndSend(const Welcome& welcome) {
  RegionLimits limits;
  limits.max_data_bytes = options_->limits.max_capacity_bytes;
  limits.max_frames_bytes = std::numeric_limits<uint64_t>::max();  // our own options, checked
  limits.registry =
      options_->registry != nullptr ? options_->registry : &FileRegistry::OfThisProcess();
  auto outgoing = OutgoingRegion::Create({send_.capacity_bytes, FrameAreaBytes(send_frames_)},
                                         limits, options_->pages);
  if (!outgoing.ok()) return outgoing.status();
  auto draft = IncomingRegionDraft::Create(
      {receive_.capacity_bytes, FrameAreaBytes(receive_frames_)}, limits, options_->pages);
  if (!draft.ok()) return draft.status();

  auto doorbells = MakeDoorbells(welcome.doorbell, send_, receive_);
  if (!doorbells.ok()) return doorbells.status();

  // In the order of docs/SPEC.md.
  std::vector<int> descriptors = {outgoing->fd(), draft->fd()};
  for (const UniqueFd& fd : doorbells->for_peer) descriptors.push_back(fd.get());
  const absl::Status sent = socket_.Send(EncodeWelcome(welcome), descriptors);
  if (!sent.ok()) return sent;
  outgoing->CloseDescriptor();
  outgoing_.emplace(*std::move(outgoing));
  incoming_draft_.emplace(*std::move(draft));
  doorbell_kind_ = welcome.doorbell;
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
}

Established Acceptor::Take() && {
  PARLEY_CHECK(state_ == State::kDone, "Take before the handshake is complete");
  Established result{id_,
                     *std::move(outgoing_),
                     *std::move(incoming_),
                     send_,
                     receive_,
                     send_frames_,
                     receive_frames_,
                     Doorbell(),
                     Doorbell(),
                     std::move(socket_).Release(),
                     std::move(peer_),
                     std::move(peer_format_),
                     (features_ & kFeatureSkipsFences) != 0,
                     (features_ & kFeatureBarrierBeforeSleep) != 0};
  InstallMadeDoorbells(doorbell_kind_, std::move(doorbells_), &result);
  return result;
}

absl::StatusOr<Established> AcceptHandshake(PeerSocket socket, const AcceptOptions& options,
                                            Deadline deadline) {
  Acceptor acceptor(std::move(socket), &options);
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

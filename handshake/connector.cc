#include "parley/handshake/connector.h"

#include <array>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "parley/handshake/checked_options.h"
#include "parley/handshake/doorbells.h"
#include "parley/handshake/negotiate.h"
#include "parley/os/check.h"

namespace parley {
namespace {

RegionGeometry RegionOf(const DirectionSpec& direction) {
  return {direction.capacity_bytes, FrameAreaBytes(direction.frames)};
}

// The status for a message that is not the one expected: a refusal says why.
absl::Status Unexpected(absl::Span<const std::byte> message, absl::Status otherwise) {
  const auto type = PeekType(message);
  if (!type.ok() || *type != MessageType::kRefused) return otherwise;
  const auto reason = ParseRefused(message);
  if (!reason.ok()) return reason.status();
  return absl::FailedPreconditionError(std::string("the peer refused: ") + ToString(*reason));
}

// The status of a send that failed: a peer that refused us and hung up has said why before that.
absl::Status RefusalOr(const PeerSocket& socket, absl::Status otherwise) {
  std::array<std::byte, kMaxMessageBytes> buffer;
  const auto size = socket.TryReceive(absl::MakeSpan(buffer));
  if (!size.ok() || !*size) return otherwise;
  return Unexpected(absl::MakeConstSpan(buffer).first(**size), std::move(otherwise));
}

}  // namespace

absl::StatusOr<Established> ConnectHandshake(PeerSocket socket, const ConnectOptions& options,
                                             Deadline deadline) {
  const auto checked = CheckedConnectOptions::Make(options);
  if (!checked.ok()) return checked.status();
  return ConnectHandshake(std::move(socket), *checked, deadline);
}

absl::StatusOr<Established> ConnectHandshake(PeerSocket socket,
                                             const CheckedConnectOptions& checked,
                                             Deadline deadline) {
  const ConnectOptions& options = checked.get();
  auto peer = IdentifyPeer(socket.fd(), -1, socket.origin());
  if (!peer.ok()) return peer.status();
  const bool by_name = socket.origin() == PeerSocket::Origin::kConnected;
  const PeerPolicy policy =
      options.policy.value_or(by_name ? PeerPolicy::SameUserOrRoot() : PeerPolicy::Anyone());
  if (!policy.Admits(*peer)) {
    return absl::PermissionDeniedError(
        "ConnectOptions::policy does not admit the listener, process " + std::to_string(peer->pid) +
        " of user " + std::to_string(peer->uid));
  }
  const Hello hello = MakeHello(checked);
  socket.AllowDescriptors();
  absl::Status status = socket.Send(EncodeHello(hello));
  if (!status.ok()) return RefusalOr(socket, std::move(status));

  // Two regions and at most four doorbells.
  std::array<std::byte, kMaxMessageBytes> buffer;
  auto received = socket.ReceiveWithDescriptors(absl::MakeSpan(buffer), 6, deadline);
  if (!received.ok()) return received.status();
  auto message = absl::MakeConstSpan(buffer).first(received->size_bytes);
  auto welcome = ParseWelcome(message);
  if (!welcome.ok()) return Unexpected(message, welcome.status());
  status = CheckAgreement(checked, hello, *welcome);
  if (!status.ok()) return status;
  std::vector<UniqueFd>& descriptors = received->descriptors;
  if (descriptors.size() < 2) return absl::InvalidArgumentError("a region is missing");

  RegionLimits limits;
  limits.max_data_bytes = options.limits.max_capacity_bytes;
  limits.max_frames_bytes = std::numeric_limits<uint64_t>::max();  // checked just now
  limits.registry = options.registry != nullptr ? options.registry : &FileRegistry::OfThisProcess();
  auto incoming =
      IncomingRegion::Adopt(std::move(descriptors[0]), RegionOf(welcome->receive), limits);
  if (!incoming.ok()) return incoming.status();
  incoming->CloseDescriptor();
  // Maps it and seals it for good: the accepting side looks at the seals when we say "mapped".
  auto outgoing =
      OutgoingRegion::Adopt(std::move(descriptors[1]), RegionOf(welcome->send), limits, deadline,
                            options.trust ? MakerTrust::kSupervisor : MakerTrust::kNone);
  if (!outgoing.ok()) return outgoing.status();
  outgoing->CloseDescriptor();
  const RingGeometry send = {welcome->send.capacity_bytes, welcome->send.max_message_bytes};
  const RingGeometry receive = {welcome->receive.capacity_bytes,
                                welcome->receive.max_message_bytes};
  auto doorbells =
      AdoptDoorbells(welcome->doorbell, send, receive, absl::MakeSpan(descriptors).subspan(2));
  if (!doorbells.ok()) return doorbells.status();

  // All of what came is as it should be, and the peer has nothing more to send.
  received->guard.Verified();
  socket.RefuseDescriptors();

  status = socket.Send(EncodeChannelId(MessageType::kMapped, welcome->channel_id));
  if (!status.ok()) return RefusalOr(socket, std::move(status));
  // Exactly the one message, and not a byte more: what follows on this socket are wake-ups.
  auto size = socket.Receive(absl::MakeSpan(buffer), deadline);
  if (!size.ok()) return size.status();
  message = absl::MakeConstSpan(buffer).first(*size);
  status = ParseChannelId(message, MessageType::kReady, welcome->channel_id);
  if (!status.ok()) return Unexpected(message, std::move(status));

  Established result{welcome->channel_id,
                     *std::move(outgoing),
                     *std::move(incoming),
                     send,
                     receive,
                     welcome->send.frames,
                     welcome->receive.frames,
                     nullptr,
                     nullptr,
                     std::move(socket).Release(),
                     *std::move(peer),
                     std::move(welcome->format),
                     (welcome->features & kFeatureBarrierBeforeSleep) != 0,
                     (welcome->features & kFeatureSkipsFences) != 0};
  status = InstallDoorbells(welcome->doorbell, *std::move(doorbells), &result);
  if (!status.ok()) return status;
  return result;
}

}  // namespace parley

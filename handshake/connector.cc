// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/connector.h"

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/cord.h"
#include "parley/handshake/checked_options.h"
#include "parley/handshake/doorbells.h"
#include "parley/handshake/identify_peer.h"
#include "parley/handshake/negotiate.h"
#include "parley/os/check.h"
#include "parley/shm/broadcast.h"
#include "parley/shm/sections.h"

namespace parley {
namespace {

constexpr char kRefusalPayload[] = "parley/refusal";

// The status for a message that is not the one expected: a refusal says why.
absl::Status Unexpected(absl::Span<const std::byte> message, absl::Status otherwise) {
  const auto type = PeekType(message);
  if (!type.ok() || *type != MessageType::kRefused) return otherwise;
  const auto reason = ParseRefused(message);
  if (!reason.ok()) return reason.status();
  const std::string sentence = std::string("the peer refused: ") + ToString(*reason);
  absl::Status refusal = IsPassing(*reason) ? absl::UnavailableError(sentence)
                                            : absl::FailedPreconditionError(sentence);
  refusal.SetPayload(kRefusalPayload, absl::Cord());
  return refusal;
}

// The status of a send that failed: a peer that refused us and hung up has said why before that.
absl::Status RefusalOr(const PeerSocket& socket, absl::Status otherwise) {
  std::array<std::byte, kMaxMessageBytes> buffer;
  const auto size = socket.TryReceive(absl::MakeSpan(buffer));
  if (!size.ok() || !*size) return otherwise;
  return Unexpected(absl::MakeConstSpan(buffer).first(**size), std::move(otherwise));
}

}  // namespace

bool IsRefusal(const absl::Status& status) {
  return status.GetPayload(kRefusalPayload).has_value();
}

absl::StatusOr<std::shared_ptr<Session>> ConnectHandshake(PeerSocket socket,
                                                          const ConnectOptions& options,
                                                          Deadline deadline) {
  const auto checked = CheckedConnectOptions::Make(options);
  if (!checked.ok()) return checked.status();
  return ConnectHandshake(std::move(socket), *checked, deadline);
}

absl::StatusOr<std::shared_ptr<Session>> ConnectHandshake(PeerSocket socket,
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

  std::array<std::byte, kMaxMessageBytes> buffer;
  auto size = socket.Receive(absl::MakeSpan(buffer), deadline);
  if (!size.ok()) return size.status();
  auto message = absl::MakeConstSpan(buffer).first(*size);
  auto welcome = ParseWelcome(message);
  if (!welcome.ok()) return Unexpected(message, welcome.status());
  status = CheckAgreement(checked, hello, *welcome);
  if (!status.ok()) return status;
  status = socket.Send(EncodeChannelId(MessageType::kAccepted, welcome->channel_id));
  if (!status.ok()) return RefusalOr(socket, std::move(status));

  // Two regions, perhaps a broadcast, and at most four doorbells.
  auto received = socket.ReceiveWithDescriptors(absl::MakeSpan(buffer), 7, deadline);
  if (!received.ok()) return received.status();
  message = absl::MakeConstSpan(buffer).first(received->size_bytes);
  status = ParseChannelId(message, MessageType::kDescriptors, welcome->channel_id);
  if (!status.ok()) return Unexpected(message, std::move(status));
  std::vector<UniqueFd>& descriptors = received->descriptors;
  const bool has_broadcast = !welcome->broadcast.empty();
  const std::size_t regions = has_broadcast ? 3 : 2;
  if (descriptors.size() < regions) return absl::InvalidArgumentError("a region is missing");

  const RegionLimits limits = LimitsOf(checked->registry);
  auto adopting =
      IncomingRegion::StartAdopt(std::move(descriptors[0]), RegionOf(welcome->receive), limits);
  if (!adopting.ok()) return adopting.status();
  // Maps it and seals it for good: the accepting side looks at the seals when we say "mapped". The
  // pages of the other region come in while a helper process places them.
  auto sealing =
      OutgoingRegionAdoption::Start(std::move(descriptors[1]), RegionOf(welcome->send), limits,
                                    checked->trust ? MakerTrust::kSupervisor : MakerTrust::kNone);
  if (!sealing.ok()) return sealing.status();
  auto incoming = std::move(*adopting).Finish(deadline);
  if (!incoming.ok()) return incoming.status();
  incoming->CloseDescriptor();
  auto outgoing = std::move(*sealing).Finish(deadline);
  if (!outgoing.ok()) return outgoing.status();
  outgoing->CloseDescriptor();
  // After our own region is claimed: that one is nobody's broadcast.
  std::optional<BroadcastView> broadcast;
  if (has_broadcast) {
    const auto layout =
        SectionLayout::Make(welcome->broadcast.span(), checked->limits.max_broadcast_bytes);
    if (!layout.ok()) return layout.status();
    auto view = BroadcastView::Adopt(std::move(descriptors[2]), *layout, deadline, limits.registry);
    if (!view.ok()) return view.status();
    broadcast.emplace(*std::move(view));
  }
  auto doorbells =
      AdoptDoorbells(welcome->doorbell, RingOf(welcome->send), RingOf(welcome->receive),
                     absl::MakeSpan(descriptors).subspan(regions));
  if (!doorbells.ok()) return doorbells.status();

  // All of what came is as it should be, and the peer has nothing more to send.
  received->guard.Verified();
  socket.RefuseDescriptors();

  status = socket.Send(EncodeChannelId(MessageType::kMapped, welcome->channel_id));
  if (!status.ok()) return RefusalOr(socket, std::move(status));
  // Exactly the one message, and not a byte more: what follows on this socket are wake-ups.
  size = socket.Receive(absl::MakeSpan(buffer), deadline);
  if (!size.ok()) return size.status();
  message = absl::MakeConstSpan(buffer).first(*size);
  status = ParseChannelId(message, MessageType::kReady, welcome->channel_id);
  if (!status.ok()) return Unexpected(message, std::move(status));

  SessionTerms terms;
  terms.id = welcome->channel_id;
  terms.peer = *std::move(peer);
  terms.protocol = std::move(welcome->format);
  if (checked.send().exists) terms.send = welcome->send;
  if (checked.receive().exists) terms.receive = welcome->receive;
  terms.skips_fences = (welcome->features & kFeatureBarrierBeforeSleep) != 0;
  terms.barrier_before_sleep = (welcome->features & kFeatureSkipsFences) != 0;
  terms.reads_broadcast = has_broadcast;
  terms.peer_is_supervisor = socket.origin() == PeerSocket::Origin::kInherited;
  auto session = Session::Make(std::move(terms), *std::move(outgoing), *std::move(incoming),
                               std::move(socket).Release(), std::move(broadcast));
  status = InstallDoorbells(welcome->doorbell, *std::move(doorbells), session.get());
  if (!status.ok()) return status;
  return session;
}

}  // namespace parley

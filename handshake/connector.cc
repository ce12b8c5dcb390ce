#include "parley/handshake/connector.h"

#include <array>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "parley/handshake/doorbells.h"
#include "parley/os/check.h"
#include "parley/wait/memory_barrier.h"

namespace parley {
namespace {

uint32_t RolesOf(Direction connecting) {
  switch (connecting) {
    case Direction::kBoth:
      return kRoleSends | kRoleReceives;
    case Direction::kSendOnly:
      return kRoleSends;
    case Direction::kReceiveOnly:
      return kRoleReceives;
  }
  return 0;
}

// A wish as it goes into the Hello; a capacity without a message length gets a quarter of it.
DirectionSpec Wish(bool exists, const RingRequest& wanted) {
  PARLEY_CHECK(IsValid(wanted.frames) && (exists || wanted.frames.count == 0),
               "ConnectOptions: at most 64 frames of a multiple of 4 KiB each, below 256 MiB, and "
               "none for a direction that does not exist");
  if (!exists || wanted.capacity_bytes == 0) {
    PARLEY_CHECK(wanted.max_message_bytes == 0,
                 "ConnectOptions: a message length without a capacity, or for a direction that "
                 "does not exist");
    return {0, 0, wanted.frames};
  }
  DirectionSpec wish = {wanted.capacity_bytes, wanted.max_message_bytes, wanted.frames};
  if (wish.max_message_bytes == 0) {
    wish.max_message_bytes = static_cast<uint32_t>(wish.capacity_bytes / 4);
  }
  PARLEY_CHECK(IsValid(RingGeometry{wish.capacity_bytes, wish.max_message_bytes}),
               "ConnectOptions: a ring's capacity is a power of two from 4 KiB to 1 GiB, and its "
               "longest message at most capacity - 8");
  return wish;
}

uint32_t OfferedFeatures(const ConnectOptions& options) {
  const bool skips =
      options.fences == FenceMode::kAsymmetric ||
      (options.fences == FenceMode::kAutomatic && options.accepting_side_is_supervisor);
  uint32_t offered = 0;
  if (skips && RegisterForBarriers()) offered |= kFeatureSkipsFences;
  if (options.fences == FenceMode::kAsymmetric && SystemWideBarrierWorks()) {
    offered |= kFeatureBarrierBeforeSleep;
  }
  return offered;
}

uint32_t OfferedDoorbells(const ConnectOptions& options) {
  switch (options.doorbell) {
    case DoorbellKind::kAutomatic:
      return kDoorbellSocket | (options.accepting_side_is_supervisor ? kDoorbellEventfd : 0);
    case DoorbellKind::kSocket:
      return kDoorbellSocket;
    case DoorbellKind::kEventfd:
      PARLEY_CHECK(options.accepting_side_is_supervisor,
                   "eventfd doorbells are only for a worker that trusts its supervisor: another "
                   "peer could block our writes");
      return kDoorbellEventfd;
    case DoorbellKind::kFutex:
      // Alone, so that whether there is a descriptor to poll is our choice and not the peer's.
      return kDoorbellFutex;
  }
  return kDoorbellSocket;
}

// The accepting side's barrier is for our missing fences, and our barrier for its.
bool FeaturesWereOffered(uint32_t offered, uint32_t granted) {
  return ((granted & kFeatureBarrierBeforeSleep) == 0 || (offered & kFeatureSkipsFences) != 0) &&
         ((granted & kFeatureSkipsFences) == 0 || (offered & kFeatureBarrierBeforeSleep) != 0);
}

absl::Status CheckAccepted(const DirectionSpec& wish, const DirectionSpec& granted,
                           const ChannelLimits& limits) {
  if (wish.capacity_bytes != 0 && (wish.capacity_bytes != granted.capacity_bytes ||
                                   wish.max_message_bytes != granted.max_message_bytes)) {
    return absl::InvalidArgumentError("the peer granted another ring than the one asked for");
  }
  if (wish.frames.count != 0 && !(wish.frames == granted.frames)) {
    return absl::InvalidArgumentError("the peer granted other frames than those asked for");
  }
  if (granted.capacity_bytes > limits.max_capacity_bytes ||
      granted.max_message_bytes > limits.max_message_bytes) {
    return absl::ResourceExhaustedError("the peer's ring is beyond our limits");
  }
  if (granted.frames.count * granted.frames.frame_bytes > limits.max_frames_bytes) {
    return absl::ResourceExhaustedError("the peer's frames are beyond our limits");
  }
  return absl::OkStatus();
}

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

}  // namespace

absl::StatusOr<Established> ConnectHandshake(PeerSocket socket, const ConnectOptions& options,
                                             Deadline deadline) {
  const uint32_t roles = RolesOf(options.direction);
  Hello hello;
  hello.features = OfferedFeatures(options);
  hello.roles = roles;
  hello.doorbells = OfferedDoorbells(options);
  hello.send = Wish((roles & kRoleSends) != 0, options.send);
  hello.receive = Wish((roles & kRoleReceives) != 0, options.receive);
  hello.format = options.format;
  absl::Status status = socket.Send(EncodeHello(hello));
  if (!status.ok()) return status;

  // Two regions and at most four doorbells.
  std::array<std::byte, kMaxMessageBytes> buffer;
  auto received = socket.ReceiveWithDescriptors(absl::MakeSpan(buffer), 6, deadline);
  if (!received.ok()) return received.status();
  auto message = absl::MakeConstSpan(buffer).first(received->size_bytes);
  auto welcome = ParseWelcome(message);
  if (!welcome.ok()) return Unexpected(message, welcome.status());
  if (welcome->roles != roles || (welcome->doorbell & hello.doorbells) == 0 ||
      !FeaturesWereOffered(hello.features, welcome->features)) {
    return absl::InvalidArgumentError("the peer chose what was not offered");
  }
  status = CheckAccepted(hello.send, welcome->send, options.limits);
  if (!status.ok()) return status;
  status = CheckAccepted(hello.receive, welcome->receive, options.limits);
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
      OutgoingRegion::Adopt(std::move(descriptors[1]), RegionOf(welcome->send), limits, deadline);
  if (!outgoing.ok()) return outgoing.status();
  outgoing->CloseDescriptor();
  const RingGeometry send = {welcome->send.capacity_bytes, welcome->send.max_message_bytes};
  const RingGeometry receive = {welcome->receive.capacity_bytes,
                                welcome->receive.max_message_bytes};
  auto doorbells = AdoptDoorbells(welcome->doorbell, send, receive,
                                  absl::MakeSpan(descriptors).subspan(2));
  if (!doorbells.ok()) return doorbells.status();

  status = socket.Send(EncodeChannelId(MessageType::kMapped, welcome->channel_id));
  if (!status.ok()) return status;
  // Exactly the one message, and not a byte more: what follows on this socket are wake-ups.
  auto size = socket.Receive(absl::MakeSpan(buffer), deadline);
  if (!size.ok()) return size.status();
  message = absl::MakeConstSpan(buffer).first(*size);
  status = ParseChannelId(message, MessageType::kReady, welcome->channel_id);
  if (!status.ok()) return Unexpected(message, std::move(status));

  auto peer = IdentifyPeer(socket.fd());
  if (!peer.ok()) return peer.status();
  Established result{welcome->channel_id,
                     *std::move(outgoing),
                     *std::move(incoming),
                     send,
                     receive,
                     welcome->send.frames,
                     welcome->receive.frames,
                     Doorbell(),
                     Doorbell(),
                     std::move(socket).Release(),
                     *std::move(peer),
                     std::move(welcome->format),
                     (welcome->features & kFeatureBarrierBeforeSleep) != 0,
                     (welcome->features & kFeatureSkipsFences) != 0};
  InstallAdoptedDoorbells(welcome->doorbell, *std::move(doorbells), &result);
  return result;
}

}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/negotiate.h"

#include <algorithm>
#include <memory>
#include <string>

#include "parley/ring/ring_types.h"
#include "parley/shm/broadcast.h"
#include "parley/shm/sections.h"

namespace parley {
namespace {

using Answer = std::variant<DirectionSpec, Refusal>;

Refusal TooMuch(const char* sentence, uint64_t asked, uint64_t allowed) {
  return {RefusalReason::kSize, sentence, asked, allowed};
}

uint32_t RolesOf(bool sends, bool receives) {
  return (sends ? kRoleSends : 0) | (receives ? kRoleReceives : 0);
}

// One direction: what the peer asks for, else what we choose. Never less than our caller relies on
// where it sends, nor longer messages than it has buffers for where it receives.
Answer NegotiateDirection(const DirectionSpec& request, const DirectionTerms& ours, bool we_send,
                          const ChannelLimits& limits) {
  if (request.arena.bytes != 0 && request.arena.bytes != ours.chosen.arena.bytes) {
    return TooMuch("the peer asks for another arena than that of our options", request.arena.bytes,
                   ours.chosen.arena.bytes);
  }
  ArenaGeometry arena = ours.chosen.arena;
  // Powers of two: the larger one serves both.
  if (arena.bytes != 0) arena.alignment = std::max(arena.alignment, request.arena.alignment);
  if (request.capacity_bytes == 0) {
    return DirectionSpec{ours.chosen.capacity_bytes, ours.chosen.max_message_bytes, arena};
  }
  if (request.capacity_bytes < ours.min_capacity_bytes) {
    return TooMuch("the peer asks for a ring that is smaller than a page", request.capacity_bytes,
                   ours.min_capacity_bytes);
  }
  if (request.capacity_bytes > limits.max_capacity_bytes) {
    return TooMuch("the peer asks for a larger ring than our limits allow", request.capacity_bytes,
                   limits.max_capacity_bytes);
  }
  if (request.max_message_bytes > limits.max_message_bytes) {
    return TooMuch("the peer asks for longer messages than our limits allow",
                   request.max_message_bytes, limits.max_message_bytes);
  }
  if (we_send && request.capacity_bytes < ours.floor_capacity_bytes) {
    return TooMuch("the peer asks for a smaller ring than we send on", request.capacity_bytes,
                   ours.floor_capacity_bytes);
  }
  if (we_send && request.max_message_bytes < ours.floor_message_bytes) {
    return TooMuch("the peer asks for shorter messages than we send", request.max_message_bytes,
                   ours.floor_message_bytes);
  }
  if (!we_send && request.max_message_bytes > ours.ceiling_message_bytes) {
    return TooMuch("the peer asks for longer messages than we receive", request.max_message_bytes,
                   ours.ceiling_message_bytes);
  }
  return DirectionSpec{request.capacity_bytes, request.max_message_bytes, arena};
}

// One kDoorbell bit out of those offered; 0: none that we would use.
uint32_t ChooseDoorbell(uint32_t offered, const CheckedAcceptOptions& options) {
  const uint32_t eventfd = options.may_use_eventfds() ? offered & kDoorbellEventfd : 0;
  const uint32_t socket = offered & kDoorbellSocket;
  switch (options->doorbell) {
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

uint32_t OfferedDoorbells(const CheckedConnectOptions& options) {
  switch (options->doorbell) {
    case DoorbellKind::kAutomatic:
      return kDoorbellSocket | (options.may_use_eventfds() ? kDoorbellEventfd : 0);
    case DoorbellKind::kSocket:
      return kDoorbellSocket;
    case DoorbellKind::kEventfd:
      return kDoorbellEventfd;
    case DoorbellKind::kFutex:
      // Alone, so that whether there is a descriptor to poll is our choice and not the peer's.
      return kDoorbellFutex;
  }
  return kDoorbellSocket;
}

// Each feature only where the connecting side offers its counterpart.
uint32_t AgreeOnFeatures(uint32_t offered, const CheckedAcceptOptions& options) {
  uint32_t accepted = 0;
  if ((offered & kFeatureSkipsFences) != 0 && options.may_make_barrier()) {
    accepted |= kFeatureBarrierBeforeSleep;
  }
  if ((offered & kFeatureBarrierBeforeSleep) != 0 && options.may_skip_fences()) {
    accepted |= kFeatureSkipsFences;
  }
  return accepted;
}

// The accepting side's barrier is for our missing fences, and our barrier for its.
bool FeaturesWereOffered(uint32_t offered, uint32_t accepted) {
  return ((accepted & kFeatureBarrierBeforeSleep) == 0 || (offered & kFeatureSkipsFences) != 0) &&
         ((accepted & kFeatureSkipsFences) == 0 || (offered & kFeatureBarrierBeforeSleep) != 0);
}

absl::Status CheckDirection(const DirectionSpec& request, const DirectionSpec& accepted,
                            const DirectionTerms& ours, const ChannelLimits& limits) {
  if (ours.exists != (accepted.capacity_bytes != 0)) {
    return absl::InvalidArgumentError("the peer chose directions that were not offered");
  }
  if (request.capacity_bytes != 0 && (request.capacity_bytes != accepted.capacity_bytes ||
                                      request.max_message_bytes != accepted.max_message_bytes)) {
    return absl::InvalidArgumentError("the peer accepted another ring than the one asked for");
  }
  if (request.arena.bytes != 0 && request.arena.bytes != accepted.arena.bytes) {
    return absl::InvalidArgumentError("the peer accepted another arena than the one asked for");
  }
  if (accepted.arena.bytes != 0 && accepted.arena.alignment < request.arena.alignment) {
    return absl::InvalidArgumentError("the peer aligns its frames to less than was asked for");
  }
  if (ours.exists && accepted.capacity_bytes < ours.min_capacity_bytes) {
    return absl::InvalidArgumentError("the peer chose a ring that is smaller than a page");
  }
  if (accepted.capacity_bytes > limits.max_capacity_bytes ||
      accepted.max_message_bytes > limits.max_message_bytes) {
    return absl::ResourceExhaustedError("the peer's ring is beyond our limits");
  }
  if (accepted.arena.bytes > limits.max_arena_bytes) {
    return absl::ResourceExhaustedError("the peer's arena is beyond our limits");
  }
  return absl::OkStatus();
}

// All of our broadcast or nothing of it: its readers share one region, and each needs the whole
// list to know where its own sections lie. Nothing where it has no kind that the peer takes.
SectionList GrantBroadcast(const std::shared_ptr<Broadcast>& broadcast, const Hello& hello) {
  if (broadcast == nullptr) return {};
  for (const uint16_t kind : hello.broadcast_kinds) {
    if (broadcast->layout().Find(kind) != nullptr) return broadcast->layout().list();
  }
  return {};
}

absl::Status CheckBroadcast(const Hello& hello, const SectionList& broadcast,
                            const ChannelLimits& limits) {
  if (broadcast.empty()) return absl::OkStatus();
  const auto layout = SectionLayout::Make(broadcast.span(), limits.max_broadcast_bytes);
  if (!layout.ok()) return layout.status();
  for (const uint16_t kind : hello.broadcast_kinds) {
    if (layout->Find(kind) != nullptr) return absl::OkStatus();
  }
  return absl::InvalidArgumentError("the peer's broadcast has no kind that was offered");
}

}  // namespace

absl::Status Refusal::ToStatus() const {
  std::string text = sentence;
  if (asked != 0 || allowed != 0) {
    text += ": " + std::to_string(asked) + ", and here it is " + std::to_string(allowed);
  }
  switch (reason) {
    case RefusalReason::kSize:
      return absl::ResourceExhaustedError(text);
    case RefusalReason::kIdentity:
      return absl::PermissionDeniedError(text);
    default:
      return absl::FailedPreconditionError(text);
  }
}

std::variant<Agreement, Refusal> Negotiate(const CheckedAcceptOptions& options,
                                           const Hello& hello) {
  if (hello.version_min > kWireVersion || hello.version_max < kWireVersion) {
    return Refusal{RefusalReason::kVersion, "no protocol version in common with the peer"};
  }
  if ((hello.features & ~kKnownFeatures) != 0) {
    return Refusal{RefusalReason::kFeatures, "the peer offers features unknown here"};
  }
  // The connecting side's "send" is our "receive".
  if (hello.roles != RolesOf(options.receive().exists, options.send().exists)) {
    return Refusal{RefusalReason::kRoles,
                   "who sends and who receives does not match the peer's idea of it"};
  }
  Agreement agreement;
  agreement.roles = hello.roles;
  agreement.broadcast = GrantBroadcast(options->broadcast, hello);
  if (agreement.roles == 0 && agreement.broadcast.empty()) {
    return Refusal{RefusalReason::kRoles,
                   "the peer wants a broadcast alone, and there is none of a kind that it takes"};
  }
  agreement.doorbell = ChooseDoorbell(hello.doorbells, options);
  if (agreement.doorbell == 0) {
    return Refusal{RefusalReason::kDoorbell, "no doorbell in common with the peer"};
  }
  agreement.features = AgreeOnFeatures(hello.features, options);
  if (options.receive().exists) {
    const Answer answer =
        NegotiateDirection(hello.send, options.receive(), /*we_send=*/false, options->limits);
    if (const auto* refusal = std::get_if<Refusal>(&answer)) return *refusal;
    agreement.send = std::get<DirectionSpec>(answer);
  }
  if (options.send().exists) {
    const Answer answer =
        NegotiateDirection(hello.receive, options.send(), /*we_send=*/true, options->limits);
    if (const auto* refusal = std::get_if<Refusal>(&answer)) return *refusal;
    agreement.receive = std::get<DirectionSpec>(answer);
  }
  return agreement;
}

Hello MakeHello(const CheckedConnectOptions& options) {
  Hello hello;
  hello.features = (options.may_skip_fences() ? kFeatureSkipsFences : 0) |
                   (options.may_make_barrier() ? kFeatureBarrierBeforeSleep : 0);
  hello.roles = RolesOf(options.send().exists, options.receive().exists);
  hello.doorbells = OfferedDoorbells(options);
  hello.send = options.send().asked;
  hello.receive = options.receive().asked;
  hello.broadcast_kinds = options->broadcast_kinds;
  hello.format = options->format;
  return hello;
}

absl::Status CheckAgreement(const CheckedConnectOptions& options, const Hello& hello,
                            const Agreement& agreement) {
  if (agreement.version < hello.version_min || agreement.version > hello.version_max ||
      agreement.roles != hello.roles || (agreement.doorbell & hello.doorbells) == 0 ||
      !FeaturesWereOffered(hello.features, agreement.features)) {
    return absl::InvalidArgumentError("the peer chose what was not offered");
  }
  absl::Status status = CheckBroadcast(hello, agreement.broadcast, options->limits);
  if (!status.ok()) return status;
  status = CheckDirection(hello.send, agreement.send, options.send(), options->limits);
  if (!status.ok()) return status;
  return CheckDirection(hello.receive, agreement.receive, options.receive(), options->limits);
}

}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/checked_options.h"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>
#include <vector>

#include "parley/handshake/wire.h"
#include "parley/os/eventfd.h"
#include "parley/ring/layout.h"
#include "parley/sealing/guarded_range.h"
#include "parley/shm/arena_layout.h"
#include "parley/wait/memory_barrier.h"

namespace parley {
namespace {

// A field of an options struct, for the sentence about it.
struct Field {
  const char* options;
  const char* direction;

  absl::Status Wrong(const std::string& what) const {
    return absl::InvalidArgumentError(std::string(options) + "::" + direction + what);
  }
};

std::string Is(uint64_t value) { return " is " + std::to_string(value); }

uint64_t MinCapacityBytes() { return std::max<uint64_t>(kMinCapacityBytes, PageBytes()); }

// A request that is right on most machines, and a limit, is right on those of larger pages, where
// no ring is shorter than one.
uint64_t AtLeastAPage(uint64_t capacity) {
  return capacity < kMinCapacityBytes ? capacity : std::max(capacity, MinCapacityBytes());
}

absl::Status CheckLimits(const char* options, const ChannelLimits& limits) {
  const Field field = {options, "limits"};
  if (limits.max_capacity_bytes < kMinCapacityBytes ||
      limits.max_capacity_bytes > kMaxCapacityBytes) {
    return field.Wrong(".max_capacity_bytes" + Is(limits.max_capacity_bytes) +
                       "; allowed: " + std::to_string(kMinCapacityBytes) + " to " +
                       std::to_string(kMaxCapacityBytes));
  }
  if (limits.max_message_bytes < kMinMessageLimitBytes) {
    return field.Wrong(".max_message_bytes" + Is(limits.max_message_bytes) +
                       "; allowed: " + std::to_string(kMinMessageLimitBytes) + " and more");
  }
  return absl::OkStatus();
}

absl::Status CheckArena(const Field& field, const ArenaGeometry& arena,
                        const ChannelLimits& limits) {
  if (!IsArenaRequest(arena)) {
    return field.Wrong(".arena: " + std::to_string(arena.bytes) + " bytes, aligned to " +
                       std::to_string(arena.alignment) +
                       "; allowed: a multiple of 4096 bytes up to 16 GiB, and 0 or a power of two "
                       "from 64 to 4096");
  }
  if (arena.bytes > limits.max_arena_bytes) {
    return field.Wrong(".arena.bytes" + Is(arena.bytes) + ", beyond limits.max_arena_bytes, " +
                       std::to_string(limits.max_arena_bytes));
  }
  return absl::OkStatus();
}

// Half of the ring at most, so that one message can be written while another is read; the usual
// size where that is enough, and never beyond the limit.
uint64_t CapacityFor(uint32_t message_bytes, uint64_t max_capacity_bytes) {
  const uint64_t enough = std::bit_ceil(2 * (uint64_t{message_bytes} + kRecordHeaderBytes));
  const uint64_t usual = std::max({kDefaultCapacityBytes, MinCapacityBytes(), enough});
  return std::min(usual, std::bit_floor(max_capacity_bytes));
}

absl::Status CheckDirection(const Field& field, const RingRequest& request,
                            const ChannelLimits& limits, bool exists, DirectionTerms* terms) {
  const uint64_t capacity = std::has_single_bit(request.capacity_bytes)
                                ? AtLeastAPage(request.capacity_bytes)
                                : request.capacity_bytes;
  const uint32_t message = request.max_message_bytes;
  if (absl::Status s = CheckArena(field, request.arena, limits); !s.ok()) return s;
  if (!exists) {
    if (capacity != 0 || message != 0 || request.arena != ArenaGeometry{}) {
      return field.Wrong(" is set, and `direction` says that there is none");
    }
    return absl::OkStatus();
  }
  if (capacity != 0 && (!std::has_single_bit(capacity) || capacity < MinCapacityBytes() ||
                        capacity > limits.max_capacity_bytes)) {
    return field.Wrong(".capacity_bytes" + Is(capacity) + "; allowed: 0, or a power of two from " +
                       std::to_string(MinCapacityBytes()) + " to limits.max_capacity_bytes, " +
                       std::to_string(limits.max_capacity_bytes));
  }
  const uint64_t ring = capacity != 0 ? capacity : CapacityFor(message, limits.max_capacity_bytes);
  const uint64_t max_message =
      std::min<uint64_t>(limits.max_message_bytes, ring - kRecordHeaderBytes);
  if (message != 0 && (message < kMinMessageLimitBytes || message > max_message)) {
    return field.Wrong(".max_message_bytes" + Is(message) + "; allowed: 0, or " +
                       std::to_string(kMinMessageLimitBytes) + " to " +
                       std::to_string(max_message) +
                       " (limits.max_message_bytes, and 8 less than the ring)");
  }
  terms->exists = true;
  terms->chosen.capacity_bytes = ring;
  terms->chosen.max_message_bytes =
      message != 0 ? message : static_cast<uint32_t>(std::min(ring / 4, max_message));
  if (request.arena.bytes != 0) {
    terms->chosen.arena = {request.arena.bytes,
                           std::max(request.arena.alignment, kMinArenaAlignment)};
  }
  if (capacity != 0 || message != 0) terms->asked = terms->chosen;
  terms->asked.arena = request.arena;
  terms->min_capacity_bytes = MinCapacityBytes();
  terms->floor_capacity_bytes = capacity;
  terms->floor_message_bytes = std::max(message, kMinMessageLimitBytes);
  terms->ceiling_message_bytes = message != 0 ? message : limits.max_message_bytes;
  return absl::OkStatus();
}

bool Sends(Direction direction) {
  return direction == Direction::kBoth || direction == Direction::kSendOnly;
}
bool Receives(Direction direction) {
  return direction == Direction::kBoth || direction == Direction::kReceiveOnly;
}

template <typename Options>
absl::Status CheckCommon(const char* name, const Options& options, DirectionTerms* send,
                         DirectionTerms* receive) {
  if (absl::Status s = CheckLimits(name, options.limits); !s.ok()) return s;
  absl::Status status =
      CheckDirection({name, "send"}, options.send, options.limits, Sends(options.direction), send);
  if (!status.ok()) return status;
  status = CheckDirection({name, "receive"}, options.receive, options.limits,
                          Receives(options.direction), receive);
  if (!status.ok()) return status;
  const Field field = {name, ""};
  if (options.format.size() > kMaxFormatBytes) {
    return field.Wrong("format has " + std::to_string(options.format.size()) +
                       " bytes; allowed: up to " + std::to_string(kMaxFormatBytes));
  }
  if (options.trust && options.trust.reason().empty()) {
    return field.Wrong("trust has no reason; allowed: PeerTrust::Because with a sentence");
  }
  if (options.doorbell == DoorbellKind::kEventfd && !options.trust) {
    return field.Wrong(
        "doorbell is kEventfd; allowed only with a `trust`, because the peer could block our "
        "writes");
  }
  return absl::OkStatus();
}

// Whether an eventfd may be offered or chosen; kUnimplemented if it is demanded and can't be used.
template <typename Options>
absl::StatusOr<bool> MayUseEventfds(const Options& options) {
  const bool wanted =
      options.doorbell == DoorbellKind::kEventfd || options.doorbell == DoorbellKind::kAutomatic;
  if (!wanted || !options.trust) return false;
  const absl::StatusOr<bool> works = EventfdCountsCanBeTaken();
  if (!works.ok()) return works.status();
  if (!*works && options.doorbell == DoorbellKind::kEventfd) {
    return absl::UnimplementedError(
        "doorbell is kEventfd, and this system can't read an eventfd without waiting (preadv2 with "
        "RWF_NOWAIT; Linux 5.8, or a system call filter that allows it)");
  }
  return works;
}

}  // namespace

absl::StatusOr<CheckedAcceptOptions> CheckedAcceptOptions::Make(AcceptOptions options) {
  options.limits.max_capacity_bytes = AtLeastAPage(options.limits.max_capacity_bytes);
  CheckedAcceptOptions checked(std::move(options));
  const AcceptOptions& given = checked.options_;
  absl::Status status = CheckCommon("AcceptOptions", given, &checked.send_, &checked.receive_);
  if (!status.ok()) return status;
  const absl::StatusOr<bool> eventfds = MayUseEventfds(given);
  if (!eventfds.ok()) return eventfds.status();
  checked.may_use_eventfds_ = *eventfds;
  if (given.direction == Direction::kNone && given.broadcast == nullptr) {
    return absl::InvalidArgumentError(
        "AcceptOptions::direction is kNone; allowed only with a `broadcast`");
  }
  const bool asked_for = given.fences == FenceMode::kAsymmetric;
  // Makes itself slow for a peer that skips its fences: asked for, or for a trusted one.
  checked.may_make_barrier_ =
      (asked_for || (given.fences == FenceMode::kAutomatic && given.trust)) &&
      SystemWideBarrierWorks();
  checked.may_skip_fences_ = asked_for && RegisterForBarriers();
  return checked;
}

absl::StatusOr<CheckedConnectOptions> CheckedConnectOptions::Make(ConnectOptions options) {
  std::vector<uint16_t>& kinds = options.broadcast_kinds;
  std::sort(kinds.begin(), kinds.end());
  const bool twice = std::adjacent_find(kinds.begin(), kinds.end()) != kinds.end();
  if (kinds.size() > kMaxSections || twice || (!kinds.empty() && kinds.front() == 0)) {
    return absl::InvalidArgumentError("ConnectOptions::broadcast_kinds has " +
                                      std::to_string(kinds.size()) +
                                      "; allowed: up to 8, each at least 1 and once");
  }
  if (options.direction == Direction::kNone && kinds.empty()) {
    return absl::InvalidArgumentError(
        "ConnectOptions::direction is kNone; allowed only with `broadcast_kinds`");
  }
  options.limits.max_capacity_bytes = AtLeastAPage(options.limits.max_capacity_bytes);
  CheckedConnectOptions checked(std::move(options));
  const ConnectOptions& given = checked.options_;
  absl::Status status = CheckCommon("ConnectOptions", given, &checked.send_, &checked.receive_);
  if (!status.ok()) return status;
  const absl::StatusOr<bool> eventfds = MayUseEventfds(given);
  if (!eventfds.ok()) return eventfds.status();
  checked.may_use_eventfds_ = *eventfds;
  const bool asked_for = given.fences == FenceMode::kAsymmetric;
  checked.may_make_barrier_ = asked_for && SystemWideBarrierWorks();
  // Others can slow a registered process down.
  checked.may_skip_fences_ =
      (asked_for || (given.fences == FenceMode::kAutomatic && given.trust)) &&
      RegisterForBarriers();
  return checked;
}

}  // namespace parley

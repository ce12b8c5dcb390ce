// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/session.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

namespace parley {

RegionGeometry RegionOf(const DirectionSpec& direction) {
  return {direction.capacity_bytes, ArenaSectionBytes(direction.arena)};
}

RingGeometry RingOf(const DirectionSpec& direction) {
  return {direction.capacity_bytes, direction.max_message_bytes};
}

RegionLimits LimitsOf(FileRegistry* registry) {
  RegionLimits limits;
  limits.max_data_bytes = std::numeric_limits<uint64_t>::max();
  limits.max_frames_bytes = std::numeric_limits<uint64_t>::max();
  limits.registry = registry != nullptr ? registry : &FileRegistry::OfThisProcess();
  return limits;
}

Session::Session(Private, SessionTerms terms, OutgoingRegion outgoing, IncomingRegion incoming,
                 UniqueFd connection, std::optional<BroadcastView> broadcast)
    : terms_(std::move(terms)),
      outgoing_(std::move(outgoing)),
      incoming_(std::move(incoming)),
      broadcast_(std::move(broadcast)),
      connection_(std::move(connection)) {
  if (terms_.send) {
    send_.emplace();
    send_->ring = RingOf(*terms_.send);
    send_->data = outgoing_.data();
    send_->arena = terms_.send->arena;
    send_->arena_memory = outgoing_.frames();
  }
  if (terms_.receive) {
    receive_.emplace();
    receive_->ring = RingOf(*terms_.receive);
    receive_->data = incoming_.data();
    receive_->arena = terms_.receive->arena;
    receive_->arena_memory = incoming_.frames();
  }
}

void Session::DropDescriptors() {
  connection_.Reset();
  terms_.peer.pidfd.Reset();
  termination_.Wakes(nullptr, nullptr);
  if (send_) send_->doorbell.reset();
  if (receive_) receive_->doorbell.reset();
}

}  // namespace parley

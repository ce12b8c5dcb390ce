// SPDX-License-Identifier: Apache-2.0
#include "parley/testing/hostile_peer.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/own_memory.h"
#include "parley/channel/hostile_access.h"
#include "parley/os/check.h"
#include "parley/ring/layout.h"
#include "parley/ring/ring_types.h"
#include "parley/wait/layout.h"

namespace parley::testing {

HostilePeer::HostilePeer(const uint8_t* data, std::size_t size, ChannelPairOptions options)
    : script_(data, size) {
  const int kind = script_.Take8() % (options.futex ? 3 : 2);
  options.eventfd = kind == 1;
  options.futex = kind == 2;
  options.wait.max_spin = absl::ZeroDuration();
  options.wait.throttle_time = absl::Microseconds(1);
  auto pair = ChannelPair::Create(options);
  PARLEY_CHECK(pair.ok(), "HostilePeer: no channel; are descriptors or shared memory used up?");
  pair_ = *std::move(pair);
}

bool HostilePeer::Act() {
  if (!alive_ || script_.empty()) return false;
  switch (script_.Take8() % 16) {
    case 6:
      Send(script_.Take32(), script_.Take8());
      return true;
    case 7:
      Send(script_.Take8(), script_.Take16());
      return true;
    case 8:
      SendWithHeader(script_.Take64());
      return true;
    case 9:
      Move(kTailOffset, HostileAccess::Published(self().sender));
      return true;
    case 10:
      SetControlWord();
      return true;
    case 11:
      Rewrite();
      return true;
    case 12:
      Take();
      return true;
    case 13:
      Signal();
      return true;
    case 14:
      if (script_.Take8() % 2 == 0) {
        self().sender.Close();
        may_send_ = false;
      } else {
        self().receiver.Close();
        may_take_ = false;
      }
      return true;
    case 15:
      self() = Channel();
      alive_ = false;
      return true;
    default: {
      const uint32_t tag = script_.Take8();
      Send(tag, script_.Take8());
      return true;
    }
  }
}

void HostilePeer::Send(uint32_t tag, std::size_t size) {
  std::vector<std::byte> bytes = script_.TakeBytes(size);
  bytes.resize(std::min<std::size_t>(bytes.size(), self().sender.max_message_bytes()));
  if (may_send_) self().sender.TrySend(tag & kMaxTag, bytes);
}

// A record whose header says something else than what follows it.
void HostilePeer::SendWithHeader(uint64_t header) {
  const std::vector<std::byte> bytes = script_.TakeBytes(script_.Take8() % 64);
  const uint64_t at = HostileAccess::Published(self().sender);
  if (!may_send_ || self().sender.TryStage(0, bytes) != Outcome::kOk) return;
  HostileAccess::Data(self().sender)
      .StoreRelease64(at & (self().sender.capacity_bytes() - 1), header);
  self().sender.Publish();
}

// A position a few words beside the honest one, or one byte.
void HostilePeer::Move(std::size_t control_offset, uint64_t from) {
  const auto by = static_cast<uint64_t>(script_.TakeSigned8());
  HostileAccess::Control(self().sender)
      .StoreRelease64(control_offset, from + (script_.Take8() % 4 == 0 ? by : 8 * by));
  HostileAccess::DoorbellOf(self().sender).Signal();
}

void HostilePeer::SetControlWord() {
  constexpr std::array<std::size_t, 8> kWords = {
      kTailOffset,         kProducerStateOffset, kHeadOffset,        kConsumerStateOffset,
      kReceiveEpochOffset, kSendEpochOffset,     kDataSignalsOffset, kSpaceSignalsOffset};
  const std::size_t word = kWords[script_.Take8() % kWords.size()];
  HostileAccess::Control(self().sender).StoreRelease64(word, script_.Take64());
  HostileAccess::DoorbellOf(self().sender).Signal();
}

// Eight bytes anywhere in the ring: of a record that is on its way, or that the victim looks at.
void HostilePeer::Rewrite() {
  const uint64_t at = script_.Take16() * uint64_t{8} & (self().sender.capacity_bytes() - 1);
  HostileAccess::Data(self().sender).StoreRelease64(at, script_.Take64());
}

void HostilePeer::Take() {
  std::vector<std::byte> into(self().receiver.max_message_bytes());
  Record record;
  for (int i = script_.Take8(); i >= 0 && may_take_; --i) {
    if (self().receiver.TryReceive(absl::MakeSpan(into), &record) != Outcome::kOk) return;
  }
}

void HostilePeer::Signal() {
  for (int i = script_.Take8(); i >= 0; --i) {
    HostileAccess::DoorbellOf(self().sender).Signal();
    HostileAccess::DoorbellOf(self().receiver).Signal();
  }
}

}  // namespace parley::testing

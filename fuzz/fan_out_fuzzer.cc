// SPDX-License-Identifier: Apache-2.0

// Attacks a FrameFanOut with three receivers, each honest in some steps and hostile in others: it
// returns any use of any id, takes no records, scribbles over its cursor, leaves and comes back.
// The oracle: a frame that says that it is valid has the bytes that were sent, to everybody who did
// not say itself that it is done with it; the counters of each receiver add up after each step; and
// where our caller has no handle and nobody is waited for, any frame that the arena can hold is to
// be had.
//
// Input: the arena's size (1 byte), then steps: one byte each (modulo 8), followed by what it
// needs.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/own_memory.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/frames/frame_fan_out.h"
#include "parley/frames/frame_receiver.h"
#include "parley/frames/frame_wire.h"
#include "parley/fuzz/disposal_footprint.h"
#include "parley/fuzz/ended_channel.h"
#include "parley/os/check.h"
#include "parley/ring/layout.h"
#include "parley/ring/ring_types.h"
#include "parley/sealing/file_registry.h"
#include "parley/shm/arena_layout.h"
#include "parley/shm/broadcast.h"
#include "parley/testing/channel_pair.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using testing::Script;

constexpr int kMaxSteps = 200;
constexpr int kMaxAttached = 8;  // a pair is dear
constexpr std::size_t kReceivers = 3;

struct Held {
  InFrame frame;
  uint64_t number;  // what was written there
  uint32_t id;
  uint64_t generation;
};

struct Peer {
  std::unique_ptr<testing::ChannelPair> pair;
  std::optional<FrameReceiver> receiver;
  OwnMemory control;
  FanOutId id = 0;
  std::vector<Held> held;
  // What it said that it is done with, as (id, generation), and may yet have.
  std::set<std::pair<uint32_t, uint64_t>> said;
};

class Run {
 public:
  explicit Run(Script script) : script_(script) {
    arena_ = {uint64_t{4096} << (script_.Take8() % 4), 64};
    auto broadcast = Broadcast::Create({FramesSection(arena_)}, {.registry = &registry_});
    PARLEY_CHECK(broadcast.ok(), "a broadcast");
    broadcast_ = *std::move(broadcast);
    auto fan_out = FrameFanOut::Create(broadcast_);
    PARLEY_CHECK(fan_out.ok(), "a fan-out");
    fan_out_.emplace(*std::move(fan_out));
    for (Peer& peer : peers_) Attach(peer, {});
  }
  ~Run() {
    mine_.clear();
    for (Peer& peer : peers_) Leave(peer);
  }

  void Everything() {
    for (int i = 0; i < kMaxSteps && !script_.empty(); ++i) {
      Step(script_.Take8() % 8);
      ExpectWhole();
    }
  }

 private:
  void Attach(Peer& peer, const FanOutReceiverOptions& options) {
    if (++attached_ > kMaxAttached) return;
    testing::ChannelPairOptions pair;
    pair.ring = {4096, 256};
    pair.broadcast = broadcast_;
    pair.wait.max_spin = absl::ZeroDuration();
    auto made = testing::ChannelPair::Create(pair);
    PARLEY_CHECK(made.ok(), "a channel pair");
    peer.pair = *std::move(made);
    auto id = fan_out_->Attach(std::move(peer.pair->accepting()), options);
    auto receiver = FrameReceiver::Create(peer.pair->connecting());
    PARLEY_CHECK(id.ok() && receiver.ok(), "both ends");
    peer.id = *id;
    peer.receiver.emplace(*std::move(receiver));
    peer.control = HostileAccess::Control(peer.pair->connecting().receiver);
  }
  void Leave(Peer& peer) {
    if (peer.pair == nullptr) return;
    peer.held.clear();
    peer.receiver.reset();
    fan_out_->Detach(peer.id);
    peer = Peer();
  }

  void Step(int op) {
    Peer& peer = peers_[script_.Take8() % kReceivers];
    switch (op) {
      case 0:
      case 1:
        return Send();
      case 2:
        return Receive(peer);
      case 3:
        if (!peer.held.empty()) {
          peer.held.erase(peer.held.begin() +
                          static_cast<std::ptrdiff_t>(script_.Take8() % peer.held.size()));
        }
        return;
      case 4:
        return Say(peer);
      case 5:
        return Come(peer);
      case 6:  // handles of our caller's
        if (script_.Take8() % 2 == 0) {
          mine_.clear();
        } else if (mine_.size() < 3) {
          OutFrame frame;
          if (fan_out_->TryAcquire(script_.Take16(), &frame) == Outcome::kOk) {
            mine_.push_back(std::move(frame));
          }
        }
        return;
      case 7: {
        const uint8_t which = script_.Take8();
        bool lies = false;
        if (which % 4 == 0 && peer.pair != nullptr) {
          const uint64_t value = script_.Take64();
          lies = which % 8 != 0 && value != kStreamOpen && value != kStreamClosed;
          // SAFETY: a position that no honest receiver has.
          peer.control.StoreRelease64(which % 8 == 0 ? kHeadOffset : kConsumerStateOffset, value);
        } else if (which % 4 == 1) {
          fan_out_->SetPreamble(7, std::vector<std::byte>(which));
        }
        for (const FanOutEnd& end : fan_out_->TakeEnded()) {
          ExpectSums(end.stats);
          PARLEY_CHECK(!lies || end.id != peer.id || !absl::IsUnavailable(end.why),
                       "a lie that was a death");
        }
        PARLEY_CHECK(!lies || !fan_out_->stats(peer.id).ok(), "a lie that was not seen");
        return;
      }
    }
  }

  void Send() {
    const uint8_t bits = script_.Take8();
    const uint64_t size = script_.Take16() % (arena_.bytes + 1);
    OutFrame frame;
    const Outcome outcome = fan_out_->TryAcquire(size, &frame);
    if (outcome != Outcome::kOk) {
      PARLEY_CHECK(outcome == Outcome::kWouldBlock && (!mine_.empty() || Waits()),
                   "no frame, and nobody who is waited for has one");
      return;
    }
    const uint64_t number = ++number_;
    absl::Span<std::byte> bytes = frame.bytes();
    std::fill(bytes.begin(), bytes.end(), static_cast<std::byte>(number));
    std::array<std::byte, sizeof(number)> metadata;
    std::memcpy(metadata.data(), &number, sizeof(number));
    if ((bits & 1) != 0 && mine_.size() < 3) mine_.push_back(frame.Share());
    const uint32_t sent =
        fan_out_->Send(&frame, size, 3, metadata, (bits & 2) == 0, Deadline::After({}));
    PARLEY_CHECK(sent <= kReceivers && !frame, "sent to more than there are");
  }
  // Whether a receiver is there that is waited for.
  bool Waits() const {
    return std::any_of(peers_.begin(), peers_.end(), [&](const Peer& peer) {
      return peer.pair != nullptr && waits_.count(peer.id) != 0;
    });
  }

  void Receive(Peer& peer) {
    if (peer.pair == nullptr || peer.held.size() > 40) return;
    std::array<std::byte, 256> message;
    Record record;
    if (peer.pair->connecting().receiver.TryReceive(absl::MakeSpan(message), &record) !=
            Outcome::kOk ||
        record.tag == 7) {
      return;
    }
    PARLEY_CHECK(record.size_bytes == sizeof(FrameSentWire) + sizeof(uint64_t), "another record");
    FrameSentWire sent;
    std::memcpy(&sent, message.data(), sizeof(sent));
    Held held = {InFrame(), 0, sent.id, sent.generation};
    const Outcome outcome = peer.receiver->Open(
        record.tag, absl::MakeConstSpan(message).first(record.size_bytes), &held.frame);
    PARLEY_CHECK(outcome == Outcome::kOk || outcome == Outcome::kWouldBlock,
                 "a frame that can't be");
    if (outcome != Outcome::kOk) return;
    std::memcpy(&held.number, held.frame.metadata().data(), sizeof(held.number));
    peer.held.push_back(std::move(held));
  }

  // A word of any id, of any generation; often one that it has.
  void Say(Peer& peer) {
    const uint8_t bits = script_.Take8();
    uint32_t id = script_.Take8() % kMaxFrames;
    uint64_t generation = script_.Take8();
    if (peer.pair == nullptr) return;
    if ((bits & 1) != 0 && !peer.held.empty()) {
      const Held& held = peer.held[bits / 2 % peer.held.size()];
      id = held.id;
      generation = held.generation + ((bits & 64) != 0 ? 1 : 0);
    }
    peer.said.emplace(id, generation);
    peer.control.StoreRelease64(kFrameReturnsOffset + FrameReturnOffset(id), generation);
    if ((bits & 128) == 0) peer.control.StoreRelease64(kFrameReturnsOffset, --said_);
  }

  void Come(Peer& peer) {
    const uint8_t bits = script_.Take8();
    if (peer.pair != nullptr && bits % 4 == 0) {  // it dies
      peer.held.clear();
      peer.receiver.reset();
      EndNow(peer.pair->connecting());
      peer.control = OwnMemory();
      const auto dead = fan_out_->TakeEnded();
      PARLEY_CHECK(!fan_out_->stats(peer.id).ok(), "a death that was not seen");
      for (const FanOutEnd& end : dead) ExpectSums(end.stats);
    }
    if (attached_ >= kMaxAttached) {
      if (peer.pair != nullptr && !peer.receiver) Leave(peer);
      return;
    }
    Leave(peer);
    FanOutReceiverOptions options;
    options.when_full = static_cast<WhenFull>(bits / 4 % 3);
    options.max_frames = 1 + bits / 16 % 8;
    options.max_bytes = bits >= 128 ? arena_.bytes / 2 : 0;
    options.max_wait = absl::ZeroDuration();
    Attach(peer, options);
    if (options.when_full == WhenFull::kWait) waits_.insert(peer.id);
  }

  static void ExpectSums(const FanOutStats& s) {
    PARLEY_CHECK(s.offered == s.sent + s.dropped_before_key + s.dropped_newest + s.dropped_unread +
                                  s.dropped_timeout,
                 "frames that are not accounted for");
    PARLEY_CHECK(s.sent == s.returned + s.revoked + s.held, "frames that are lost");
  }
  void ExpectWhole() {
    for (const Peer& peer : peers_) {
      if (peer.pair == nullptr) continue;
      const auto stats = fan_out_->stats(peer.id);
      if (stats.ok()) ExpectSums(*stats);
      for (const Held& held : peer.held) {
        if (peer.said.count({held.id, held.generation}) != 0 || !held.frame.StillValid()) continue;
        std::vector<std::byte> bytes(held.frame.size_bytes());
        PARLEY_CHECK(held.frame.CopyOut(absl::MakeSpan(bytes)), "not valid any more");
        PARLEY_CHECK(
            std::all_of(bytes.begin(), bytes.end(),
                        [&](std::byte b) { return b == static_cast<std::byte>(held.number); }),
            "a frame was written over that somebody has");
      }
    }
    PARLEY_CHECK(fan_out_->lent_frames() <= kMaxFrames, "more uses than ids");
  }

  Script script_;
  FileRegistry registry_;
  ArenaGeometry arena_;
  std::shared_ptr<Broadcast> broadcast_;
  std::optional<FrameFanOut> fan_out_;
  std::array<Peer, kReceivers> peers_;
  std::set<FanOutId> waits_;
  std::vector<OutFrame> mine_;
  int attached_ = 0;
  uint64_t number_ = 0;
  uint64_t said_ = 0;
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  parley::fuzz::LeavesNothingAfterDisposal(
      [&] { parley::fuzz::Run(parley::testing::Script(data, size)).Everything(); });
  return 0;
}

// SPDX-License-Identifier: Apache-2.0

// Rows R12 and R16: frames and returns that can't be, of one receiver and of one among many.

#include <unistd.h>

#include <array>
#include <limits>
#include <string>
#include <vector>

#include "parley/frames/frame_wire.h"
#include "parley/ring/layout.h"
#include "parley/shm/arena_layout.h"
#include "parley/villain/case.h"
#include "parley/villain/raw_peer.h"
#include "parley/villain/victims.h"

namespace parley::villain {
namespace {

constexpr uint32_t kCaught = static_cast<uint32_t>(End::kPoisoned);
constexpr uint32_t kServed = static_cast<uint32_t>(End::kServed);
constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();

// Both halves of a peer with an arena: what it sends, and what it returns.
class Frames {
 public:
  explicit Frames(Attacker& a, bool in_broadcast = false)
      : attacker_(a), peer_(RawPeer::Connect(a, PlanOf(in_broadcast))) {
    // A careless victim knows no broadcast, and has an arena in any case.
    if (peer_.welcome.broadcast.empty() &&
        (peer_.welcome.send.arena.bytes == 0 || peer_.welcome.receive.arena.bytes == 0)) {
      a.CannotMount("the victim has no arena");
    }
  }

  // A record of 32 bytes, wherever the ring is.
  void Send(uint32_t id, uint64_t generation, uint64_t offset, uint64_t size) {
    peer_.Arena().Store(FrameLineOffset(id), generation);
    const std::array<uint64_t, 5> words = {RecordWord(sizeof(FrameSentWire), 7), id, generation,
                                           offset, size};
    for (const uint64_t word : words) {
      peer_.Data().Store(tail_ % kRingBytes, word);
      tail_ += 8;
    }
    peer_.own.Store(kTailOffset, tail_);
    peer_.RingBoth();
  }
  void Return(uint32_t id, uint64_t generation) {
    peer_.own.Store(kFrameReturnsOffset + FrameReturnOffset(id), generation);
    Published(++published_);
  }
  void Published(uint64_t count) const {
    peer_.own.Store(kFrameReturnsOffset, count);
    peer_.RingBoth();
  }
  // The next frame that the victim sends; false: none came in time.
  bool Take(uint32_t* id, uint64_t* generation) {
    while (peer_.theirs.Load(kTailOffset) == head_) {
      if (attacker_.until.Expired()) return false;
      ::usleep(50);
    }
    const auto word = [&](uint64_t i) {
      return peer_.TheirData().Load((head_ + 8 * i) % kRingBytes);
    };
    *id = static_cast<uint32_t>(word(1)) % kMaxFrames;
    *generation = word(2);
    head_ += 8 + ((word(0) & 0xffff'ffff) + 7) / 8 * 8;
    peer_.own.Store(kHeadOffset, head_);
    return true;
  }
  uint64_t taken() const { return peer_.theirs.Load(kHeadOffset); }
  uint64_t tail() const { return tail_; }

 private:
  static RawPeer::Plan PlanOf(bool in_broadcast) {
    RawPeer::Plan plan;
    if (in_broadcast) plan.hello.broadcast_kinds = {kSectionFrames};
    return plan;
  }

  Attacker& attacker_;
  const RawPeer peer_;
  uint64_t tail_ = 0;
  uint64_t head_ = 0;
  uint64_t published_ = 0;
};

AttackFunction OneFrame(uint32_t id, uint64_t generation, uint64_t offset, uint64_t size) {
  return [=](Attacker& a) {
    Frames frames(a);
    frames.Send(id, generation, offset, size);
    a.Mounted("sent a frame of " + std::to_string(size) + " bytes at " + std::to_string(offset));
    Attacker::Stay();
  };
}

// Takes the victim's frames as an honest receiver does, and gives them back with `give_back`.
template <typename GiveBack>
AttackFunction Receiver(const char* what, const GiveBack& give_back, bool in_broadcast = false) {
  return [=](Attacker& a) {
    Frames frames(a, in_broadcast);
    uint32_t id = 0;
    uint64_t generation = 0;
    while (frames.Take(&id, &generation)) {
      give_back(frames, id, generation);
      a.Mounted(what);
    }
    Attacker::Stay();
  };
}

// All of the arena under every id at once, over and over: a stream, whose frames cost what frames
// do, and so not without end.
void Overlap(Attacker& a) {
  constexpr uint64_t kTimes = 8;
  Frames frames(a);
  uint64_t generation = 0;
  for (uint32_t id = 0; !a.until.Expired(); id = (id + 1) % kMaxFrames) {
    if (id == 0 && ++generation > kTimes) break;
    const uint64_t offset = uint64_t{64} * (id % 8);
    frames.Send(id, generation, offset, kVictimArenaBytes - offset);
    a.Mounted("sends frames that lie on top of each other");
    uint32_t theirs = 0;
    uint64_t use = 0;
    if (!frames.Take(&theirs, &use)) break;
    frames.Return(theirs, use);
    while (frames.tail() - frames.taken() > kRingBytes / 2 && !a.until.Expired()) ::usleep(50);
  }
  Attacker::Stay();
}

void FloodOf(Attacker& a, bool in_broadcast) {
  Frames frames(a, in_broadcast);
  for (uint64_t count = 1;; count = count * 6364136223846793005u + 1) {
    for (uint32_t id = 0; id < kMaxFrames; ++id) frames.Return(id, kMost - count % 3);
    frames.Published(count);
    a.Mounted("returns what was never sent, at full speed");
  }
}

// Four times the same return.
void GiveTwice(Frames& frames, uint32_t id, uint64_t generation) {
  for (int i = 0; i < 4; ++i) frames.Return(id, generation);
}
void GiveStale(Frames& frames, uint32_t id, uint64_t generation) {
  for (const uint64_t other : {generation - 1, generation + 1, generation + 7}) {
    frames.Return(id, other);
  }
}
void GiveNever(Frames& /*frames*/, uint32_t /*id*/, uint64_t /*generation*/) {}

}  // namespace

std::vector<Case> FrameCases() {
  VictimSetup victim;
  victim.kind = VictimKind::kFrames;
  constexpr uint64_t kFar = uint64_t{1} << 40;
  return {
      {"frame-outside", "R12", "a frame outside of the arena", victim, OneFrame(0, 1, kFar, 64),
       kCaught},
      {"frame-absurd", "R12", "a frame as long as can be", victim, OneFrame(0, 1, 0, kMost),
       kCaught},
      {"frame-overflow", "R12", "a frame whose end is in front of its beginning", victim,
       OneFrame(0, 1, kMost - kFar + 1, kFar), kCaught},
      {"frames-overlap", "R12", "frames that lie on top of each other", victim, Overlap, kServed},
      {"frame-returned-twice", "R12", "each frame returned again and again", victim,
       Receiver("returns each frame four times", GiveTwice), kServed},
      {"frame-returned-stale", "R12", "returns of uses that are over, and of those to come", victim,
       Receiver("returns other uses than were sent", GiveStale), kServed},
      {"frame-never-returned", "R12", "frames that never come back", victim,
       Receiver("keeps all frames", GiveNever), kServed},
      // Who signals at full speed as well may be ended for that.
      {"return-flood", "R12", "returns of everything, at full speed", victim,
       [](Attacker& a) { FloodOf(a, false); }, End::kPoisoned | End::kServed},
  };
}

std::vector<Case> FanOutCases() {
  VictimSetup victim;
  victim.kind = VictimKind::kFrames;
  victim.fan_out = true;
  return {
      {"fan-out-returned-twice", "R16", "one of many returns each frame again and again", victim,
       Receiver("returns each frame four times", GiveTwice, true), kServed},
      {"fan-out-returned-stale", "R16", "one of many returns uses that are over, and those to come",
       victim, Receiver("returns other uses than were sent", GiveStale, true), kServed},
      {"fan-out-never-returned", "R16", "one of many keeps all that it gets", victim,
       Receiver("keeps all frames", GiveNever, true), kServed},
      {"fan-out-return-flood", "R16", "one of many returns everything, at full speed", victim,
       [](Attacker& a) { FloodOf(a, true); }, End::kPoisoned | End::kServed},
  };
}

}  // namespace parley::villain

// SPDX-License-Identifier: Apache-2.0

// Attacks a FramePort with a hostile peer: records of any content about frames that exist or not,
// right ones in any order, and generations rewritten in its own region, between any of our caller's
// calls. A model, which knows the rules of docs/SPEC.md section 10 and keeps for each frame who has
// it, says what every call must answer; and what the port tells the peer must be what the model has
// given back.
//
// Input: how many frames each side has (1 byte), then steps: one byte each (modulo 12), followed by
// what it needs.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/channel.h"
#include "parley/frames/frame_port.h"
#include "parley/frames/frame_wire.h"
#include "parley/fuzz/footprint.h"
#include "parley/os/check.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/frame_layout.h"
#include "parley/testing/channel_pair.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using testing::Script;

constexpr int kMaxSteps = 300;
constexpr uint64_t kFrameBytes = 4096;

// What is known of one frame of the port's.
struct Ours {
  enum class State : uint8_t { kFree, kAcquired, kLent } state = State::kFree;
  uint64_t sent = 0;      // how often
  uint64_t returned = 0;  // the newest return
};
// And of one of the peer's.
struct Theirs {
  uint64_t newest = 0;   // announced and taken in
  bool waiting = false;  // for our caller to receive it
  bool held = false;     // received, or waiting
  uint64_t size = 0;
  std::vector<std::byte> metadata;
};

class Run {
 public:
  explicit Run(Script script) : script_(script) {
    const uint8_t shape = script_.Take8();
    testing::ChannelPairOptions options;
    count_ = 1 + shape % 4u;
    options.eventfd = (shape & 128) != 0;
    options.ring = {8192, 1024, {count_, kFrameBytes}};
    options.wait.max_spin = absl::ZeroDuration();
    options.wait.throttle_time = absl::Microseconds(1);
    auto pair = testing::ChannelPair::Create(options);
    PARLEY_CHECK(pair.ok(), "a channel pair");
    pair_ = *std::move(pair);
    auto port = FramePort::Create(&pair_->accepting());
    PARLEY_CHECK(port.ok(), "a port");
    port_.emplace(*std::move(port));
  }

  void Everything() {
    for (int i = 0; i < kMaxSteps && !script_.empty(); ++i) {
      Step(script_.Take8() % 12);
      Hear();
      if (poisoned_) continue;
      PARLEY_CHECK(port_->lent_frames() == lent_.size() && port_->free_frames() == Free(),
                   "another idea of who has the frames");
    }
    for (int i = 0; i < 8; ++i) Receive();
  }

 private:
  Channel& Peer() { return pair_->connecting(); }

  void Step(int op) {
    switch (op) {
      case 0:
        return SayAnything();
      case 1:
      case 2:
        return SaySent();
      case 3:
      case 4:
        return SayReturned();
      case 5:
        return Acquire();
      case 6:
        return Send();
      case 7:
        return Receive();
      case 8:
        return Return();
      case 9:
        return Revoke();
      case 10:
        return Scribble();
      case 11:
        return Rest(script_.Take8());
    }
  }

  // --- the peer

  void Say(std::vector<std::byte> record) {
    if (silent_) return;
    if (Peer().sender.TrySend(0, record) == Outcome::kOk) {
      said_.push_back(std::move(record));
    }
  }
  void SayAnything() { Say(script_.TakeBytes(script_.Take16() % 330)); }
  void SaySent() {
    const uint8_t bits = script_.Take8();
    const uint32_t slot = bits % 8 == 7 ? script_.Take16() : bits % 8 % count_;
    uint64_t generation = announced_[slot % kMaxFrames] + 1;
    if ((bits & 8) != 0) generation += script_.Take8() % 3;
    if ((bits & 0x90) == 0x90) generation = script_.Take64();
    uint64_t size = script_.Take16() % (kFrameBytes + 1);
    if ((bits & 0x60) == 0x60) size = script_.Take64();
    announced_[slot % kMaxFrames] = generation;
    const auto header = WireBytes(FrameSentWire{kFrameSent, slot, generation, size});
    std::vector<std::byte> record(header.begin(), header.end());
    record.resize(record.size() + script_.Take8() % 90, std::byte{bits});
    Say(std::move(record));
  }
  void SayReturned() {
    const uint8_t bits = script_.Take8();
    const uint32_t slot = bits % 8 == 7 ? script_.Take16() : bits % 8 % count_;
    uint64_t generation = slot < count_ ? ours_[slot].sent : 1;
    if ((bits & 8) != 0) generation -= script_.Take8() % 3;
    if ((bits & 0x90) == 0x90) generation = script_.Take64();
    const auto record = WireBytes(FrameReturnedWire{kFrameReturned, slot, generation});
    Say({record.begin(), record.end()});
  }
  // The peer's own memory: bytes and generations of its frames.
  void Scribble() {
    OwnMemory frames = Peer().sender ? Peer().sender.frame_memory() : OwnMemory();
    const uint64_t at = uint64_t{script_.Take16()} * 8;
    const uint64_t value = script_.Take64();
    if (at + 8 <= frames.size_bytes()) frames.StoreRelease64(at, value);
  }
  void Rest(uint8_t which) {
    switch (which % 16) {
      case 0:
        if (Peer().sender) Peer().sender.Close();
        silent_ = true;
        return;
      case 1:
        Peer() = Channel();
        silent_ = true;
        return;
      case 2: {  // the event loop's question changes nothing
        const bool nothing = port_->PrepareToWait();
        PARLEY_CHECK(!nothing || Waiting() == 0, "told to wait for frames that are there");
        return;
      }
      case 3:
        return Discard();
      case 4:
        port_->Close();
        closed_ = true;
        return;
      default:
        return;
    }
  }

  // --- what the rules make of it

  static uint64_t Word(const std::vector<std::byte>& bytes, std::size_t at, std::size_t size) {
    uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      value |= uint64_t{std::to_integer<uint8_t>(bytes[at + i])} << (8 * i);
    }
    return value;
  }

  // Takes the next record of the peer's; false: it is a lie.
  bool TakeIn() {
    const std::vector<std::byte> record = std::move(said_.front());
    said_.pop_front();
    if (record.size() < 16) return false;
    const uint64_t kind = Word(record, 0, 4);
    const uint64_t slot = Word(record, 4, 4);
    const uint64_t generation = Word(record, 8, 8);
    if (slot >= count_) return false;
    if (record.size() == 16) {
      Ours& frame = ours_[slot];
      if (kind != 2 || generation <= frame.returned || generation > frame.sent) return false;
      frame.returned = generation;
      if (generation == frame.sent && frame.state == Ours::State::kLent) {
        frame.state = Ours::State::kFree;
        lent_.erase(slot);
      }
      return true;
    }
    if (record.size() < 24 || record.size() > 24 + 256) return false;
    Theirs& frame = theirs_[slot];
    const uint64_t size = Word(record, 16, 8);
    if (kind != 1 || size > kFrameBytes || generation <= frame.newest) return false;
    if (frame.held) ++taken_back_;
    owed_.erase(static_cast<uint32_t>(slot));
    frame.newest = generation;
    frame.size = size;
    frame.metadata.assign(record.begin() + 24, record.end());
    frame.held = true;
    if (!frame.waiting) queue_.push_back(static_cast<uint32_t>(slot));
    frame.waiting = true;
    return true;
  }

  // Takes records in until `have`; what a Try call answers.
  template <typename Have>
  Outcome Expected(Have have) {
    if (poisoned_) return Outcome::kPoisoned;
    for (int taken = 0; !have(); ++taken) {
      if (taken == FramePort::kMaxRecordsPerCall) return Outcome::kWouldBlock;
      if (said_.empty()) return Outcome::kWouldBlock;  // or the end, which is not told apart here
      if (!TakeIn()) {
        poisoned_ = true;
        return Outcome::kPoisoned;
      }
    }
    return Outcome::kOk;
  }
  void ExpectSame(Outcome got, Outcome expected) {
    if (got == Outcome::kClosed) got = Outcome::kWouldBlock;
    PARLEY_CHECK(got == expected, "another answer than the rules give");
    PARLEY_CHECK((port_->violation() != Violation::kNone) == poisoned_, "poisoned or not");
  }
  std::size_t Waiting() const { return queue_.size(); }
  uint32_t Free() const {
    uint32_t free = 0;
    for (uint32_t i = 0; i < count_; ++i) free += ours_[i].state == Ours::State::kFree ? 1 : 0;
    return free;
  }

  // --- our caller

  void Acquire() {
    WritableFrame frame;
    const Outcome expected = Expected([&] { return Free() != 0; });
    ExpectSame(port_->TryAcquire(&frame), expected);
    if (expected != Outcome::kOk) return;
    PARLEY_CHECK(frame.slot < count_ && ours_[frame.slot].state == Ours::State::kFree,
                 "a frame that is not free");
    PARLEY_CHECK(frame.bytes.size() == kFrameBytes, "a frame of another length");
    for (std::size_t i = 0; i < frame.bytes.size(); i += 64) frame.bytes[i] = std::byte{1};
    frame.bytes.back() = std::byte{1};
    ours_[frame.slot].state = Ours::State::kAcquired;
    acquired_.push_back(frame);
  }
  void Send() {
    const uint64_t used = script_.Take16() % (kFrameBytes + 1);
    if (acquired_.empty() || closed_) return;
    const WritableFrame frame = acquired_.back();
    const std::array<std::byte, 5> metadata = {std::byte{7}};
    const Outcome outcome = port_->TrySend(frame, used, 3, metadata);
    if (poisoned_) PARLEY_CHECK(outcome == Outcome::kPoisoned, "sent on a poisoned channel");
    if (outcome != Outcome::kOk) return;
    acquired_.pop_back();
    Ours& ours = ours_[frame.slot];
    ours.state = Ours::State::kLent;
    ++ours.sent;
    lent_[frame.slot] = ++order_;
    told_.push_back({kFrameSent, frame.slot, ours.sent});
  }
  void Discard() {
    if (acquired_.empty()) return;
    port_->Discard(acquired_.back());
    ours_[acquired_.back().slot].state = Ours::State::kFree;
    acquired_.pop_back();
  }
  void Revoke() {
    PARLEY_CHECK(port_->lent_frames() == lent_.size(), "how many are lent");
    PARLEY_CHECK(port_->RevokeOldest() == !lent_.empty(), "revoked or not");
    if (lent_.empty()) return;
    auto oldest = lent_.begin();
    for (auto it = lent_.begin(); it != lent_.end(); ++it) {
      if (it->second < oldest->second) oldest = it;
    }
    ours_[oldest->first].state = Ours::State::kFree;
    lent_.erase(oldest);
  }
  void Receive() {
    ReceivedFrame frame;
    const Outcome expected = Expected([&] { return !queue_.empty(); });
    ExpectSame(port_->TryReceive(&frame), expected);
    if (expected != Outcome::kOk) return;
    const uint32_t slot = queue_.front();
    queue_.pop_front();
    Theirs& theirs = theirs_[slot];
    theirs.waiting = false;
    PARLEY_CHECK(frame.slot == slot && frame.generation == theirs.newest &&
                     frame.view.size_bytes() == theirs.size,
                 "another frame than was announced");
    PARLEY_CHECK(std::equal(frame.metadata.begin(), frame.metadata.end(), theirs.metadata.begin(),
                            theirs.metadata.end()),
                 "other metadata");
    std::vector<std::byte> bytes(frame.view.size_bytes());
    frame.view.CopyTo(0, absl::MakeSpan(bytes));  // all of it can be read
    static_cast<void>(port_->StillValid(frame));
    received_.push_back(frame);
  }
  void Return() {
    const std::size_t which = script_.Take8();
    if (received_.empty()) return;
    const auto at = received_.begin() + static_cast<std::ptrdiff_t>(which % received_.size());
    const ReceivedFrame frame = *at;
    received_.erase(at);
    Theirs& theirs = theirs_[frame.slot];
    const bool ours_still = frame.generation == theirs.newest;
    if (!ours_still) PARLEY_CHECK(!port_->StillValid(frame), "valid, though it was sent anew");
    port_->Return(frame);
    if (!ours_still) return;
    theirs.held = false;
    if (!closed_) owed_[frame.slot] = frame.generation;
  }

  // What the port says to the peer.
  void Hear() {
    if (!Peer().receiver) return;
    std::vector<std::byte> buffer(1024);
    Record record;
    while (Peer().receiver.TryReceive(absl::MakeSpan(buffer), &record) == Outcome::kOk) {
      buffer.resize(record.size_bytes);
      PARLEY_CHECK(buffer.size() >= 16, "a record that is none of ours");
      const auto slot = static_cast<uint32_t>(Word(buffer, 4, 4));
      const uint64_t generation = Word(buffer, 8, 8);
      if (Word(buffer, 0, 4) == kFrameSent) {
        PARLEY_CHECK(!told_.empty() && told_.front().slot == slot &&
                         told_.front().generation == generation && buffer.size() == 24 + 5,
                     "another frame than was sent");
        told_.pop_front();
      } else {
        const auto owed = owed_.find(slot);
        PARLEY_CHECK(buffer.size() == 16 && Word(buffer, 0, 4) == kFrameReturned &&
                         owed != owed_.end() && owed->second == generation,
                     "a return that nobody made");
        owed_.erase(owed);
      }
      buffer.resize(1024);
    }
    if (!poisoned_) {
      PARLEY_CHECK(told_.empty() && owed_.empty(), "something was not told");
      PARLEY_CHECK(port_->stats().taken_back == taken_back_, "taken back");
    }
  }

  struct Told {
    uint32_t kind;
    uint32_t slot;
    uint64_t generation;
  };

  Script script_;
  uint32_t count_ = 0;
  std::unique_ptr<testing::ChannelPair> pair_;
  std::optional<FramePort> port_;
  std::array<Ours, kMaxFrames> ours_ = {};
  std::array<Theirs, kMaxFrames> theirs_ = {};
  std::array<uint64_t, kMaxFrames> announced_ = {};
  std::deque<std::vector<std::byte>> said_;  // by the peer, not taken in
  std::deque<uint32_t> queue_;               // frames for our caller
  std::map<uint64_t, uint64_t> lent_;        // slot, and when
  std::map<uint32_t, uint64_t> owed_;        // returns that the peer has to hear of
  std::deque<Told> told_;                    // and frames
  std::vector<WritableFrame> acquired_;
  std::vector<ReceivedFrame> received_;
  uint64_t order_ = 0;
  uint64_t taken_back_ = 0;
  bool poisoned_ = false;
  bool silent_ = false;  // the peer has closed, or is gone
  bool closed_ = false;  // our caller has
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  parley::fuzz::LeavesNothing(
      [&] { parley::fuzz::Run(parley::testing::Script(data, size)).Everything(); });
  return 0;
}

// SPDX-License-Identifier: Apache-2.0

// Attacks a FrameSender and a FrameReceiver of one process with a hostile peer: records of any
// content about frames that can be or not, words that return any use of any id or none, and its own
// arena rewritten, between any of our caller's calls. A model, which knows the rules of section 10
// of docs/SPEC.md, says what the receiver must answer to the last bit, and what the sender must not
// do: write over a frame that nobody has let go of, or lose one that everybody has.
//
// Input: the arena's size and alignment (1 byte), then steps: one byte each (modulo 12), followed
// by what it needs.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/frames/frame_receiver.h"
#include "parley/frames/frame_sender.h"
#include "parley/frames/frame_wire.h"
#include "parley/fuzz/disposal_footprint.h"
#include "parley/fuzz/ended_channel.h"
#include "parley/os/check.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/arena_layout.h"
#include "parley/testing/channel_pair.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using testing::Script;

constexpr int kMaxSteps = 300;

// A use of an id that we sent, as the peer knows it.
struct OurUse {
  uint32_t id;
  uint64_t generation;
  uint64_t offset;
  bool may_be_returned;  // its word had this generation at some time
};
// What is known of one of the peer's ids.
struct TheirId {
  uint64_t newest = 0;    // announced and taken in
  bool held = false;      //
  uint64_t returned = 0;  // the word that the peer sees
};
struct Received {
  InFrame frame;
  uint32_t id;
  uint64_t generation;
};

class Run {
 public:
  explicit Run(Script script) : script_(script) {
    const uint8_t shape = script_.Take8();
    testing::ChannelPairOptions options;
    arena_ = {uint64_t{4096} << (shape % 4), 64u << std::min(shape / 4 % 8, 6)};
    options.eventfd = (shape & 128) != 0;
    opens_ = (shape & 64) != 0;
    options.ring = {8192, 1024, arena_};
    options.wait.max_spin = absl::ZeroDuration();
    options.wait.throttle_time = absl::Microseconds(1);
    auto pair = testing::ChannelPair::Create(options);
    PARLEY_CHECK(pair.ok(), "a channel pair");
    pair_ = *std::move(pair);
    base_ = pair_->accepting().sender.arena_memory().Writable(kFrameTableBytes, 0).data();
    auto sender = FrameSender::Create(pair_->accepting());
    auto receiver = FrameReceiver::Create(pair_->accepting());
    PARLEY_CHECK(sender.ok() && receiver.ok(), "both ends");
    sender_.emplace(*std::move(sender));
    receiver_.emplace(*std::move(receiver));
    lines_ = Peer().sender.arena_memory();
    words_ =
        HostileAccess::Control(Peer().receiver).Part(kFrameReturnsOffset, sizeof(FrameReturnsWire));
    seen_lines_ = Peer().receiver.arena_memory();
    seen_words_ = HostileAccess::PeerControl(Peer().sender)
                      .Part(kFrameReturnsOffset, sizeof(FrameReturnsWire));
  }

  void Everything() {
    for (int i = 0; i < kMaxSteps && !script_.empty(); ++i) {
      Step(script_.Take8() % 12);
      ExpectAccounts();
    }
    for (int i = 0; i < 8; ++i) Receive(/*latest=*/false);
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
        return Receive(/*latest=*/false);
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
    if (Peer().sender.TrySend(0, record) == Outcome::kOk) said_.push_back(std::move(record));
  }
  void SayAnything() { Say(script_.TakeBytes(script_.Take16() % 330)); }
  void SaySent() {
    const uint8_t bits = script_.Take8();
    const uint32_t id = bits % 8 == 7 ? script_.Take16() : bits % 8;
    uint64_t generation = announced_[id % kMaxFrames] + 1;
    if ((bits & 8) != 0) generation += script_.Take8() % 3;
    if ((bits & 0x90) == 0x90) generation = script_.Take64();
    uint64_t offset = script_.Take8() * uint64_t{arena_.alignment} % (arena_.bytes + 1);
    uint64_t size = script_.Take16() % (arena_.bytes - offset + 1);
    if ((bits & 0x60) == 0x60) size = script_.Take64();
    if ((bits & 0x60) == 0x40) offset = script_.Take64();
    announced_[id % kMaxFrames] = generation;
    if ((bits & 0x60) != 0x20) StoreLine(id % kMaxFrames, generation);
    const auto header = WireBytes(FrameSentWire{id, bits % 3u, generation, offset, size});
    std::vector<std::byte> record(header.begin(), header.end());
    record.resize(record.size() + script_.Take8() % 90, std::byte{bits});
    Say(std::move(record));
  }
  void StoreLine(uint32_t id, uint64_t generation) {
    if (silent_) return;
    lines_.StoreRelease64(FrameLineOffset(id), generation);
    their_lines_[id] = generation;
  }
  void SayReturned() {
    const uint8_t bits = script_.Take8();
    const uint32_t id = bits % 8 == 7 ? script_.Take16() % kMaxFrames : bits % 8;
    uint64_t generation = generations_[id];
    if ((bits & 8) != 0) generation -= script_.Take8() % 3;
    if ((bits & 0x90) == 0x90) generation = script_.Take64();
    StoreWord(id, generation, (bits & 0x60) != 0x60);
  }
  void StoreWord(uint32_t id, uint64_t generation, bool publish) {
    if (silent_) return;
    words_.StoreRelease64(FrameReturnOffset(id), generation);
    // A return that is taken back may have been seen.
    for (const OurUse& use : lent_) {
      if (use.id == id && use.generation == our_words_[id] && generation != our_words_[id]) {
        clean_ = false;
      }
    }
    our_words_[id] = generation;
    for (OurUse& use : lent_) {
      if (use.id == id && use.generation == generation) use.may_be_returned = true;
    }
    if (publish) {
      words_.StoreRelease64(0, ++published_);
    } else {
      clean_ = false;
    }
  }
  // The peer's own memory: its frames, their lines, its words.
  void Scribble() {
    const uint32_t at = script_.Take16();
    const uint64_t value = script_.Take64();
    if (silent_) return;
    if (at % 4 == 0) {
      StoreLine(at / 4 % kMaxFrames, value);
    } else if (at % 4 == 1) {
      StoreWord(at / 4 % kMaxFrames, value, /*publish=*/false);
    } else if (at % 4 == 2) {
      words_.StoreRelease64(0, value);
      published_ = value;
      clean_ = false;
    } else {
      lines_.StoreRelease64(kFrameTableBytes + at / 4 * 8 % arena_.bytes, value);
    }
  }
  void Rest(uint8_t which) {
    switch (which % 16) {
      case 0:
        if (Peer().sender) Peer().sender.Close();
        silent_ = true;
        return;
      case 1:
        EndNow(Peer());
        silent_ = gone_ = true;
        return;
      case 2: {  // the event loop's question changes nothing
        const bool nothing = receiver_->PrepareToWait();
        PARLEY_CHECK(!nothing || said_.empty() || poisoned_, "told to wait for what is there");
        const bool sleeps = sender_->PrepareToWait(100);
        PARLEY_CHECK(!sleeps || !told_of_end_, "told to wait for one that has ended");
        if (gone_) told_of_end_ |= !sender_->FinishWait(100).ok();
        return;
      }
      case 3:
        return Discard();
      case 4:
        sender_->Close();
        closed_ = true;
        return;
      case 5:
        return Share();
      case 6:
        return Receive(/*latest=*/true);
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

  // Takes the next record of the peer's. kPoisoned: it is a lie; kWouldBlock: it was taken back.
  Outcome TakeIn() {
    taken_ = std::move(said_.front());
    said_.pop_front();
    if (taken_.size() < 32 || taken_.size() > 32 + 256) return Outcome::kPoisoned;
    const uint64_t id = Word(taken_, 0, 4);
    const uint64_t generation = Word(taken_, 8, 8);
    const uint64_t offset = Word(taken_, 16, 8);
    const uint64_t size = Word(taken_, 24, 8);
    if (id >= kMaxFrames || generation <= theirs_[id].newest || offset > arena_.bytes ||
        size > arena_.bytes - offset || offset % arena_.alignment != 0) {
      return Outcome::kPoisoned;
    }
    TheirId& theirs = theirs_[id];
    if (theirs.held) ++taken_back_;
    theirs.newest = generation;
    theirs.held = their_lines_[id] == generation;
    if (theirs.held) return Outcome::kOk;
    ++taken_back_;
    return Outcome::kWouldBlock;
  }

  void ExpectFrame(const InFrame& frame) {
    PARLEY_CHECK(
        frame.size_bytes() == Word(taken_, 24, 8) && frame.dropped_before() == Word(taken_, 4, 4),
        "another frame than was announced");
    PARLEY_CHECK(std::equal(frame.metadata().begin(), frame.metadata().end(), taken_.begin() + 32,
                            taken_.end()),
                 "other metadata");
    const auto address =
        // SAFETY: the number alone is looked at.
        reinterpret_cast<uintptr_t>(frame.view().BytesThatThePeerMayRewriteAtAnyTime());
    PARLEY_CHECK(address % arena_.alignment == 0, "not aligned");
    std::vector<std::byte> bytes(frame.size_bytes());
    // All of it can be read. Of several that are taken in at once, a later use of its id may be
    // over.
    const auto id = static_cast<uint32_t>(Word(taken_, 0, 4));
    PARLEY_CHECK(frame.CopyOut(absl::MakeSpan(bytes)) == IsValid(id, Word(taken_, 8, 8)),
                 "valid or not");
  }

  bool IsValid(uint32_t id, uint64_t generation) const {
    const TheirId& theirs = theirs_[id];
    return !poisoned_ && theirs.held && theirs.newest == generation &&
           their_lines_[id] == generation;
  }

  // What holds after each step.
  void ExpectAccounts() {
    PARLEY_CHECK((receiver_->violation() != Violation::kNone) == poisoned_, "poisoned or not");
    PARLEY_CHECK(receiver_->stats().taken_back == taken_back_, "taken back");
    if (gone_) return;
    Hear();
    for (uint32_t id = 0; id < kMaxFrames; ++id) {
      PARLEY_CHECK(seen_words_.LoadAcquire64(FrameReturnOffset(id)).AnyValueIsAcceptable() ==
                       theirs_[id].returned,
                   "another use was returned");
    }
    PARLEY_CHECK(seen_words_.LoadAcquire64(0).AnyValueIsAcceptable() == returns_,
                 "returns that nobody made, or none");
  }
  // What we say to the peer is one record for each frame that was sent.
  void Hear() {
    std::vector<std::byte> buffer(1024);
    Record record;
    while (Peer().receiver.TryReceive(absl::MakeSpan(buffer), &record) == Outcome::kOk) {
      PARLEY_CHECK(expected_.has_value() && record.size_bytes == 32 + 5, "a record of no frame");
      const auto id = static_cast<uint32_t>(Word(buffer, 0, 4));
      PARLEY_CHECK(id < kMaxFrames, "an id that is none");
      for (const OurUse& use : lent_) {
        PARLEY_CHECK(use.id != id || use.may_be_returned, "an id that is out");
      }
      std::erase_if(lent_, [id](const OurUse& use) { return use.id == id; });
      PARLEY_CHECK(Word(buffer, 8, 8) == ++generations_[id], "another generation");
      PARLEY_CHECK(Word(buffer, 4, 4) == dropped_, "another count of what was dropped");
      PARLEY_CHECK(
          Word(buffer, 16, 8) == expected_->first && Word(buffer, 24, 8) == expected_->second,
          "another frame than was sent");
      PARLEY_CHECK(
          seen_lines_.LoadAcquire64(FrameLineOffset(id)).AnyValueIsAcceptable() == generations_[id],
          "the line of another use");
      // Returned before it was sent: it is noticed with the next return, or never.
      const bool in_advance = our_words_[id] == generations_[id];
      if (in_advance) clean_ = false;
      lent_.push_back({id, generations_[id], expected_->first, in_advance});
      dropped_ = 0;
      expected_.reset();
    }
    PARLEY_CHECK(!expected_.has_value(), "a frame that was not told");
  }

  // --- our caller

  struct Mine {
    OutFrame frame;
    uint64_t offset;
    uint64_t size;
    bool was_sent;
  };
  uint64_t Rounded(uint64_t size) const {
    return (std::max<uint64_t>(size, 1) + arena_.alignment - 1) / arena_.alignment *
           arena_.alignment;
  }

  void Acquire() {
    const uint64_t size = script_.Take16() % (arena_.bytes + 100);
    Mine mine = {};
    const Outcome outcome = sender_->TryAcquire(size, &mine.frame);
    if (poisoned_) {
      PARLEY_CHECK(outcome == Outcome::kPoisoned, "acquired on a poisoned channel");
      return;
    }
    if (size > arena_.bytes) {
      PARLEY_CHECK(outcome == Outcome::kTooLong, "a frame that is longer than the arena");
      return;
    }
    PARLEY_CHECK(outcome != Outcome::kWouldBlock || !told_of_end_, "not yet, after the end");
    if (outcome != Outcome::kOk) {
      PARLEY_CHECK(outcome == Outcome::kWouldBlock || gone_ || silent_, "no reason to end");
      told_of_end_ |= outcome == Outcome::kClosed;
      if (!clean_ || gone_) return;
      // Every return was looked at, and what is left is in pieces: the allocator's bound.
      std::erase_if(lent_,
                    [this](const OurUse& use) { return our_words_[use.id] == use.generation; });
      std::map<uint64_t, int> live;
      for (const OurUse& use : lent_) ++live[use.offset];
      for (const Mine& other : mine_) ++live[other.offset];
      PARLEY_CHECK(sender_->lent_frames() == lent_.size(), "another idea of what is lent");
      PARLEY_CHECK(sender_->free_bytes() < (live.size() + 1) * Rounded(size), "room, and refused");
      return;
    }
    mine.offset = static_cast<uint64_t>(mine.frame.bytes().data() - base_);
    mine.size = size;
    PARLEY_CHECK(mine.frame.bytes().size() == size && mine.offset % arena_.alignment == 0 &&
                     mine.offset + size <= arena_.bytes,
                 "not what was asked for");
    const auto apart = [&](uint64_t offset) {
      const uint64_t end = offset + extents_[offset];
      PARLEY_CHECK(end <= mine.offset || mine.offset + Rounded(size) <= offset,
                   "over a frame that nobody has let go of");
    };
    for (const OurUse& use : lent_) {
      if (!use.may_be_returned) apart(use.offset);
    }
    for (const Mine& other : mine_) apart(other.offset);
    extents_[mine.offset] = Rounded(size);
    std::fill(mine.frame.bytes().begin(), mine.frame.bytes().end(), std::byte{1});
    mine_.push_back(std::move(mine));
  }
  void Send() {
    const uint16_t used = script_.Take16();
    if (mine_.empty() || closed_) return;
    Mine& mine = mine_.back();
    const uint64_t size = used % (mine.size + 1);
    const std::array<std::byte, 5> metadata = {std::byte{7}};
    const Outcome outcome = sender_->TrySend(&mine.frame, size, 3, metadata);
    if (poisoned_) {
      PARLEY_CHECK(outcome == Outcome::kPoisoned, "sent on a poisoned channel");
    } else {
      PARLEY_CHECK(outcome == Outcome::kClosed || !told_of_end_, "sent after the end");
      told_of_end_ |= outcome == Outcome::kClosed;
    }
    PARLEY_CHECK((outcome != Outcome::kOk) == static_cast<bool>(mine.frame), "who has the frame");
    if (outcome != Outcome::kOk) return;
    for (Mine& other : mine_) other.was_sent |= other.offset == mine.offset;
    expected_ = {mine.offset, size};
    mine_.pop_back();
  }
  void Share() {
    if (mine_.empty()) return;
    const Mine& mine = mine_.back();
    mine_.insert(mine_.begin(), {mine.frame.Share(), mine.offset, mine.size, mine.was_sent});
    if (mine_.size() > 200) mine_.pop_back();
  }
  void Discard() {
    if (!mine_.empty()) mine_.pop_back();
  }
  void Revoke() {
    std::array<uint64_t, kMaxFrames> before = {};
    for (uint32_t id = 0; id < kMaxFrames; ++id) {
      if (!gone_) before[id] = Line(id);
    }
    const bool revoked = sender_->RevokeOldest();
    if (gone_) {  // which one cannot be seen any more
      if (revoked) lent_.clear();
      return;
    }
    if (!revoked) {
      for (const OurUse& use : lent_) {
        PARLEY_CHECK(use.may_be_returned, "nothing to revoke, and one is lent");
      }
      lent_.clear();
      return;
    }
    ++dropped_;
    // Which one it was says its line. All that are older came back.
    auto at = lent_.begin();
    while (at != lent_.end() && !(before[at->id] == at->generation && Line(at->id) == 0)) {
      PARLEY_CHECK(at->may_be_returned, "not the oldest");
      ++at;
    }
    PARLEY_CHECK(at != lent_.end(), "revoked what is not lent");
    lent_.erase(lent_.begin(), std::next(at));
  }
  uint64_t Line(uint32_t id) const {
    return seen_lines_.LoadAcquire64(FrameLineOffset(id)).AnyValueIsAcceptable();
  }

  // As whoever has other messages to receive as well.
  Outcome ReceiveAndOpen(InFrame* frame) {
    std::vector<std::byte> buffer(1024);
    for (int taken = 0; taken < FrameReceiver::kMaxRecordsPerCall; ++taken) {
      Record record;
      Outcome outcome = pair_->accepting().receiver.TryReceive(absl::MakeSpan(buffer), &record);
      if (outcome != Outcome::kOk) return outcome;
      // Its own block, so that the first byte behind it is found.
      const std::vector<std::byte> message(
          buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(record.size_bytes));
      outcome = receiver_->Open(record.tag, message, frame);
      if (outcome != Outcome::kWouldBlock) return outcome;
    }
    return Outcome::kWouldBlock;
  }

  void Receive(bool latest) {
    latest = latest && !opens_;
    InFrame frame;
    Outcome expected = poisoned_ ? Outcome::kPoisoned : Outcome::kWouldBlock;
    std::vector<std::byte> newest;
    for (int taken = 0; !poisoned_ && taken < FrameReceiver::kMaxRecordsPerCall; ++taken) {
      if (said_.empty()) break;
      const Outcome one = TakeIn();
      if (one == Outcome::kPoisoned) {
        poisoned_ = true;
        expected = one;
        if (!newest.empty()) GiveBack(newest);
      }
      if (one != Outcome::kOk) continue;
      if (!newest.empty()) GiveBack(newest);
      newest = taken_;
      expected = one;
      if (!latest) break;
    }
    Outcome got = latest   ? receiver_->TryReceiveLatest(&frame)
                  : opens_ ? ReceiveAndOpen(&frame)
                           : receiver_->TryReceive(&frame);
    if (got == Outcome::kClosed) got = Outcome::kWouldBlock;
    PARLEY_CHECK(got == expected, "another answer than the rules give");
    if (got != Outcome::kOk) return;
    taken_ = newest;
    ExpectFrame(frame);
    received_.push_back(
        {std::move(frame), static_cast<uint32_t>(Word(newest, 0, 4)), Word(newest, 8, 8)});
  }
  void GiveBack(const std::vector<std::byte>& record) {
    Ended(static_cast<uint32_t>(Word(record, 0, 4)), Word(record, 8, 8));
  }
  // The frame of this use was let go of.
  void Ended(uint32_t id, uint64_t generation) {
    TheirId& theirs = theirs_[id];
    if (!theirs.held || theirs.newest != generation) return;
    theirs.held = false;
    theirs.returned = generation;
    ++returns_;
  }
  void Return() {
    const std::size_t which = script_.Take8();
    if (received_.empty()) return;
    const auto at = received_.begin() + static_cast<std::ptrdiff_t>(which % received_.size());
    PARLEY_CHECK(at->frame.StillValid() == IsValid(at->id, at->generation), "valid or not");
    Ended(at->id, at->generation);
    received_.erase(at);
  }

  Script script_;
  ArenaGeometry arena_;
  std::unique_ptr<testing::ChannelPair> pair_;
  std::optional<FrameSender> sender_;
  std::optional<FrameReceiver> receiver_;
  const std::byte* base_ = nullptr;  // of our arena

  // The peer's memory, and ours as it sees it.
  OwnMemory lines_;
  OwnMemory words_;
  PeerMemory seen_lines_;
  PeerMemory seen_words_;

  // What the peer sent.
  std::array<uint64_t, kMaxFrames> announced_ = {};
  std::array<uint64_t, kMaxFrames> their_lines_ = {};
  std::array<TheirId, kMaxFrames> theirs_ = {};
  std::deque<std::vector<std::byte>> said_;  // and is not taken in
  std::vector<std::byte> taken_;             // the last that was
  uint64_t taken_back_ = 0;
  uint64_t returns_ = 0;
  std::vector<Received> received_;

  // What we sent.
  std::vector<Mine> mine_;
  std::map<uint64_t, uint64_t> extents_;  // the length of the extent that begins there
  std::deque<OurUse> lent_;               // in order; may have come back
  std::array<uint64_t, kMaxFrames> generations_ = {};
  std::array<uint64_t, kMaxFrames> our_words_ = {};
  uint64_t published_ = 0;
  bool clean_ = true;  // each word was published
  uint32_t dropped_ = 0;
  std::optional<std::pair<uint64_t, uint64_t>> expected_;  // sent, and not heard: offset and size

  bool opens_ = false;  // our caller receives, and opens the frames of what it has
  bool poisoned_ = false;
  bool silent_ = false;  // the peer has closed, or is gone
  bool gone_ = false;
  bool closed_ = false;       // our caller has
  bool told_of_end_ = false;  // our sender's caller: of the peer's
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  parley::fuzz::LeavesNothingAfterDisposal(
      [&] { parley::fuzz::Run(parley::testing::Script(data, size)).Everything(); });
  return 0;
}

// SPDX-License-Identifier: Apache-2.0

// Drives both ends of a real channel, each honest, through sending, staging, peeking, closing and
// dying in any order. A model, two plain queues, says what must arrive: everything that was
// published, in order, once, also after the sender closed or died; then the end, told rightly. And
// honest ends never poison each other.
//
// Input: the doorbell, then steps: one byte each (low 4 bits: what; 16: which side does it; 32:
// larger messages), followed by what it needs.


#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "parley/boundary/violation.h"
#include "parley/channel/channel.h"
#include "parley/fuzz/disposal_footprint.h"
#include "parley/fuzz/ended_channel.h"
#include "parley/fuzz/space_model.h"
#include "parley/os/check.h"
#include "parley/os/deadline.h"
#include "parley/ring/ring_types.h"
#include "parley/testing/channel_pair.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using testing::Script;

constexpr int kMaxSteps = 200;
constexpr std::size_t kCapacity = 4096;
constexpr std::size_t kMaxMessage = 1024;

struct Sent {
  uint32_t tag = 0;
  std::size_t size = 0;
  std::size_t RingBytes() const { return 8 + (size + 7) / 8 * 8; }
};

std::byte ByteOf(uint32_t tag, std::size_t i) {
  return static_cast<std::byte>(std::size_t{31} * tag + 7 * i);
}

// One direction: what is on its way.
struct Direction {
  std::deque<Sent> staged;
  std::deque<Sent> published;
  SpaceModel room{kCapacity};
  bool sender_closed = false;
  bool receiver_closed = false;
  bool sender_told_of_end = false;
  bool receiver_told_of_end = false;
  bool receiver_told_of_death = false;  // which it is told of from then on, whoever closes

  void Publish() {
    while (!staged.empty()) {
      published.push_back(staged.front());
      staged.pop_front();
    }
  }
  // The receiver asks for a message.
  void Look() {
    std::size_t bytes = 0;
    for (const Sent& sent : published) bytes += sent.RingBytes();
    if (!receiver_closed) room.Look(bytes);
  }
};

class Run {
 public:
  explicit Run(Script script) : script_(script) {
    testing::ChannelPairOptions options;
    const int kind = script_.Take8() % 3;
    options.eventfd = kind == 1;
    options.futex = futex_ = kind == 2;
    options.ring = {kCapacity, kMaxMessage};
    options.wait.max_spin = absl::ZeroDuration();
    options.wait.throttle_time = absl::Microseconds(1);
    auto pair = testing::ChannelPair::Create(options);
    PARLEY_CHECK(pair.ok(), "a channel pair");
    pair_ = *std::move(pair);
  }

  void Everything() {
    for (int i = 0; i < kMaxSteps && !script_.empty(); ++i) {
      Step(script_.Take8());
      for (const int side : {0, 1}) {
        if (Alive(side)) {
          PARLEY_CHECK(End(side).sender.violation() == Violation::kNone, "honest, and poisoned");
        }
      }
    }
    // Whoever is alive gets all that was published, and then learns how it ended.
    for (const int side : {0, 1}) {
      if (!Alive(side)) continue;
      while (!In(side).published.empty() && !In(side).receiver_closed) Receive(side);
      Receive(side,
              Alive(1 - side) ? Deadline::AtMonotonicNs(0) : Deadline::After(absl::Seconds(20)));
    }
  }

 private:
  Channel& End(int side) { return side == 0 ? pair_->accepting() : pair_->connecting(); }
  Direction& Out(int side) { return directions_[static_cast<std::size_t>(side)]; }
  Direction& In(int side) { return directions_[static_cast<std::size_t>(1 - side)]; }

  bool& Alive(int side) { return alive_[static_cast<std::size_t>(side)]; }

  void Step(uint8_t op) {
    const int side = op >> 4 & 1;
    if (!Alive(side)) return;
    const bool may_send = !Out(side).sender_closed;
    const bool large = (op & 32) != 0;
    switch (op & 15) {
      case 0:
        return may_send ? Send(side, large, true) : void();
      case 1:
        return may_send ? Send(side, large, false) : void();
      case 2:
        return may_send ? SendWithDeadline(side, large) : void();
      case 3:
        End(side).sender.Publish();
        return Out(side).Publish();
      case 4:
      case 5:
        return TryReceive(side);
      case 6:
        return Receive(side);
      case 7:
        return Peek(side);
      case 8:
        End(side).receiver.Release();
        return In(side).room.Release();
      case 9:
        End(side).sender.Close();
        Out(side).Publish();
        Out(side).sender_closed = true;
        return;
      case 10:
        if (script_.Take8() % 4 != 0) return;
        End(side).receiver.Close();
        In(side).receiver_closed = true;
        return;
      case 11:
        return AwaitDrained(side);
      case 12:
        return WaitAsAnEventLoop(side);
      case 13:
        return WaitForFreeSpaceAsAnEventLoop(side, large);
      case 14:
        if (script_.Take8() % 4 != 0) return;
        EndNow(End(side));
        Out(side).staged.clear();
        Alive(side) = false;
        return;
      default:
        return;
    }
  }

  Sent NextMessage(bool large) {
    const std::size_t size = script_.Take8();
    return {++last_tag_, large ? kMaxMessage - size % 100 : size};
  }
  static std::vector<std::byte> BytesOf(const Sent& message) {
    std::vector<std::byte> bytes(message.size);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = ByteOf(message.tag, i);
    return bytes;
  }
  void Note(Direction& way, const Sent& message, bool publish) {
    way.room.Write(message.RingBytes());
    way.staged.push_back(message);
    if (publish) way.Publish();
  }

  void Send(int side, bool large, bool publish) {
    Direction& way = Out(side);
    const Sent message = NextMessage(large);
    Sender& sender = End(side).sender;
    const Outcome outcome = publish ? sender.TrySend(message.tag, BytesOf(message))
                                    : sender.TryStage(message.tag, BytesOf(message));
    const bool room = way.room.HasFreeSpace(message.RingBytes());
    switch (outcome) {
      case Outcome::kOk:
        PARLEY_CHECK(room && !way.sender_told_of_end, "sent without room, or after the end");
        return Note(way, message, publish);
      case Outcome::kWouldBlock:
        PARLEY_CHECK(!room && !way.receiver_closed && !way.sender_told_of_end,
                     "not sent, though there was room, or an end");
        return;
      case Outcome::kClosed:
        PARLEY_CHECK(way.receiver_closed || !Alive(1 - side), "an end that nobody made");
        way.sender_told_of_end = true;
        return;
      case Outcome::kPoisoned:
      case Outcome::kTooLong:
        PARLEY_CHECK(false, "honest and short, and poisoned or too long");
    }
  }

  void SendWithDeadline(int side, bool large) {
    Direction& way = Out(side);
    const Sent message = NextMessage(large);
    const absl::Status status =
        End(side).sender.Send(message.tag, BytesOf(message), Deadline::AtMonotonicNs(0));
    const bool room = way.room.HasFreeSpace(message.RingBytes());
    switch (status.code()) {
      case absl::StatusCode::kOk:
        PARLEY_CHECK(room && !way.sender_told_of_end, "sent without room, or after the end");
        return Note(way, message, true);
      case absl::StatusCode::kDeadlineExceeded:
        PARLEY_CHECK(!room && !way.receiver_closed && !way.sender_told_of_end,
                     "not sent, though there was room, or an end");
        return way.Publish();
      case absl::StatusCode::kOutOfRange:
        return TellSender(way, absl::IsOutOfRange(status), side);
      case absl::StatusCode::kUnavailable:
        PARLEY_CHECK(!room || way.sender_told_of_end, "not sent, though there was room");
        way.Publish();
        return TellSender(way, absl::IsOutOfRange(status), side);
      default:
        PARLEY_CHECK(false, "Send: an error that is not typed as documented");
    }
  }

  // Of the receiver's close, or of its death without one.
  void TellSender(Direction& way, bool closed, int side) {
    PARLEY_CHECK(closed ? way.receiver_closed : !way.receiver_closed && !Alive(1 - side),
                 "an end that nobody made");
    way.sender_told_of_end = true;
  }

  // The next message must be this one.
  void ExpectFront(Direction& way, const Record& record, absl::Span<const std::byte> bytes) {
    PARLEY_CHECK(!way.published.empty() && !way.receiver_told_of_end, "a message that nobody sent");
    const Sent& sent = way.published.front();
    PARLEY_CHECK(record.tag == sent.tag && record.size_bytes == sent.size, "another message");
    for (std::size_t i = 0; i < sent.size; ++i) {
      PARLEY_CHECK(bytes[i] == ByteOf(sent.tag, i), "other bytes than were sent");
    }
    way.room.Take(sent.RingBytes());
    way.published.pop_front();
  }
  // Nothing there, by Try.
  void ExpectNothing(Direction& way, Outcome outcome) {
    if (outcome == Outcome::kClosed) {
      const bool sender_gone = way.sender_closed || !Alive(0) || !Alive(1);
      PARLEY_CHECK(way.receiver_closed || (sender_gone && way.published.empty()),
                   "an end that nobody made, or before the last message");
      way.receiver_told_of_end = true;
      if (!way.sender_closed && !way.receiver_closed) way.receiver_told_of_death = true;
      return;
    }
    PARLEY_CHECK(outcome == Outcome::kWouldBlock && way.published.empty() && !way.sender_closed &&
                     !way.receiver_closed && !way.receiver_told_of_end,
                 "a message, or the end, was not delivered");
  }
  // Of a death without a close, after everything that was sent.
  void ExpectDeath(Direction& way, int side) {
    PARLEY_CHECK(!Alive(1 - side), "a death that nobody died");
    PARLEY_CHECK(way.receiver_told_of_death ||
                     (way.published.empty() && !way.sender_closed && !way.receiver_closed),
                 "a message, or the end, was not delivered");
    way.receiver_told_of_end = way.receiver_told_of_death = true;
  }

  void TryReceive(int side) {
    std::array<std::byte, kMaxMessage> into;
    Record record;
    In(side).Look();
    const Outcome outcome = End(side).receiver.TryReceive(absl::MakeSpan(into), &record);
    if (outcome != Outcome::kOk) return ExpectNothing(In(side), outcome);
    ExpectFront(In(side), record, into);
    In(side).room.Release();
  }

  void Peek(int side) {
    PeekedMessage peeked;
    In(side).Look();
    const Outcome outcome = End(side).receiver.TryPeek(&peeked);
    if (outcome != Outcome::kOk) return ExpectNothing(In(side), outcome);
    std::vector<std::byte> bytes(peeked.view.size_bytes());
    peeked.view.CopyTo(0, absl::MakeSpan(bytes));
    ExpectFront(In(side), peeked.record, bytes);
  }

  void Receive(int side, Deadline deadline = Deadline::AtMonotonicNs(0)) {
    Direction& way = In(side);
    way.Look();
    std::array<std::byte, kMaxMessage> into;
    const auto record = End(side).receiver.Receive(absl::MakeSpan(into), deadline);
    if (record.ok()) {
      ExpectFront(way, *record, into);
      return way.room.Release();
    }
    switch (record.status().code()) {
      case absl::StatusCode::kOutOfRange:
        PARLEY_CHECK(!way.receiver_told_of_death, "another end than was told");
        return ExpectNothing(way, Outcome::kClosed);
      case absl::StatusCode::kDeadlineExceeded:
        // Who sleeps on a futex looks for the peer's end now and then, and not in each call.
        PARLEY_CHECK(Alive(1 - side) || (futex_ && deadline.Expired()),
                     "a dead peer was waited for");
        return ExpectNothing(way, Outcome::kWouldBlock);
      case absl::StatusCode::kUnavailable:
        return ExpectDeath(way, side);
      default:
        PARLEY_CHECK(false, "Receive: an error that is not typed as documented");
    }
  }

  void AwaitDrained(int side) {
    Direction& way = Out(side);
    const absl::Status status = End(side).sender.AwaitDrained(Deadline::AtMonotonicNs(0));
    way.Publish();
    if (status.ok()) {
      PARLEY_CHECK(way.room.drained(), "drained, they say");
    } else if (absl::IsUnavailable(status) || absl::IsOutOfRange(status)) {
      PARLEY_CHECK(!way.room.drained(), "drained, and they say no");
      TellSender(way, absl::IsOutOfRange(status), side);
    } else {
      PARLEY_CHECK(!way.receiver_closed && !way.sender_told_of_end,
                   "waited for a peer that takes no more");
      PARLEY_CHECK(absl::IsDeadlineExceeded(status) && !way.room.drained(),
                   "AwaitDrained: an error that is not typed as documented");
    }
  }

  void WaitAsAnEventLoop(int side) {
    Direction& way = In(side);
    Receiver& receiver = End(side).receiver;
    if (receiver.descriptor() < 0) return;  // a futex: nothing to poll
    way.Look();
    const bool wait = receiver.PrepareToWait();
    PARLEY_CHECK(wait == (way.published.empty() && !way.sender_closed && !way.receiver_closed &&
                          !way.receiver_told_of_end),
                 "PrepareToWait");
    const absl::Status status = receiver.FinishWait();
    PARLEY_CHECK(!status.ok() || !way.receiver_told_of_death, "another end than was told");
    if (status.ok()) return;
    PARLEY_CHECK(absl::IsUnavailable(status), "FinishWait");
    ExpectDeath(way, side);
  }

  void WaitForFreeSpaceAsAnEventLoop(int side, bool large) {
    Direction& way = Out(side);
    Sender& sender = End(side).sender;
    if (sender.descriptor() < 0) return;
    const Sent message = NextMessage(large);
    const bool wait = sender.PrepareToWait(message.size);
    way.Publish();
    const bool room = way.room.HasFreeSpace(message.RingBytes());
    if (!way.receiver_closed) {
      PARLEY_CHECK(wait == (!room && !way.sender_told_of_end), "PrepareToWait");
    }
    const absl::Status status = sender.FinishWait(message.size);
    if (status.ok()) return;
    PARLEY_CHECK(absl::IsUnavailable(status) || absl::IsOutOfRange(status), "FinishWait");
    TellSender(way, absl::IsOutOfRange(status), side);
  }

  Script script_;
  std::unique_ptr<testing::ChannelPair> pair_;
  std::array<Direction, 2> directions_;  // [i]: what side i sends
  std::array<bool, 2> alive_ = {true, true};
  bool futex_ = false;
  uint32_t last_tag_ = 0;
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  parley::fuzz::LeavesNothingAfterDisposal(
      [&] { parley::fuzz::Run(parley::testing::Script(data, size)).Everything(); });
  return 0;
}

// SPDX-License-Identifier: Apache-2.0

// Attacks a whole channel, Sender and Receiver over real shared memory, with a peer that does
// anything between two calls (testing/hostile_peer.h). What docs/DESIGN.md promises is asked after
// each call: an answer of the documented kind at once, bounded messages, one violation that stays
// and ends both directions, an end that stays.
//
// Input: as testing/hostile_peer.h says; after each of the peer's steps, one byte says which call
// the victim makes (modulo 12), followed by what it needs.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/boundary/violation.h"
#include "parley/channel/channel.h"
#include "parley/fuzz/disposal_footprint.h"
#include "parley/os/check.h"
#include "parley/os/deadline.h"
#include "parley/ring/layout.h"
#include "parley/ring/ring_types.h"
#include "parley/testing/hostile_peer.h"

namespace parley::fuzz {
namespace {

constexpr int kMaxSteps = 200;

class Run {
 public:
  Run(const uint8_t* data, std::size_t size)
      : peer_(data, size, {.futex = true, .wait = {}}), into_(kBufferBytes) {}

  void Everything() {
    for (int i = 0; i < kMaxSteps && (peer_.Act() || !peer_.script().empty()); ++i) {
      Call();
      ExpectPromises();
    }
  }

 private:
  static constexpr std::size_t kBufferBytes = 1024;
  Sender& sender() { return peer_.victim().sender; }
  Receiver& receiver() { return peer_.victim().receiver; }
  // A futex is nothing that an event loop could wait for.
  bool polls() { return receiver().descriptor() >= 0; }

  void Call() {
    testing::Script& script = peer_.script();
    Record record;
    switch (script.Take8() % 12) {
      case 0:
      case 1: {
        const Outcome outcome = receiver().TryReceive(absl::MakeSpan(into_), &record);
        return Got(outcome, record);
      }
      case 2: {
        const auto got = receiver().Receive(absl::MakeSpan(into_), Deadline::AtMonotonicNs(0));
        return Got(OutcomeOf(got.status()), got.ok() ? *got : record);
      }
      case 3: {
        PeekedMessage peeked;
        const Outcome outcome = receiver().TryPeek(&peeked);
        Got(outcome, peeked.record);
        if (outcome != Outcome::kOk) return;
        PARLEY_CHECK(peeked.view.size_bytes() == peeked.record.size_bytes, "another view");
        peeked.view.CopyTo(0, absl::MakeSpan(into_).first(peeked.view.size_bytes()));
        return;
      }
      case 4:
        return receiver().Release();
      case 5: {
        if (closed_) return;
        const std::vector<std::byte> bytes(script.Take16() % (kBufferBytes + 1));
        return Sent(sender().TrySend(script.Take8(), bytes));
      }
      case 6: {
        if (closed_) return;
        const std::vector<std::byte> bytes(script.Take8());
        return Sent(OutcomeOf(sender().Send(1, bytes, Deadline::AtMonotonicNs(0))));
      }
      case 7: {
        if (closed_) return;
        absl::Span<std::byte> room;
        const std::size_t size = script.Take16() % (kBufferBytes + 1);
        const Outcome outcome = sender().TryReserve(size, &room);
        Sent(outcome);
        if (outcome != Outcome::kOk) return;
        PARLEY_CHECK(room.size() == size, "other room than asked for");
        return sender().Commit(2, size / 2);
      }
      case 8:
        return Told(sender().AwaitDrained(Deadline::AtMonotonicNs(0)), &sending_ended_);
      case 9:
        if (!polls()) return;
        if (receiver().PrepareToWait()) Told(receiver().FinishWait(), &receiving_ended_);
        return;
      case 10: {
        const std::size_t size = script.Take16() % (kBufferBytes + 1);
        if (closed_ || !polls()) return;
        if (sender().PrepareToWait(size)) Told(sender().FinishWait(size), &sending_ended_);
        return;
      }
      case 11:
        if (script.Take8() % 8 != 0) return;
        sender().Close();
        closed_ = true;
        return;
    }
  }

  // The four errors that a call with a deadline may answer with.
  static Outcome OutcomeOf(const absl::Status& status) {
    switch (status.code()) {
      case absl::StatusCode::kOk:
        return Outcome::kOk;
      case absl::StatusCode::kDeadlineExceeded:
        return Outcome::kWouldBlock;
      case absl::StatusCode::kUnavailable:
      case absl::StatusCode::kOutOfRange:
        return Outcome::kClosed;
      case absl::StatusCode::kDataLoss:
        return Outcome::kPoisoned;
      default:
        PARLEY_CHECK(false, "an error that is not typed as documented");
    }
  }
  // By a call that moves no message. Closed, dead or poisoned: for good.
  void Told(const absl::Status& status, bool* ended) { Note(OutcomeOf(status), ended); }
  void Note(Outcome outcome, bool* ended) {
    if (outcome == Outcome::kClosed || outcome == Outcome::kPoisoned) *ended = true;
    ExpectKnown(outcome);
  }

  void Got(Outcome outcome, const Record& record) {
    if (outcome == Outcome::kOk) {
      PARLEY_CHECK(!receiving_ended_, "a message after the end");
      PARLEY_CHECK(record.size_bytes <= receiver().max_message_bytes() && record.tag <= kMaxTag,
                   "a message beyond what was agreed");
    }
    PARLEY_CHECK(outcome != Outcome::kWouldBlock || !receiving_ended_, "not yet, after the end");
    Note(outcome, &receiving_ended_);
  }
  void Sent(Outcome outcome) {
    PARLEY_CHECK(outcome != Outcome::kOk || !sending_ended_, "sent after the end");
    PARLEY_CHECK(outcome != Outcome::kWouldBlock || !sending_ended_, "no room yet, after the end");
    Note(outcome, &sending_ended_);
  }
  // Poisoned, and the reason can be read; otherwise there is none.
  void ExpectKnown(Outcome outcome) {
    const bool violated =
        sender().violation() != Violation::kNone || receiver().violation() != Violation::kNone;
    if (outcome == Outcome::kPoisoned) PARLEY_CHECK(violated, "poisoned without a reason");
  }

  void ExpectPromises() {
    for (const auto& [now, first] : {std::pair(sender().violation(), &sender_violation_),
                                     std::pair(receiver().violation(), &receiver_violation_)}) {
      if (*first != Violation::kNone) PARLEY_CHECK(now == *first, "another reason than the first");
      *first = now;
    }
    if (sender_violation_ == Violation::kNone && receiver_violation_ == Violation::kNone) return;
    // A violation that one end found ends the other with its next call.
    Record record;
    PARLEY_CHECK(receiver().TryReceive(absl::MakeSpan(into_), &record) != Outcome::kOk ||
                     receiver_violation_ == Violation::kNone,
                 "a message out of a poisoned channel");
    if (!closed_) {
      const Outcome outcome = sender().TrySend(3, {});
      PARLEY_CHECK(outcome == Outcome::kPoisoned, "sent into a poisoned channel");
    }
  }

  testing::HostilePeer peer_;
  std::vector<std::byte> into_;
  bool closed_ = false;
  bool receiving_ended_ = false;
  bool sending_ended_ = false;
  Violation sender_violation_ = Violation::kNone;
  Violation receiver_violation_ = Violation::kNone;
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  parley::fuzz::LeavesNothingAfterDisposal([&] { parley::fuzz::Run(data, size).Everything(); });
  return 0;
}

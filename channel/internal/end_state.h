// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CHANNEL_INTERNAL_END_STATE_H_
#define PARLEY_CHANNEL_INTERNAL_END_STATE_H_

// What stands behind a Sender and a Receiver: the session, one end of a ring, and how it waits.
// What a message touches comes first, so that it lies side by side.
//
// Trust: ours and private; what the peer writes comes in through the ring and the event count.
// Threads: the thread of the end; Session and Waiter say what others may call.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/boundary/violation.h"
#include "parley/channel/receiver.h"
#include "parley/channel/sender.h"
#include "parley/channel/stats.h"
#include "parley/handshake/session.h"
#include "parley/os/check.h"
#include "parley/os/deadline.h"
#include "parley/ring/consumer.h"
#include "parley/ring/producer.h"
#include "parley/ring/ring_types.h"
#include "parley/wait/event_count.h"
#include "parley/wait/termination.h"
#include "parley/wait/waitable.h"
#include "parley/wait/waiter.h"

namespace parley {

namespace internal {

// What both have. Behind a pointer, so that an end can be moved while its waiter refers to this.
template <typename RingEnd>
struct EndState {
  template <typename... Arguments>
  EndState(std::shared_ptr<Session> s, const EventCountPlaces& places,
           const Arguments&... arguments)
      : ring(arguments...), events(places), termination(&s->termination()), session(std::move(s)) {}

  // Of an end that does not exist: stopped from the beginning, so that every Try call goes the slow
  // way, which says so.
  template <typename... Arguments>
  explicit EndState(const Arguments&... arguments)
      : ring(arguments...), events(NoPlaces()), termination(NoTermination()) {}

  // A violation was found, here or by the other end of the channel.
  bool Stopped() const { return termination->poison() != Violation::kNone; }
  // Makes the ring's end say so as well.
  void HearOfPoison() {
    const Violation found = termination->poison();
    if (found != Violation::kNone) [[unlikely]]
      ring.Poison(found);
  }

  // Spreads a violation that was found here to the whole channel.
  void SpreadViolation() {
    termination->Poison(ring.violation());
    stats.violations = 1;
  }
  // Does that for kPoisoned; asks now and then whether the peer is still there, where there was
  // nothing to do: a dead one sends and takes no more.
  [[gnu::noinline]] Outcome NotDone(Outcome outcome) {
    if (outcome == Outcome::kPoisoned) SpreadViolation();
    if (outcome != Outcome::kWouldBlock || !waiter->PeerGoneAtEmptyPoll()) return outcome;
    return EndWithPeer();
  }
  // The peer has ended, and the caller is told: for good. kClosed, or kPoisoned.
  [[gnu::noinline]] Outcome EndWithPeer() {
    ring.SetPeerGone();
    if (ring.violation() == Violation::kNone) return Outcome::kClosed;
    SpreadViolation();
    return Outcome::kPoisoned;
  }

  // After something was published: signals if the peer waits for it. kOk.
  Outcome SignalIfAwaited() {
    uint64_t epoch = 0;
    if (events.PeerAwaitsSignal(&epoch)) [[unlikely]]
      return Signal(epoch);
    return Outcome::kOk;
  }
  // The same where a violation may have been found meanwhile: no word of the peer's is read then.
  void SignalUnlessStopped() {
    if (!Stopped()) [[likely]]
      SignalIfAwaited();
  }

  RingEnd ring;
  EventCount events;
  Termination* const termination;

  bool has_port = false;  // one that keeps accounts, so it is made once
  std::shared_ptr<Session> session;
  ChannelStats stats;                  // but for `messages` and `bytes`
  uint64_t taken_at_last_wake_up = 0;  // of FinishWait
  std::unique_ptr<Waiter> waiter;
  std::unique_ptr<Waitable> waitable;  // on demand; the first to end

 private:
  static Termination* NoTermination() {
    static Termination none;
    none.Poison(Violation::kMetadataInvalid);  // any: nobody is told
    return &none;
  }
  static EventCountPlaces NoPlaces() {
    alignas(uint64_t) static std::byte word[sizeof(uint64_t)] = {};
    EventCountPlaces places;
    places.own_control = OwnMemory(word, sizeof(word));
    places.peer_control = PeerMemory(word, sizeof(word));
    return places;
  }
  [[gnu::noinline]] Outcome Signal(uint64_t epoch) {
    waiter->Signal(epoch);
    return Outcome::kOk;
  }
};

}  // namespace internal

struct Sender::State final : internal::EndState<Producer> {
  State();
  explicit State(const std::shared_ptr<Session>& s);
  void CheckExists() const {
    PARLEY_CHECK(session != nullptr, "this channel has no sending direction");
  }

  // The Try calls where more is to be done than a copy into room that is known.
  Outcome TrySendSlowly(uint32_t tag, absl::Span<const std::byte> bytes);
  Outcome TryReserveSlowly(std::size_t size_bytes, absl::Span<std::byte>* room);
  Outcome TryStageSlowly(uint32_t tag, absl::Span<const std::byte> bytes);
  // By one look: kClosed if the peer takes no more, kPoisoned, of which the channel is told, or
  // kWouldBlock. For a port that waits for something else than free space in the ring.
  Outcome PollEnd() {
    if (Stopped()) return Outcome::kPoisoned;
    if (ring.PollEnded() || ring.peer_gone()) return Outcome::kClosed;
    if (ring.violation() == Violation::kNone) return Outcome::kWouldBlock;
    SpreadViolation();
    return Outcome::kPoisoned;
  }
  bool HasFreeSpace(std::size_t size_bytes) {
    HearOfPoison();
    return ring.HasFreeSpace(size_bytes);
  }
  // What an event loop waits for: free space, or what a port that stands on this end says.
  bool Ready(std::size_t size_bytes) {
    HearOfPoison();
    return port_ready ? port_ready(size_bytes) : ring.HasFreeSpace(size_bytes);
  }
  // In bytes that the peer took, and that it gave back to a port.
  uint64_t Progress() const { return ring.taken_bytes() + port_progress; }
  // Of it, so much as one wait is for.
  uint64_t Enough(std::size_t size_bytes) const {
    return port_ready ? 1 : size_bytes / kStepsPerMessage + 1;
  }
  // Room that comes in at least so large a part of what is waited for is no reason to listen less.
  static constexpr uint64_t kStepsPerMessage = 16;
  // Not of kOk, kWouldBlock and kReady.
  absl::Status StatusOf(Outcome outcome) const;
  absl::Status StatusOf(internal::Waiter::Result result);
  // kCancelled for an interrupt; else as Send.
  absl::Status Wait(absl::FunctionRef<bool()> ready, uint64_t enough, Deadline deadline);
  void Publish();
  absl::Status TakeWakeUps(std::size_t size_bytes, absl::Span<const short> revents);

  uint64_t messages = 0;
  // Of a port that stands on this end and waits for something else than free space in the ring.
  std::function<bool(std::size_t size_bytes)> port_ready;
  uint64_t port_progress = 0;
};

struct Receiver::State final : internal::EndState<Consumer> {
  State();
  explicit State(const std::shared_ptr<Session>& s);
  void CheckExists() const {
    PARLEY_CHECK(session != nullptr, "this channel has no receiving direction");
  }

  // The Try calls where more is to be done than a small copy of what is known to be there.
  Outcome TryReceiveSlowly(absl::Span<std::byte> into, Record* record);
  Outcome TryPeekSlowly(PeekedMessage* message);
  // The rest of TryReceive and TryPeek: the record `word` is validated, but for its padding.
  Outcome Take(std::byte* into, Record* record, uint64_t word);
  Outcome PeekPadded(PeekedMessage* message, uint64_t word);
  Outcome TellReleased();
  void TellReleasedUnlessStopped();
  Outcome Refused(uint64_t word);
  bool HasData() {
    HearOfPoison();
    return ring.HasData();
  }
  absl::Status TakeWakeUps(absl::Span<const short> revents);
  // After a death was seen and a look after it found nothing: the end, for good.
  absl::Status StatusOfDeath();
};

}  // namespace parley

#endif  // PARLEY_CHANNEL_INTERNAL_END_STATE_H_

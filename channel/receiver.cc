// SPDX-License-Identifier: Apache-2.0
#include "parley/channel/receiver.h"

#include <utility>

#include "parley/boundary/copy.h"
#include "parley/channel/internal/end_state.h"
#include "parley/channel/status.h"
#include "parley/wait/layout.h"
#include "parley/wait/wait_options.h"

namespace parley {

Receiver::State::State(const std::shared_ptr<Session>& s)
    : EndState(s, s->Places(kReceiveEpochOffset, kSendEpochOffset), s->control(), s->peer_control(),
               s->receive()->data, s->receive()->ring) {}

// NOLINTNEXTLINE(performance-unnecessary-value-param): an end keeps its session
absl::StatusOr<Receiver> Receiver::Create(std::shared_ptr<Session> session,
                                          const WaitOptions& options) {
  Receiver receiver;
  receiver.state_ = internal::EndHandle<State>(std::make_shared<State>(session));
  State& state = *receiver.state_;
  auto waiter = internal::Waiter::Create(&state.events, state.session->receive()->doorbell.get(),
                                         state.termination, options, &state.stats);
  if (!waiter.ok()) return waiter.status();
  state.waiter = *std::move(waiter);
  return receiver;
}

Receiver::State::State()
    : EndState(OwnMemory(), PeerMemory(), PeerMemory(), RingGeometry{4096, 64}) {}

Receiver::Receiver() = default;
Receiver::Receiver(const Receiver&) = default;
Receiver::Receiver(Receiver&& other) noexcept = default;
Receiver& Receiver::operator=(Receiver&& other) noexcept = default;

Receiver::State& Receiver::state() const {
  state_->CheckExists();
  return *state_;
}

// Compiled to code without a stack frame, as Sender::TrySend is.
Outcome Receiver::TryReceive(absl::Span<std::byte> into, Record* record) {
  State& s = *state_;
  uint64_t behind_header = 0;
  if (s.Stopped() || !s.ring.HasKnownRecord(&behind_header) || !s.ring.FitsAny(into.size()))
      [[unlikely]]
    return s.TryReceiveSlowly(into, record);
  uint64_t word = 0;
  if (!s.ring.FetchKnown(behind_header, &word)) [[unlikely]]
    return s.Refused(word);
  if (!Consumer::IsShortAndWhole(word)) return s.Take(into.data(), record, word);
  const uint32_t size_bytes = Consumer::SizeOf(word);
  s.ring.CopyShort(s.ring.PayloadOffset(), absl::MakeSpan(into.data(), size_bytes));
  *record = s.ring.Step(word);
  return s.ring.ReleaseIsDue() ? s.TellReleased() : Outcome::kOk;
}

// The rest of it where the copy is long or there is padding. `into` has room for the record.
[[gnu::noinline]] Outcome Receiver::State::Take(std::byte* into, Record* record, uint64_t word) {
  if (Consumer::HasPadding(word) && !ring.PaddingIsZero(word)) return NotDone(ring.RefusePadding());
  ring.CopyLong(ring.PayloadOffset(), absl::MakeSpan(into, Consumer::SizeOf(word)));
  *record = ring.Step(word);
  return TellReleased();
}

[[gnu::noinline]] Outcome Receiver::State::TellReleased() {
  return ring.Release() ? SignalIfAwaited() : Outcome::kOk;
}

[[gnu::noinline, gnu::cold]] Outcome Receiver::State::Refused(uint64_t word) {
  return NotDone(ring.Refuse(word));
}

// With a look at the peer, or not at all.
[[gnu::noinline]] Outcome Receiver::State::TryReceiveSlowly(absl::Span<std::byte> into,
                                                            Record* record) {
  CheckExists();
  HearOfPoison();
  const uint64_t released_bytes = ring.released_bytes();
  const Outcome outcome = ring.TryReceive(into, record);
  if (outcome != Outcome::kOk) [[unlikely]]
    return NotDone(outcome);
  return ring.released_bytes() != released_bytes ? SignalIfAwaited() : Outcome::kOk;
}

Outcome Receiver::TryPeek(PeekedMessage* message) {
  State& s = *state_;
  uint64_t behind_header = 0;
  if (s.Stopped() || !s.ring.HasKnownRecord(&behind_header)) [[unlikely]]
    return s.TryPeekSlowly(message);
  uint64_t word = 0;
  if (!s.ring.FetchKnown(behind_header, &word)) [[unlikely]]
    return s.Refused(word);
  if (Consumer::HasPadding(word)) return s.PeekPadded(message, word);
  message->view = s.ring.ViewOf(s.ring.PayloadOffset(), Consumer::SizeOf(word));
  message->record = s.ring.Step(word);
  return Outcome::kOk;
}

[[gnu::noinline]] Outcome Receiver::State::PeekPadded(PeekedMessage* message, uint64_t word) {
  if (!ring.PaddingIsZero(word)) return NotDone(ring.RefusePadding());
  message->view = ring.ViewOf(ring.PayloadOffset(), Consumer::SizeOf(word));
  message->record = ring.Step(word);
  return Outcome::kOk;
}

[[gnu::noinline]] Outcome Receiver::State::TryPeekSlowly(PeekedMessage* message) {
  CheckExists();
  HearOfPoison();
  const Outcome outcome = ring.TryPeek(&message->record, &message->view);
  if (outcome != Outcome::kOk) [[unlikely]]
    return NotDone(outcome);
  return Outcome::kOk;
}

void Receiver::Release() {
  State& s = *state_;
  if (s.ring.ReleaseIsDue()) s.TellReleasedUnlessStopped();
}

[[gnu::noinline]] void Receiver::State::TellReleasedUnlessStopped() {
  CheckExists();
  if (ring.TellReleased()) SignalUnlessStopped();
}

// Tries and waits in turn until there is a message or there will be none.
template <typename Try>
absl::Status Receiver::Until(Try attempt, Deadline deadline) {
  State& s = state();
  bool last_look = false;
  while (true) {
    switch (attempt()) {
      case Outcome::kOk:
        return absl::OkStatus();
      case Outcome::kClosed:
        return s.ring.peer_gone() ? internal::PeerGoneStatus()
                                  : internal::EndOfStream("end of stream");
      case Outcome::kPoisoned:
        return internal::ViolationStatus(s.termination->poison());
      case Outcome::kTooLong:  // a sender's alone
      case Outcome::kWouldBlock:
        break;
    }
    // The peer's end was seen before this look, so what it had published was seen as well.
    if (last_look) return s.StatusOfDeath();
    const auto result = s.waiter->Wait([&] { return s.HasData(); },
                                       [&] { return s.ring.taken_records(); }, 1, deadline);
    if (result == internal::Waiter::Result::kPeerGone) {
      last_look = true;
    } else if (result != internal::Waiter::Result::kReady) {
      return internal::WaitStatus(result, s.termination->poison());
    }
  }
}

absl::StatusOr<Record> Receiver::Receive(absl::Span<std::byte> into, Deadline deadline) {
  Record record;
  absl::Status status = Until([&] { return TryReceive(into, &record); }, deadline);
  if (!status.ok()) return status;
  return record;
}

absl::StatusOr<PeekedMessage> Receiver::Peek(Deadline deadline) {
  PeekedMessage message;
  absl::Status status = Until([&] { return TryPeek(&message); }, deadline);
  if (!status.ok()) return status;
  return message;
}

absl::Status Receiver::State::StatusOfDeath() {
  ring.SetPeerGone();
  return internal::PeerGoneStatus();
}

void Receiver::Close() {
  State& s = state();
  if (s.ring.closed()) return;
  s.ring.Close();
  s.SignalUnlessStopped();
}

bool Receiver::PrepareToWait() {
  State& s = state();
  s.waiter->Refund(s.ring.taken_records(), 1);
  return s.waiter->Arm([&] { return s.HasData(); });
}

absl::Status Receiver::FinishWait() { return state().TakeWakeUps({}); }

absl::Status Receiver::State::TakeWakeUps(absl::Span<const short> revents) {
  const auto result = waiter->TakeWakeUps(
      HasData() ? internal::Waiter::Progress::kEnough : internal::Waiter::Progress::kNone, revents);
  // Looked at once more after a death was seen: what the peer had sent is still to be had.
  if (result == internal::Waiter::Result::kPeerGone) {
    return HasData() && !ring.peer_gone() ? absl::OkStatus() : StatusOfDeath();
  }
  return internal::WaitStatus(result, termination->poison());
}

class Receiver::Port final : public Waitable {
 public:
  explicit Port(State* state) : s_(*state) {}
  absl::Span<const pollfd> polled() override { return s_.waiter->polled(); }
  Armed Arm() override {
    const bool over = s_.ring.ended() || s_.ring.closed();
    if (over && std::exchange(told_end_, true)) return Armed::kOver;
    // A call of this end said so already, and the descriptors may have left the epoll.
    if (!over && s_.ring.peer_gone()) return Armed::kWoken;
    s_.waiter->Refund(s_.ring.taken_records(), 1);
    return s_.waiter->ArmForSet([this] { return s_.HasData(); });
  }
  void Disarm() override { s_.waiter->Disarm(); }
  bool TakeWakeUps(absl::Span<const short> revents, absl::Status* status) override {
    *status = s_.TakeWakeUps(revents);
    return !status->ok() || s_.HasData();
  }
  int64_t throttled_until_ns() const override { return s_.waiter->throttled_until_ns(); }
  bool ended() const override { return s_.termination->ended(); }

 private:
  State& s_;
  bool told_end_ = false;
};

Waitable* Receiver::waitable() const {
  State& s = state();
  if (s.waitable == nullptr) s.waitable = std::make_unique<Port>(&s);
  return s.waitable.get();
}

int Receiver::descriptor() const { return state().waiter->descriptor(); }
uint32_t Receiver::max_message_bytes() const { return state().ring.max_message_bytes(); }
uint64_t Receiver::capacity_bytes() const { return state().ring.capacity_bytes(); }
ArenaGeometry Receiver::arena_geometry() const { return state().session->receive()->arena; }
PeerMemory Receiver::arena_memory() const { return state().session->receive()->arena_memory; }

void Receiver::Poison(Violation violation) {
  state().termination->Poison(violation);
  state().stats.violations = 1;
}

Violation Receiver::violation() const { return state().termination->poison(); }
bool Receiver::peer_gone() const { return state().termination->peer_gone(); }
void Receiver::Interrupt() const { state().waiter->Interrupt(); }

ChannelStats Receiver::stats() const {
  const State& s = state();
  ChannelStats stats = s.stats;
  stats.messages = s.ring.taken_records();
  stats.bytes = s.ring.taken_bytes();
  return stats;
}

}  // namespace parley

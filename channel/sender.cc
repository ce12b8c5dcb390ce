// SPDX-License-Identifier: Apache-2.0
#include "parley/channel/sender.h"

#include <utility>

#include "parley/channel/internal/end_state.h"
#include "parley/channel/status.h"
#include "parley/wait/layout.h"
#include "parley/wait/wait_options.h"

namespace parley {

Sender::State::State(const std::shared_ptr<Session>& s)
    : EndState(s, s->Places(kSendEpochOffset, kReceiveEpochOffset), s->control(), s->send()->data,
               s->peer_control(), s->send()->ring) {}

// NOLINTNEXTLINE(performance-unnecessary-value-param): an end keeps its session
absl::StatusOr<Sender> Sender::Create(std::shared_ptr<Session> session,
                                      const WaitOptions& options) {
  Sender sender;
  sender.state_ = internal::EndHandle<State>(std::make_shared<State>(session));
  State& state = *sender.state_;
  auto waiter = internal::Waiter::Create(&state.events, state.session->send()->doorbell.get(),
                                         state.termination, options, &state.stats,
                                         2 * State::kStepsPerMessage);
  if (!waiter.ok()) return waiter.status();
  state.waiter = *std::move(waiter);
  return sender;
}

Sender::State::State() : EndState(OwnMemory(), OwnMemory(), PeerMemory(), RingGeometry{4096, 64}) {}

Sender::Sender() = default;
Sender::Sender(const Sender&) = default;
Sender::Sender(Sender&& other) noexcept = default;
Sender& Sender::operator=(Sender&& other) noexcept = default;

Sender::State& Sender::state() const {
  state_->CheckExists();
  return *state_;
}

// Compiled to code without a stack frame: whatever needs one is behind a call at the end.
Outcome Sender::TrySend(uint32_t tag, absl::Span<const std::byte> bytes) {
  State& s = *state_;
  if (s.Stopped() || !s.ring.TrySendShort(tag, bytes)) [[unlikely]]
    return s.TrySendSlowly(tag, bytes);
  ++s.messages;
  return s.SignalIfAwaited();
}

// Long, or with a look at the peer, or not at all.
[[gnu::noinline]] Outcome Sender::State::TrySendSlowly(uint32_t tag,
                                                       absl::Span<const std::byte> bytes) {
  CheckExists();
  HearOfPoison();
  const Outcome outcome = ring.TrySend(tag, bytes);
  if (outcome != Outcome::kOk) [[unlikely]]
    return NotDone(outcome);
  ++messages;
  return SignalIfAwaited();
}

absl::Status Sender::Send(uint32_t tag, absl::Span<const std::byte> bytes, Deadline deadline) {
  while (true) {
    const Outcome outcome = TrySend(tag, bytes);
    if (outcome == Outcome::kOk) return absl::OkStatus();
    if (outcome != Outcome::kWouldBlock) return StatusOf(outcome);
    absl::Status waited = WaitForFreeSpace(bytes.size(), deadline);
    if (!waited.ok()) return waited;
  }
}

Outcome Sender::TryReserve(std::size_t size_bytes, absl::Span<std::byte>* room) {
  State& s = *state_;
  if (!s.Stopped() && s.ring.ReserveKnown(size_bytes, room)) [[likely]]
    return Outcome::kOk;
  return s.TryReserveSlowly(size_bytes, room);
}

[[gnu::noinline]] Outcome Sender::State::TryReserveSlowly(std::size_t size_bytes,
                                                          absl::Span<std::byte>* room) {
  CheckExists();
  HearOfPoison();
  const Outcome outcome = ring.TryReserve(size_bytes, room);
  return outcome == Outcome::kOk ? outcome : NotDone(outcome);
}

absl::StatusOr<absl::Span<std::byte>> Sender::Reserve(std::size_t size_bytes, Deadline deadline) {
  while (true) {
    absl::Span<std::byte> room;
    const Outcome outcome = TryReserve(size_bytes, &room);
    if (outcome == Outcome::kOk) return room;
    if (outcome != Outcome::kWouldBlock) return StatusOf(outcome);
    absl::Status waited = WaitForFreeSpace(size_bytes, deadline);
    if (!waited.ok()) return waited;
  }
}

void Sender::Commit(uint32_t tag, std::size_t used_bytes) {
  State& s = *state_;  // of one that does not exist nothing is reserved
  s.ring.Commit(tag, used_bytes);
  ++s.messages;
  s.SignalUnlessStopped();
}

void Sender::DropReserved() { state().ring.DropReserved(); }
bool Sender::reserved() const { return state().ring.reserved(); }

Outcome Sender::TryStage(uint32_t tag, absl::Span<const std::byte> bytes) {
  State& s = *state_;
  if (s.Stopped() || !s.ring.StageShort(tag, bytes)) [[unlikely]]
    return s.TryStageSlowly(tag, bytes);
  ++s.messages;
  return Outcome::kOk;
}

[[gnu::noinline]] Outcome Sender::State::TryStageSlowly(uint32_t tag,
                                                        absl::Span<const std::byte> bytes) {
  CheckExists();
  HearOfPoison();
  const Outcome outcome = ring.TryStage(tag, bytes);
  if (outcome != Outcome::kOk) [[unlikely]]
    return NotDone(outcome);
  ++messages;
  return Outcome::kOk;
}

void Sender::Stage(uint32_t tag, std::size_t used_bytes) {
  State& s = *state_;
  s.ring.Stage(tag, used_bytes);
  ++s.messages;
}

// Signals only where something moved: a signal without it is one more spurious wake-up of the peer.
void Sender::Publish() { state().Publish(); }

void Sender::State::Publish() {
  if (ring.Publish()) SignalUnlessStopped();
}

void Sender::Close() {
  State& s = state();
  if (s.ring.closed()) return;
  s.ring.Close();
  s.SignalUnlessStopped();
}

absl::Status Sender::WaitForFreeSpace(std::size_t size_bytes, Deadline deadline) {
  State& s = *state_;
  return s.Wait([&] { return s.HasFreeSpace(size_bytes); }, s.Enough(size_bytes), deadline);
}

absl::Status Sender::State::Wait(absl::FunctionRef<bool()> ready, uint64_t enough,
                                 Deadline deadline) {
  // What is staged must be seen, or both sides would wait.
  Publish();
  return StatusOf(waiter->Wait(ready, [this] { return Progress(); }, enough, deadline));
}

absl::Status Sender::State::StatusOf(internal::Waiter::Result result) {
  return result == internal::Waiter::Result::kPeerGone
             ? StatusOf(EndWithPeer())
             : internal::WaitStatus(result, termination->poison());
}

absl::Status Sender::AwaitDrained(Deadline deadline) {
  State& s = state();
  Publish();
  const auto settled = [&] {
    s.HearOfPoison();
    return s.ring.Drained() || s.ring.peer_ended() || s.ring.peer_gone() ||
           s.ring.violation() != Violation::kNone;
  };
  if (!settled()) {
    const auto result = s.waiter->Wait(
        settled, [&] { return s.Progress(); }, s.ring.capacity_bytes() / State::kStepsPerMessage,
        deadline);
    if (result == internal::Waiter::Result::kPeerGone) {
      static_cast<void>(s.EndWithPeer());  // looks once more: it may have taken the rest
    } else if (result != internal::Waiter::Result::kReady) {
      return s.StatusOf(result);
    }
  }
  const bool drained = s.ring.Drained();
  if (s.ring.violation() != Violation::kNone) return s.StatusOf(s.NotDone(Outcome::kPoisoned));
  return drained ? absl::OkStatus() : s.StatusOf(Outcome::kClosed);
}

bool Sender::PrepareToWait(std::size_t size_bytes) {
  Publish();
  State& s = *state_;
  s.waiter->Refund(s.Progress(), s.Enough(size_bytes));
  return s.waiter->Arm([&] { return s.Ready(size_bytes); });
}

absl::Status Sender::FinishWait(std::size_t size_bytes) {
  return state().TakeWakeUps(size_bytes, {});
}

absl::Status Sender::State::TakeWakeUps(std::size_t size_bytes, absl::Span<const short> revents) {
  const bool ready = Ready(size_bytes);
  // Since the last time, also where PrepareToWait saw it before the signal for it came.
  const uint64_t step = Progress() - taken_at_last_wake_up;
  taken_at_last_wake_up = Progress();
  using Progress = internal::Waiter::Progress;
  const auto result = waiter->TakeWakeUps(ready       ? Progress::kEnough
                                          : step != 0 ? Progress::kLittle
                                                      : Progress::kNone,
                                          revents);
  if (ready && !ring.peer_gone() && result == internal::Waiter::Result::kPeerGone) {
    return absl::OkStatus();
  }
  return StatusOf(result);
}

class Sender::Port final : public Waitable {
 public:
  explicit Port(State* state) : s_(*state) {}
  void SetSize(std::size_t size_bytes) { size_bytes_ = size_bytes; }
  absl::Span<const pollfd> polled() override { return s_.waiter->polled(); }
  Armed Arm() override {
    const bool over = s_.ring.peer_ended() || s_.ring.closed();
    if (over && std::exchange(told_end_, true)) return Armed::kOver;
    // A call of this end said so already, and the descriptors may have left the epoll.
    if (!over && s_.ring.peer_gone()) return Armed::kWoken;
    s_.Publish();
    s_.waiter->Refund(s_.Progress(), s_.Enough(size_bytes_));
    return s_.waiter->ArmForSet([this] { return s_.Ready(size_bytes_); });
  }
  void Disarm() override { s_.waiter->Disarm(); }
  bool TakeWakeUps(absl::Span<const short> revents, absl::Status* status) override {
    *status = s_.TakeWakeUps(size_bytes_, revents);
    return !status->ok() || s_.Ready(size_bytes_);
  }
  int64_t throttled_until_ns() const override { return s_.waiter->throttled_until_ns(); }
  bool ended() const override { return s_.termination->ended(); }

 private:
  State& s_;
  std::size_t size_bytes_ = 0;
  bool told_end_ = false;
};

Waitable* Sender::waitable(std::size_t size_bytes) const {
  State& s = state();
  if (s.waitable == nullptr) s.waitable = std::make_unique<Port>(&s);
  static_cast<Port*>(s.waitable.get())->SetSize(size_bytes);
  return s.waitable.get();
}

bool Sender::closed() const { return state().ring.closed(); }
int Sender::descriptor() const { return state().waiter->descriptor(); }
uint32_t Sender::max_message_bytes() const { return state().ring.max_message_bytes(); }
uint64_t Sender::capacity_bytes() const { return state().ring.capacity_bytes(); }
ArenaGeometry Sender::arena_geometry() const { return state().session->send()->arena; }
OwnMemory Sender::arena_memory() const { return state().session->send()->arena_memory; }

void Sender::Poison(Violation violation) {
  state().termination->Poison(violation);
  state().stats.violations = 1;
}

Violation Sender::violation() const { return state().termination->poison(); }
bool Sender::peer_gone() const { return state().termination->peer_gone(); }
void Sender::Interrupt() const { state().waiter->Interrupt(); }

ChannelStats Sender::stats() const {
  const State& s = state();
  ChannelStats stats = s.stats;
  stats.messages = s.messages;
  stats.bytes = s.ring.staged_bytes();
  return stats;
}

absl::Status Sender::StatusOf(Outcome outcome) const { return state_->StatusOf(outcome); }

absl::Status Sender::State::StatusOf(Outcome outcome) const {
  if (outcome == Outcome::kPoisoned) return internal::ViolationStatus(termination->poison());
  if (outcome == Outcome::kTooLong) return internal::TooLongStatus(ring.max_message_bytes());
  // It may have closed before it ended: then it closed.
  if (termination->peer_gone() && !ring.peer_ended()) return internal::PeerGoneStatus();
  return internal::EndOfStream("the peer takes no more");
}

}  // namespace parley

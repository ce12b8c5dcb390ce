#include "parley/channel/receiver.h"

#include <utility>

#include "parley/channel/status.h"
#include "parley/os/check.h"
#include "parley/wait/layout.h"

namespace parley {

Receiver::State::State(std::shared_ptr<Session> s)
    : session(std::move(s)),
      consumer(session->control(), session->peer_control(), session->receive()->data,
               session->receive()->ring) {}

absl::StatusOr<Receiver> Receiver::Create(std::shared_ptr<Session> session,
                                          const WaitOptions& options) {
  Receiver receiver;
  receiver.state_ = std::make_shared<State>(std::move(session));
  State& state = *receiver.state_;
  auto waiter =
      internal::Waiter::Create(state.session->Places(kReceiveEpochOffset, kSendEpochOffset),
                               state.session->receive()->doorbell.get(),
                               &state.session->termination(), options, &state.stats);
  if (!waiter.ok()) return waiter.status();
  state.waiter = *std::move(waiter);
  return receiver;
}

Receiver::State& Receiver::state() const {
  PARLEY_CHECK(state_ != nullptr, "this channel has no receiving direction");
  return *state_;
}

// Spreads a violation that was found here to the whole channel.
[[gnu::noinline]] Outcome Receiver::NotDone(Outcome outcome) {
  State& s = *state_;
  if (outcome == Outcome::kPoisoned) {
    s.session->termination().Poison(s.consumer.violation());
    s.stats.violations = 1;
  }
  if (outcome != Outcome::kWouldBlock) return outcome;
  // All that a dead peer had sent was taken.
  return s.waiter->PeerGoneAtEmptyPoll() ? Outcome::kClosed : Outcome::kWouldBlock;
}

Outcome Receiver::TryReceive(absl::Span<std::byte> into, Record* record) {
  State& s = state();
  s.HearOfPoison();
  const uint64_t released_bytes = s.consumer.released_bytes();
  const Outcome outcome = s.consumer.TryReceive(into, record);
  if (outcome != Outcome::kOk) [[unlikely]]
    return NotDone(outcome);
  ++s.stats.messages;
  s.stats.bytes += record->size_bytes;
  if (s.consumer.released_bytes() != released_bytes) s.waiter->SignalIfAwaited();
  return Outcome::kOk;
}

Outcome Receiver::TryPeek(PeekedMessage* message) {
  State& s = state();
  s.HearOfPoison();
  const Outcome outcome = s.consumer.TryPeek(&message->record, &message->view);
  if (outcome != Outcome::kOk) [[unlikely]]
    return NotDone(outcome);
  ++s.stats.messages;
  s.stats.bytes += message->record.size_bytes;
  return Outcome::kOk;
}

// After a violation no word of the peer's is read again, so nobody is rung either.
void Receiver::SignalUnlessPoisoned() {
  State& s = *state_;
  if (s.session->termination().poison() == Violation::kNone) [[likely]]
    s.waiter->SignalIfAwaited();
}

void Receiver::Release() {
  State& s = state();
  const uint64_t published_bytes = s.consumer.released_bytes();
  s.consumer.Release();
  if (s.consumer.released_bytes() != published_bytes) SignalUnlessPoisoned();
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
        return s.consumer.ended() || !s.session->termination().peer_gone()
                   ? internal::EndOfStream("end of stream")
                   : internal::PeerGoneStatus();
      case Outcome::kPoisoned:
        return internal::ViolationStatus(s.session->termination().poison());
      case Outcome::kTooLong:  // a sender's alone
      case Outcome::kWouldBlock:
        break;
    }
    // The peer's end was seen before this look, so what it had published was seen as well.
    if (last_look) return internal::PeerGoneStatus();
    const auto result =
        s.waiter->Wait([&] { return s.HasData(); }, [&] { return s.stats.messages; }, 1, deadline);
    if (result == internal::Waiter::Result::kPeerGone) {
      last_look = true;
    } else if (result != internal::Waiter::Result::kReady) {
      return internal::WaitStatus(result, s.session->termination().poison());
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

void Receiver::Close() {
  State& s = state();
  if (s.consumer.closed()) return;
  s.consumer.Close();
  SignalUnlessPoisoned();
}

bool Receiver::PrepareToWait() {
  State& s = state();
  s.waiter->Refund(s.stats.messages, 1);
  return s.waiter->Arm([&] { return s.HasData(); });
}

absl::Status Receiver::FinishWait() { return state().TakeWakeUps({}); }

absl::Status Receiver::State::TakeWakeUps(absl::Span<const short> revents) {
  const auto result = waiter->TakeWakeUps(
      HasData() ? internal::Waiter::Progress::kEnough : internal::Waiter::Progress::kNone, revents);
  // Looked at once more after a death was seen: what the peer had sent is still to be had.
  if (result == internal::Waiter::Result::kPeerGone && HasData()) return absl::OkStatus();
  return internal::WaitStatus(result, session->termination().poison());
}

class Receiver::Port final : public Waitable {
 public:
  explicit Port(State* state) : s_(*state) {}
  absl::Span<const pollfd> polled() override { return s_.waiter->polled(); }
  Armed Arm() override {
    const bool over = (s_.consumer.ended() || s_.consumer.closed()) && !s_.queued;
    if (over && std::exchange(told_end_, true)) return Armed::kOver;
    s_.waiter->Refund(s_.stats.messages, 1);
    return s_.waiter->ArmForSet([this] { return Ready(); });
  }
  void Disarm() override { s_.waiter->Disarm(); }
  bool TakeWakeUps(absl::Span<const short> revents, absl::Status* status) override {
    *status = s_.TakeWakeUps(revents);
    return !status->ok() || Ready();
  }
  int64_t throttled_until_ns() const override { return s_.waiter->throttled_until_ns(); }
  bool ended() const override {
    const internal::Termination& end = s_.session->termination();
    return end.poison() != Violation::kNone || end.peer_gone();
  }

 private:
  bool Ready() { return s_.queued || s_.HasData(); }
  State& s_;
  bool told_end_ = false;
};

Waitable* Receiver::waitable() const {
  State& s = state();
  if (s.waitable == nullptr) s.waitable = std::make_unique<Port>(&s);
  return s.waitable.get();
}

int Receiver::descriptor() const { return state().waiter->descriptor(); }
uint32_t Receiver::max_message_bytes() const { return state().consumer.max_message_bytes(); }
uint64_t Receiver::capacity_bytes() const { return state().consumer.capacity_bytes(); }
FrameGeometry Receiver::frame_geometry() const { return state().session->receive()->frames; }
PeerMemory Receiver::frame_memory() const { return state().session->receive()->frame_memory; }

void Receiver::Poison(Violation violation) {
  state().session->termination().Poison(violation);
  state().stats.violations = 1;
}

Violation Receiver::violation() const { return state().session->termination().poison(); }
bool Receiver::peer_gone() const { return state().session->termination().peer_gone(); }
void Receiver::Interrupt() const { state().waiter->Interrupt(); }
const ChannelStats& Receiver::stats() const { return state().stats; }

}  // namespace parley

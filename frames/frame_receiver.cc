// SPDX-License-Identifier: Apache-2.0
#include "parley/frames/frame_receiver.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "parley/boundary/own_memory.h"
#include "parley/boundary/untrusted.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/internal/end_state.h"
#include "parley/frames/receiver_account.h"
#include "parley/handshake/session.h"
#include "parley/os/check.h"
#include "parley/shm/broadcast.h"

namespace parley {

namespace internal {

struct FrameReceiverState {
  FrameReceiverState(const Channel& channel, const ArenaGeometry& geometry,
                     const PeerMemory& memory)
      : receiver(channel.receiver),
        arena(memory),
        returns(receiver.state().session->control().Part(kFrameReturnsOffset,
                                                         sizeof(FrameReturnsWire))),
        account(geometry) {}

  Receiver::State& end() { return receiver.state(); }

  // Whether the peer says that the use is over: it took the frame back.
  bool IsOver(uint32_t id, uint64_t generation) const {
    // TRUST: compared with what was announced, and nothing else. A peer can lie either way, as it
    // can about the bytes.
    return arena.LoadRelaxed64(FrameLineOffset(id)).AnyValueIsAcceptable() != generation;
  }

  // Takes what was peeked at, and lets the ring have it back. kWouldBlock: the frame was taken back
  // before we got it.
  Outcome Take(const PeekedMessage& message, InFrame* frame);
  Outcome Open(uint32_t tag, absl::Span<const std::byte> message, InFrame* frame);
  // Of a record of `record_bytes` that was fetched: all of the frame but its metadata.
  Outcome Hold(uint32_t tag, std::size_t record_bytes, const FrameSentWire& fetched,
               InFrame* frame);
  static bool IsRecord(std::size_t record_bytes) {
    return record_bytes >= sizeof(FrameSentWire) &&
           record_bytes <= sizeof(FrameSentWire) + kMaxFrameMetadataBytes;
  }
  void Return(uint32_t id, uint64_t generation);
  // The peer may wait for free space in the ring, which it was not told of by a return.
  void SignalFreeSpace() {
    if (!unsignalled) return;
    unsignalled = false;
    end().SignalUnlessStopped();
  }
  void LetGo() {
    if (--handles != 0) return;
    const auto last = std::move(self);
  }

  Receiver receiver;  // a second handle to the end of the channel
  const PeerMemory arena;
  OwnMemory returns;  // FrameReturnsWire
  FrameReceiverAccount account;
  FrameReceiverStats stats;
  uint64_t published = 0;
  bool unsignalled = false;
  uint32_t handles = 1;                      // the FrameReceiver, and its frames
  std::unique_ptr<FrameReceiverState> self;  // until the last of them ends
};

}  // namespace internal

// --- InFrame -------------------------------------------------------------------------------------

void InFrame::MoveFrom(InFrame& other) {
  state_ = std::exchange(other.state_, nullptr);
  generation_ = other.generation_;
  id_ = other.id_;
  tag_ = other.tag_;
  dropped_ = other.dropped_;
  metadata_bytes_ = std::exchange(other.metadata_bytes_, 0);
  view_ = std::exchange(other.view_, PeerView());
  std::copy_n(other.metadata_.begin(), metadata_bytes_, metadata_.begin());
}

bool InFrame::StillValid() const {
  if (state_ == nullptr) return false;
  if (state_->end().Stopped() || !state_->account.Holds(id_, generation_)) return false;
  // PAIRS WITH: the fence in Revoke, in the peer's process: if one of the bytes that were read is
  // of another frame, the generation is that of no frame, or of another.
  std::atomic_thread_fence(std::memory_order_acquire);
  return !state_->IsOver(id_, generation_);
}

bool InFrame::CopyOut(absl::Span<std::byte> into) const {
  if (into.size() > size_bytes()) return false;
  view_.CopyTo(0, into);
  return StillValid();
}

void InFrame::Reset() {
  if (state_ == nullptr) return;
  auto* state = std::exchange(state_, nullptr);
  view_ = PeerView();
  metadata_bytes_ = 0;
  state->Return(id_, generation_);
  state->LetGo();
}

// --- FrameReceiver -------------------------------------------------------------------------------

absl::StatusOr<FrameReceiver> FrameReceiver::Create(const Channel& channel) {
  if (!channel.receiver) return absl::FailedPreconditionError("the channel does not receive");
  ArenaGeometry geometry = channel.receiver.arena_geometry();
  PeerMemory memory = channel.receiver.arena_memory();
  if (geometry.bytes == 0) {
    const BroadcastView* const broadcast = channel.session->broadcast();
    const std::optional<BroadcastSection> section =
        broadcast != nullptr ? broadcast->Find(kSectionFrames) : std::nullopt;
    if (!section) {
      return absl::FailedPreconditionError(
          "the channel has no arena to receive from: AcceptOptions::send.arena or receive.arena, "
          "or a broadcast with frames");
    }
    const auto announced = ArenaOf(section->section);
    if (!announced.ok()) return announced.status();
    geometry = *announced;
    memory = section->memory;
  }
  if (std::exchange(channel.receiver.state().has_port, true)) {
    return absl::FailedPreconditionError("the channel has a FrameReceiver, or had one");
  }
  auto made = std::make_unique<internal::FrameReceiverState>(channel, geometry, memory);
  internal::FrameReceiverState* const state = made.get();
  state->self = std::move(made);
  return FrameReceiver(state);
}

FrameReceiver::~FrameReceiver() {
  if (state_ != nullptr) state_->LetGo();
}

void internal::FrameReceiverState::Return(uint32_t id, uint64_t generation) {
  if (!account.GiveBack(id, generation)) return;
  // What was read of the frame was read before.
  returns.StoreRelease64(FrameReturnOffset(id), generation);
  returns.StoreRelease64(0, ++published);
  unsignalled = false;
  end().SignalUnlessStopped();
}

Outcome internal::FrameReceiverState::Hold(uint32_t tag, std::size_t record_bytes,
                                           const FrameSentWire& fetched, InFrame* frame) {
  FrameSentWire sent = {};
  const Violation found = IsRecord(record_bytes)
                              ? account.TakeSent(Untrusted<FrameSentWire>(fetched), &sent)
                              : Violation::kMetadataInvalid;
  if (found != Violation::kNone) [[unlikely]] {
    receiver.Poison(found);
    return Outcome::kPoisoned;
  }
  // TRUST: a number for the caller's statistics, and any will do.
  stats.dropped_by_sender += sent.dropped;
  if (IsOver(sent.id, sent.generation)) [[unlikely]] {
    account.Forget(sent.id);
    return Outcome::kWouldBlock;
  }
  frame->state_ = this;
  ++handles;
  frame->generation_ = sent.generation;
  frame->id_ = sent.id;
  frame->tag_ = tag;
  frame->dropped_ = sent.dropped;
  frame->view_ = arena.ViewOf(kFrameTableBytes + sent.offset_bytes, sent.size_bytes);
  frame->metadata_bytes_ = static_cast<uint32_t>(record_bytes - sizeof(FrameSentWire));
  ++stats.received;
  return Outcome::kOk;
}

Outcome internal::FrameReceiverState::Take(const PeekedMessage& message, InFrame* frame) {
  // The record's length is private.
  const std::size_t record_bytes = message.view.size_bytes();
  FrameSentWire fetched = {};
  if (IsRecord(record_bytes)) {
    message.view.CopyTo(0, WritableBytesOfWire(absl::MakeSpan(&fetched, 1)));
  }
  const Outcome outcome = Hold(message.record.tag, record_bytes, fetched, frame);
  if (outcome == Outcome::kPoisoned) [[unlikely]]
    return outcome;
  if (outcome == Outcome::kOk && frame->metadata_bytes_ != 0) {
    message.view.CopyTo(sizeof(FrameSentWire),
                        absl::MakeSpan(frame->metadata_.data(), frame->metadata_bytes_));
  }
  // Without a signal, which the frame's return brings: a peer that waits for the frame would be
  // woken twice.
  if (end().ring.Release()) unsignalled = true;
  return outcome;
}

Outcome internal::FrameReceiverState::Open(uint32_t tag, absl::Span<const std::byte> message,
                                           InFrame* frame) {
  // It may have been received before that.
  if (end().Stopped()) return Outcome::kPoisoned;
  FrameSentWire fetched = {};
  if (IsRecord(message.size())) {
    static_cast<void>(ReadWire(message.first(sizeof(fetched)), &fetched));
  }
  const Outcome outcome = Hold(tag, message.size(), fetched, frame);
  if (outcome == Outcome::kOk) {
    const auto metadata = message.subspan(sizeof(fetched));
    std::copy(metadata.begin(), metadata.end(), frame->metadata_.begin());
  }
  return outcome;
}

Outcome FrameReceiver::TryReceive(InFrame* frame) {
  internal::FrameReceiverState& s = *state_;
  frame->Reset();
  for (int taken = 0; taken < kMaxRecordsPerCall; ++taken) {
    PeekedMessage message;
    Outcome outcome = s.receiver.TryPeek(&message);
    if (outcome != Outcome::kOk) {
      s.SignalFreeSpace();
      return outcome;
    }
    outcome = s.Take(message, frame);
    if (outcome != Outcome::kWouldBlock) return outcome;
  }
  return Outcome::kWouldBlock;
}

Outcome FrameReceiver::Open(uint32_t tag, absl::Span<const std::byte> message, InFrame* frame) {
  frame->Reset();
  return state_->Open(tag, message, frame);
}

Outcome FrameReceiver::TryReceiveLatest(InFrame* frame) {
  internal::FrameReceiverState& s = *state_;
  frame->Reset();
  for (int taken = 0; taken < kMaxRecordsPerCall; ++taken) {
    PeekedMessage message;
    Outcome outcome = s.receiver.TryPeek(&message);
    InFrame next;
    if (outcome == Outcome::kOk) outcome = s.Take(message, &next);
    if (outcome == Outcome::kPoisoned) {
      frame->Reset();
      return outcome;
    }
    if (next) {
      if (*frame) ++s.stats.skipped;
      *frame = std::move(next);
      continue;
    }
    if (outcome == Outcome::kWouldBlock && s.end().HasData()) continue;  // it was taken back
    if (*frame) return Outcome::kOk;
    s.SignalFreeSpace();
    return outcome;
  }
  return *frame ? Outcome::kOk : Outcome::kWouldBlock;
}

absl::StatusOr<InFrame> FrameReceiver::Receive(Deadline deadline) {
  internal::FrameReceiverState& s = *state_;
  InFrame frame;
  if (TryReceive(&frame) == Outcome::kOk) return frame;
  while (true) {
    const auto message = s.receiver.Peek(deadline);
    if (!message.ok()) return message.status();
    const Outcome outcome = s.Take(*message, &frame);
    if (outcome == Outcome::kOk) return frame;
    if (outcome == Outcome::kPoisoned) return s.receiver.Peek(deadline).status();  // says so
    s.SignalFreeSpace();
    // What is there is taken whatever the time, but a peer that takes back all that it sends can't
    // keep us here.
    if (deadline.Expired()) {
      return absl::DeadlineExceededError("the peer took back in time whatever it sent");
    }
  }
}

void FrameReceiver::Close() { state_->receiver.Close(); }

bool FrameReceiver::PrepareToWait() {
  state_->SignalFreeSpace();
  return state_->receiver.PrepareToWait();
}
absl::Status FrameReceiver::FinishWait() { return state_->receiver.FinishWait(); }
int FrameReceiver::descriptor() const { return state_->receiver.descriptor(); }
Waitable* FrameReceiver::waitable() const { return state_->receiver.waitable(); }
void FrameReceiver::Interrupt() const { state_->receiver.Interrupt(); }

const ArenaGeometry& FrameReceiver::arena() const { return state_->account.arena(); }
Violation FrameReceiver::violation() const { return state_->receiver.violation(); }
FrameReceiverStats FrameReceiver::stats() const {
  FrameReceiverStats stats = state_->stats;
  stats.taken_back = state_->account.taken_back();
  stats.missed = state_->account.missed();
  return stats;
}

}  // namespace parley

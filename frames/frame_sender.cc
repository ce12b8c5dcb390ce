// SPDX-License-Identifier: Apache-2.0
#include "parley/frames/frame_sender.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/internal/end_state.h"
#include "parley/frames/arena_allocator.h"
#include "parley/frames/internal/frame_owner.h"
#include "parley/frames/sender_account.h"
#include "parley/os/check.h"

namespace parley {

namespace internal {

struct FrameSenderState final : FrameOwner {
  FrameSenderState(const Channel& channel, const FrameSenderOptions& given)
      : FrameOwner(channel.sender.arena_memory(), &account),
        sender(channel.sender),
        options(given),
        geometry(sender.arena_geometry()),
        returns(sender.state().session->peer_control().Part(kFrameReturnsOffset,
                                                            sizeof(FrameReturnsWire))),
        account(geometry) {}

  Sender::State& end() { return sender.state(); }
  auto Word() const {
    return [this](uint32_t id) { return returns.LoadAcquire64(FrameReturnOffset(id)); };
  }
  // TRUST: compared with the last one seen. A lie costs a look at the words.
  uint64_t Published() const { return returns.LoadAcquire64(0).AnyValueIsAcceptable(); }

  // What came back in order, if anything did. Only where there was a return since the last time.
  void TakeReturns() {
    // What it writes after its end is nothing.
    if (end().ring.peer_gone()) {
      some_left = false;
      return;
    }
    const uint64_t published = Published();
    if (published == seen) return;
    seen = published;
    some_left = true;
    Count(account.TakeReturnsInOrder(Word()));
  }
  // The rest of it; true if there was any.
  bool TakeOthers() {
    if (!some_left) return false;
    some_left = false;
    const uint32_t taken = account.TakeAllReturns(Word());
    Count(taken);
    return taken != 0;
  }
  void Count(uint32_t taken) {
    stats.returned += taken;
    end().port_progress += taken * kProgressOfAReturn;
  }
  bool Revoke() {
    const auto revoked = account.RevokeOldest();
    if (!revoked) return false;
    // Who still reads the frame finds out: it looks at the generation after the bytes.
    arena.StoreRelaxed64(FrameLineOffset(revoked->id), 0);
    // PAIRS WITH: the fence in InFrame::StillValid, in the peer's process.
    std::atomic_thread_fence(std::memory_order_release);
    ++stats.revoked;
    ++dropped;
    return true;
  }
  // Whether TryAcquire is worth a call.
  bool Ready(std::size_t size_bytes) {
    if (end().ring.peer_gone()) return true;
    if (account.allocator().MayFit(size_bytes)) return true;
    if ((some_left || Published() != seen) && account.AnyReturned(Word())) return true;
    return size_bytes > geometry.bytes || end().PollEnd() != Outcome::kWouldBlock;
  }
  // Nothing is free: whether something may come back.
  Outcome NothingFree() {
    const Outcome outcome = end().PollEnd();
    return outcome == Outcome::kWouldBlock ? end().NotDone(outcome) : outcome;
  }
  uint32_t Allocate(std::size_t size_bytes) {
    // Returns are looked at where they may matter: each look takes a line of the cache away from
    // the peer.
    if (account.allocator().WouldReuse(size_bytes)) return account.TryAcquire(size_bytes);
    TakeReturns();
    uint32_t extent = account.TryAcquire(size_bytes);
    if (extent == ArenaAllocator::kNone && TakeOthers()) extent = account.TryAcquire(size_bytes);
    return extent;
  }

  Sender sender;  // a second handle to the end of the channel
  const FrameSenderOptions options;
  const ArenaGeometry geometry;
  const PeerMemory returns;  // FrameReturnsWire
  FrameSenderAccount account;
  FrameSenderStats stats;
  uint64_t seen = 0;       // of FrameReturnsWire::published
  bool some_left = false;  // something came back since TakeOthers, which looked at every word
  uint32_t dropped = 0;    // since the last record
};

}  // namespace internal

// --- FrameSender ---------------------------------------------------------------------------------

absl::StatusOr<FrameSender> FrameSender::Create(const Channel& channel,
                                                const FrameSenderOptions& options) {
  PARLEY_CHECK(options.metadata_bytes <= kMaxFrameMetadataBytes,
               "FrameSenderOptions: more than 256 bytes of metadata");
  if (!channel.sender) return absl::FailedPreconditionError("the channel does not send");
  if (channel.sender.arena_geometry().bytes == 0) {
    return absl::FailedPreconditionError(
        "the channel has no arena to send from: AcceptOptions::send.arena or receive.arena");
  }
  const std::size_t record_bytes = sizeof(FrameSentWire) + options.metadata_bytes;
  if (channel.sender.max_message_bytes() < record_bytes) {
    return absl::FailedPreconditionError("frames need messages of " + std::to_string(record_bytes) +
                                         " bytes, longer than " +
                                         std::to_string(channel.sender.max_message_bytes()));
  }
  if (std::exchange(channel.sender.state().has_port, true)) {
    return absl::FailedPreconditionError("the channel has a FrameSender, or had one");
  }
  auto made = std::make_unique<internal::FrameSenderState>(channel, options);
  internal::FrameSenderState* const state = made.get();
  state->self = std::move(made);
  state->end().port_ready = [state](std::size_t size_bytes) { return state->Ready(size_bytes); };
  return FrameSender(state);
}

FrameSender::~FrameSender() {
  if (state_ == nullptr) return;
  state_->end().port_ready = nullptr;
  state_->LetGo();
}

Outcome FrameSender::TryAcquire(std::size_t size_bytes, OutFrame* frame) {
  internal::FrameSenderState& s = *state_;
  if (s.end().Stopped()) [[unlikely]]
    return Outcome::kPoisoned;
  const uint32_t extent = s.Allocate(size_bytes);
  if (extent == ArenaAllocator::kNone) [[unlikely]]
    return size_bytes > s.geometry.bytes ? Outcome::kTooLong : s.NothingFree();
  *frame = s.Handle(extent, size_bytes);
  return Outcome::kOk;
}

absl::StatusOr<OutFrame> FrameSender::Acquire(std::size_t size_bytes, Deadline deadline) {
  internal::FrameSenderState& s = *state_;
  OutFrame frame;
  while (true) {
    const Outcome outcome = TryAcquire(size_bytes, &frame);
    if (outcome == Outcome::kOk) return frame;
    if (outcome == Outcome::kTooLong) {
      return absl::InvalidArgumentError("a frame of " + std::to_string(size_bytes) +
                                        " bytes, longer than the arena of " +
                                        std::to_string(s.geometry.bytes));
    }
    if (outcome != Outcome::kWouldBlock) return s.sender.StatusOf(outcome);
    if (s.options.when_full == WhenFull::kDropNewest) {
      ++s.stats.dropped_newest;
      ++s.dropped;
      return absl::ResourceExhaustedError("the receiver has the frames; this one was left out");
    }
    if (s.options.when_full == WhenFull::kDropOldest) {
      if (!s.Revoke()) {
        return absl::ResourceExhaustedError("the arena is full of frames that were not sent");
      }
      ++s.stats.dropped_oldest;
      continue;
    }
    absl::Status waited = s.end().Wait([&] { return s.Ready(size_bytes); }, 1, deadline);
    if (absl::IsDeadlineExceeded(waited)) {
      ++s.stats.dropped_timeout;
      ++s.dropped;
    }
    if (!waited.ok()) return waited;
  }
}

Outcome FrameSender::TrySend(OutFrame* frame, std::size_t used_bytes, uint32_t tag,
                             absl::Span<const std::byte> metadata) {
  internal::FrameSenderState& s = *state_;
  PARLEY_CHECK(frame->owner_ == state_, "a frame that is none of this FrameSender's can't be sent");
  PARLEY_CHECK(used_bytes <= frame->bytes_.size(), "more bytes than the frame has");
  PARLEY_CHECK(metadata.size() <= s.options.metadata_bytes,
               "more metadata than FrameSenderOptions::metadata_bytes");
  std::optional<FrameSenderAccount::Use> use = s.account.NextUse();
  if (!use) [[unlikely]] {
    s.TakeReturns();
    s.TakeOthers();
    use = s.account.NextUse();
    if (!use) return s.NothingFree();
  }
  // Before the record that names it. What is behind the fence of an older use is there already.
  s.arena.StoreRelaxed64(FrameLineOffset(use->id), use->generation);
  const auto header =
      WireBytes(FrameSentWire{use->id, s.dropped, use->generation,
                              s.account.allocator().offset_bytes(frame->extent_), used_bytes});
  Outcome outcome = Outcome::kOk;
  if (metadata.empty()) {
    outcome = s.sender.TrySend(tag, header);
  } else {
    std::array<std::byte, sizeof(FrameSentWire) + kMaxFrameMetadataBytes> record;
    std::copy(header.begin(), header.end(), record.begin());
    std::copy(metadata.begin(), metadata.end(), record.begin() + header.size());
    outcome =
        s.sender.TrySend(tag, absl::MakeConstSpan(record.data(), header.size() + metadata.size()));
  }
  if (outcome != Outcome::kOk) [[unlikely]]
    return outcome;
  s.account.Lend(frame->extent_);
  ++s.stats.sent;
  s.dropped = 0;
  s.TakeOver(frame);
  return Outcome::kOk;
}

absl::Status FrameSender::Send(OutFrame* frame, std::size_t used_bytes, uint32_t tag,
                               absl::Span<const std::byte> metadata, Deadline deadline) {
  internal::FrameSenderState& s = *state_;
  while (true) {
    const Outcome outcome = TrySend(frame, used_bytes, tag, metadata);
    if (outcome == Outcome::kOk) return absl::OkStatus();
    if (outcome != Outcome::kWouldBlock) return s.sender.StatusOf(outcome);
    const bool no_id = !s.account.NextUse();
    const std::size_t record_bytes = sizeof(FrameSentWire) + metadata.size();
    absl::Status waited = s.end().Wait(
        [&] {
          return no_id ? (s.Published() != s.seen && s.account.AnyReturned(s.Word())) ||
                             s.end().PollEnd() != Outcome::kWouldBlock
                       : s.end().HasFreeSpace(record_bytes);
        },
        1, deadline);
    if (!waited.ok()) return waited;
  }
}

bool FrameSender::RevokeOldest() {
  // What is on its way back needs no force.
  state_->TakeReturns();
  state_->TakeOthers();
  return state_->Revoke();
}

void FrameSender::Close() { state_->sender.Close(); }

bool FrameSender::PrepareToWait(std::size_t size_bytes) {
  return state_->sender.PrepareToWait(size_bytes);
}
absl::Status FrameSender::FinishWait(std::size_t size_bytes) {
  return state_->sender.FinishWait(size_bytes);
}
int FrameSender::descriptor() const { return state_->sender.descriptor(); }
Waitable* FrameSender::waitable(std::size_t size_bytes) const {
  return state_->sender.waitable(size_bytes);
}
void FrameSender::Interrupt() const { state_->sender.Interrupt(); }

const ArenaGeometry& FrameSender::arena() const { return state_->geometry; }
uint64_t FrameSender::free_bytes() const { return state_->account.allocator().free_bytes(); }
uint32_t FrameSender::lent_frames() const { return state_->account.lent_count(); }
Violation FrameSender::violation() const { return state_->sender.violation(); }
FrameSenderStats FrameSender::stats() const { return state_->stats; }

}  // namespace parley

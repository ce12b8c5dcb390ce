// SPDX-License-Identifier: Apache-2.0
#include "parley/frames/frame_fan_out.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <string>

#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/internal/end_state.h"
#include "parley/frames/arena_allocator.h"
#include "parley/frames/fan_out_account.h"
#include "parley/frames/frame_wire.h"
#include "parley/frames/internal/frame_owner.h"
#include "parley/os/check.h"

namespace parley {
namespace {

// How often a wait looks whether it was interrupted.
constexpr absl::Duration kSlice = absl::Milliseconds(10);

}  // namespace

namespace internal {

// A receiver as the producer has it.
struct FanOutReceiver {
  FanOutReceiver(FanOutId own_id, Channel own_channel, const FanOutReceiverOptions& given,
                 uint32_t number)
      : id(own_id),
        channel(std::move(own_channel)),
        options(given),
        slot(number),
        returns(
            channel.session->peer_control().Part(kFrameReturnsOffset, sizeof(FrameReturnsWire))) {}

  auto Word() const {
    return [this](uint32_t frame) { return returns.LoadAcquire64(FrameReturnOffset(frame)); };
  }
  // TRUST: compared with the last one seen. A lie costs a look at the words of what it has.
  uint64_t Published() const { return returns.LoadAcquire64(0).AnyValueIsAcceptable(); }
  // Whether it is waited for.
  bool Blocks() const { return options.when_full == WhenFull::kWait && !behind; }

  const FanOutId id;
  Channel channel;
  const FanOutReceiverOptions options;
  const uint32_t slot;       // in the account
  const PeerMemory returns;  // FrameReturnsWire
  FanOutStats stats;
  uint64_t seen = 0;     // of FrameReturnsWire::published
  uint32_t dropped = 0;  // since the last record
  bool needs_preamble = true;
  bool needs_key = true;
  bool behind = false;  // with kWait: it returned nothing for max_wait
  // With kWait, in a call that waits: from the beginning of the call, so that receivers which stop
  // are waited for together.
  Deadline wait_until = Deadline::After(absl::ZeroDuration());
  bool ended = false;
};

struct FanOutState final : FrameOwner {
  FanOutState(std::shared_ptr<Broadcast> made, OwnMemory memory, const ArenaGeometry& geometry,
              const FanOutOptions& given)
      : FrameOwner(memory, &account),
        broadcast(std::move(made)),
        arena_geometry(geometry),
        options(given),
        account(geometry) {}

  static Sender::State& End(FanOutReceiver& r) { return r.channel.sender.state(); }
  FanOutReceiver* Find(FanOutId id) {
    for (const auto& receiver : receivers) {
      if (receiver->id == id) return receiver.get();
    }
    return nullptr;
  }

  // --- what came back

  void TakeReturns(FanOutReceiver& r) {
    const uint64_t published = r.Published();
    if (published == r.seen) return;
    r.seen = published;
    const uint32_t taken = account.TakeReturns(r.slot, r.Word());
    if (taken == 0) return;
    r.behind = false;
    r.stats.returned += taken;
    End(r).port_progress += taken * kProgressOfAReturn;
  }
  void TakeAllReturns() {
    for (const auto& receiver : receivers) TakeReturns(*receiver);
  }

  // --- what is taken back

  void Revoke(FanOutReceiver& r, uint32_t frame) {
    account.Revoke(r.slot, frame);
    ++r.stats.revoked;
    r.needs_key = true;
  }
  // Who still reads a use that is over finds out: it looks at the generation after the bytes.
  void Settle() {
    const bool any = account.TakeRevoked(
        [&](uint32_t frame) { arena.StoreRelaxed64(FrameLineOffset(frame), 0); });
    // PAIRS WITH: the fence in InFrame::StillValid, in the receiver's process.
    if (any) std::atomic_thread_fence(std::memory_order_release);
  }
  // Takes back what the receiver with the most of the arena, or of the ids, has had for longest. So
  // one that has no more than an equal share loses nothing to those that have more. False: all are
  // waited for, or have nothing whose bytes our caller has let go of.
  bool RevokeFromFullest(bool for_bytes) {
    FanOutReceiver* fullest = nullptr;
    std::optional<uint32_t> oldest;
    uint64_t most = 0;
    for (const auto& receiver : receivers) {
      const FanOutAccount::Held& held = account.held(receiver->slot);
      const uint64_t has = for_bytes ? held.bytes : held.frames;
      if (receiver->Blocks() || has <= most) continue;
      const std::optional<uint32_t> its =
          for_bytes ? account.OldestLetGoOf(receiver->slot) : account.OldestOf(receiver->slot);
      if (!its) continue;
      fullest = receiver.get();
      oldest = its;
      most = has;
    }
    if (fullest == nullptr) return false;
    Revoke(*fullest, *oldest);
    return true;
  }
  // The receiver with the most of those that are waited for; null: none has anything.
  FanOutReceiver* FullestThatBlocks() {
    FanOutReceiver* fullest = nullptr;
    uint32_t most = 0;
    for (const auto& receiver : receivers) {
      const uint32_t has = account.held(receiver->slot).frames;
      if (!receiver->Blocks() || has <= most) continue;
      fullest = receiver.get();
      most = has;
    }
    return fullest;
  }
  uint32_t Allocate(std::size_t size_bytes) {
    Settle();
    if (!account.allocator().WouldReuse(size_bytes)) {
      TakeAllReturns();
      Settle();
    }
    uint32_t extent = account.TryAcquire(size_bytes);
    while (extent == ArenaAllocator::kNone && RevokeFromFullest(/*for_bytes=*/true)) {
      Settle();
      if (account.allocator().MayFit(size_bytes)) extent = account.TryAcquire(size_bytes);
    }
    return extent;
  }

  // --- waiting

  void BeginWaits() {
    for (const auto& receiver : receivers) {
      if (receiver->Blocks()) receiver->wait_until = Deadline::After(receiver->options.max_wait);
    }
  }
  // Until ready(). kDeadlineExceeded, kCancelled; else the receiver has ended.
  absl::Status Wait(FanOutReceiver& r, absl::FunctionRef<bool()> ready, Deadline deadline) {
    while (true) {
      if (interrupted.exchange(false)) return absl::CancelledError("the wait was interrupted");
      absl::Status waited = End(r).Wait(ready, 1, Deadline::After(kSlice).Or(deadline));
      if (!absl::IsDeadlineExceeded(waited) || deadline.Expired()) return waited;
    }
  }
  bool AnyReturned(FanOutReceiver& r) {
    return (r.Published() != r.seen && account.AnyReturned(r.slot, r.Word())) ||
           End(r).PollEnd() != Outcome::kWouldBlock;
  }
  // Until a receiver that blocks returns something, or is behind. Not OK: kDeadlineExceeded,
  // kCancelled.
  absl::Status AwaitReturn(FanOutReceiver& r, Deadline deadline) {
    const absl::Status waited = Wait(r, [&] { return AnyReturned(r); }, r.wait_until.Or(deadline));
    if (absl::IsCancelled(waited)) return waited;
    if (absl::IsDeadlineExceeded(waited)) {
      if (deadline.Expired()) return waited;
      r.behind = true;
    } else if (!waited.ok()) {
      Finish(r, waited);
    } else if (End(r).Stopped()) {
      Finish(r, r.channel.sender.StatusOf(Outcome::kPoisoned));
    } else {
      const uint64_t before = r.stats.returned;
      TakeReturns(r);
      if (r.stats.returned == before) {
        NotTaken(r, End(r).PollEnd());
        r.behind = true;  // it took back what it had returned, where it has not ended
      }
      r.wait_until = Deadline::After(r.options.max_wait);
    }
    return absl::OkStatus();
  }

  // --- a frame to one receiver

  bool HasQuota(const FanOutReceiver& r, uint64_t extent_bytes) const {
    const FanOutAccount::Held& held = account.held(r.slot);
    return held.frames >= r.options.max_frames ||
           (r.options.max_bytes != 0 && held.bytes + extent_bytes > r.options.max_bytes);
  }
  void Drop(FanOutReceiver& r, uint64_t* reason) {
    ++r.stats.offered;
    ++*reason;
    ++r.dropped;
    r.needs_key = true;
    // A dead one takes no more.
    NotTaken(r, End(r).NotDone(Outcome::kWouldBlock));
  }
  void NotTaken(FanOutReceiver& r, Outcome outcome) {
    if (outcome != Outcome::kWouldBlock) Finish(r, r.channel.sender.StatusOf(outcome));
  }
  bool SendPreamble(FanOutReceiver& r) {
    if (!r.needs_preamble || !has_preamble) return true;
    const Outcome outcome = r.channel.sender.TrySend(preamble_tag, preamble);
    if (outcome == Outcome::kOk) {
      r.needs_preamble = false;
      return true;
    }
    if (outcome != Outcome::kTooLong) NotTaken(r, outcome);
    return false;
  }
  // Waits for a receiver that blocks until it has less than its quota, and room for the record.
  void MakeRoom(FanOutReceiver& r, uint64_t extent_bytes, std::size_t record_bytes,
                Deadline deadline) {
    const Deadline until = r.wait_until.Or(deadline);
    const std::size_t needed = std::max(record_bytes, r.needs_preamble ? preamble.size() : 0);
    while (!r.ended) {
      TakeReturns(r);
      const bool full = HasQuota(r, extent_bytes);
      if (!full && End(r).HasFreeSpace(needed)) return;
      const absl::Status waited = full
                                      ? Wait(
                                            r, [&] { return AnyReturned(r); }, until)
                                      : Wait(r, [&] { return End(r).HasFreeSpace(needed); }, until);
      if (absl::IsDeadlineExceeded(waited)) r.behind = true;
      if (absl::IsDeadlineExceeded(waited) || absl::IsCancelled(waited)) return;
      if (!waited.ok()) return Finish(r, waited);
      if (End(r).PollEnd() != Outcome::kWouldBlock) return;  // the send says so
    }
  }
  // `record` begins with a FrameSentWire, of which all but `dropped` is the same for everybody.
  bool Offer(FanOutReceiver& r, const FanOutAccount::Use& use, uint64_t extent_bytes, uint32_t tag,
             absl::Span<std::byte> record, bool is_key) {
    if (End(r).Stopped()) [[unlikely]] {
      Finish(r, r.channel.sender.StatusOf(Outcome::kPoisoned));
      return false;
    }
    TakeReturns(r);
    if (r.needs_key && !is_key) {
      Drop(r, &r.stats.dropped_before_key);
      return false;
    }
    if (HasQuota(r, extent_bytes)) {
      // What depends on an older one is of no use without it; and nothing is taken back for a frame
      // that it will not get.
      const bool replaces = r.options.when_full == WhenFull::kDropOldest && is_key;
      if (replaces && !End(r).HasFreeSpace(record.size())) {
        Drop(r, &r.stats.dropped_unread);
        return false;
      }
      while (replaces && HasQuota(r, extent_bytes)) {
        const std::optional<uint32_t> oldest = account.OldestOf(r.slot);
        if (!oldest) break;
        Revoke(r, *oldest);
      }
      if (HasQuota(r, extent_bytes)) {
        Drop(r, r.options.when_full == WhenFull::kWait ? &r.stats.dropped_timeout
                                                       : &r.stats.dropped_newest);
        return false;
      }
    }
    if (!SendPreamble(r)) {
      if (!r.ended) Drop(r, &r.stats.dropped_unread);
      return false;
    }
    const auto header = WireBytes(
        FrameSentWire{use.id, r.dropped, use.generation, record_offset_bytes, record_size_bytes});
    std::copy(header.begin(), header.end(), record.begin());
    const Outcome outcome = r.channel.sender.TrySend(tag, record);
    if (outcome == Outcome::kWouldBlock) {
      Drop(r, &r.stats.dropped_unread);
      return false;
    }
    if (outcome != Outcome::kOk) {
      NotTaken(r, outcome);
      return false;
    }
    account.Lend(use.id, r.slot);
    ++r.stats.offered;
    ++r.stats.sent;
    r.dropped = 0;
    r.needs_key = false;
    return true;
  }

  // --- the end of a receiver

  void Finish(FanOutReceiver& r, const absl::Status& why) {
    if (std::exchange(r.ended, true)) return;
    r.stats.revoked += account.RemoveReceiver(r.slot);
    ended.push_back({r.id, why, r.stats});
    any_ended = true;
  }
  void Sweep() {
    if (!std::exchange(any_ended, false)) return;
    std::erase_if(receivers, [](const auto& receiver) { return receiver->ended; });
  }

  const std::shared_ptr<Broadcast> broadcast;
  const ArenaGeometry arena_geometry;
  const FanOutOptions options;
  FanOutAccount account;
  std::vector<std::unique_ptr<FanOutReceiver>> receivers;  // in the order of their ids
  std::vector<FanOutEnd> ended;
  std::vector<FanOutReceiver*> waited_for;  // by Send; kept for its memory
  FanOutId next_id = 1;
  bool any_ended = false;
  bool has_preamble = false;
  uint32_t preamble_tag = 0;
  std::vector<std::byte> preamble;
  // Of the frame that is being sent.
  uint64_t record_offset_bytes = 0;
  uint64_t record_size_bytes = 0;
  std::atomic<bool> interrupted{false};
};

}  // namespace internal

absl::StatusOr<FrameFanOut> FrameFanOut::Create(std::shared_ptr<Broadcast> broadcast,
                                                const FanOutOptions& options) {
  PARLEY_CHECK(options.metadata_bytes <= kMaxFrameMetadataBytes,
               "FanOutOptions: more than 256 bytes of metadata");
  for (const Section& section : broadcast->layout().sections()) {
    if (section.kind != kSectionFrames) continue;
    const auto geometry = ArenaOf(section);
    if (!geometry.ok()) return geometry.status();
    const auto memory = broadcast->TakeSection(kSectionFrames);
    if (!memory.ok()) return memory.status();
    auto made =
        std::make_unique<internal::FanOutState>(std::move(broadcast), *memory, *geometry, options);
    internal::FanOutState* const state = made.get();
    state->self = std::move(made);
    return FrameFanOut(state);
  }
  return absl::NotFoundError("the broadcast has no section of frames: FramesSection");
}

FrameFanOut::~FrameFanOut() {
  if (state_ == nullptr) return;
  // The channels end with it, and not with a frame that is kept for longer.
  state_->receivers.clear();
  state_->LetGo();
}

absl::StatusOr<FanOutId> FrameFanOut::Attach(Channel channel,
                                             const FanOutReceiverOptions& options) {
  internal::FanOutState& s = *state_;
  if (options.max_frames == 0 || options.max_frames > kMaxFrames) {
    return absl::InvalidArgumentError("FanOutReceiverOptions::max_frames is " +
                                      std::to_string(options.max_frames) + "; allowed: 1 to " +
                                      std::to_string(kMaxFrames));
  }
  if (options.max_wait < absl::ZeroDuration()) {
    return absl::InvalidArgumentError("FanOutReceiverOptions::max_wait is negative");
  }
  if (!channel.sender) return absl::FailedPreconditionError("the channel does not send");
  if (!channel.session->reads_broadcast() || channel.session->broadcast() != nullptr) {
    return absl::FailedPreconditionError(
        "the channel's peer does not have our broadcast: AcceptOptions::broadcast, and "
        "kSectionFrames in its ConnectOptions::broadcast_kinds");
  }
  const std::size_t record_bytes = sizeof(FrameSentWire) + s.options.metadata_bytes;
  if (channel.sender.max_message_bytes() < record_bytes) {
    return absl::FailedPreconditionError("frames need messages of " + std::to_string(record_bytes) +
                                         " bytes, longer than " +
                                         std::to_string(channel.sender.max_message_bytes()));
  }
  if (std::exchange(channel.sender.state().has_port, true)) {
    return absl::FailedPreconditionError("the channel has a FrameSender, or had one");
  }
  const FanOutId id = s.next_id++;
  s.receivers.push_back(std::make_unique<internal::FanOutReceiver>(id, std::move(channel), options,
                                                                   s.account.AddReceiver()));
  return id;
}

void FrameFanOut::Detach(FanOutId id) {
  internal::FanOutState& s = *state_;
  internal::FanOutReceiver* const receiver = s.Find(id);
  if (receiver == nullptr) return;
  receiver->channel.sender.Close();
  static_cast<void>(s.account.RemoveReceiver(receiver->slot));
  std::erase_if(s.receivers, [&](const auto& other) { return other.get() == receiver; });
}

void FrameFanOut::SetPreamble(uint32_t tag, absl::Span<const std::byte> bytes) {
  internal::FanOutState& s = *state_;
  PARLEY_CHECK(tag <= kMaxTag && bytes.size() <= kMaxPreambleBytes,
               "a preamble with a tag or a length that can't be sent");
  s.has_preamble = true;
  s.preamble_tag = tag;
  s.preamble.assign(bytes.begin(), bytes.end());
  for (const auto& receiver : s.receivers) receiver->needs_preamble = true;
}

Outcome FrameFanOut::TryAcquire(std::size_t size_bytes, OutFrame* frame) {
  internal::FanOutState& s = *state_;
  if (size_bytes > s.arena_geometry.bytes) return Outcome::kTooLong;
  const uint32_t extent = s.Allocate(size_bytes);
  if (extent == ArenaAllocator::kNone) return Outcome::kWouldBlock;
  *frame = s.Handle(extent, size_bytes);
  return Outcome::kOk;
}

absl::StatusOr<OutFrame> FrameFanOut::Acquire(std::size_t size_bytes, Deadline deadline) {
  internal::FanOutState& s = *state_;
  for (bool waits = false;; waits = true) {
    OutFrame frame;
    const Outcome outcome = TryAcquire(size_bytes, &frame);
    if (outcome == Outcome::kOk) return frame;
    if (outcome == Outcome::kTooLong) {
      return absl::InvalidArgumentError("a frame of " + std::to_string(size_bytes) +
                                        " bytes, longer than the arena of " +
                                        std::to_string(s.arena_geometry.bytes));
    }
    if (!waits) s.BeginWaits();
    internal::FanOutReceiver* const blocks = s.FullestThatBlocks();
    if (blocks == nullptr) {
      return absl::ResourceExhaustedError("the arena is full of frames that our caller has");
    }
    const absl::Status waited = s.AwaitReturn(*blocks, deadline);
    s.Sweep();
    if (!waited.ok()) return waited;
  }
}

uint32_t FrameFanOut::Send(OutFrame* frame, std::size_t used_bytes, uint32_t tag,
                           absl::Span<const std::byte> metadata, bool is_key, Deadline deadline) {
  internal::FanOutState& s = *state_;
  PARLEY_CHECK(frame->owner_ == state_, "a frame that is none of this FrameFanOut's can't be sent");
  PARLEY_CHECK(used_bytes <= frame->bytes_.size(), "more bytes than the frame has");
  PARLEY_CHECK(metadata.size() <= s.options.metadata_bytes,
               "more metadata than FanOutOptions::metadata_bytes");
  s.BeginWaits();
  if (!s.account.CanBegin()) s.TakeAllReturns();
  while (!s.account.CanBegin()) {
    if (s.RevokeFromFullest(/*for_bytes=*/false)) continue;
    // All are out, so somebody has them, who is waited for.
    internal::FanOutReceiver* const blocks = s.FullestThatBlocks();
    if (!s.AwaitReturn(*blocks, deadline).ok()) blocks->behind = true;
  }
  s.Settle();
  const uint64_t extent_bytes = s.account.allocator().size_bytes(frame->extent_);
  s.record_offset_bytes = s.account.allocator().offset_bytes(frame->extent_);
  s.record_size_bytes = used_bytes;
  const FanOutAccount::Use use = s.account.Begin(frame->extent_);
  // Before the records that name it.
  s.arena.StoreRelaxed64(FrameLineOffset(use.id), use.generation);

  std::array<std::byte, sizeof(FrameSentWire) + kMaxFrameMetadataBytes> bytes;
  std::copy(metadata.begin(), metadata.end(), bytes.begin() + sizeof(FrameSentWire));
  const auto record = absl::MakeSpan(bytes.data(), sizeof(FrameSentWire) + metadata.size());
  uint32_t sent = 0;
  s.waited_for.clear();
  for (const auto& receiver : s.receivers) {
    if (receiver->ended || receiver->channel.sender.closed()) continue;
    if (receiver->Blocks()) {
      s.waited_for.push_back(receiver.get());
    } else if (s.Offer(*receiver, use, extent_bytes, tag, record, is_key)) {
      ++sent;
    }
  }
  // After all others have it.
  for (internal::FanOutReceiver* const receiver : s.waited_for) {
    if (is_key || !receiver->needs_key) {
      s.MakeRoom(*receiver, extent_bytes, record.size(), deadline);
    }
    if (receiver->ended) continue;
    if (s.Offer(*receiver, use, extent_bytes, tag, record, is_key)) ++sent;
  }
  s.account.Finish(use.id);
  s.TakeOver(frame);
  s.Sweep();
  return sent;
}

Outcome FrameFanOut::TrySendMessage(FanOutId id, uint32_t tag, absl::Span<const std::byte> bytes) {
  internal::FanOutReceiver* const receiver = state_->Find(id);
  if (receiver == nullptr || receiver->channel.sender.closed()) return Outcome::kClosed;
  return receiver->channel.sender.TrySend(tag, bytes);
}

std::vector<FanOutEnd> FrameFanOut::TakeEnded() {
  internal::FanOutState& s = *state_;
  for (const auto& receiver : s.receivers) {
    Session& session = *receiver->channel.session;
    internal::Termination& end = session.termination();
    s.TakeReturns(*receiver);
    Outcome outcome = s.End(*receiver).PollEnd();
    if (outcome == Outcome::kWouldBlock) {
      if (!end.peer_gone() && session.send()->doorbell->PeerHasEnded()) end.SetPeerGone();
      // Looks once more: it may have closed, or broken the protocol, and ended since.
      if (end.peer_gone()) outcome = s.End(*receiver).EndWithPeer();
    }
    s.NotTaken(*receiver, outcome);
  }
  s.Sweep();
  return std::exchange(s.ended, {});
}

void FrameFanOut::Close() {
  for (const auto& receiver : state_->receivers) receiver->channel.sender.Close();
}

void FrameFanOut::Interrupt() { state_->interrupted = true; }

std::vector<FanOutId> FrameFanOut::receivers() const {
  std::vector<FanOutId> ids;
  ids.reserve(state_->receivers.size());
  for (const auto& receiver : state_->receivers) ids.push_back(receiver->id);
  return ids;
}

absl::StatusOr<FanOutStats> FrameFanOut::stats(FanOutId id) const {
  internal::FanOutReceiver* const receiver = state_->Find(id);
  if (receiver == nullptr) return absl::NotFoundError("there is no such receiver");
  FanOutStats stats = receiver->stats;
  stats.held = state_->account.held(receiver->slot).frames;
  return stats;
}

const ArenaGeometry& FrameFanOut::arena() const { return state_->arena_geometry; }
uint32_t FrameFanOut::lent_frames() const { return state_->account.out_count(); }

}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include "parley/frames/frame_port.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <string>

#include "parley/boundary/untrusted.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/internal/end_state.h"
#include "parley/os/check.h"
#include "parley/ring/cursor.h"
#include "parley/ring/layout.h"

namespace parley {
namespace {

constexpr uint64_t Bit(uint32_t slot) { return uint64_t{1} << slot; }

uint64_t RingBytes(std::size_t payload_bytes) {
  return Cursor64::RecordBytes(payload_bytes, kRecordHeaderBytes, kRecordAlignBytes);
}

// What may lie in our ring at once: each frame of ours announced, each of the peer's returned.
uint64_t MaxRingBytes(const Channel& channel, const FramePortOptions& options) {
  return channel.sender.frame_geometry().count *
             RingBytes(sizeof(FrameSentWire) + options.metadata_bytes) +
         channel.receiver.frame_geometry().count * RingBytes(sizeof(FrameReturnedWire));
}

}  // namespace

FramePort::FramePort(const Channel* channel, const FramePortOptions& options)
    : sender_(channel->sender),
      receiver_(channel->receiver),
      options_(options),
      send_geometry_(channel->sender.frame_geometry()),
      own_(channel->sender.frame_memory()),
      peer_(channel->receiver.frame_memory()),
      sender_pool_(send_geometry_),
      receiver_pool_(channel->receiver.frame_geometry()) {}

absl::StatusOr<FramePort> FramePort::Create(const Channel* channel,
                                            const FramePortOptions& options) {
  PARLEY_CHECK(options.metadata_bytes <= kMaxFrameMetadataBytes,
               "FramePortOptions: more than 256 bytes of metadata");
  if (!channel->sender || !channel->receiver) {
    return absl::FailedPreconditionError("frames need a channel with both directions");
  }
  const bool sends = channel->sender.frame_geometry().count != 0;
  const bool receives = channel->receiver.frame_geometry().count != 0;
  if (!sends && !receives) {
    return absl::FailedPreconditionError(
        "the channel has no frames: set AcceptOptions::send.frames or receive.frames");
  }
  const std::size_t max_bytes =
      sends ? sizeof(FrameSentWire) + options.metadata_bytes : sizeof(FrameReturnedWire);
  if (channel->sender.max_message_bytes() < max_bytes) {
    return absl::FailedPreconditionError("frames need messages of " + std::to_string(max_bytes) +
                                         " bytes, longer than " +
                                         std::to_string(channel->sender.max_message_bytes()));
  }
  // A consumer may keep an eighth of the ring back while it knows of more (docs/SPEC.md).
  const uint64_t needed_bytes = MaxRingBytes(*channel, options) * 8 / 7;
  if (channel->sender.capacity_bytes() < needed_bytes) {
    return absl::FailedPreconditionError("so many frames need a ring of " +
                                         std::to_string(needed_bytes) + " bytes, more than " +
                                         std::to_string(channel->sender.capacity_bytes()));
  }
  return FramePort(channel, options);
}

// --- our frames ----------------------------------------------------------------------------------

Outcome FramePort::TryAcquire(WritableFrame* frame) {
  if (violation() != Violation::kNone) [[unlikely]]
    return Outcome::kPoisoned;
  SendReturns();
  const Outcome outcome = TakeUntil([&] { return sender_pool_.free_count() != 0; });
  if (outcome != Outcome::kOk) return outcome;
  uint32_t slot = 0;
  PARLEY_CHECK(sender_pool_.TryTake(&slot), "a free frame");
  // Who still reads the frame's last use finds out: it looks at the generation after the bytes.
  own_.StoreRelaxed64(FrameLineOffset(slot), sender_pool_.generation(slot));
  // PAIRS WITH: the fence in StillValid, in the peer's process.
  std::atomic_thread_fence(std::memory_order_release);
  *frame = {slot, own_.Writable(FrameOffset(send_geometry_, slot), send_geometry_.frame_bytes)};
  return Outcome::kOk;
}

absl::StatusOr<WritableFrame> FramePort::Acquire(Deadline deadline) {
  WritableFrame frame;
  absl::Status status = Until([&] { return TryAcquire(&frame); }, deadline);
  if (!status.ok()) return status;
  return frame;
}

absl::Span<const std::byte> FramePort::Encode(const WritableFrame& frame, std::size_t used_bytes,
                                              absl::Span<const std::byte> metadata,
                                              RecordBuffer* buffer) {
  PARLEY_CHECK(sender_pool_.IsTaken(frame.slot), "a frame that is not acquired can't be sent");
  PARLEY_CHECK(used_bytes <= send_geometry_.frame_bytes, "more bytes than a frame has");
  PARLEY_CHECK(metadata.size() <= options_.metadata_bytes,
               "more metadata than FramePortOptions::metadata_bytes");
  const auto header = WireBytes(
      FrameSentWire{kFrameSent, frame.slot, sender_pool_.generation(frame.slot), used_bytes});
  std::copy(header.begin(), header.end(), buffer->begin());
  std::copy(metadata.begin(), metadata.end(), buffer->begin() + header.size());
  return absl::MakeConstSpan(buffer->data(), header.size() + metadata.size());
}

void FramePort::Sent(const WritableFrame& frame) {
  sender_pool_.Lend(frame.slot);
  ++stats_.sent;
}

Outcome FramePort::TrySend(const WritableFrame& frame, std::size_t used_bytes, uint32_t tag,
                           absl::Span<const std::byte> metadata) {
  RecordBuffer buffer;
  const Outcome outcome = sender_.TrySend(tag, Encode(frame, used_bytes, metadata, &buffer));
  if (outcome == Outcome::kOk) Sent(frame);
  return outcome;
}

absl::Status FramePort::Send(const WritableFrame& frame, std::size_t used_bytes, uint32_t tag,
                             absl::Span<const std::byte> metadata, Deadline deadline) {
  RecordBuffer buffer;
  absl::Status status = sender_.Send(tag, Encode(frame, used_bytes, metadata, &buffer), deadline);
  if (status.ok()) Sent(frame);
  return status;
}

void FramePort::Discard(const WritableFrame& frame) {
  PARLEY_CHECK(sender_pool_.IsTaken(frame.slot), "a frame that is not acquired can't be discarded");
  sender_pool_.PutBack(frame.slot);
}

bool FramePort::RevokeOldest() {
  if (!sender_pool_.RevokeOldest()) return false;
  ++stats_.revoked;
  return true;
}

// --- the peer's frames ---------------------------------------------------------------------------

Outcome FramePort::TryReceive(ReceivedFrame* frame) {
  if (violation() != Violation::kNone) [[unlikely]]
    return Outcome::kPoisoned;
  SendReturns();
  const Outcome outcome = TakeUntil([&] { return queue_count_ != 0; });
  if (outcome != Outcome::kOk) return outcome;
  const uint32_t slot = queue_[queue_begin_ % kMaxFrames];
  ++queue_begin_;
  --queue_count_;
  queued_ &= ~Bit(slot);
  receiver_.state().queued = queue_count_ != 0;
  const Announced& next = announced_[slot];
  std::copy_n(next.metadata.begin(), next.metadata_bytes, metadata_.begin());
  *frame = {slot, next.sent.generation, next.tag,
            peer_.ViewOf(receiver_pool_.OffsetOf(slot), next.sent.size_bytes),
            absl::MakeConstSpan(metadata_.data(), next.metadata_bytes)};
  ++stats_.received;
  return Outcome::kOk;
}

absl::StatusOr<ReceivedFrame> FramePort::Receive(Deadline deadline) {
  ReceivedFrame frame;
  absl::Status status = Until([&] { return TryReceive(&frame); }, deadline);
  if (!status.ok()) return status;
  return frame;
}

bool FramePort::StillValid(const ReceivedFrame& frame) const {
  if (violation() != Violation::kNone || !receiver_pool_.Holds(frame.slot, frame.generation)) {
    return false;
  }
  // PAIRS WITH: the fence in TryAcquire, in the peer's process: if one of the bytes that were read
  // is of the frame's next use, so is the generation.
  std::atomic_thread_fence(std::memory_order_acquire);
  // TRUST: compared with what was announced, and nothing else. A peer can lie either way, as it can
  // about the bytes.
  return peer_.LoadRelaxed64(FrameLineOffset(frame.slot)).AnyValueIsAcceptable() ==
         frame.generation;
}

void FramePort::Return(const ReceivedFrame& frame) {
  PARLEY_CHECK(frame.slot < receiver_pool_.geometry().count && frame.generation != 0 &&
                   frame.generation <= receiver_pool_.newest(frame.slot),
               "a frame that was never received can't be returned");
  // The peer took it back, and may have sent it anew: then there is nothing to return.
  if (frame.generation != receiver_pool_.newest(frame.slot)) return;
  PARLEY_CHECK(receiver_pool_.Holds(frame.slot) && (queued_ & Bit(frame.slot)) == 0,
               "a frame can be returned once");
  receiver_pool_.GiveBack(frame.slot);
  if (closed_) return;
  returning_ |= Bit(frame.slot);
  SendReturns();
}

// --- both ----------------------------------------------------------------------------------------

void FramePort::SendReturns() {
  if (returning_ == 0) return;
  // Published together: one doorbell, however often the peer says that it sleeps.
  while (returning_ != 0) {
    const auto slot = static_cast<uint32_t>(std::countr_zero(returning_));
    const auto record =
        WireBytes(FrameReturnedWire{kFrameReturned, slot, receiver_pool_.newest(slot)});
    if (sender_.TryStage(0, record) != Outcome::kOk) break;
    returning_ &= ~Bit(slot);
  }
  sender_.Publish();
}

template <typename Have>
Outcome FramePort::TakeUntil(Have have) {
  Outcome outcome = Outcome::kOk;
  int taken = 0;
  while (!have()) {
    PeekedMessage message;
    outcome = taken == kMaxRecordsPerCall ? Outcome::kWouldBlock : receiver_.TryPeek(&message);
    if (outcome != Outcome::kOk) break;
    if (Take(message) != Violation::kNone) return Outcome::kPoisoned;
    ++taken;
  }
  // Given back together, for the same reason.
  if (taken != 0) receiver_.Release();
  return outcome;
}

template <typename Try>
absl::Status FramePort::Until(Try attempt, Deadline deadline) {
  while (attempt() != Outcome::kOk) {
    absl::Status status = AwaitRecord(deadline);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status FramePort::AwaitRecord(Deadline deadline) {
  const auto message = receiver_.Peek(deadline);
  if (!message.ok()) return message.status();
  if (Take(*message) != Violation::kNone) {
    return receiver_.Peek(deadline).status();  // says so
  }
  receiver_.Release();
  // What is there is taken whatever the time, but a peer that sends without end can't keep us here.
  if (deadline.Expired()) {
    return absl::DeadlineExceededError("the peer sent nothing of use in time");
  }
  return absl::OkStatus();
}

Violation FramePort::Take(const PeekedMessage& message) {
  // The record's length is private and says which of the two it would be.
  Violation found = Violation::kMetadataInvalid;
  if (message.view.size_bytes() == sizeof(FrameReturnedWire)) {
    FrameReturnedWire fetched;
    message.view.CopyTo(0, WritableBytesOfWire(absl::MakeSpan(&fetched, 1)));
    found = sender_pool_.TakeReturn(Untrusted<FrameReturnedWire>(fetched));
    if (found == Violation::kNone) ++stats_.returned;
  } else if (message.view.size_bytes() >= sizeof(FrameSentWire)) {
    found = TakeSent(message);
  }
  if (found != Violation::kNone) receiver_.Poison(found);
  return found;
}

Violation FramePort::TakeSent(const PeekedMessage& message) {
  const std::size_t metadata_bytes = message.view.size_bytes() - sizeof(FrameSentWire);
  if (metadata_bytes > kMaxFrameMetadataBytes) return Violation::kMetadataInvalid;
  FrameSentWire fetched;
  message.view.CopyTo(0, WritableBytesOfWire(absl::MakeSpan(&fetched, 1)));
  FrameSentWire sent = {};
  const Violation found = receiver_pool_.TakeSent(Untrusted<FrameSentWire>(fetched), &sent);
  if (found != Violation::kNone) return found;
  // What is returned of an older use, and not told yet, is of no interest any more.
  returning_ &= ~Bit(sent.slot);
  Announced& announced = announced_[sent.slot];
  announced.sent = sent;
  announced.tag = message.record.tag;
  announced.metadata_bytes = metadata_bytes;
  message.view.CopyTo(sizeof(FrameSentWire),
                      absl::MakeSpan(announced.metadata.data(), metadata_bytes));
  if ((queued_ & Bit(sent.slot)) == 0) {
    queued_ |= Bit(sent.slot);
    queue_[(queue_begin_ + queue_count_) % kMaxFrames] = sent.slot;
    ++queue_count_;
    receiver_.state().queued = true;
  }
  return Violation::kNone;
}

void FramePort::Close() {
  closed_ = true;
  returning_ = 0;
  sender_.Close();
}

bool FramePort::PrepareToWait() {
  SendReturns();
  return queue_count_ == 0 && receiver_.PrepareToWait();
}

FramePortStats FramePort::stats() const {
  FramePortStats stats = stats_;
  stats.taken_back = receiver_pool_.taken_back();
  return stats;
}

}  // namespace parley

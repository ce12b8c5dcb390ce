#include "parley/channel/bulk.h"

#include <algorithm>

#include "parley/boundary/own_memory.h"
#include "parley/boundary/untrusted.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/bulk_wire.h"
#include "parley/channel/status.h"
#include "parley/os/check.h"
#include "parley/ring/layout.h"

namespace parley {
namespace {

constexpr std::size_t kHeaderBytes = sizeof(BulkHeaderWire);

// Enough of them in the ring for both sides to have one each, and one on its way.
constexpr uint64_t kRecordsInRing = 4;
// What the ring cuts off is cut at whole cache lines, so that the copies start on them.
constexpr uint64_t kLineBytes = 64;

uint64_t LongestChunk(const Sender& sender) {
  const uint64_t part_bytes = sender.capacity_bytes() / kRecordsInRing - kRecordHeaderBytes;
  const uint64_t record_bytes = std::min<uint64_t>(sender.max_message_bytes(), part_bytes);
  if (record_bytes <= kHeaderBytes) return 0;
  const uint64_t chunk_bytes = record_bytes - kHeaderBytes;
  return chunk_bytes < kLineBytes ? chunk_bytes : chunk_bytes / kLineBytes * kLineBytes;
}

}  // namespace

BulkSender::BulkSender(Sender* sender, const BulkOptions& options)
    : sender_(sender),
      chunk_bytes_(std::min<uint64_t>(options.chunk_bytes, LongestChunk(*sender))) {
  PARLEY_CHECK(options.chunk_bytes > 0, "BulkOptions: a chunk has at least one byte");
}

std::size_t BulkSender::longest_record_bytes() const { return kHeaderBytes + chunk_bytes_; }

absl::Status BulkSender::Send(uint32_t tag, absl::Span<const std::byte> bytes, Deadline deadline) {
  if (!end_.ok()) return end_;
  if (chunk_bytes_ == 0) {
    return absl::FailedPreconditionError("max_message_bytes has no room for a BulkHeaderWire");
  }
  if (unfinished_) {
    PARLEY_CHECK(tag == tag_ && bytes.data() == bytes_.data() && bytes.size() == bytes_.size(),
                 "BulkSender: another message, while one is unfinished");
  } else {
    tag_ = tag;
    bytes_ = bytes;
    sent_bytes_ = 0;
  }
  do {
    absl::Status sent = SendRecord(deadline);
    if (!sent.ok()) {
      if (!absl::IsDeadlineExceeded(sent)) end_ = sent;
      return sent;
    }
    unfinished_ = sent_bytes_ != bytes.size();
    if (!unfinished_) return absl::OkStatus();
  } while (!deadline.Expired());
  return absl::DeadlineExceededError("a part of the message was sent");
}

absl::Status BulkSender::SendRecord(Deadline deadline) {
  const auto chunk = bytes_.subspan(sent_bytes_, chunk_bytes_);
  if (unfinished_) {
    absl::Status sent = sender_->Send(tag_, chunk, deadline);
    if (!sent.ok()) return sent;
  } else {
    auto room = sender_->Reserve(kHeaderBytes + chunk.size(), deadline);
    if (!room.ok()) return room.status();
    OwnMemory record(room->data(), room->size());
    record.CopyIn(0, WireBytes(BulkHeaderWire{bytes_.size(), 0}));
    record.CopyIn(kHeaderBytes, chunk);
    sender_->Commit(tag_, record.size_bytes());
  }
  sent_bytes_ += chunk.size();
  return absl::OkStatus();
}

BulkReceiver::BulkReceiver(Receiver* receiver, uint64_t max_bytes)
    : receiver_(receiver), max_bytes_(max_bytes) {}

absl::StatusOr<BulkMessage> BulkReceiver::Receive(absl::Span<std::byte> into, Deadline deadline) {
  PARLEY_CHECK(into.size() >= max_bytes_, "BulkReceiver: buffer shorter than max_bytes");
  if (!end_.ok()) return end_;
  PARLEY_CHECK(!unfinished_ || into.data() == into_,
               "BulkReceiver: another buffer, while a message is unfinished");
  into_ = into.data();
  do {
    const auto record = receiver_->Peek(deadline);
    if (!record.ok()) {
      if (absl::IsDeadlineExceeded(record.status())) return record.status();
      end_ = record.status();
      if (unfinished_ && absl::IsOutOfRange(end_)) {
        end_ = absl::UnavailableError("the stream ended in the middle of a message");
      }
      return end_;
    }
    if (const Violation found = Take(*record, into); found != Violation::kNone) {
      receiver_->Poison(found);
      return end_ = internal::ViolationStatus(receiver_->violation());
    }
    receiver_->Release();
    if (!unfinished_) return message_;
  } while (!deadline.Expired());
  return absl::DeadlineExceededError("a part of the message was received");
}

// The record's header was validated by the ring: tag and size are private.
Violation BulkReceiver::Take(const PeekedMessage& record, absl::Span<std::byte> into) {
  const std::size_t header_bytes = unfinished_ ? 0 : kHeaderBytes;
  if (!unfinished_) {
    if (const Violation found = Begin(record); found != Violation::kNone) return found;
  } else if (record.record.tag != message_.tag || record.view.size_bytes() == 0) {
    return Violation::kChunkInvalid;
  }
  const std::size_t chunk_bytes = record.view.size_bytes() - header_bytes;
  if (chunk_bytes > message_.size_bytes - received_bytes_) return Violation::kChunkInvalid;
  record.view.CopyTo(header_bytes, into.subspan(received_bytes_, chunk_bytes));
  received_bytes_ += chunk_bytes;
  unfinished_ = received_bytes_ != message_.size_bytes;
  return Violation::kNone;
}

// Takes the header of a message's first record, which is not looked at again.
Violation BulkReceiver::Begin(const PeekedMessage& record) {
  if (record.view.size_bytes() < kHeaderBytes) return Violation::kMetadataInvalid;
  BulkHeaderWire wire;
  record.view.CopyTo(0, WritableBytesOfWire(absl::MakeSpan(&wire, 1)));
  // TRUST: the reserved word is zero, and the message is no longer than this end takes.
  Violation found = Violation::kNone;
  const auto header = Untrusted<BulkHeaderWire>(wire).Validate([&](const BulkHeaderWire& h) {
    if (h.reserved != 0) {
      found = Violation::kMetadataInvalid;
    } else if (h.total_bytes > max_bytes_) {
      found = Violation::kMessageTooLong;
    }
    return found == Violation::kNone;
  });
  if (!header) return found;
  message_ = {record.record.tag, header->total_bytes};
  received_bytes_ = 0;
  return Violation::kNone;
}

}  // namespace parley

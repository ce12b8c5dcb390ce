// SPDX-License-Identifier: Apache-2.0
#include "parley/channel/bulk.h"

#include <algorithm>

#include "parley/boundary/own_memory.h"
#include "parley/boundary/violation.h"
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

uint64_t MaxChunk(const Sender& sender) {
  const uint64_t part_bytes = sender.capacity_bytes() / kRecordsInRing - kRecordHeaderBytes;
  const uint64_t record_bytes = std::min<uint64_t>(sender.max_message_bytes(), part_bytes);
  const uint64_t chunk_bytes = record_bytes - kHeaderBytes;
  return chunk_bytes < kLineBytes ? chunk_bytes : chunk_bytes / kLineBytes * kLineBytes;
}

}  // namespace

BulkSender::BulkSender(const Sender* sender, const BulkOptions& options)
    : sender_(*sender), chunk_bytes_(std::min<uint64_t>(options.chunk_bytes, MaxChunk(*sender))) {
  PARLEY_CHECK(options.chunk_bytes >= kMinBulkChunkBytes && chunk_bytes_ >= kMinBulkChunkBytes,
               "BulkOptions: a chunk has at least kMinBulkChunkBytes");
}

std::size_t BulkSender::max_record_bytes() const { return kHeaderBytes + chunk_bytes_; }

absl::Status BulkSender::Send(uint32_t tag, absl::Span<const std::byte> bytes, Deadline deadline) {
  if (!end_.ok()) return end_;
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
    absl::Status sent = sender_.Send(tag_, chunk, deadline);
    if (!sent.ok()) return sent;
  } else {
    auto room = sender_.Reserve(kHeaderBytes + chunk.size(), deadline);
    if (!room.ok()) return room.status();
    OwnMemory record(room->data(), room->size());
    record.CopyIn(0, WireBytes(BulkHeaderWire{bytes_.size(), 0}));
    record.CopyIn(kHeaderBytes, chunk);
    sender_.Commit(tag_, record.size_bytes());
  }
  sent_bytes_ += chunk.size();
  return absl::OkStatus();
}

BulkReceiver::BulkReceiver(const Receiver* receiver, uint64_t max_bytes)
    : receiver_(*receiver), message_(max_bytes) {}

absl::StatusOr<BulkMessage> BulkReceiver::Receive(absl::Span<std::byte> into, Deadline deadline) {
  PARLEY_CHECK(into.size() >= max_bytes(), "BulkReceiver: buffer shorter than max_bytes");
  if (!end_.ok()) return end_;
  PARLEY_CHECK(!unfinished() || into.data() == into_,
               "BulkReceiver: another buffer, while a message is unfinished");
  into_ = into.data();
  do {
    const auto peeked = receiver_.Peek(deadline);
    if (!peeked.ok()) {
      if (absl::IsDeadlineExceeded(peeked.status())) return peeked.status();
      end_ = peeked.status();
      if (unfinished() && absl::IsOutOfRange(end_)) {
        end_ = absl::UnavailableError("the stream ended in the middle of a message");
      }
      return end_;
    }
    const Violation found = message_.Take(peeked->record.tag, peeked->view, into);
    if (found != Violation::kNone) {
      receiver_.Poison(found);
      return end_ = internal::ViolationStatus(receiver_.violation());
    }
    receiver_.Release();
    if (!unfinished()) return BulkMessage{message_.tag(), message_.total_bytes()};
  } while (!deadline.Expired());
  return absl::DeadlineExceededError("a part of the message was received");
}

}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CHANNEL_BULK_H_
#define PARLEY_CHANNEL_BULK_H_

// Messages of any length over a channel, also longer than its ring: cut into records, each of which
// is published at once, so that one side copies a piece out while the other copies the next one in.
// For large messages that is faster than one record, and the ring can stay small enough for a
// cache.
//
// Trust: where the bytes are cut, and how many are announced, is the peer's choice. The worst that
// it can cause: kDeadlineExceeded (it stops in the middle), kUnavailable (it ends there), kDataLoss
// and a poisoned channel (it lies). No number of the peer's makes anything be allocated or decides
// how much is copied before it was checked, and no pace of the peer's keeps a call beyond its
// deadline.
// Threads: each of the two as the end of the channel that it uses.
// Ordering: what was written before a message was sent is visible to whoever received it.
//
// A deadline in the middle loses nothing: the same call, made again, goes on where the last one
// stopped. It has to be the same: same tag and bytes, or the same buffer, with the part that
// arrived left as it is. There is no way to leave the rest of a message out: who doesn't want to go
// on closes the channel. While unfinished() is false nothing is under way.
//
// Both ends of a direction use this layer, or neither does. Plain records between two messages are
// possible only where both sides know beforehand that they come.
//
//   BulkSender sender(&channel->sender);
//   absl::Status sent = sender.Send(kTag, picture, Deadline::After(absl::Seconds(1)));
//
//   std::vector<std::byte> buffer(kMaxBytes);
//   BulkReceiver receiver(&channel->receiver, kMaxBytes);
//   absl::StatusOr<BulkMessage> message = receiver.Receive(absl::MakeSpan(buffer), deadline);
//   if (message.ok()) Show(absl::MakeConstSpan(buffer).first(message->size_bytes));

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/channel/bulk_assembly.h"
#include "parley/channel/bulk_wire.h"
#include "parley/channel/receiver.h"
#include "parley/channel/sender.h"
#include "parley/handshake/wire.h"
#include "parley/os/deadline.h"

namespace parley {

// What is left of the shortest limit of a channel's messages behind a BulkHeaderWire.
inline constexpr std::size_t kMinBulkChunkBytes = kMinMessageLimitBytes - sizeof(BulkHeaderWire);

struct BulkOptions {
  // How many bytes of a message one record carries. Less where the channel's longest message or a
  // quarter of its ring is less: both sides then work at the same time. At least
  // kMinBulkChunkBytes, which any channel's records carry.
  std::size_t chunk_bytes = std::size_t{64} << 10;
};

class BulkSender {
 public:
  // `sender` exists; it may be moved or end before this does. options.chunk_bytes is
  // kMinBulkChunkBytes or more.
  explicit BulkSender(const Sender* sender, const BulkOptions& options = {});

  BulkSender(BulkSender&&) = default;
  BulkSender(const BulkSender&) = delete;

  // Sends one message. kDeadlineExceeded: unfinished() says whether a part of it was sent; if so,
  // the next call must be the same one, and goes on. An expired deadline still sends one record if
  // there is room. All other errors are as those of Sender::Send, and final: they are returned
  // again by later calls.
  absl::Status Send(uint32_t tag, absl::Span<const std::byte> bytes, Deadline deadline);

  bool unfinished() const { return unfinished_; }
  std::size_t chunk_bytes() const { return chunk_bytes_; }
  // What Sender::PrepareToWait takes, so that an event loop can call Send when there is room.
  std::size_t max_record_bytes() const;

 private:
  absl::Status SendRecord(Deadline deadline);

  Sender sender_;  // a second handle
  std::size_t chunk_bytes_;
  absl::Status end_;
  bool unfinished_ = false;
  // Of the present message.
  uint32_t tag_ = 0;
  absl::Span<const std::byte> bytes_;
  std::size_t sent_bytes_ = 0;
};

// A message that was received as a whole.
struct BulkMessage {
  uint32_t tag = 0;
  uint64_t size_bytes = 0;
};

class BulkReceiver {
 public:
  // `receiver` exists; it may be moved or end before this does. A message of more than `max_bytes`
  // is a violation: both sides agree on the number beforehand.
  BulkReceiver(const Receiver* receiver, uint64_t max_bytes);

  BulkReceiver(BulkReceiver&&) = default;
  BulkReceiver(const BulkReceiver&) = delete;

  // Copies the next message to the front of `into`, which has at least max_bytes.
  // kDeadlineExceeded: unfinished() says whether a part of it was received; if so, the next call
  // must be given the same buffer, and goes on. An expired deadline still takes one record that is
  // there. All other errors are final, and returned again by later calls: kOutOfRange, the end of
  // the stream; kUnavailable, the peer ended without closing, or in the middle of a message;
  // kDataLoss, it broke the protocol, see Receiver::violation().
  absl::StatusOr<BulkMessage> Receive(absl::Span<std::byte> into, Deadline deadline);

  bool unfinished() const { return message_.unfinished(); }
  uint64_t max_bytes() const { return message_.max_bytes(); }

 private:
  Receiver receiver_;  // a second handle
  absl::Status end_;
  internal::BulkAssembly message_;
  const std::byte* into_ = nullptr;
};

}  // namespace parley

#endif  // PARLEY_CHANNEL_BULK_H_

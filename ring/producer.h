// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_RING_PRODUCER_H_
#define PARLEY_RING_PRODUCER_H_

// The sending end of a ring of byte records.
//
// Trust: the peer controls two words, its head and its state. The worst that it can cause is
// kWouldBlock for ever (it does not drain) or kPoisoned (it lied); it cannot make us write anywhere
// but into our own free space, and it cannot make a call longer than its own arguments do.
// Threads: one at a time.
// Ordering: what was written before Commit, Publish or TrySend returns is visible to a consumer
// whose call returns the record.
//
//   Producer producer(own_control, own_data, peer_control, geometry);
//   if (producer.TrySend(kTag, bytes) == Outcome::kWouldBlock) WaitForFreeSpace();
//
//   absl::Span<std::byte> room;                       // or in place:
//   if (producer.TryReserve(n, &room) == Outcome::kOk) {
//     Fill(room);
//     producer.Commit(kTag, n);
//   }

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "parley/boundary/copy.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/boundary/violation.h"
#include "parley/os/check.h"
#include "parley/ring/cursor.h"
#include "parley/ring/layout.h"
#include "parley/ring/ring_types.h"
#include "parley/ring/send_position.h"

namespace parley {

// `OwnMem` and `PeerMem` are OwnMemory and PeerMemory, or the stand-ins of tests and fuzzers.
template <typename OwnMem, typename PeerMem>
class BasicProducer {
 public:
  // `own_control`: the control page of our region; `own_data`: its data, mapped twice in a row, so
  // 2 * capacity_bytes long; `peer_control`: the control page of the peer's region. All outlive
  // this. `geometry` is valid (IsValid).
  BasicProducer(OwnMem own_control, OwnMem own_data, PeerMem peer_control,
                const RingGeometry& geometry)
      : position_(own_control, peer_control, geometry.capacity_bytes),
        own_data_(own_data),
        max_message_(geometry.max_message_bytes),
        max_short_(std::min<std::size_t>(max_message_, internal::kMaxSmallCopyBytes)) {
    PARLEY_CHECK(IsValid(geometry), "ring geometry was not validated");
  }

  // Copies `payload` into the ring as one record and publishes it (with all that was staged
  // before). tag <= kMaxTag. kTooLong: payload.size() > max_message_bytes.
  Outcome TrySend(uint32_t tag, absl::Span<const std::byte> payload) {
    const Outcome outcome = TryStage(tag, payload);
    if (outcome == Outcome::kOk) Publish();
    return outcome;
  }

  // TrySend where nothing has to be asked and the copy needs no call. False: nothing happened, and
  // TrySend says why or does it.
  bool TrySendShort(uint32_t tag, absl::Span<const std::byte> payload) {
    uint64_t end = 0;
    if (!WriteShort(tag, payload, &end)) return false;
    position_.PublishUpTo(end);
    return true;
  }
  // The same of TryStage.
  bool StageShort(uint32_t tag, absl::Span<const std::byte> payload) {
    uint64_t end = 0;
    if (!WriteShort(tag, payload, &end)) return false;
    position_.AdvanceTo(end);
    return true;
  }

  // The same without publishing: for batches. Publish() sends all that is staged.
  Outcome TryStage(uint32_t tag, absl::Span<const std::byte> payload) {
    PARLEY_CHECK(reserved_end_ == 0, "TrySend between TryReserve and Commit");
    PARLEY_CHECK(tag <= kMaxTag, "tag uses the reserved bit");
    if (payload.size() > max_message_) [[unlikely]]
      return Outcome::kTooLong;
    const Outcome outcome = position_.MakeSpace(RecordBytes(payload.size()));
    if (outcome != Outcome::kOk) [[unlikely]]
      return NotDone(outcome);
    const uint64_t end = RecordEnd(payload.size());
    Write(tag, payload, end,
          [](OwnMem& data, std::size_t offset, auto from) { data.CopyIn(offset, from); });
    position_.AdvanceTo(end);
    return Outcome::kOk;
  }

  // Room for a record of up to `size_bytes`, to be filled in place. A second call before Commit
  // takes the place of the first. The peer can watch it being filled: nothing secret goes through
  // it.
  Outcome TryReserve(std::size_t size_bytes, absl::Span<std::byte>* room) {
    if (size_bytes > max_message_) [[unlikely]]
      return Outcome::kTooLong;
    const Outcome outcome = position_.MakeSpace(RecordBytes(size_bytes));
    if (outcome != Outcome::kOk) [[unlikely]]
      return NotDone(outcome);
    Reserve(size_bytes, room);
    return Outcome::kOk;
  }

  // TryReserve where nothing has to be asked. False: nothing happened, and TryReserve says why.
  bool ReserveKnown(std::size_t size_bytes, absl::Span<std::byte>* room) {
    // The limit is a multiple of kRecordAlignBytes: what fits below it fits rounded up as well.
    uint64_t end = position_.staged_bytes() + kRecordHeaderBytes + size_bytes;
    asm("" : "+r"(end));  // one addition: compilers spread it over the comparison
    if (size_bytes > max_message_ || !position_.HasKnownSpaceUpTo(end)) [[unlikely]]
      return false;
    Reserve(size_bytes, room);
    return true;
  }

  // Gives the reserved room up. Sending by copy is allowed again.
  void DropReserved() { reserved_end_ = 0; }
  bool reserved() const { return reserved_end_ != 0; }

  // Makes the first `used_bytes` of the reserved room a record and publishes it.
  void Commit(uint32_t tag, std::size_t used_bytes) {
    position_.PublishUpTo(WriteReserved(tag, used_bytes));
  }

  // The same without publishing.
  void Stage(uint32_t tag, std::size_t used_bytes) {
    position_.AdvanceTo(WriteReserved(tag, used_bytes));
  }

  // Sends all that is staged with one store. Nothing staged: nothing happens, and it says false.
  bool Publish() { return position_.Publish(); }

  // Publishes what is staged and ends the stream: the consumer gets all of it, then kClosed.
  void Close() {
    reserved_end_ = 0;
    position_.Close();
  }

  // True unless TryReserve(size_bytes) would say kWouldBlock. Looks at the peer at most once.
  bool HasFreeSpace(std::size_t size_bytes) {
    if (size_bytes > max_message_) return true;  // kTooLong
    return position_.AskForSpace(RecordBytes(size_bytes)) != Outcome::kWouldBlock;
  }

  // True if the peer has taken everything that was published. Looks at the peer at most once.
  bool Drained() { return position_.Drained(); }

  // Whether the peer takes no more, and how much it has taken. Looks at the peer once.
  bool PollEnded() { return position_.PollEnded(); }

  // The peer has ended, which is learnt elsewhere: from here on kClosed for good. Looks at the peer
  // once more, since it may have closed before that; so there may be a violation after it.
  void SetPeerGone() { position_.SetPeerGone(); }

  // Ends the use of this end for a reason found elsewhere in the channel; the first one stays.
  void Poison(Violation violation) { position_.Poison(violation); }

  Violation violation() const { return position_.violation(); }
  bool closed() const { return position_.closed(); }
  // Whether the peer was seen to take no more, at the last look.
  bool peer_ended() const { return position_.peer_ended(); }
  // What SetPeerGone made it: the peer has ended, and had not closed.
  bool peer_gone() const { return position_.peer_gone(); }
  uint64_t capacity_bytes() const { return position_.capacity_bytes(); }
  uint32_t max_message_bytes() const { return static_cast<uint32_t>(max_message_); }
  // Bytes that the peer is known to have taken, by its last valid word.
  uint64_t taken_bytes() const { return position_.peer_position(); }
  // Bytes ever published, headers and padding included.
  uint64_t published_bytes() const { return position_.published_bytes(); }
  // The same with what is staged.
  uint64_t staged_bytes() const { return position_.staged_bytes(); }

 private:
  static uint64_t RecordBytes(uint64_t size) {
    return Cursor64::RecordBytes(size, kRecordHeaderBytes, kRecordAlignBytes);
  }

  // Of a record behind all that is staged.
  uint64_t RecordEnd(uint64_t size) const {
    return Cursor64::RecordEnd(position_.staged_bytes(), size, kRecordHeaderBytes,
                               kRecordAlignBytes);
  }

  [[gnu::always_inline]] Outcome NotDone(Outcome outcome) const {
    PARLEY_CHECK(!position_.closed(), "the producer was closed");
    return outcome;
  }

  // `*end`: where the record ends.
  [[gnu::always_inline]] bool WriteShort(uint32_t tag, absl::Span<const std::byte> payload,
                                         uint64_t* end) {
    const std::size_t size = payload.size();
    if (size > max_short_ || tag > kMaxTag || reserved_end_ != 0) [[unlikely]]
      return false;
    *end = RecordEnd(size);
    if (!position_.HasKnownSpaceUpTo(*end)) [[unlikely]]
      return false;
    Write(tag, payload, *end,
          [](OwnMem& data, std::size_t offset, auto from) { data.CopyInSmall(offset, from); });
    return true;
  }

  // The record that ends at `end`, into room that is there.
  template <typename Copy>
  [[gnu::always_inline]] void Write(uint32_t tag, absl::Span<const std::byte> payload, uint64_t end,
                                    const Copy& copy) {
    const uint64_t header = static_cast<uint64_t>(tag) << 32 | payload.size();
    const std::size_t offset = position_.Offset();
    OwnMem data = own_data_;  // a copy, which no store of bytes can seem to change
    // The padding lies in the last word; the payload's own bytes of it come on top.
    if (payload.size() % kRecordAlignBytes != 0) {
      data.StoreRelaxed64(offset + (end - position_.staged_bytes()) - kRecordAlignBytes, 0);
    }
    copy(data, offset + kRecordHeaderBytes, payload);
    data.StoreRelaxed64(offset, header);
  }

  void Reserve(std::size_t size_bytes, absl::Span<std::byte>* room) {
    reserved_end_ = size_bytes + 1;
    *room = own_data_.Writable(position_.Offset() + kRecordHeaderBytes, size_bytes);
  }

  // The header and the padding of a record whose payload is in place. Where it ends.
  [[gnu::always_inline]] uint64_t WriteReserved(uint32_t tag, std::size_t used_bytes) {
    PARLEY_CHECK(used_bytes < reserved_end_ && tag <= kMaxTag,
                 "Commit: nothing that long was reserved, or the tag is too large, or the producer "
                 "was closed");
    reserved_end_ = 0;
    const uint64_t end = RecordEnd(used_bytes);
    const std::size_t offset = position_.Offset();
    OwnMem data = own_data_;  // a copy, which no store of bytes can seem to change
    if (used_bytes % kRecordAlignBytes != 0) {
      data.ZeroSmall(offset + kRecordHeaderBytes + used_bytes,
                     (~used_bytes + 1) % kRecordAlignBytes);
    }
    data.StoreRelaxed64(offset, static_cast<uint64_t>(tag) << 32 | used_bytes);
    return end;
  }

  SendPosition<OwnMem, PeerMem, kRecordAlignBytes> position_;
  OwnMem own_data_;
  const std::size_t max_message_;
  const std::size_t max_short_;
  std::size_t reserved_end_ = 0;  // one more than what is reserved; 0: nothing is
};

using Producer = BasicProducer<OwnMemory, PeerMemory>;
extern template class BasicProducer<OwnMemory, PeerMemory>;

}  // namespace parley

#endif  // PARLEY_RING_PRODUCER_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_RING_CONSUMER_H_
#define PARLEY_RING_CONSUMER_H_

// The receiving end of a ring of byte records.
//
// Trust: the peer controls its tail, its state, and every byte of the data at every moment. The
// worst that it can cause is kWouldBlock for ever, kPoisoned, or a payload that is a lie. A
// record's header is fetched once; what was checked is what is used. TryReceive copies the payload
// out and is the default; TryPeek shows it in place, and its type says that the bytes may change.
// Threads: one at a time.
// Ordering: what the producer wrote before it published a record is visible once a call returned
// it.
//
//   std::vector<std::byte> buffer(consumer.max_message_bytes());
//   Record record;
//   while (consumer.TryReceive(absl::MakeSpan(buffer), &record) == Outcome::kOk)
//     Handle(record.tag, absl::MakeConstSpan(buffer).first(record.size_bytes));

#include <bit>
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
#include "parley/ring/receive_position.h"
#include "parley/ring/ring_types.h"

namespace parley {

template <typename OwnMem, typename PeerMem>
class BasicConsumer {
 public:
  using View = typename PeerMem::View;

  // `own_control`: the control page of our region; `peer_control` and `peer_data`: the peer's
  // region, the data mapped twice in a row (2 * capacity_bytes). `geometry` is valid (IsValid).
  BasicConsumer(OwnMem own_control, PeerMem peer_control, PeerMem peer_data,
                const RingGeometry& geometry)
      : position_(own_control, peer_control, geometry.capacity_bytes),
        peer_data_(peer_data),
        max_message_(geometry.max_message_bytes),
        record_mask_((geometry.capacity_bytes - 1) | ~kSizeMask) {
    PARLEY_CHECK(IsValid(geometry), "ring geometry was not validated");
  }

  // Copies the next record's payload to the front of `into` and gives its room (and that of all
  // that was peeked at) back to the producer, as Release does. into.size() >= max_message_bytes, so
  // that no length which the peer chose can be too long.
  Outcome TryReceive(absl::Span<std::byte> into, Record* record) {
    PARLEY_CHECK(into.size() >= max_message_, "buffer shorter than max_message_bytes");
    std::size_t offset = 0;
    const Outcome outcome = Next(record, &offset);
    if (outcome != Outcome::kOk) return outcome;
    peer_data_.CopyOut(offset, into.first(record->size_bytes));
    Release();
    return Outcome::kOk;
  }

  // TryReceive and TryPeek in parts, for callers that do no more than they need between two calls.
  // Whether a record is there without a look at the peer. `*behind_header`: how much is known to be
  // there behind its header.
  [[gnu::always_inline]] bool HasKnownRecord(uint64_t* behind_header) const {
    // What is known is a multiple of 8: nothing, or the header at least. The comparison is the
    // subtraction.
    return !__builtin_sub_overflow(position_.KnownBytes(), uint64_t{kRecordHeaderBytes},
                                   behind_header);
  }
  // Whether `size` bytes are enough for any record, as TryReceive wants it.
  bool FitsAny(std::size_t size) const { return size >= max_message_; }
  // After HasKnownRecord said true: fetches and validates the next record's header. True: `*word`
  // is the record, private. False: what is to be given to Refuse.
  [[gnu::always_inline]] bool FetchKnown(uint64_t behind_header, uint64_t* word) const {
    // TRUST: size within the agreement and within what is published; reserved tag bit clear.
    uint64_t longest = Cursor64::LongestRecord(max_message_, behind_header + kRecordHeaderBytes,
                                               kRecordHeaderBytes);
    // Known before the load, so that a caller needs no register for what it is made of.
    asm volatile("" : "+r"(longest));
    const auto header = peer_data_.LoadRelaxed64(position_.Offset()).Validate([&](uint64_t h) {
      // A reserved bit that is set makes the size one that no record can have.
      return (h & (kReservedBit | kSizeMask)) <= longest;
    });
    if (!header) [[unlikely]] {
      *word = header.Refused();
      return false;
    }
    // What is read ahead while the comparison above is not decided yet stays inside the mapping,
    // too: the mask changes no size that passes, because those are below the capacity.
    *word = *header & record_mask_;
    return true;
  }
  static uint32_t SizeOf(uint64_t word) { return static_cast<uint32_t>(word); }
  // Whether its payload can be copied by CopyShort, and has no padding.
  static bool IsShortAndWhole(uint64_t word) {
    return std::rotr(SizeOf(word), 3) <= internal::kMaxSmallCopyBytes / kRecordAlignBytes;
  }
  static_assert(kRecordAlignBytes == 8);
  static bool HasPadding(uint64_t word) { return word % kRecordAlignBytes != 0; }
  // Of a record that has padding: whether it is zero.
  [[gnu::always_inline]] bool PaddingIsZero(uint64_t word) const {
    const std::size_t used_bytes = word % kRecordAlignBytes;
    // TRUST: the bytes behind the payload, in its last word, are zero. The payload's own bytes in
    // that word are not used here.
    return static_cast<bool>(peer_data_.LoadRelaxed64(PayloadOffset() + (SizeOf(word) - used_bytes))
                                 .Validate([&](uint64_t w) { return w >> (used_bytes * 8) == 0; }));
  }
  // Where the payload of the next record is.
  std::size_t PayloadOffset() const { return position_.Offset() + kRecordHeaderBytes; }
  // Steps over a record that was validated.
  [[gnu::always_inline]] Record Step(uint64_t word) {
    position_.AdvanceTo(Cursor64::RecordEnd(position_.taken_bytes(), SizeOf(word),
                                            kRecordHeaderBytes, kRecordAlignBytes));
    return std::bit_cast<Record>(word);
  }
  // Out of the way: what is wrong with a header that was refused. kPoisoned.
  [[gnu::noinline, gnu::cold]] Outcome Refuse(uint64_t word) {
    return position_.Fail((word & kReservedBit) != 0
                              ? Violation::kRecordTagReserved
                              : Cursor64::CheckRecord(word & kSizeMask, max_message_,
                                                      position_.KnownBytes(), kRecordHeaderBytes));
  }
  Outcome RefusePadding() { return position_.Fail(Violation::kRecordPaddingNotZero); }
  // Of a record's payload: into.size() is its size. CopyShort: at most kMaxSmallCopyBytes.
  void CopyShort(std::size_t offset, absl::Span<std::byte> into) const {
    peer_data_.CopyOutSmall(offset, into);
  }
  void CopyLong(std::size_t offset, absl::Span<std::byte> into) const {
    peer_data_.CopyOut(offset, into);
  }
  View ViewOf(std::size_t offset, std::size_t size) const {
    return peer_data_.ViewOf(offset, size);
  }
  bool ReleaseIsDue() const { return position_.ReleaseIsDue(); }
  bool TellReleased() { return position_.TellReleased(); }

  // The next record in place. It stays where it is until Release(); several may be peeked at before
  // that, each call going one further.
  Outcome TryPeek(Record* record, View* view) {
    std::size_t offset = 0;
    const Outcome outcome = Next(record, &offset);
    if (outcome != Outcome::kOk) return outcome;
    *view = peer_data_.ViewOf(offset, record->size_bytes);
    return Outcome::kOk;
  }

  // Gives back everything that was peeked at; views of it are void from here on. The producer is
  // told with one store, at the latest when everything that is known to be there was given back, or
  // an eighth of the ring. True if it was told.
  bool Release() { return position_.Release(); }

  // Takes no more: the producer gets kClosed from its next look on.
  void Close() { position_.Close(); }

  // True unless TryReceive would say kWouldBlock. Looks at the peer at most once.
  bool HasData() { return Available() != Outcome::kWouldBlock; }

  // The peer has ended, which is learnt elsewhere, and a look after that found nothing: from here
  // on kClosed for good.
  void SetPeerGone() { position_.SetPeerGone(); }

  // Ends the use of this end for a reason found elsewhere in the channel; the first one stays.
  void Poison(Violation violation) { position_.Poison(violation); }

  Violation violation() const { return position_.violation(); }
  bool closed() const { return position_.closed(); }
  // Whether the producer closed, and everything before that was taken.
  bool ended() const { return position_.ended(); }
  // Whether SetPeerGone was called.
  bool peer_gone() const { return position_.peer_gone(); }
  uint64_t capacity_bytes() const { return position_.capacity_bytes(); }
  uint32_t max_message_bytes() const { return static_cast<uint32_t>(max_message_); }
  // Bytes ever given back, headers and padding included, as far as the producer was told.
  uint64_t released_bytes() const { return position_.released_bytes(); }
  // The same with what was peeked at.
  uint64_t taken_bytes() const { return position_.taken_bytes(); }
  // How many records were stepped over.
  uint64_t taken_records() const { return position_.steps(); }

 private:
  Outcome Available() {
    return position_.Available([this](std::size_t offset) { peer_data_.Prefetch(offset); });
  }

  // Validates the next record and steps over it. `*offset`: where its payload is.
  Outcome Next(Record* record, std::size_t* offset) {
    const Outcome outcome = Available();
    if (outcome != Outcome::kOk) return outcome;
    uint64_t word = 0;
    if (!FetchKnown(position_.KnownBytes() - kRecordHeaderBytes, &word)) [[unlikely]]
      return Refuse(word);
    if (HasPadding(word) && !PaddingIsZero(word)) return RefusePadding();
    *offset = PayloadOffset();
    *record = Step(word);
    return Outcome::kOk;
  }

  static constexpr uint64_t kReservedBit = uint64_t{1} << 63;
  static constexpr uint64_t kSizeMask = 0xffff'ffff;

  ReceivePosition<OwnMem, PeerMem, kRecordAlignBytes> position_;
  PeerMem peer_data_;
  const uint64_t max_message_;
  const uint64_t record_mask_;  // of a header: the tag, and a size below the capacity
};

using Consumer = BasicConsumer<OwnMemory, PeerMemory>;
extern template class BasicConsumer<OwnMemory, PeerMemory>;

}  // namespace parley

#endif  // PARLEY_RING_CONSUMER_H_

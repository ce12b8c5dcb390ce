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

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/boundary/violation.h"
#include "parley/os/check.h"
#include "parley/ring/cursor.h"
#include "parley/ring/layout.h"
#include "parley/ring/receive_position.h"
#include "parley/ring/ring_types.h"

namespace parley {

// Validated and private; the payload is elsewhere.
struct Record {
  uint32_t tag = 0;
  uint32_t size_bytes = 0;
};

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
        max_message_(geometry.max_message_bytes) {
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
  // an eighth of the ring.
  void Release() { position_.Release(); }

  // Takes no more: the producer gets kClosed from its next look on.
  void Close() { position_.Close(); }

  // True unless TryReceive would say kWouldBlock. Looks at the peer at most once.
  bool HasData() { return Available() != Outcome::kWouldBlock; }

  // Ends the use of this end for a reason found elsewhere in the channel; the first one stays.
  void Poison(Violation violation) { position_.Poison(violation); }

  Violation violation() const { return position_.violation(); }
  bool closed() const { return position_.closed(); }
  // Whether the producer closed, and everything before that was taken.
  bool ended() const { return position_.ended(); }
  uint64_t capacity_bytes() const { return position_.capacity_bytes(); }
  uint32_t max_message_bytes() const { return max_message_; }
  // Bytes ever given back, headers and padding included, as far as the producer was told.
  uint64_t released_bytes() const { return position_.released_bytes(); }

 private:
  Outcome Available() {
    return position_.Available([this](std::size_t offset) { peer_data_.Prefetch(offset); });
  }

  // Validates the next record and steps over it. `*offset`: where its payload is.
  Outcome Next(Record* record, std::size_t* offset) {
    const Outcome outcome = Available();
    if (outcome != Outcome::kOk) return outcome;
    const std::size_t at = position_.Offset();

    // TRUST: size within the agreement and within what is published; reserved tag bit clear.
    // What is known is a multiple of 8 and not zero: there is at least the header.
    const uint64_t known_bytes = position_.KnownBytes();
    const auto header = peer_data_.LoadRelaxed64(at).Validate([&](uint64_t h) {
      // A reserved bit that is set makes the size one that no record can have.
      return Cursor64::IsRecord(h & (kReservedBit | kSizeMask), max_message_, known_bytes,
                                kRecordHeaderBytes);
    });
    if (!header) [[unlikely]]
      return Refuse(header.Refused(), known_bytes);
    // What is read ahead while the comparison above is not decided yet stays inside the mapping,
    // too: the mask changes no size that passes, because those are below the capacity.
    const auto size = static_cast<uint32_t>(*header & position_.Mask());
    *offset = at + kRecordHeaderBytes;

    if (const uint32_t used_bytes = size % kRecordAlignBytes; used_bytes != 0) {
      // TRUST: the bytes behind the payload, in its last word, are zero. The payload's own bytes in
      // that word are not used here.
      const auto last_word = peer_data_.LoadRelaxed64(*offset + (size - used_bytes));
      if (!last_word.Validate([&](uint64_t word) { return word >> (used_bytes * 8) == 0; })) {
        return position_.Fail(Violation::kRecordPaddingNotZero);
      }
    }
    record->size_bytes = size;
    record->tag = static_cast<uint32_t>(*header >> 32);
    position_.Advance(Cursor64::RecordBytes(size, kRecordHeaderBytes, kRecordAlignBytes));
    return Outcome::kOk;
  }

  static constexpr uint64_t kReservedBit = uint64_t{1} << 63;
  static constexpr uint64_t kSizeMask = 0xffff'ffff;

  // Out of the way: what is wrong with a header that was refused already.
  [[gnu::noinline, gnu::cold]] Outcome Refuse(uint64_t header, uint64_t known_bytes) {
    return position_.Fail((header & kReservedBit) != 0
                              ? Violation::kRecordTagReserved
                              : Cursor64::CheckRecord(header & kSizeMask, max_message_, known_bytes,
                                                      kRecordHeaderBytes));
  }

  ReceivePosition<OwnMem, PeerMem, kRecordAlignBytes> position_;
  PeerMem peer_data_;
  const uint32_t max_message_;
};

using Consumer = BasicConsumer<OwnMemory, PeerMemory>;
extern template class BasicConsumer<OwnMemory, PeerMemory>;

}  // namespace parley

#endif  // PARLEY_RING_CONSUMER_H_

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

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
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
        max_message_(geometry.max_message_bytes) {
    PARLEY_CHECK(IsValid(geometry), "ring geometry was not validated");
  }

  // Copies `payload` into the ring as one record and publishes it (with all that was staged
  // before). tag <= kMaxTag. kTooLong: payload.size() > max_message_bytes.
  Outcome TrySend(uint32_t tag, absl::Span<const std::byte> payload) {
    const Outcome outcome = TryStage(tag, payload);
    if (outcome == Outcome::kOk) Publish();
    return outcome;
  }

  // The same without publishing: for batches. Publish() sends all that is staged.
  Outcome TryStage(uint32_t tag, absl::Span<const std::byte> payload) {
    PARLEY_CHECK(reserved_ == kNothingReserved, "TrySend between TryReserve and Commit");
    PARLEY_CHECK(tag <= kMaxTag, "tag uses the reserved bit");
    if (payload.size() > max_message_) [[unlikely]]
      return Outcome::kTooLong;
    const uint64_t record_bytes = RecordBytes(payload.size());
    const Outcome outcome = position_.MakeSpace(record_bytes);
    if (outcome != Outcome::kOk) [[unlikely]]
      return NotDone(outcome);
    const std::size_t offset = position_.Offset();
    // The padding lies in the last word; the payload's own bytes of it come on top.
    if (payload.size() % kRecordAlignBytes != 0) {
      own_data_.StoreRelaxed64(offset + record_bytes - kRecordAlignBytes, 0);
    }
    own_data_.CopyIn(offset + kRecordHeaderBytes, payload);
    Finish(offset, tag, payload.size(), record_bytes);
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
    reserved_ = size_bytes;
    *room = own_data_.Writable(position_.Offset() + kRecordHeaderBytes, size_bytes);
    return Outcome::kOk;
  }

  // Makes the first `used_bytes` of the reserved room a record and publishes it.
  void Commit(uint32_t tag, std::size_t used_bytes) {
    Stage(tag, used_bytes);
    Publish();
  }

  // The same without publishing.
  void Stage(uint32_t tag, std::size_t used_bytes) {
    PARLEY_CHECK(reserved_ != kNothingReserved && used_bytes <= reserved_ && tag <= kMaxTag,
                 "Commit: nothing that long was reserved, or the tag is too large");
    PARLEY_CHECK(!position_.closed(), "Commit: the producer was closed");
    reserved_ = kNothingReserved;
    static constexpr std::byte kZeros[kRecordAlignBytes] = {};
    const uint64_t record_bytes = RecordBytes(used_bytes);
    const std::size_t offset = position_.Offset();
    const std::size_t padding = record_bytes - kRecordHeaderBytes - used_bytes;
    // The remainder is `padding` itself; said so that the compiler sees no copy longer than kZeros.
    own_data_.CopyIn(offset + kRecordHeaderBytes + used_bytes,
                     absl::MakeConstSpan(kZeros, padding % kRecordAlignBytes));
    Finish(offset, tag, used_bytes, record_bytes);
  }

  // Sends all that is staged with one store. Nothing staged: nothing happens.
  void Publish() { position_.Publish(); }

  // Publishes what is staged and ends the stream: the consumer gets all of it, then kClosed.
  void Close() { position_.Close(); }

  // True unless TryReserve(size_bytes) would say kWouldBlock. Looks at the peer at most once.
  bool HasFreeSpace(std::size_t size_bytes) {
    if (size_bytes > max_message_) return true;  // kTooLong
    return position_.AskForSpace(RecordBytes(size_bytes)) != Outcome::kWouldBlock;
  }

  // True if the peer has taken everything that was published. Looks at the peer at most once.
  bool Drained() { return position_.Drained(); }

  // Ends the use of this end for a reason found elsewhere in the channel; the first one stays.
  void Poison(Violation violation) { position_.Poison(violation); }

  Violation violation() const { return position_.violation(); }
  bool closed() const { return position_.closed(); }
  // Whether the peer was seen to take no more, at the last look.
  bool peer_ended() const { return position_.peer_ended(); }
  uint64_t capacity_bytes() const { return position_.capacity_bytes(); }
  uint32_t max_message_bytes() const { return max_message_; }
  // Bytes that the peer is known to have taken, by its last valid word.
  uint64_t taken_bytes() const { return position_.peer_position(); }
  // Bytes ever published, headers and padding included.
  uint64_t published_bytes() const { return position_.published_bytes(); }

 private:
  static constexpr std::size_t kNothingReserved = ~std::size_t{0};

  static uint64_t RecordBytes(uint64_t size) {
    return Cursor64::RecordBytes(size, kRecordHeaderBytes, kRecordAlignBytes);
  }

  Outcome NotDone(Outcome outcome) const {
    PARLEY_CHECK(!position_.closed(), "the producer was closed");
    return outcome;
  }

  // Writes the header in front of a payload and its padding that are in place already.
  void Finish(std::size_t offset, uint32_t tag, std::size_t size, uint64_t record_bytes) {
    own_data_.StoreRelaxed64(offset, static_cast<uint64_t>(tag) << 32 | size);
    position_.Advance(record_bytes);
  }

  SendPosition<OwnMem, PeerMem, kRecordAlignBytes> position_;
  OwnMem own_data_;
  const uint32_t max_message_;
  std::size_t reserved_ = kNothingReserved;  // bytes
};

using Producer = BasicProducer<OwnMemory, PeerMemory>;
extern template class BasicProducer<OwnMemory, PeerMemory>;

}  // namespace parley

#endif  // PARLEY_RING_PRODUCER_H_

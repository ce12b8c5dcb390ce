// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_RING_SEND_POSITION_H_
#define PARLEY_RING_SEND_POSITION_H_

// Where the sending end of a ring stands: how much room there is, and what the peer was told. The
// part that byte records and typed elements share; users hold a Producer or a TypedProducer.
//
// Trust: the peer controls its head and its state. Both are looked at only when the room that is
// known is used up, once each; a lie poisons this end for good.
// Threads: one at a time.
// Ordering: what was written to the data before Publish is visible to whoever acquires the tail.

#include <cstddef>
#include <cstdint>

#include "parley/boundary/violation.h"
#include "parley/ring/cursor.h"
#include "parley/ring/layout.h"
#include "parley/ring/ring_types.h"

namespace parley {

// `kGrainBytes`: what every position is a multiple of.
template <typename OwnMem, typename PeerMem, uint64_t kGrainBytes>
class SendPosition {
 public:
  SendPosition(OwnMem own_control, PeerMem peer_control, uint64_t capacity_bytes)
      : own_control_(own_control),
        peer_control_(peer_control),
        capacity_(capacity_bytes),
        mask_(capacity_bytes - 1),
        limit_(capacity_bytes) {}
  SendPosition(const SendPosition&) = delete;
  SendPosition& operator=(const SendPosition&) = delete;

  // kOk if `needed_bytes` can be written at Offset(); kClosed once this end was closed.
  Outcome MakeSpace(uint64_t needed_bytes) {
    if (HasKnownSpace(needed_bytes)) [[likely]]
      return Outcome::kOk;
    return MakeSpaceSlowly(needed_bytes);
  }
  // True if MakeSpace would say kOk without a look at the peer.
  bool HasKnownSpace(uint64_t needed_bytes) const {
    return HasKnownSpaceUpTo(tail_ + needed_bytes);
  }
  // The same, by the position that the tail would have then.
  bool HasKnownSpaceUpTo(uint64_t end) const {
    // Signed: the limit may have been withdrawn to behind the tail.
    return static_cast<int64_t>(limit_ - end) >= 0;
  }
  // The same for whoever only asks: a close of this end changes nothing.
  Outcome AskForSpace(uint64_t needed_bytes) {
    if (capacity_ - (tail_ - head_) >= needed_bytes && violation_ == Violation::kNone &&
        peer_end_ == PeerEnd::kNone) {
      return Outcome::kOk;
    }
    return PollForSpace(needed_bytes);
  }
  // Room that is known, without a look at the peer.
  uint64_t KnownFreeBytes() const {
    const auto known = static_cast<int64_t>(limit_ - tail_);
    return known > 0 ? static_cast<uint64_t>(known) : 0;
  }

  // Where the next byte goes, in data that is mapped twice in a row.
  std::size_t Offset() const { return tail_ & mask_; }
  void Advance(uint64_t bytes) { tail_ += bytes; }
  void AdvanceTo(uint64_t end) { tail_ = end; }

  // True if there was anything to publish.
  bool Publish() {
    if (published_ == tail_) return false;
    PublishUpTo(tail_);
    return true;
  }
  // AdvanceTo and Publish, where that is further than before.
  void PublishUpTo(uint64_t end) {
    tail_ = end;
    published_ = end;
    own_control_.StoreRelease64(kTailOffset, end);
  }

  void Close() {
    if (closed_) return;
    Publish();
    closed_ = true;
    Withdraw();
    // After the last tail: a consumer that acquires this state sees that tail.
    own_control_.StoreRelease64(kProducerStateOffset, kStreamClosed);
  }

  // True if the peer has taken everything that was published.
  bool Drained() {
    if (violation_ == Violation::kNone && peer_end_ != PeerEnd::kGone && head_ != published_) {
      Refresh();
    }
    return head_ == published_;
  }

  // Whether the peer takes no more, by a look at it.
  bool PollEnded() {
    Poll();
    return peer_ended();
  }

  // The peer has ended, and did not close unless a last look says so: for good, whatever its words
  // say later. That look may find a violation.
  void SetPeerGone() {
    Poll();
    if (violation_ != Violation::kNone || peer_end_ != PeerEnd::kNone) return;
    peer_end_ = PeerEnd::kGone;
    Withdraw();
  }

  void Poison(Violation violation) {
    if (violation_ != Violation::kNone) return;
    violation_ = violation;
    Withdraw();
  }

  Violation violation() const { return violation_; }
  // How far the peer has come, by its last valid word.
  uint64_t peer_position() const { return head_; }
  bool closed() const { return closed_; }
  // Whether the peer was seen to take no more.
  bool peer_ended() const { return peer_end_ == PeerEnd::kClosed; }
  bool peer_gone() const { return peer_end_ == PeerEnd::kGone; }
  uint64_t capacity_bytes() const { return capacity_; }
  uint64_t published_bytes() const { return published_; }
  uint64_t staged_bytes() const { return tail_; }

 private:
  enum class PeerEnd : uint8_t { kNone, kClosed, kGone };

  [[gnu::noinline]] Outcome MakeSpaceSlowly(uint64_t needed_bytes) {
    return closed_ ? Outcome::kClosed : PollForSpace(needed_bytes);
  }
  Outcome PollForSpace(uint64_t needed_bytes) {
    Poll();
    if (violation_ != Violation::kNone) return Outcome::kPoisoned;
    if (peer_end_ != PeerEnd::kNone) return Outcome::kClosed;
    return capacity_ - (tail_ - head_) >= needed_bytes ? Outcome::kOk : Outcome::kWouldBlock;
  }

  void Poll() {
    if (violation_ == Violation::kNone && peer_end_ == PeerEnd::kNone) Refresh();
  }

  // Poisoned, closed, or at an end: sends every call down the slow path.
  void Withdraw() { limit_ = head_; }

  // Looks at the peer's two words, once each.
  void Refresh() {
    // TRUST: only the two known states.
    const auto state = peer_control_.LoadAcquire64(kConsumerStateOffset).Validate([](uint64_t s) {
      return s == kStreamOpen || s == kStreamClosed;
    });
    if (!state) return Poison(Violation::kConsumerStateInvalid);
    // TRUST: between the last valid head and what we have published, and on the grain.
    const auto head = peer_control_.LoadAcquire64(kHeadOffset).Validate([&](uint64_t position) {
      return Cursor64::IsHead(published_, head_, position, kGrainBytes);
    });
    if (!head) return Poison(Cursor64::CheckHead(published_, head_, head.Refused(), kGrainBytes));
    head_ = *head;
    // For good: what it says of its state later changes nothing.
    if (*state == kStreamClosed) peer_end_ = PeerEnd::kClosed;
    if (closed_ || peer_end_ != PeerEnd::kNone) {
      Withdraw();
    } else {
      limit_ = head_ + capacity_;
    }
  }

  OwnMem own_control_;
  PeerMem peer_control_;
  const uint64_t capacity_;
  const uint64_t mask_;

  uint64_t limit_;          // a capacity ahead of head_, or where no room may be used head_ itself
  uint64_t tail_ = 0;       // written up to here
  uint64_t head_ = 0;       // the last valid position of the peer
  uint64_t published_ = 0;  // what the peer was told
  Violation violation_ = Violation::kNone;
  PeerEnd peer_end_ = PeerEnd::kNone;
  bool closed_ = false;
};

}  // namespace parley

#endif  // PARLEY_RING_SEND_POSITION_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_RING_RECEIVE_POSITION_H_
#define PARLEY_RING_RECEIVE_POSITION_H_

// Where the receiving end of a ring stands: how much there is to take, and what the peer was told.
// The part that byte records and typed elements share; users hold a Consumer or a TypedConsumer.
//
// Trust: the peer controls its tail and its state. Both are looked at only when what is known is
// used up, once each, so that a producer which keeps up cannot hold a caller in its loop over a
// snapshot; a lie poisons this end for good. A peer that streams can make a look wait for up to
// kMaxPause pauses, 2 to 8 microseconds, and no longer.
// Threads: one at a time.
// Ordering: data before an acquired tail are visible.
//
// Two habits keep the two processors from fetching each other's lines for every record; both were
// measured (docs/BENCHMARKS.md):
//   * What was taken is given back in steps of an eighth of the ring, and at once when nothing more
//     is known to be there. So the last record of a batch always gives everything back.
//   * While several records come with each look, or one after a few looks in vain, the producer is
//     writing as fast as its line can travel, or faster: then the next look is taken a little
//     later, and finds more. Where records come one at a time, as requests and answers do, or not
//     at all, there is no pause; the lines of the next record are asked for beside the tail's.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "parley/boundary/violation.h"
#include "parley/os/relax.h"
#include "parley/ring/cursor.h"
#include "parley/ring/layout.h"
#include "parley/ring/ring_types.h"

namespace parley {

// `kGrainBytes`: what every position is a multiple of.
template <typename OwnMem, typename PeerMem, uint64_t kGrainBytes>
class ReceivePosition {
 public:
  ReceivePosition(OwnMem own_control, PeerMem peer_control, uint64_t capacity_bytes)
      : own_control_(own_control),
        peer_control_(peer_control),
        capacity_(capacity_bytes),
        mask_(capacity_bytes - 1),
        step_(capacity_bytes / kStepsOfRing) {}
  ReceivePosition(const ReceivePosition&) = delete;
  ReceivePosition& operator=(const ReceivePosition&) = delete;

  // kOk if there is at least one grain at Offset(). `expect(offset)` is called before a look that
  // comes at once, to have the lines there brought beside the line with the tail. While the peer
  // streams it is not: those lines are still being written, and would only travel twice.
  template <typename Expect>
  Outcome Available(const Expect& expect) {
    if (tail_ != head_) [[likely]]
      return Outcome::kOk;
    if (pause_ == 0) expect(Offset());
    return PollForMore();
  }
  // What is known to be there, without a look at the peer: a multiple of the grain.
  uint64_t KnownBytes() const { return tail_ - head_; }

  // Where the next byte is, in data that is mapped twice in a row.
  std::size_t Offset() const { return head_ & mask_; }
  // One less than the capacity.
  uint64_t Mask() const { return mask_; }
  void Advance(uint64_t bytes) { AdvanceTo(head_ + bytes); }
  void AdvanceTo(uint64_t end) {
    head_ = end;
    ++steps_;
  }

  // Everything that was stepped over may be overwritten. The producer is told with one store: now
  // if nothing more is known to be there, else once it is an eighth of the ring.
  bool Release() { return ReleaseIsDue() && TellReleased(); }
  // The two parts of it: whether the producer may have to be told, and telling it, which is true if
  // there was anything to tell.
  bool ReleaseIsDue() const { return static_cast<int64_t>(head_ - tell_at_) >= 0; }
  bool TellReleased() {
    if (released_ == head_) return false;
    released_ = head_;
    SetTellAt();
    own_control_.StoreRelease64(kHeadOffset, head_);
    return true;
  }

  void Close() {
    if (closed_) return;
    closed_ = true;
    own_control_.StoreRelease64(kConsumerStateOffset, kStreamClosed);
  }

  void Poison(Violation violation) {
    if (violation_ != Violation::kNone) return;
    violation_ = violation;
    tail_ = head_;  // so that every call takes the slow path
    SetTellAt();
  }

  // The peer has ended without closing, and the look after that found nothing: nothing more comes,
  // whatever its words say later.
  void SetPeerGone() { peer_gone_ = true; }

  [[gnu::noinline, gnu::cold]] Outcome Fail(Violation violation) {
    Poison(violation);
    return Outcome::kPoisoned;
  }

  Violation violation() const { return violation_; }
  bool closed() const { return closed_; }
  bool ended() const { return ended_; }
  bool peer_gone() const { return peer_gone_; }
  uint64_t capacity_bytes() const { return capacity_; }
  // What the producer was told.
  uint64_t released_bytes() const { return released_; }
  uint64_t taken_bytes() const { return head_; }
  uint64_t steps() const { return steps_; }

  static constexpr uint64_t kStepsOfRing = 8;
  static constexpr uint32_t kMaxPause = internal::kMaxRelaxTimes;
  // No longer than this where fewer than kManyAtOnce records come with each look: their producer is
  // not held up by the looks, and a longer pause would only delay them.
  static constexpr uint32_t kShortPause = 31;
  static constexpr uint32_t kManyAtOnce = 4;
  // News after so few looks in vain came faster than a request could follow an answer.
  static constexpr uint32_t kSoonPolls = 4;
  // So many records for each look are enough: a consumer that is slower than its producer is not
  // made slower still.
  static constexpr uint32_t kEnoughAtOnce = 128;

 private:
  // A tail that was found to be valid. While that is not decided yet, a processor that runs ahead
  // gets the last one in place of a tail out of range: without a branch, and hidden from a compiler
  // that would see that it changes nothing.
  uint64_t Confined(uint64_t tail) const {
    uint64_t ahead = tail - released_;
    asm volatile("" : "+r"(ahead));
    const auto out_of_range =
        static_cast<uint64_t>(ahead > capacity_) | static_cast<uint64_t>(ahead < tail_ - released_);
    return tail_ + ((tail - tail_) & (out_of_range - 1));
  }

  void SetTellAt() { tell_at_ = released_ + std::min(tail_ - released_, step_); }

  // Before a look: the pause that the last batch suggests. None after a look that found nothing.
  void Pace() {
    const uint64_t steps = steps_ - steps_at_poll_;
    if (steps == 0) return;
    const bool streamed = steps > 1 || (empty_polls_ > 0 && empty_polls_ <= kSoonPolls);
    const uint32_t longest = steps < kManyAtOnce ? kShortPause : kMaxPause;
    pause_ = !streamed ? 0 : steps < kEnoughAtOnce ? std::min(2 * pause_ + 1, longest) : pause_ / 2;
    steps_at_poll_ = steps_;
    empty_polls_ = 0;
    internal::RelaxFor(pause_);
  }

  // Looks at the peer's two words, once each.
  [[gnu::noinline]] Outcome PollForMore() {
    if (violation_ != Violation::kNone) return Outcome::kPoisoned;
    if (ended_ || closed_ || peer_gone_) return Outcome::kClosed;
    Pace();
    // The state first: a closed state that is acquired comes with the last tail.
    // TRUST: only the two known states.
    const auto state = peer_control_.LoadAcquire64(kProducerStateOffset).Validate([](uint64_t s) {
      return s == kStreamOpen || s == kStreamClosed;
    });
    if (!state) return Fail(Violation::kProducerStateInvalid);
    // TRUST: from the last valid tail to one capacity ahead of what we gave back; on the grain.
    const auto tail = peer_control_.LoadAcquire64(kTailOffset).Validate([&](uint64_t position) {
      return Cursor64::IsTail(released_, tail_, position, capacity_, kGrainBytes);
    });
    if (!tail) {
      return Fail(Cursor64::CheckTail(released_, tail_, tail.Refused(), capacity_, kGrainBytes));
    }
    tail_ = Confined(*tail);
    SetTellAt();
    if (tail_ != head_) return Outcome::kOk;
    if (*state != kStreamClosed) {
      if (++empty_polls_ > kSoonPolls) pause_ = 0;
      return Outcome::kWouldBlock;
    }
    ended_ = true;
    return Outcome::kClosed;
  }

  OwnMem own_control_;
  PeerMem peer_control_;
  const uint64_t capacity_;
  const uint64_t mask_;
  const uint64_t step_;  // bytes

  uint64_t head_ = 0;           // stepped over
  uint64_t released_ = 0;       // what the peer was told
  uint64_t tail_ = 0;           // the last valid position of the peer
  uint64_t tell_at_ = 0;        // from here on of head_ the producer is told
  uint64_t steps_ = 0;          // records, or batches of elements
  uint64_t steps_at_poll_ = 0;  // at the last look that found something
  uint32_t empty_polls_ = 0;    // of those since the last batch
  uint32_t pause_ = 0;          // Relax calls before the first look after the last batch
  Violation violation_ = Violation::kNone;
  bool ended_ = false;
  bool closed_ = false;
  bool peer_gone_ = false;
};

}  // namespace parley

#endif  // PARLEY_RING_RECEIVE_POSITION_H_

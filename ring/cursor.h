// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_RING_CURSOR_H_
#define PARLEY_RING_CURSOR_H_

// The arithmetic of positions and record lengths: pure, and a template over the integer's width, so
// that every combination can be enumerated at 8 bits (cursor_test.cc) and the same code runs at 64.
//
// Positions count bytes, only grow and wrap with the integer. The capacity is a power of two and at
// most half of the integer's range.
//
// Trust: `peer_position` and `record_size` are the peer's, everything else is ours.
// Threads: pure functions.

#include <algorithm>
#include <concepts>
#include <cstdint>

#include "parley/boundary/violation.h"

namespace parley {

template <std::unsigned_integral U>
struct Cursor {
  // The consumer's check of a producer's tail. `head`: our own position; `last_tail`: the last
  // valid tail, with last_tail - head <= capacity; `grain`: what every position is a multiple of,
  // counted from `head`.
  static constexpr bool IsTail(U head, U last_tail, U peer_position, U capacity, U grain) {
    const U ahead = static_cast<U>(peer_position - head);
    return ahead <= capacity && ahead >= static_cast<U>(last_tail - head) && ahead % grain == 0;
  }
  // Why IsTail says no: for the message, and out of the hot path.
  static constexpr Violation CheckTail(U head, U last_tail, U peer_position, U capacity, U grain) {
    if (IsTail(head, last_tail, peer_position, capacity, grain)) return Violation::kNone;
    const U ahead = static_cast<U>(peer_position - head);
    if (ahead > capacity) return Violation::kProducerPositionOutOfRange;
    if (ahead < static_cast<U>(last_tail - head)) return Violation::kProducerPositionBackwards;
    return Violation::kProducerPositionMisaligned;
  }

  // The producer's check of a consumer's head. `tail`: our own published position; `last_head`: the
  // last valid head, with tail - last_head <= capacity.
  static constexpr bool IsHead(U tail, U last_head, U peer_position, U grain) {
    const U in_flight = static_cast<U>(tail - peer_position);
    return in_flight <= static_cast<U>(tail - last_head) && in_flight % grain == 0;
  }
  // Why IsHead says no.
  static constexpr Violation CheckHead(U tail, U last_head, U peer_position, U grain) {
    if (IsHead(tail, last_head, peer_position, grain)) return Violation::kNone;
    const U in_flight = static_cast<U>(tail - peer_position);
    if (in_flight <= static_cast<U>(tail - last_head)) {
      return Violation::kConsumerPositionMisaligned;
    }
    // Behind the last head, or ahead of the tail.
    return static_cast<U>(peer_position - tail) <= static_cast<U>(last_head - peer_position)
               ? Violation::kConsumerPositionOutOfRange
               : Violation::kConsumerPositionBackwards;
  }

  // What a record of `size` payload bytes takes in the ring. No overflow as long as
  // size <= capacity - header.
  static constexpr U RecordBytes(U size, U header, U align) {
    return static_cast<U>(header +
                          static_cast<U>(static_cast<U>(size + (align - 1)) & ~(align - 1)));
  }

  // Where a record of `size` that begins at `begin`, a multiple of `align`, ends. `header` is a
  // multiple of `align` as well.
  static constexpr U RecordEnd(U begin, U size, U header, U align) {
    return static_cast<U>(static_cast<U>(begin + size + header + (align - 1)) &
                          static_cast<U>(~static_cast<U>(align - 1)));
  }

  // The longest payload that fits a ring of `capacity`.
  static constexpr U MaxPayload(U capacity, U header) { return static_cast<U>(capacity - header); }

  // The consumer's check of a record header. `available`: validated bytes from the record's first
  // byte on, at least `header` and a multiple of the alignment, as `header` is: so rounding the
  // record up cannot take it past them. `max_size` <= MaxPayload(capacity, header).
  static constexpr bool IsRecord(U record_size, U max_size, U available, U header) {
    return record_size <= LongestRecord(max_size, available, header);
  }
  static constexpr U LongestRecord(U max_size, U available, U header) {
    return std::min(max_size, static_cast<U>(available - header));
  }
  // Why IsRecord says no.
  static constexpr Violation CheckRecord(U record_size, U max_size, U available, U header) {
    if (IsRecord(record_size, max_size, available, header)) return Violation::kNone;
    return record_size > max_size ? Violation::kRecordTooLong : Violation::kRecordBeyondTail;
  }
};

using Cursor64 = Cursor<uint64_t>;

}  // namespace parley

#endif  // PARLEY_RING_CURSOR_H_

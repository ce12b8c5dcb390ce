// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_RING_LAYOUT_H_
#define PARLEY_RING_LAYOUT_H_

// Where a ring's words and records lie in a region's shared memory: with wait/layout.h the one
// place that knows byte offsets.
// docs/SPEC.md shows the same table, and a test compares the two.
//
//   control page                                   data (capacity bytes, mapped twice in a row)
//   +0    producer line: tail, state               +-----------+-----------+-- - - -
//   +128  consumer line: head, state               | record    | record    |
//   +256  waiting and signalling: wait/layout.h    +-----------+-----------+-- - - -
//                                                        u32 size_bytes | u32 tag | payload | zeros
//   +512  zero
//
// A region is written by one process alone. Its producer line and its data belong to the ring that
// it sends on; its consumer line to the ring that it receives on, whose data are in the peer's
// region. Lines are 128 bytes apart, because adjacent 64-byte lines are prefetched in pairs.
//
// Trust: whoever owns the region writes anything here at any time.

#include <array>
#include <cstddef>
#include <cstdint>

#include "parley/boundary/wire_type.h"

namespace parley {

inline constexpr std::size_t kControlBytes = 4096;

// A cache line of ours: two words and zeros up to the next pair of lines.
struct ProducerLineWire {
  uint64_t tail;   // bytes ever published
  uint64_t state;  // kStreamOpen or kStreamClosed
  std::array<uint64_t, 14> reserved;
};
struct ConsumerLineWire {
  uint64_t head;   // bytes ever taken
  uint64_t state;  // kStreamOpen or kStreamClosed
  std::array<uint64_t, 14> reserved;
};
struct ControlWire {
  ProducerLineWire producer;
  ConsumerLineWire consumer;
  std::array<uint64_t, 32> waiting;  // wait/layout.h
};

struct RecordHeaderWire {
  uint32_t size_bytes;  // of the payload, without padding
  uint32_t tag;         // the sender's; the top bit is reserved and zero
};

inline constexpr uint64_t kStreamOpen = 0;
inline constexpr uint64_t kStreamClosed = 1;

inline constexpr std::size_t kTailOffset = 0;
inline constexpr std::size_t kProducerStateOffset = 8;
inline constexpr std::size_t kHeadOffset = 128;
inline constexpr std::size_t kConsumerStateOffset = 136;

inline constexpr uint32_t kRecordHeaderBytes = 8;
inline constexpr uint32_t kRecordAlignBytes = 8;
inline constexpr uint32_t kMaxTag = 0x7fff'ffff;

// Ring sizes that this version speaks. A gigabyte keeps every sum of two lengths within 32 bits.
inline constexpr uint64_t kMinCapacityBytes = 4096;
inline constexpr uint64_t kMaxCapacityBytes = uint64_t{1} << 30;

static_assert(WireType<ControlWire> && sizeof(ControlWire) == 512);
static_assert(offsetof(ControlWire, producer) + offsetof(ProducerLineWire, tail) == kTailOffset);
static_assert(offsetof(ControlWire, producer) + offsetof(ProducerLineWire, state) ==
              kProducerStateOffset);
static_assert(offsetof(ControlWire, consumer) + offsetof(ConsumerLineWire, head) == kHeadOffset);
static_assert(offsetof(ControlWire, consumer) + offsetof(ConsumerLineWire, state) ==
              kConsumerStateOffset);
static_assert(offsetof(ControlWire, waiting) == 256);
static_assert(WireType<RecordHeaderWire> && sizeof(RecordHeaderWire) == kRecordHeaderBytes);
static_assert(sizeof(ControlWire) <= kControlBytes);

}  // namespace parley

#endif  // PARLEY_RING_LAYOUT_H_

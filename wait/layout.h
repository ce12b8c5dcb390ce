// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_LAYOUT_H_
#define PARLEY_WAIT_LAYOUT_H_

// The words of a region's control page by which its owner waits and signals. ring/layout.h has the
// lines in front of them. docs/SPEC.md shows the same table, and a test compares the two.
//
//   +256  wait line: receive epoch, send epoch
//   +384  signal line: data signals, space signals
//
// Trust: the owner of the region writes anything here at any time.

#include <array>
#include <cstddef>
#include <cstdint>

#include "parley/boundary/wire_type.h"

namespace parley {

struct WaitLineWire {
  uint64_t receive_epoch;  // a new value: its owner is about to sleep until there is data
  uint64_t send_epoch;     // a new value: its owner is about to sleep until there is free space
  std::array<uint64_t, 14> reserved;
};
// Of the futex doorbell alone, zero with the others: how often the owner has signalled. The peer
// sleeps on the low half of the word. Not in the wait line, which the other side reads each time
// that it publishes.
struct SignalLineWire {
  uint64_t data_signals;   // for data on the ring that the owner sends on
  uint64_t space_signals;  // for free space on the ring that the owner receives on
  std::array<uint64_t, 14> reserved;
};
struct WaitLinesWire {
  WaitLineWire wait;
  SignalLineWire doorbell;
};

inline constexpr std::size_t kReceiveEpochOffset = 256;
inline constexpr std::size_t kSendEpochOffset = 264;
inline constexpr std::size_t kDataSignalsOffset = 384;
inline constexpr std::size_t kSpaceSignalsOffset = 392;

static_assert(WireType<WaitLinesWire> && sizeof(WaitLinesWire) == 256);
static_assert(256 + offsetof(WaitLinesWire, wait) + offsetof(WaitLineWire, receive_epoch) ==
              kReceiveEpochOffset);
static_assert(256 + offsetof(WaitLinesWire, wait) + offsetof(WaitLineWire, send_epoch) ==
              kSendEpochOffset);
static_assert(256 + offsetof(WaitLinesWire, doorbell) + offsetof(SignalLineWire, data_signals) ==
              kDataSignalsOffset);
static_assert(256 + offsetof(WaitLinesWire, doorbell) + offsetof(SignalLineWire, space_signals) ==
              kSpaceSignalsOffset);

}  // namespace parley

#endif  // PARLEY_WAIT_LAYOUT_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_TRANSPORTS_REFERENCE_H_
#define PARLEY_BENCH_TRANSPORTS_REFERENCE_H_

// What one writes who trusts the other process: the rows that Parley is measured against. Spinning,
// in place, over plain shared memory, without a single check.
//
//   UncheckedRing    Parley's layout: an 8-byte header before each record, positions of both ends
//                    cached and on lines of their own, data mapped twice
//   FlagSlots        a queue of slots, each with a flag word before its payload
//
// Threads: one per process.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/bench/cell.h"
#include "parley/bench/clock.h"
#include "parley/bench/transports/ring.h"
#include "parley/bench/transports/shared_memory.h"
#include "parley/ring/layout.h"

namespace parley::bench {

// An aligned word in shared memory.
inline std::atomic_ref<uint64_t> WordAt(std::byte* at) {
  // SAFETY: aligned by its user, and only ever accessed as an atomic.
  return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(at));
}

class UncheckedRing {
 public:
  static absl::StatusOr<std::unique_ptr<UncheckedRing>> Create(const Cell& cell) {
    auto regions = RingRegions::Create(QueueBytes(cell));
    if (!regions.ok()) return regions.status();
    return std::make_unique<UncheckedRing>(
        std::make_shared<const RingRegions>(*std::move(regions)));
  }
  // Shared, so that both ends can be in one process.
  explicit UncheckedRing(std::shared_ptr<const RingRegions> regions)
      : regions_(std::move(regions)), capacity_(regions_->capacity_bytes()) {}

  absl::Status Open(Side side) {
    const Side peer = Other(side);
    own_control_ = regions_->control(side);
    peer_control_ = regions_->control(peer);
    own_data_ = regions_->data(side);
    peer_data_ = regions_->data(peer);
    return absl::OkStatus();
  }

  template <typename Fill>
  bool Send(std::size_t bytes, const Fill& fill) {
    const uint64_t needed = kRecordHeaderBytes + bytes;
    while (capacity_ - (tail_ - peer_head_) < needed) {
      // PAIRS WITH: the store of the head in Receive.
      peer_head_ = WordAt(peer_control_ + kHeadOffset).load(std::memory_order_acquire);
    }
    std::byte* at = own_data_ + (tail_ & (capacity_ - 1));
    fill(at + kRecordHeaderBytes, 0, bytes);
    std::memcpy(at, &bytes, sizeof(bytes));
    tail_ += needed;
    // PAIRS WITH: the load of the tail in Receive.
    WordAt(own_control_ + kTailOffset).store(tail_, std::memory_order_release);
    return true;
  }

  template <typename Read>
  bool Receive(std::size_t /*in the header*/, const Read& read) {
    while (peer_tail_ == head_) {
      // PAIRS WITH: the store of the tail in Send.
      peer_tail_ = WordAt(peer_control_ + kTailOffset).load(std::memory_order_acquire);
    }
    const std::byte* at = peer_data_ + (head_ & (capacity_ - 1));
    std::size_t bytes = 0;
    std::memcpy(&bytes, at, sizeof(bytes));
    read(at + kRecordHeaderBytes, bytes);
    head_ += kRecordHeaderBytes + bytes;
    // PAIRS WITH: the load of the head in Send.
    WordAt(own_control_ + kHeadOffset).store(head_, std::memory_order_release);
    return true;
  }

  std::string error() const { return ""; }

 private:
  std::shared_ptr<const RingRegions> regions_;
  const uint64_t capacity_;
  std::byte* own_control_ = nullptr;
  std::byte* peer_control_ = nullptr;
  std::byte* own_data_ = nullptr;
  std::byte* peer_data_ = nullptr;
  uint64_t tail_ = 0;
  uint64_t peer_head_ = 0;
  uint64_t head_ = 0;
  uint64_t peer_tail_ = 0;
};

class FlagSlots {
 public:
  static absl::StatusOr<std::unique_ptr<FlagSlots>> Create(const Cell& cell) {
    auto there = SharedMemory::Create(QueueBytes(cell));
    if (!there.ok()) return there.status();
    auto back = SharedMemory::Create(QueueBytes(cell));
    if (!back.ok()) return back.status();
    return std::make_unique<FlagSlots>(*std::move(there), *std::move(back), cell.size_bytes);
  }
  FlagSlots(SharedMemory there, SharedMemory back, std::size_t size_bytes)
      : queues_{std::move(there), std::move(back)},
        stride_(kFlagBytes + size_bytes),
        slots_(queues_[0].size_bytes() / stride_) {}

  absl::Status Open(Side side) {
    out_ = queues_[static_cast<std::size_t>(side)].base();
    in_ = queues_[static_cast<std::size_t>(Other(side))].base();
    next_out_ = out_;
    next_in_ = in_;
    return absl::OkStatus();
  }

  template <typename Fill>
  bool Send(std::size_t bytes, const Fill& fill) {
    std::byte* slot = next_out_;
    // PAIRS WITH: the store of kEmpty in Receive.
    while (WordAt(slot).load(std::memory_order_acquire) != kEmpty) SpinOnce();
    fill(slot + kFlagBytes, 0, bytes);
    // PAIRS WITH: the load of the flag in Receive.
    WordAt(slot).store(kFull, std::memory_order_release);
    next_out_ = Next(slot, out_);
    return true;
  }

  template <typename Read>
  bool Receive(std::size_t bytes, const Read& read) {
    std::byte* slot = next_in_;
    // PAIRS WITH: the store of kFull in Send.
    while (WordAt(slot).load(std::memory_order_acquire) != kFull) SpinOnce();
    read(slot + kFlagBytes, bytes);
    // PAIRS WITH: the load of the flag in Send.
    WordAt(slot).store(kEmpty, std::memory_order_release);
    next_in_ = Next(slot, in_);
    return true;
  }

  std::string error() const { return ""; }

 private:
  static constexpr std::size_t kFlagBytes = 8;
  static constexpr uint64_t kEmpty = 0;
  static constexpr uint64_t kFull = 1;

  std::byte* Next(std::byte* slot, std::byte* first) const {
    std::byte* next = slot + stride_;
    return next == first + slots_ * stride_ ? first : next;
  }

  std::array<SharedMemory, 2> queues_;
  const std::size_t stride_;
  const std::size_t slots_;
  std::byte* out_ = nullptr;
  std::byte* in_ = nullptr;
  std::byte* next_out_ = nullptr;
  std::byte* next_in_ = nullptr;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_TRANSPORTS_REFERENCE_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BENCH_TRANSPORTS_RING_H_
#define PARLEY_BENCH_TRANSPORTS_RING_H_

// Parley's rings without a channel: over plain shared memory, spinning, unable to sleep. What the
// ring itself costs; with TrustingMemory for PeerMem, what it costs without its checks.
//
// Threads: one per process.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/bench/cell.h"
#include "parley/bench/clock.h"
#include "parley/bench/transports/shared_memory.h"
#include "parley/boundary/own_memory.h"
#include "parley/ring/consumer.h"
#include "parley/ring/layout.h"
#include "parley/ring/producer.h"
#include "parley/ring/ring_types.h"
#include "parley/ring/typed_ring.h"

namespace parley::bench {

// A region for each side: a control page, then the data twice.
class RingRegions {
 public:
  static absl::StatusOr<RingRegions> Create(std::size_t capacity_bytes) {
    auto first = SharedMemory::CreateMirrored(kControlBytes, capacity_bytes);
    if (!first.ok()) return first.status();
    auto second = SharedMemory::CreateMirrored(kControlBytes, capacity_bytes);
    if (!second.ok()) return second.status();
    return RingRegions(*std::move(first), *std::move(second), capacity_bytes);
  }

  std::size_t capacity_bytes() const { return capacity_; }
  std::byte* control(Side owner) const { return region(owner).base(); }
  std::byte* data(Side owner) const { return region(owner).base() + kControlBytes; }

  template <typename Memory>
  Memory ControlAs(Side owner) const {
    return Memory(control(owner), kControlBytes);
  }
  template <typename Memory>
  Memory DataAs(Side owner) const {
    return Memory(data(owner), 2 * capacity_);
  }

 private:
  RingRegions(SharedMemory first, SharedMemory second, std::size_t capacity)
      : regions_{std::move(first), std::move(second)}, capacity_(capacity) {}
  const SharedMemory& region(Side owner) const { return regions_[static_cast<std::size_t>(owner)]; }

  std::array<SharedMemory, 2> regions_;
  std::size_t capacity_;
};

constexpr Side Other(Side side) { return side == Side::kSender ? Side::kReceiver : Side::kSender; }

template <typename PeerMem, bool kInPlace>
class RecordRing {
 public:
  static absl::StatusOr<std::unique_ptr<RecordRing>> Create(const Cell& cell) {
    auto regions = RingRegions::Create(QueueBytes(cell));
    if (!regions.ok()) return regions.status();
    return std::make_unique<RecordRing>(*std::move(regions), cell.size_bytes);
  }
  RecordRing(RingRegions regions, std::size_t size_bytes)
      : regions_(std::move(regions)), buffer_(size_bytes) {}

  absl::Status Open(Side side) {
    const RingGeometry geometry = {regions_.capacity_bytes(),
                                   static_cast<uint32_t>(buffer_.size())};
    const Side peer = Other(side);
    const auto own_control = regions_.ControlAs<OwnMemory>(side);
    const auto peer_control = regions_.ControlAs<PeerMem>(peer);
    producer_.emplace(own_control, regions_.DataAs<OwnMemory>(side), peer_control, geometry);
    consumer_.emplace(own_control, peer_control, regions_.DataAs<PeerMem>(peer), geometry);
    return absl::OkStatus();
  }

  template <typename Fill>
  bool Send(std::size_t bytes, const Fill& fill) {
    if constexpr (kInPlace) {
      absl::Span<std::byte> room;
      if (!Spin([&] { return producer_->TryReserve(bytes, &room); })) return false;
      fill(room.data(), 0, bytes);
      producer_->Commit(0, bytes);
      return true;
    } else {
      fill(buffer_.data(), 0, bytes);
      return Spin([&] { return producer_->TrySend(0, absl::MakeConstSpan(buffer_)); });
    }
  }

  template <typename Read>
  bool Receive(std::size_t bytes, const Read& read) {
    Record record;
    if constexpr (kInPlace) {
      PeerView view;
      if (!Spin([&] { return consumer_->TryPeek(&record, &view); })) return false;
      read(view.BytesThatThePeerMayRewriteAtAnyTime(), bytes);
      consumer_->Release();
      return record.size_bytes == bytes;
    } else {
      if (!Spin([&] { return consumer_->TryReceive(absl::MakeSpan(buffer_), &record); })) {
        return false;
      }
      read(buffer_.data(), bytes);
      return record.size_bytes == bytes;
    }
  }

  std::string error() const { return "the ring refused"; }

 private:
  template <typename Try>
  static bool Spin(const Try& attempt) {
    Outcome outcome = attempt();
    while (outcome == Outcome::kWouldBlock) {
      SpinOnce();
      outcome = attempt();
    }
    return outcome == Outcome::kOk;
  }

  RingRegions regions_;
  std::vector<std::byte> buffer_;
  std::optional<BasicProducer<OwnMemory, PeerMem>> producer_;
  std::optional<BasicConsumer<OwnMemory, PeerMem>> consumer_;
};

// Elements of kBytes: the typed ring.
template <typename PeerMem, std::size_t kBytes>
class TypedRing {
 public:
  using Element = std::array<uint64_t, kBytes / 8>;

  static absl::StatusOr<std::unique_ptr<TypedRing>> Create(const Cell& cell) {
    auto regions = RingRegions::Create(QueueBytes(cell));
    if (!regions.ok()) return regions.status();
    return std::make_unique<TypedRing>(*std::move(regions));
  }
  explicit TypedRing(RingRegions regions)
      : regions_(std::move(regions)), element_(std::make_unique<Element>()) {}

  absl::Status Open(Side side) {
    const Side peer = Other(side);
    const auto own_control = regions_.ControlAs<OwnMemory>(side);
    const auto peer_control = regions_.ControlAs<PeerMem>(peer);
    const std::size_t capacity = regions_.capacity_bytes();
    producer_.emplace(own_control, regions_.DataAs<OwnMemory>(side), peer_control, capacity);
    consumer_.emplace(own_control, peer_control, regions_.DataAs<PeerMem>(peer), capacity);
    return absl::OkStatus();
  }

  template <typename Fill>
  bool Send(std::size_t /*kBytes*/, const Fill& fill) {
    Element& element = *element_;
    // SAFETY: words looked at as bytes.
    fill(reinterpret_cast<std::byte*>(element.data()), 0, kBytes);
    while (!producer_->TryPush(element)) {
      if (producer_->outcome() != Outcome::kWouldBlock) return false;
      SpinOnce();
    }
    return true;
  }

  template <typename Read>
  bool Receive(std::size_t /*kBytes*/, const Read& read) {
    Element& element = *element_;
    while (!consumer_->TryPop(&element)) {
      if (consumer_->outcome() != Outcome::kWouldBlock) return false;
      SpinOnce();
    }
    // SAFETY: words looked at as bytes.
    read(reinterpret_cast<const std::byte*>(element.data()), kBytes);
    return true;
  }

  std::string error() const { return "the ring refused"; }

 private:
  RingRegions regions_;
  std::unique_ptr<Element> element_;
  std::optional<TypedProducer<Element, OwnMemory, PeerMem>> producer_;
  std::optional<TypedConsumer<Element, OwnMemory, PeerMem>> consumer_;
};

}  // namespace parley::bench

#endif  // PARLEY_BENCH_TRANSPORTS_RING_H_

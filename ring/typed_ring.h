// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_RING_TYPED_RING_H_
#define PARLEY_RING_TYPED_RING_H_

// A ring of fixed-size elements: audio samples, sensor records, or plain bytes as a stream.
//
// T is a wire type (boundary/wire_type.h): no padding, no pointer, every bit pattern valid;
// anything else does not compile. There are no headers in the ring, so nothing but two positions to
// validate.
//
// Trust: as for Producer and Consumer; the peer also chooses each element's bytes. Floating-point
// elements may be NaN or infinite: sanitise before converting (media/pcm.h).
// Threads: one at a time per end.
// Ordering: an element pushed before TryPush returns is visible to the TryPop that counts it.
//
//   TypedProducer<float> out(own_control, own_data, peer_control, capacity_bytes);
//   std::size_t sent = out.TryPush(samples);          // as many as fit, possibly 0
//   TypedConsumer<float> in(own_control, peer_control, peer_data, capacity_bytes);
//   std::size_t got = in.TryPop(absl::MakeSpan(buffer));
//   if (got == 0 && in.outcome() == Outcome::kPoisoned) Drop(in.violation());

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_copy.h"
#include "parley/boundary/wire_type.h"
#include "parley/os/check.h"
#include "parley/ring/receive_position.h"
#include "parley/ring/ring_types.h"
#include "parley/ring/send_position.h"

namespace parley {

template <WireType T, typename OwnMem = OwnMemory, typename PeerMem = PeerMemory>
class TypedProducer {
 public:
  // As for Producer. capacity_bytes is valid for a ring of records and at least sizeof(T).
  TypedProducer(OwnMem own_control, OwnMem own_data, PeerMem peer_control, uint64_t capacity_bytes)
      : position_(own_control, peer_control, capacity_bytes), own_data_(own_data) {
    PARLEY_CHECK(IsValid(RingGeometry{capacity_bytes, 0}) && capacity_bytes >= sizeof(T),
                 "ring geometry was not validated");
  }

  // Copies as many of `elements` as fit, from the front, and publishes them. Returns how many;
  // where that is 0, outcome() says why.
  std::size_t TryPush(absl::Span<const T> elements) {
    PARLEY_CHECK(!position_.closed(), "the producer was closed");
    if (elements.empty()) return 0;
    const uint64_t wanted = std::min<uint64_t>(elements.size(), capacity());
    // Looks at the peer only if what is known is short of what is wanted.
    outcome_ = position_.MakeSpace(wanted * sizeof(T));
    const auto count =
        static_cast<std::size_t>(std::min(wanted, position_.KnownFreeBytes() / sizeof(T)));
    if (count == 0) return 0;
    own_data_.CopyIn(position_.Offset(), BytesOfWire(elements.first(count)));
    position_.Advance(count * sizeof(T));
    position_.Publish();
    return count;
  }
  // One element; true if it was sent.
  bool TryPush(const T& element) { return TryPush(absl::MakeConstSpan(&element, 1)) == 1; }

  void Close() { position_.Close(); }
  bool HasFreeSpace(std::size_t elements) {
    return position_.AskForSpace(elements * sizeof(T)) != Outcome::kWouldBlock;
  }
  void Poison(Violation violation) { position_.Poison(violation); }

  // Of the last TryPush that sent nothing.
  Outcome outcome() const { return outcome_; }
  Violation violation() const { return position_.violation(); }
  // How many elements can be under way at once.
  std::size_t capacity() const { return position_.capacity_bytes() / sizeof(T); }

 private:
  SendPosition<OwnMem, PeerMem, sizeof(T)> position_;
  OwnMem own_data_;
  Outcome outcome_ = Outcome::kOk;
};

template <WireType T, typename OwnMem = OwnMemory, typename PeerMem = PeerMemory>
class TypedConsumer {
 public:
  TypedConsumer(OwnMem own_control, PeerMem peer_control, PeerMem peer_data,
                uint64_t capacity_bytes)
      : position_(own_control, peer_control, capacity_bytes), peer_data_(peer_data) {
    PARLEY_CHECK(IsValid(RingGeometry{capacity_bytes, 0}) && capacity_bytes >= sizeof(T),
                 "ring geometry was not validated");
  }

  // Copies up to into.size() elements to the front of `into` and gives their room back. Returns how
  // many; where that is 0, outcome() says why.
  std::size_t TryPop(absl::Span<T> into) {
    if (into.empty()) return 0;
    outcome_ = Available();
    if (outcome_ != Outcome::kOk) return 0;
    const auto count = static_cast<std::size_t>(
        std::min<uint64_t>(into.size(), position_.KnownBytes() / sizeof(T)));
    peer_data_.CopyOut(position_.Offset(), WritableBytesOfWire(into.first(count)));
    position_.Advance(count * sizeof(T));
    position_.Release();
    return count;
  }
  // One element; true if there was one.
  bool TryPop(T* element) { return TryPop(absl::MakeSpan(element, 1)) == 1; }

  void Close() { position_.Close(); }
  bool HasData() { return Available() != Outcome::kWouldBlock; }
  void Poison(Violation violation) { position_.Poison(violation); }

  // Of the last TryPop that returned nothing.
  Outcome outcome() const { return outcome_; }
  Violation violation() const { return position_.violation(); }
  std::size_t capacity() const { return position_.capacity_bytes() / sizeof(T); }

 private:
  Outcome Available() {
    return position_.Available([this](std::size_t offset) { peer_data_.Prefetch(offset); });
  }

  ReceivePosition<OwnMem, PeerMem, sizeof(T)> position_;
  PeerMem peer_data_;
  Outcome outcome_ = Outcome::kOk;
};

// The byte-stream form.
using ByteStreamProducer = TypedProducer<std::byte>;
using ByteStreamConsumer = TypedConsumer<std::byte>;

}  // namespace parley

#endif  // PARLEY_RING_TYPED_RING_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CHANNEL_BULK_ASSEMBLY_H_
#define PARLEY_CHANNEL_BULK_ASSEMBLY_H_

// How records become a message again: the rules of docs/SPEC.md, section 9, without a channel, so
// that a test can count what is fetched. Internal to channel/.
//
// Trust: the records' payloads are the peer's, and may change while they are read; their tags and
// sizes were validated by the ring and are private. Each byte of a payload is fetched once.
// Threads: one at a time.
//
//   BulkAssembly assembly(max_bytes);
//   const Violation found = assembly.Take(record.tag, view, into);
//   if (found == Violation::kNone && !assembly.unfinished()) ...   // total_bytes() lie in `into`

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "parley/boundary/untrusted.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_copy.h"
#include "parley/channel/bulk_wire.h"

namespace parley::internal {

class BulkAssembly {
 public:
  explicit BulkAssembly(uint64_t max_bytes) : max_bytes_(max_bytes) {}

  // The next record, whose payload goes to where it belongs in `into`: at least max_bytes, and the
  // same for all records of a message. `View`: PeerView, or a test's.
  template <typename View>
  Violation Take(uint32_t tag, const View& payload, absl::Span<std::byte> into) {
    std::size_t header_bytes = 0;
    if (!unfinished_) {
      header_bytes = sizeof(BulkHeaderWire);
      const Violation found = Begin(tag, payload);
      if (found != Violation::kNone) return found;
    } else if (tag != tag_ || payload.size_bytes() == 0) {
      return Violation::kMetadataInvalid;
    }
    const std::size_t chunk_bytes = payload.size_bytes() - header_bytes;
    if (chunk_bytes > total_bytes_ - received_bytes_) return Violation::kMetadataInvalid;
    payload.CopyTo(header_bytes, into.subspan(received_bytes_, chunk_bytes));
    received_bytes_ += chunk_bytes;
    unfinished_ = received_bytes_ != total_bytes_;
    return Violation::kNone;
  }

  // Whether a message has begun and lacks something.
  bool unfinished() const { return unfinished_; }
  uint64_t max_bytes() const { return max_bytes_; }
  // Of the present message.
  uint32_t tag() const { return tag_; }
  uint64_t total_bytes() const { return total_bytes_; }

 private:
  // Takes the header of a message's first record, which is not looked at again.
  template <typename View>
  Violation Begin(uint32_t tag, const View& payload) {
    if (payload.size_bytes() < sizeof(BulkHeaderWire)) return Violation::kMetadataInvalid;
    BulkHeaderWire fetched;
    payload.CopyTo(0, WritableBytesOfWire(absl::MakeSpan(&fetched, 1)));
    // TRUST: the reserved word is zero, and the message is no longer than this end takes.
    const auto header = Untrusted<BulkHeaderWire>(fetched).Validate(
        [&](const BulkHeaderWire& h) { return h.reserved == 0 && h.total_bytes <= max_bytes_; });
    if (!header) return Violation::kMetadataInvalid;
    tag_ = tag;
    total_bytes_ = (*header).total_bytes;
    received_bytes_ = 0;
    return Violation::kNone;
  }

  const uint64_t max_bytes_;
  bool unfinished_ = false;
  // Of the present message, validated and private.
  uint32_t tag_ = 0;
  uint64_t total_bytes_ = 0;
  uint64_t received_bytes_ = 0;
};

}  // namespace parley::internal

#endif  // PARLEY_CHANNEL_BULK_ASSEMBLY_H_

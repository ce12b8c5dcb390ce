// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_AV_BYTE_SOURCE_H_
#define PARLEY_AV_BYTE_SOURCE_H_

// The bytes of one file, from wherever they come.
//
// Trust: the bytes are the attacker's, and so is their number. Threads: one at a time.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/types/span.h"

namespace parley::av {

class ByteSource {
 public:
  ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;
  virtual ~ByteSource() = default;

  virtual uint64_t size_bytes() const = 0;
  // Copies what lies at `offset` to the front of `into`; how much it was, 0 at the end or where it
  // cannot be read.
  virtual std::size_t ReadAt(uint64_t offset, absl::Span<std::byte> into) = 0;
};

// Bytes in memory, which outlive it.
class SpanSource final : public ByteSource {
 public:
  explicit SpanSource(absl::Span<const std::byte> bytes) : bytes_(bytes) {}
  uint64_t size_bytes() const override { return bytes_.size(); }
  std::size_t ReadAt(uint64_t offset, absl::Span<std::byte> into) override {
    if (offset >= bytes_.size()) return 0;
    const std::size_t size_bytes = std::min<std::size_t>(into.size(), bytes_.size() - offset);
    if (size_bytes > 0) std::memcpy(into.data(), bytes_.data() + offset, size_bytes);
    return size_bytes;
  }

 private:
  absl::Span<const std::byte> bytes_;
};

}  // namespace parley::av

#endif  // PARLEY_AV_BYTE_SOURCE_H_

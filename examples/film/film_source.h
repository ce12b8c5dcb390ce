// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_FILM_SOURCE_H_
#define PARLEY_EXAMPLES_FILM_FILM_SOURCE_H_

// Where a decoder gets the bytes of a film from: memory, or whatever answers a request for them.
//
// Trust: the bytes are the attacker's. Threads: one at a time.
//
//   MemorySource source(bytes);
//   auto decoder = FilmDecoder::Open(source, acceptance);

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/types/span.h"

namespace parley::film {

class FilmSource {
 public:
  virtual ~FilmSource() = default;
  virtual uint64_t size_bytes() const = 0;
  // Up to `into.size()` bytes from `offset`, and how many; 0: the end, or nobody answers any more.
  virtual size_t ReadAt(uint64_t offset, absl::Span<std::byte> into) = 0;
};

class MemorySource final : public FilmSource {
 public:
  explicit MemorySource(absl::Span<const std::byte> bytes) : bytes_(bytes) {}
  uint64_t size_bytes() const override { return bytes_.size(); }
  size_t ReadAt(uint64_t offset, absl::Span<std::byte> into) override {
    if (offset >= bytes_.size()) return 0;
    const absl::Span<const std::byte> from =
        bytes_.subspan(static_cast<size_t>(offset), into.size());
    std::memcpy(into.data(), from.data(), from.size());
    return from.size();
  }

 private:
  absl::Span<const std::byte> bytes_;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_FILM_SOURCE_H_

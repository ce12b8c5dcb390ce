// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/remote_source.h"

#include <algorithm>
#include <cstring>

#include "absl/status/statusor.h"

namespace parley::film {

size_t RemoteSource::ReadAt(uint64_t offset, absl::Span<std::byte> into) {
  if (offset >= size_bytes() || into.empty()) return 0;
  if (offset < piece_offset_ || offset >= piece_offset_ + piece_bytes_) {
    const absl::StatusOr<std::size_t> got = input_.ReadAt(offset, absl::MakeSpan(piece_));
    piece_offset_ = offset;
    piece_bytes_ = got.value_or(0);
    if (piece_bytes_ == 0) return 0;
  }
  const auto from = static_cast<size_t>(offset - piece_offset_);
  const size_t taken = std::min(into.size(), piece_bytes_ - from);
  std::memcpy(into.data(), piece_.data() + from, taken);
  return taken;
}

}  // namespace parley::film

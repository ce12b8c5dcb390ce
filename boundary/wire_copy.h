// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BOUNDARY_WIRE_COPY_H_
#define PARLEY_BOUNDARY_WIRE_COPY_H_

// Private bytes to wire structs and back.
//
// Trust: the bytes are already in private memory; the values in the struct are as hostile as
// before.
// Threads: any.
//
//   HelloWire hello;
//   if (!ReadWire(absl::MakeConstSpan(bytes), &hello)) return TooShort();

#include <array>
#include <cstddef>
#include <cstring>

#include "absl/types/span.h"
#include "parley/boundary/wire_type.h"

namespace parley {

// Fills `*out` from the first sizeof(T) bytes; false, and `*out` unchanged, if there are fewer.
template <WireType T>
[[nodiscard]] bool ReadWire(absl::Span<const std::byte> bytes, T* out) {
  if (bytes.size() < sizeof(T)) return false;
  std::memcpy(out, bytes.data(), sizeof(T));
  return true;
}

// The bytes of `value`: exactly its members, for there is no padding.
template <WireType T>
std::array<std::byte, sizeof(T)> WireBytes(const T& value) {
  std::array<std::byte, sizeof(T)> bytes;
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

// The bytes of private wire values, in place.
template <WireType T>
absl::Span<const std::byte> BytesOfWire(absl::Span<const T> values) {
  // SAFETY: any object may be looked at as std::byte; a wire type has no padding to leak.
  return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(values.data()),
                             values.size() * sizeof(T));
}
template <WireType T>
absl::Span<std::byte> WritableBytesOfWire(absl::Span<T> values) {
  // SAFETY: any object may be written as std::byte; each bit pattern of a wire type is a value.
  return absl::MakeSpan(reinterpret_cast<std::byte*>(values.data()), values.size() * sizeof(T));
}

}  // namespace parley

#endif  // PARLEY_BOUNDARY_WIRE_COPY_H_

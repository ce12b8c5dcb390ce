#ifndef PARLEY_BOUNDARY_WIRE_COPY_H_
#define PARLEY_BOUNDARY_WIRE_COPY_H_

// Private bytes to wire structs and back.
//
// Trust: the bytes are already in private memory; the values in the struct are as hostile as before.
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

}  // namespace parley

#endif  // PARLEY_BOUNDARY_WIRE_COPY_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BOUNDARY_UNTRUSTED_H_
#define PARLEY_BOUNDARY_UNTRUSTED_H_

// A value that was fetched from the peer and has not been validated.
//
// Trust: the peer chose every bit. The type has no ==, no arithmetic and no conversion: the only
// way on is Validate(), which hands out a plain private copy of exactly the value that was checked
// (promise P4: one look).
// Threads: a value; any.
//
//   const Untrusted<uint64_t> fetched = peer.LoadAcquire64(kTailOffset);
//   // TRUST: at most `capacity` ahead of what we have consumed.
//   const Validated<uint64_t> tail =
//       fetched.Validate([&](uint64_t tail) { return tail - head <= capacity; });
//   if (!tail) return Poison(Violation::kProducerPositionOutOfRange);

#include <type_traits>

#include "parley/os/check.h"

namespace parley {

// What Validate gave: the value if it was accepted, otherwise nothing. A std::optional in fewer
// instructions (compilers keep that one in memory, on each record's way), and with no build in
// which a refused value can be had as if it were good.
template <typename T>
class [[nodiscard]] Validated {
 public:
  constexpr Validated(T value, bool accepted) : value_(value), accepted_(accepted) {}

  explicit constexpr operator bool() const { return accepted_; }
  // Of a value that was accepted. Asking for another is a bug of ours, and aborts.
  constexpr T operator*() const {
    PARLEY_CHECK(accepted_, "a value was used that validation had refused");
    return value_;
  }
  // Of a value that was refused, to name what is wrong with it and for nothing else. Asking for one
  // that was accepted aborts as well.
  constexpr T Refused() const {
    PARLEY_CHECK(!accepted_, "a reason was asked for where there is none");
    return value_;
  }

 private:
  T value_;
  bool accepted_;
};

template <typename T>
class [[nodiscard]] Untrusted {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  explicit constexpr Untrusted(T fetched) : value_(fetched) {}

  // The value if `accept(value)` holds, nothing otherwise.
  template <typename Accept>
  constexpr Validated<T> Validate(Accept&& accept) const {
    const bool accepted = accept(value_);
    return Validated<T>(value_, accepted);
  }

  // For values of which every bit pattern is acceptable, such as an epoch that is only compared
  // with the one seen before. The peer's choice goes on unchecked: say at the call why that is
  // fine.
  constexpr T AnyValueIsAcceptable() const { return value_; }

 private:
  T value_;
};

}  // namespace parley

#endif  // PARLEY_BOUNDARY_UNTRUSTED_H_

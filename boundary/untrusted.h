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
//   const std::optional<uint64_t> tail =
//       fetched.Validate([&](uint64_t tail) { return tail - head <= capacity; });
//   if (!tail) return Poison(Violation::kProducerPositionOutOfRange);

#include <optional>
#include <type_traits>

namespace parley {

template <typename T>
class [[nodiscard]] Untrusted {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  explicit constexpr Untrusted(T fetched) : value_(fetched) {}

  // The value if `accept(value)` holds, nothing otherwise.
  template <typename Accept>
  constexpr std::optional<T> Validate(Accept&& accept) const {
    if (!accept(value_)) return std::nullopt;
    return value_;
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

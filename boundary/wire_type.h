// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_BOUNDARY_WIRE_TYPE_H_
#define PARLEY_BOUNDARY_WIRE_TYPE_H_

// The concept of a type that may cross to a process which does not trust us, and back.
//
// A wire type is an integer (not bool, not an enumeration), a floating-point number, std::byte, a
// std::array of wire types, or an aggregate of up to 24 wire types without any padding. So it holds
// no pointer and no byte that nobody wrote, and each bit pattern is a valid value: a struct of this
// kind can be filled from hostile bytes without undefined behaviour. Everything else does not
// compile. C arrays are refused; use std::array.
//
// Trust: says nothing about *values*; they are validated after the copy.
//
//   struct SampleWire { uint64_t time_ns; std::array<float, 2> level; };
//   static_assert(WireType<SampleWire>);

#include <array>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace parley {
namespace wire_internal {

// long double has padding bytes; __int128 is no std integral type in strict mode.
template <typename T>
inline constexpr bool kScalar =
    (std::is_integral_v<T> && !std::is_same_v<std::remove_cv_t<T>, bool>) ||
    std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, std::byte>;

template <typename T>
struct IsStdArray : std::false_type {};
template <typename T, std::size_t kCount>
struct IsStdArray<std::array<T, kCount>> : std::true_type {
  using Element = T;
};

// Converts to any member type, so that T{Any, Any, ...} counts members.
struct Any {
  template <typename T>
  constexpr operator T() const;  // NOLINT(google-explicit-constructor): never defined
};

template <typename T, std::size_t... kIndex>
constexpr bool BracesAccept(std::index_sequence<kIndex...>) {
  return requires { T{(static_cast<void>(kIndex), Any{})...}; };
}

inline constexpr std::size_t kMaxMembers = 24;

template <typename T, std::size_t kCount = kMaxMembers + 1>
constexpr std::size_t MemberCount() {
  if constexpr (kCount == 0) {
    return 0;
  } else if constexpr (BracesAccept<T>(std::make_index_sequence<kCount>())) {
    return kCount;
  } else {
    return MemberCount<T, kCount - 1>();
  }
}

template <typename... Members>
struct MemberList {};

template <typename... Members>
constexpr MemberList<Members...> ListOf(const Members&...) {
  return {};
}

// clang-format off
template <typename T>
constexpr auto MembersOf(const T& value) {
  constexpr std::size_t kCount = MemberCount<T>();
#define PARLEY_MEMBERS(count, ...)                                   \
  else if constexpr (kCount == count) {                              \
    const auto& [__VA_ARGS__] = value;                               \
    return ListOf(__VA_ARGS__);                                      \
  }
  if constexpr (kCount == 0) { static_cast<void>(value); return MemberList<>{}; }
  PARLEY_MEMBERS(1, a)
  PARLEY_MEMBERS(2, a, b)
  PARLEY_MEMBERS(3, a, b, c)
  PARLEY_MEMBERS(4, a, b, c, d)
  PARLEY_MEMBERS(5, a, b, c, d, e)
  PARLEY_MEMBERS(6, a, b, c, d, e, f)
  PARLEY_MEMBERS(7, a, b, c, d, e, f, g)
  PARLEY_MEMBERS(8, a, b, c, d, e, f, g, h)
  PARLEY_MEMBERS(9, a, b, c, d, e, f, g, h, i)
  PARLEY_MEMBERS(10, a, b, c, d, e, f, g, h, i, j)
  PARLEY_MEMBERS(11, a, b, c, d, e, f, g, h, i, j, k)
  PARLEY_MEMBERS(12, a, b, c, d, e, f, g, h, i, j, k, l)
  PARLEY_MEMBERS(13, a, b, c, d, e, f, g, h, i, j, k, l, m)
  PARLEY_MEMBERS(14, a, b, c, d, e, f, g, h, i, j, k, l, m, n)
  PARLEY_MEMBERS(15, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o)
  PARLEY_MEMBERS(16, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)
  PARLEY_MEMBERS(17, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q)
  PARLEY_MEMBERS(18, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r)
  PARLEY_MEMBERS(19, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s)
  PARLEY_MEMBERS(20, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t)
  PARLEY_MEMBERS(21, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u)
  PARLEY_MEMBERS(22, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v)
  PARLEY_MEMBERS(23, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w)
  PARLEY_MEMBERS(24, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x)
#undef PARLEY_MEMBERS
}
// clang-format on

template <typename T>
constexpr bool IsWire();

template <typename... Members>
constexpr bool AllWire(MemberList<Members...>) {
  return (IsWire<Members>() && ...);
}

template <typename... Members>
constexpr std::size_t SumOfSizes(MemberList<Members...>) {
  return (std::size_t{0} + ... + sizeof(Members));
}

// Member types without an object: MembersOf is only named in decltype.
template <typename T>
using Members = decltype(MembersOf(std::declval<const T&>()));

template <typename T>
constexpr bool IsWire() {
  if constexpr (kScalar<T>) {
    return true;
  } else if constexpr (IsStdArray<T>::value) {
    return IsWire<typename IsStdArray<T>::Element>();
  } else if constexpr (std::is_class_v<T> && std::is_aggregate_v<T> && !std::is_empty_v<T> &&
                       std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T>) {
    // More than 24 members, or none: not a wire type.
    if constexpr (MemberCount<T>() == 0 || MemberCount<T>() > kMaxMembers) {
      return false;
    } else {
      return AllWire(Members<T>{}) && SumOfSizes(Members<T>{}) == sizeof(T);
    }
  } else {
    return false;
  }
}

}  // namespace wire_internal

template <typename T>
concept WireType = wire_internal::IsWire<T>();

}  // namespace parley

#endif  // PARLEY_BOUNDARY_WIRE_TYPE_H_

// SPDX-License-Identifier: Apache-2.0
#include "parley/boundary/wire_type.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace parley {
namespace {

struct Good {
  uint64_t a;
  std::array<float, 2> b;
  std::byte c;
  std::array<uint8_t, 7> d;
};
struct Nested {
  Good good;
  int64_t more;
};
struct HolePadded {
  uint8_t a;
  uint64_t b;
};
struct TailPadded {
  uint64_t a;
  uint8_t b;
};
struct WithPointer {
  uint64_t a;
  const char* b;
};
struct WithBool {
  bool a;
};
enum class Colour : uint32_t { kRed };
struct WithEnum {
  Colour a;
};
struct Empty {};
struct WithReferenceLike {
  std::string a;
};
struct NestedPadding {
  HolePadded a;
};
// An aggregate without padding, which is not copied by copying its bytes.
struct CopiedByCode {
  uint32_t a;
  CopiedByCode& operator=(const CopiedByCode& other) {
    a = other.a + 1;
    return *this;
  }
};
class Private {
 public:
  uint32_t value() const { return a_; }

 private:
  uint32_t a_ = 0;
};

static_assert(WireType<uint8_t> && WireType<int64_t> && WireType<float> && WireType<std::byte>);
static_assert(WireType<std::array<uint16_t, 5>> && WireType<Good> && WireType<Nested>);
static_assert(!WireType<bool> && !WireType<Colour> && !WireType<void*> && !WireType<Empty>);
static_assert(!WireType<long double>);
static_assert(!WireType<HolePadded> && !WireType<TailPadded> && !WireType<NestedPadding>);
static_assert(!WireType<WithPointer> && !WireType<WithBool> && !WireType<WithEnum>);
static_assert(!WireType<WithReferenceLike> && !WireType<Private>);
static_assert(!WireType<CopiedByCode>);
static_assert(!WireType<std::array<HolePadded, 2>> && !WireType<std::array<int*, 2>>);

#define PARLEY_TYPE_OF(count, ...) \
  struct Of##count {               \
    uint8_t __VA_ARGS__;           \
  };
PARLEY_TYPE_OF(1, a)
PARLEY_TYPE_OF(2, a, b)
PARLEY_TYPE_OF(3, a, b, c)
PARLEY_TYPE_OF(4, a, b, c, d)
PARLEY_TYPE_OF(5, a, b, c, d, e)
PARLEY_TYPE_OF(6, a, b, c, d, e, f)
PARLEY_TYPE_OF(7, a, b, c, d, e, f, g)
PARLEY_TYPE_OF(8, a, b, c, d, e, f, g, h)
PARLEY_TYPE_OF(9, a, b, c, d, e, f, g, h, i)
PARLEY_TYPE_OF(10, a, b, c, d, e, f, g, h, i, j)
PARLEY_TYPE_OF(11, a, b, c, d, e, f, g, h, i, j, k)
PARLEY_TYPE_OF(12, a, b, c, d, e, f, g, h, i, j, k, l)
PARLEY_TYPE_OF(13, a, b, c, d, e, f, g, h, i, j, k, l, m)
PARLEY_TYPE_OF(14, a, b, c, d, e, f, g, h, i, j, k, l, m, n)
PARLEY_TYPE_OF(15, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o)
PARLEY_TYPE_OF(16, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)
PARLEY_TYPE_OF(17, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q)
PARLEY_TYPE_OF(18, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r)
PARLEY_TYPE_OF(19, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s)
PARLEY_TYPE_OF(20, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t)
PARLEY_TYPE_OF(21, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u)
PARLEY_TYPE_OF(22, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v)
PARLEY_TYPE_OF(23, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w)
PARLEY_TYPE_OF(24, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x)
PARLEY_TYPE_OF(25, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y)
#undef PARLEY_TYPE_OF

// The answers of the compiler, once more at run time, where coverage sees who gave them.
template <typename T, std::size_t kCount>
void ExpectMembers() {
  static_assert(WireType<T>);
  static_assert(wire_internal::MemberCount<T>() == kCount);
  EXPECT_TRUE(wire_internal::IsWire<T>());
  EXPECT_EQ(wire_internal::MemberCount<T>(), kCount);
  EXPECT_TRUE(wire_internal::BracesAccept<T>(std::make_index_sequence<kCount>()));
  EXPECT_FALSE(wire_internal::BracesAccept<T>(std::make_index_sequence<kCount + 1>()));
  // As many members as bytes: none was left out, none counted twice.
  EXPECT_EQ(wire_internal::SumOfSizes(wire_internal::MembersOf(T{})), kCount);
  EXPECT_TRUE(wire_internal::AllWire(wire_internal::MembersOf(T{})));
}

TEST(WireTypeTest, EachNumberOfMembersUpTo24) {
  ExpectMembers<Of1, 1>();
  ExpectMembers<Of2, 2>();
  ExpectMembers<Of3, 3>();
  ExpectMembers<Of4, 4>();
  ExpectMembers<Of5, 5>();
  ExpectMembers<Of6, 6>();
  ExpectMembers<Of7, 7>();
  ExpectMembers<Of8, 8>();
  ExpectMembers<Of9, 9>();
  ExpectMembers<Of10, 10>();
  ExpectMembers<Of11, 11>();
  ExpectMembers<Of12, 12>();
  ExpectMembers<Of13, 13>();
  ExpectMembers<Of14, 14>();
  ExpectMembers<Of15, 15>();
  ExpectMembers<Of16, 16>();
  ExpectMembers<Of17, 17>();
  ExpectMembers<Of18, 18>();
  ExpectMembers<Of19, 19>();
  ExpectMembers<Of20, 20>();
  ExpectMembers<Of21, 21>();
  ExpectMembers<Of22, 22>();
  ExpectMembers<Of23, 23>();
  ExpectMembers<Of24, 24>();
  static_assert(!WireType<Of25>);
  EXPECT_FALSE(wire_internal::IsWire<Of25>());
}

TEST(WireTypeTest, NoMembersAreNoWireType) {
  EXPECT_EQ(wire_internal::MemberCount<Empty>(), 0u);
  EXPECT_EQ(wire_internal::SumOfSizes(wire_internal::MembersOf(Empty{})), 0u);
  EXPECT_FALSE(wire_internal::IsWire<Empty>());
  EXPECT_FALSE(wire_internal::IsWire<WithPointer>());
  EXPECT_TRUE((wire_internal::IsWire<std::array<uint16_t, 5>>()));
}

TEST(WireTypeTest, PromiseP5SilenceNoPaddingNoPointersByType) {
  // The static_asserts above are the test; this shows in the report that they were compiled.
  EXPECT_EQ(sizeof(Good), 24u);
  EXPECT_EQ(wire_internal::MemberCount<Good>(), 4u);
}

}  // namespace
}  // namespace parley

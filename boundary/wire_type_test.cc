#include "parley/boundary/wire_type.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

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
static_assert(!WireType<std::array<HolePadded, 2>> && !WireType<std::array<int*, 2>>);

TEST(WireTypeTest, PromiseP5SilenceNoPaddingNoPointersByType) {
  // The static_asserts above are the test; this shows in the report that they were compiled.
  EXPECT_EQ(sizeof(Good), 24u);
  EXPECT_EQ(wire_internal::MemberCount<Good>(), 4u);
}

}  // namespace
}  // namespace parley

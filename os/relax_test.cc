// SPDX-License-Identifier: Apache-2.0

// How many pauses are made, counted in place of the processor's instruction; on arm64, which it is.

#include <cstdint>

#include "gtest/gtest.h"

#if defined(__x86_64__)

namespace {
uint32_t pauses = 0;
void CountPause() { ++pauses; }
}  // namespace

#define __builtin_ia32_pause CountPause  // NOLINT: the compiler's own name
#include "parley/os/relax.h"
#undef __builtin_ia32_pause

namespace parley::internal {
namespace {

TEST(RelaxTest, EachNumberOfPausesIsMade) {
  for (uint32_t times = 0; times <= kMaxRelaxTimes; ++times) {
    pauses = 0;
    RelaxFor(times);
    EXPECT_EQ(pauses, times);
  }
}

}  // namespace
}  // namespace parley::internal

#elif defined(__aarch64__)

#include <cstring>

#include "parley/os/relax.h"

namespace parley::internal {
namespace {

// `yield`, which takes no time there, would be 0xd503203f.
TEST(RelaxTest, OnArm64AnInstructionBarrierIsThePause) {
  constexpr uint32_t kIsb = 0xd5033fdf;
  constexpr uint32_t kRet = 0xd65f03c0;
  void (*const relax)() = Relax;
  const unsigned char* code = nullptr;
  std::memcpy(&code, &relax, sizeof(code));
  bool found = false;
  for (uint32_t instruction = 0; instruction != kRet; code += sizeof(instruction)) {
    std::memcpy(&instruction, code, sizeof(instruction));
    found |= instruction == kIsb;
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace parley::internal

#endif

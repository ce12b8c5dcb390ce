// SPDX-License-Identifier: Apache-2.0

// How many pauses are made, counted in place of the processor's instruction.

#include <cstdint>

#include "gtest/gtest.h"

#if defined(__x86_64__)

namespace {
uint32_t pauses = 0;
void CountPause() { ++pauses; }
}  // namespace

#define __builtin_ia32_pause CountPause
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

#endif

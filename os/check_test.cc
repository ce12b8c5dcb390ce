// SPDX-License-Identifier: Apache-2.0
#include "parley/os/check.h"

#include <signal.h>

#include "gtest/gtest.h"

namespace {

TEST(CheckTest, PassesQuietly) { PARLEY_CHECK(1 + 1 == 2, "arithmetic"); }

TEST(CheckDeathTest, SaysWhatTheCallerBroke) {
  EXPECT_DEATH(PARLEY_CHECK(1 > 2, "buffer too small"), "caller's bug: buffer too small");
}

// With the place and the condition; and no handler of the caller's makes it go on.
TEST(CheckDeathTest, ItIsAnAbortAtItsLine) {
  EXPECT_EXIT(PARLEY_CHECK(1 > 2, "buffer too small"), ::testing::KilledBySignal(SIGABRT),
              "check_test.cc:[0-9]+: caller's bug: buffer too small .check failed: 1 > 2.");
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
#include "parley/os/check.h"

#include "gtest/gtest.h"

namespace {

TEST(CheckTest, PassesQuietly) { PARLEY_CHECK(1 + 1 == 2, "arithmetic"); }

TEST(CheckDeathTest, SaysWhatTheCallerBroke) {
  EXPECT_DEATH(PARLEY_CHECK(1 > 2, "buffer too small"), "caller's bug: buffer too small");
}

}  // namespace

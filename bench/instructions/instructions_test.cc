// SPDX-License-Identifier: Apache-2.0

// Runs the instruction counter's own tests (self_test.py).

#include <cstdlib>
#include <string>

#include "gtest/gtest.h"

namespace parley::bench {
namespace {

TEST(InstructionsTest, ItsOwnTestsPass) {
  const std::string script = std::string(std::getenv("TEST_SRCDIR")) + "/" +
                             std::getenv("TEST_WORKSPACE") + "/bench/instructions/instructions.py";
  EXPECT_EQ(std::system(("python3 -B '" + script + "' --self-test 2>&1").c_str()), 0);
}

}  // namespace
}  // namespace parley::bench

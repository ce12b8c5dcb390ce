#include "parley/bench/transports/unpinned.h"

#include <sched.h>

#include "gtest/gtest.h"

namespace parley::bench {
namespace {

cpu_set_t Allowed() {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_EQ(::sched_getaffinity(0, sizeof(set), &set), 0);
  return set;
}

TEST(UnpinnedTest, AllProcessorsForAWhileAndThenTheOneAgain) {
  const cpu_set_t all = Allowed();
  int first = 0;
  while (!CPU_ISSET(first, &all)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
  {
    const Unpinned unpinned;
    const cpu_set_t now = Allowed();
    EXPECT_GE(CPU_COUNT(&now), CPU_COUNT(&all));
  }
  const cpu_set_t after = Allowed();
  EXPECT_TRUE(CPU_EQUAL(&after, &one));
  ::sched_setaffinity(0, sizeof(all), &all);
}

}  // namespace
}  // namespace parley::bench

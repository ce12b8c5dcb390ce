// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/regime.h"

#include <vector>

#include "gtest/gtest.h"

namespace parley::bench {
namespace {

TEST(RegimeTest, NothingIsNoRegime) {
  EXPECT_TRUE(Classify({}).regimes.empty());
  // Without a probe (both ends on one processor, say) there is nothing to compare by.
  const Regimes regimes = Classify({{0, 0}});
  EXPECT_TRUE(regimes.regimes.empty());
  EXPECT_EQ(regimes.of_sample, std::vector<int>{kMixed});
}

TEST(RegimeTest, ThreeSpellsAreToldApart) {
  std::vector<Probe> probes;
  for (int i = 0; i < 50; ++i) probes.push_back({108 + i * 0.2, 116 - i * 0.1});
  for (int i = 0; i < 20; ++i) probes.push_back({560 + i * 5.0, 620 - i * 2.0});
  for (int i = 0; i < 5; ++i) probes.push_back({60.0 + i, 58.0 + i});
  probes.push_back({112, 600});  // it changed while this one ran
  const Regimes regimes = Classify(probes);
  ASSERT_EQ(regimes.regimes.size(), 3u);
  EXPECT_EQ(regimes.regimes[0].samples, 50u);
  EXPECT_NEAR(regimes.regimes[0].centre_ns, 112, 3);
  EXPECT_EQ(regimes.regimes[1].samples, 20u);
  EXPECT_NEAR(regimes.regimes[1].centre_ns, 600, 30);
  EXPECT_EQ(regimes.regimes[2].samples, 5u);
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(regimes.of_sample[i], 0);
  for (std::size_t i = 50; i < 70; ++i) EXPECT_EQ(regimes.of_sample[i], 1);
  for (std::size_t i = 70; i < 75; ++i) EXPECT_EQ(regimes.of_sample[i], 2);
  EXPECT_EQ(regimes.of_sample[75], kMixed);
}

TEST(RegimeTest, TheLargerRegimeIsFirstWhicheverIsFaster) {
  std::vector<Probe> probes(3, Probe{60, 60});
  probes.resize(10, Probe{600, 600});
  const Regimes regimes = Classify(probes);
  ASSERT_EQ(regimes.regimes.size(), 2u);
  EXPECT_EQ(regimes.regimes[0].centre_ns, 600);
  EXPECT_EQ(regimes.of_sample.front(), 1);
  EXPECT_EQ(regimes.of_sample.back(), 0);
}

}  // namespace
}  // namespace parley::bench

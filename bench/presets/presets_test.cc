// SPDX-License-Identifier: Apache-2.0

// The pacing, and one short sample of each preset and direction: who is charged for what, and that
// messages arrive. No times are judged here.

#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "parley/bench/arena.h"
#include "parley/bench/clock.h"
#include "parley/bench/presets/ends.h"
#include "parley/bench/presets/load.h"
#include "parley/bench/presets/pacer.h"
#include "parley/bench/presets/study.h"
#include "parley/os/deadline.h"

namespace parley::bench {
namespace {

TEST(PacerTest, NeverEarlyWhetherItSleepsOrSpins) {
  for (const double rate_hz : {500.0, 20'000.0}) {
    const double ticks_per_ns = MeasureTicksPerNs();
    const int64_t begin_ns = MonotonicNowNs();
    Pacer pacer(rate_hz, ticks_per_ns);
    for (int i = 0; i < 10; ++i) pacer.Await();
    // A thousandth for the two clocks.
    EXPECT_GE(static_cast<double>(MonotonicNowNs() - begin_ns), 0.999 * 10 * 1e9 / rate_hz);
    EXPECT_EQ(pacer.spun_s() > 0, rate_hz >= Pacer::kSpinsFromHz);
  }
}

TEST(PacerTest, FlatOutNeverWaits) {
  Pacer pacer(0, 1);
  for (int i = 0; i < 1'000'000; ++i) pacer.Await();
  EXPECT_EQ(pacer.spun_s(), 0);
}

class LoadTest : public ::testing::TestWithParam<Preset> {};

TEST_P(LoadTest, MeasuresBothDirections) {
  for (const Direction direction : {Direction::kOneWay, Direction::kRoundTrip}) {
    Load load;
    load.preset = GetParam();
    load.direction = direction;
    load.rate_hz = 1'000;
    load.warm_up_s = 0.01;
    load.measured_s = 0.05;
    load.ticks_per_ns = MeasureTicksPerNs();
    const SharedArena arena;
    const auto result = RunLoad(load, *arena);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_GE(result->messages, 2u);
    EXPECT_LE(result->messages, 50u);
    const bool sends = GetParam() != Preset::kControl;
    EXPECT_EQ(arena->histogram.total() >= result->messages - 1, sends);
    EXPECT_GT(result->ends[0].wall_s, 0);
    EXPECT_EQ(result->ends[1].wall_s > 0, sends);
    EXPECT_EQ(result->ends[0].spun_s, 0);  // this rate is paced by sleeps
  }
}

TEST_P(LoadTest, ChargesAPacingSpinToThePacing) {
  Load load;
  load.preset = GetParam();
  load.rate_hz = 20'000;
  load.measured_s = 0.05;
  load.ticks_per_ns = MeasureTicksPerNs();
  const SharedArena arena;
  const auto result = RunLoad(load, *arena);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_GT(result->ends[0].spun_s, 0);
  EXPECT_EQ(result->ends[1].spun_s, 0);
}

INSTANTIATE_TEST_SUITE_P(Presets, LoadTest, ::testing::ValuesIn(kPresets));

TEST(StudyTest, EachPresetIsMeasuredBothWaysBesideItsControl) {
  PresetOptions options;
  options.passes = 1;
  options.rates = {{1'000, 0.02}, {0, 0.01}};
  const std::vector<PresetSample> samples = MeasurePresets(options);
  // Five ways to wait, two directions, two rates; one control, for flat out has no pacing.
  EXPECT_EQ(samples.size(), 21u);
  for (const PresetSample& sample : samples) EXPECT_EQ(sample.failed, "");
  EXPECT_NE(ToJson(samples, "\"quoted\"").find("lowest power"), std::string::npos);
}

}  // namespace
}  // namespace parley::bench

// SPDX-License-Identifier: Apache-2.0

// Small versions of each part: that it measures what it says. No times are judged here.

#include <fcntl.h>

#include <cstddef>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "parley/bench/scale/channels.h"
#include "parley/bench/scale/drift.h"
#include "parley/bench/scale/footprint.h"
#include "parley/bench/scale/rings.h"
#include "parley/bench/scale/study.h"
#include "parley/bench/transports/shared_memory.h"
#include "parley/os/unique_fd.h"

namespace parley::bench {
namespace {

TEST(FootprintTest, SeesADescriptorAndSharedMemory) {
  const Footprint before = FootprintNow();
  constexpr std::size_t kBytes = std::size_t{8} << 20;
  const auto memory = SharedMemory::Create(kBytes);
  ASSERT_TRUE(memory.ok());
  const UniqueFd descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const Footprint after = FootprintNow();
  EXPECT_EQ(after.descriptors, before.descriptors + 1);
  EXPECT_GE(after.shmem_bytes, before.shmem_bytes + static_cast<int64_t>(kBytes));
  EXPECT_GE(after.rss_bytes, after.shmem_bytes);
  EXPECT_GT(after.mappings, 0);
}

TEST(ChannelsTest, ThreeChannelsHoldThreeTimesWhatOneHolds) {
  const auto one = MeasureChannels(1);
  ASSERT_TRUE(one.ok()) << one.status();
  const auto three = MeasureChannels(3);
  ASSERT_TRUE(three.ok()) << three.status();
  const auto grown = [](const ChannelsResult& result) {
    return result.after.descriptors - result.before.descriptors;
  };
  EXPECT_GT(grown(*one), 0);
  EXPECT_EQ(grown(*three), 3 * grown(*one));
  EXPECT_GT(three->after.shmem_bytes - three->before.shmem_bytes,
            one->after.shmem_bytes - one->before.shmem_bytes);
  for (const double ns :
       {three->one_ready_ns, three->all_ready_ns, three->arm_ns, three->poll_ns}) {
    EXPECT_GT(ns, 0);
  }
}

TEST(ChannelsTest, TooManyForTheLimitSayWhichLimit) {
  const auto many = MeasureChannels(std::size_t{1} << 40);
  EXPECT_TRUE(absl::IsResourceExhausted(many.status()));
  EXPECT_NE(many.status().message().find("RLIMIT_NOFILE"), std::string::npos);
}

TEST(RingsTest, APageAndWhatIsLongerThanIt) {
  EXPECT_FALSE(Fits(4096, 4096));
  SampleTimes times;
  times.fixed_count = 100;
  times.probe = false;
  const auto sample = MeasureRing(4096, 64, times);
  if (absl::IsAborted(sample.status()) &&
      sample.status().message().find("two processors") != std::string::npos) {
    GTEST_SKIP() << sample.status();
  }
  ASSERT_TRUE(sample.ok()) << sample.status();
  EXPECT_GT(sample->set_up_s, 0);
  EXPECT_GT(sample->message_ns, 0);
  EXPECT_EQ(AllRingBytes().front(), 4096u);
  EXPECT_EQ(AllRingBytes().back(), std::size_t{1} << 30);
}

TEST(StudyTest, DriftCountsEveryMessageInItsWindow) {
  ScaleOptions options;
  options.channels.clear();
  options.drift = DriftOptions{0.5, 0.1};
  const ScaleResult result = MeasureScale(options);
  ASSERT_TRUE(result.drift.has_value()) << (result.failed.empty() ? "" : result.failed[0]);
  const DriftResult& drift = *result.drift;
  EXPECT_GE(drift.windows, 1u);
  double in_windows = 0;
  for (std::size_t i = 0; i < drift.windows; ++i) in_windows += drift.per_second[i] * 0.1;
  EXPECT_GT(in_windows, 0);
  EXPECT_EQ(drift.begin[0].descriptors, drift.end[0].descriptors);
  EXPECT_EQ(drift.begin[1].descriptors, drift.end[1].descriptors);
  EXPECT_NE(ToJson(options, result, "x").find("window_s"), std::string::npos);
}

}  // namespace
}  // namespace parley::bench

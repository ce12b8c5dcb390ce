// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/latency/latency_report.h"

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <string>

#include "gtest/gtest.h"

namespace parley::latency {
namespace {

TEST(LatencyReportTest, EachValueIsInOneRowAndRowsAreFew) {
  bench::Histogram times;
  for (uint64_t ns = 1; ns < uint64_t{1} << 40; ns *= 2) times.Add(ns);
  std::istringstream text(Describe(times));
  std::string line;
  std::getline(text, line);
  EXPECT_NE(line.find("max 549755813.9 us"), std::string::npos) << line;
  uint64_t sum = 0;
  int rows = 0;
  while (std::getline(text, line)) {
    std::istringstream words(line);
    std::string up, to, upper, us;
    uint64_t count = 0;
    words >> up >> to >> upper >> us >> count;
    ASSERT_TRUE(words && up == "up" && us == "us") << line;
    sum += count;
    ++rows;
  }
  EXPECT_EQ(sum, times.total());
  EXPECT_LE(rows, 25);
  EXPECT_GT(rows, 10);
}

TEST(LatencyReportTest, ALineOfJsonHasEachBucket) {
  bench::Histogram times;
  times.Add(3);
  times.Add(3);
  times.Add(50);
  EXPECT_EQ(JsonLine("there and back", times),
            "{\"name\": \"there and back\", \"count\": 3, \"p50_ns\": 3, \"p99_ns\": 50, "
            "\"p99_9_ns\": 50, \"max_ns\": 50, \"buckets\": [[3, 2], [50, 1]]}\n");
  EXPECT_EQ(Describe(bench::Histogram()), "nothing was measured\n");
}

}  // namespace
}  // namespace parley::latency

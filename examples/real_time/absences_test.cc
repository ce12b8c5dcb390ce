// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/real_time/absences.h"

#include <cstdint>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"

namespace parley {
namespace {

TEST(AbsenceWatchTest, EachSleepIsAnAbsenceWhereEverythingIsOne) {
  const int64_t before_ns = MonotonicNowNs();
  AbsenceWatch watch(absl::ZeroDuration());
  ASSERT_TRUE(watch.Start(0).ok());
  const int64_t from_ns = MonotonicNowNs();
  absl::SleepFor(absl::Milliseconds(50));
  const int64_t to_ns = MonotonicNowNs();
  watch.Stop();
  EXPECT_TRUE(watch.Overlaps(from_ns, to_ns)) << watch.ToString();
  EXPECT_FALSE(watch.Overlaps(before_ns - 1000, before_ns));
  EXPECT_FALSE(watch.Overlaps(MonotonicNowNs(), INT64_MAX));
}

TEST(AbsenceWatchTest, NothingIsWhereNothingIsLongEnough) {
  AbsenceWatch watch(absl::Hours(1));
  ASSERT_TRUE(watch.Start(0).ok());
  absl::SleepFor(absl::Milliseconds(5));
  watch.Stop();
  EXPECT_FALSE(watch.Overlaps(0, INT64_MAX));
  EXPECT_EQ(watch.ToString().rfind("0 times ", 0), 0u) << watch.ToString();
}

}  // namespace
}  // namespace parley

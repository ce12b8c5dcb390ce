// SPDX-License-Identifier: Apache-2.0
#include "parley/shm/geometry.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace parley {
namespace {

absl::StatusCode CodeOf(uint64_t data_bytes, uint64_t limit = uint64_t{256} << 20) {
  return ValidateGeometry({data_bytes}, {.max_data_bytes = limit}).code();
}

TEST(GeometryTest, PowersOfTwoFromAPageOnAndZero) {
  EXPECT_EQ(CodeOf(0), absl::StatusCode::kOk);
  for (uint64_t size = ControlBytes(); size <= uint64_t{256} << 20; size *= 2) {
    EXPECT_EQ(CodeOf(size), absl::StatusCode::kOk) << size;
    EXPECT_EQ(CodeOf(size + 1), size < uint64_t{256} << 20 ? absl::StatusCode::kInvalidArgument
                                                           : absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(CodeOf(size - 1), absl::StatusCode::kInvalidArgument) << size;
  }
  for (uint64_t size = 1; size < ControlBytes(); size *= 2) {
    EXPECT_EQ(CodeOf(size), absl::StatusCode::kInvalidArgument) << size;
  }
  EXPECT_EQ(CodeOf(3 * ControlBytes()), absl::StatusCode::kInvalidArgument);
}

TEST(GeometryTest, M5HugeSizesMeetALimitWhateverTheCallerAllows) {
  for (const uint64_t size : {uint64_t{64} << 40, uint64_t{1} << 63, (uint64_t{1} << 63) - 1,
                              ~uint64_t{0}, kMaxPartBytes * 2}) {
    EXPECT_EQ(CodeOf(size, ~uint64_t{0}), absl::StatusCode::kResourceExhausted) << size;
  }
  EXPECT_EQ(CodeOf(kMaxPartBytes, ~uint64_t{0}), absl::StatusCode::kOk);
  EXPECT_EQ(CodeOf(ControlBytes(), ControlBytes() - 1), absl::StatusCode::kResourceExhausted);
}

TEST(GeometryTest, FramesAreWholePagesWithinALimitOfTheirOwn) {
  const auto code = [](uint64_t frames_bytes, uint64_t limit) {
    return ValidateGeometry({ControlBytes(), frames_bytes}, {.max_frames_bytes = limit}).code();
  };
  const uint64_t page = ControlBytes();
  EXPECT_EQ(code(3 * page, 3 * page), absl::StatusCode::kOk);
  EXPECT_EQ(code(3 * page + 1, 4 * page), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(3 * page, 3 * page - 1), absl::StatusCode::kResourceExhausted);
  for (const uint64_t size : {kMaxPartBytes + page, uint64_t{1} << 63, ~uint64_t{0}}) {
    EXPECT_EQ(code(size, ~uint64_t{0}), absl::StatusCode::kResourceExhausted) << size;
  }
}

TEST(GeometryTest, TheFileIsControlFramesAndData) {
  EXPECT_EQ(FileBytes({65536, 8192}), ControlBytes() + 8192 + 65536);
  EXPECT_EQ(FileBytes({0}), ControlBytes());
  EXPECT_EQ(FileBytes({65536}), ControlBytes() + 65536);
}

}  // namespace
}  // namespace parley

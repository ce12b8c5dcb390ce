// SPDX-License-Identifier: Apache-2.0

// Every case does what it says, with the wall and without: both give the same. No times are judged.

#include <array>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/bench/safety/case.h"
#include "parley/bench/safety/folded_memory.h"
#include "parley/bench/safety/study.h"
#include "parley/testing/sanitizers.h"

namespace parley::bench {
namespace {

TEST(SafetyTest, OnAndOffMoveTheSameMessages) {
  std::map<std::string, std::map<std::string, uint64_t>> sums;
  for (const Case& one : AllCases()) {
    if (one.run) sums[one.what][one.variant] = one.run(33);
  }
  EXPECT_FALSE(sums.empty());
  for (const auto& [what, by_variant] : sums) {
    ASSERT_EQ(by_variant.size(), 2u) << what;
    EXPECT_EQ(by_variant.at("on"), by_variant.at("off")) << what;
    EXPECT_NE(by_variant.at("on"), 0u) << what;
  }
}

TEST(SafetyTest, WhatNeedsAProcessOfItsOwnIsMeasured) {
  if (PARLEY_HAS_TSAN) GTEST_SKIP() << "the thread sanitizer has a thread of its own at lock-down";
  for (const Case& one : AllCases()) {
    if (!one.measure) continue;
    const absl::StatusOr<double> ns = one.measure(10);
    ASSERT_TRUE(ns.ok()) << one.what << ", " << one.variant << ": " << ns.status();
    EXPECT_GT(*ns, 0) << one.what;
  }
}

TEST(SafetyTest, AFailureIsKeptAndSaid) {
  Case broken;
  broken.what = "broken";
  broken.variant = "on";
  broken.measure = [](uint64_t) -> absl::StatusOr<double> {
    return absl::InternalError("as planned");
  };
  const auto times = MeasureSafety({broken}, 3);
  ASSERT_EQ(times.size(), 1u);
  EXPECT_NE(times[0].failed.find("as planned"), std::string::npos);
  EXPECT_NE(ToJson(times, "").find("as planned"), std::string::npos);
}

TEST(FoldedMemoryTest, WhatWrapsAroundIsCopiedInTwoParts) {
  std::array<std::byte, 16> memory = {};
  FoldedOwnMemory own(memory.data(), memory.size());
  const std::array<std::byte, 4> sent = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  own.CopyIn(14, sent);
  EXPECT_EQ(memory[15], std::byte{2});
  EXPECT_EQ(memory[0], std::byte{3});
  EXPECT_EQ(memory[1], std::byte{4});
  const FoldedPeerMemory peer(memory.data(), memory.size());
  std::array<std::byte, 4> received = {};
  peer.CopyOut(14, absl::MakeSpan(received));
  EXPECT_EQ(received, sent);
  peer.CopyOut(30, absl::MakeSpan(received));  // in the second copy, if there were one
  EXPECT_EQ(received, sent);
}

}  // namespace
}  // namespace parley::bench

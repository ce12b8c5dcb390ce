// SPDX-License-Identifier: Apache-2.0

// Each transport that needs no other library moves messages between two processes, and the harness
// notices what goes wrong.

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/bench/row.h"
#include "parley/bench/rows.h"
#include "parley/bench/sample.h"
#include "parley/bench/transports/descriptors.h"
#include "parley/sandbox/plain_code.h"

namespace parley::bench {
namespace {

SampleTimes Few() {
  SampleTimes times;
  times.fixed_count = 100;
  times.probe = false;
  times.limit = absl::Seconds(60);
  return times;
}

class TransportsTest : public ::testing::TestWithParam<std::size_t> {};

// The row under test; the parameter is its index, for a row is no value that can be printed.
std::vector<std::size_t> Indices() {
  std::vector<std::size_t> indices(BuiltInRows().size());
  for (std::size_t i = 0; i < indices.size(); ++i) indices[i] = i;
  return indices;
}
std::string NameOf(const ::testing::TestParamInfo<std::size_t>& info) {
  std::string name = BuiltInRows()[info.param].name;
  std::replace_if(name.begin(), name.end(), [](char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

TEST_P(TransportsTest, MovesMessagesOfEachSizeBothWays) {
  const Row row = BuiltInRows()[GetParam()];
  if (!row.missing.empty()) GTEST_SKIP() << row.missing;
  int measured = 0;
  for (const Direction direction : {Direction::kOneWay, Direction::kRoundTrip}) {
    for (const std::size_t size : {8u, 1'024u, 131'072u, 4'194'304u}) {
      const Cell cell{direction, Placement::kUnpinned, size};
      // One process, pinned nowhere in particular.
      if (row.solo ? direction != Direction::kOneWay : !Refusal(row, cell).empty()) continue;
      const auto sample = TakeSample(row, cell, Few());
      ASSERT_TRUE(sample.ok()) << sample.status() << ", " << size << " bytes";
      EXPECT_EQ(sample->messages, 100u);
      EXPECT_GT(sample->mean_ns, 0);
      EXPECT_LE(sample->percentiles.p50, sample->percentiles.max);
      ++measured;
    }
  }
  EXPECT_GT(measured, 0);
}

INSTANTIATE_TEST_SUITE_P(Rows, TransportsTest, ::testing::ValuesIn(Indices()), NameOf);

// Sends through a pipe, but one thing goes wrong.
enum class Fault { kNone, kFlippedBit, kLost, kCrash, kHang };

class Faulty {
 public:
  Faulty(std::unique_ptr<ByteChannel> pipe, Fault fault) : pipe_(std::move(pipe)), fault_(fault) {}
  absl::Status Open(Side side) { return pipe_->Open(side); }

  template <typename Fill>
  bool Send(std::size_t bytes, const Fill& fill) {
    const bool now = ++sent_ == 50;
    if (now && fault_ == Fault::kCrash) std::abort();
    if (now && fault_ == Fault::kHang) ::sleep(60);
    // The message before is sent again in the place of this one.
    return pipe_->Send(bytes, [&](std::byte* to, std::size_t offset, std::size_t length) {
      if (!now || fault_ != Fault::kLost) fill(to, offset, length);
      if (now && fault_ == Fault::kFlippedBit) to[length / 2] ^= std::byte{1};
    });
  }
  template <typename Read>
  bool Receive(std::size_t bytes, const Read& read) {
    return pipe_->Receive(bytes, read);
  }
  std::string error() const { return pipe_->error(); }

 private:
  std::unique_ptr<ByteChannel> pipe_;
  const Fault fault_;
  int sent_ = 0;
};

absl::Status RunFaulty(Fault fault, Direction direction, absl::Duration limit) {
  const Row row = MakeRow("faulty", "reference", Waiting::kSleep,
                          [fault](const Cell& cell) -> absl::StatusOr<std::unique_ptr<Faulty>> {
                            auto pipe = ByteChannel::Create(cell, Kind::kPipe, Waiting::kSleep);
                            if (!pipe.ok()) return pipe.status();
                            return std::make_unique<Faulty>(*std::move(pipe), fault);
                          });
  SampleTimes times = Few();
  times.limit = limit;
  return TakeSample(row, {direction, Placement::kUnpinned, 64}, times).status();
}

TEST(HarnessTest, WhatIsLostOrTornIsFound) {
  for (const Direction direction : {Direction::kOneWay, Direction::kRoundTrip}) {
    EXPECT_TRUE(RunFaulty(Fault::kNone, direction, absl::Seconds(60)).ok());
    for (const Fault fault : {Fault::kFlippedBit, Fault::kLost}) {
      const absl::Status status = RunFaulty(fault, direction, absl::Seconds(60));
      EXPECT_NE(status.message().find("checksum"), std::string::npos) << status;
    }
  }
}

TEST(HarnessTest, AnEndThatDiesEndsTheOther) {
  const absl::Status status = RunFaulty(Fault::kCrash, Direction::kRoundTrip, absl::Seconds(60));
  EXPECT_TRUE(absl::IsAborted(status)) << status;
}

TEST(HarnessTest, AnEndThatHangsIsKilledAtTheLimit) {
  const absl::Status status = RunFaulty(Fault::kHang, Direction::kOneWay, absl::Seconds(1));
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
}

// The count of system calls is that of what must be called: here one write and one read each.
TEST(HarnessTest, CountsTheSystemCallsOfBothEnds) {
  if (parley::internal::kSanitizer)
    GTEST_SKIP() << "the search for leaks does not live under ptrace";
  for (const Row& row : BuiltInRows()) {
    if (row.name != "pipe" && row.name != "parley ring in place") continue;
    const auto calls = CountSystemCalls(row, {Direction::kOneWay, Placement::kUnpinned, 64}, Few());
    if (absl::IsPermissionDenied(calls.status())) GTEST_SKIP() << calls.status();
    ASSERT_TRUE(calls.ok()) << calls.status();
    const double expected = row.name == "pipe" ? 1 : 0;
    // The meeting of both at the end of the stretch is the harness's own.
    EXPECT_NEAR((*calls)[0], expected, 0.2) << row.name;
    EXPECT_NEAR((*calls)[1], expected, 0.2) << row.name;
  }
}

}  // namespace
}  // namespace parley::bench

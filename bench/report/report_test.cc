// SPDX-License-Identifier: Apache-2.0

// Runs the report's own tests (self_test.py), and lets it read what the C++ side writes.

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "parley/bench/rows.h"
#include "parley/bench/run.h"

namespace parley::bench {
namespace {

std::string ReportPath() {
  return std::string(std::getenv("TEST_SRCDIR")) + "/" + std::getenv("TEST_WORKSPACE") +
         "/bench/report/report.py";
}

int Report(const std::string& arguments) {
  return std::system(("python3 -B '" + ReportPath() + "' " + arguments).c_str());
}

TEST(ReportTest, ItsOwnTestsPass) { EXPECT_EQ(Report("--self-test 2>&1"), 0); }

TEST(ReportTest, ReadsARunOfThisBuild) {
  std::vector<Row> rows;
  for (Row& row : BuiltInRows()) {
    if (row.name == "pipe" || row.name == "futex and shared memory" || !row.missing.empty()) {
      rows.push_back(std::move(row));
    }
  }
  RunOptions options = QuickRun();
  options.sizes = {8, 64};
  options.few_sizes = {64};
  options.passes = 1;
  options.placements = {Placement::kTogether};  // no probe, which a busy machine makes slow
  options.times.measured_ms = 1;
  options.longest_again = 0;
  const RunResult result = RunAll(rows, options);
  EXPECT_EQ(result.samples.size(), 4u);
  for (const Missing& missing : result.missing) EXPECT_FALSE(missing.failed) << missing.why;
  const std::string folder = std::getenv("TEST_TMPDIR");
  std::ofstream(folder + "/run.json") << ToJson(rows, options, result, "\"quoted\"");
  ASSERT_EQ(Report("--no-plots '" + folder + "' > '" + folder + "/out.txt'"), 0);
  std::ifstream file(folder + "/out.txt");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  EXPECT_NE(text.find("futex and shared memory"), std::string::npos) << text;
  EXPECT_NE(text.find("\"quoted\""), std::string::npos) << text;
}

}  // namespace
}  // namespace parley::bench

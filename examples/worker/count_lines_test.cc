// SPDX-License-Identifier: Apache-2.0

// The example of the README runs, is the one in the README, and is as short as that says.

#include "parley/examples/worker/count_lines.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/wire_copy.h"
#include "parley/sealing/sealed_blob.h"

namespace parley {
namespace {

std::string Path(const std::string& file) {
  const char* runfiles = std::getenv("TEST_SRCDIR");      // NOLINT(concurrency-mt-unsafe)
  const char* workspace = std::getenv("TEST_WORKSPACE");  // NOLINT(concurrency-mt-unsafe)
  if (runfiles == nullptr || workspace == nullptr) return file;
  return std::string(runfiles) + "/" + workspace + "/" + file;
}

std::string FileText(const std::string& file) {
  std::ifstream stream(Path(file));
  EXPECT_TRUE(stream.good()) << file;
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

// What lies between the two marks.
std::string Example(const std::string& file) {
  const std::string text = FileText(file);
  const std::string from = "// README: from here\n";
  const size_t start = text.find(from);
  const size_t end = text.find("// README: up to here\n");
  if (start == std::string::npos || end == std::string::npos) return "";
  return text.substr(start + from.size(), end - start - from.size());
}

TEST(ReadmeWorkerTest, TheExampleCountsLines) {
  const std::string text = "one\ntwo\nthree\n";
  const auto blob = SealedBlob::Create(BytesOfWire(absl::MakeConstSpan(text.data(), text.size())));
  ASSERT_TRUE(blob.ok()) << blob.status();
  const auto lines = CountLines(Path("examples/worker/line_worker"), *blob);
  ASSERT_TRUE(lines.ok()) << lines.status();
  EXPECT_EQ(*lines, 3);
  EXPECT_TRUE(absl::IsNotFound(CountLines("no/such/worker", *blob).status()));
}

TEST(ReadmeWorkerTest, ItIsTheTextOfTheReadmeAndUnderThirtyLines) {
  const std::string worker = Example("examples/worker/line_worker.cc");
  const std::string host = Example("examples/worker/count_lines.cc");
  ASSERT_FALSE(worker.empty() || host.empty());
  const std::string readme = FileText("README.md");
  EXPECT_NE(readme.find("```cpp\n" + worker + "```"), std::string::npos);
  EXPECT_NE(readme.find("```cpp\n" + host + "```"), std::string::npos);
  const std::string both = worker + host;
  EXPECT_LT(std::count(both.begin(), both.end(), '\n'), 30);
}

}  // namespace
}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/options.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/thumb/request.h"
#include "parley/thumb/targets.h"

namespace parley::thumb {
namespace {

absl::StatusOr<ThumbOptions> Parse(std::vector<std::string> arguments) {
  arguments.emplace_back("a.mp4");
  return ParseThumbArguments(arguments);
}

TEST(ThumbOptionsTest, AllOfThemAreRead) {
  const auto options = Parse({"--size=320x240", "--grid", "3x2", "--at=1:02:03.5", "--jobs=7",
                              "--time-limit=1.5", "--memory-limit=512M", "--max-pixels=40M",
                              "--max-input=2k", "--format=ppm", "-v", "--output", "x"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->request.max_width, 320u);
  EXPECT_EQ(options->request.max_height, 240u);
  EXPECT_EQ(options->request.columns, 3u);
  EXPECT_EQ(options->request.rows, 2u);
  EXPECT_EQ(options->request.at.kind, PictureTime::Kind::kNanoseconds);
  EXPECT_EQ(options->request.at.value, 3'723'500'000'000);
  EXPECT_EQ(options->request.max_pixels, 40'000'000u);
  EXPECT_EQ(options->jobs, 7);
  EXPECT_EQ(options->time_limit, absl::Milliseconds(1500));
  EXPECT_EQ(options->memory_limit_bytes, uint64_t{512} << 20);
  EXPECT_EQ(options->max_input_bytes, 2048u);
  EXPECT_EQ(options->format, Format::kPpm);
  EXPECT_EQ(options->output, "x");
  EXPECT_EQ(options->files, std::vector<std::string>{"a.mp4"});
  EXPECT_EQ(Parse({"--at=25%"})->request.at.value, 250'000);
  EXPECT_TRUE(Parse({"--json"})->request.facts);
  EXPECT_EQ(Parse({"-", "--"})->files, (std::vector<std::string>{"-", "a.mp4"}));
  EXPECT_EQ(Parse({"--", "--json"})->files, (std::vector<std::string>{"--json", "a.mp4"}));
}

TEST(ThumbOptionsTest, WhatIsWrongIsNamed) {
  for (const char* wrong : {"--size=0",
                            "--size=8193",
                            "--size=10x",
                            "--size=x10",
                            "--size=-1",
                            "--size=1e3",
                            "--at=-1",
                            "--at=1:2:3:4",
                            "--at=101%",
                            "--at=nan",
                            "--at=",
                            "--grid=4",
                            "--grid=33x1",
                            "--jobs=0",
                            "--jobs=257",
                            "--time-limit=0",
                            "--time-limit=inf",
                            "--memory-limit=0",
                            "--memory-limit=1T",
                            "--max-pixels=3G",
                            "--max-pixels=99999999999G",
                            "--format=gif",
                            "--output=",
                            "--nothing",
                            "-x",
                            "--grid=32x32"}) {
    // With it a sheet of 32x32 is too large.
    const auto options = Parse({"--size=8000", wrong});
    EXPECT_EQ(options.status().code(), absl::StatusCode::kInvalidArgument) << wrong;
    EXPECT_FALSE(options.status().message().empty()) << wrong;
  }
  EXPECT_FALSE(ParseThumbArguments({}).ok());
  EXPECT_FALSE(ParseThumbArguments({"--size"}).ok());
}

TEST(ThumbRequestTest, ComesOutAsItWentIn) {
  ThumbRequest request;
  request.max_width = 17;
  request.max_height = 4000;
  request.max_pixels = 1;
  request.at = {.kind = PictureTime::Kind::kPart, .value = 1'000'000};
  request.columns = 3;
  request.facts = true;
  const auto decoded = DecodeRequest(Encode(request));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(Encode(*decoded), Encode(request));
  EXPECT_EQ(decoded->max_height, 4000u);
  EXPECT_EQ(decoded->at.value, 1'000'000);
  EXPECT_FALSE(DecodeRequest("").ok());
  EXPECT_FALSE(DecodeRequest(std::string(Encode(request).size(), '\xff')).ok());
}

TEST(ThumbTargetsTest, EachFileHasItsOwn) {
  using Names = std::vector<std::string>;
  ThumbOptions options;
  options.files = {"a/x.mp4", "y.mp4"};
  EXPECT_EQ(*TargetsOf(options), (Names{"x.mp4.png", "y.mp4.png"}));
  options.output = ::testing::TempDir();  // with a slash at its end, or without
  const std::string folder = options.output + (options.output.back() == '/' ? "" : "/");
  EXPECT_EQ(*TargetsOf(options), (Names{folder + "x.mp4.png", folder + "y.mp4.png"}));
  options.output = "one.png";
  EXPECT_FALSE(TargetsOf(options).ok());
  options.output = "-";
  EXPECT_FALSE(TargetsOf(options).ok());
  options.format = Format::kJson;
  EXPECT_EQ(*TargetsOf(options), (Names{"-", "-"}));
  options.output = "";
  EXPECT_EQ(*TargetsOf(options), (Names{"-", "-"}));
  options.format = Format::kPpm;
  options.files = {"-"};
  EXPECT_EQ(*TargetsOf(options), Names{"-"});
  options.files = {"a/x.mp4", "b/x.mp4"};
  EXPECT_FALSE(TargetsOf(options).ok());
}

// Also under another name.
TEST(ThumbTargetsTest, NoInputIsOverwritten) {
  const std::string file = ::testing::TempDir() + "/in.png";
  ASSERT_TRUE(WriteTarget(file, "not a picture", [] { return false; }).ok());
  ThumbOptions options;
  options.files = {file};
  options.output = ::testing::TempDir() + "/./in.png";
  EXPECT_FALSE(TargetsOf(options).ok());
  options.output = ::testing::TempDir() + "/out.png";
  EXPECT_TRUE(TargetsOf(options).ok());
}

}  // namespace
}  // namespace parley::thumb

// SPDX-License-Identifier: Apache-2.0
#include "outfuzz/inputs.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace outfuzz {
namespace {

using Bytes = std::vector<uint8_t>;

TEST(InputsTest, SeedsComeFirstAsTheyAre) {
  const Inputs inputs({{1, 2, 3}, {}, {4}}, 7, 100);
  EXPECT_EQ(inputs.seed_count(), 3u);
  EXPECT_EQ(inputs.Get(0), Bytes({1, 2, 3}));
  EXPECT_EQ(inputs.Get(1), Bytes());
  EXPECT_EQ(inputs.Get(2), Bytes({4}));
}

TEST(InputsTest, AnInputDependsOnItsNumberAndTheSeedAlone) {
  const Inputs one({{1, 2, 3, 4, 5, 6, 7, 8}}, 7, 100);
  const Inputs same({{1, 2, 3, 4, 5, 6, 7, 8}}, 7, 100);
  const Inputs other({{1, 2, 3, 4, 5, 6, 7, 8}}, 8, 100);
  int differences = 0;
  for (uint64_t i = 500; i-- > 0;) {
    EXPECT_EQ(one.Get(i), same.Get(i));
    differences += one.Get(i) != other.Get(i) ? 1 : 0;
  }
  EXPECT_GT(differences, 400);
}

TEST(InputsTest, MutationsAreManifoldAndNeverTooLong) {
  const Bytes seed = {10, 20, 30, 40, 50, 60, 70, 80};
  const Inputs inputs({seed, Bytes(64, 9)}, 1, 64);
  std::set<Bytes> distinct;
  int longer = 0, shorter = 0, spliced = 0;
  for (uint64_t i = 2; i < 5000; ++i) {
    const Bytes bytes = inputs.Get(i);
    EXPECT_LE(bytes.size(), 64u);
    distinct.insert(bytes);
    const bool from_first = std::count(bytes.begin(), bytes.end(), 10) != 0;
    longer += from_first && bytes.size() > 8 ? 1 : 0;
    shorter += bytes.size() < 8 ? 1 : 0;
    spliced += from_first && std::count(bytes.begin(), bytes.end(), 9) > 1 ? 1 : 0;
  }
  EXPECT_GT(distinct.size(), 4000u);
  EXPECT_GT(longer, 100);
  EXPECT_GT(shorter, 100);
  EXPECT_GT(spliced, 100);
}

TEST(InputsTest, WithoutASeedInputsGrowFromNothing) {
  const Inputs inputs({}, 3, 16);
  EXPECT_EQ(inputs.Get(0), Bytes());
  std::size_t longest = 0;
  for (uint64_t i = 1; i < 200; ++i) longest = std::max(longest, inputs.Get(i).size());
  EXPECT_GT(longest, 1u);
}

TEST(InputsTest, SeedsAreReadFromFoldersInOrderAndFromFiles) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "seeds";
  std::filesystem::create_directories(folder / "not_a_file");
  std::ofstream(folder / "b") << "two";
  std::ofstream(folder / "a") << "one";
  const auto seeds = ReadSeeds({folder / "b", folder}, 3);
  ASSERT_TRUE(seeds.ok()) << seeds.status();
  EXPECT_EQ(*seeds, (std::vector<Bytes>{{'t', 'w', 'o'}, {'o', 'n', 'e'}, {'t', 'w', 'o'}}));
  EXPECT_TRUE(absl::IsInvalidArgument(ReadSeeds({folder}, 2).status()));
  EXPECT_TRUE(absl::IsNotFound(ReadSeeds({folder / "none"}, 3).status()));
  EXPECT_TRUE(absl::IsNotFound(ReadSeeds({"/dev/zero"}, 3).status()));
}

}  // namespace
}  // namespace outfuzz

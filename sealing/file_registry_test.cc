// SPDX-License-Identifier: Apache-2.0
#include "parley/sealing/file_registry.h"

#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace parley {
namespace {

TEST(FileRegistryTest, M12TheSecondClaimFailsUntilTheFirstIsGivenBack) {
  FileRegistry set;
  {
    auto first = set.Claim({1, 7});
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(set.Claim({1, 7}).status().code(), absl::StatusCode::kAlreadyExists);
    EXPECT_TRUE(set.Claim({2, 7}).ok());  // another device; given back at once
    EXPECT_EQ(set.size(), 1u);
  }
  EXPECT_EQ(set.size(), 0u);
  EXPECT_TRUE(set.Claim({1, 7}).ok());
}

TEST(FileRegistryTest, MovingAHoldGivesNothingBackTwice) {
  FileRegistry set;
  FileClaim kept;
  {
    auto first = set.Claim({1, 1});
    auto second = set.Claim({1, 2});
    ASSERT_TRUE(first.ok() && second.ok());
    kept = std::move(*first);
    EXPECT_EQ(set.size(), 2u);
    kept = std::move(*second);  // gives {1, 1} back
    EXPECT_EQ(set.size(), 1u);
  }
  EXPECT_EQ(set.Claim({1, 2}).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(set.Claim({1, 1}).ok());
}

TEST(FileRegistryTest, M12ReadersShareOneRoleAndNoOther) {
  FileRegistry set;
  {
    auto first = set.ClaimAsReader({1, 7});
    auto second = set.ClaimAsReader({1, 7});
    ASSERT_TRUE(first.ok() && second.ok());
    EXPECT_EQ(set.size(), 1u);
    EXPECT_EQ(set.Claim({1, 7}).status().code(), absl::StatusCode::kAlreadyExists);
    *first = FileClaim();
    EXPECT_EQ(set.Claim({1, 7}).status().code(), absl::StatusCode::kAlreadyExists);
  }
  EXPECT_EQ(set.size(), 0u);
  auto alone = set.Claim({1, 7});
  ASSERT_TRUE(alone.ok());
  EXPECT_EQ(set.ClaimAsReader({1, 7}).status().code(), absl::StatusCode::kAlreadyExists);
}

TEST(FileRegistryTest, NoFileIsZeroOfZero) {
  EXPECT_EQ(FileId(), (FileId{0, 0}));
  FileRegistry set;
  {
    const FileClaim none;
    FileClaim first = *set.Claim({1, 1});
    FileClaim& same = first;
    first = std::move(same);
    EXPECT_EQ(set.size(), 1u);
  }
  EXPECT_EQ(set.size(), 0u);
}

TEST(FileRegistryTest, PromiseP7TheSetIsBounded) {
  FileRegistry set(2);
  auto first = set.Claim({1, 1});
  auto second = set.Claim({1, 2});
  EXPECT_EQ(set.Claim({1, 3}).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(FileRegistryTest, ThreadsRaceForOneIdentityAndOneWins) {
  FileRegistry set;
  std::vector<std::thread> threads;
  std::vector<int> wins(4, 0);
  for (int& mine : wins) {
    threads.emplace_back([&set, &mine] {
      for (int round = 0; round < 1000; ++round) {
        auto hold = set.Claim({1, 1});
        if (hold.ok()) ++mine;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  int total = 0;
  for (const int count : wins) total += count;
  EXPECT_GE(total, 1);
  EXPECT_EQ(set.size(), 0u);
}

TEST(FileRegistryDeathTest, ASetDoesNotDieBeforeItsHolds) {
  EXPECT_DEATH(
      {
        FileClaim hold;
        FileRegistry set;
        auto claimed = set.Claim({1, 1});
        hold = std::move(*claimed);
      },
      "destroyed before");
}

}  // namespace
}  // namespace parley

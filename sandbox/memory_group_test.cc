// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/memory_group.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"

namespace parley {
namespace {

constexpr int64_t kLimitBytes = 8 << 20;

class MemoryGroupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto parent = MemoryGroupParent(&version_2_);
    if (!parent.ok()) GTEST_SKIP() << parent.status();
    parent_ = *parent;
    tag_ = std::to_string(::getpid()) + "-group_test";
  }
  bool IsThere(const std::string& tag) const {
    struct stat status;
    return ::stat((parent_ + "/parley-" + tag).c_str(), &status) == 0;
  }

  bool version_2_ = false;
  std::string parent_;
  std::string tag_;  // of no other run's
};

TEST_F(MemoryGroupTest, AGroupIsThereAsLongAsItsObject) {
  {
    auto group = MemoryGroup::Create(tag_, kLimitBytes);
    ASSERT_TRUE(group.ok()) << group.status();
    EXPECT_TRUE(IsThere(tag_));
    const MemoryGroup moved = *std::move(group);
    EXPECT_TRUE(IsThere(tag_));
    EXPECT_EQ(moved.Kills(), 0);
    EXPECT_EQ(moved.AtLimit(), 0);
  }
  EXPECT_FALSE(IsThere(tag_));
}

// A stuck process, or one that somebody traces, delays nobody who gives its group up.
// The kernel may need a moment after the last process has been reaped, and there may be no next
// group that removes it.
TEST_F(MemoryGroupTest, PromiseP7ResourcesNoneIsLeftAtTheEndOfOurProcess) {
  std::fflush(nullptr);
  const pid_t us = ::fork();
  if (us == 0) {
    ::signal(SIGCHLD, SIG_IGN);  // nobody is left to be reaped, which counts
    auto group = MemoryGroup::Create(tag_, kLimitBytes);
    if (!group.ok()) ::_exit(1);
    const pid_t last = ::fork();
    if (last == 0) {
      while (true) ::pause();
    }
    if (!group->Add(last).ok()) ::_exit(2);
    { const MemoryGroup given_up = *std::move(group); }
    if (!IsThere(tag_)) ::_exit(3);
    const pid_t killer = ::fork();
    if (killer == 0) {
      ::usleep(30'000);
      ::kill(last, SIGKILL);
      ::_exit(0);
    }
    std::exit(0);  // NOLINT(concurrency-mt-unsafe): as main does
  }
  int status = 0;
  ASSERT_EQ(::waitpid(us, &status, 0), us);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(IsThere(tag_));
}

TEST_F(MemoryGroupTest, PromiseP2TimeAGroupWithAProcessInItIsRemovedLater) {
  auto group = MemoryGroup::Create(tag_, kLimitBytes);
  ASSERT_TRUE(group.ok()) << group.status();
  const pid_t pid = ::fork();
  if (pid == 0) {
    while (true) ::pause();
  }
  ASSERT_TRUE(group->Add(pid).ok());
  rusage before = {};
  rusage after = {};
  {
    const MemoryGroup given_up = *std::move(group);
    ::getrusage(RUSAGE_THREAD, &before);
  }
  ::getrusage(RUSAGE_THREAD, &after);
  EXPECT_LT(after.ru_nvcsw - before.ru_nvcsw, 20) << "it sleeps";
  EXPECT_TRUE(IsThere(tag_));
  ::kill(pid, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(MemoryGroup::Create(tag_ + "-next", kLimitBytes).ok());
  EXPECT_FALSE(IsThere(tag_));
}

// One that a process of our number left behind is no obstacle.
TEST_F(MemoryGroupTest, AnEmptyGroupOfTheSameNameIsReplaced) {
  ASSERT_EQ(::mkdir((parent_ + "/parley-" + tag_).c_str(), 0755), 0);
  auto group = MemoryGroup::Create(tag_, kLimitBytes);
  EXPECT_TRUE(group.ok()) << group.status();
}

TEST_F(MemoryGroupTest, WhoGoesBeyondTheLimitIsKilledAndCounted) {
  auto group = MemoryGroup::Create(tag_, kLimitBytes);
  ASSERT_TRUE(group.ok()) << group.status();
  for (const int64_t size_bytes : {kLimitBytes / 2, 4 * kLimitBytes}) {
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      if (!group->Enter().ok()) ::_exit(1);
      // The kernel touches it: a sanitizer's memset would touch more than that, in its shadow.
      void* const memory = ::mmap(nullptr, static_cast<size_t>(size_bytes), PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
      if (memory == MAP_FAILED) ::_exit(2);
      ::_exit(group->Usage() >= size_bytes ? 0 : 3);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    if (size_bytes < kLimitBytes) {
      EXPECT_EQ(status, 0);
      EXPECT_EQ(group->Kills(), 0);
      const int64_t peak_bytes = group->Peak();  // -1: a kernel before 5.19, with version 2
      EXPECT_TRUE(peak_bytes == -1 || peak_bytes >= size_bytes) << peak_bytes;
      EXPECT_LE(peak_bytes, kLimitBytes);
    } else {
      EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
      EXPECT_EQ(group->Kills(), 1);
      EXPECT_GT(group->AtLimit(), 0);
    }
  }
}

TEST_F(MemoryGroupTest, OnlyGroupsWithTheTagAreRemoved) {
  const std::string others = "other-" + tag_;
  for (const std::string& tag : {tag_ + "-0-peer", tag_ + "-1-peer", tag_ + "1-peer", others}) {
    ASSERT_EQ(::mkdir((parent_ + "/parley-" + tag).c_str(), 0755), 0) << tag;
  }
  RemoveMemoryGroups(tag_);
  EXPECT_FALSE(IsThere(tag_ + "-0-peer"));
  EXPECT_FALSE(IsThere(tag_ + "-1-peer"));
  EXPECT_TRUE(IsThere(tag_ + "1-peer"));
  EXPECT_TRUE(IsThere(others));
  for (const std::string& tag : {tag_ + "1-peer", others}) {
    EXPECT_EQ(::rmdir((parent_ + "/parley-" + tag).c_str()), 0) << tag;
  }
}

}  // namespace
}  // namespace parley

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
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "parley/sandbox/testing_proc.h"
#include "parley/testing/filter.h"

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
    {
      const MemoryGroup given_up = *std::move(group);
    }
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

// ---- Which group's a new one goes below, by what /proc says and by files as the kernel has them.

struct Hierarchy {
  const char* name;
  const char* cgroup;  // /proc/self/cgroup
  const char* mounts;  // /proc/self/mounts; "@" is the folder below which the files lie
  std::vector<std::pair<const char*, const char*>> files;
  std::string parent;  // "@/a", or the error
  bool version_2 = false;
};

constexpr char kNoRight[] = "no right to make a memory control group (root has it)";
constexpr char kNone[] = "no memory control groups on this machine";
constexpr char kNoneHere[] =
    "no memory control group may be made here (root may, where cgroup.subtree_control has "
    "'memory')";

std::vector<Hierarchy> Hierarchies() {
  const char* const two = "none @ cgroup2 rw,memory 0 0\n";
  const std::vector<std::pair<const char*, const char*>> one = {{"a/b/tasks", ""}, {"tasks", ""}};
  return {
      {"alone", "4:memory:/a/b\n", "cgroup @ cgroup rw,memory 0 0\n", one, "@/a/b"},
      {"the root", "4:memory:/\n", "cgroup @ cgroup rw,memory 0 0\n", one, "@/"},
      {"first of two", "4:memory,cpu:/a/b\n", "cgroup @ cgroup memory,rw 0 0\n", one, "@/a/b"},
      {"last of three", "4:cpu,io,memory:/a/b\n", "x @ cgroup memory 0 0\n", one, "@/a/b"},
      {"after others", "1:name=systemd:/x\nnothing\n3:memoryx:/y\n4:memory:/a/b\n0::/z\n",
       "memory /x tmpfs rw,memory 0 0\ncgroup /y cgroup rw,memoryx 0 0\ncgroup @ cgroup "
       "rw,memory 0 0\n",
       one, "@/a/b"},
      {"a colon in its name",
       "4:memory:/a:b\n",
       "cgroup @ cgroup rw,memory 0 0\n",
       {{"a:b/tasks", ""}},
       "@/a:b"},
      {"not there", "4:memory:/a/c\n", "cgroup @ cgroup rw,memory 0 0\n", one, kNoRight},
      {"ours not said", "4:cpu:/a/b\n", "cgroup @ cgroup rw,memory 0 0\n", one, kNoRight},
      {"none mounted", "4:memory:/a/b\n", "cgroup @ cgroup rw,cpu 0 0\n", one, kNone},
      {"nothing", "", "", {}, kNone},
      {"without the controller",
       "0::/a/b\n",
       two,
       {{"cgroup.controllers", "cpu io\n"}, {"a/b/cgroup.subtree_control", "memory"}},
       kNone},
      {"its own",
       "0::/a/b\n",
       two,
       {{"cgroup.controllers", "cpu memory\n"}, {"a/b/cgroup.subtree_control", "io memory\n"}},
       "@/a/b",
       true},
      {"the next above",
       "0::/a/b\n",
       two,
       {{"cgroup.controllers", "memory cpu\n"},
        {"a/b/cgroup.subtree_control", "io\n"},
        {"a/cgroup.subtree_control", "memory\n"}},
       "@/a",
       true},
      {"the root above",
       "0::/a/b\n",
       two,
       {{"cgroup.controllers", "memory\n"},
        {"a/b/cgroup.subtree_control", ""},
        {"cgroup.subtree_control", "memory\n"}},
       "@",
       true},
      {"in the root",
       "0::/\n",
       two,
       {{"cgroup.controllers", "memory\n"}, {"cgroup.subtree_control", "memory\n"}},
       "@",
       true},
      {"after version 1",
       "9:cpu:/q\n0::/a\n",
       two,
       {{"cgroup.controllers", "memory\n"}, {"a/cgroup.subtree_control", "memory\n"}},
       "@/a",
       true},
      {"handed down by none",
       "0::/a/b\n",
       two,
       {{"cgroup.controllers", "memory\n"}, {"a/b/cgroup.subtree_control", "memoryx\n"}},
       kNoneHere},
      {"ours not said in version 2",
       "",
       two,
       {{"cgroup.controllers", "memory\n"}, {"a/cgroup.subtree_control", "memory\n"}},
       kNoneHere},
  };
}

TEST(MemoryGroupParentTest, ItIsTheNearestThatMayHaveGroups) {
  const char* const given = std::getenv("TEST_TMPDIR");  // NOLINT(concurrency-mt-unsafe)
  const std::string base = std::string(given == nullptr ? "/tmp" : given) + "/groups";
  int number = 0;
  for (const Hierarchy& one : Hierarchies()) {
    // Without blanks, which the kernel would write in another way.
    const std::string folder = base + std::to_string(++number);
    const int code = testing::InAProcessOfItsOwn([&one, &folder] {
      const auto at = [&folder](std::string text) {
        for (size_t i = 0; (i = text.find('@', i)) != std::string::npos;) {
          text.replace(i, 1, folder);
        }
        return text;
      };
      for (const auto& [path, text] : one.files) {
        if (!testing::WriteFile(folder + "/" + path, text)) return 1;
      }
      if (!testing::ReplaceProc()) return 77;
      if (!testing::WriteFile("/proc/self/cgroup", one.cgroup)) return 2;
      if (!testing::WriteFile("/proc/self/mounts", at(one.mounts))) return 3;
      bool version_2 = !one.version_2;
      const auto parent = MemoryGroupParent(&version_2);
      const std::string found = parent.ok() ? *parent : std::string(parent.status().message());
      if (found != at(one.parent)) {
        std::fprintf(stderr, "%s\n", found.c_str());
        return 4;
      }
      return !parent.ok() || version_2 == one.version_2 ? 0 : 5;
    });
    if (code == 77) GTEST_SKIP() << "nothing may be mounted here";
    EXPECT_EQ(code, 0) << one.name;
  }
}

// The kernel's file is not there: nothing is left of the group.
TEST(MemoryGroupParentTest, AGroupWithoutALimitIsNone) {
  const char* const given = std::getenv("TEST_TMPDIR");  // NOLINT(concurrency-mt-unsafe)
  const std::string folder = std::string(given == nullptr ? "/tmp" : given) + "/without_limit";
  const int code = testing::InAProcessOfItsOwn([&folder] {
    if (!testing::WriteFile(folder + "/cgroup.controllers", "memory") ||
        !testing::WriteFile(folder + "/cgroup.subtree_control", "memory")) {
      return 1;
    }
    if (!testing::ReplaceProc()) return 77;
    testing::WriteFile("/proc/self/cgroup", "0::/\n");
    testing::WriteFile("/proc/self/mounts", "none " + folder + " cgroup2 rw 0 0\n");
    const absl::Status status = MemoryGroup::Create("x", 4096).status();
    const std::string expected =
        "cannot write 4096 to " + folder + "/parley-x/memory.max: No such file or directory";
    if (status.message() != expected) {
      std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
      return 2;
    }
    struct stat info;
    return ::stat((folder + "/parley-x").c_str(), &info) != 0 ? 0 : 3;
  });
  if (code == 77) GTEST_SKIP() << "nothing may be mounted here";
  EXPECT_EQ(code, 0);
}

TEST_F(MemoryGroupTest, ANameThatCannotBeIsAnError) {
  const auto group = MemoryGroup::Create("no/such/" + tag_, kLimitBytes);
  EXPECT_EQ(group.status().code(), absl::StatusCode::kNotFound) << group.status();
  EXPECT_EQ(group.status().message().substr(0, 22), "cannot make the group ");
}

}  // namespace
}  // namespace parley

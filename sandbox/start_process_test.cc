// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/start_process.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "parley/sandbox/plain_code.h"
#include "parley/sandbox/spawn.h"
#include "parley/sandbox/worker_maker.h"
#include "parley/testing/filter.h"

namespace parley::internal {
namespace {

using Use = NamespaceOptions::Use;
using testing::InAProcessOfItsOwn;

constexpr int kCore = CLONE_NEWUSER | CLONE_NEWPID;
constexpr int kSmall = CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

struct Attempts {
  std::vector<std::pair<int, bool>> tried;
  std::string missing;
  StartFailure failure = {};
};

Attempts AttemptsFor(const NamespaceOptions& options) {
  Attempts attempts;
  for (const NamespaceAttempt& one :
       NamespaceAttempts(options, &attempts.missing, &attempts.failure)) {
    attempts.tried.emplace_back(one.namespaces, one.nobody);
  }
  return attempts;
}

TEST(NamespaceAttemptsTest, AllFirstAndFewerEachTime) {
  if (kSanitizer) GTEST_SKIP() << "a sanitizer's build makes none";
  for (const bool asked : {true, false}) {
    const bool nobody = asked && ::geteuid() == 0;
    const int all = kCore | CLONE_NEWNS | kSmall;
    const std::vector<std::pair<int, bool>> fewer = {
        {all, nobody}, {kCore | CLONE_NEWNS, nobody}, {kCore, nobody}, {0, false}};
    std::vector<std::pair<int, bool>> with_network = fewer;
    with_network.insert(with_network.begin(), {all | CLONE_NEWNET, nobody});
    for (const bool network : {true, false}) {
      const Attempts where_available = AttemptsFor(
          {.use = Use::kWhereAvailable, .network = network, .root_becomes_nobody = asked});
      EXPECT_EQ(where_available.tried, network ? with_network : fewer);
      EXPECT_EQ(where_available.missing, "");
      EXPECT_EQ(where_available.failure.step, StartStep::kNone);
      const Attempts required =
          AttemptsFor({.use = Use::kRequired, .network = network, .root_becomes_nobody = asked});
      ASSERT_EQ(required.tried.size(), 1u);
      EXPECT_EQ(required.tried[0], (network ? with_network : fewer)[0]);
      EXPECT_EQ(required.failure.step, StartStep::kNone);
    }
  }
}

TEST(NamespaceAttemptsTest, NoneIsOneAttemptWithoutAReason) {
  const Attempts none = AttemptsFor({.use = Use::kNone});
  EXPECT_EQ(none.tried, (std::vector<std::pair<int, bool>>{{0, false}}));
  EXPECT_EQ(none.missing, "");
  EXPECT_EQ(none.failure.step, StartStep::kNone);
}

// A sanitizer's build, and a process that cannot be dumped and is not root.
TEST(NamespaceAttemptsTest, WhereTheyCannotBeTheReasonIsGiven) {
  const int code = InAProcessOfItsOwn([] {
    if (!kSanitizer) {
      if (::geteuid() == 0 && ::syscall(SYS_setresuid, 1, 1, 1) != 0) return 9;
      ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
    const Attempts where_available = AttemptsFor({.use = Use::kWhereAvailable});
    if (where_available.tried != std::vector<std::pair<int, bool>>{{0, false}}) return 1;
    if (where_available.missing !=
        (kSanitizer ? "making its namespaces: this is a sanitizer's build"
                    : "making its namespaces: this process cannot be dumped (PR_SET_DUMPABLE)")) {
      return 2;
    }
    if (where_available.failure.step != StartStep::kNone) return 3;
    const Attempts required = AttemptsFor({.use = Use::kRequired});
    if (!required.tried.empty()) return 4;
    if (required.failure.step != StartStep::kNamespaces) return 5;
    if (required.failure.error != (kSanitizer ? ENOTSUP : EPERM)) return 6;
    const Attempts none = AttemptsFor({.use = Use::kNone});
    if (none.tried.size() != 1 || !none.missing.empty()) return 7;
    if (kSanitizer) return 0;
    // Dumped by root alone is not enough either.
    ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return AttemptsFor({.use = Use::kWhereAvailable}).tried.size() == 5 ? 0 : 8;
  });
  if (code == 9) GTEST_SKIP() << "this process may not change user ids";
  EXPECT_EQ(code, 0);
}

TEST(NamespaceAttemptsTest, RootNeedNotBeDumped) {
  if (kSanitizer) GTEST_SKIP() << "a sanitizer's build makes none";
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  EXPECT_EQ(InAProcessOfItsOwn([] {
              ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
              return static_cast<int>(AttemptsFor({.use = Use::kRequired}).tried.size());
            }),
            1);
}

TEST(WallOfTest, EachNamespaceIsItsOwnWord) {
  const std::vector<std::pair<int, std::string>> words = {
      {0, "no namespaces"},
      {CLONE_NEWUSER, "namespaces: user"},
      {CLONE_NEWUSER | CLONE_NEWPID, "namespaces: user pid"},
      {CLONE_NEWUSER | CLONE_NEWNS, "namespaces: user mount, a /proc of its own"},
      {CLONE_NEWUSER | CLONE_NEWNET, "namespaces: user network"},
      {CLONE_NEWUSER | CLONE_NEWIPC, "namespaces: user ipc"},
      {CLONE_NEWUSER | CLONE_NEWUTS, "namespaces: user uts"},
      {CLONE_NEWUSER | CLONE_NEWCGROUP, "namespaces: user cgroup"},
  };
  for (const auto& [namespaces, text] : words) {
    EXPECT_EQ(WallOf({namespaces, false}, 0).ToString(), text);
    EXPECT_EQ(WallOf({namespaces, true}, 0).ToString(), text + ", user 65534 instead of root");
  }
  EXPECT_EQ(WallOf({CLONE_NEWUSER | CLONE_NEWNS, false}, EPERM).ToString(),
            "namespaces: user mount");
}

TEST(SecondWallTest, ItSaysWhatIsMissing) {
  SecondWall wall;
  EXPECT_EQ(wall.ToString(), "no namespaces");
  wall.missing = "making its namespaces: no";
  EXPECT_EQ(wall.ToString(), "no namespaces (making its namespaces: no)");
}

TEST(IsScarceTest, WhatPassesOrOthersAreToHearOf) {
  for (const int error : {EMFILE, ENFILE, ENOMEM, EAGAIN}) EXPECT_TRUE(IsScarce(error)) << error;
  for (const int error : {0, EPERM, ENOSPC, ENOSYS, EINVAL, EUSERS, ETIMEDOUT}) {
    EXPECT_FALSE(IsScarce(error)) << error;
  }
}

TEST(StepTextTest, EachStepHasAnother) {
  const std::vector<std::pair<StartStep, std::string>> texts = {
      {StartStep::kNone, ""},
      {StartStep::kClone, ""},
      {StartStep::kNobody, ""},
      {StartStep::kHolderProgram, ""},
      {StartStep::kExec, ""},
      {StartStep::kNamespaces, ", making its namespaces"},
      {StartStep::kDieWithParent, ", tying its life to ours"},
      {StartStep::kSignals, ", resetting its signals"},
      {StartStep::kSession, ", giving it a session of its own"},
      {StartStep::kDescriptors, ", placing its descriptors"},
      {StartStep::kLimits, ", setting its resource limits"},
      {StartStep::kOrdinary, ", giving it an ordinary priority"},
      {StartStep::kPrivileges, ", dropping its privileges"},
      {StartStep::kDirectory, ", entering its directory"},
  };
  EXPECT_EQ(texts.size(), static_cast<size_t>(StartStep::kExec) + 1) << "one more than there are";
  for (const auto& [step, text] : texts) EXPECT_EQ(StepText(step), text);
}

// (resource, soft, hard) of each.
std::set<std::vector<uint64_t>> LimitsOf(const ResourceLimits& limits) {
  std::set<std::vector<uint64_t>> result;
  for (const ChildStart::Limit& limit : LimitsOfChild(limits)) {
    result.insert(
        {static_cast<uint64_t>(limit.resource), limit.value.rlim_cur, limit.value.rlim_max});
  }
  return result;
}

std::set<std::vector<uint64_t>> Always() {
  return {{RLIMIT_CORE, 0, 0}, {RLIMIT_RTPRIO, 0, 0}, {RLIMIT_NICE, 0, 0}, {RLIMIT_MSGQUEUE, 0, 0}};
}

TEST(LimitsOfChildTest, EachIsWhatWasAskedFor) {
  ResourceLimits none;
  none.address_space_bytes = none.cpu_seconds = none.file_size_bytes = std::nullopt;
  none.open_files = none.stack_bytes = none.locked_memory_bytes = none.processes = std::nullopt;
  EXPECT_EQ(LimitsOf(none), Always());

  std::set<std::vector<uint64_t>> standard = Always();
  if (!kSanitizer) standard.insert({RLIMIT_AS, uint64_t{4} << 30, uint64_t{4} << 30});
  standard.insert({RLIMIT_FSIZE, 1 << 20, 1 << 20});
  standard.insert({RLIMIT_NOFILE, 64, 64});
  standard.insert({RLIMIT_STACK, 8 << 20, 8 << 20});
  standard.insert({RLIMIT_MEMLOCK, 65536, 65536});
  standard.insert({RLIMIT_CPU, 86400, 86401});
  EXPECT_EQ(LimitsOf({}), standard);

  ResourceLimits other = none;
  other.processes = 7;
  other.cpu_seconds = 0;
  std::set<std::vector<uint64_t>> expected = Always();
  expected.insert({RLIMIT_NPROC, 7, 7});
  expected.insert({RLIMIT_CPU, 0, 1});
  EXPECT_EQ(LimitsOf(other), expected);
}

TEST(LimitsOfChildTest, NoneIsAboveOurHardLimit) {
  const int code = InAProcessOfItsOwn([] {
    const rlimit ours = {5, 10};
    if (::setrlimit(RLIMIT_CPU, &ours) != 0) return 1;
    for (const std::vector<uint64_t>& row : std::vector<std::vector<uint64_t>>{
             {5, 5, 6}, {9, 9, 10}, {10, 10, 10}, {11, 10, 10}, {1000, 10, 10}}) {
      ResourceLimits limits;
      limits.cpu_seconds = row[0];
      if (LimitsOf(limits).count({RLIMIT_CPU, row[1], row[2]}) != 1) return 2;
    }
    return 0;
  });
  EXPECT_EQ(code, 0);
}

TEST(ProcessesWithinTest, ByDefaultAndNotWhereTheCallerSaysHowMany) {
  utsname system = {};
  ASSERT_EQ(::uname(&system), 0);
  EXPECT_EQ(ProcessesWithin({}), CountsProcessesWithin(system.release) ? 256u : 0u);
  ResourceLimits limits;
  limits.processes = 3;
  EXPECT_EQ(ProcessesWithin(limits), 0u);
}

}  // namespace
}  // namespace parley::internal

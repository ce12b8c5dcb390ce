// SPDX-License-Identifier: Apache-2.0

// A short run of everything, and whether each verdict can be bad.

#include <dirent.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/endurance/conversation.h"
#include "parley/endurance/lane.h"
#include "parley/endurance/options.h"
#include "parley/endurance/parts.h"
#include "parley/endurance/private_clock.h"
#include "parley/endurance/row.h"
#include "parley/os/deadline.h"
#include "parley/sandbox/memory_group.h"
#include "parley/tests/child.h"
#include "parley/tests/process.h"
#include "parley/tests/resources.h"

namespace parley::endurance {
namespace {

std::string TestFolder() {
  const char* folder = std::getenv("TEST_TMPDIR");
  return folder == nullptr ? "/tmp" : folder;
}

Options Short() {
  Options options;
  options.kills = 200;
  options.time = absl::Milliseconds(400);
  options.tag = "test-" + std::to_string(::getpid());
  // Socket files want short paths.
  options.folder = ".";
  // A sanitizer keeps what was freed for a while.
  if (IsSanitized()) options.growth_kb = 128 << 10;
  return options;
}

std::vector<Row> RunHere(const std::vector<LaneSpec>& lanes, const Options& options) {
  EXPECT_EQ(::chdir(TestFolder().c_str()), 0);
  return RunLanes(lanes, options, 2, {});
}

Row RunOne(const std::string& part, const Options& options) {
  return RunHere({LanesOf({part}, options)[0]}, options)[0];
}

TEST(EndureTest, AShortRunOfEverythingPasses) {
  const Options options = Short();
  const std::vector<LaneSpec> lanes = LanesOf({}, options);
  const std::vector<Row> rows = RunHere(lanes, options);
  std::printf("%s\n", Table(rows).c_str());
  ASSERT_EQ(rows.size(), lanes.size());
  int64_t kills = 0;
  for (const Row& r : rows) {
    EXPECT_NE(r.verdict, Verdict::kFail) << r.part << ", " << r.lane << ": " << r.why;
    if (r.verdict == Verdict::kSkip) {
      EXPECT_FALSE(r.why.empty());
      continue;
    }
    EXPECT_GT(r.count, 0) << r.part << ", " << r.lane;
    EXPECT_EQ(r.survivors, r.survivors_of) << r.part << ", " << r.lane;
    EXPECT_GT(r.served, 0) << r.part << ", " << r.lane;
    if (r.part == "kills") kills += r.count;
  }
  EXPECT_EQ(kills, 200);
  RemoveMemoryGroups(options.tag);
}

// --- each verdict can be bad --------

struct FaultCase {
  Fault fault;
  const char* why;
};

class FaultTest : public ::testing::TestWithParam<FaultCase> {};
INSTANTIATE_TEST_SUITE_P(Faults, FaultTest,
                         ::testing::Values(FaultCase{Fault::kLeakDescriptor, "descriptors leaked"},
                                           FaultCase{Fault::kLeakMapping, "kB of mappings leaked"},
                                           FaultCase{Fault::kLeakMemory, "kB of memory leaked"},
                                           FaultCase{Fault::kTimedOut, "ms after its deadline"},
                                           FaultCase{Fault::kDie, "a survivor died: exit 3"},
                                           FaultCase{Fault::kWrongData, "another content"}));

TEST_P(FaultTest, ASurvivorThatDoesWrongIsFoundOut) {
  if (IsSanitized() &&
      (GetParam().fault == Fault::kLeakMapping || GetParam().fault == Fault::kLeakMemory)) {
    GTEST_SKIP() << "a sanitizer's memory is in the way";
  }
  Options options = Short();
  options.kills = 8 * 12;
  options.fault = GetParam().fault;
  const Row row = RunOne("kills", options);
  EXPECT_EQ(row.verdict, Verdict::kFail);
  EXPECT_NE(row.why.find(GetParam().why), std::string::npos) << row.why;
  EXPECT_EQ(ExitStatus({row}), 1);
}

TEST(LaneTest, ALaneThatDiesHasFailed) {
  const Row row = RunHere({{"part", "dies", "", [](Lane&) { ::_exit(0); }}}, Short())[0];
  EXPECT_EQ(row.verdict, Verdict::kFail);
  EXPECT_EQ(row.why, "the lane ended without a verdict, or was stuck");
}

TEST(LaneTest, AProcessThatIsLeftOverIsAFailureAndEnded) {
  const Row row = RunHere({{"part", "forgets", "",
                            [](Lane&) {
                              if (::fork() == 0) {
                                while (true) ::pause();
                              }
                            }}},
                          Short())[0];
  EXPECT_EQ(row.verdict, Verdict::kFail);
  EXPECT_EQ(row.why, "a process was left over");
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(LaneTest, ALaneThatWantsTheMachineForItselfGetsIt) {
  const auto file = TestFolder() + "/busy";
  const auto busy = [file](Lane& lane) {
    if (::access(file.c_str(), F_OK) == 0) lane.Fail("not alone");
    EXPECT_TRUE(std::ofstream(file).good());
    ::usleep(100'000);
    ::unlink(file.c_str());
  };
  for (const Row& row : RunHere({{"part", "first", "", busy, true},
                                 {"part", "second", "", busy, true},
                                 {"part", "third", "", busy, false}},
                                Short())) {
    EXPECT_EQ(row.verdict, Verdict::kPass) << row.lane << ": " << row.why;
  }
}

// --- messages --------

TEST(ConversationTest, AnyChangeOfAMessageIsSeen) {
  std::vector<std::byte> message;
  for (uint64_t number = 1; number < 100; ++number) {
    FillMessage(number, &message);
    ASSERT_GE(message.size(), sizeof(number));
    EXPECT_EQ(CheckMessage(message), number);
    std::vector<std::byte> wrong = message;
    wrong[number % wrong.size()] ^= std::byte{1};
    EXPECT_EQ(CheckMessage(wrong), 0u);
    wrong = message;
    wrong.push_back({});
    EXPECT_EQ(CheckMessage(wrong), 0u);
  }
  EXPECT_EQ(CheckMessage({}), 0u);
}

// --- printing --------

std::vector<Row> SomeRows() {
  Row good;
  good.part = "kills";
  good.lane = "connecting side dies";
  good.unit = "kills";
  good.count = 5000;
  good.verdict = Verdict::kPass;
  good.survivors = good.survivors_of = 1;
  good.before.descriptors = good.after.descriptors = 7;
  good.max_late_ns = 1'500'000;
  good.served = good.served_of = 20;
  good.figures = {{"killed in the handshake", 1234}};
  Row skipped;
  skipped.part = "memory";
  skipped.lane = "groups";
  skipped.verdict = Verdict::kSkip;
  skipped.why = "no \"memory\" groups";
  return {good, skipped};
}

TEST(RowTest, EveryFormSaysTheSame) {
  const Setting setting = SettingOfThisMachine("endure --kills 5000", "abc");
  const std::vector<Row> rows = SomeRows();
  EXPECT_NE(setting.machine.find("Linux"), std::string::npos);
  // A release's number, and no name of whoever built the kernel.
  EXPECT_EQ(setting.machine.substr(0, setting.machine.find(',')).find('-'), std::string::npos);
  EXPECT_FALSE(setting.date.empty());
  for (const std::string& text : {Table(rows), Json(setting, rows), Markdown(setting, rows)}) {
    for (const char* part : {"connecting side dies", "5000", "1.5", "1234", "PASS", "SKIP"}) {
      const bool in_ns = std::string(part) == "1.5" && text[0] == '{';
      EXPECT_NE(text.find(in_ns ? "1500000" : part), std::string::npos) << part << "\n" << text;
    }
  }
  EXPECT_NE(Json(setting, rows).find("\"why\": \"no \\\"memory\\\" groups\""), std::string::npos);
  EXPECT_NE(Markdown(setting, rows).find("Command: `endure --kills 5000`"), std::string::npos);
}

TEST(RowTest, APartWhoseLanesDoTheSameHasASum) {
  std::vector<Row> rows = SomeRows();
  rows.insert(rows.begin() + 1, rows[0]);
  rows[1].max_late_ns = 2'500'000;
  for (const std::string& text : {Table(rows), Markdown({}, rows)}) {
    for (const char* part : {"all of these", "10000 kills", "2/2", "14 -> 14", "40/40", "2.5"}) {
      EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
    }
  }
  EXPECT_EQ(Table(SomeRows()).find("all of these"), std::string::npos);
}

TEST(RowTest, ASkipWithoutAReasonAndNothingAtAllAreFailures) {
  std::vector<Row> rows = SomeRows();
  EXPECT_EQ(ExitStatus(rows), 0);
  rows[1].why.clear();
  EXPECT_EQ(ExitStatus(rows), 1);
  EXPECT_EQ(ExitStatus({}), 1);
}

// --- the private clock --------

TEST(PrivateClockTest, EachWayToReadTheClockJumps) {
  if (!ClockIsPrivate()) GTEST_SKIP() << "a sanitizer has clock functions of its own";
  const std::vector<std::function<int64_t()>> ways = {
      [] { return absl::ToUnixSeconds(absl::Now()); },
      [] {
        const auto now = std::chrono::system_clock::now().time_since_epoch();
        return int64_t{std::chrono::duration_cast<std::chrono::seconds>(now).count()};
      },
      [] { return int64_t{std::time(nullptr)}; },
      [] {
        timeval now = {};
        ::gettimeofday(&now, nullptr);
        return int64_t{now.tv_sec};
      },
  };
  for (const auto& way : ways) {
    const int64_t truth = way();
    const int64_t monotonic_ns = MonotonicNowNs();
    JumpAtEachReading(true);
    const int64_t first = way();
    const int64_t second = way();
    EXPECT_EQ(Readings(), 2);
    EXPECT_LT(MonotonicNowNs() - monotonic_ns, int64_t{60} * 1'000'000'000);
    JumpAtEachReading(false);
    EXPECT_NEAR(static_cast<double>(first - truth), 3600, 60);
    EXPECT_NEAR(static_cast<double>(second - truth), -3600, 60);
  }
}

int SignalOf(const std::function<void()>& call) {
  Child child([&] {
    if (!ForbidRealtimeTimers().ok()) return 9;
    call();
    return 0;
  });
  return child.Wait(Deadline::After(absl::Seconds(30)));
}

TEST(PrivateClockTest, ATimerOnTheRealtimeClockIsFatal) {
  const timespec past = {1, 0};
  const timespec short_while = {0, 1000};
  EXPECT_EQ(SignalOf([&] { ::clock_nanosleep(CLOCK_REALTIME, 0, &short_while, nullptr); }), 0);
  EXPECT_EQ(SignalOf([&] { ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &past, nullptr); }),
            0);
  EXPECT_EQ(SignalOf([] { ::close(::timerfd_create(CLOCK_MONOTONIC, 0)); }), 0);
  const int fatal = 128 + SIGSYS;
  EXPECT_EQ(SignalOf([&] { ::clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &past, nullptr); }),
            fatal);
  EXPECT_EQ(SignalOf([] { ::close(::timerfd_create(CLOCK_REALTIME, 0)); }), fatal);
  EXPECT_EQ(SignalOf([&] {
              uint32_t word = 0;
              ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &past,
                        nullptr, ~0u);
            }),
            fatal);
  EXPECT_EQ(SignalOf([] {
              timespec now = {};
              ::syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
            }),
            fatal);
}

// --- memory groups --------

TEST(MemoryGroupTest, ALimitKillsWhoGoesBeyondItAndCountsThat) {
  auto group = MemoryGroup::Create("test-" + std::to_string(::getpid()) + "-g", 32 << 20);
  if (!group.ok()) GTEST_SKIP() << group.status().message();
  Child child([&] {
    if (!group->Enter().ok()) return 1;
    for (int i = 0; i < 256; ++i) {
      std::vector<char> more(1 << 20, 'x');
      if (more.back() != 'x') return 2;
      // Kept.
      static std::vector<std::vector<char>> all;
      all.push_back(std::move(more));
    }
    return 0;
  });
  EXPECT_EQ(child.Wait(Deadline::After(absl::Seconds(60))), 128 + SIGKILL);
  EXPECT_EQ(group->Kills(), 1);
  EXPECT_GT(group->AtLimit(), 0);
  EXPECT_GT(group->Peak(), 30 << 20);
  EXPECT_LE(group->Peak(), 32 << 20);
  EXPECT_LT(group->Usage(), 8 << 20);
}

// --- the program --------

Deadline Generous() { return Deadline::After(absl::Seconds(60)); }

TEST(ProgramTest, SaysWhatItTakesAndRefusesTheRest) {
  Process help({Binary("endurance/endure"), "--help"});
  EXPECT_EQ(help.Wait(Generous()), 0);
  EXPECT_NE(help.output().find("--kills N"), std::string::npos);
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"--kills", "many"},
                                                {"--only", "kills,love"},
                                                {"--seconds"},
                                                {"--seconds=0"},
                                                {"kills"},
                                                {"--frobnicate=1"}}) {
    std::vector<std::string> arguments = {Binary("endurance/endure")};
    arguments.insert(arguments.end(), wrong.begin(), wrong.end());
    Process refused(arguments);
    EXPECT_EQ(refused.Wait(Generous()), 2) << wrong[0];
    EXPECT_NE(refused.errors().find("usage:"), std::string::npos);
  }
}

int Leftovers() {
  int count = 0;
  DIR* folder = ::opendir(TestFolder().c_str());
  while (const dirent* entry = ::readdir(folder)) {
    if (std::string(entry->d_name).rfind("endure-", 0) == 0) ++count;
  }
  ::closedir(folder);
  return count;
}

TEST(ProgramTest, GivesItsResultAsJson) {
  ASSERT_EQ(::setenv("TMPDIR", TestFolder().c_str(), 1), 0);
  Process program({Binary("endurance/endure"), "--only=stops", "--seconds", "1", "--growth=131072",
                   "--json", "--commit", "abc"});
  EXPECT_EQ(program.Wait(Generous()), 0) << program.errors();
  EXPECT_NE(program.output().find(
                "\"command\": \"endure --only=stops --seconds 1 --growth=131072 --json\""),
            std::string::npos);
  EXPECT_NE(program.output().find("\"commit\": \"abc\""), std::string::npos);
  EXPECT_NE(program.output().find("\"verdict\": \"PASS\""), std::string::npos);
  EXPECT_EQ(Leftovers(), 0);
}

TEST(ProgramTest, AnInterruptLeavesNothingBehind) {
  ASSERT_EQ(::setenv("TMPDIR", TestFolder().c_str(), 1), 0);
  // What it leaves behind becomes a child of this process.
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  Process program({Binary("endurance/endure"), "--seconds=60", "--kills=1000000", "--jobs=8"});
  const Deadline started = Generous();
  while (Leftovers() == 0 && !started.Expired()) ::usleep(1000);
  ::usleep(700'000);
  program.Signal(SIGINT);
  EXPECT_EQ(program.Wait(Generous()), 130);
  EXPECT_NE(program.errors().find("interrupted; "), std::string::npos) << program.errors();
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a process is left";
  EXPECT_EQ(errno, ECHILD);
  EXPECT_EQ(Leftovers(), 0);
}

}  // namespace
}  // namespace parley::endurance

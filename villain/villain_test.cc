// Every attack against the honest victims, and the villain itself against careless ones.

#include <unistd.h>

#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "parley/villain/attack.h"
#include "parley/villain/case.h"
#include "parley/villain/process.h"
#include "parley/villain/supervisor.h"

namespace parley::villain {
namespace {

std::vector<const Case*> CasesNamed(const std::set<std::string>& names) {
  std::vector<const Case*> cases;
  for (const Case& c : AllCases()) {
    if (names.count(c.name) != 0) cases.push_back(&c);
  }
  EXPECT_EQ(cases.size(), names.size()) << "a name in the list is no case";
  return cases;
}

void Note(const Result& r) {
  std::printf("%-4s %-26s %-6s %s\n", r.the_case->row, r.the_case->name, ToString(r.verdict),
              r.verdict == Verdict::kPass ? r.attacker.c_str() : r.why.c_str());
}

TEST(VillainTest, EveryAttackIsRefusedOrWithoutEffect) {
  std::vector<const Case*> cases;
  for (const Case& c : AllCases()) cases.push_back(&c);
  RunOptions options;
  options.jobs = 4;
  for (const Result& r : RunCases(cases, options, Note)) {
    // For tools/dev/test_report.py, which wants each case that a document names.
    RecordProperty(std::string("villain: ") + r.the_case->name,
                   ToString(r.verdict) + (r.why.empty() ? "" : ": " + r.why));
    EXPECT_TRUE(r.verdict == Verdict::kPass || r.verdict == Verdict::kSkip)
        << r.the_case->row << " " << r.the_case->name << ": " << ToString(r.verdict) << ", "
        << r.why << "\n  attacker: " << r.attacker << "\n  victim: " << r.victim << ", " << r.exit
        << "\n  " << r.elapsed_ms << " ms, longest call " << r.max_call_ms << " ms";
    if (r.verdict == Verdict::kSkip) {
      EXPECT_FALSE(r.why.empty());
    }
  }
}

TEST(VillainTest, NamesAreDistinctAndEveryRowHasACase) {
  std::set<std::string> names;
  std::set<std::string> rows;
  for (const Case& c : AllCases()) {
    EXPECT_TRUE(names.insert(c.name).second) << c.name;
    rows.insert(c.row);
  }
  EXPECT_GE(names.size(), 60u);
  const std::map<char, int> last = {{'M', 15}, {'F', 11}, {'W', 9}, {'S', 4}, {'R', 13},
                                    {'D', 10}, {'L', 6},  {'H', 8}, {'P', 5}};
  for (const auto& [letter, count] : last) {
    for (int i = 1; i <= count; ++i) {
      EXPECT_EQ(rows.count(letter + std::to_string(i)), 1u) << letter << i;
    }
  }
}

// As docs/ATTACKS.md has them; what is no attack comes first.
TEST(VillainTest, CasesAreInTheOrderOfTheTable) {
  const std::string letters = "-MFWSRDLHP";
  std::pair<std::size_t, int> before = {0, 0};
  for (const Case& c : AllCases()) {
    const std::string row = c.row;
    const int number = row == "-" ? 0 : std::stoi(row.substr(1));
    const std::pair<std::size_t, int> here = {letters.find(row[0]), number};
    EXPECT_GE(here, before) << c.name << " in row " << row;
    before = here;
  }
}

// What each of these does to a careless peer is sure, not a matter of timing.
TEST(VillainTest, ACarelessPeerFailsWhereItShould) {
  const std::map<std::string, Verdict> expected = {
      {"region-can-shrink", Verdict::kFail},         // SIGBUS
      {"unsealed-then-cut", Verdict::kFail},         // SIGBUS
      {"blob-can-shrink", Verdict::kFail},           // SIGBUS
      {"pull-at-regions", Verdict::kFail},           // SIGBUS
      {"blob-rewritten", Verdict::kFail},            // content changes
      {"huge-page-blob", Verdict::kFail},            // SIGBUS, or no mapping at all
      {"late-seals", Verdict::kFail},                // its region was not sealed
      {"region-is-pipe", Verdict::kFail},            // a mapping that failed, used
      {"region-sparse", Verdict::kFail},             // accepted
      {"fork-and-dump", Verdict::kFail},             // a child would inherit the region
      {"lock-against-connector", Verdict::kWedged},  // F_ADD_SEALS hangs
      {"fuse-with-hello", Verdict::kWedged},         // plain fstat on a hostile descriptor
      {"inheritable", Verdict::kFail},               // no MSG_CMSG_CLOEXEC
      {"claims-none", Verdict::kWedged},
      {"hello-empty", Verdict::kWedged},
      {"wake-up-empty", Verdict::kFail},
      {"saturate-and-block", Verdict::kWedged},  // blocking eventfd
      {"die-with-heir", Verdict::kFail},         // nobody watches the process
      // Workers that nobody confined, or not well.
      {"signal-by-owner", Verdict::kFail},  // a signal
      {"signal-by-owner-ex", Verdict::kFail},
      {"signal-by-fioasync", Verdict::kFail},
      {"signal-by-fiosetown", Verdict::kFail},
      {"signal-by-siocspgrp", Verdict::kFail},
      {"signal-directly", Verdict::kFail},
      {"clear-nonblock", Verdict::kFail},  // the call is made
      {"fionbio", Verdict::kFail},
      {"userfault-from-inside", Verdict::kFail},
      {"grow-pipe", Verdict::kFail},
      {"futex-requeue", Verdict::kFail},
      {"futex-pi", Verdict::kFail},
      {"victims-memory", Verdict::kFail},
      {"trace-victim", Verdict::kFail},
      {"steal-descriptor", Verdict::kFail},
      {"new-process", Verdict::kFail},
      {"stop-worker", Verdict::kFail},  // no restart_syscall
      {"stop-worker-threads", Verdict::kFail},
      {"stop-worker-eventfd", Verdict::kFail},
      {"thread-made-before", Verdict::kFail},  // no TSYNC
      {"tail-beyond-ring", Verdict::kFail},    // trusted index
      {"tail-misaligned", Verdict::kFail},
      {"head-beyond-tail", Verdict::kFail},
      {"tail-rewinds", Verdict::kFail},
      {"header-flips", Verdict::kFail},       // double fetch
      {"payload-rewritten", Verdict::kFail},  // parsed in place
      {"record-too-long", Verdict::kFail},
      {"tag-reserved", Verdict::kFail},
      {"all-ones", Verdict::kFail},
      {"half-open", Verdict::kWedged},        // one peer at a time
      {"silent", Verdict::kWedged},           // no deadline
      {"read-control-page", Verdict::kFail},  // a pointer in shared memory
      {"look-for-addresses", Verdict::kFail},
      {"read-behind-records", Verdict::kFail},  // stack bytes behind a record
      {"read-names", Verdict::kFail},           // its pid in the memfd's name
      {"foreign-id", Verdict::kFail},
      {"hello-again", Verdict::kFail},
      {"forged-credentials", Verdict::kFail},
      {"no-ready", Verdict::kWedged},
      {"hostile-samples", Verdict::kFail},
      {"plane-outside", Verdict::kFail},  // reads far outside
      {"sequence-old", Verdict::kFail},
  };
  std::set<std::string> names;
  for (const auto& [name, verdict] : expected) names.insert(name);
  RunOptions options;
  options.implementation = Implementation::kNaive;
  options.jobs = 6;
  int bitten = 0;
  for (const Result& r : RunCases(CasesNamed(names), options, Note)) {
    if (r.verdict == Verdict::kSkip) continue;
    EXPECT_STREQ(ToString(r.verdict), ToString(expected.at(r.the_case->name)))
        << r.the_case->name << ": " << r.why << "\n  attacker: " << r.attacker
        << "\n  victim: " << r.victim;
    // The attack's doing, and not that it was not there.
    EXPECT_EQ(r.why.find("could not be mounted"), std::string::npos) << r.the_case->name;
    if (r.verdict == Verdict::kFail || r.verdict == Verdict::kWedged) ++bitten;
  }
  // Wherever this runs: what a machine lacks skips a few.
  EXPECT_GE(bitten, 25);
}

// ... and nowhere else: with peers that do no harm it is as good as any.
TEST(VillainTest, ACarelessPeerPassesWhereNobodyAttacks) {
  RunOptions options;
  options.implementation = Implementation::kNaive;
  const auto cases = CasesNamed({"honest-connecting", "honest-accepting", "honest-blob"});
  for (const Result& r : RunCases(cases, options, Note)) {
    EXPECT_EQ(r.verdict, Verdict::kPass) << r.the_case->name << ": " << r.why << ", " << r.victim;
    EXPECT_GT(r.calls, 0u);
  }
}

// `villain attack`, against a peer on top of a channel, in each of the three ways to meet one.
struct AttackTest : ::testing::Test {
  std::map<std::string, Verdict> Attack(const Target& target, const std::set<std::string>& names) {
    std::map<std::string, Verdict> verdicts;
    AttackAll(target, CasesNamed(names), [&](const Result& r) {
      Note(r);
      verdicts[r.the_case->name] = r.verdict;
    });
    return verdicts;
  }
  void ExpectAllPass(const std::map<std::string, Verdict>& verdicts) {
    for (const auto& [which, verdict] : verdicts) {
      EXPECT_STREQ(ToString(verdict), "PASS") << which;
    }
  }
  Process Scenario(const std::string& how) {
    return Process([&](Gate&) {
      ::execl(kScenario, kScenario, how.c_str(), name.c_str(), nullptr);
      return 127;
    });
  }
  static constexpr const char* kScenario = "villain/specimen";
  const std::string name = "@parley-specimen-" + std::to_string(::getpid());
};

TEST_F(AttackTest, APeerThatListens) {
  const Process specimen = Scenario("listen");
  Target target;
  target.connect = name;
  ::usleep(300'000);
  ExpectAllPass(Attack(target, {"unsealed-then-cut", "tail-all-ones", "hello-glued", "half-open"}));
}

TEST_F(AttackTest, APeerThatConnects) {
  const Process specimen = Scenario("connect");
  Target target;
  target.listen = name;
  ExpectAllPass(Attack(target, {"region-can-shrink", "one-too-many", "foreign-ready"}));
}

TEST_F(AttackTest, APeerThatIsStarted) {
  Target target;
  target.exec = {kScenario, "inherited"};
  ExpectAllPass(Attack(target, {"region-is-pipe", "no-welcome"}));
}

TEST_F(AttackTest, APeerThatNeverEndsIsWedged) {
  Target target;
  target.exec = {kScenario, "wedged"};
  target.patience = absl::Seconds(1);
  EXPECT_EQ(Attack(target, {"no-welcome"})["no-welcome"], Verdict::kWedged);
}

// A verdict on a peer that was never there, crashed in order, or has a sanitizer's report, is FAIL.
struct BadTarget {
  const char* name;
  std::vector<std::string> exec;
  std::vector<int> good_exits;
  const char* why;
};
class BadTargetTest : public AttackTest, public ::testing::WithParamInterface<BadTarget> {};
INSTANTIATE_TEST_SUITE_P(
    Targets, BadTargetTest,
    ::testing::Values(
        BadTarget{"False", {"/bin/false"}, {0}, "it ended with exit 1"},
        // Ends well each time: but then nothing was attacked.
        BadTarget{"True", {"/bin/true"}, {0}, "no attack could be mounted"},
        BadTarget{"Missing", {"/nonexistent/program"}, {0}, "it ended with exit 127"},
        BadTarget{"ExitOneIsNotZero", {"/bin/sh", "-c", "exit 1"}, {0, 3}, "exit 1"},
        BadTarget{"Report", {"villain/specimen", "reports"}, {0}, "a sanitizer's report: ==17=="},
        BadTarget{"ReportAndExitOne",
                  {"/bin/sh", "-c", "echo '==1==ERROR: AddressSanitizer: x' >&2; exit 1"},
                  {0, 1},
                  "a sanitizer's report"},
        BadTarget{"Undefined",
                  {"/bin/sh", "-c", "echo 'a.cc:1:2: runtime error: shift' >&2; exit 0"},
                  {0},
                  "a sanitizer's report"},
        BadTarget{"Sleeps", {"/bin/sleep", "600"}, {0}, "still there when its peer"}),
    [](const auto& p) { return p.param.name; });

TEST_P(BadTargetTest, IsAFailureWithItsReason) {
  Target target;
  target.exec = GetParam().exec;
  target.good_exits = GetParam().good_exits;
  target.patience = absl::Seconds(1);
  std::vector<Result> results;
  AttackAll(target, CasesNamed({"no-welcome", "region-is-pipe"}), [&](const Result& r) {
    Note(r);
    results.push_back(r);
  });
  std::string why;
  EXPECT_EQ(AttackExitStatus(results, &why), 1);
  EXPECT_NE(why.find(GetParam().why), std::string::npos) << why;
}

TEST_F(AttackTest, AGoodExitCodeOfItsOwnIsGood) {
  Target target;
  target.exec = {"/bin/sh", "-c", "villain/specimen inherited; exit 3"};
  target.good_exits = {0, 3};
  ExpectAllPass(Attack(target, {"no-welcome"}));
}

TEST_F(AttackTest, APeerThatCannotBeReachedIsWedged) {
  Target target;
  target.connect = name;  // nobody is there
  target.patience = absl::Seconds(1);
  EXPECT_EQ(Attack(target, {"silent"})["silent"], Verdict::kWedged);
}

}  // namespace
}  // namespace parley::villain

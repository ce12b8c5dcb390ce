// SPDX-License-Identifier: Apache-2.0

// Every attack against the honest victims, and the villain itself against careless ones.

#include <unistd.h>

#include <cstdio>
#include <fstream>
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

// PASS for each, or SKIP for a reason, and not too many of those.
void ExpectWithoutEffect(const std::vector<const Case*>& cases, const RunOptions& options,
                         const char* prefix, int max_skipped) {
  int skipped = 0;
  for (const Result& r : RunCases(cases, options, Note)) {
    // For tools/dev/test_report.py, which wants each case that a document names.
    ::testing::Test::RecordProperty(std::string(prefix) + r.the_case->name,
                                    ToString(r.verdict) + (r.why.empty() ? "" : ": " + r.why));
    EXPECT_TRUE(r.verdict == Verdict::kPass || r.verdict == Verdict::kSkip)
        << r.the_case->row << " " << r.the_case->name << ": " << ToString(r.verdict) << ", "
        << r.why << "\n  attacker: " << r.attacker << "\n  victim: " << r.victim << ", " << r.exit
        << "\n  " << r.elapsed_ms << " ms, longest call " << r.max_call_ms << " ms";
    if (r.verdict == Verdict::kSkip) {
      EXPECT_FALSE(r.why.empty());
      ++skipped;
    }
  }
  EXPECT_LE(skipped, max_skipped);
}

TEST(VillainTest, EveryAttackIsRefusedOrWithoutEffect) {
  std::vector<const Case*> cases;
  for (const Case& c : AllCases()) cases.push_back(&c);
  RunOptions options;
  options.jobs = 4;
  ExpectWithoutEffect(cases, options, "villain: ", 20);
}

// What the newest kernels refuse for us is refused without them as well: descriptors in messages, a
// memfd that is made executable, and who the peer is.
TEST(VillainTest, DescriptorsAreWithoutEffectWithoutTheNewestKernelsHelp) {
  std::vector<const Case*> cases;
  for (const Case& c : AllCases()) {
    const std::string row = c.row;
    if (row[0] == 'F' || row == "K1" || row == "K3" || row == "W8" || row == "H7") {
      cases.push_back(&c);
    }
  }
  RunOptions options;
  options.jobs = 4;
  options.old_kernel = true;
  ExpectWithoutEffect(cases, options, "without the newest kernels, ", 6);
}

TEST(VillainTest, NamesAreDistinctAndEveryRowHasACase) {
  std::set<std::string> names;
  std::set<std::string> rows;
  for (const Case& c : AllCases()) {
    EXPECT_TRUE(names.insert(c.name).second) << c.name;
    rows.insert(c.row);
  }
  EXPECT_GE(names.size(), 60u);
  const std::map<char, int> last = {{'M', 16}, {'F', 11}, {'W', 9}, {'S', 4}, {'R', 14}, {'D', 10},
                                    {'L', 6},  {'H', 8},  {'P', 5}, {'K', 7}, {'B', 7}};
  for (const auto& [letter, count] : last) {
    for (int i = 1; i <= count; ++i) {
      EXPECT_EQ(rows.count(letter + std::to_string(i)), 1u) << letter << i;
    }
  }
}

// As docs/ATTACKS.md has them; what is no attack comes first.
TEST(VillainTest, CasesAreInTheOrderOfTheTable) {
  const std::string letters = "-MFWSRDLHPKB";
  std::pair<std::size_t, int> before = {0, 0};
  for (const Case& c : AllCases()) {
    const std::string row = c.row;
    const int number = row == "-" ? 0 : std::stoi(row.substr(1));
    const std::pair<std::size_t, int> here = {letters.find(row[0]), number};
    EXPECT_GE(here, before) << c.name << " in row " << row;
    before = here;
  }
}

// Each case fails somewhere, or it could not tell: most of them against the careless peer
// (IsHarmedByEachAttack), and these elsewhere.
struct Elsewhere {
  enum class Kind {
    kControl,  // no attack: it fails wherever a peer does not serve
    kPlanted,  // with the bug fuzz/planted/`where`.patch in our own end, which names the case
  };
  Kind kind;
  std::string where;
  std::string why;
};
const std::map<std::string, Elsewhere>& Harmless() {
  using Kind = Elsewhere::Kind;
  static const std::map<std::string, Elsewhere> cases = {
      {"honest-connecting", {Kind::kControl, "", "no attack"}},
      {"honest-accepting", {Kind::kControl, "", "no attack"}},
      {"honest-blob", {Kind::kControl, "", "no attack"}},
      {"heir-of-listener",
       {Kind::kPlanted, "listener_taken_for_server",
        "harms who takes who listened for who serves"}},
      {"signal-now-and-then",
       {Kind::kPlanted, "budget_never_refills", "harms a peer whose budget does not refill"}},
      {"hoard-welcomes",
       {Kind::kPlanted, "unfinished_handshakes_unbounded",
        "harms a peer that has many handshakes at once; the careless one has one"}},
      {"hoard-welcomes-of-others",
       {Kind::kPlanted, "unfinished_handshakes_unbounded",
        "harms a peer that has many handshakes at once"}},
      {"broadcast-pulled",
       {Kind::kPlanted, "broadcast_can_be_written",
        "harms who has a broadcast; the careless peer has none"}},
      {"udmabuf-from-inside",
       {Kind::kPlanted, "device_can_be_opened", "harms where there is /dev/udmabuf"}},
      {"garbage-collector",
       {Kind::kPlanted, "signal_waits_for_its_receiver",
        "harms where sends wait for the collector: Linux before 6.9"}},
      {"pages-out",
       {Kind::kPlanted, "signal_waits_for_its_receiver",
        "harms where memory has to come back from a slow swap"}},
      {"mapping-crowd",
       {Kind::kPlanted, "signal_waits_for_its_receiver",
        "harms where memory has to come back from a slow swap"}},
  };
  return cases;
}

// Harm that is a race between the two, or takes processor time that a busy machine does not give
// the
// attacker. Once in three tries; no more than kMaxUndecided of them may stay undecided.
const std::set<std::string>& Races() {
  static const std::set<std::string> names = {"drain-between",
                                              "flood-data-doorbell",
                                              "flood-room-doorbell",
                                              "futex-storm",
                                              "flood-wait-set",
                                              "futex-flip",
                                              "futex-crowd",
                                              "epoch-lies",
                                              "tail-flips",
                                              "length-grows",
                                              "receive-into-userfault",
                                              "header-flips",
                                              "scribble",
                                              "crowd-poll",
                                              "wake-for-each-record",
                                              "crowd-epoll",
                                              "crowd-event-loop",
                                              "crowd-signaller",
                                              "drip-in-event-loop",
                                              "payload-rewritten",
                                              "picture-rewritten",
                                              "consumed-rewritten",
                                              "udmabuf-writes",
                                              "slow-release-memory",
                                              "ask-for-much",
                                              "keep-up",
                                              "empty-records",
                                              "train-then-strike",
                                              "request-cancels-each",
                                              "rewrite-geometry",
                                              "hoard-channels"};
  return names;
}
constexpr int64_t kBusyMs = 20;
constexpr std::size_t kMaxUndecided = 2;

bool Harmed(const Result& r) {
  // The attack's doing, and not that it was not there.
  return (r.verdict == Verdict::kFail || r.verdict == Verdict::kWedged) &&
         r.why.find("could not be mounted") == std::string::npos;
}

TEST(CarelessTest, IsHarmedByEachAttack) {
  RunOptions options;
  options.implementation = Implementation::kNaive;
  options.jobs = 6;
  std::vector<const Case*> cases;
  for (const Case& c : AllCases()) {
    if (Harmless().count(c.name) == 0) cases.push_back(&c);
  }
  int skipped = 0;
  std::vector<const Case*> again;
  std::set<std::string> busy;
  for (const Result& r : RunCases(cases, options, Note)) {
    if (r.verdict == Verdict::kSkip) {
      ++skipped;
    } else if (!Harmed(r) && Races().count(r.the_case->name) != 0) {
      if (r.control_late_ms > kBusyMs) busy.insert(r.the_case->name);
      again.push_back(r.the_case);
    } else {
      EXPECT_TRUE(Harmed(r)) << r.the_case->name << ": " << ToString(r.verdict) << ", " << r.why
                             << "\n  attacker: " << r.attacker << "\n  victim: " << r.victim;
    }
  }
  options.jobs = 1;
  for (int tries = 0; tries < 2 && !again.empty(); ++tries) {
    std::vector<const Case*> left;
    for (const Result& r : RunCases(again, options, Note)) {
      if (Harmed(r)) continue;
      if (r.control_late_ms > kBusyMs) busy.insert(r.the_case->name);
      left.push_back(r.the_case);
    }
    again = std::move(left);
  }
  for (const Case* c : again) {
    std::printf("%s: undecided, %s\n", c->name,
                busy.count(c->name) != 0 ? "the machine was busy" : "a race that was not won");
  }
  EXPECT_LE(again.size(), kMaxUndecided);
  // What a machine lacks (root, FUSE, userfaultfd, huge pages) skips some: no more than these.
  EXPECT_LE(skipped, 20);
}

TEST(CarelessTest, ListsNameCases) {
  std::set<std::string> names;
  for (const Case& c : AllCases()) names.insert(c.name);
  for (const auto& [name, elsewhere] : Harmless()) EXPECT_EQ(names.count(name), 1u) << name;
  for (const std::string& name : Races()) EXPECT_EQ(names.count(name), 1u) << name;
}

// What `./dev planted` runs names the case.
TEST(CarelessTest, EachOtherCaseFailsWithAPlantedBug) {
  for (const auto& [name, elsewhere] : Harmless()) {
    EXPECT_FALSE(elsewhere.why.empty()) << name;
    if (elsewhere.kind != Elsewhere::Kind::kPlanted) continue;
    const std::string path = "fuzz/planted/" + elsewhere.where + ".patch";
    std::ifstream patch(path);
    ASSERT_TRUE(patch.is_open()) << path;
    bool names_it = false;
    for (std::string line; std::getline(patch, line) && !line.empty();) {
      names_it = names_it || line == "Case: " + name;
    }
    EXPECT_TRUE(names_it) << path << " does not name " << name;
  }
}

// ... and nowhere else: with peers that do no harm it is as good as any.
TEST(CarelessTest, PassesWhereNobodyAttacks) {
  RunOptions options;
  options.implementation = Implementation::kNaive;
  const auto cases = CasesNamed({"honest-connecting", "honest-accepting", "honest-blob"});
  for (const Result& r : RunCases(cases, options, Note)) {
    // A signal for what was taken without a wait ends the next naive wait, for nothing.
    const bool stale_signal = r.why.starts_with("waits came back ");
    EXPECT_TRUE(r.verdict == Verdict::kPass || stale_signal)
        << r.the_case->name << ": " << r.why << ", " << r.victim;
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

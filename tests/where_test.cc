// SPDX-License-Identifier: Apache-2.0

// Proof that Parley works where people run it: docs/WHERE.md is the table of it.
//
// What needs root, or a package that is not there, is skipped with the reason.

#include <algorithm>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/sandbox/plain_code.h"
#include "parley/tests/place.h"
#include "parley/tests/process.h"

namespace parley {
namespace {

// ---- Runs of GoogleTest programs.

struct Tally {
  int ok = 0;
  std::vector<std::string> skipped;
};

// Of the lines that GoogleTest prints for each test.
Tally Count(const std::string& output) {
  Tally tally;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("[       OK ] ", 0) == 0) ++tally.ok;
    const std::string skipped = "[  SKIPPED ] ";
    if (line.rfind(skipped, 0) == 0 && line.find(" (") != std::string::npos) {
      tally.skipped.push_back(line.substr(skipped.size(), line.find(" (") - skipped.size()));
    }
  }
  return tally;
}

class WhereTest : public ::testing::TestWithParam<Place> {
 protected:
  void SetUp() override {
    if (const std::optional<std::string> why = WhyNot(GetParam()); why.has_value()) {
      GTEST_SKIP() << *why;
    }
    if (internal::kSanitizer) GTEST_SKIP() << "a sanitizer's runtime needs more than a profile has";
  }
};

const Stage& Walls() {
  static const Stage stage(
      {"sandbox/walls", "sandbox/testing_worker", "supervise/links", "supervise/testing_worker"});
  return stage;
}

// What may be skipped there, and nothing else.
std::set<std::string> MayBeSkipped(Place place, bool namespaces) {
  // No namespace can be made there, or none is asked for.
  const std::set<std::string> without_namespaces = {
      "ConfineTest.BehindTheFilterThereIsNoFile",
      "SpawnTest.ADaemonOfTheWorkersEndsWithIt",
      "LockDownTest.ARootThatCannotBeEnteredIsNamed",
      "SecondWallTest.OrphansWithinAreReaped",
      "SecondWallTest.TheHolderHasEverySignalBlocked",
      "SecondWallTest.PromiseP3WorkTheHolderSleepsWhateverBecomesOfItsSocket"};
  const std::set<std::string> with_namespaces = {
      "SecondWallTest.RequiredItIsThereOrAnError",
      "SecondWallTest.TheNetworkCanBeKept",
      "SecondWallTest.WhereOneIsMissingTheOthersAreMade",
      "SecondWallTest.WhereNoneCanBeEnteredTheWorkerRunsAndSaysSo",
      "SecondWallTest.WithoutAMountNamespaceTheRootStays",
      "SecondWallTest.WithoutAnEmptyRootTheWorkerIsToldWhy",
      "SecondWallTest.WithoutRoomForTheHoldersFileNothingStarts",
      "SecondWallTest.ADaemonEndsWhenTheWorkerDoes",
      "SecondWallTest.AWorkerThatOutlivesUsTakesItsDaemonsWithIt"};
  const std::set<std::string> with_root = {"ConfineTest.S4AThreadThatKeepsCapabilitiesIsNamed",
                                           "LockDownTest.CapabilitiesAreGoneSeenFromOutside",
                                           "SpawnTest.AParentThatIsNeverKilledHasAWorkerThatIs",
                                           "SecondWallTest.RootIsNobodyInIt",
                                           "SecondWallTest.AProgramThatNobodyMayExecuteRunsAsRoot",
                                           "SecondWallTest.TheHolderKeepsNothingOfOurs"};
  // Root here may lack the privilege.
  std::set<std::string> may = {"SpawnTest.AParentThatIsNeverKilledHasAWorkerThatIs"};
  if (place == Place::kContainer || !namespaces) {
    may.insert(without_namespaces.begin(), without_namespaces.end());
  }
  if (place == Place::kContainer) may.insert(with_namespaces.begin(), with_namespaces.end());
  if (place != Place::kRoot) may.insert(with_root.begin(), with_root.end());
  return may;
}

// `min`: fewer tests than that have not run what this is about.
void ExpectWalls(Place place, bool namespaces, const std::string& filter, int min,
                 std::vector<std::string> environment = {}) {
  if (!namespaces) environment.emplace_back("PARLEY_TEST_NO_NAMESPACES=1");
  const Ran run = Walls().RunIn(place, "sandbox/walls --gtest_filter=" + filter, environment);
  EXPECT_EQ(run.exit_code, 0) << run.output;
  const Tally tally = Count(run.output);
  EXPECT_GE(tally.ok, min) << run.output;
  const std::set<std::string> may = MayBeSkipped(place, namespaces);
  for (const std::string& name : tally.skipped) EXPECT_EQ(may.count(name), 1u) << name;
}

// All that a worker can try under each profile, and each system call number.
constexpr char kEscapes[] = "*EscapeTest*:*SurvivalTest*:ConfineTest*";
constexpr char kSweep[] = "*SweepTest*";
constexpr char kRest[] = "LockDownTest*:*EndTest*:LandlockTest*:SpawnTest*:SecondWallTest*";

TEST_P(WhereTest, EscapesAreClosed) { ExpectWalls(GetParam(), true, kEscapes, 70); }
TEST_P(WhereTest, EachSystemCallNumberIsAnswered) { ExpectWalls(GetParam(), true, kSweep, 10); }
TEST_P(WhereTest, WorkersStartAndEnd) { ExpectWalls(GetParam(), true, kRest, 45); }

// In a container there are none in any case.
TEST_P(WhereTest, EscapesAreClosedWithoutNamespaces) {
  if (GetParam() == Place::kContainer) GTEST_SKIP() << "no namespace can be made there anyway";
  ExpectWalls(GetParam(), false, kEscapes, 70);
}
TEST_P(WhereTest, EachSystemCallNumberIsAnsweredWithoutNamespaces) {
  if (GetParam() == Place::kContainer) GTEST_SKIP() << "no namespace can be made there anyway";
  ExpectWalls(GetParam(), false, kSweep, 10);
}

// A worker that was cloned from a template.
TEST_P(WhereTest, EscapesAreClosedToAClone) {
  ExpectWalls(GetParam(), true, "*EscapeTest*:*SurvivalTest*", 50, {"PARLEY_TEST_CLONED=1"});
}

// Whole links: start, handshake, sealed input, lock-down, answer, end; by exec and by a template.
TEST_P(WhereTest, SupervisedWorkersServe) {
  for (const char* cloned : {"", "PARLEY_TEST_CLONED=1"}) {
    std::vector<std::string> environment;
    if (*cloned != 0) environment.emplace_back(cloned);
    // In a folder of its own, since files in /tmp are other users'.
    const Ran run = Walls().RunIn(
        GetParam(), "D=$(mktemp -d); TEST_TMPDIR=$D supervise/links; R=$?; rm -rf $D; exit $R",
        environment);
    EXPECT_EQ(run.exit_code, 0) << run.output;
    EXPECT_GE(Count(run.output).ok, 12) << run.output;
  }
}

// parley-thumb, a film, and a file that is none.
class Thumbs {
 public:
  Thumbs() : stage_({"thumb/parley_thumb", "thumb/thumb_worker"}) {
    const std::string film = stage_.folder() + "/film.mp4";
    Process make({Binary("thumb/make_media.sh"), "h264.mp4", film});
    EXPECT_EQ(make.Wait(Deadline::After(absl::Minutes(1))), 0) << make.errors();
    Process rest({"/bin/sh", "-c",
                  "chmod 644 " + film + "; echo \\#EXTM3U >" + stage_.folder() + "/list.m3u8"});
    EXPECT_EQ(rest.Wait(Deadline::After(absl::Minutes(1))), 0) << rest.errors();
    // What the others are compared with; thumb_test compares it with an unconfined decoder's.
    picture_ = RunIn(Place::kUser).output;
  }
  Ran RunIn(Place place) const {
    return stage_.RunIn(place,
                        "D=$(mktemp -d); thumb/parley_thumb --quiet --size 100 -o $D film.mp4; "
                        "echo code $?; cksum <$D/film.mp4.png; "
                        "thumb/parley_thumb --json film.mp4 list.m3u8; echo code $?; rm -rf $D");
  }
  const std::string& picture() const { return picture_; }

 private:
  Stage stage_;
  std::string picture_;
};

TEST_P(WhereTest, ParleyThumbMakesItsPicture) {
  static const Thumbs thumbs;
  const Ran run = thumbs.RunIn(GetParam());
  EXPECT_EQ(run.output, thumbs.picture());
  EXPECT_EQ(run.output.find("code 0\n"), 0u) << run.output;
  EXPECT_NE(run.output.find("\"codec\":\"h264\""), std::string::npos) << run.output;
  EXPECT_NE(run.output.find("\"error\":\""), std::string::npos) << run.output;
  EXPECT_NE(run.output.find("\ncode 1\n"), std::string::npos) << run.output;
}

INSTANTIATE_TEST_SUITE_P(Places, WhereTest,
                         ::testing::Values(Place::kRoot, Place::kUser, Place::kContainer),
                         [](const auto& place) { return ToString(place.param); });

// The place is what it is said to be: what others confine with cannot start there.
TEST(ContainerTest, BubblewrapFailsThere) {
  if (const std::optional<std::string> why = WhyNot(Place::kContainer); why.has_value()) {
    GTEST_SKIP() << *why;
  }
  const std::string line = "bwrap --ro-bind / / --unshare-all true";
  const Ran outside = Walls().RunIn(Place::kRoot, line);
  if (outside.exit_code == 127) GTEST_SKIP() << "there is no bubblewrap";
  EXPECT_EQ(outside.exit_code, 0) << outside.output;
  const Ran inside = Walls().RunIn(Place::kContainer, line);
  EXPECT_EQ(inside.exit_code, 1) << inside.output;
  EXPECT_NE(inside.output.find("bwrap: "), std::string::npos) << inside.output;
}

TEST(ContainerTest, ItIsOne) {
  if (const std::optional<std::string> why = WhyNot(Place::kContainer); why.has_value()) {
    GTEST_SKIP() << *why;
  }
  const Ran run =
      Walls().RunIn(Place::kContainer,
                    "id -u; grep -E \"^(CapBnd|NoNewPrivs|Seccomp):\" /proc/self/status; "
                    "stat -f -c %b /dev/shm; unshare -U true");
  EXPECT_NE(run.output.find("1000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n16\n"),
            std::string::npos)
      << run.output;
  EXPECT_NE(run.exit_code, 0) << run.output;
}

}  // namespace
}  // namespace parley

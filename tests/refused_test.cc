// SPDX-License-Identifier: Apache-2.0

// Where a part of the kernel is missing or refused, or a limit is low: Parley works, or says in one
// sentence what is missing; and `parley doctor` says the same. docs/WHERE.md has the table.

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <ostream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "parley/sandbox/plain_code.h"
#include "parley/tests/place.h"
#include "parley/tests/process.h"

namespace parley {
namespace {

const Stage& Programs() {
  static const Stage* const stage = [] {
    static const Stage made({"doctor/parley_doctor", "tests/refuse", "tests/stream_pair",
                             "examples/film/film", "examples/film/film_worker"});
    const std::string clip = ::testing::TempDir() + "/where.mp4";
    const Ran ran = made.RunIn(Place::kRoot, "sh " + Binary("examples/film/make_clip.sh") +
                                                 " --test h264-aac.mp4 " + clip);
    EXPECT_EQ(ran.exit_code, 0) << ran.output;
    made.Add(clip, "clip.mp4");
    return &made;
  }();
  return *stage;
}

// ---- What the doctor says, by its JSON: one feature a line.

struct Diagnosis {
  int exit_code = -1;
  std::string text;
  std::map<std::string, std::string> states;
};

std::string FieldOf(const std::string& line, const std::string& name) {
  const std::string start = "\"" + name + "\": \"";
  const size_t at = line.find(start);
  if (at == std::string::npos) return "";
  return line.substr(at + start.size(), line.find('"', at + start.size()) - at - start.size());
}

Diagnosis Ask(Place place, const std::string& before) {
  const Ran ran = Programs().RunIn(place, before + " doctor/parley_doctor --json");
  Diagnosis diagnosis = {ran.exit_code, ran.output, {}};
  std::istringstream lines(ran.output);
  for (std::string line; std::getline(lines, line);) {
    if (const std::string id = FieldOf(line, "id"); !id.empty()) {
      diagnosis.states[id] = FieldOf(line, "state");
    }
  }
  return diagnosis;
}

// A channel between two processes, and a confined decoder that streams a film.
void ExpectItWorks(Place place, const std::string& before, const std::string& film_flags = "") {
  const Ran pair = Programs().RunIn(place, before + " tests/stream_pair waiting 500");
  EXPECT_EQ(pair.exit_code, 0) << pair.output;
  const Ran film =
      Programs().RunIn(place, before + " examples/film/film --verify " + film_flags + " clip.mp4");
  EXPECT_EQ(film.exit_code, 0) << film.output;
  EXPECT_NE(film.output.find("verified   all "), std::string::npos) << film.output;
}

// ---- The places as they are.

class PlaceTest : public ::testing::TestWithParam<Place> {
 protected:
  void SetUp() override {
    if (const std::optional<std::string> why = WhyNot(GetParam()); why.has_value()) {
      GTEST_SKIP() << *why;
    }
    if (internal::kSanitizer) GTEST_SKIP() << "a sanitizer's runtime does not live in each place";
  }
};

TEST_P(PlaceTest, AFilmIsDelivered) { ExpectItWorks(GetParam(), ""); }

TEST_P(PlaceTest, AHijackedDecoderIsThrownAway) {
  for (const char* kind : {"index-jump", "open-file"}) {
    const Ran film = Programs().RunIn(
        GetParam(),
        std::string("examples/film/film --verify --patience=3s --hijack=") + kind + " clip.mp4");
    EXPECT_EQ(film.exit_code, 0) << film.output;
    EXPECT_NE(film.output.find("threw the worker away after "), std::string::npos) << film.output;
  }
}

// By the kernel's own version and what the container is known to lack, and not by the doctor's
// questions.
std::set<std::string> MissingIn(Place place) {
  std::set<std::string> missing;
  std::ifstream lsm("/sys/kernel/security/lsm");
  const std::string modules((std::istreambuf_iterator<char>(lsm)), {});
  if (!modules.empty() && modules.find("landlock") == std::string::npos) missing = {"landlock"};
  if (place == Place::kContainer) missing.insert({"namespaces", "empty-root", "mseal"});
  return missing;
}

int KernelVersion(const std::string& text) {
  int major = 0;
  int minor = 0;
  char dot = 0;
  std::istringstream stream(text);
  stream >> major >> dot >> minor;
  return major * 1000 + minor;
}

TEST_P(PlaceTest, TheDoctorSaysWhatIsThere) {
  const Diagnosis diagnosis = Ask(GetParam(), "");
  EXPECT_EQ(diagnosis.exit_code, 0) << diagnosis.text;
  EXPECT_GE(diagnosis.states.size(), 25u) << diagnosis.text;
  std::ifstream release("/proc/sys/kernel/osrelease");
  const std::string version((std::istreambuf_iterator<char>(release)), {});
  const std::set<std::string> missing = MissingIn(GetParam());
  std::istringstream lines(diagnosis.text);
  for (std::string line; std::getline(lines, line);) {
    const std::string id = FieldOf(line, "id");
    if (id.empty()) continue;
    const std::string since = FieldOf(line, "since");
    const bool too_old =
        !since.empty() && KernelVersion(since.substr(since.find(' ') + 1)) > KernelVersion(version);
    const bool expected_missing = too_old || missing.count(id) != 0;
    EXPECT_EQ(FieldOf(line, "state") == "missing", expected_missing) << line;
  }
}

INSTANTIATE_TEST_SUITE_P(Places, PlaceTest,
                         ::testing::Values(Place::kRoot, Place::kUser, Place::kContainer),
                         [](const auto& place) { return ToString(place.param); });

// ---- One feature refused.

struct Case {
  std::string feature;
  std::string error;
  std::set<std::string> with_it;  // what cannot be there without it
  int exit_code = 0;              // the doctor's
};

std::vector<Case> Cases() {
  const std::set<std::string> namespaces = {"namespaces", "empty-root"};
  std::vector<Case> cases;
  for (const char* error : {"ENOSYS", "EPERM"}) {
    for (const char* feature :
         {"noexec-memfd", "populate", "huge-pages", "membarrier", "eventfd", "peer-pidfd",
          "pass-rights", "refusal-names", "landlock", "mdwe", "mseal", "close-range"}) {
      cases.push_back({feature, error, {}, 0});
    }
    cases.push_back({"pidfd", error, namespaces, 0});
    cases.push_back({"namespaces", error, namespaces, 0});
    cases.push_back(
        {"landlock,membarrier,pidfd,noexec-memfd,populate,peer-pidfd", error, namespaces, 0});
    cases.push_back(
        {"seccomp",
         error,
         {"proof", "refusal-names", "landlock", "mdwe", "mseal", "namespaces", "empty-root"},
         3});
    cases.push_back(
        {"memfd", error, {"seals", "region", "noexec-memfd", "huge-pages", "channel", "futex"}, 1});
    cases.push_back({"seals", error, {"region", "channel", "futex"}, 1});
  }
  return cases;
}

void PrintTo(const Case& refused, std::ostream* out) { *out << refused.feature; }

class RefusedTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (internal::kSanitizer)
      GTEST_SKIP() << "a sanitizer's runtime does not live under each filter";
  }
};

std::set<std::string> Split(const std::string& list) {
  std::set<std::string> words;
  std::istringstream stream(list);
  for (std::string word; std::getline(stream, word, ',');) words.insert(word);
  return words;
}

TEST_P(RefusedTest, ItWorksOrSaysWhatIsMissing) {
  const Case& refused = GetParam();
  const std::string before = "tests/refuse " + refused.error + " " + refused.feature;
  const Diagnosis usual = Ask(Place::kUser, "");
  const Diagnosis diagnosis = Ask(Place::kUser, before);
  EXPECT_EQ(diagnosis.exit_code, refused.exit_code) << diagnosis.text;
  std::set<std::string> missing = Split(refused.feature);
  missing.insert(refused.with_it.begin(), refused.with_it.end());
  for (const auto& [id, state] : usual.states) {
    const bool expected_missing = state == "missing" || missing.count(id) != 0;
    EXPECT_EQ(diagnosis.states.count(id), 1u) << id;
    EXPECT_EQ(diagnosis.states.at(id) == "missing", expected_missing) << id << "\n"
                                                                      << diagnosis.text;
  }
  if (refused.exit_code == 0) {
    ExpectItWorks(Place::kUser, before);
    return;
  }
  // One sentence, from the product itself.
  const Ran film = Programs().RunIn(Place::kUser, before + " examples/film/film --verify clip.mp4");
  EXPECT_NE(film.exit_code, 0);
  EXPECT_LT(film.exit_code, 128) << film.output;
  const std::map<std::string, std::string> sentences = {
      {"seccomp", "cannot load the system call filter: "},
      {"memfd", "cannot create a memfd: "},
      {"seals", "cannot add the seals "},
  };
  EXPECT_NE(film.output.find(sentences.at(refused.feature)), std::string::npos) << film.output;
}

INSTANTIATE_TEST_SUITE_P(Features, RefusedTest, ::testing::ValuesIn(Cases()),
                         [](const auto& refused) {
                           std::string name = refused.param.feature + "_" + refused.param.error;
                           for (char& c : name) {
                             if (c == '-' || c == ',') c = '_';
                           }
                           return name;
                         });

// ---- Limits and settings.

class LimitTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (internal::kSanitizer) GTEST_SKIP() << "a sanitizer's runtime needs more than the limit";
  }
};

void ExpectLimited(const Diagnosis& diagnosis, const std::string& id) {
  EXPECT_EQ(diagnosis.exit_code, 0) << diagnosis.text;
  ASSERT_EQ(diagnosis.states.count(id), 1u) << diagnosis.text;
  EXPECT_EQ(diagnosis.states.at(id), "limited") << diagnosis.text;
}

TEST_F(LimitTest, SixtyFourDescriptors) {
  const std::string before = "ulimit -n 64;";
  ExpectLimited(Ask(Place::kUser, before), "open-files");
  ExpectItWorks(Place::kUser, before);
}

TEST_F(LimitTest, OneGibibyteOfAddressSpace) {
  const std::string before = "ulimit -v 1048576;";
  ExpectLimited(Ask(Place::kUser, before), "address-space");
  ExpectItWorks(Place::kUser, before);
}

TEST_F(LimitTest, TooLittleAddressSpaceIsSaid) {
  const Diagnosis diagnosis = Ask(Place::kUser, "ulimit -v 16000;");
  EXPECT_EQ(diagnosis.exit_code, 1) << diagnosis.text;
  ASSERT_EQ(diagnosis.states.count("channel"), 1u) << diagnosis.text;
  EXPECT_EQ(diagnosis.states.at("channel"), "missing") << diagnosis.text;
}

// Of a user that nothing else runs as.
TEST_F(LimitTest, FewProcesses) {
  if (const std::optional<std::string> why = WhyNot(Place::kRoot); why.has_value()) {
    GTEST_SKIP() << *why;
  }
  const std::string user = "setpriv --reuid=54321 --regid=54321 --clear-groups ";
  const std::string before = "prlimit --nproc=24 " + user;
  ExpectLimited(Ask(Place::kRoot, before), "processes");
  ExpectItWorks(Place::kRoot, before);
  // None but its own: a channel needs a helper or a thread, and says so.
  const Diagnosis none = Ask(Place::kRoot, "prlimit --nproc=1 " + user);
  EXPECT_EQ(none.exit_code, 1) << none.text;
  EXPECT_EQ(none.states.at("channel"), "missing") << none.text;
}

TEST_F(LimitTest, FilesOfOneMebibyte) {
  // In blocks of 512 bytes. A film's rings are larger, and its sentence says what to do.
  const std::string before = "ulimit -f 2048;";
  const Diagnosis diagnosis = Ask(Place::kUser, before);
  ExpectLimited(diagnosis, "file-size");
  ExpectLimited(diagnosis, "region");
  const Ran pair = Programs().RunIn(Place::kUser, before + " tests/stream_pair waiting 500");
  EXPECT_EQ(pair.exit_code, 0) << pair.output;
  const Ran film = Programs().RunIn(Place::kUser, before + " examples/film/film clip.mp4");
  EXPECT_NE(film.exit_code, 0);
  EXPECT_NE(film.output.find("shared memory counts against RLIMIT_FSIZE (ulimit -f): raise it"),
            std::string::npos)
      << film.output;
  ExpectItWorks(Place::kUser, "ulimit -f 524288;");
}

// vm.memfd_noexec can be raised in a pid namespace of one's own, for what is in it.
class MemfdPolicyTest : public ::testing::TestWithParam<const char*> {};

TEST_P(MemfdPolicyTest, MemoryIsMadeAllTheSame) {
  if (const std::optional<std::string> why = WhyNot(Place::kRoot); why.has_value()) {
    GTEST_SKIP() << *why;
  }
  if (internal::kSanitizer) GTEST_SKIP() << "a sanitizer's runtime does not live in each place";
  const std::string value = GetParam();
  const std::string before = "unshare --fork --pid --mount-proc sh -c \"echo " + value +
                             " > /proc/sys/vm/memfd_noexec || exit 99; \\\"\\$@\\\"\" sh ";
  const Ran tried = Programs().RunIn(Place::kRoot, before + "cat /proc/sys/vm/memfd_noexec");
  if (tried.exit_code == 99) GTEST_SKIP() << "this kernel has no vm.memfd_noexec";
  ASSERT_EQ(tried.output, value + "\n");
  const Diagnosis diagnosis = Ask(Place::kRoot, before);
  EXPECT_EQ(diagnosis.exit_code, 0) << diagnosis.text;
  EXPECT_EQ(diagnosis.states.at("memfd"), "works") << diagnosis.text;
  ExpectItWorks(Place::kRoot, before);
}

INSTANTIATE_TEST_SUITE_P(Values, MemfdPolicyTest, ::testing::Values("1", "2"),
                         [](const auto& value) { return std::string("at_") + value.param; });

}  // namespace
}  // namespace parley

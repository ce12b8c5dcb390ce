// SPDX-License-Identifier: Apache-2.0

// The command line of `parley doctor`, and that the documents say what it says. What it says in
// each place: tests/refused_test.cc.

#include "parley/doctor/doctor.h"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "parley/doctor/feature.h"

namespace parley {
namespace {

std::string RunfilesPath(const std::string& path) {
  const char* runfiles = std::getenv("TEST_SRCDIR");      // NOLINT(concurrency-mt-unsafe)
  const char* workspace = std::getenv("TEST_WORKSPACE");  // NOLINT(concurrency-mt-unsafe)
  if (runfiles == nullptr || workspace == nullptr) return path;
  return std::string(runfiles) + "/" + workspace + "/" + path;
}

SelfProgram Program() { return {.path = RunfilesPath("doctor/parley_doctor"), .leading = {}}; }

std::string ReadFile(const std::string& path) {
  std::ifstream file(RunfilesPath(path));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

struct Said {
  int exit_code = -1;
  std::string output;
  std::string errors;
};

Said RunWith(const std::vector<std::string>& arguments) {
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const int exit_code = RunDoctor(arguments, Program());
  return {exit_code, ::testing::internal::GetCapturedStdout(),
          ::testing::internal::GetCapturedStderr()};
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(DoctorTest, EachFeatureIsFoundOnce) {
  const Diagnosis diagnosis = Examine(Program());
  std::set<std::string_view> found;
  for (const Finding& finding : diagnosis.findings) {
    EXPECT_TRUE(found.insert(finding.feature->id).second) << finding.feature->id;
    EXPECT_FALSE(finding.found.empty()) << finding.feature->id;
  }
  EXPECT_EQ(found.size(), Features().size());
}

TEST(DoctorTest, TheTextNamesEachFeatureAndWhatItsLackCosts) {
  Diagnosis diagnosis;
  diagnosis.system = "Linux 1.0";
  for (const Feature& feature : Features()) {
    diagnosis.findings.push_back({&feature, State::kMissing, "asked, and refused"});
  }
  const std::string text = ToText(diagnosis);
  for (const Feature& feature : Features()) {
    EXPECT_TRUE(Has(text, "MISSING  " + std::string(feature.title) + ":")) << feature.id;
    EXPECT_TRUE(Has(text, "costs:   " + std::string(feature.cost) + "\n")) << feature.id;
    EXPECT_TRUE(Has(text, "get it:  " + std::string(feature.remedy))) << feature.id;
  }
  EXPECT_TRUE(Has(text, "Parley does not work here. Missing: memfd_create: asked, and refused"));
}

TEST(DoctorTest, TheVerdictFollowsWhatIsNeeded) {
  const auto verdict = [](Need missing) {
    Diagnosis diagnosis;
    for (const Feature& feature : Features()) {
      diagnosis.findings.push_back(
          {&feature, feature.need == missing ? State::kMissing : State::kWorks, "x"});
    }
    diagnosis.channels_work = missing != Need::kChannel;
    diagnosis.workers_work = missing == Need::kOptional;
    return ToText(diagnosis);
  };
  EXPECT_TRUE(Has(verdict(Need::kChannel), "Parley does not work here. Missing: memfd_create: x"));
  EXPECT_TRUE(Has(verdict(Need::kWorker),
                  "Channels work here, confined workers do not. Missing: system call filters"));
  EXPECT_TRUE(Has(verdict(Need::kOptional), "Parley works here: channels and confined workers. "));
}

TEST(DoctorTest, JsonIsQuoted) {
  Diagnosis diagnosis;
  diagnosis.system = "a \"system\"\n";
  diagnosis.findings.push_back({&FeatureNamed("landlock"), State::kLimited, "a\\b"});
  const std::string json = ToJson(diagnosis);
  EXPECT_TRUE(Has(json, R"("system": "a \"system\"\u000a")")) << json;
  EXPECT_TRUE(Has(json, R"("id": "landlock", "state": "limited")")) << json;
  EXPECT_TRUE(Has(json, R"("found": "a\\b")")) << json;
}

TEST(DoctorTest, HelpAndWrongArguments) {
  const Said help = RunWith({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_TRUE(Has(help.output, "Exit code: 0 ")) << help.output;
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--bogus"}, {"--in-sandbox"}, {"--in-sandbox", "everything"}}) {
    const Said said = RunWith(arguments);
    EXPECT_EQ(said.exit_code, 2);
    EXPECT_EQ(said.output, "");
    EXPECT_TRUE(Has(said.errors, "doctor: ")) << said.errors;
  }
}

TEST(DoctorTest, InASandboxItSaysWhatEachProfileAllows) {
  const Said ring = RunWith({"--in-sandbox", "ring"});
  EXPECT_EQ(ring.exit_code, 0) << ring.output;
  EXPECT_TRUE(Has(ring.output, "  works    wake the peer through the channel's socket\n"));
  EXPECT_TRUE(Has(ring.output, "  works    wake the peer through an eventfd\n")) << ring.output;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
  EXPECT_TRUE(Has(ring.output, "  ends it  allocate memory: ")) << ring.output;
  EXPECT_TRUE(Has(ring.output, "  ends it  open a file: ")) << ring.output;
  const Said heap = RunWith({"--in-sandbox", "heap,files-absent"});
  EXPECT_TRUE(Has(heap.output, "  works    allocate memory\n")) << heap.output;
  EXPECT_TRUE(Has(heap.output, "  fails    open a file: No such file or directory\n"))
      << heap.output;
#endif
}

// ---- The documents.

TEST(WhereDocTest, TheTableOfFeaturesIsTheDoctors) {
  EXPECT_TRUE(Has(ReadFile("docs/WHERE.md"), FeatureTable()))
      << "put into docs/WHERE.md what `parley_doctor --features` prints";
  EXPECT_EQ(RunWith({"--features"}).output, FeatureTable());
}

TEST(WhereDocTest, TheExitCodesAreTheDoctors) {
  const std::string help = RunWith({"--help"}).output;
  const std::string codes = help.substr(help.find("Exit code: "));
  std::string in_a_line;
  for (const char c : codes) in_a_line += c == '\n' ? ' ' : c;
  while (!in_a_line.empty() && in_a_line.back() == ' ') in_a_line.pop_back();
  std::string document;
  for (const char c : ReadFile("docs/WHERE.md")) document += c == '\n' ? ' ' : c;
  EXPECT_TRUE(Has(document, in_a_line)) << in_a_line;
}

TEST(WhereDocTest, TheReadmeSaysWhereToAsk) {
  const std::string readme = ReadFile("README.md");
  EXPECT_TRUE(Has(readme, "bazel run //doctor:parley_doctor"));
  EXPECT_TRUE(Has(readme, "[docs/WHERE.md](docs/WHERE.md)"));
}

}  // namespace
}  // namespace parley

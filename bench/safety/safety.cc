// SPDX-License-Identifier: Apache-2.0

// `./dev bench safety`: writes safety.json, which bench/report/ shows. And, for
// bench/instructions/instructions.py:
//
//   safety --list | --time | WHAT VARIANT TIMES

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "parley/bench/pair.h"
#include "parley/bench/safety/case.h"
#include "parley/bench/safety/study.h"

ABSL_FLAG(bool, quick, false, "few turns: a few seconds");
ABSL_FLAG(std::string, out, ".", "an existing folder for safety.json");
ABSL_FLAG(std::string, commit, "", "what to note as the commit that is measured");
ABSL_FLAG(bool, list, false, "print the cases whose instructions can be counted");
ABSL_FLAG(bool, time, false, "print the times of those, as JSON");

namespace parley::bench {
namespace {

constexpr int kTurns = 31;
constexpr int kFewTurns = 5;

std::vector<Case> CountedCases() {
  std::vector<Case> cases = AllCases();
  std::erase_if(cases, [](const Case& one) { return !one.counted; });
  return cases;
}

int RunOne(const std::string& what, const std::string& variant, uint64_t times) {
  for (const Case& one : CountedCases()) {
    if (one.what != what || one.variant != variant) continue;
    std::cout << one.run(times) << '\n';
    return 0;
  }
  std::cerr << "safety: no such case; --list names them\n";
  return 2;
}

int MeasureAll() {
  const std::string path = absl::GetFlag(FLAGS_out) + "/safety.json";
  std::ofstream file(path);
  CatchInterrupts();
  const auto times = MeasureSafety(AllCases(), absl::GetFlag(FLAGS_quick) ? kFewTurns : kTurns);
  file << ToJson(times, absl::GetFlag(FLAGS_commit)) << std::flush;
  if (!file) {
    std::cerr << "safety: cannot write " << path << '\n';
    return 1;
  }
  int failures = 0;
  for (const SafetyTimes& one : times) {
    if (one.failed.empty()) continue;
    ++failures;
    std::cerr << "safety: FAILED " << one.what << ", " << one.variant << ": " << one.failed << '\n';
  }
  if (Interrupted()) return 130;
  return failures == 0 ? 0 : 1;
}

int Main(const std::vector<std::string>& arguments) {
  if (arguments.size() == 3) {
    return RunOne(arguments[0], arguments[1], std::strtoull(arguments[2].c_str(), nullptr, 10));
  }
  if (absl::GetFlag(FLAGS_list)) {
    for (const Case& one : CountedCases()) std::cout << one.what << '\t' << one.variant << '\n';
    return 0;
  }
  if (absl::GetFlag(FLAGS_time)) {
    std::cout << TimesToJson(MeasureSafety(CountedCases(), kFewTurns));
    return 0;
  }
  return MeasureAll();
}

}  // namespace
}  // namespace parley::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("what each check and each wall costs, on and off");
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  return parley::bench::Main({rest.begin() + 1, rest.end()});
}

// SPDX-License-Identifier: Apache-2.0
// `./dev damaged`: a long campaign of damaged files against parley-thumb (damaged_campaign.h).
//
//   damaged [--files-of-each N] [--first-seed S] [--markdown FILE]
//
// Exit code: 0 if nothing happened that may not; 1 with a line for each fault; 2 wrong arguments.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <set>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "parley/thumb/damaged_campaign.h"
#include "parley/thumb/run.h"

namespace parley::thumb::testing {
namespace {

std::string Table(const CampaignResult& result) {
  std::set<std::string> outcomes;
  for (const auto& [kind, counts] : result.outcomes) {
    for (const auto& [outcome, count] : counts) outcomes.insert(outcome);
  }
  std::map<std::string, std::size_t> sums;
  std::string head = "| file |";
  std::string rule = "|---|";
  for (const std::string& outcome : outcomes) {
    absl::StrAppend(&head, " ", outcome, " |");
    rule += "---|";
  }
  std::string table = absl::StrCat(head, "\n", rule, "\n");
  const auto row = [&](const std::string& name, std::map<std::string, std::size_t> counts) {
    absl::StrAppend(&table, "| ", name, " |");
    for (const std::string& outcome : outcomes) absl::StrAppend(&table, " ", counts[outcome], " |");
    table += "\n";
  };
  for (const auto& [kind, counts] : result.outcomes) {
    row(kind, counts);
    for (const auto& [outcome, count] : counts) sums[outcome] += count;
  }
  row("all", sums);
  return table;
}

int Run(int argc, char** argv) {
  CampaignOptions options;
  std::string markdown;
  for (int i = 1; i < argc; i += 2) {
    const std::string flag = argv[i];
    const std::string value = i + 1 < argc ? argv[i + 1] : "";
    bool good = !value.empty();
    if (flag == "--files-of-each") {
      good = absl::SimpleAtoi(value, &options.files_of_each);
    } else if (flag == "--first-seed") {
      good = absl::SimpleAtoi(value, &options.first_seed);
    } else if (flag == "--markdown") {
      markdown = value;
    } else {
      good = false;
    }
    if (!good || options.files_of_each < 1) {
      std::fprintf(stderr, "damaged: wrong arguments\n");
      return 2;
    }
  }
  const auto worker = FindWorker();
  if (!worker.ok()) {
    std::fprintf(stderr, "damaged: %s\n", std::string(worker.status().message()).c_str());
    return 1;
  }
  options.worker = *worker;
  const CampaignResult result = RunCampaign(options);
  const std::string summary = absl::StrCat(
      result.damaged, " damaged files of ", result.outcomes.size(), " kinds, seeds ",
      options.first_seed, " to ",
      options.first_seed + static_cast<uint64_t>(options.files_of_each) - 1, "; ", result.undamaged,
      " undamaged ones among them. Faults: ", result.faults.size(), ".");
  std::printf("%s\n%s\n", Table(result).c_str(), summary.c_str());
  for (const std::string& fault : result.faults) std::printf("fault: %s\n", fault.c_str());
  if (!markdown.empty()) std::ofstream(markdown) << summary << "\n\n" << Table(result);
  return result.faults.empty() ? 0 : 1;
}

}  // namespace
}  // namespace parley::thumb::testing

int main(int argc, char** argv) { return parley::thumb::testing::Run(argc, argv); }

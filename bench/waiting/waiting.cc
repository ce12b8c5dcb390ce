// SPDX-License-Identifier: Apache-2.0

// `./dev bench waiting`: writes waiting.json, which bench/report/ shows.

#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "parley/bench/waiting/study.h"

ABSL_FLAG(bool, quick, false, "fewer passes, and up to 1,000 channels");
ABSL_FLAG(bool, realtime, false, "server and client ahead of all others on the machine; root only");
ABSL_FLAG(int, passes, 5, "how often all is measured");
ABSL_FLAG(std::string, out, ".", "an existing folder for waiting.json");
ABSL_FLAG(std::string, commit, "", "what to note as the commit that is measured");

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "What waiting for many channels costs, and what a flood costs them.");
  absl::ParseCommandLine(argc, argv);
  parley::bench::WaitingOptions options;
  options.passes = absl::GetFlag(FLAGS_passes);
  if (absl::GetFlag(FLAGS_quick)) {
    options.passes = 2;
    options.channels = {10, 1'000};
  }
  options.realtime = absl::GetFlag(FLAGS_realtime);
  const auto result = parley::bench::MeasureWaiting(options);
  std::ofstream(absl::GetFlag(FLAGS_out) + "/waiting.json")
      << parley::bench::ToJson(result, absl::GetFlag(FLAGS_commit));
  for (const std::string& failed : result.failed) std::cerr << "waiting: " << failed << '\n';
  return result.failed.empty() ? 0 : 1;
}

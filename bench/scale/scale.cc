// SPDX-License-Identifier: Apache-2.0

// `./dev bench scale`: writes scale.json, which bench/report/ shows.

#include <algorithm>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "parley/bench/pair.h"
#include "parley/bench/scale/study.h"

ABSL_FLAG(double, minutes, 10, "how long to run flat out");
ABSL_FLAG(bool, quick, false, "one pass over the rings, and 15 seconds flat out");
ABSL_FLAG(std::vector<std::string>, parts, std::vector<std::string>({"channels", "rings", "drift"}),
          "of: channels, rings, drift");
ABSL_FLAG(std::string, out, ".", "an existing folder for scale.json");
ABSL_FLAG(std::string, commit, "", "what to note as the commit that is measured");

namespace parley::bench {
namespace {

bool Wanted(const std::string& part) {
  const std::vector<std::string> parts = absl::GetFlag(FLAGS_parts);
  return std::find(parts.begin(), parts.end(), part) != parts.end();
}

ScaleOptions ReadFlags() {
  const bool quick = absl::GetFlag(FLAGS_quick);
  ScaleOptions options;
  if (!Wanted("channels")) options.channels.clear();
  if (Wanted("rings")) options.ring_bytes = AllRingBytes();
  if (quick) options.passes = 1;
  options.times.limit = absl::Minutes(1);  // a gigabyte is mapped and filled in it
  if (Wanted("drift")) {
    DriftOptions drift;
    drift.seconds = quick ? 15 : absl::GetFlag(FLAGS_minutes) * 60;
    // At least six windows, or there is no drift to be seen.
    drift.window_s = std::min(10.0, drift.seconds / 6);
    options.drift = drift;
  }
  return options;
}

int Main() {
  if (absl::GetFlag(FLAGS_minutes) <= 0) {
    std::cerr << "scale: how many minutes?\n";
    return 2;
  }
  const ScaleOptions options = ReadFlags();
  const std::string path = absl::GetFlag(FLAGS_out) + "/scale.json";
  std::ofstream file(path);
  CatchInterrupts();
  const ScaleResult result = MeasureScale(options);
  file << ToJson(options, result, absl::GetFlag(FLAGS_commit)) << std::flush;
  if (!file) {
    std::cerr << "scale: cannot write " << path << '\n';
    return 1;
  }
  for (const std::string& failed : result.failed) std::cerr << "scale: FAILED " << failed << '\n';
  if (Interrupted()) return 130;
  return result.failed.empty() ? 0 : 1;
}

}  // namespace
}  // namespace parley::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("many channels, large rings, long runs");
  absl::ParseCommandLine(argc, argv);
  return parley::bench::Main();
}

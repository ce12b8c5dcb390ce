// SPDX-License-Identifier: Apache-2.0

// `./dev bench presets`: writes presets.json, which bench/report/ shows.

#include <fstream>
#include <iostream>
#include <string>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "parley/bench/pair.h"
#include "parley/bench/presets/study.h"

ABSL_FLAG(bool, quick, false, "one short pass: a minute instead of ten");
ABSL_FLAG(int, passes, 0, "how often each sample is taken; 0: as the kind of run says");
ABSL_FLAG(std::string, out, ".", "an existing folder for presets.json");
ABSL_FLAG(std::string, commit, "", "what to note as the commit that is measured");

namespace parley::bench {
namespace {

int Main() {
  PresetOptions options = absl::GetFlag(FLAGS_quick) ? QuickPresets() : FullPresets();
  if (absl::GetFlag(FLAGS_passes) > 0) options.passes = absl::GetFlag(FLAGS_passes);
  const std::string path = absl::GetFlag(FLAGS_out) + "/presets.json";
  std::ofstream file(path);
  CatchInterrupts();
  const std::vector<PresetSample> samples = MeasurePresets(options);
  file << ToJson(samples, absl::GetFlag(FLAGS_commit)) << std::flush;
  if (!file) {
    std::cerr << "presets: cannot write " << path << '\n';
    return 1;
  }
  int failures = 0;
  for (const PresetSample& sample : samples) {
    if (sample.failed.empty()) continue;
    ++failures;
    std::cerr << "presets: FAILED " << Name(sample.load.preset) << ", " << sample.load.rate_hz
              << " Hz: " << sample.failed << '\n';
  }
  if (Interrupted()) return 130;
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace parley::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("latency and processor time of each waiting preset, by rate");
  absl::ParseCommandLine(argc, argv);
  return parley::bench::Main();
}

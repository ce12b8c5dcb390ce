// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/program.h"

#include <bit>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/numbers.h"
#include "parley/bench/pair.h"
#include "parley/bench/rows.h"
#include "parley/bench/run.h"

ABSL_FLAG(bool, quick, false, "a first look within three minutes");
ABSL_FLAG(std::string, out, ".", "an existing folder for run.json");
ABSL_FLAG(std::vector<std::string>, rows, {}, "only rows whose names contain one of these");
ABSL_FLAG(std::vector<std::string>, sizes, {}, "only these sizes, in bytes, multiples of 8");
ABSL_FLAG(std::vector<std::string>, placements, {}, "of: apart, unpinned, one core");
ABSL_FLAG(int64_t, queue_bytes, 0, "how much every transport may have under way: a power of two");
ABSL_FLAG(int, passes, 0, "how often each sample is taken; 0: as the kind of run says");
ABSL_FLAG(double, measured_ms, 0, "how long a sample lasts; 0: as the kind of run says");
ABSL_FLAG(bool, system_calls, true, "count system calls, in samples of their own");
ABSL_FLAG(std::string, commit, "", "what to note as the commit that is measured");
ABSL_FLAG(bool, list, false, "print the rows and measure nothing");

namespace parley::bench {
namespace {

bool Wanted(const Row& row, const std::vector<std::string>& parts) {
  if (parts.empty()) return true;
  for (const std::string& part : parts) {
    if (row.name.find(part) != std::string::npos) return true;
  }
  return false;
}

// False, and a word to the user, if a flag makes no sense.
bool ReadFlags(RunOptions& options) {
  options = absl::GetFlag(FLAGS_quick) ? QuickRun() : FullRun();
  if (absl::GetFlag(FLAGS_passes) > 0) options.passes = absl::GetFlag(FLAGS_passes);
  if (absl::GetFlag(FLAGS_measured_ms) > 0) {
    options.times.measured_ms = absl::GetFlag(FLAGS_measured_ms);
  }
  const int64_t queue_bytes = absl::GetFlag(FLAGS_queue_bytes);
  if (queue_bytes != 0 &&
      (queue_bytes < 4096 || !std::has_single_bit(static_cast<uint64_t>(queue_bytes)))) {
    std::cerr << "bench: no length of a queue: " << queue_bytes << '\n';
    return false;
  }
  options.queue_bytes = static_cast<std::size_t>(queue_bytes);
  options.count_system_calls = absl::GetFlag(FLAGS_system_calls);
  if (const auto sizes = absl::GetFlag(FLAGS_sizes); !sizes.empty()) {
    options.sizes.clear();
    for (const std::string& text : sizes) {
      std::size_t size = 0;
      if (!absl::SimpleAtoi(text, &size) || size == 0 || size % 8 != 0 || size > 64 << 20) {
        std::cerr << "bench: no size: " << text << '\n';
        return false;
      }
      options.sizes.push_back(size);
    }
    options.few_sizes = options.sizes;
  }
  if (const auto names = absl::GetFlag(FLAGS_placements); !names.empty()) {
    options.placements.clear();
    for (const std::string& name : names) {
      bool found = false;
      for (const auto placement : {Placement::kApart, Placement::kUnpinned, Placement::kTogether}) {
        if (name != Name(placement)) continue;
        options.placements.push_back(placement);
        found = true;
      }
      if (!found) {
        std::cerr << "bench: no placement: " << name << '\n';
        return false;
      }
    }
  }
  return true;
}

void PrintRows(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    std::cout << row.name << " (" << row.family << ", " << Name(row.waiting) << ")";
    if (!row.missing.empty()) {
      std::cout << ": MISSING, " << row.missing;
    } else if (!row.note.empty()) {
      std::cout << ": " << row.note;
    }
    std::cout << '\n';
  }
}

}  // namespace

int BenchMain(int argc, char** argv, std::vector<Row> peers) {
  absl::SetProgramUsageMessage("measures Parley and what one would take instead");
  absl::ParseCommandLine(argc, argv);
  RunOptions options;
  if (!ReadFlags(options)) return 2;

  std::vector<Row> rows;
  std::vector<Row> all = BuiltInRows();
  for (Row& peer : peers) all.push_back(std::move(peer));
  for (Row& row : all) {
    if (Wanted(row, absl::GetFlag(FLAGS_rows))) rows.push_back(std::move(row));
  }
  if (absl::GetFlag(FLAGS_list)) {
    PrintRows(rows);
    return 0;
  }
  if (rows.empty()) {
    std::cerr << "bench: no such row; --list names them\n";
    return 2;
  }

  const std::string path = absl::GetFlag(FLAGS_out) + "/run.json";
  std::ofstream file(path);
  if (!file) {
    std::cerr << "bench: cannot write " << path << '\n';
    return 1;
  }
  CatchInterrupts();
  const RunResult result = RunAll(rows, options);
  file << ToJson(rows, options, result, absl::GetFlag(FLAGS_commit)) << std::flush;
  if (!file) {
    std::cerr << "bench: cannot write " << path << '\n';
    return 1;
  }
  bool failed = false;
  for (const Missing& missing : result.missing) {
    if (!missing.failed) continue;
    failed = true;
    std::cerr << "bench: FAILED " << rows[missing.row].name << ", " << missing.cell.size_bytes
              << " B, " << Name(missing.cell.direction) << ", " << Name(missing.cell.placement)
              << ": " << missing.why << '\n';
  }
  if (result.interrupted) return 130;
  return failed ? 1 : 0;
}

}  // namespace parley::bench

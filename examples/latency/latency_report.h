// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_LATENCY_LATENCY_REPORT_H_
#define PARLEY_EXAMPLES_LATENCY_LATENCY_REPORT_H_

// A histogram of times: as text for a person, and as a line of JSON that can be drawn:
//
//   python3 bench/report/histograms.py RUN.jsonl FOLDER
//
// Threads: pure functions; any.
//
//   bench::Histogram times;      // of nanoseconds; Add allocates nothing
//   std::fputs(latency::Describe(times).c_str(), stdout);

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "parley/bench/histogram.h"

namespace parley::latency {

// The percentiles, and a bar for each of at most 24 ranges of time. One line without values.
std::string Describe(const bench::Histogram& times);

// {"name": ..., "count": ..., "p50_ns": ..., "buckets": [[upper end in ns, count], ...]} and a
// newline. `name` is printable ASCII without quotes and backslashes.
std::string JsonLine(std::string_view name, const bench::Histogram& times);

// One line for each; replaces the file.
absl::Status WriteJsonLines(
    const std::string& path,
    const std::vector<std::pair<std::string, const bench::Histogram*>>& histograms);

}  // namespace parley::latency

#endif  // PARLEY_EXAMPLES_LATENCY_LATENCY_REPORT_H_

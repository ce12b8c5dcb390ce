// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/latency/latency_report.h"

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "parley/cli/output_file.h"

namespace parley::latency {
namespace {

using bench::Histogram;

constexpr std::size_t kMaxRows = 24;
constexpr std::size_t kBarLength = 50;

double Microseconds(uint64_t ns) { return static_cast<double>(ns) / 1e3; }

}  // namespace

std::string Describe(const Histogram& times) {
  if (times.total() == 0) return "nothing was measured\n";
  std::string text =
      absl::StrFormat("p50 %.1f us, p99 %.1f us, p99.9 %.1f us, max %.1f us\n",
                      Microseconds(times.Percentile(0.5)), Microseconds(times.Percentile(0.99)),
                      Microseconds(times.Percentile(0.999)), Microseconds(times.max()));
  std::size_t first = 0;
  while (times.count(first) == 0) ++first;
  const std::size_t last = Histogram::Bucket(times.max());
  std::size_t buckets_per_row = 1;
  while (last / buckets_per_row - first / buckets_per_row >= kMaxRows) buckets_per_row *= 2;
  for (std::size_t row = first / buckets_per_row; row <= last / buckets_per_row; ++row) {
    uint64_t count = 0;
    std::size_t end = row * buckets_per_row;
    for (std::size_t i = 0; i < buckets_per_row && end < Histogram::kBuckets; ++i) {
      count += times.count(end++);
    }
    const auto length =
        static_cast<std::size_t>(static_cast<double>(kBarLength) * static_cast<double>(count) /
                                 static_cast<double>(times.total()));
    absl::StrAppendFormat(&text, "  up to %10.1f us %8d %s\n",
                          Microseconds(Histogram::UpperEnd(end - 1)), count,
                          std::string(length, '#'));
  }
  return text;
}

std::string JsonLine(std::string_view name, const Histogram& times) {
  std::string line = absl::StrFormat(
      R"({"name": "%s", "count": %d, "p50_ns": %d, "p99_ns": %d, "p99_9_ns": %d, "max_ns": %d, )",
      name, times.total(), times.Percentile(0.5), times.Percentile(0.99), times.Percentile(0.999),
      times.max());
  absl::StrAppend(&line, R"("buckets": [)");
  const char* separator = "";
  for (std::size_t i = 0; i < Histogram::kBuckets; ++i) {
    if (times.count(i) == 0) continue;
    absl::StrAppend(&line, separator, "[", Histogram::UpperEnd(i), ", ", times.count(i), "]");
    separator = ", ";
  }
  absl::StrAppend(&line, "]}\n");
  return line;
}

absl::Status WriteJsonLines(
    const std::string& path,
    const std::vector<std::pair<std::string, const Histogram*>>& histograms) {
  absl::StatusOr<cli::OutputFile> file = cli::OutputFile::Create(path);
  if (!file.ok()) return file.status();
  for (const auto& [name, times] : histograms) {
    const std::string line = JsonLine(name, *times);
    const std::vector<char> characters(line.begin(), line.end());
    const absl::Status written = file->Write(std::as_bytes(std::span(characters)));
    if (!written.ok()) return written;
  }
  return file->Publish();
}

}  // namespace parley::latency

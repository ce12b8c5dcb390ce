// SPDX-License-Identifier: Apache-2.0
#include "outfuzz/compare.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "parley/os/deadline.h"
#include "parley/sandbox/confine.h"
#include "parley/sandbox/profile.h"

namespace outfuzz {
namespace {

constexpr int kRounds = 5;
constexpr unsigned kHangSeconds = 5;

using LocalTarget = std::function<void(absl::Span<const uint8_t>)>;

// Runs inputs until the deadline; how many.
using Way = std::function<absl::StatusOr<uint64_t>(parley::Deadline)>;

absl::StatusOr<uint64_t> InWorkers(SupervisorOptions options, const std::vector<Input>& inputs,
                                   parley::Deadline deadline) {
  // What waits when the time is over is left undone.
  options.stop = [stop = options.stop, deadline] { return stop() || deadline.Expired(); };
  Supervisor supervisor(std::move(options));
  const absl::Status status = supervisor.Run(
      0, [&](uint64_t number) -> std::optional<Input> { return inputs[number % inputs.size()]; },
      [](const Result& result, const Input&) {
        return result.verdict == Verdict::kOk
                   ? absl::OkStatus()
                   : absl::AbortedError("an input that ended no worker before has ended one");
      });
  if (!status.ok()) return status;
  return supervisor.stats().inputs;
}

[[noreturn]] void RunAsChild(const Input& input, bool confined, const LocalTarget& target) {
  ::alarm(kHangSeconds);
  if (confined) {
    const auto proof = parley::LockDown(parley::Prepared::After(input),
                                        parley::Profile::Ring({}).WithHeap(), {.keep = {}});
    if (!proof.ok()) ::_exit(2);
  }
  target(input);
  ::_exit(0);
}

absl::StatusOr<uint64_t> InForks(const std::vector<Input>& inputs, bool confined,
                                 const LocalTarget& target, const std::function<bool()>& stop,
                                 parley::Deadline deadline) {
  uint64_t count = 0;
  for (; !deadline.Expired() && !stop(); ++count) {
    const pid_t child = ::fork();
    if (child < 0) return absl::ErrnoToStatus(errno, "fork");
    if (child == 0) RunAsChild(inputs[count % inputs.size()], confined, target);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (status != 0) return absl::AbortedError("an input that ended no worker has ended a fork");
  }
  return count;
}

// Of this process and of the children that were waited for.
double CpuSeconds() {
  double seconds = 0;
  for (const auto who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage = {};
    ::getrusage(who, &usage);
    for (const timeval& time : {usage.ru_utime, usage.ru_stime}) {
      seconds += absl::ToDoubleSeconds(absl::DurationFromTimeval(time));
    }
  }
  return seconds;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

absl::StatusOr<std::vector<CompareRow>> Compare(const SupervisorOptions& options,
                                                const std::vector<Input>& inputs,
                                                absl::Duration time, const LocalTarget& target) {
  SupervisorOptions one_each = options;
  one_each.inputs_per_worker = 1;
  const std::vector<std::pair<std::string, Way>> ways = {
      {"one confined worker, inputs over the channel",
       [&](parley::Deadline deadline) { return InWorkers(options, inputs, deadline); }},
      {"fork per input, not confined",
       [&](parley::Deadline deadline) {
         return InForks(inputs, false, target, options.stop, deadline);
       }},
      {"fork per input, confined alike",
       [&](parley::Deadline deadline) {
         return InForks(inputs, true, target, options.stop, deadline);
       }},
      {"new confined worker per input",
       [&](parley::Deadline deadline) { return InWorkers(one_each, inputs, deadline); }},
  };
  std::vector<CompareRow> rows(ways.size());
  std::vector<std::vector<double>> rates(ways.size());
  const absl::Duration slice = time / (kRounds * static_cast<int>(ways.size()));
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < ways.size(); ++i) {
      const double cpu_before = CpuSeconds();
      const int64_t before_ns = parley::MonotonicNowNs();
      const auto count = ways[i].second(parley::Deadline::After(slice));
      if (options.stop()) return absl::CancelledError("interrupted");
      if (!count.ok()) return count.status();
      const double seconds = static_cast<double>(parley::MonotonicNowNs() - before_ns) / 1e9;
      rows[i].way = ways[i].first;
      rows[i].inputs += *count;
      rows[i].cpu_us_each += 1e6 * (CpuSeconds() - cpu_before);
      rates[i].push_back(static_cast<double>(*count) / seconds);
    }
  }
  for (std::size_t i = 0; i < ways.size(); ++i) {
    rows[i].per_second = Median(rates[i]);
    rows[i].cpu_us_each /= static_cast<double>(std::max<uint64_t>(rows[i].inputs, 1));
  }
  return rows;
}

std::string CompareTable(const std::vector<CompareRow>& rows) {
  std::string table = absl::StrFormat("%-46s %10s %12s %8s %12s %8s\n", "way", "inputs",
                                      "per second", "ratio", "CPU us each", "ratio");
  for (const CompareRow& row : rows) {
    absl::StrAppendFormat(&table, "%-46s %10d %12.0f %8.2f %12.1f %8.2f\n", row.way, row.inputs,
                          row.per_second, row.per_second / rows[1].per_second, row.cpu_us_each,
                          rows[1].cpu_us_each / row.cpu_us_each);
  }
  return table;
}

}  // namespace outfuzz

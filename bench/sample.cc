// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/sample.h"

#include <string>
#include <utility>

#include "parley/bench/arena.h"
#include "parley/bench/side.h"

namespace parley::bench {
namespace {

Plan PlanOf(const Cell& cell, const SampleTimes& times) {
  Plan plan;
  plan.ticks_per_ns = times.ticks_per_ns;
  plan.warm_up_ns = times.warm_up_ms * 1e6;
  plan.measured_ns = times.measured_ms * 1e6;
  plan.fixed_count = times.fixed_count;
  plan.probe = times.probe && cell.placement != Placement::kTogether;
  return plan;
}

absl::Status Run(const Row& row, const Cell& cell, const Plan& plan, Arena& arena,
                 absl::Duration limit, SystemCalls* calls) {
  auto body = row.prepare(cell, plan, arena);
  if (!body.ok()) return body.status();
  PairOptions options;
  options.placement = cell.placement;
  options.limit = limit;
  options.count_system_calls = calls != nullptr;
  return RunPair(*std::move(body), arena, options, calls);
}

}  // namespace

std::string Refusal(const Row& row, const Cell& cell) {
  if (!row.missing.empty()) return row.missing;
  if (cell.direction == Direction::kOneWay ? !row.one_way : !row.round_trip) {
    return std::string("not measured ") + std::string(Name(cell.direction));
  }
  if (cell.placement == Placement::kTogether && row.waiting == Waiting::kSpin && !row.solo) {
    return "a spin on one core waits for its time slice to end";
  }
  if (cell.placement != Placement::kApart && row.solo) return "one process";
  return row.refuses ? row.refuses(cell) : std::string();
}

absl::StatusOr<Sample> TakeSample(const Row& row, const Cell& cell, const SampleTimes& times) {
  const SharedArena arena;
  const Plan plan = PlanOf(cell, times);
  if (absl::Status status = Run(row, cell, plan, *arena, times.limit, nullptr); !status.ok()) {
    return status;
  }
  Sample sample;
  sample.cell = cell;
  sample.messages = arena->count;
  const auto ns = [&](uint64_t ticks) { return static_cast<double>(ticks) / plan.ticks_per_ns; };
  const double all_ns = ns(arena->end_ticks - arena->begin_ticks);
  sample.mean_ns = all_ns / static_cast<double>(arena->count);
  sample.wall_s = all_ns * 1e-9;
  const Histogram& histogram = arena->histogram;
  sample.percentiles = {ns(histogram.Percentile(0.5)),    ns(histogram.Percentile(0.9)),
                        ns(histogram.Percentile(0.99)),   ns(histogram.Percentile(0.999)),
                        ns(histogram.Percentile(0.9999)), ns(histogram.max())};
  sample.usage = {arena->side[0].usage, arena->side[1].usage};
  sample.probe = {arena->probe_before_ns, arena->probe_after_ns};
  return sample;
}

absl::StatusOr<std::array<double, 2>> CountSystemCalls(const Row& row, const Cell& cell,
                                                       const SampleTimes& times) {
  const SharedArena arena;
  Plan plan = PlanOf(cell, times);
  plan.probe = false;
  SystemCalls calls;
  if (absl::Status status = Run(row, cell, plan, *arena, times.limit, &calls); !status.ok()) {
    return status;
  }
  const auto messages = static_cast<double>(arena->count);
  return std::array<double, 2>{static_cast<double>(calls.by_side[0]) / messages,
                               static_cast<double>(calls.by_side[1]) / messages};
}

}  // namespace parley::bench

// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/run.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "parley/bench/clock.h"
#include "parley/bench/json.h"
#include "parley/bench/machine.h"
#include "parley/bench/pair.h"
#include "parley/bench/placement.h"
#include "parley/bench/progress.h"

namespace parley::bench {
namespace {

// A row in a cell, as a key.
using Place = std::tuple<std::size_t, Direction, Placement, std::size_t>;
Place PlaceOf(std::size_t row, const Cell& cell) {
  return {row, cell.direction, cell.placement, cell.size_bytes};
}

std::string Describe(const Row& row, const Cell& cell) {
  return row.name + ", " + std::string(Name(cell.direction)) + ", " +
         std::to_string(cell.size_bytes) + " B, " + std::string(Name(cell.placement));
}

class Run {
 public:
  Run(const std::vector<Row>& rows, const RunOptions& options)
      : rows_(rows), options_(options), progress_(0) {
    options_.times.ticks_per_ns = MeasureTicksPerNs();
  }

  RunResult Go() && {
    FindCells();
    progress_.AddSteps(measured_.size() * static_cast<std::size_t>(options_.passes));
    const std::vector<Step> calls = options_.count_system_calls ? CallSteps() : std::vector<Step>();
    progress_.AddSteps(calls.size());
    for (int pass = 0; pass < options_.passes && !Interrupted(); ++pass) {
      for (const Step& step : InTurn(pass)) Measure(step, pass);
    }
    ClassifyAll();
    Again();
    for (const Step& step : calls) Count(step);
    result_.interrupted = Interrupted();
    result_.took = progress_.Elapsed();
    return std::move(result_);
  }

 private:
  struct Step {
    std::size_t row = 0;
    Cell cell;
  };

  std::vector<Cell> Cells() const {
    std::vector<Cell> cells;
    for (const Placement placement : options_.placements) {
      const auto& sizes = placement == Placement::kApart ? options_.sizes : options_.few_sizes;
      for (const Direction direction : options_.directions) {
        for (const std::size_t size : sizes) {
          // A queue holds one message at least, with its header.
          const bool fits = options_.queue_bytes >= 2 * size;
          cells.push_back({direction, placement, size, fits ? options_.queue_bytes : 0});
        }
      }
    }
    return cells;
  }

  // What there is to measure, and what there is not.
  void FindCells() {
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      if (!rows_[row].missing.empty()) {
        result_.missing.push_back({row, true, {}, rows_[row].missing, false});
      }
    }
    for (const Cell& cell : Cells()) {
      for (std::size_t row = 0; row < rows_.size(); ++row) {
        if (!rows_[row].missing.empty()) continue;
        std::string why = Refusal(rows_[row], cell);
        if (why.empty()) {
          measured_.push_back({row, cell});
        } else {
          result_.missing.push_back({row, false, cell, std::move(why), false});
        }
      }
    }
  }

  // All steps, each pass beginning with another cell: a spell of the machine that comes as often as
  // a pass would otherwise always meet the same ones.
  std::vector<Step> InTurn(int pass) const {
    std::vector<Step> steps = measured_;
    const auto begin = static_cast<std::ptrdiff_t>(steps.size() * static_cast<std::size_t>(pass) /
                                                   static_cast<std::size_t>(options_.passes));
    auto first = steps.begin() + begin;
    const auto same_cell = [](const Step& a, const Step& b) {
      return PlaceOf(0, a.cell) == PlaceOf(0, b.cell);
    };
    while (first != steps.begin() && same_cell(*(first - 1), *first)) --first;
    std::rotate(steps.begin(), first, steps.end());
    return steps;
  }

  void Measure(const Step& step, int pass) {
    if (Interrupted() || given_up_.count(PlaceOf(step.row, step.cell)) != 0) {
      return progress_.End();
    }
    progress_.Begin(Describe(rows_[step.row], step.cell));
    auto sample = TakeSample(rows_[step.row], step.cell, options_.times);
    progress_.End();
    if (sample.ok()) {
      sample->row = step.row;
      sample->pass = pass;
      result_.samples.push_back(*sample);
    } else if (!absl::IsCancelled(sample.status())) {
      Fail(step, sample.status());
    }
  }

  // Not tried again: a wait that runs out costs 20 seconds each time.
  void Fail(const Step& step, const absl::Status& status) {
    given_up_.insert(PlaceOf(step.row, step.cell));
    result_.missing.push_back({step.row, false, step.cell, status.ToString(), true});
  }

  // On one processor there is no probe, and no other regime.
  void ClassifyAll() {
    std::vector<Probe> probes;
    for (const Sample& sample : result_.samples) probes.push_back(sample.probe);
    result_.regimes = Classify(probes);
  }

  std::vector<Step> TooFew() const {
    std::map<Place, int> counts;
    for (std::size_t i = 0; i < result_.samples.size(); ++i) {
      const Sample& sample = result_.samples[i];
      if (result_.regimes.of_sample[i] == 0) ++counts[PlaceOf(sample.row, sample.cell)];
    }
    std::vector<Step> few;
    for (const Step& step : measured_) {
      if (step.cell.placement != Placement::kApart) continue;
      const Place place = PlaceOf(step.row, step.cell);
      const auto found = counts.find(place);
      const int count = found == counts.end() ? 0 : found->second;
      if (count < options_.wanted_in_regime && given_up_.count(place) == 0) few.push_back(step);
    }
    return few;
  }

  void Again() {
    const absl::Duration until = progress_.Elapsed() * (1 + options_.longest_again);
    for (int pass = options_.passes; progress_.Elapsed() < until && !Interrupted(); ++pass) {
      const std::vector<Step> few = TooFew();
      if (few.empty()) return;
      progress_.AddSteps(few.size());
      for (const Step& step : few) {
        if (progress_.Elapsed() >= until) return;
        Measure(step, pass);
      }
      ClassifyAll();
    }
  }

  std::vector<Step> CallSteps() const {
    std::vector<Step> steps;
    for (const Step& step : measured_) {
      const std::size_t size = step.cell.size_bytes;
      if (step.cell.placement == Placement::kApart && !rows_[step.row].solo &&
          (size == 64 || size == 65'536)) {
        steps.push_back(step);
      }
    }
    return steps;
  }

  void Count(const Step& step) {
    if (Interrupted() || given_up_.count(PlaceOf(step.row, step.cell)) != 0) {
      return progress_.End();
    }
    progress_.Begin("system calls of " + Describe(rows_[step.row], step.cell));
    SampleTimes times = options_.times;
    times.fixed_count = 200;
    const auto counted = CountSystemCalls(rows_[step.row], step.cell, times);
    progress_.End();
    if (counted.ok()) {
      result_.calls.push_back({step.row, step.cell, *counted});
    } else if (!absl::IsCancelled(counted.status())) {
      result_.missing.push_back({step.row, false, step.cell,
                                 "system calls not counted: " + counted.status().ToString(), true});
    }
  }

  const std::vector<Row>& rows_;
  RunOptions options_;
  Progress progress_;
  RunResult result_;
  std::vector<Step> measured_;
  std::set<Place> given_up_;
};

void WriteCell(JsonWriter& json, const Cell& cell) {
  json.Key("direction").String(Name(cell.direction));
  json.Key("placement").String(Name(cell.placement));
  json.Key("size").Number(static_cast<double>(cell.size_bytes));
}

void WriteUsage(JsonWriter& json, const Usage& usage) {
  json.BeginObject().Key("user_s").Number(usage.user_s).Key("system_s").Number(usage.system_s);
  json.Key("voluntary_switches").Number(static_cast<double>(usage.voluntary_switches));
  json.Key("involuntary_switches").Number(static_cast<double>(usage.involuntary_switches));
  json.EndObject();
}

void WriteSample(JsonWriter& json, const Row& row, const Sample& sample, int regime) {
  json.BeginObject().Key("row").String(row.name);
  WriteCell(json, sample.cell);
  json.Key("pass").Number(sample.pass);
  json.Key("messages").Number(static_cast<double>(sample.messages));
  json.Key("mean_ns").Number(sample.mean_ns);
  const Percentiles& p = sample.percentiles;
  json.Key("p50_ns").Number(p.p50).Key("p90_ns").Number(p.p90).Key("p99_ns").Number(p.p99);
  json.Key("p99_9_ns").Number(p.p999).Key("p99_99_ns").Number(p.p9999);
  json.Key("max_ns").Number(p.max);
  json.Key("wall_s").Number(sample.wall_s).Key("usage").BeginArray();
  for (const Usage& usage : sample.usage) WriteUsage(json, usage);
  json.EndArray();
  json.Key("probe_before_ns").Number(sample.probe.before_ns);
  json.Key("probe_after_ns").Number(sample.probe.after_ns);
  json.Key("regime").Number(regime).EndObject();
}

}  // namespace

RunOptions FullRun() {
  RunOptions options;
  options.sizes = {8, 64, 256, 1024, 4096, 16'384, 65'536, 262'144, 1'048'576, 4'194'304};
  options.few_sizes = {64, 4096, 65'536, 1'048'576};
  options.placements = {Placement::kApart, Placement::kUnpinned, Placement::kTogether};
  return options;
}

RunOptions QuickRun() {
  RunOptions options;
  options.quick = true;
  options.passes = 3;
  options.times.warm_up_ms = 2;
  options.times.measured_ms = 8;
  options.sizes = {8, 64, 1024, 65'536, 1'048'576, 4'194'304};
  options.few_sizes = {64};
  options.placements = {Placement::kApart, Placement::kTogether};
  options.wanted_in_regime = 2;
  return options;
}

RunResult RunAll(const std::vector<Row>& rows, const RunOptions& options) {
  return Run(rows, options).Go();
}

std::string ToJson(const std::vector<Row>& rows, const RunOptions& options, const RunResult& result,
                   const std::string& commit) {
  JsonWriter json;
  json.BeginObject().Key("format").Number(1).Key("machine").BeginObject();
  for (const auto& [name, value] : DescribeMachine()) json.Key(name).String(value);
  json.Key("commit").String(commit);
  json.EndObject();

  json.Key("run").BeginObject();
  json.Key("kind").String(options.quick ? "quick" : "full");
  json.Key("interrupted").Bool(result.interrupted);
  json.Key("seconds").Number(absl::ToDoubleSeconds(result.took));
  json.Key("passes").Number(options.passes);
  json.Key("warm_up_ms").Number(options.times.warm_up_ms);
  json.Key("measured_ms").Number(options.times.measured_ms);
  json.Key("queue_bytes").Number(static_cast<double>(options.queue_bytes));
  json.Key("sizes").BeginArray();
  for (const std::size_t size : options.sizes) json.Number(static_cast<double>(size));
  json.EndArray().EndObject();

  json.Key("regimes").BeginArray();
  for (const Regime& regime : result.regimes.regimes) {
    json.BeginObject().Key("centre_ns").Number(regime.centre_ns);
    json.Key("samples").Number(static_cast<double>(regime.samples)).EndObject();
  }
  json.EndArray();

  json.Key("rows").BeginArray();
  for (const Row& row : rows) {
    json.BeginObject().Key("name").String(row.name).Key("family").String(row.family);
    json.Key("waiting").String(Name(row.waiting)).Key("note").String(row.note);
    json.Key("missing").String(row.missing).EndObject();
  }
  json.EndArray();

  json.Key("missing").BeginArray();
  for (const Missing& missing : result.missing) {
    json.BeginObject().Key("row").String(rows[missing.row].name);
    json.Key("why").String(missing.why).Key("failed").Bool(missing.failed);
    json.Key("whole_row").Bool(missing.whole_row);
    if (!missing.whole_row) WriteCell(json, missing.cell);
    json.EndObject();
  }
  json.EndArray();

  json.Key("system_calls").BeginArray();
  for (const CallCount& count : result.calls) {
    json.BeginObject().Key("row").String(rows[count.row].name);
    WriteCell(json, count.cell);
    json.Key("sender").Number(count.per_message[0]).Key("receiver").Number(count.per_message[1]);
    json.EndObject();
  }
  json.EndArray();

  json.Key("samples").BeginArray();
  for (std::size_t i = 0; i < result.samples.size(); ++i) {
    const Sample& sample = result.samples[i];
    WriteSample(json, rows[sample.row], sample, result.regimes.of_sample[i]);
  }
  json.EndArray().EndObject();
  return json.text() + "\n";
}

}  // namespace parley::bench

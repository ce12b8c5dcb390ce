// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/presets/study.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include "parley/bench/arena.h"
#include "parley/bench/clock.h"
#include "parley/bench/json.h"
#include "parley/bench/machine.h"
#include "parley/bench/pair.h"
#include "parley/bench/presets/ends.h"
#include "parley/bench/progress.h"

namespace parley::bench {
namespace {

constexpr std::array kDirections = {Direction::kOneWay, Direction::kRoundTrip};

// The control sends nothing, so it has one direction. A spin at low rates is only long.
bool Measured(Preset preset, Direction direction, double rate_hz) {
  if (preset == Preset::kControl) return direction == Direction::kOneWay && rate_hz > 0;
  return preset != Preset::kPureSpin || rate_hz == 0 || rate_hz >= 1'000;
}

std::vector<Load> OnePass(const PresetOptions& options) {
  std::vector<Load> loads;
  for (const Rate& rate : options.rates) {
    for (const Direction direction : kDirections) {
      for (const Preset preset : kPresets) {
        if (!Measured(preset, direction, rate.hz)) continue;
        Load load;
        load.preset = preset;
        load.direction = direction;
        load.rate_hz = rate.hz;
        // Long enough for the spin to have learned the gaps, where the rate gives it any.
        load.warm_up_s = rate.hz == 0 ? 0.05 : std::clamp(20 / rate.hz, 0.05, 2.0);
        load.measured_s = rate.measured_s;
        loads.push_back(load);
      }
    }
  }
  return loads;
}

PresetSample Measure(const Load& load) {
  const SharedArena arena;
  PresetSample sample;
  sample.load = load;
  const auto result = RunLoad(load, *arena);
  if (!result.ok()) {
    sample.failed = result.status().ToString();
    return sample;
  }
  sample.result = *result;
  const Histogram& histogram = arena->histogram;
  const auto ns = [&](uint64_t ticks) { return static_cast<double>(ticks) / load.ticks_per_ns; };
  sample.percentiles = {ns(histogram.Percentile(0.5)),    ns(histogram.Percentile(0.9)),
                        ns(histogram.Percentile(0.99)),   ns(histogram.Percentile(0.999)),
                        ns(histogram.Percentile(0.9999)), ns(histogram.max())};
  return sample;
}

void WriteEnd(JsonWriter& json, const EndCost& cost) {
  json.BeginObject().Key("processor_s").Number(cost.usage.user_s + cost.usage.system_s);
  json.Key("pacing_spin_s").Number(cost.spun_s).Key("wall_s").Number(cost.wall_s);
  const int64_t switches = cost.usage.voluntary_switches + cost.usage.involuntary_switches;
  json.Key("switches").Number(static_cast<double>(switches)).EndObject();
}

void WriteSample(JsonWriter& json, const PresetSample& sample) {
  const Percentiles& p = sample.percentiles;
  json.BeginObject().Key("preset").String(Name(sample.load.preset));
  json.Key("direction").String(Name(sample.load.direction)).Key("rate").Number(sample.load.rate_hz);
  json.Key("pass").Number(sample.pass).Key("failed").String(sample.failed);
  json.Key("messages").Number(static_cast<double>(sample.result.messages));
  json.Key("p50_ns").Number(p.p50).Key("p90_ns").Number(p.p90).Key("p99_ns").Number(p.p99);
  json.Key("p99_9_ns").Number(p.p999).Key("max_ns").Number(p.max).Key("ends").BeginArray();
  for (const EndCost& cost : sample.result.ends) WriteEnd(json, cost);
  json.EndArray().EndObject();
}

}  // namespace

PresetOptions FullPresets() { return {3, {{1, 10}, {60, 4}, {1'000, 2}, {100'000, 1}, {0, 0.5}}}; }

PresetOptions QuickPresets() {
  return {1, {{1, 2}, {60, 1}, {1'000, 0.5}, {100'000, 0.3}, {0, 0.2}}};
}

std::vector<PresetSample> MeasurePresets(const PresetOptions& options) {
  const std::vector<Load> loads = OnePass(options);
  const double ticks_per_ns = MeasureTicksPerNs();
  std::vector<PresetSample> samples;
  Progress progress(loads.size() * static_cast<std::size_t>(options.passes));
  for (int pass = 0; pass < options.passes; ++pass) {
    for (Load load : loads) {
      if (Interrupted()) return samples;
      progress.Begin(std::string(Name(load.preset)) + ", " +
                     std::to_string(static_cast<int>(load.rate_hz)) + " Hz");
      load.ticks_per_ns = ticks_per_ns;
      PresetSample sample = Measure(load);
      sample.pass = pass;
      samples.push_back(std::move(sample));
      progress.End();
    }
  }
  return samples;
}

std::string ToJson(const std::vector<PresetSample>& samples, const std::string& commit) {
  JsonWriter json;
  json.BeginObject().Key("machine").BeginObject();
  for (const auto& [name, value] : DescribeMachine()) json.Key(name).String(value);
  json.Key("commit").String(commit).EndObject();
  json.Key("samples").BeginArray();
  for (const PresetSample& sample : samples) WriteSample(json, sample);
  json.EndArray().EndObject();
  return json.text() + "\n";
}

}  // namespace parley::bench

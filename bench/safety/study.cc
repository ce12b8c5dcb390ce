// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/safety/study.h"

#include <algorithm>
#include <cstddef>

#include "parley/bench/clock.h"
#include "parley/bench/json.h"
#include "parley/bench/machine.h"
#include "parley/bench/pair.h"
#include "parley/bench/progress.h"

namespace parley::bench {
namespace {

void Measure(const Case& one, double ticks_per_ns, SafetyTimes& times) {
  if (one.measure) {
    const auto ns = one.measure(one.at_once);
    if (ns.ok()) {
      times.ns.push_back(*ns);
    } else {
      times.failed = ns.status().ToString();
    }
    return;
  }
  const uint64_t begin = Ticks();
  one.run(one.at_once);
  const auto ticks = static_cast<double>(Ticks() - begin);
  times.ns.push_back(ticks / ticks_per_ns / static_cast<double>(one.at_once));
}

}  // namespace

std::vector<SafetyTimes> MeasureSafety(const std::vector<Case>& cases, int turns) {
  const double ticks_per_ns = MeasureTicksPerNs();
  std::vector<SafetyTimes> all;
  for (const Case& one : cases) all.push_back({one.what, one.variant, {}, ""});
  Progress progress(cases.size() * static_cast<std::size_t>(turns));
  for (int turn = 0; turn < turns; ++turn) {
    for (std::size_t i = 0; i < cases.size(); ++i) {
      if (Interrupted()) return all;
      progress.Begin(cases[i].what + ", " + cases[i].variant);
      if (all[i].failed.empty()) Measure(cases[i], ticks_per_ns, all[i]);
      progress.End();
    }
  }
  return all;
}

std::string TimesToJson(const std::vector<SafetyTimes>& times) {
  JsonWriter json;
  json.BeginArray();
  for (const SafetyTimes& one : times) {
    if (one.ns.empty()) continue;
    std::vector<double> sorted = one.ns;
    std::sort(sorted.begin(), sorted.end());
    json.BeginObject().Key("what").String(one.what).Key("variant").String(one.variant);
    json.Key("ns").Number(sorted[sorted.size() / 2]).Key("low_ns").Number(sorted.front());
    json.Key("high_ns").Number(sorted.back()).EndObject();
  }
  json.EndArray();
  return json.text() + "\n";
}

std::string ToJson(const std::vector<SafetyTimes>& times, const std::string& commit) {
  JsonWriter json;
  json.BeginObject().Key("machine").BeginObject();
  for (const auto& [name, value] : DescribeMachine()) json.Key(name).String(value);
  json.Key("commit").String(commit).EndObject();
  json.Key("cases").BeginArray();
  for (const SafetyTimes& one : times) {
    json.BeginObject().Key("what").String(one.what).Key("variant").String(one.variant);
    json.Key("failed").String(one.failed).Key("ns").BeginArray();
    for (const double ns : one.ns) json.Number(ns);
    json.EndArray().EndObject();
  }
  json.EndArray().EndObject();
  return json.text() + "\n";
}

}  // namespace parley::bench

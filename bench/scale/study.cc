// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/scale/study.h"

#include <array>
#include <utility>

#include "parley/bench/clock.h"
#include "parley/bench/json.h"
#include "parley/bench/machine.h"
#include "parley/bench/pair.h"
#include "parley/bench/progress.h"

namespace parley::bench {
namespace {

constexpr std::array kRingMessages = {std::size_t{64}, std::size_t{64} << 10};

void AddChannels(const ScaleOptions& options, Progress& progress, ScaleResult& result) {
  for (const std::size_t count : options.channels) {
    if (Interrupted()) return;
    progress.Begin(std::to_string(count) + " channels");
    auto measured = MeasureChannels(count);
    if (measured.ok()) {
      result.channels.push_back(*std::move(measured));
    } else {
      result.failed.push_back(std::to_string(count) + " channels: " + measured.status().ToString());
    }
    progress.End();
  }
}

void AddRings(const ScaleOptions& options, Progress& progress, ScaleResult& result) {
  SampleTimes times = options.times;
  times.ticks_per_ns = MeasureTicksPerNs();
  for (int pass = 0; pass < options.passes; ++pass) {
    for (const std::size_t ring : options.ring_bytes) {
      for (const std::size_t size : kRingMessages) {
        if (Interrupted()) return;
        progress.Begin("a ring of " + std::to_string(ring >> 10) + " KiB");
        if (Fits(ring, size)) {
          const auto sample = MeasureRing(ring, size, times);
          if (sample.ok()) {
            result.rings.push_back(*sample);
          } else {
            result.failed.push_back("a ring of " + std::to_string(ring) +
                                    " B: " + sample.status().ToString());
          }
        }
        progress.End();
      }
    }
  }
}

void WriteFootprint(JsonWriter& json, const Footprint& footprint) {
  json.BeginObject().Key("rss").Number(static_cast<double>(footprint.rss_bytes));
  json.Key("shmem").Number(static_cast<double>(footprint.shmem_bytes));
  json.Key("anon").Number(static_cast<double>(footprint.anon_bytes));
  json.Key("mappings").Number(static_cast<double>(footprint.mappings));
  json.Key("descriptors").Number(static_cast<double>(footprint.descriptors)).EndObject();
}

void WriteChannels(JsonWriter& json, const ChannelsResult& channels) {
  json.BeginObject().Key("channels").Number(static_cast<double>(channels.channels));
  json.Key("set_up_s").Number(channels.set_up_s).Key("before");
  WriteFootprint(json, channels.before);
  json.Key("after");
  WriteFootprint(json, channels.after);
  json.Key("one_ready_ns").Number(channels.one_ready_ns);
  json.Key("all_ready_ns").Number(channels.all_ready_ns);
  json.Key("arm_ns").Number(channels.arm_ns).Key("poll_ns").Number(channels.poll_ns).EndObject();
}

void WriteRing(JsonWriter& json, const RingSample& ring) {
  json.BeginObject().Key("ring").Number(static_cast<double>(ring.ring_bytes));
  json.Key("size").Number(static_cast<double>(ring.size_bytes));
  json.Key("set_up_s").Number(ring.set_up_s).Key("message_ns").Number(ring.message_ns);
  json.Key("probe_before_ns").Number(ring.probe.before_ns);
  json.Key("probe_after_ns").Number(ring.probe.after_ns).EndObject();
}

void WriteDrift(JsonWriter& json, const DriftOptions& options, const DriftResult& drift) {
  json.BeginObject().Key("seconds").Number(options.seconds);
  json.Key("window_s").Number(options.window_s);
  json.Key("messages").Number(static_cast<double>(drift.messages)).Key("per_second").BeginArray();
  for (std::size_t i = 0; i < drift.windows; ++i) json.Number(drift.per_second[i]);
  json.EndArray().Key("begin").BeginArray();
  for (const Footprint& footprint : drift.begin) WriteFootprint(json, footprint);
  json.EndArray().Key("end").BeginArray();
  for (const Footprint& footprint : drift.end) WriteFootprint(json, footprint);
  json.EndArray().EndObject();
}

}  // namespace

std::vector<std::size_t> AllRingBytes() {
  std::vector<std::size_t> all;
  for (std::size_t bytes = 4096; bytes <= std::size_t{1} << 30; bytes *= 4) all.push_back(bytes);
  return all;
}

ScaleResult MeasureScale(const ScaleOptions& options) {
  ScaleResult result;
  {
    Progress progress(options.channels.size() + options.ring_bytes.size() * kRingMessages.size() *
                                                    static_cast<std::size_t>(options.passes));
    AddChannels(options, progress, result);
    AddRings(options, progress, result);
  }
  if (options.drift.has_value() && !Interrupted()) {
    auto drift = MeasureDrift(*options.drift);
    if (drift.ok()) {
      result.drift = *std::move(drift);
    } else {
      result.failed.push_back("flat out: " + drift.status().ToString());
    }
  }
  return result;
}

std::string ToJson(const ScaleOptions& options, const ScaleResult& result,
                   const std::string& commit) {
  JsonWriter json;
  json.BeginObject().Key("machine").BeginObject();
  for (const auto& [name, value] : DescribeMachine()) json.Key(name).String(value);
  json.Key("commit").String(commit).EndObject();
  json.Key("channels").BeginArray();
  for (const ChannelsResult& channels : result.channels) WriteChannels(json, channels);
  json.EndArray().Key("rings").BeginArray();
  for (const RingSample& ring : result.rings) WriteRing(json, ring);
  json.EndArray().Key("drift").BeginArray();
  if (result.drift.has_value()) WriteDrift(json, *options.drift, *result.drift);
  json.EndArray().Key("failed").BeginArray();
  for (const std::string& failed : result.failed) json.String(failed);
  json.EndArray().EndObject();
  return json.text() + "\n";
}

}  // namespace parley::bench

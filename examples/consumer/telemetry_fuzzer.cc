// SPDX-License-Identifier: Apache-2.0

// A fuzz target for a message handler of one's own: the input plays the sensor process.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "parley/os/deadline.h"
#include "parley/testing/hostile_peer.h"
#include "telemetry.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  parley::testing::HostilePeer sensor(data, size);
  TelemetryReceiver readings(std::move(sensor.victim().receiver));
  uint64_t last_time_ns = 0;
  while (sensor.Act()) {
    const auto reading = readings.Next(parley::Deadline::AtMonotonicNs(0));  // looks, never waits
    if (!reading.ok()) continue;
    // What telemetry.h promises of a reading, whatever was sent.
    const bool known = reading->sensor == Reading::Sensor::kTemperature ||
                       reading->sensor == Reading::Sensor::kPressure;
    if (!known || !std::isfinite(reading->value) || reading->time_ns < last_time_ns) std::abort();
    last_time_ns = reading->time_ns;
  }
  return 0;
}

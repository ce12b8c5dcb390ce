// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_CONSUMER_TELEMETRY_H_
#define PARLEY_EXAMPLES_CONSUMER_TELEMETRY_H_

// Readings of a machine's sensors, from a process that is not trusted.
//
// The pattern for a protocol on a channel: a wire type, a sender that fills it, and a receiver that
// turns bytes into a validated value, or into the end of the channel.
//
//   TelemetryReceiver readings(std::move(channel->receiver));
//   absl::StatusOr<Reading> reading = readings.Next(deadline);

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/channel/channel.h"
#include "parley/os/deadline.h"

struct Reading {
  enum class Sensor : uint32_t { kTemperature = 1, kPressure = 2 };
  Sensor sensor = Sensor::kTemperature;
  uint64_t time_ns = 0;  // never before the reading that came earlier
  double value = 0;      // finite
};

class TelemetrySender {
 public:
  explicit TelemetrySender(parley::Sender sender) : sender_(std::move(sender)) {}
  absl::Status Send(const Reading& reading, parley::Deadline deadline);
  void Close() { sender_.Close(); }

 private:
  parley::Sender sender_;
};

class TelemetryReceiver {
 public:
  explicit TelemetryReceiver(parley::Receiver receiver)
      : receiver_(std::move(receiver)), buffer_(receiver_.max_message_bytes()) {}
  // Errors as for Receiver::Receive. A reading that no honest sensor sends ends the channel with
  // kDataLoss, for good.
  absl::StatusOr<Reading> Next(parley::Deadline deadline);

 private:
  parley::Receiver receiver_;
  std::vector<std::byte> buffer_;
  uint64_t last_time_ns_ = 0;
};

#endif  // PARLEY_EXAMPLES_CONSUMER_TELEMETRY_H_

// SPDX-License-Identifier: Apache-2.0
#include "telemetry.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <optional>

#include "absl/types/span.h"
#include "parley/boundary/violation.h"
#include "parley/boundary/wire_copy.h"
#include "parley/boundary/wire_type.h"

namespace {

constexpr uint32_t kReadingTag = 1;

// No padding, no pointer, every bit pattern valid: Parley checks that when it compiles.
struct ReadingWire {
  uint64_t time_ns;
  double value;
  uint32_t sensor;
  uint32_t reserved;
};
static_assert(parley::WireType<ReadingWire> && sizeof(ReadingWire) == 24);

// `wire` is a private copy; its content is the peer's.
std::optional<Reading> Validate(const ReadingWire& wire, uint64_t last_time_ns) {
  if (wire.reserved != 0 || !std::isfinite(wire.value) || wire.time_ns < last_time_ns) return {};
  if (wire.sensor != uint32_t{1} && wire.sensor != uint32_t{2}) return {};
  return Reading{static_cast<Reading::Sensor>(wire.sensor), wire.time_ns, wire.value};
}

}  // namespace

absl::Status TelemetrySender::Send(const Reading& reading, parley::Deadline deadline) {
  const ReadingWire wire = {reading.time_ns, reading.value, static_cast<uint32_t>(reading.sensor),
                            0};
  return sender_.Send(kReadingTag, parley::WireBytes(wire), deadline);
}

absl::StatusOr<Reading> TelemetryReceiver::Next(parley::Deadline deadline) {
  auto record = receiver_.Receive(absl::MakeSpan(buffer_), deadline);
  if (!record.ok()) return record.status();
  ReadingWire wire;
  std::optional<Reading> reading;
  if (record->tag == kReadingTag && record->size_bytes == sizeof(wire) &&
      parley::ReadWire(absl::MakeConstSpan(buffer_), &wire)) {
    reading = Validate(wire, last_time_ns_);
  }
  if (!reading) {
    receiver_.Poison(parley::Violation::kMetadataInvalid);
    return absl::DataLossError("the sensor process sent what is no reading");
  }
  last_time_ns_ = reading->time_ns;
  return *reading;
}

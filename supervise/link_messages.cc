// SPDX-License-Identifier: Apache-2.0
#include "parley/supervise/link_messages.h"

#include <string>
#include <string_view>

#include "parley/boundary/untrusted.h"
#include "parley/boundary/wire_copy.h"
#include "parley/sandbox/printable.h"
#include "parley/supervise/link_wire.h"

namespace parley::internal {
namespace {

// The last code of absl::StatusCode, kUnauthenticated.
constexpr uint32_t kLastCode = 16;

// The message's struct and the text behind it, of which the struct says how long it is.
template <typename Wire, typename Accept>
std::optional<Wire> Take(absl::Span<const std::byte> message, Accept accept) {
  Wire fetched;
  if (!ReadWire(message, &fetched)) return std::nullopt;
  const std::size_t rest_bytes = message.size() - sizeof(Wire);
  // TRUST: a code that there is, and exactly as much text as was sent, which is not too much.
  const auto valid = Untrusted<Wire>(fetched).Validate([&](const Wire& w) {
    return w.code <= kLastCode && w.text_bytes == rest_bytes &&
           w.text_bytes <= kMaxFailureTextBytes && accept(w);
  });
  if (!valid) return std::nullopt;
  return *valid;
}

absl::Status StatusOf(uint32_t code, absl::Span<const std::byte> text) {
  std::string raw;
  for (const std::byte byte : text) raw += static_cast<char>(byte);
  return absl::Status(static_cast<absl::StatusCode>(code), Printable(raw, kMaxFailureTextBytes));
}

}  // namespace

std::optional<ReadRequest> ParseRead(absl::Span<const std::byte> message, std::size_t max_bytes) {
  ReadRequestWire fetched;
  if (message.size() != sizeof(ReadRequestWire) || !ReadWire(message, &fetched))
    return std::nullopt;
  // TRUST: at least one byte, and no more than one answer holds.
  const auto valid = Untrusted<ReadRequestWire>(fetched).Validate([&](const ReadRequestWire& r) {
    return r.reserved == 0 && r.size_bytes > 0 && r.size_bytes <= max_bytes;
  });
  if (!valid) return std::nullopt;
  return ReadRequest{(*valid).offset, (*valid).size_bytes};
}

std::optional<absl::Status> ParseFailed(absl::Span<const std::byte> message) {
  const auto failed = Take<FailedWire>(message, [](const FailedWire& f) { return f.code != 0; });
  if (!failed.has_value()) return std::nullopt;
  return StatusOf(failed->code, message.subspan(sizeof(FailedWire)));
}

std::optional<uint64_t> ParseAcknowledged(absl::Span<const std::byte> message, uint32_t epoch,
                                          uint64_t oldest, uint64_t newest) {
  AcknowledgedWire fetched;
  if (message.size() != sizeof(fetched) || !ReadWire(message, &fetched)) return std::nullopt;
  // TRUST: of this worker's own epoch, and a message that it has.
  const auto valid = Untrusted<AcknowledgedWire>(fetched).Validate([&](const AcknowledgedWire& a) {
    return a.reserved == 0 && a.epoch == epoch && a.number >= oldest && a.number <= newest;
  });
  if (!valid) return std::nullopt;
  return (*valid).number;
}

std::optional<absl::Status> ParseJobDone(absl::Span<const std::byte> message, uint64_t number) {
  const auto done = Take<JobDoneWire>(message, [](const JobDoneWire&) { return true; });
  if (!done.has_value() || done->number != number) return std::nullopt;
  if (done->code == 0) return absl::OkStatus();
  return StatusOf(done->code, message.subspan(sizeof(JobDoneWire)));
}

}  // namespace parley::internal

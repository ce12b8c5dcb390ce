#include "parley/handshake/wire.h"

#include <bit>
#include <cstring>
#include <span>

#include "parley/boundary/wire_copy.h"
#include "parley/os/check.h"
#include "parley/ring/ring_types.h"

namespace parley {
namespace {

static_assert(std::endian::native == std::endian::little, "the wire format is little-endian");

absl::Status Malformed(const char* what) {
  return absl::InvalidArgumentError(std::string("malformed handshake message: ") + what);
}

MessageHeaderWire Header(MessageType type, std::size_t fixed_bytes, std::size_t format_bytes) {
  return {kWireMagic, 1, static_cast<uint16_t>(type),
          static_cast<uint32_t>(fixed_bytes + format_bytes), static_cast<uint32_t>(format_bytes)};
}

absl::Status CheckHeader(const MessageHeaderWire& header, std::size_t message_bytes) {
  // TRUST: magic, header version and length are exactly what this version writes.
  if (header.magic != kWireMagic) return Malformed("not Parley's magic number");
  if (header.version != 1) return Malformed("unknown header version");
  if (header.size_bytes != message_bytes) return Malformed("announced length is not the real one");
  return absl::OkStatus();
}

// The fixed part of a message of one type, and the length of the blob behind it checked.
template <WireType T>
absl::Status ReadFixed(absl::Span<const std::byte> message, MessageType type,
                       std::size_t max_format_bytes, T* out) {
  if (!ReadWire(message, out)) return Malformed("too short");
  if (absl::Status status = CheckHeader(out->header, message.size()); !status.ok()) return status;
  if (out->header.type != static_cast<uint16_t>(type)) return Malformed("unexpected type");
  // TRUST: the blob's length is what is left of the message, and within the limit.
  if (out->header.format_bytes != message.size() - sizeof(T)) return Malformed("format length");
  if (out->header.format_bytes > max_format_bytes) return Malformed("format too long");
  return absl::OkStatus();
}

std::string FormatOf(absl::Span<const std::byte> message, std::size_t fixed_bytes) {
  std::string format(message.size() - fixed_bytes, '\0');
  if (!format.empty()) std::memcpy(format.data(), message.data() + fixed_bytes, format.size());
  return format;
}

bool RolesOk(uint32_t roles) { return roles >= 1 && roles <= (kRoleSends | kRoleReceives); }

// A direction that exists has a ring that can be built; one that does not is all zero. In a Hello,
// zero also means "no preference".
absl::Status CheckDirection(const DirectionWire& wire, bool exists, bool zero_allowed,
                            DirectionSpec* out) {
  const bool all_zero = wire.capacity_bytes == 0 && wire.max_message_bytes == 0;
  const FrameGeometry frames = {wire.frames, uint64_t{wire.frame_units} * kFrameUnitBytes};
  // TRUST: none, or up to 64 of one length, whose sum is far from overflow.
  if (!IsValid(frames) || (!exists && frames.count != 0)) return Malformed("impossible frames");
  if (!exists && !all_zero) return Malformed("sizes for a direction that does not exist");
  const bool valid = IsValid(RingGeometry{wire.capacity_bytes, wire.max_message_bytes}) &&
                     wire.max_message_bytes >= kMinMessageLimitBytes;
  // TRUST: a power of two within the format's limits, and a message length that fits it and is long
  // enough for small messages.
  if (exists && !valid && !(zero_allowed && all_zero)) return Malformed("impossible ring size");
  *out = {wire.capacity_bytes, wire.max_message_bytes, frames};
  return absl::OkStatus();
}

template <WireType T>
std::vector<std::byte> Encode(const T& fixed) {
  const auto bytes = WireBytes(fixed);
  return {bytes.begin(), bytes.end()};
}

// Only for messages that have a blob: with an empty one by default, g++ 14 at -O2 warns of a copy
// beyond the end, which it cannot rule out.
template <WireType T>
std::vector<std::byte> Encode(const T& fixed, const std::string& format) {
  std::vector<std::byte> message = Encode(fixed);
  const auto blob = std::as_bytes(std::span(format));
  message.insert(message.end(), blob.begin(), blob.end());
  return message;
}

DirectionWire ToWire(const DirectionSpec& spec) {
  PARLEY_CHECK(IsValid(spec.frames), "frames: up to 64, of a multiple of 4 KiB below 256 MiB each");
  return {spec.capacity_bytes, spec.max_message_bytes, static_cast<uint16_t>(spec.frames.count),
          static_cast<uint16_t>(spec.frames.frame_bytes / kFrameUnitBytes)};
}

}  // namespace

const char* ToString(RefusalReason reason) {
  switch (reason) {
    case RefusalReason::kMalformed:
      return "it did not understand our message";
    case RefusalReason::kVersion:
      return "it speaks no version of the protocol that we do";
    case RefusalReason::kFeatures:
      return "it does not know a feature that we asked for";
    case RefusalReason::kRoles:
      return "its directions do not match ours (who sends, who receives)";
    case RefusalReason::kSize:
      return "its limits or its own messages do not allow the sizes asked for";
    case RefusalReason::kIdentity:
      return "its policy does not admit this process";
    case RefusalReason::kDoorbell:
      return "there is no doorbell that both sides can use";
    case RefusalReason::kFormat:
      return "it does not accept the format";
    case RefusalReason::kResources:
      return "it is out of memory or descriptors";
    case RefusalReason::kBusy:
      return "too many handshakes are under way there; try again later";
    case RefusalReason::kMemory:
      return "the shared memory was not as agreed";
    case RefusalReason::kDeadline:
      return "the handshake took too long";
    case RefusalReason::kUnfinished:
      return "too much is out with unfinished handshakes of this user; try again later";
  }
  return "for a reason that this version does not know";
}

absl::StatusOr<MessageType> PeekType(absl::Span<const std::byte> message) {
  MessageHeaderWire header;
  if (!ReadWire(message, &header)) return Malformed("too short");
  if (absl::Status status = CheckHeader(header, message.size()); !status.ok()) return status;
  // TRUST: one of the five types.
  const uint16_t type = header.type;
  if (type < static_cast<uint16_t>(MessageType::kHello) ||
      type > static_cast<uint16_t>(MessageType::kRefused)) {
    return Malformed("unknown type");
  }
  return static_cast<MessageType>(type);
}

absl::StatusOr<Hello> ParseHello(absl::Span<const std::byte> message) {
  HelloWire wire{};
  absl::Status status = ReadFixed(message, MessageType::kHello, kMaxFormatBytes, &wire);
  if (!status.ok()) return status;
  if (wire.version_min == 0 || wire.version_min > wire.version_max) {
    return Malformed("impossible version range");
  }
  if (!RolesOk(wire.roles)) return Malformed("impossible roles");
  if (wire.doorbells == 0) return Malformed("no doorbell offered");
  Hello hello;
  hello.version_min = wire.version_min;
  hello.version_max = wire.version_max;
  hello.features = wire.features;
  hello.roles = wire.roles;
  hello.doorbells = wire.doorbells;
  status = CheckDirection(wire.send, (wire.roles & kRoleSends) != 0, true, &hello.send);
  if (!status.ok()) return status;
  status = CheckDirection(wire.receive, (wire.roles & kRoleReceives) != 0, true, &hello.receive);
  if (!status.ok()) return status;
  hello.format = FormatOf(message, sizeof(HelloWire));
  return hello;
}

absl::StatusOr<Welcome> ParseWelcome(absl::Span<const std::byte> message) {
  WelcomeWire wire;
  absl::Status status = ReadFixed(message, MessageType::kWelcome, kMaxFormatBytes, &wire);
  if (!status.ok()) return status;
  if (wire.version != kWireVersion) return Malformed("a version that was not offered");
  if (wire.reserved != 0) return Malformed("reserved field not zero");
  if ((wire.features & ~kKnownFeatures) != 0) return Malformed("a feature that was not offered");
  if (!RolesOk(wire.roles)) return Malformed("impossible roles");
  if (wire.doorbell != kDoorbellEventfd && wire.doorbell != kDoorbellSocket &&
      wire.doorbell != kDoorbellFutex) {
    return Malformed("unknown doorbell");
  }
  Welcome welcome;
  welcome.version = wire.version;
  welcome.features = wire.features;
  welcome.roles = wire.roles;
  welcome.doorbell = wire.doorbell;
  welcome.channel_id = wire.channel_id;
  status = CheckDirection(wire.send, (wire.roles & kRoleSends) != 0, false, &welcome.send);
  if (!status.ok()) return status;
  status = CheckDirection(wire.receive, (wire.roles & kRoleReceives) != 0, false, &welcome.receive);
  if (!status.ok()) return status;
  welcome.format = FormatOf(message, sizeof(WelcomeWire));
  return welcome;
}

absl::Status ParseChannelId(absl::Span<const std::byte> message, MessageType expected,
                            const ChannelId& id) {
  ChannelIdWire wire;
  if (absl::Status status = ReadFixed(message, expected, 0, &wire); !status.ok()) return status;
  if (wire.channel_id != id) return Malformed("another channel's id");
  return absl::OkStatus();
}

absl::StatusOr<RefusalReason> ParseRefused(absl::Span<const std::byte> message) {
  RefusedWire wire{};
  absl::Status status = ReadFixed(message, MessageType::kRefused, 0, &wire);
  if (!status.ok()) return status;
  if (wire.reserved != 0) return Malformed("reserved field not zero");
  // TRUST: only used as a key to a text of ours; an unknown one has a text as well.
  return static_cast<RefusalReason>(wire.reason);
}

std::vector<std::byte> EncodeHello(const Hello& hello) {
  PARLEY_CHECK(hello.format.size() <= kMaxFormatBytes, "format longer than 4 KiB");
  const HelloWire wire = {
      Header(MessageType::kHello, sizeof(HelloWire), hello.format.size()),
      hello.version_min,
      hello.version_max,
      hello.features,
      hello.roles,
      hello.doorbells,
      ToWire(hello.send),
      ToWire(hello.receive),
  };
  return Encode(wire, hello.format);
}

std::vector<std::byte> EncodeWelcome(const Welcome& welcome) {
  PARLEY_CHECK(welcome.format.size() <= kMaxFormatBytes, "format longer than 4 KiB");
  const WelcomeWire wire = {
      Header(MessageType::kWelcome, sizeof(WelcomeWire), welcome.format.size()),
      welcome.version,
      0,
      welcome.features,
      welcome.roles,
      welcome.doorbell,
      welcome.channel_id,
      ToWire(welcome.send),
      ToWire(welcome.receive),
  };
  return Encode(wire, welcome.format);
}

std::vector<std::byte> EncodeChannelId(MessageType type, const ChannelId& id) {
  return Encode(ChannelIdWire{Header(type, sizeof(ChannelIdWire), 0), id});
}

std::vector<std::byte> EncodeRefused(RefusalReason reason) {
  return Encode(RefusedWire{Header(MessageType::kRefused, sizeof(RefusedWire), 0),
                            static_cast<uint32_t>(reason), 0});
}

}  // namespace parley

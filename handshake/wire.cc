// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/wire.h"

#include <bit>
#include <cstring>
#include <span>

#include "parley/boundary/wire_copy.h"
#include "parley/os/check.h"
#include "parley/ring/ring_types.h"
#include "parley/shm/arena_layout.h"

namespace parley {
namespace {

static_assert(std::endian::native == std::endian::little, "the wire format is little-endian");

absl::Status Malformed(const char* what) {
  return absl::InvalidArgumentError(std::string("malformed handshake message: ") + what);
}

MessageHeaderWire Header(MessageType type, std::size_t size_bytes) {
  return {kWireMagic, 1, static_cast<uint16_t>(type), static_cast<uint32_t>(size_bytes), 0};
}

absl::Status CheckHeader(const MessageHeaderWire& header, std::size_t message_bytes) {
  // TRUST: magic, header version and length are exactly what this version writes.
  if (header.magic != kWireMagic) return Malformed("not Parley's magic number");
  if (header.version != 1) return Malformed("unknown header version");
  if (header.size_bytes != message_bytes) return Malformed("announced length is not the real one");
  return absl::OkStatus();
}

// The fixed part of a message of one type; what is behind it is the caller's.
template <WireType T>
absl::Status ReadFixed(absl::Span<const std::byte> message, MessageType type, T* out) {
  if (!ReadWire(message, out)) return Malformed("too short");
  if (absl::Status status = CheckHeader(out->header, message.size()); !status.ok()) return status;
  if (out->header.type != static_cast<uint16_t>(type)) return Malformed("unexpected type");
  return absl::OkStatus();
}

// The same of a message that has nothing behind it.
template <WireType T>
absl::Status ReadWhole(absl::Span<const std::byte> message, MessageType type, T* out) {
  if (absl::Status status = ReadFixed(message, type, out); !status.ok()) return status;
  if (message.size() != sizeof(T)) return Malformed("too long");
  if (out->header.format_bytes != 0) return Malformed("format where none belongs");
  return absl::OkStatus();
}

// What is behind the fixed part: the sections of both directions and of the broadcast, and the
// format blob.
struct Tail {
  absl::Span<const std::byte> send_sections;
  absl::Span<const std::byte> receive_sections;
  absl::Span<const std::byte> broadcast_sections;
  absl::Span<const std::byte> format;
};

// `wire`: the fixed part of `message`.
template <WireType T>
absl::Status SplitTail(absl::Span<const std::byte> message, const T& wire, Tail* out) {
  // TRUST: at most eight sections each, and what follows them is the blob, within its limit.
  if (wire.send_sections > kMaxSections || wire.receive_sections > kMaxSections ||
      wire.broadcast_sections > kMaxSections) {
    return Malformed("too many sections");
  }
  const std::size_t format_bytes = wire.header.format_bytes;
  if (format_bytes > kMaxFormatBytes) return Malformed("format too long");
  const std::size_t send_bytes = wire.send_sections * sizeof(SectionWire);
  const std::size_t receive_bytes = wire.receive_sections * sizeof(SectionWire);
  const std::size_t broadcast_bytes = wire.broadcast_sections * sizeof(SectionWire);
  if (message.size() != sizeof(T) + send_bytes + receive_bytes + broadcast_bytes + format_bytes) {
    return Malformed("format length");
  }
  absl::Span<const std::byte> rest = message.subspan(sizeof(T));
  out->send_sections = rest.first(send_bytes);
  rest.remove_prefix(send_bytes);
  out->receive_sections = rest.first(receive_bytes);
  rest.remove_prefix(receive_bytes);
  out->broadcast_sections = rest.first(broadcast_bytes);
  out->format = message.last(format_bytes);
  return absl::OkStatus();
}

std::string StringOf(absl::Span<const std::byte> bytes) {
  std::string text(bytes.size(), '\0');
  if (!text.empty()) std::memcpy(text.data(), bytes.data(), text.size());
  return text;
}

// A session has a direction, or at least a broadcast.
bool RolesOk(uint32_t roles, uint16_t broadcast_sections) {
  return roles <= (kRoleSends | kRoleReceives) && (roles != 0 || broadcast_sections != 0);
}

// Whether a message leaves things open, and unknown kinds of sections are offers: a Hello does.
enum class Kind { kOffer, kDecision };

absl::Status TakeSection(const SectionWire& section, Kind kind, DirectionSpec* out) {
  switch (section.kind) {
    case kSectionArena:
      // TRUST: whole units up to the format's limit, and one of seven alignments. A request may
      // leave either open, but not both.
      out->arena = {section.bytes, section.count};
      if (out->arena == ArenaGeometry{} ||
          !(kind == Kind::kOffer ? IsArenaRequest(out->arena) : IsArena(out->arena))) {
        return Malformed("impossible arena");
      }
      return absl::OkStatus();
    case kSectionRing:
      // TRUST: a power of two within the format's limits.
      out->capacity_bytes = section.bytes;
      if (section.count != 1 || !IsValid(RingGeometry{section.bytes, 0})) {
        return Malformed("impossible ring size");
      }
      return absl::OkStatus();
    default:
      if (kind == Kind::kDecision) return Malformed("a section that was not offered");
      return absl::OkStatus();
  }
}

// Each section of a list, which is in ascending order of kind, so each once.
template <typename Take>
absl::Status ReadSections(absl::Span<const std::byte> sections, Take take) {
  uint16_t last_kind = 0;
  for (; !sections.empty(); sections.remove_prefix(sizeof(SectionWire))) {
    SectionWire section;
    if (!ReadWire(sections, &section)) return Malformed("too short");
    if (section.reserved != 0) return Malformed("reserved field not zero");
    if (section.kind <= last_kind) return Malformed("sections not in the order of their kinds");
    last_kind = section.kind;
    if (absl::Status status = take(section); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// Of a Hello: kinds alone, since what a broadcast has is not the reader's choice.
absl::Status ReadOfferedKinds(absl::Span<const std::byte> sections, std::vector<uint16_t>* out) {
  return ReadSections(sections, [out](const SectionWire& section) -> absl::Status {
    if (section.count != 0 || section.bytes != 0) {
      return Malformed("sizes for a kind of a broadcast");
    }
    // TRUST: any number but 0; only compared with the kinds that our broadcast has.
    out->push_back(section.kind);
    return absl::OkStatus();
  });
}

// Of a Welcome: all that the broadcast has, also of kinds that nobody here knows. The sum is
// compared with limits by CheckAgreement.
absl::Status ReadBroadcast(absl::Span<const std::byte> sections, SectionList* out) {
  return ReadSections(sections, [out](const SectionWire& section) -> absl::Status {
    if (section.count == 0 || section.bytes == 0) return Malformed("an empty section");
    out->Add({section.kind, section.count, section.bytes});
    return absl::OkStatus();
  });
}

// The sections of one direction, in ascending order of kind, so each once. A direction that exists
// has a ring with a message length that fits it and is long enough for small messages; in a Hello
// it may have neither. One that does not exist has nothing.
absl::Status ReadDirection(absl::Span<const std::byte> sections, uint32_t max_message_bytes,
                           bool exists, Kind kind, DirectionSpec* out) {
  if (!exists && (!sections.empty() || max_message_bytes != 0)) {
    return Malformed("sizes for a direction that does not exist");
  }
  absl::Status status = ReadSections(sections, [kind, out](const SectionWire& section) {
    return TakeSection(section, kind, out);
  });
  if (!status.ok()) return status;
  out->max_message_bytes = max_message_bytes;
  if (!exists) return absl::OkStatus();
  if (out->capacity_bytes == 0 && max_message_bytes == 0 && kind == Kind::kOffer) {
    return absl::OkStatus();
  }
  // TRUST: a message length that fits the ring, which is there.
  if (max_message_bytes < kMinMessageLimitBytes ||
      !IsValid(RingGeometry{out->capacity_bytes, max_message_bytes})) {
    return Malformed("impossible ring size");
  }
  return absl::OkStatus();
}

template <WireType T>
void Append(const T& value, std::vector<std::byte>* message) {
  const auto bytes = WireBytes(value);
  message->insert(message->end(), bytes.begin(), bytes.end());
}

uint16_t SectionsOf(const DirectionSpec& spec) {
  return static_cast<uint16_t>((spec.arena != ArenaGeometry{} ? 1 : 0) +
                               (spec.capacity_bytes != 0 ? 1 : 0));
}

void AppendSections(const DirectionSpec& spec, std::vector<std::byte>* message) {
  PARLEY_CHECK(IsArenaRequest(spec.arena),
               "an arena: a multiple of 4 KiB up to 16 GiB, aligned to a power of two");
  if (spec.arena != ArenaGeometry{}) {
    Append(SectionWire{kSectionArena, 0, spec.arena.alignment, spec.arena.bytes}, message);
  }
  if (spec.capacity_bytes != 0) {
    Append(SectionWire{kSectionRing, 0, 1, spec.capacity_bytes}, message);
  }
}

// The fixed part, the sections, the blob; and then the lengths in the header.
template <WireType T>
std::vector<std::byte> Encode(T fixed, const DirectionSpec& send, const DirectionSpec& receive,
                              absl::Span<const SectionWire> broadcast, const std::string& format) {
  PARLEY_CHECK(format.size() <= kMaxFormatBytes, "format longer than 4 KiB");
  fixed.send_max_message_bytes = send.max_message_bytes;
  fixed.receive_max_message_bytes = receive.max_message_bytes;
  fixed.send_sections = SectionsOf(send);
  fixed.receive_sections = SectionsOf(receive);
  fixed.broadcast_sections = static_cast<uint16_t>(broadcast.size());
  const std::size_t sections =
      std::size_t{fixed.send_sections} + fixed.receive_sections + broadcast.size();
  fixed.header.size_bytes =
      static_cast<uint32_t>(sizeof(T) + sections * sizeof(SectionWire) + format.size());
  fixed.header.format_bytes = static_cast<uint32_t>(format.size());
  std::vector<std::byte> message;
  message.reserve(fixed.header.size_bytes);
  Append(fixed, &message);
  AppendSections(send, &message);
  AppendSections(receive, &message);
  for (const SectionWire& section : broadcast) Append(section, &message);
  const auto blob = std::as_bytes(std::span(format));
  message.insert(message.end(), blob.begin(), blob.end());
  return message;
}

template <WireType T>
std::vector<std::byte> EncodeWhole(const T& fixed) {
  std::vector<std::byte> message;
  Append(fixed, &message);
  return message;
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
      return "its directions do not match ours (who sends, who receives, or a broadcast alone)";
    case RefusalReason::kSize:
      return "its limits or its own messages do not allow the sizes asked for";
    case RefusalReason::kIdentity:
      return "its policy does not admit this process";
    case RefusalReason::kDoorbell:
      return "there is no doorbell that both sides can use";
    case RefusalReason::kFormat:
      return "it does not accept the format";
    case RefusalReason::kResources:
      return "it is out of memory or descriptors; try again later";
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

bool IsPassing(RefusalReason reason) {
  return reason == RefusalReason::kResources || reason == RefusalReason::kBusy ||
         reason == RefusalReason::kUnfinished;
}

absl::StatusOr<MessageType> PeekType(absl::Span<const std::byte> message) {
  MessageHeaderWire header;
  if (!ReadWire(message, &header)) return Malformed("too short");
  if (absl::Status status = CheckHeader(header, message.size()); !status.ok()) return status;
  // TRUST: one of the seven types.
  const uint16_t type = header.type;
  if (type < static_cast<uint16_t>(MessageType::kHello) ||
      type > static_cast<uint16_t>(MessageType::kRefused)) {
    return Malformed("unknown type");
  }
  return static_cast<MessageType>(type);
}

absl::StatusOr<Hello> ParseHello(absl::Span<const std::byte> message) {
  HelloWire wire{};
  absl::Status status = ReadFixed(message, MessageType::kHello, &wire);
  if (!status.ok()) return status;
  if (wire.version_min == 0 || wire.version_min > wire.version_max) {
    return Malformed("impossible version range");
  }
  if (!RolesOk(wire.roles, wire.broadcast_sections)) return Malformed("impossible roles");
  if (wire.doorbells == 0) return Malformed("no doorbell offered");
  if (wire.reserved != 0) return Malformed("reserved field not zero");
  Tail tail;
  status = SplitTail(message, wire, &tail);
  if (!status.ok()) return status;
  Hello hello;
  hello.version_min = wire.version_min;
  hello.version_max = wire.version_max;
  hello.features = wire.features;
  hello.roles = wire.roles;
  hello.doorbells = wire.doorbells;
  status = ReadDirection(tail.send_sections, wire.send_max_message_bytes,
                         (wire.roles & kRoleSends) != 0, Kind::kOffer, &hello.send);
  if (!status.ok()) return status;
  status = ReadDirection(tail.receive_sections, wire.receive_max_message_bytes,
                         (wire.roles & kRoleReceives) != 0, Kind::kOffer, &hello.receive);
  if (!status.ok()) return status;
  status = ReadOfferedKinds(tail.broadcast_sections, &hello.broadcast_kinds);
  if (!status.ok()) return status;
  hello.format = StringOf(tail.format);
  return hello;
}

absl::StatusOr<Welcome> ParseWelcome(absl::Span<const std::byte> message) {
  WelcomeWire wire{};
  absl::Status status = ReadFixed(message, MessageType::kWelcome, &wire);
  if (!status.ok()) return status;
  if (wire.version != kWireVersion) return Malformed("a version that was not offered");
  if (wire.reserved != 0 || wire.reserved2 != 0) return Malformed("reserved field not zero");
  if ((wire.features & ~kKnownFeatures) != 0) return Malformed("a feature that was not offered");
  if (!RolesOk(wire.roles, wire.broadcast_sections)) return Malformed("impossible roles");
  if (wire.doorbell != kDoorbellEventfd && wire.doorbell != kDoorbellSocket &&
      wire.doorbell != kDoorbellFutex) {
    return Malformed("unknown doorbell");
  }
  Tail tail;
  status = SplitTail(message, wire, &tail);
  if (!status.ok()) return status;
  Welcome welcome;
  welcome.version = wire.version;
  welcome.features = wire.features;
  welcome.roles = wire.roles;
  welcome.doorbell = wire.doorbell;
  welcome.channel_id = wire.channel_id;
  status = ReadDirection(tail.send_sections, wire.send_max_message_bytes,
                         (wire.roles & kRoleSends) != 0, Kind::kDecision, &welcome.send);
  if (!status.ok()) return status;
  status = ReadDirection(tail.receive_sections, wire.receive_max_message_bytes,
                         (wire.roles & kRoleReceives) != 0, Kind::kDecision, &welcome.receive);
  if (!status.ok()) return status;
  status = ReadBroadcast(tail.broadcast_sections, &welcome.broadcast);
  if (!status.ok()) return status;
  welcome.format = StringOf(tail.format);
  return welcome;
}

absl::Status ParseChannelId(absl::Span<const std::byte> message, MessageType expected,
                            const ChannelId& id) {
  ChannelIdWire wire;
  if (absl::Status status = ReadWhole(message, expected, &wire); !status.ok()) return status;
  if (wire.channel_id != id) return Malformed("another channel's id");
  return absl::OkStatus();
}

absl::StatusOr<RefusalReason> ParseRefused(absl::Span<const std::byte> message) {
  RefusedWire wire{};
  absl::Status status = ReadWhole(message, MessageType::kRefused, &wire);
  if (!status.ok()) return status;
  if (wire.reserved != 0) return Malformed("reserved field not zero");
  // TRUST: only used as a key to a text of ours; an unknown one has a text as well.
  return static_cast<RefusalReason>(wire.reason);
}

std::vector<std::byte> EncodeHello(const Hello& hello) {
  HelloWire wire{};
  wire.header = Header(MessageType::kHello, 0);
  wire.version_min = hello.version_min;
  wire.version_max = hello.version_max;
  wire.features = hello.features;
  wire.roles = hello.roles;
  wire.doorbells = hello.doorbells;
  std::vector<SectionWire> kinds;
  for (const uint16_t kind : hello.broadcast_kinds) kinds.push_back({kind, 0, 0, 0});
  return Encode(wire, hello.send, hello.receive, kinds, hello.format);
}

std::vector<std::byte> EncodeWelcome(const Welcome& welcome) {
  WelcomeWire wire{};
  wire.header = Header(MessageType::kWelcome, 0);
  wire.version = welcome.version;
  wire.features = welcome.features;
  wire.roles = welcome.roles;
  wire.doorbell = welcome.doorbell;
  wire.channel_id = welcome.channel_id;
  std::vector<SectionWire> broadcast;
  for (const Section& section : welcome.broadcast.span()) {
    broadcast.push_back({section.kind, 0, section.count, section.bytes});
  }
  return Encode(wire, welcome.send, welcome.receive, broadcast, welcome.format);
}

std::vector<std::byte> EncodeChannelId(MessageType type, const ChannelId& id) {
  return EncodeWhole(ChannelIdWire{Header(type, sizeof(ChannelIdWire)), id});
}

std::vector<std::byte> EncodeRefused(RefusalReason reason) {
  return EncodeWhole(RefusedWire{Header(MessageType::kRefused, sizeof(RefusedWire)),
                                 static_cast<uint32_t>(reason), 0});
}

}  // namespace parley

// SPDX-License-Identifier: Apache-2.0

// Attacks the parsers of handshake/wire.h with any bytes. Each is total; what it accepts is exactly
// what the tables of docs/SPEC.md allow (said a second time below, from byte offsets), and encodes
// to the same bytes again.
//
// Input: how much of the header is put right first (so that the fuzzer need not guess lengths),
// then the message.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "parley/handshake/wire.h"
#include "parley/os/check.h"

namespace parley::fuzz {
namespace {

using Message = std::vector<std::byte>;

// A little-endian number at an offset of the message.
uint64_t At(const Message& m, std::size_t offset, std::size_t bytes) {
  uint64_t value = 0;
  for (std::size_t i = bytes; i-- > 0;)
    value = value << 8 | std::to_integer<uint64_t>(m[offset + i]);
  return value;
}
void Put(Message& m, std::size_t offset, std::size_t bytes, uint64_t value) {
  for (std::size_t i = 0; i < bytes && offset + i < m.size(); ++i) {
    m[offset + i] = static_cast<std::byte>(value >> (8 * i));
  }
}

constexpr std::size_t kFixedBytes[] = {0, 48, 64, 32, 32, 32, 32, 24};
// Where the three numbers of sections are.
constexpr std::size_t kSectionsAt[] = {0, 40, 56};

// How many bytes the sections of a Hello or Welcome have, as it says.
std::size_t SectionBytes(const Message& m, std::size_t type) {
  if (type > 2) return 0;
  const std::size_t at = kSectionsAt[type];
  return 16 * static_cast<std::size_t>(At(m, at, 2) + At(m, at + 2, 2) + At(m, at + 4, 2));
}

void Repair(Message& m, uint8_t how) {
  if ((how & 1) != 0) {
    Put(m, 0, 4, 0x594c5250);
    Put(m, 4, 2, 1);
  }
  if ((how & 2) != 0) Put(m, 6, 2, 1 + (how >> 4) % 7);
  if ((how & 4) != 0) Put(m, 8, 4, m.size());
  if ((how & 8) != 0 && m.size() >= 16) {
    const auto type = static_cast<std::size_t>(At(m, 6, 2));
    if (type >= 1 && type <= 7 && m.size() >= kFixedBytes[type]) {
      const std::size_t front = kFixedBytes[type] + SectionBytes(m, type);
      if (m.size() >= front) Put(m, 12, 4, m.size() - front);
    }
  }
}

// The header of a message of `type`, with at most `max_format` bytes behind what comes first.
bool HeaderAllowed(const Message& m, std::size_t type, std::size_t max_format) {
  const std::size_t fixed = kFixedBytes[type];
  if (m.size() < fixed || At(m, 0, 4) != 0x594c5250 || At(m, 4, 2) != 1 || At(m, 6, 2) != type ||
      At(m, 8, 4) != m.size()) {
    return false;
  }
  return At(m, 12, 4) <= max_format && At(m, 12, 4) + fixed + SectionBytes(m, type) == m.size();
}

struct Sections {
  bool allowed = false;
  bool unknown = false;  // there is one of a kind that this version does not know
  uint64_t capacity = 0;
  uint64_t arena = 0;
  uint64_t alignment = 0;
};

// `count` sections at `offset`, of a direction that exists or not.
Sections SectionsAllowed(const Message& m, std::size_t offset, uint64_t count, uint64_t longest,
                         bool exists, bool offer) {
  Sections result;
  if (count > 8 || (!exists && (count != 0 || longest != 0))) return result;
  uint64_t last = 0;
  for (uint64_t i = 0; i < count; ++i, offset += 16) {
    const uint64_t kind = At(m, offset, 2);
    const uint64_t number = At(m, offset + 4, 4);
    const uint64_t bytes = At(m, offset + 8, 8);
    if (kind <= last || At(m, offset + 2, 2) != 0) return result;
    last = kind;
    if (kind == 1) {
      bool power = false;
      for (int p = 6; p <= 12; ++p) power |= number == uint64_t{1} << p;
      if (number != 0 && !power) return result;
      if (bytes % 4096 != 0 || bytes > uint64_t{1} << 34) return result;
      if (offer ? number == 0 && bytes == 0 : number == 0 || bytes == 0) return result;
      result.arena = bytes;
      result.alignment = number;
    } else if (kind == 2) {
      bool power = false;
      for (int p = 12; p <= 30; ++p) power |= bytes == uint64_t{1} << p;
      if (number != 1 || !power) return result;
      result.capacity = bytes;
    } else {
      result.unknown = true;
      if (!offer) return result;
    }
  }
  const bool open = result.capacity == 0 && longest == 0;
  result.allowed = !exists || (open && offer) ||
                   (result.capacity != 0 && longest >= 64 && longest + 8 <= result.capacity);
  return result;
}

// `count` sections of a broadcast at `offset`: kinds alone in a Hello, none empty in a Welcome.
bool BroadcastAllowed(const Message& m, std::size_t offset, uint64_t count, bool offer) {
  uint64_t last = 0;
  for (uint64_t i = 0; i < count; ++i, offset += 16) {
    if (At(m, offset, 2) <= last || At(m, offset + 2, 2) != 0) return false;
    if ((At(m, offset + 4, 4) == 0) != offer || (At(m, offset + 8, 8) == 0) != offer) return false;
    last = At(m, offset, 2);
  }
  return true;
}

struct Both {
  Sections send;
  Sections receive;
  bool broadcast_allowed = false;
  bool allowed() const { return send.allowed && receive.allowed && broadcast_allowed; }
  bool unknown() const { return send.unknown || receive.unknown; }
};

// The lists behind the fixed part; the lengths were found right.
Both SectionsOf(const Message& m, std::size_t type, std::size_t longest_at, uint64_t roles) {
  const std::size_t at = kFixedBytes[type];
  const uint64_t send = At(m, kSectionsAt[type], 2);
  const uint64_t receive = At(m, kSectionsAt[type] + 2, 2);
  const uint64_t broadcast = At(m, kSectionsAt[type] + 4, 2);
  if (send > 8 || receive > 8 || broadcast > 8) return {};
  return {SectionsAllowed(m, at, send, At(m, longest_at, 4), (roles & 1) != 0, type == 1),
          SectionsAllowed(m, at + 16 * static_cast<std::size_t>(send), receive,
                          At(m, longest_at + 4, 4), (roles & 2) != 0, type == 1),
          BroadcastAllowed(m, at + 16 * static_cast<std::size_t>(send + receive), broadcast,
                           type == 1)};
}

bool HelloAllowed(const Message& m, Both* sections) {
  if (!HeaderAllowed(m, 1, 4096)) return false;
  const uint64_t roles = At(m, 24, 4);
  *sections = SectionsOf(m, 1, 32, roles);
  return At(m, 16, 2) >= 1 && At(m, 16, 2) <= At(m, 18, 2) && roles <= 3 &&
         (roles >= 1 || At(m, 44, 2) >= 1) && At(m, 28, 4) != 0 && At(m, 46, 2) == 0 &&
         sections->allowed();
}

bool WelcomeAllowed(const Message& m, Both* sections) {
  if (!HeaderAllowed(m, 2, 4096)) return false;
  const uint64_t roles = At(m, 24, 4);
  *sections = SectionsOf(m, 2, 48, roles);
  return At(m, 16, 2) == 1 && At(m, 18, 2) == 0 && At(m, 20, 4) <= 3 && roles <= 3 &&
         (roles >= 1 || At(m, 60, 2) >= 1) &&
         (At(m, 28, 4) == 1 || At(m, 28, 4) == 2 || At(m, 28, 4) == 4) && At(m, 62, 2) == 0 &&
         sections->allowed();
}

void ExpectDirection(const DirectionSpec& spec, const Sections& sections, uint64_t longest) {
  PARLEY_CHECK(spec.capacity_bytes == sections.capacity && spec.max_message_bytes == longest &&
                   spec.arena.bytes == sections.arena && spec.arena.alignment == sections.alignment,
               "a field from elsewhere");
}

void ExpectSame(bool accepted, bool allowed, const Message& original, const Message& again) {
  PARLEY_CHECK(accepted == allowed, "a parser and the tables disagree");
  if (accepted) PARLEY_CHECK(original == again, "what was parsed encodes to other bytes");
}

void TryHello(const Message& m) {
  const auto hello = ParseHello(m);
  Both sections;
  const bool allowed = HelloAllowed(m, &sections);
  PARLEY_CHECK(hello.ok() == allowed, "a parser and the tables disagree");
  if (!allowed) return;
  // An offer of an unknown kind is not kept.
  if (!sections.unknown()) ExpectSame(true, true, m, EncodeHello(*hello));
  ExpectDirection(hello->send, sections.send, At(m, 32, 4));
  ExpectDirection(hello->receive, sections.receive, At(m, 36, 4));
  PARLEY_CHECK(hello->format.size() == At(m, 12, 4), "Hello: another format");
  PARLEY_CHECK(hello->broadcast_kinds.size() == At(m, 44, 2), "Hello: other kinds");
}

void TryWelcome(const Message& m) {
  const auto welcome = ParseWelcome(m);
  Both sections;
  const bool allowed = WelcomeAllowed(m, &sections);
  ExpectSame(welcome.ok(), allowed, m, welcome.ok() ? EncodeWelcome(*welcome) : Message());
  if (!allowed) return;
  ExpectDirection(welcome->send, sections.send, At(m, 48, 4));
  ExpectDirection(welcome->receive, sections.receive, At(m, 52, 4));
  PARLEY_CHECK(welcome->broadcast.size() == At(m, 60, 2), "Welcome: another broadcast");
  PARLEY_CHECK(welcome->channel_id[1] == At(m, 40, 8) && welcome->format.size() == At(m, 12, 4),
               "Welcome: a field from elsewhere");
}

void TryChannelId(const Message& m) {
  ChannelId id = {0x0123456789abcdef, 42};
  if (m.size() >= 32) id = {At(m, 16, 8), At(m, 24, 8)};
  const ChannelId wrong_low = {id[0] ^ 1, id[1]};
  const ChannelId wrong_high = {id[0], id[1] ^ (uint64_t{1} << 63)};
  for (const MessageType type : {MessageType::kAccepted, MessageType::kDescriptors,
                                 MessageType::kMapped, MessageType::kReady}) {
    ExpectSame(ParseChannelId(m, type, id).ok(),
               HeaderAllowed(m, static_cast<std::size_t>(type), 0), m, EncodeChannelId(type, id));
    PARLEY_CHECK(!ParseChannelId(m, type, wrong_low).ok(), "another channel's id");
    PARLEY_CHECK(!ParseChannelId(m, type, wrong_high).ok(), "another channel's id");
  }
}

void TryRefused(const Message& m) {
  const auto reason = ParseRefused(m);
  ExpectSame(reason.ok(), HeaderAllowed(m, 7, 0) && At(m, 20, 4) == 0, m,
             reason.ok() ? EncodeRefused(*reason) : Message());
  if (reason.ok()) {
    PARLEY_CHECK(!std::string_view(ToString(*reason)).empty(), "a reason without a text");
  }
}

void TryPeekType(const Message& m) {
  const auto type = PeekType(m);
  const bool allowed = m.size() >= 16 && At(m, 0, 4) == 0x594c5250 && At(m, 4, 2) == 1 &&
                       At(m, 8, 4) == m.size() && At(m, 6, 2) >= 1 && At(m, 6, 2) <= 7;
  PARLEY_CHECK(type.ok() == allowed, "PeekType and the table disagree");
  if (type.ok()) PARLEY_CHECK(static_cast<uint64_t>(*type) == At(m, 6, 2), "another type");
}

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fuzz = parley::fuzz;
  if (size == 0) return 0;
  fuzz::Message message(size - 1);  // exactly as long as it is
  if (size > 1) std::memcpy(message.data(), data + 1, size - 1);
  fuzz::Repair(message, data[0]);
  fuzz::TryHello(message);
  fuzz::TryWelcome(message);
  fuzz::TryChannelId(message);
  fuzz::TryRefused(message);
  fuzz::TryPeekType(message);
  return 0;
}

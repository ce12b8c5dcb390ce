// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_WIRE_H_
#define PARLEY_HANDSHAKE_WIRE_H_

// The handshake's messages: fixed sizes, little-endian, versioned, reserved fields zero.
// docs/SPEC.md shows the same tables, and a test compares the two.
//
//   connecting                               accepting
//     Hello + sections + format     ->
//                                   <-       Welcome + sections + format     | Refused
//     Accepted                      ->
//                                   <-       Descriptors, with the regions   | Refused
//     Mapped                        ->
//                                   <-       Ready                           | Refused
//
// Trust: the Parse functions take bytes that the peer chose, already in private memory, and are
// total: any bytes give a private, validated struct or a status that says what is wrong with them.
// Threads: pure functions.
//
//   absl::StatusOr<Hello> hello = ParseHello(absl::MakeConstSpan(received));

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/boundary/wire_type.h"
#include "parley/handshake/identity.h"
#include "parley/shm/sections.h"
#include "parley/shm/shape.h"

namespace parley {

inline constexpr uint32_t kWireMagic = 0x594c'5250;  // the bytes "PRLY"
inline constexpr uint16_t kWireVersion = 1;          // the newest, and so far the only one
inline constexpr std::size_t kMaxFormatBytes = 4096;
// No ring is agreed on whose longest message is shorter: small messages can be sent without asking.
inline constexpr uint32_t kMinMessageLimitBytes = 64;

enum class MessageType : uint16_t {
  kHello = 1,
  kWelcome = 2,
  kAccepted = 3,
  kDescriptors = 4,
  kMapped = 5,
  kReady = 6,
  kRefused = 7,
};

struct MessageHeaderWire {
  uint32_t magic;
  uint16_t version;  // of this header: the first version that has it; 1
  uint16_t type;
  uint32_t size_bytes;    // of the whole message, format blob included
  uint32_t format_bytes;  // of the blob at the end; 0 but for Hello and Welcome
};

// One section of a region, behind its control page.
struct SectionWire {
  uint16_t kind;      // kSection*
  uint16_t reserved;  // 0
  uint32_t count;     // ring: 1; arena: the alignment of its frames
  uint64_t bytes;     // ring: its capacity; arena: of all frames together
};

// Of a direction's region. A broadcast's kinds are its patterns' (patterns/): the handshake knows
// none of them.
inline constexpr uint16_t kSectionArena = 1;
inline constexpr uint16_t kSectionRing = 2;
// In each list. Unknown kinds count as well.
inline constexpr std::size_t kMaxSections = SectionList::kMaxCount;

struct HelloWire {
  MessageHeaderWire header;
  uint16_t version_min;
  uint16_t version_max;
  uint32_t features;                   // kFeature* that the connecting side offers
  uint32_t roles;                      // kRole* of the connecting side
  uint32_t doorbells;                  // kDoorbell* that the connecting side can use
  uint32_t send_max_message_bytes;     // connecting -> accepting; 0: no preference
  uint32_t receive_max_message_bytes;  // accepting -> connecting; 0: no preference
  uint16_t send_sections;              // how many SectionWire follow for the first,
  uint16_t receive_sections;           // behind them for the second,
  uint16_t broadcast_sections;         // and kinds of a broadcast that the connecting side takes
  uint16_t reserved;
};

struct WelcomeWire {
  MessageHeaderWire header;
  uint16_t version;
  uint16_t reserved;
  uint32_t features;  // kFeature* of the accepting side
  uint32_t roles;     // as in the Hello
  uint32_t doorbell;  // the one kDoorbell* that is used
  std::array<uint64_t, 2> channel_id;
  uint32_t send_max_message_bytes;     // connecting -> accepting, as accepted
  uint32_t receive_max_message_bytes;  // accepting -> connecting
  uint16_t send_sections;
  uint16_t receive_sections;
  uint16_t broadcast_sections;  // all of the broadcast's; 0: there is none in this session
  uint16_t reserved2;
};

// Accepted, Descriptors, Mapped and Ready.
struct ChannelIdWire {
  MessageHeaderWire header;
  std::array<uint64_t, 2> channel_id;
};

struct RefusedWire {
  MessageHeaderWire header;
  uint32_t reason;  // a RefusalReason
  uint32_t reserved;
};

static_assert(WireType<SectionWire> && sizeof(SectionWire) == 16);
static_assert(WireType<HelloWire> && sizeof(HelloWire) == 48);
static_assert(WireType<WelcomeWire> && sizeof(WelcomeWire) == 64);
static_assert(WireType<ChannelIdWire> && sizeof(ChannelIdWire) == 32);
static_assert(WireType<RefusedWire> && sizeof(RefusedWire) == 24);
inline constexpr std::size_t kMaxMessageBytes =
    sizeof(WelcomeWire) + 3 * kMaxSections * sizeof(SectionWire) + kMaxFormatBytes;

inline constexpr uint32_t kRoleSends = 1;     // the connecting side sends
inline constexpr uint32_t kRoleReceives = 2;  // the connecting side receives

inline constexpr uint32_t kDoorbellEventfd = 1;
inline constexpr uint32_t kDoorbellSocket = 2;
inline constexpr uint32_t kDoorbellFutex = 4;

// Section 8 of docs/SPEC.md: who may leave out the fence between publishing and looking whether the
// other side sleeps. In a Hello both are offers. A Welcome has the first only if the second was
// offered, and the second only if the first was: each then holds.
inline constexpr uint32_t kFeatureBarrierBeforeSleep = 1;  // the sender of this calls membarrier
inline constexpr uint32_t kFeatureSkipsFences = 2;         // the sender of this is registered
inline constexpr uint32_t kKnownFeatures = kFeatureBarrierBeforeSleep | kFeatureSkipsFences;

enum class RefusalReason : uint32_t {
  kMalformed = 1,    // the message is not one of ours
  kVersion = 2,      // no version in common
  kFeatures = 3,     // a feature that is not known here
  kRoles = 4,        // the directions do not match
  kSize = 5,         // a ring or message beyond the limits, or not as needed
  kIdentity = 6,     // not a peer that the policy admits
  kDoorbell = 7,     // no doorbell in common
  kFormat = 8,       // the format is not accepted
  kResources = 9,    // out of memory or descriptors
  kBusy = 10,        // too many handshakes under way
  kMemory = 11,      // the shared memory is not as agreed
  kDeadline = 12,    // too slow
  kUnfinished = 13,  // too much is out with unfinished handshakes of this user
};

// "no protocol version in common", never null.
const char* ToString(RefusalReason reason);
// Whether the same may be accepted a little later; its text then ends with "try again later".
bool IsPassing(RefusalReason reason);

// --- private, validated forms
// ---------------------------------------------------------------------

// One direction. Sections of kinds that are not known here are not part of it: in a Hello they are
// offers that are not taken.
struct DirectionSpec {
  uint64_t capacity_bytes = 0;
  uint32_t max_message_bytes = 0;
  ArenaGeometry arena = {};
  bool operator==(const DirectionSpec&) const = default;
};

struct Hello {
  uint16_t version_min = kWireVersion;
  uint16_t version_max = kWireVersion;
  uint32_t features = 0;
  uint32_t roles = 0;
  uint32_t doorbells = 0;
  DirectionSpec send;
  DirectionSpec receive;
  // In ascending order, each once, at most kMaxSections: those of a broadcast that it would take.
  std::vector<uint16_t> broadcast_kinds;
  std::string format;
};

// What both sides do from here on; in the words of the wire, where the connecting side sends on
// `send` and receives on `receive`.
struct Agreement {
  uint16_t version = kWireVersion;
  uint32_t features = 0;  // of the accepting side
  uint32_t roles = 0;     // of the connecting side; 0: a broadcast alone
  uint32_t doorbell = 0;  // one bit
  DirectionSpec send;     // all zero: does not exist
  DirectionSpec receive;
  SectionList broadcast;  // of the accepting side's, in ascending order of kind; empty: none
  bool operator==(const Agreement&) const = default;
};

struct Welcome : Agreement {
  ChannelId channel_id = {};
  std::string format;
};

// Each Parse: the bytes of one whole message. kInvalidArgument says what is wrong.
absl::StatusOr<Hello> ParseHello(absl::Span<const std::byte> message);
absl::StatusOr<Welcome> ParseWelcome(absl::Span<const std::byte> message);
// Checks type and id of an Accepted, Descriptors, Mapped or Ready.
absl::Status ParseChannelId(absl::Span<const std::byte> message, MessageType expected,
                            const ChannelId& id);
absl::StatusOr<RefusalReason> ParseRefused(absl::Span<const std::byte> message);
// The type of a message whose header is right; no more is checked than that.
absl::StatusOr<MessageType> PeekType(absl::Span<const std::byte> message);

// format.size() <= kMaxFormatBytes.
std::vector<std::byte> EncodeHello(const Hello& hello);
std::vector<std::byte> EncodeWelcome(const Welcome& welcome);
std::vector<std::byte> EncodeChannelId(MessageType type, const ChannelId& id);
std::vector<std::byte> EncodeRefused(RefusalReason reason);

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_WIRE_H_

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

constexpr std::size_t kFixedBytes[] = {0, 64, 80, 32, 32, 24};

void Repair(Message& m, uint8_t how) {
  if ((how & 1) != 0) {
    Put(m, 0, 4, 0x594c5250);
    Put(m, 4, 2, 1);
  }
  if ((how & 2) != 0) Put(m, 6, 2, 1 + (how >> 4) % 5);
  if ((how & 4) != 0) Put(m, 8, 4, m.size());
  if ((how & 8) != 0 && m.size() >= 16) {
    const auto type = static_cast<std::size_t>(At(m, 6, 2));
    if (type >= 1 && type <= 5 && m.size() >= kFixedBytes[type]) {
      Put(m, 12, 4, m.size() - kFixedBytes[type]);
    }
  }
}

// The header of a message of `type`, with at most `max_format` bytes behind the fixed part.
bool HeaderAllowed(const Message& m, std::size_t type, std::size_t max_format) {
  const std::size_t fixed = kFixedBytes[type];
  return m.size() >= fixed && m.size() <= fixed + max_format && At(m, 0, 4) == 0x594c5250 &&
         At(m, 4, 2) == 1 && At(m, 6, 2) == type && At(m, 8, 4) == m.size() &&
         At(m, 12, 4) + fixed == m.size();
}

// 16 bytes at `offset` say what one direction may say.
bool DirectionAllowed(const Message& m, std::size_t offset, bool exists, bool may_be_open) {
  const uint64_t capacity = At(m, offset, 8);
  const uint64_t longest = At(m, offset + 8, 4);
  const uint64_t frames = At(m, offset + 12, 2);
  const uint64_t units = At(m, offset + 14, 2);
  if (frames > 64 || (frames == 0) != (units == 0) || (frames != 0 && !exists)) return false;
  if (capacity == 0 && longest == 0) return !exists || may_be_open;
  if (!exists) return false;
  for (int power = 12; power <= 30; ++power) {
    if (capacity == uint64_t{1} << power) return longest >= 64 && longest + 8 <= capacity;
  }
  return false;
}

bool HelloAllowed(const Message& m) {
  if (!HeaderAllowed(m, 1, 4096)) return false;
  const uint64_t roles = At(m, 24, 4);
  return At(m, 16, 2) >= 1 && At(m, 16, 2) <= At(m, 18, 2) && roles >= 1 && roles <= 3 &&
         At(m, 28, 4) != 0 && DirectionAllowed(m, 32, (roles & 1) != 0, true) &&
         DirectionAllowed(m, 48, (roles & 2) != 0, true);
}

bool WelcomeAllowed(const Message& m) {
  if (!HeaderAllowed(m, 2, 4096)) return false;
  const uint64_t roles = At(m, 24, 4);
  return At(m, 16, 2) == 1 && At(m, 18, 2) == 0 && At(m, 20, 4) <= 3 && roles >= 1 && roles <= 3 &&
         (At(m, 28, 4) == 1 || At(m, 28, 4) == 2 || At(m, 28, 4) == 4) &&
         DirectionAllowed(m, 48, (roles & 1) != 0, false) &&
         DirectionAllowed(m, 64, (roles & 2) != 0, false);
}

void ExpectSame(bool accepted, bool allowed, const Message& original, const Message& again) {
  PARLEY_CHECK(accepted == allowed, "a parser and the tables disagree");
  if (accepted) PARLEY_CHECK(original == again, "what was parsed encodes to other bytes");
}

void TryHello(const Message& m) {
  const auto hello = ParseHello(m);
  ExpectSame(hello.ok(), HelloAllowed(m), m, hello.ok() ? EncodeHello(*hello) : Message());
  if (!hello.ok()) return;
  PARLEY_CHECK(hello->send.capacity_bytes == At(m, 32, 8) &&
                   hello->receive.max_message_bytes == At(m, 56, 4) &&
                   hello->receive.frames.count == At(m, 60, 2) &&
                   hello->send.frames.frame_bytes == 4096 * At(m, 46, 2) &&
                   hello->format.size() == m.size() - 64,
               "Hello: a field from elsewhere");
}

void TryWelcome(const Message& m) {
  const auto welcome = ParseWelcome(m);
  ExpectSame(welcome.ok(), WelcomeAllowed(m), m,
             welcome.ok() ? EncodeWelcome(*welcome) : Message());
  if (!welcome.ok()) return;
  PARLEY_CHECK(welcome->send.capacity_bytes == At(m, 48, 8) &&
                   welcome->receive.max_message_bytes == At(m, 72, 4) &&
                   welcome->channel_id[1] == At(m, 40, 8) &&
                   welcome->format.size() == m.size() - 80,
               "Welcome: a field from elsewhere");
}

void TryChannelId(const Message& m) {
  ChannelId id = {0x0123456789abcdef, 42};
  if (m.size() >= 32) id = {At(m, 16, 8), At(m, 24, 8)};
  const ChannelId wrong_low = {id[0] ^ 1, id[1]};
  const ChannelId wrong_high = {id[0], id[1] ^ (uint64_t{1} << 63)};
  for (const MessageType type : {MessageType::kMapped, MessageType::kReady}) {
    ExpectSame(ParseChannelId(m, type, id).ok(),
               HeaderAllowed(m, static_cast<std::size_t>(type), 0), m, EncodeChannelId(type, id));
    PARLEY_CHECK(!ParseChannelId(m, type, wrong_low).ok(), "another channel's id");
    PARLEY_CHECK(!ParseChannelId(m, type, wrong_high).ok(), "another channel's id");
  }
}

void TryRefused(const Message& m) {
  const auto reason = ParseRefused(m);
  ExpectSame(reason.ok(), HeaderAllowed(m, 5, 0) && At(m, 20, 4) == 0, m,
             reason.ok() ? EncodeRefused(*reason) : Message());
  if (reason.ok()) {
    PARLEY_CHECK(!std::string_view(ToString(*reason)).empty(), "a reason without a text");
  }
}

void TryPeekType(const Message& m) {
  const auto type = PeekType(m);
  const bool allowed = m.size() >= 16 && At(m, 0, 4) == 0x594c5250 && At(m, 4, 2) == 1 &&
                       At(m, 8, 4) == m.size() && At(m, 6, 2) >= 1 && At(m, 6, 2) <= 5;
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

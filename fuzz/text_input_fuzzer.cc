// SPDX-License-Identifier: Apache-2.0

// Attacks what takes text from a peer, a user or the environment: the text that goes to a terminal
// (examples/hello), the chat's lines, the numbers of inherited descriptors, the names of the film's
// hijackings.
//
// Input: which (modulo 4), then what it needs.

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/examples/duplex_chat/line_reader.h"
#include "parley/examples/film/hijack.h"
#include "parley/examples/hello/printable.h"
#include "parley/fuzz/disposal_footprint.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/check.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/inherited.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using testing::Script;

std::string TakeText(Script& script, std::size_t most) {
  std::string text;
  for (const std::byte b : script.TakeBytes(most)) text.push_back(static_cast<char>(b));
  return text;
}

// --- Text for a terminal.

// The bytes of a character in UTF-8, made from its number as the standard's table says.
std::string Utf8(uint32_t code) {
  const auto byte = [](uint32_t value) { return static_cast<char>(value); };
  if (code < 0x80) return {byte(code)};
  if (code < 0x800) return {byte(0xc0 + code / 64), byte(0x80 + code % 64)};
  if (code < 0x10000) {
    return {byte(0xe0 + code / 4096), byte(0x80 + code / 64 % 64), byte(0x80 + code % 64)};
  }
  return {byte(0xf0 + code / 262144), byte(0x80 + code / 4096 % 64), byte(0x80 + code / 64 % 64),
          byte(0x80 + code % 64)};
}

// The character that `text` begins with, by trying to make it: nullopt if that fails.
std::optional<uint32_t> FirstCharacter(const std::string& text) {
  for (std::size_t length = 1; length <= 4 && length <= text.size(); ++length) {
    // What the bits of so many bytes can spell; at most one of these can be right.
    uint32_t code = static_cast<unsigned char>(text[0]);
    code = length == 1 ? code : code % (1u << (7 - length));
    for (std::size_t i = 1; i < length; ++i) {
      code = code * 64 + static_cast<unsigned char>(text[i]) % 64;
    }
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) continue;
    if (Utf8(code) == text.substr(0, length)) return code;
  }
  return std::nullopt;
}

bool MayBeShown(uint32_t code) {
  if (code < 32 || code == 127) return false;
  if (code >= 128 && code < 160) return false;
  static constexpr std::array<uint32_t, 14> kForbidden = {0x2028, 0x2029, 0x061c, 0x200e, 0x200f,
                                                          0x202a, 0x202b, 0x202c, 0x202d, 0x202e,
                                                          0x2066, 0x2067, 0x2068, 0x2069};
  return std::find(kForbidden.begin(), kForbidden.end(), code) == kForbidden.end();
}

void ShowText(Script& script) {
  std::string text = TakeText(script, script.left());
  const std::string shown = Printable(text);
  std::string expected;
  while (!text.empty()) {
    const std::optional<uint32_t> code = FirstCharacter(text);
    const std::size_t length = code ? Utf8(*code).size() : 1;
    for (const char c : text.substr(0, length)) {
      if (code && MayBeShown(*code)) {
        expected += c;
        continue;
      }
      constexpr char kDigits[] = "0123456789abcdef";
      const auto byte = static_cast<unsigned char>(c);
      expected += {'\\', 'x', kDigits[byte / 16], kDigits[byte % 16]};
    }
    text.erase(0, length);
  }
  PARLEY_CHECK(shown == expected, "Printable");
}

// --- Lines from a descriptor.

void ReadLines(Script& script) {
  const std::size_t longest = 1 + script.Take8() % 16u;
  std::array<int, 2> ends;
  PARLEY_CHECK(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0, "a pipe");
  const UniqueFd from(ends[0]);
  UniqueFd to(ends[1]);
  LineReader reader(from.get(), longest);
  std::string written;
  std::string got;  // each line in brackets
  const auto take_all = [&] {
    while (const std::optional<std::string> line = reader.TakeLine()) {
      PARLEY_CHECK(line->size() <= longest, "a line above the limit");
      got += "[" + *line + "]";
    }
  };
  while (!script.empty()) {
    const std::string piece = TakeText(script, script.Take8() % 64u);
    if (!piece.empty() && ::write(to.get(), piece.data(), piece.size()) < 0) break;
    written += piece;
    reader.Read();
    if (script.Take8() % 2 == 0) take_all();
  }
  to.Reset();
  for (int i = 0; i < 100 && !reader.at_end(); ++i) reader.Read();
  PARLEY_CHECK(reader.at_end(), "the end was not seen");
  take_all();

  // A piece ends where it is full or at the end of a line, which belongs to the piece before it.
  std::string expected;
  std::string piece;
  bool open = false;
  for (std::size_t i = 0; i < written.size(); ++i) {
    const bool end_of_line = written[i] == '\n';
    if (!end_of_line) piece += written[i];
    open = !end_of_line;
    const bool full = !end_of_line && piece.size() == longest;
    if (full && i + 1 < written.size() && written[i + 1] == '\n') continue;
    if (!end_of_line && !full) continue;
    expected += "[" + piece + "]";
    piece.clear();
    open = false;
  }
  if (open) expected += "[" + piece + "]";
  PARLEY_CHECK(got == expected, "LineReader");
}

// --- The number of a descriptor in the environment.

std::optional<int64_t> ModelOfNumber(const std::string& text) {
  const bool negative = !text.empty() && text[0] == '-';
  const std::string digits = text.substr(negative ? 1 : 0);
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) {
    return std::nullopt;
  }
  const std::size_t first = std::min(digits.find_first_not_of('0'), digits.size() - 1);
  const std::string significant = digits.substr(first);
  if (significant.size() > 10) return std::nullopt;
  int64_t value = 0;
  for (const char c : significant) value = value * 10 + (c - '0');
  if (negative) value = -value;
  if (value > INT32_MAX || value < INT32_MIN) return std::nullopt;
  return value;
}

void Inherit(Script& script) {
  constexpr char kVariable[] = "PARLEY_FUZZED";
  const uint8_t bits = script.Take8();
  auto pair = PeerSocket::Pair();
  PARLEY_CHECK(pair.ok(), "a socket pair");
  UniqueFd inherited = std::move(pair->first).Release();
  if ((bits & 1) != 0) inherited.Reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int number = inherited.get();
  std::string text = (bits & 2) != 0 ? std::to_string(number) : TakeText(script, script.left());
  if ((bits & 4) != 0) text += TakeText(script, script.left());
  text = text.substr(0, text.find('\0'));
  const std::optional<int64_t> means = ModelOfNumber(text);
  // Other numbers are descriptors of this process, or were never open.
  if (means && *means != number && *means >= 0 && *means < 4096) return;
  PARLEY_CHECK(::setenv(kVariable, text.c_str(), 1) == 0, "setenv");
  const bool right = means && *means == number;
  if ((bits & 8) != 0) {
    const absl::StatusOr<UniqueFd> fd = TakeInheritedFd(kVariable);
    PARLEY_CHECK(fd.ok() == right, "TakeInheritedFd accepts or refuses wrongly");
    if (fd.ok()) {
      PARLEY_CHECK(fd->get() == inherited.Release(), "another descriptor");
      PARLEY_CHECK((::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC) != 0, "not close-on-exec");
    } else {
      PARLEY_CHECK(absl::IsInvalidArgument(fd.status()), "an error that is not typed");
    }
  } else {
    const absl::StatusOr<PeerSocket> socket = PeerSocket::Inherited(kVariable);
    PARLEY_CHECK(socket.ok() == (right && (bits & 1) == 0), "Inherited accepts or refuses wrongly");
    if (right) static_cast<void>(inherited.Release());  // taken, and closed if it is no socket
    if (!socket.ok()) {
      PARLEY_CHECK(
          absl::IsInvalidArgument(socket.status()) || absl::IsFailedPrecondition(socket.status()),
          "an error that is not typed");
    }
  }
  // A descriptor is taken once.
  if (right) PARLEY_CHECK(std::getenv(kVariable) == nullptr, "the variable is still there");
  ::unsetenv(kVariable);
}

void NameHijack(Script& script) {
  const std::string text = TakeText(script, script.left());
  const std::optional<film::Hijack> hijack = film::HijackFromName(text);
  const std::string all = ", " + film::HijackNames() + ", ";
  const bool listed = text.find(',') == std::string::npos && !text.empty() &&
                      all.find(", " + text + ", ") != std::string::npos;
  PARLEY_CHECK(hijack.has_value() == listed, "HijackFromName knows another list");
  if (hijack) PARLEY_CHECK(film::HijackName(*hijack) == text, "another name than was given");
}

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fuzz = parley::fuzz;
  parley::testing::Script script(data, size);
  fuzz::LeavesNothingAfterDisposal([&] {
    switch (script.Take8() % 4) {
      case 0:
        return fuzz::ShowText(script);
      case 1:
        return fuzz::ReadLines(script);
      case 2:
        return fuzz::Inherit(script);
      case 3:
        return fuzz::NameHijack(script);
    }
  });
  return 0;
}

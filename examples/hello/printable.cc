// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/hello/printable.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace parley {
namespace {

struct Character {
  uint32_t code = 0;
  std::size_t size_bytes = 0;  // 0: what stands here is not UTF-8
};

// The character at the front of `text`, which is not empty.
Character FirstCharacter(std::string_view text) {
  const auto byte = [&](std::size_t i) -> uint32_t { return static_cast<unsigned char>(text[i]); };
  const uint32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t size = first < 0xC2   ? 0
                           : first < 0xE0 ? 2
                           : first < 0xF0 ? 3
                           : first < 0xF5 ? 4
                                          : 0;
  if (size == 0 || text.size() < size) return {};
  uint32_t code = first & (0x7Fu >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3F);
  }
  const bool too_long = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  if (too_long || surrogate || code > 0x10FFFF) return {};
  return {code, size};
}

bool IsHarmless(uint32_t code) {
  if (code < 0x20 || (code >= 0x7F && code < 0xA0)) return false;  // control characters
  if (code == 0x2028 || code == 0x2029) return false;              // line and paragraph separators
  // Marks, embeddings and isolates that change the direction of the text.
  const bool directs = code == 0x061C || code == 0x200E || code == 0x200F ||
                       (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
  return !directs;
}

}  // namespace

std::string Printable(std::string_view text) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string result;
  while (!text.empty()) {
    const Character next = FirstCharacter(text);
    const std::size_t size_bytes = std::max<std::size_t>(next.size_bytes, 1);
    if (next.size_bytes != 0 && IsHarmless(next.code)) {
      result += text.substr(0, size_bytes);
    } else {
      for (const char c : text.substr(0, size_bytes)) {
        const auto byte = static_cast<unsigned char>(c);
        result += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
      }
    }
    text.remove_prefix(size_bytes);
  }
  return result;
}

}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include "parley/sandbox/printable.h"

namespace parley::internal {
namespace {

void AddPrintable(char c, std::string& text) {
  constexpr char kDigits[] = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  if (byte >= 0x20 && byte < 0x7f) {
    text += c;
  } else if (c == '\t') {
    text += ' ';
  } else if (c != '\r') {
    text += "\\x";
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
}

}  // namespace

void PrintableLines::Add(std::string_view raw, std::string& text) {
  for (const char c : raw) {
    if (c == '\n') {
      Flush(text);
      continue;
    }
    AddPrintable(c, line_);
    if (line_.size() >= kMaxLineBytes) Flush(text);
  }
}

void PrintableLines::Flush(std::string& text) {
  if (line_.empty()) return;
  text += '[';
  text += name_;
  text += "] ";
  text += line_;
  text += '\n';
  line_.clear();
}

}  // namespace parley::internal

std::string parley::Printable(std::string_view raw, size_t max_bytes) {
  std::string text;
  for (const char c : raw) {
    internal::AddPrintable(c == '\n' ? ' ' : c, text);
    if (text.size() >= max_bytes) break;
  }
  text.resize(text.size() < max_bytes ? text.size() : max_bytes);
  return text;
}

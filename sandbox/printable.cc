#include "parley/sandbox/printable.h"

namespace parley::internal {

void PrintableLines::Add(std::string_view raw, std::string& text) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (const char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      Flush(text);
      continue;
    }
    if (byte >= 0x20 && byte < 0x7f) {
      line_ += c;
    } else if (c == '\t') {
      line_ += ' ';
    } else if (c != '\r') {
      line_ += "\\x";
      line_ += kDigits[byte >> 4];
      line_ += kDigits[byte & 15];
    }
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

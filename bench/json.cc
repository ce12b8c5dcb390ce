// SPDX-License-Identifier: Apache-2.0
#include "parley/bench/json.h"

#include <array>
#include <cmath>
#include <cstdio>

namespace parley::bench {

// Objects and arrays of the first levels get lines of their own, so that a file can be compared.
void JsonWriter::NewLine() {
  if (has_items_.size() <= 2) text_ += '\n';
}

void JsonWriter::BeforeValue() {
  if (after_key_) {
    after_key_ = false;
    return;
  }
  if (has_items_.empty()) return;
  if (has_items_.back()) text_ += ',';
  has_items_.back() = true;
  NewLine();
}

JsonWriter& JsonWriter::BeginObject() {
  BeforeValue();
  text_ += '{';
  has_items_.push_back(false);
  return *this;
}

JsonWriter& JsonWriter::EndObject() {
  if (has_items_.back()) NewLine();
  has_items_.pop_back();
  text_ += '}';
  return *this;
}

JsonWriter& JsonWriter::BeginArray() {
  BeforeValue();
  text_ += '[';
  has_items_.push_back(false);
  return *this;
}

JsonWriter& JsonWriter::EndArray() {
  if (has_items_.back()) NewLine();
  has_items_.pop_back();
  text_ += ']';
  return *this;
}

JsonWriter& JsonWriter::Key(std::string_view name) {
  BeforeValue();
  Quote(name);
  text_ += ": ";
  after_key_ = true;
  return *this;
}

JsonWriter& JsonWriter::String(std::string_view text) {
  BeforeValue();
  Quote(text);
  return *this;
}

JsonWriter& JsonWriter::Number(double value) {
  BeforeValue();
  std::array<char, 40> digits = {};
  static_cast<void>(std::snprintf(digits.data(), digits.size(), "%.10g", value));  // it fits
  text_ += std::isfinite(value) ? digits.data() : "null";
  return *this;
}

JsonWriter& JsonWriter::Bool(bool value) {
  BeforeValue();
  text_ += value ? "true" : "false";
  return *this;
}

void JsonWriter::Quote(std::string_view text) {
  constexpr char kDigits[] = "0123456789abcdef";
  text_ += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      text_ += {'\\', c};
    } else if (byte < 0x20) {
      text_ += {'\\', 'u', '0', '0', kDigits[byte >> 4], kDigits[byte & 15]};
    } else {
      text_ += c;
    }
  }
  text_ += '"';
}

}  // namespace parley::bench

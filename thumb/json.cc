// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/json.h"

#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace parley::thumb {
namespace {

constexpr uint32_t kNoCharacter = 0xfffd;

struct Character {
  uint32_t code = kNoCharacter;
  std::size_t size_bytes = 1;
};

// The first character of `text`, which has one.
Character FirstOf(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t size_bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size_bytes) return {};
  uint32_t code = lead & (0xffu >> (size_bytes + 1));
  for (std::size_t i = 1; i < size_bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3fu);
  }
  const uint32_t min = size_bytes == 4 ? 0x10000 : size_bytes == 3 ? 0x800 : 0x80;
  if (code < min || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return {};
  return {code, size_bytes};
}

class Object {
 public:
  void Add(std::string_view key, std::string_view json) {
    absl::StrAppend(&text_, text_.empty() ? "{" : ",", "\"",
                    absl::string_view(key.data(), key.size()),
                    "\":", absl::string_view(json.data(), json.size()));
  }
  void AddText(std::string_view key, std::string_view text) {
    if (!text.empty()) Add(key, JsonString(text));
  }
  void AddNumber(std::string_view key, uint64_t number) {
    if (number != 0) Add(key, absl::StrCat(number));
  }
  void AddNs(std::string_view key, int64_t ns) {
    if (ns == 0) return;
    Add(key, absl::StrFormat("%d.%09d", ns / 1'000'000'000, ns % 1'000'000'000));
  }
  std::string text() const { return text_.empty() ? "{}" : text_ + "}"; }

 private:
  std::string text_;
};

std::string StreamToJson(std::size_t index, const StreamFacts& stream) {
  Object object;
  object.Add("index", absl::StrCat(index));
  object.AddText("kind", ToString(stream.kind));
  object.AddText("codec", stream.codec);
  object.AddText("profile", stream.profile);
  object.Add("decodable", stream.can_be_decoded ? "true" : "false");
  if (stream.attached_picture) object.Add("attached_picture", "true");
  object.AddNumber("width", stream.width);
  object.AddNumber("height", stream.height);
  if (stream.pixel_aspect_denominator != 0 && stream.pixel_aspect_numerator != 0) {
    object.Add("pixel_aspect", absl::StrFormat("\"%d:%d\"", stream.pixel_aspect_numerator,
                                               stream.pixel_aspect_denominator));
  }
  object.AddNumber("rotation_degrees", stream.rotation_degrees);
  if (stream.rate_denominator != 0 && stream.rate_numerator != 0) {
    object.Add("pictures_per_second",
               absl::StrFormat("\"%d/%d\"", stream.rate_numerator, stream.rate_denominator));
  }
  object.AddText("format", stream.format);
  object.AddText("primaries", stream.primaries);
  object.AddText("transfer", stream.transfer);
  object.AddText("matrix", stream.matrix);
  if (stream.full_range) object.Add("full_range", "true");
  object.AddNumber("samples_per_second", stream.sample_rate_hz);
  object.AddNumber("channels", stream.channels);
  object.AddText("language", stream.language);
  object.AddNs("duration_seconds", stream.duration_ns);
  object.AddNumber("bits_per_second", static_cast<uint64_t>(stream.bits_per_second));
  return object.text();
}

}  // namespace

std::string JsonString(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const Character character = FirstOf(text);
    text.remove_prefix(character.size_bytes);
    if (character.code == '"' || character.code == '\\') {
      out += '\\';
      out += static_cast<char>(character.code);
    } else if (character.code >= 0x20 && character.code < 0x7f) {
      out += static_cast<char>(character.code);
    } else if (character.code < 0x10000) {
      absl::StrAppendFormat(&out, "\\u%04x", character.code);
    } else {
      const uint32_t rest = character.code - 0x10000;
      absl::StrAppendFormat(&out, "\\u%04x\\u%04x", 0xd800 + (rest >> 10), 0xdc00 + (rest & 0x3ff));
    }
  }
  return out + "\"";
}

std::string FactsToJson(std::string_view file, uint64_t size_bytes, const MediaFacts& facts) {
  Object object;
  object.Add("file", JsonString(file));
  object.Add("bytes", absl::StrCat(size_bytes));
  object.AddText("container", facts.container);
  object.AddNs("duration_seconds", facts.duration_ns);
  object.AddNumber("bits_per_second", static_cast<uint64_t>(facts.bits_per_second));
  std::string streams = "[";
  for (std::size_t i = 0; i < facts.streams.size(); ++i) {
    absl::StrAppend(&streams, i == 0 ? "" : ",", StreamToJson(i, facts.streams[i]));
  }
  object.Add("streams", streams + "]");
  object.AddNumber("streams_left_out", facts.streams_left_out);
  return object.text();
}

std::string ErrorToJson(std::string_view file, std::string_view error) {
  Object object;
  object.Add("file", JsonString(file));
  object.Add("error", JsonString(error));
  return object.text();
}

}  // namespace parley::thumb

// SPDX-License-Identifier: Apache-2.0

// Attacks what parley-thumb's host reads from a worker (thumb/result_reader.h): any messages, as
// parts of a picture or as facts; and what is made of a result: a PNG, a PPM, a line of JSON.
//
// Input: one byte, whether facts are asked for; then messages: a byte for the tag (modulo 6), two
// for the length, the bytes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/os/check.h"
#include "parley/thumb/facts.h"
#include "parley/thumb/image_file.h"
#include "parley/thumb/json.h"
#include "parley/thumb/request.h"
#include "parley/thumb/result_reader.h"
#include "parley/thumb/thumb_wire.h"

namespace parley::fuzz {
namespace {

bool Plain(const std::string& text) {
  return text.size() <= 32 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

void CheckPicture(const thumb::Picture& picture, const thumb::ThumbRequest& request) {
  PARLEY_CHECK(picture.width >= 1 && picture.width <= request.max_width, "its width is allowed");
  PARLEY_CHECK(picture.height >= 1 && picture.height <= request.max_height,
               "its height is allowed");
  // Both check that it is whole.
  PARLEY_CHECK(thumb::EncodePng(picture).ok(), "a picture that was taken can be written");
  static_cast<void>(thumb::EncodePpm(picture));
}

void CheckFacts(const thumb::MediaFacts& facts) {
  PARLEY_CHECK(Plain(facts.container) && facts.duration_ns >= 0, "facts can be shown anywhere");
  PARLEY_CHECK(facts.streams.size() <= thumb::kMaxStreams, "there are no more streams");
  for (const thumb::StreamFacts& stream : facts.streams) {
    PARLEY_CHECK(Plain(stream.codec) && Plain(stream.profile) && Plain(stream.format) &&
                     Plain(stream.language) && Plain(stream.primaries) && Plain(stream.transfer) &&
                     Plain(stream.matrix),
                 "each text can be shown anywhere");
    PARLEY_CHECK(stream.rotation_degrees < 360 && stream.duration_ns >= 0,
                 "each number is in its range");
  }
  const std::string json = thumb::FactsToJson("x", 1, facts);
  PARLEY_CHECK(std::all_of(json.begin(), json.end(), [](char c) { return c >= 0x20 && c < 0x7f; }),
               "the line can be shown anywhere");
}

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  // SAFETY: any object may be looked at as std::byte.
  absl::Span<const std::byte> rest(reinterpret_cast<const std::byte*>(data), size);
  parley::thumb::ThumbRequest request;
  request.max_width = 16;
  request.max_height = 8;
  request.facts = data[0] % 2 != 0;
  rest.remove_prefix(1);
  parley::thumb::ResultReader reader(request);
  std::vector<uint8_t> pixels;  // of all messages that were taken
  while (rest.size() >= 3) {
    const auto tag = std::to_integer<uint32_t>(rest[0]) % 6;
    const std::size_t length =
        std::min<std::size_t>(rest.size() - 3, std::to_integer<std::size_t>(rest[1]) |
                                                   std::to_integer<std::size_t>(rest[2]) << 8);
    const absl::Status status = reader.Add(tag, rest.subspan(3, length));
    PARLEY_CHECK(status.ok() || absl::IsDataLoss(status), "a lie is a lie");
    if (!status.ok()) return 0;  // the host ends the worker
    if (tag == parley::thumb::kPixelsTag) {
      for (const std::byte byte : rest.subspan(3, length)) {
        pixels.push_back(std::to_integer<uint8_t>(byte));
      }
    }
    rest.remove_prefix(3 + length);
  }
  if (!reader.Finish().ok()) return 0;
  PARLEY_CHECK(reader.picture().has_value() != reader.facts().has_value(), "it is one of the two");
  if (reader.picture().has_value()) {
    PARLEY_CHECK(reader.picture()->bytes == pixels, "its pixels are those that were sent");
  }
  if (reader.picture().has_value()) parley::fuzz::CheckPicture(*reader.picture(), request);
  if (reader.facts().has_value()) parley::fuzz::CheckFacts(*reader.facts());
  return 0;
}

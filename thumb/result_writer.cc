// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/result_writer.h"

#include <algorithm>
#include <string>

#include "parley/boundary/wire_copy.h"
#include "parley/thumb/thumb_wire.h"

namespace parley::thumb {
namespace {

Text ToText(const std::string& from) {
  Text text = {};
  std::copy_n(from.begin(), std::min(from.size(), text.size()), text.begin());
  return text;
}

StreamWire ToWire(const StreamFacts& stream) {
  return {.kind = static_cast<uint32_t>(stream.kind),
          .flags = (stream.attached_picture ? kAttachedPicture : 0) |
                   (stream.can_be_decoded ? kCanBeDecoded : 0) |
                   (stream.full_range ? kFullRange : 0),
          .codec = ToText(stream.codec),
          .profile = ToText(stream.profile),
          .format = ToText(stream.format),
          .language = ToText(stream.language),
          .primaries = ToText(stream.primaries),
          .transfer = ToText(stream.transfer),
          .matrix = ToText(stream.matrix),
          .duration_ns = stream.duration_ns,
          .bits_per_second = stream.bits_per_second,
          .width = stream.width,
          .height = stream.height,
          .pixel_aspect_numerator = stream.pixel_aspect_numerator,
          .pixel_aspect_denominator = stream.pixel_aspect_denominator,
          .rotation_degrees = stream.rotation_degrees,
          .rate_numerator = stream.rate_numerator,
          .rate_denominator = stream.rate_denominator,
          .sample_rate_hz = stream.sample_rate_hz,
          .channels = stream.channels,
          .reserved = 0};
}

}  // namespace

absl::Status SendResult(const ThumbResult& result, std::size_t max_message_bytes,
                        const SendMessage& send) {
  if (result.picture.has_value()) {
    const Picture& picture = *result.picture;
    const PictureWire wire = {.width = picture.width,
                              .height = picture.height,
                              .channels = picture.channels,
                              .reserved = 0};
    if (absl::Status sent = send(kPictureTag, WireBytes(wire)); !sent.ok()) return sent;
    absl::Span<const std::byte> rest = BytesOfWire(absl::MakeConstSpan(picture.bytes));
    while (!rest.empty()) {
      const auto now = rest.first(std::min(rest.size(), max_message_bytes));
      if (absl::Status sent = send(kPixelsTag, now); !sent.ok()) return sent;
      rest.remove_prefix(now.size());
    }
  }
  if (result.facts.has_value()) {
    const MediaFacts& facts = *result.facts;
    const FileWire wire = {.container = ToText(facts.container),
                           .duration_ns = facts.duration_ns,
                           .bits_per_second = facts.bits_per_second,
                           .streams = static_cast<uint32_t>(facts.streams.size()),
                           .streams_left_out = facts.streams_left_out};
    if (absl::Status sent = send(kFileTag, WireBytes(wire)); !sent.ok()) return sent;
    for (const StreamFacts& stream : facts.streams) {
      if (absl::Status sent = send(kStreamTag, WireBytes(ToWire(stream))); !sent.ok()) return sent;
    }
  }
  return absl::OkStatus();
}

}  // namespace parley::thumb

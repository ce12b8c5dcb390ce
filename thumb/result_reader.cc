// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/result_reader.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "parley/boundary/wire_copy.h"
#include "parley/thumb/thumb_wire.h"

namespace parley::thumb {
namespace {

constexpr int64_t kMaxDurationNs = int64_t{1} << 62;
constexpr int64_t kMaxBitsPerSecond = int64_t{1} << 50;
constexpr uint32_t kMaxNumber = uint32_t{1} << 31;

absl::Status Lie(const std::string& what) {
  return absl::DataLossError(absl::StrCat("the worker broke the protocol: ", what));
}

bool ReadText(const Text& text, std::string& out) {
  const auto end = std::find(text.begin(), text.end(), '\0');
  out.assign(text.begin(), end);
  return std::all_of(text.begin(), end, [](char c) { return c >= 0x20 && c < 0x7f; }) &&
         std::all_of(end, text.end(), [](char c) { return c == '\0'; });
}

bool InRange(int64_t value, int64_t max) { return value >= 0 && value <= max; }

}  // namespace

absl::Status ResultReader::Add(uint32_t tag, absl::Span<const std::byte> bytes) {
  switch (tag) {
    case kPictureTag:
      return AddPicture(bytes);
    case kPixelsTag:
      return AddPixels(bytes);
    case kFileTag:
      return AddFile(bytes);
    case kStreamTag:
      return AddStream(bytes);
    default:
      return Lie(absl::StrCat("a message of an unknown kind, ", tag));
  }
}

absl::Status ResultReader::AddPicture(absl::Span<const std::byte> bytes) {
  // TRUST: the copy is private; the fields checked are the fields used.
  PictureWire wire;
  if (request_.facts) return Lie("a picture that was not asked for");
  if (picture_.has_value()) return Lie("a second picture");
  if (bytes.size() != sizeof(wire) || !ReadWire(bytes, &wire) || wire.reserved != 0) {
    return Lie("a picture's header that is none");
  }
  if (wire.width < 1 || wire.width > MaxWidth(request_) || wire.height < 1 ||
      wire.height > MaxHeight(request_)) {
    return Lie(absl::StrCat("a picture of ", wire.width, " x ", wire.height));
  }
  if (wire.channels != 3 && wire.channels != 4) {
    return Lie(absl::StrCat("a picture with ", wire.channels, " channels"));
  }
  picture_.emplace();
  picture_->width = wire.width;
  picture_->height = wire.height;
  picture_->channels = wire.channels;
  picture_bytes_ = std::size_t{wire.width} * wire.height * wire.channels;
  return absl::OkStatus();
}

absl::Status ResultReader::AddPixels(absl::Span<const std::byte> bytes) {
  if (!picture_.has_value()) return Lie("pixels without a picture");
  if (bytes.empty() || bytes.size() > picture_bytes_ - picture_->bytes.size()) {
    return Lie(absl::StrCat(bytes.size(), " bytes where ", picture_bytes_ - picture_->bytes.size(),
                            " are missing"));
  }
  std::vector<uint8_t>& pixels = picture_->bytes;
  const std::size_t had_bytes = pixels.size();
  pixels.resize(had_bytes + bytes.size());
  std::memcpy(pixels.data() + had_bytes, bytes.data(), bytes.size());
  return absl::OkStatus();
}

absl::Status ResultReader::AddFile(absl::Span<const std::byte> bytes) {
  // TRUST: as in AddPicture.
  FileWire wire;
  if (!request_.facts) return Lie("facts that were not asked for");
  if (facts_.has_value()) return Lie("facts a second time");
  MediaFacts facts;
  if (bytes.size() != sizeof(wire) || !ReadWire(bytes, &wire) ||
      !ReadText(wire.container, facts.container) || !InRange(wire.duration_ns, kMaxDurationNs) ||
      !InRange(wire.bits_per_second, kMaxBitsPerSecond) || wire.streams > kMaxStreams ||
      wire.streams_left_out > kMaxNumber) {
    return Lie("facts that are none");
  }
  facts.duration_ns = wire.duration_ns;
  facts.bits_per_second = wire.bits_per_second;
  facts.streams_left_out = wire.streams_left_out;
  streams_ = wire.streams;
  facts_ = std::move(facts);
  return absl::OkStatus();
}

absl::Status ResultReader::AddStream(absl::Span<const std::byte> bytes) {
  // TRUST: as in AddPicture.
  StreamWire wire;
  if (!facts_.has_value() || facts_->streams.size() >= streams_) return Lie("a stream too many");
  StreamFacts stream;
  if (bytes.size() != sizeof(wire) || !ReadWire(bytes, &wire) || wire.reserved != 0 ||
      wire.kind >= kStreamKinds ||
      (wire.flags & ~(kAttachedPicture | kCanBeDecoded | kFullRange)) != 0) {
    return Lie("a stream that is none");
  }
  if (!ReadText(wire.codec, stream.codec) || !ReadText(wire.profile, stream.profile) ||
      !ReadText(wire.format, stream.format) || !ReadText(wire.language, stream.language) ||
      !ReadText(wire.primaries, stream.primaries) || !ReadText(wire.transfer, stream.transfer) ||
      !ReadText(wire.matrix, stream.matrix)) {
    return Lie("a text that cannot be printed");
  }
  for (const uint32_t number :
       {wire.width, wire.height, wire.pixel_aspect_numerator, wire.pixel_aspect_denominator,
        wire.rate_numerator, wire.rate_denominator, wire.sample_rate_hz, wire.channels}) {
    if (number > kMaxNumber) return Lie("a number beyond its range");
  }
  if (!InRange(wire.duration_ns, kMaxDurationNs) ||
      !InRange(wire.bits_per_second, kMaxBitsPerSecond) || wire.rotation_degrees > 359) {
    return Lie("a number beyond its range");
  }
  stream.kind = static_cast<StreamKind>(wire.kind);
  stream.attached_picture = (wire.flags & kAttachedPicture) != 0;
  stream.can_be_decoded = (wire.flags & kCanBeDecoded) != 0;
  stream.full_range = (wire.flags & kFullRange) != 0;
  stream.duration_ns = wire.duration_ns;
  stream.bits_per_second = wire.bits_per_second;
  stream.width = wire.width;
  stream.height = wire.height;
  stream.pixel_aspect_numerator = wire.pixel_aspect_numerator;
  stream.pixel_aspect_denominator = wire.pixel_aspect_denominator;
  stream.rotation_degrees = wire.rotation_degrees;
  stream.rate_numerator = wire.rate_numerator;
  stream.rate_denominator = wire.rate_denominator;
  stream.sample_rate_hz = wire.sample_rate_hz;
  stream.channels = wire.channels;
  facts_->streams.push_back(std::move(stream));
  return absl::OkStatus();
}

absl::Status ResultReader::Finish() const {
  if (request_.facts) {
    if (!facts_.has_value()) return Lie("it sent no facts");
    if (facts_->streams.size() != streams_) return Lie("it sent too few streams");
    return absl::OkStatus();
  }
  if (!picture_.has_value()) return Lie("it sent no picture");
  if (picture_->bytes.size() != picture_bytes_) return Lie("its picture has missing pixels");
  return absl::OkStatus();
}

}  // namespace parley::thumb

// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/request.h"

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "parley/boundary/wire_copy.h"
#include "parley/thumb/thumb_wire.h"

namespace parley::thumb {
namespace {

uint64_t SheetSide(uint32_t side, uint32_t count) {
  return uint64_t{side} * count + uint64_t{kGridGap} * (count - 1);
}

absl::Status OutOfRange(const char* what, uint64_t value, uint64_t min, uint64_t max) {
  return absl::InvalidArgumentError(
      absl::StrCat(what, " is ", value, "; allowed: ", min, " to ", max));
}

}  // namespace

uint32_t MaxWidth(const ThumbRequest& request) {
  return static_cast<uint32_t>(SheetSide(request.max_width, request.columns));
}

uint32_t MaxHeight(const ThumbRequest& request) {
  return static_cast<uint32_t>(SheetSide(request.max_height, request.rows));
}

absl::Status Validate(const ThumbRequest& request) {
  for (const uint32_t side : {request.max_width, request.max_height}) {
    if (side < 1 || side > kMaxSide) return OutOfRange("a side of the picture", side, 1, kMaxSide);
  }
  for (const uint32_t count : {request.columns, request.rows}) {
    if (count < 1 || count > kMaxGridSide) {
      return OutOfRange("a side of the grid", count, 1, kMaxGridSide);
    }
  }
  const uint64_t pixels = uint64_t{MaxWidth(request)} * MaxHeight(request);
  if (pixels > kMaxSheetPixels) return OutOfRange("the sheet's pixels", pixels, 1, kMaxSheetPixels);
  if (request.max_pixels < 1 || request.max_pixels > uint64_t{1} << 31) {
    return OutOfRange("the limit of pixels", request.max_pixels, 1, uint64_t{1} << 31);
  }
  if (request.at.value < 0 ||
      (request.at.kind == PictureTime::Kind::kPart && request.at.value > 1'000'000)) {
    return absl::InvalidArgumentError("the time is not within a film");
  }
  return absl::OkStatus();
}

std::string Encode(const ThumbRequest& request) {
  const RequestWire wire = {.max_pixels = request.max_pixels,
                            .at = request.at.value,
                            .at_kind = static_cast<uint32_t>(request.at.kind),
                            .max_width = request.max_width,
                            .max_height = request.max_height,
                            .columns = request.columns,
                            .rows = request.rows,
                            .facts = request.facts ? 1u : 0u};
  std::string text;
  for (const std::byte byte : WireBytes(wire)) text += static_cast<char>(byte);
  return text;
}

absl::StatusOr<ThumbRequest> DecodeRequest(std::string_view text) {
  RequestWire wire;
  if (text.size() != sizeof(wire) ||
      !ReadWire(BytesOfWire(absl::MakeConstSpan(text.data(), text.size())), &wire) ||
      wire.at_kind > static_cast<uint32_t>(PictureTime::Kind::kPart) || wire.facts > 1) {
    return absl::InternalError("this is no request");
  }
  const ThumbRequest request = {
      .max_width = wire.max_width,
      .max_height = wire.max_height,
      .max_pixels = wire.max_pixels,
      .at = {.kind = static_cast<PictureTime::Kind>(wire.at_kind), .value = wire.at},
      .columns = wire.columns,
      .rows = wire.rows,
      .facts = wire.facts == 1};
  if (absl::Status status = Validate(request); !status.ok()) return status;
  return request;
}

}  // namespace parley::thumb

// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/make_thumbnail.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "parley/thumb/media_file.h"
#include "parley/thumb/render.h"
#include "parley/thumb/webp_file.h"

namespace parley::thumb {
namespace {

constexpr std::array<uint8_t, 4> kPaper = {24, 24, 27, 255};

absl::StatusOr<std::unique_ptr<MediaFile>> Open(av::ByteSource& source, uint64_t max_pixels) {
  absl::StatusOr<std::unique_ptr<MediaFile>> animation = OpenAnimatedWebp(source, max_pixels);
  if (!animation.ok() || *animation != nullptr) return animation;
  return MediaFile::Open(source, max_pixels);
}

absl::StatusOr<Picture> PictureOf(MediaFile& file, const ThumbRequest& request, int64_t time_ns,
                                  Exactness exactness) {
  const absl::StatusOr<DecodedPicture> decoded = file.PictureAt(time_ns, exactness);
  if (!decoded.ok()) return decoded.status();
  return Render(*decoded, request.max_width, request.max_height);
}

// `part` millionths of the film.
int64_t TimeOfPart(const MediaFile& file, int64_t part) {
  return file.duration_ns() / 1'000'000 * part + file.duration_ns() % 1'000'000 * part / 1'000'000;
}

absl::StatusOr<Picture> OnePicture(MediaFile& file, const ThumbRequest& request) {
  switch (request.at.kind) {
    case PictureTime::Kind::kNanoseconds:
      return PictureOf(file, request, request.at.value, Exactness::kExact);
    case PictureTime::Kind::kPart:
      return PictureOf(file, request, TimeOfPart(file, request.at.value), Exactness::kExact);
    case PictureTime::Kind::kAuto:
      break;
  }
  const int64_t time_ns = file.is_still() ? 0 : TimeOfPart(file, 100'000);
  return PictureOf(file, request, time_ns, Exactness::kKeyPicture);
}

void Put(const Picture& cell, uint32_t left, uint32_t top, Picture& sheet) {
  for (uint32_t y = 0; y < std::min(cell.height, sheet.height - top); ++y) {
    for (uint32_t x = 0; x < std::min(cell.width, sheet.width - left); ++x) {
      const uint8_t* from = &cell.bytes[cell.At(x, y)];
      uint8_t* to = &sheet.bytes[sheet.At(left + x, top + y)];
      const unsigned alpha = cell.channels == 4 ? from[3] : 255;
      for (std::size_t c = 0; c < 3; ++c) {
        to[c] = static_cast<uint8_t>((from[c] * alpha + kPaper[c] * (255 - alpha)) / 255);
      }
    }
  }
}

// The middles of as many equal parts of the film, in rows.
absl::StatusOr<Picture> Sheet(MediaFile& file, const ThumbRequest& request) {
  Picture sheet;
  uint32_t cell_width = 0;
  uint32_t cell_height = 0;
  const uint32_t count = request.columns * request.rows;
  for (uint32_t i = 0; i < count; ++i) {
    const absl::StatusOr<Picture> cell = PictureOf(
        file, request, TimeOfPart(file, (2 * int64_t{i} + 1) * 500'000 / count), Exactness::kExact);
    // A damaged part of a film leaves its cell empty.
    if (!cell.ok() && i == 0) return cell.status();
    if (i == 0) {
      cell_width = cell->width;
      cell_height = cell->height;
      sheet.width = cell_width * request.columns + kGridGap * (request.columns - 1);
      sheet.height = cell_height * request.rows + kGridGap * (request.rows - 1);
      sheet.bytes.resize(std::size_t{sheet.width} * sheet.height * 3);
      for (std::size_t at = 0; at < sheet.bytes.size(); ++at) sheet.bytes[at] = kPaper[at % 3];
    }
    if (!cell.ok()) continue;
    Put(*cell, i % request.columns * (cell_width + kGridGap),
        i / request.columns * (cell_height + kGridGap), sheet);
  }
  return sheet;
}

}  // namespace

absl::StatusOr<ThumbResult> MakeThumbnail(av::ByteSource& source, const ThumbRequest& request) {
  ThumbResult result;
  const auto file = Open(source, request.max_pixels);
  if (!file.ok()) return file.status();
  if (request.facts) {
    result.facts = (*file)->Facts();
    return result;
  }
  absl::StatusOr<Picture> picture =
      request.columns * request.rows > 1 ? Sheet(**file, request) : OnePicture(**file, request);
  if (!picture.ok()) return picture.status();
  result.picture = *std::move(picture);
  return result;
}

}  // namespace parley::thumb

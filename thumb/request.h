// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_REQUEST_H_
#define PARLEY_THUMB_REQUEST_H_

// What a picture shall be: the host's word, which the worker keeps and the host checks.
//
// Threads: values; any.
//
//   ThumbRequest request;
//   if (absl::Status status = Validate(request); !status.ok()) return status;
//   job.request = Encode(request);

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace parley::thumb {

// Which picture of a film.
struct PictureTime {
  enum class Kind : uint32_t {
    kAuto,         // the key picture before a tenth of the film; the first one of animations
    kNanoseconds,  // the first one at or after `value`
    kPart,         // the first one at or after `value` millionths of the duration
  };
  Kind kind = Kind::kAuto;
  int64_t value = 0;
};

struct ThumbRequest {
  // The box that a picture, upright and with square pixels, fits into. None is enlarged.
  uint32_t max_width = 256;
  uint32_t max_height = 256;
  // Of the decoded picture: a larger one is refused.
  uint64_t max_pixels = 100'000'000;
  PictureTime at;
  // More than one: that many pictures of the film, at equal distances, on one sheet.
  uint32_t columns = 1;
  uint32_t rows = 1;
  // Facts (thumb/facts.h) instead of a picture.
  bool facts = false;
};

inline constexpr uint32_t kMaxSide = 8192;
inline constexpr uint32_t kMaxGridSide = 32;
inline constexpr uint64_t kMaxSheetPixels = uint64_t{64} << 20;
inline constexpr uint32_t kGridGap = 4;

// The largest picture that may come of it.
uint32_t MaxWidth(const ThumbRequest& request);
uint32_t MaxHeight(const ThumbRequest& request);

// kInvalidArgument names the number and what is allowed.
absl::Status Validate(const ThumbRequest& request);

std::string Encode(const ThumbRequest& request);
absl::StatusOr<ThumbRequest> DecodeRequest(std::string_view text);

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_REQUEST_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_IMAGE_FILE_H_
#define PARLEY_THUMB_IMAGE_FILE_H_

// A picture as the bytes of a PNG or PPM file.
//
// Trust: the picture is whole (picture.h's sizes hold: checked); its pixels are anything.
// Threads: pure functions; any.
//
//   absl::StatusOr<std::string> png = EncodePng(picture);

#include <string>

#include "absl/status/statusor.h"
#include "parley/thumb/picture.h"

namespace parley::thumb {

// 8 bits a channel, sRGB. kResourceExhausted: libpng has no memory.
absl::StatusOr<std::string> EncodePng(const Picture& picture);

// P6. What is transparent shows white.
std::string EncodePpm(const Picture& picture);

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_IMAGE_FILE_H_

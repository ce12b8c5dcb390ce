// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/image_file.h"

#include <png.h>

#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "parley/os/check.h"

namespace parley::thumb {
namespace {

void CheckWhole(const Picture& picture) {
  PARLEY_CHECK(
      (picture.channels == 3 || picture.channels == 4) && picture.width > 0 && picture.height > 0 &&
          picture.bytes.size() == std::size_t{picture.width} * picture.height * picture.channels,
      "a picture whose bytes are not those of its size");
}

}  // namespace

absl::StatusOr<std::string> EncodePng(const Picture& picture) {
  CheckWhole(picture);
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = picture.width;
  image.height = picture.height;
  image.format = picture.channels == 4 ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
  // Enough for what cannot be compressed; what is not used is cut off.
  png_alloc_size_t size_bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string png(size_bytes, '\0');
  const auto stride = static_cast<png_int_32>(picture.width * picture.channels);
  const bool written = png_image_write_to_memory(&image, png.data(), &size_bytes, 0,
                                                 picture.bytes.data(), stride, nullptr) != 0;
  const std::string why = image.message;
  png_image_free(&image);
  if (!written) return absl::ResourceExhaustedError(absl::StrCat("cannot make a PNG: ", why));
  png.resize(size_bytes);
  return png;
}

std::string EncodePpm(const Picture& picture) {
  CheckWhole(picture);
  std::string ppm = absl::StrCat("P6\n", picture.width, " ", picture.height, "\n255\n");
  const std::size_t pixels = std::size_t{picture.width} * picture.height;
  ppm.reserve(ppm.size() + pixels * 3);
  for (std::size_t i = 0; i < pixels; ++i) {
    const uint8_t* pixel = &picture.bytes[i * picture.channels];
    const unsigned alpha = picture.channels == 4 ? pixel[3] : 255;
    for (std::size_t c = 0; c < 3; ++c) {
      ppm += static_cast<char>((pixel[c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
  }
  return ppm;
}

}  // namespace parley::thumb

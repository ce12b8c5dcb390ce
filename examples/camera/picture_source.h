// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_CAMERA_PICTURE_SOURCE_H_
#define PARLEY_EXAMPLES_CAMERA_PICTURE_SOURCE_H_

// Where a camera's pictures come from: a video device (V4L2), or a pattern that is computed. YUYV:
// two bytes a pixel, rows without padding.
//
// Threads: one at a time.
//
//   absl::StatusOr<std::unique_ptr<PictureSource>> source = OpenVideoDevice("/dev/video0");
//   std::unique_ptr<PictureSource> pattern = MakePattern(640, 480, 30);
//   absl::Status taken = pattern->Next(number, bytes);    // bytes.size() == picture_bytes()

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace parley::camera {

class PictureSource {
 public:
  virtual ~PictureSource() = default;
  virtual uint32_t width() const = 0;
  virtual uint32_t height() const = 0;
  // Waits for the next picture and writes it to `into`, of picture_bytes().
  virtual absl::Status Next(uint64_t number, absl::Span<std::byte> into) = 0;

  std::size_t picture_bytes() const { return std::size_t{width()} * height() * 2; }
};

// kNotFound: there is no such device; kUnimplemented: it has no pictures in YUYV.
absl::StatusOr<std::unique_ptr<PictureSource>> OpenVideoDevice(const std::string& path);

// `rate_hz` pictures a second. A viewer can tell by its first and last byte which one it has.
std::unique_ptr<PictureSource> MakePattern(uint32_t width, uint32_t height, double rate_hz);
std::byte PatternByte(uint64_t number, std::size_t at);

}  // namespace parley::camera

#endif  // PARLEY_EXAMPLES_CAMERA_PICTURE_SOURCE_H_

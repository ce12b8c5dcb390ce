// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_AV_PICTURE_CONVERTER_H_
#define PARLEY_AV_PICTURE_CONVERTER_H_

// Describes a decoded AVFrame as a Picture: as it is where the receiver accepts its format, through
// swscale's bit-exact path where not. Range and matrix are kept, and what the result has is said.
//
// Threads: one at a time.
//
//   PictureConverter converter(acceptance);
//   Picture picture;
//   absl::Status converted = converter.Convert(*frame, picture);   // points into *frame or in here

#include "absl/status/status.h"
#include "parley/av/libav.h"
#include "parley/av/media_units.h"
#include "parley/media/acceptance.h"

namespace parley::av {

class PictureConverter {
 public:
  explicit PictureConverter(const Acceptance& acceptance) : acceptance_(acceptance) {}

  // Fills format (but for the frame rate, and the aspect and matrix of a frame that has none),
  // flags, planes and strides. They are valid until the next call and as long as `frame`.
  // kUnimplemented: the receiver accepts no format that this one could become.
  absl::Status Convert(const AVFrame& frame, Picture& picture);

 private:
  // The accepted format that loses least of `format`; AV_PIX_FMT_NONE.
  AVPixelFormat Target(AVPixelFormat format) const;
  absl::Status Scale(const AVFrame& frame, AVPixelFormat target, Picture& picture);

  const Acceptance acceptance_;
  AvSwsContext sws_;
  AvFrame converted_;
  IccProfile icc_;  // of the last picture
};

}  // namespace parley::av

#endif  // PARLEY_AV_PICTURE_CONVERTER_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_RENDER_H_
#define PARLEY_THUMB_RENDER_H_

// A decoded picture of any kind as a small one in sRGB: upright, with square pixels, no larger than
// a box and never enlarged.
//
// Y'CbCr is read by the matrix and range that the picture names, and where it names none by those
// that players guess (media/colour.h). PQ and HLG are brought to the brightness of a screen by
// Hable's curve, their colours to BT.709. Other wide colours, and ICC profiles, are taken as they
// are.
//
// Trust: for the confined worker: libswscale works on hostile pixels here.
// Threads: pure functions; any.
//
//   absl::StatusOr<Picture> small = Render(decoded, 256, 256);

#include <cstdint>

#include "absl/status/statusor.h"
#include "parley/thumb/libav.h"
#include "parley/thumb/media_file.h"
#include "parley/thumb/picture.h"

namespace parley::thumb {

// The picture has 4 channels where any pixel is not opaque.
absl::StatusOr<Picture> Render(const DecodedPicture& decoded, uint32_t max_width,
                               uint32_t max_height);

// The frame as a part of a larger, transparent one.
absl::StatusOr<av::AvFrame> OnCanvas(const AVFrame& frame, uint32_t canvas_width,
                                     uint32_t canvas_height, uint32_t left, uint32_t top);

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_RENDER_H_

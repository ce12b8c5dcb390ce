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

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/av/libav.h"
#include "parley/thumb/media_file.h"
#include "parley/thumb/picture.h"

namespace parley::thumb {

// The picture has 4 channels where any pixel is not opaque.
absl::StatusOr<Picture> Render(const DecodedPicture& decoded, uint32_t max_width,
                               uint32_t max_height);

// An RGBA picture without a colour. kResourceExhausted.
absl::StatusOr<av::AvFrame> NewCanvas(uint32_t width, uint32_t height);

// Puts the frame onto the canvas, in place of what is there or blended with it as WebP's animations
// do. kInvalidArgument: it is not within it.
absl::Status PutOnCanvas(const AVFrame& frame, uint32_t left, uint32_t top, bool blends,
                         AVFrame& canvas);

// Makes a part of the canvas, which lies in it, transparent.
void ClearCanvas(uint32_t left, uint32_t top, uint32_t width, uint32_t height, AVFrame& canvas);

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_RENDER_H_

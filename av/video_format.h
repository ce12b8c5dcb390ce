// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_AV_VIDEO_FORMAT_H_
#define PARLEY_AV_VIDEO_FORMAT_H_

// What libav says of a decoded picture, in the words of media/format.h, and what swscale is to be
// told of its colours.
//
// Trust: each number of the frame is a file's, and any is expected.
// Threads: any.
//
//   VideoFormat format = VideoFormatOf(*frame);
//   const ResolvedColour colour = ColourOf(*frame);
//   sws_setColorspaceDetails(sws, sws_getCoefficients(SwsMatrix(colour.matrix)), ...);

#include <cstdint>

#include "parley/av/libav.h"
#include "parley/media/colour.h"
#include "parley/media/format.h"

namespace parley::av {

// Size, pixel aspect, colours, place of chroma and the frame's own display matrix. Not the pixel
// format, which may be one that we have no name for, nor what a frame does not know (frame rate) or
// has in bulk (the ICC profile).
VideoFormat VideoFormatOf(const AVFrame& frame);

// Which matrix and range the samples of a frame of any pixel format have, with the guesses of
// media/colour.h.
ResolvedColour ColourOf(const AVFrame& frame);

// The same, of a picture in `format` whose samples are as libav's `pixel_format` has them.
ResolvedColour ColourOf(VideoFormat format, AVPixelFormat pixel_format);

// The nine numbers of libav's as a format has them: all zero for a matrix that turns nothing, or
// that nothing could be shown with.
DisplayMatrix ToDisplayMatrix(const int32_t* matrix);

// swscale's number of a matrix of H.273.
int SwsMatrix(uint8_t matrix);

}  // namespace parley::av

#endif  // PARLEY_AV_VIDEO_FORMAT_H_

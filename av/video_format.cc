// SPDX-License-Identifier: Apache-2.0
#include "parley/av/video_format.h"

#include <algorithm>
#include <cstddef>

namespace parley::av {
namespace {

// Names of libav's for the full range that are older than AVFrame::color_range.
bool IsOldFullRange(int format) {
  return format == AV_PIX_FMT_YUVJ420P || format == AV_PIX_FMT_YUVJ422P ||
         format == AV_PIX_FMT_YUVJ444P || format == AV_PIX_FMT_YUVJ440P ||
         format == AV_PIX_FMT_YUVJ411P;
}

template <typename Enum>
uint8_t CodePoint(const Enum& code) {
  const int value = NumberOf(code);
  return value >= 0 && value <= 255 ? static_cast<uint8_t>(value) : kMatrixUnspecified;
}

}  // namespace

VideoFormat VideoFormatOf(const AVFrame& frame) {
  VideoFormat format;
  format.width = static_cast<uint32_t>(frame.width);
  format.height = static_cast<uint32_t>(frame.height);
  if (frame.sample_aspect_ratio.num > 0 && frame.sample_aspect_ratio.den > 0) {
    format.pixel_aspect = {static_cast<uint32_t>(frame.sample_aspect_ratio.num),
                           static_cast<uint32_t>(frame.sample_aspect_ratio.den)};
  }
  const int range = NumberOf(frame.color_range);
  format.colour.range = range == AVCOL_RANGE_JPEG   ? ColourRange::kFull
                        : range == AVCOL_RANGE_MPEG ? ColourRange::kLimited
                                                    : ColourRange::kUnspecified;
  if (IsOldFullRange(frame.format)) format.colour.range = ColourRange::kFull;
  format.colour.primaries = CodePoint(frame.color_primaries);
  format.colour.transfer = CodePoint(frame.color_trc);
  format.colour.matrix = CodePoint(frame.colorspace);
  const int place = NumberOf(frame.chroma_location);
  format.chroma_place =
      place >= 0 && place <= 6 ? static_cast<ChromaPlace>(place) : ChromaPlace::kUnspecified;
  const AVFrameSideData* matrix = av_frame_get_side_data(&frame, AV_FRAME_DATA_DISPLAYMATRIX);
  if (matrix != nullptr && matrix->size >= sizeof(DisplayMatrix)) {
    // SAFETY: nine aligned int32_t, by libavutil/display.h.
    format.display_matrix = ToDisplayMatrix(reinterpret_cast<const int32_t*>(matrix->data));
  }
  return format;
}

ResolvedColour ColourOf(VideoFormat format, AVPixelFormat pixel_format) {
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(pixel_format);
  const uint64_t flags = descriptor == nullptr ? 0 : descriptor->flags;
  const bool gray = descriptor != nullptr && descriptor->nb_components <= 2;
  // Any format of the kind: what is not specified is guessed as for all others.
  format.pixel_format = (flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0
                            ? PixelFormat::kRgb24
                        : gray ? PixelFormat::kGray8
                               : PixelFormat::kI420;
  return ResolveColour(format);
}

ResolvedColour ColourOf(const AVFrame& frame) {
  return ColourOf(VideoFormatOf(frame), static_cast<AVPixelFormat>(frame.format));
}

DisplayMatrix ToDisplayMatrix(const int32_t* matrix) {
  DisplayMatrix out;
  std::copy_n(matrix, out.size(), out.begin());
  constexpr int32_t kOne = 1 << 16;
  const bool turns = out[0] != kOne || out[1] != 0 || out[3] != 0 || out[4] != kOne;
  const bool can_be_inverted = int64_t{out[0]} * out[4] != int64_t{out[1]} * out[3];
  return turns && can_be_inverted ? out : DisplayMatrix{};
}

int SwsMatrix(uint8_t matrix) {
  switch (matrix) {
    case 1:
      return SWS_CS_ITU709;
    case 4:
      return SWS_CS_FCC;
    case 7:
      return SWS_CS_SMPTE240M;
    case 9:
    case 10:
      return SWS_CS_BT2020;
    default:
      return SWS_CS_ITU601;
  }
}

}  // namespace parley::av

// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/render.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "parley/av/video_format.h"
#include "parley/media/colour.h"
#include "parley/thumb/tone_map.h"

namespace parley::thumb {
namespace {

using av::AvFrame;
using av::AvSwsContext;

constexpr int kScaling =
    SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP;
// swscale refuses to reduce a side by much more at once.
constexpr int kMaxReduction = 16;

const AVPixFmtDescriptor* DescriptorOf(const AVFrame& frame) {
  return av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame.format));
}

bool HasAlpha(const AVPixFmtDescriptor& descriptor) {
  return (descriptor.flags & (AV_PIX_FMT_FLAG_ALPHA | AV_PIX_FMT_FLAG_PAL)) != 0;
}

std::optional<ToneMap> ToneMapOf(const AVFrame& frame) {
  ToneMap map;
  const int transfer = av::NumberOf(frame.color_trc);
  if (transfer == AVCOL_TRC_ARIB_STD_B67) {
    map.transfer = HdrTransfer::kHlg;
    return map;
  }
  if (transfer != AVCOL_TRC_SMPTE2084) return std::nullopt;
  double peak_nits = 0;
  if (const AVFrameSideData* data =
          av_frame_get_side_data(&frame, AV_FRAME_DATA_CONTENT_LIGHT_LEVEL);
      data != nullptr && data->size >= sizeof(AVContentLightMetadata)) {
    AVContentLightMetadata light;
    std::memcpy(&light, data->data, sizeof(light));
    peak_nits = light.MaxCLL;
  }
  if (const AVFrameSideData* data =
          av_frame_get_side_data(&frame, AV_FRAME_DATA_MASTERING_DISPLAY_METADATA);
      peak_nits == 0 && data != nullptr && data->size >= sizeof(AVMasteringDisplayMetadata)) {
    AVMasteringDisplayMetadata display;
    std::memcpy(&display, data->data, sizeof(display));
    if (display.has_luminance != 0 && display.max_luminance.den > 0) {
      peak_nits = av_q2d(display.max_luminance);
    }
  }
  if (peak_nits > 0) map.peak = std::clamp(peak_nits / 100, 1.0, 100.0);
  return map;
}

absl::StatusOr<AvFrame> NewFrame(int width, int height, AVPixelFormat format) {
  AvFrame frame(av_frame_alloc());
  if (frame == nullptr) return absl::ResourceExhaustedError("there is not enough memory");
  frame->width = width;
  frame->height = height;
  frame->format = format;
  if (av_frame_get_buffer(frame.get(), 0) < 0) {
    return absl::ResourceExhaustedError("there is not enough memory");
  }
  return frame;
}

// One step of scaling, to RGB.
absl::StatusOr<AvFrame> Scale(const AVFrame& in, int width, int height, AVPixelFormat format) {
  const auto in_format = static_cast<AVPixelFormat>(in.format);
  absl::StatusOr<AvFrame> out = NewFrame(width, height, format);
  if (!out.ok()) return out;
  const AvSwsContext sws(sws_getContext(in.width, in.height, in_format, width, height, format,
                                        kScaling, nullptr, nullptr, nullptr));
  const char* name = av_get_pix_fmt_name(in_format);
  if (sws == nullptr) {
    return absl::UnimplementedError(absl::StrCat("pictures as ", name == nullptr ? "none" : name,
                                                 ", ", in.width, " x ", in.height,
                                                 ", cannot be scaled"));
  }
  const ResolvedColour colour = av::ColourOf(in);
  // Fails for pairs that have neither range nor matrix, as gray and gray; then nothing is lost.
  static_cast<void>(sws_setColorspaceDetails(
      sws.get(), sws_getCoefficients(av::SwsMatrix(colour.matrix)), colour.full_range ? 1 : 0,
      sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16));
  if (sws_scale(sws.get(), in.data, in.linesize, 0, in.height, (*out)->data, (*out)->linesize) !=
      height) {
    return absl::UnimplementedError("the picture cannot be scaled");
  }
  return out;
}

int Step(int size, int target) { return std::max(target, (size - 1) / kMaxReduction + 1); }

// In as many steps as it takes.
absl::StatusOr<AvFrame> ScaleTo(const AVFrame& frame, int width, int height, AVPixelFormat format) {
  absl::StatusOr<AvFrame> out =
      Scale(frame, Step(frame.width, width), Step(frame.height, height), format);
  while (out.ok() && ((*out)->width != width || (*out)->height != height)) {
    const AvFrame in = *std::move(out);
    out = Scale(*in, Step(in->width, width), Step(in->height, height), format);
  }
  return out;
}

struct Size {
  uint32_t width;
  uint32_t height;
};

// As it is shown: upright, with square pixels.
Size FitInto(const DecodedPicture& decoded, uint32_t max_width, uint32_t max_height) {
  double width = decoded.frame->width;
  double height = decoded.frame->height;
  const double aspect = av_q2d(decoded.pixel_aspect);
  if (aspect > 1) width *= aspect;
  if (aspect < 1) height /= aspect;
  if (decoded.turn.swaps_sides()) std::swap(width, height);
  const double factor = std::min({1.0, max_width / width, max_height / height});
  const auto side = [factor](double size, uint32_t max) {
    return std::clamp(static_cast<uint32_t>(std::lround(size * factor)), 1u, max);
  };
  return {side(width, max_width), side(height, max_height)};
}

// The frame's pixels, packed, with 8 bits.
Picture Unpack(const AVFrame& frame, const std::optional<ToneMap>& map) {
  Picture picture;
  picture.width = static_cast<uint32_t>(frame.width);
  picture.height = static_cast<uint32_t>(frame.height);
  picture.channels = frame.format == AV_PIX_FMT_RGBA ? 4 : 3;
  const std::size_t row_values = std::size_t{picture.width} * picture.channels;
  picture.bytes.resize(row_values * picture.height);
  for (uint32_t y = 0; y < picture.height; ++y) {
    const uint8_t* from = frame.data[0] + static_cast<std::ptrdiff_t>(y) * frame.linesize[0];
    uint8_t* to = picture.bytes.data() + picture.At(0, y);
    if (!map.has_value()) {
      std::memcpy(to, from, row_values);
      continue;
    }
    for (uint32_t x = 0; x < picture.width; ++x) {
      std::array<uint16_t, 3> deep;
      std::memcpy(deep.data(), from + x * sizeof(deep), sizeof(deep));
      const std::array<uint8_t, 3> mapped = (*map)(deep);
      std::copy(mapped.begin(), mapped.end(), to + std::size_t{x} * 3);
    }
  }
  return picture;
}

void DropOpaqueAlpha(Picture& picture) {
  if (picture.channels != 4) return;
  const std::size_t pixels = std::size_t{picture.width} * picture.height;
  for (std::size_t i = 0; i < pixels; ++i) {
    if (picture.bytes[4 * i + 3] != 255) return;
  }
  for (std::size_t i = 0; i < pixels; ++i) {
    for (std::size_t c = 0; c < 3; ++c) picture.bytes[3 * i + c] = picture.bytes[4 * i + c];
  }
  picture.bytes.resize(pixels * 3);
  picture.channels = 3;
}

Picture Turned(Picture stored, const Turn& turn) {
  if (turn.xx == 1 && turn.yy == 1) return stored;
  Picture shown;
  shown.width = turn.swaps_sides() ? stored.height : stored.width;
  shown.height = turn.swaps_sides() ? stored.width : stored.height;
  shown.channels = stored.channels;
  shown.bytes.resize(stored.bytes.size());
  // From the front or from the back.
  const auto along = [](int sign, uint32_t place, uint32_t size) {
    return sign < 0 ? size - 1 - place : place;
  };
  for (uint32_t v = 0; v < shown.height; ++v) {
    for (uint32_t u = 0; u < shown.width; ++u) {
      const uint32_t x =
          turn.swaps_sides() ? along(turn.xy, v, stored.width) : along(turn.xx, u, stored.width);
      const uint32_t y =
          turn.swaps_sides() ? along(turn.yx, u, stored.height) : along(turn.yy, v, stored.height);
      std::copy_n(stored.bytes.data() + stored.At(x, y), stored.channels,
                  shown.bytes.data() + shown.At(u, v));
    }
  }
  return shown;
}

uint8_t* PixelAt(const AVFrame& rgba, uint32_t x, uint32_t y) {
  return rgba.data[0] + std::ptrdiff_t{y} * rgba.linesize[0] + std::ptrdiff_t{x} * 4;
}

// One pixel over another; colours are not premultiplied.
void Blend(const uint8_t* from, uint8_t* to) {
  const unsigned behind = to[3] * (255u - from[3]);  // 255 times what is left of it
  const unsigned alpha = from[3] * 255u + behind;
  for (int c = 0; c < 3; ++c) {
    to[c] =
        alpha == 0
            ? uint8_t{0}
            : static_cast<uint8_t>((from[c] * from[3] * 255u + to[c] * behind + alpha / 2) / alpha);
  }
  to[3] = static_cast<uint8_t>((alpha + 127) / 255);
}

}  // namespace

absl::StatusOr<Picture> Render(const DecodedPicture& decoded, uint32_t max_width,
                               uint32_t max_height) {
  const AVFrame& frame = *decoded.frame;
  const AVPixFmtDescriptor* descriptor = DescriptorOf(frame);
  if (descriptor == nullptr || (descriptor->flags & AV_PIX_FMT_FLAG_HWACCEL) != 0 ||
      sws_isSupportedInput(static_cast<AVPixelFormat>(frame.format)) == 0) {
    return absl::UnimplementedError(absl::StrCat(
        "pictures as ", descriptor == nullptr ? "none" : descriptor->name, " cannot be shown"));
  }
  const std::optional<ToneMap> map = ToneMapOf(frame);
  const AVPixelFormat format = map.has_value()         ? AV_PIX_FMT_RGB48
                               : HasAlpha(*descriptor) ? AV_PIX_FMT_RGBA
                                                       : AV_PIX_FMT_RGB24;
  const Size shown = FitInto(decoded, max_width, max_height);
  const bool swaps = decoded.turn.swaps_sides();
  const absl::StatusOr<AvFrame> scaled =
      ScaleTo(frame, static_cast<int>(swaps ? shown.height : shown.width),
              static_cast<int>(swaps ? shown.width : shown.height), format);
  if (!scaled.ok()) return scaled.status();
  Picture picture = Turned(Unpack(**scaled, map), decoded.turn);
  DropOpaqueAlpha(picture);
  return picture;
}

absl::StatusOr<AvFrame> NewCanvas(uint32_t width, uint32_t height) {
  absl::StatusOr<AvFrame> canvas =
      NewFrame(static_cast<int>(width), static_cast<int>(height), AV_PIX_FMT_RGBA);
  if (canvas.ok()) ClearCanvas(0, 0, width, height, **canvas);
  return canvas;
}

void ClearCanvas(uint32_t left, uint32_t top, uint32_t width, uint32_t height, AVFrame& canvas) {
  for (uint32_t y = 0; y < height; ++y) {
    std::memset(PixelAt(canvas, left, top + y), 0, std::size_t{width} * 4);
  }
}

absl::Status PutOnCanvas(const AVFrame& frame, uint32_t left, uint32_t top, bool blends,
                         AVFrame& canvas) {
  const auto width = static_cast<uint32_t>(frame.width);
  const auto height = static_cast<uint32_t>(frame.height);
  if (uint64_t{left} + width > static_cast<uint32_t>(canvas.width) ||
      uint64_t{top} + height > static_cast<uint32_t>(canvas.height)) {
    return absl::InvalidArgumentError("a picture beyond its canvas");
  }
  const absl::StatusOr<AvFrame> part = Scale(frame, frame.width, frame.height, AV_PIX_FMT_RGBA);
  if (!part.ok()) return part.status();
  for (uint32_t y = 0; y < height; ++y) {
    const uint8_t* from = PixelAt(**part, 0, y);
    uint8_t* to = PixelAt(canvas, left, top + y);
    if (!blends) {
      std::memcpy(to, from, std::size_t{width} * 4);
      continue;
    }
    for (uint32_t x = 0; x < width; ++x, from += 4, to += 4) Blend(from, to);
  }
  return absl::OkStatus();
}

}  // namespace parley::thumb

// SPDX-License-Identifier: Apache-2.0
#include "parley/av/picture_converter.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "parley/av/video_format.h"
#include "parley/media/colour.h"
#include "parley/media/pixel_format.h"

namespace parley::av {
namespace {

const char* NameOf(AVPixelFormat format) {
  const char* name = av_get_pix_fmt_name(format);
  return name == nullptr ? "none" : name;
}

AVPixelFormat ToLibav(PixelFormat format) {
  return av_get_pix_fmt(std::string(InfoOf(format).libav).c_str());
}

void Describe(const AVFrame& frame, IccProfile& icc, Picture& picture) {
  picture.format = VideoFormatOf(frame);
  const AVFrameSideData* profile = av_frame_get_side_data(&frame, AV_FRAME_DATA_ICC_PROFILE);
  const absl::Span<const std::byte> bytes =
      profile == nullptr
          ? absl::Span<const std::byte>()
          // SAFETY: std::byte and uint8_t are both bytes.
          : absl::MakeConstSpan(reinterpret_cast<const std::byte*>(profile->data), profile->size);
  if (icc.bytes() != bytes) icc = IccProfile(bytes);
  picture.format.icc = icc;
  picture.interlaced = frame.interlaced_frame != 0;
  picture.top_first = picture.interlaced && frame.top_field_first != 0;
}

}  // namespace

AVPixelFormat PictureConverter::Target(AVPixelFormat format) const {
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(format);
  if (descriptor == nullptr || (descriptor->flags & AV_PIX_FMT_FLAG_HWACCEL) != 0 ||
      sws_isSupportedInput(format) == 0) {
    return AV_PIX_FMT_NONE;
  }
  // swscale gets the range of 16-bit gray with alpha wrong, whatever it is told.
  const bool deep_gray = descriptor->nb_components == 2 && descriptor->comp[0].depth > 8;
  const bool has_alpha = (descriptor->flags & AV_PIX_FMT_FLAG_ALPHA) != 0 && !deep_gray;
  AVPixelFormat best = AV_PIX_FMT_NONE;
  for (const PixelFormatInfo& info : AllPixelFormats()) {
    const AVPixelFormat candidate = ToLibav(info.format);
    if (!acceptance_.Accepts(info.format) || candidate == AV_PIX_FMT_NONE ||
        sws_isSupportedOutput(candidate) == 0 ||
        (deep_gray && (info.model != ColourModel::kGray || info.has_alpha))) {
      continue;
    }
    best = best == AV_PIX_FMT_NONE
               ? candidate
               : av_find_best_pix_fmt_of_2(best, candidate, format, has_alpha ? 1 : 0, nullptr);
  }
  return best;
}

absl::Status PictureConverter::Scale(const AVFrame& frame, AVPixelFormat target, Picture& picture) {
  const AVPixelFormat format = static_cast<AVPixelFormat>(frame.format);
  const absl::Status failed = absl::UnimplementedError(
      absl::StrCat("pictures as ", NameOf(format), " cannot be made what the receiver accepts"));
  AVFrame* out = converted_.get();
  if (out == nullptr || out->width != frame.width || out->height != frame.height ||
      out->format != target) {
    converted_.reset(av_frame_alloc());
    out = converted_.get();
    if (out == nullptr) return absl::ResourceExhaustedError("no memory for a picture");
    out->width = frame.width;
    out->height = frame.height;
    out->format = target;
    if (av_frame_get_buffer(out, 0) < 0) {
      return absl::ResourceExhaustedError("no memory for a picture");
    }
  }
  constexpr int kFlags =
      SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP;
  sws_.reset(sws_getCachedContext(sws_.release(), frame.width, frame.height, format, frame.width,
                                  frame.height, target, kFlags, nullptr, nullptr, nullptr));
  if (sws_ == nullptr) return failed;

  const PixelFormatInfo& to = InfoOf(picture.format.pixel_format);
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(format);
  const bool from_rgb = (descriptor->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0;
  const bool to_rgb = to.model == ColourModel::kRgb;
  const ResolvedColour colour = ColourOf(picture.format, format);
  if (from_rgb && !to_rgb) {
    picture.format.colour.matrix = kMatrixUnspecified;
    picture.format.colour.range =
        to.model == ColourModel::kGray ? ColourRange::kFull : ColourRange::kLimited;
    picture.format.colour.matrix = ResolveColour(picture.format).matrix;
  } else if (to_rgb) {
    picture.format.colour.range = ColourRange::kFull;
    picture.format.colour.matrix = kMatrixIdentity;
  } else {
    picture.format.colour.range = colour.full_range ? ColourRange::kFull : ColourRange::kLimited;
  }
  const ResolvedColour result = ResolveColour(picture.format);
  // Fails for pairs that have neither range nor matrix, as gray and gray; then nothing is lost.
  static_cast<void>(sws_setColorspaceDetails(
      sws_.get(), sws_getCoefficients(SwsMatrix(colour.matrix)), colour.full_range ? 1 : 0,
      sws_getCoefficients(SwsMatrix(result.matrix)), result.full_range ? 1 : 0, 0, 1 << 16,
      1 << 16));
  if (sws_scale(sws_.get(), frame.data, frame.linesize, 0, frame.height, out->data,
                out->linesize) != frame.height) {
    return failed;
  }
  return absl::OkStatus();
}

absl::Status PictureConverter::Convert(const AVFrame& frame, Picture& picture) {
  const AVPixelFormat format = static_cast<AVPixelFormat>(frame.format);
  if (frame.width <= 0 || frame.height <= 0) {
    return absl::InvalidArgumentError("a picture without width or height");
  }
  Describe(frame, icc_, picture);
  const AVFrame* source = &frame;
  const PixelFormatInfo* native = PixelFormatFromLibav(NameOf(format));
  if (native != nullptr && acceptance_.Accepts(native->format)) {
    picture.format.pixel_format = native->format;
  } else {
    const AVPixelFormat target = Target(format);
    const PixelFormatInfo* info =
        target == AV_PIX_FMT_NONE ? nullptr : PixelFormatFromLibav(NameOf(target));
    if (info == nullptr) {
      return absl::UnimplementedError(absl::StrCat("the receiver does not accept pictures as ",
                                                   NameOf(format), ", nor what they could become"));
    }
    picture.format.pixel_format = info->format;
    picture.converted = true;
    const absl::Status scaled = Scale(frame, target, picture);
    if (!scaled.ok()) return scaled;
    source = converted_.get();
  }
  for (size_t i = 0; i < kMaxPlanes; ++i) {
    // SAFETY: std::byte and uint8_t are both bytes.
    picture.planes[i] = reinterpret_cast<const std::byte*>(source->data[i]);
    picture.strides_bytes[i] = source->linesize[i];
  }
  return absl::OkStatus();
}

}  // namespace parley::av

#include "parley/examples/film/picture_converter.h"

#include <optional>

#include "absl/strings/str_cat.h"

namespace parley::film {
namespace {

std::optional<PixelFormat> Native(AVPixelFormat format) {
  switch (format) {
    case AV_PIX_FMT_GRAY8:
      return PixelFormat::kGray8;
    case AV_PIX_FMT_YUV420P:
    case AV_PIX_FMT_YUVJ420P:
      return PixelFormat::kI420;
    case AV_PIX_FMT_YUV422P:
    case AV_PIX_FMT_YUVJ422P:
      return PixelFormat::kI422;
    case AV_PIX_FMT_YUV444P:
    case AV_PIX_FMT_YUVJ444P:
      return PixelFormat::kI444;
    case AV_PIX_FMT_GRAY10LE:
      return PixelFormat::kGray10;
    case AV_PIX_FMT_YUV420P10LE:
      return PixelFormat::kI420P10;
    case AV_PIX_FMT_YUV422P10LE:
      return PixelFormat::kI422P10;
    case AV_PIX_FMT_YUV444P10LE:
      return PixelFormat::kI444P10;
    default:
      return std::nullopt;
  }
}

bool HasFullRange(const AVFrame& frame) {
  return frame.color_range == AVCOL_RANGE_JPEG || frame.format == AV_PIX_FMT_YUVJ420P ||
         frame.format == AV_PIX_FMT_YUVJ422P || frame.format == AV_PIX_FMT_YUVJ444P;
}

// The nearest format of ours that loses least.
AVPixelFormat Nearest(AVPixelFormat format) {
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(format);
  if (descriptor == nullptr || (descriptor->flags & AV_PIX_FMT_FLAG_HWACCEL) != 0) {
    return AV_PIX_FMT_NONE;
  }
  const bool deep = descriptor->comp[0].depth > 8;
  const bool rgb = (descriptor->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0;
  if (!rgb && descriptor->nb_components <= 2) return deep ? AV_PIX_FMT_GRAY10LE : AV_PIX_FMT_GRAY8;
  if (!rgb && descriptor->log2_chroma_w == 1 && descriptor->log2_chroma_h == 1) {
    return deep ? AV_PIX_FMT_YUV420P10LE : AV_PIX_FMT_YUV420P;
  }
  if (!rgb && descriptor->log2_chroma_w == 1 && descriptor->log2_chroma_h == 0) {
    return deep ? AV_PIX_FMT_YUV422P10LE : AV_PIX_FMT_YUV422P;
  }
  return deep ? AV_PIX_FMT_YUV444P10LE : AV_PIX_FMT_YUV444P;
}

}  // namespace

absl::Status PictureConverter::Convert(const AVFrame& frame, Picture& picture) {
  const AVFrame* source = &frame;
  const AVPixelFormat format = static_cast<AVPixelFormat>(frame.format);
  picture.format.full_range = HasFullRange(frame);
  std::optional<PixelFormat> native = Native(format);
  if (!native.has_value()) {
    const AVPixelFormat target = Nearest(format);
    if (target == AV_PIX_FMT_NONE) {
      return absl::UnimplementedError(absl::StrCat("pixel format ", frame.format));
    }
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
    sws_.reset(sws_getCachedContext(
        sws_.release(), frame.width, frame.height, format, frame.width, frame.height, target,
        SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT, nullptr, nullptr, nullptr));
    if (sws_ == nullptr || sws_scale(sws_.get(), frame.data, frame.linesize, 0, frame.height,
                                     out->data, out->linesize) != frame.height) {
      return absl::UnimplementedError(absl::StrCat("pixel format ", frame.format));
    }
    // swscale makes limited-range YUV of RGB.
    const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(format);
    if ((descriptor->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0) {
      picture.format.full_range = false;
    }
    source = out;
    native = Native(target);
  }
  picture.format.pixel_format = *native;
  picture.format.width = static_cast<uint32_t>(source->width);
  picture.format.height = static_cast<uint32_t>(source->height);
  for (size_t i = 0; i < kMaxPlanes; ++i) {
    // SAFETY: std::byte and uint8_t are both bytes.
    picture.planes[i] = reinterpret_cast<const std::byte*>(source->data[i]);
    picture.strides_bytes[i] = source->linesize[i];
  }
  return absl::OkStatus();
}

}  // namespace parley::film

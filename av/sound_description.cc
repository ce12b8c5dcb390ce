// SPDX-License-Identifier: Apache-2.0
#include "parley/av/sound_description.h"

#include <bit>
#include <optional>

#include "absl/strings/str_cat.h"

namespace parley::av {
namespace {

std::optional<SampleFormat> Find(AVSampleFormat format) {
  switch (av_get_packed_sample_fmt(format)) {
    case AV_SAMPLE_FMT_U8:
      return SampleFormat::kU8;
    case AV_SAMPLE_FMT_S16:
      return SampleFormat::kS16;
    case AV_SAMPLE_FMT_S32:
      return SampleFormat::kS32;
    case AV_SAMPLE_FMT_S64:
      return SampleFormat::kS64;
    case AV_SAMPLE_FMT_FLT:
      return SampleFormat::kF32;
    case AV_SAMPLE_FMT_DBL:
      return SampleFormat::kF64;
    default:
      return std::nullopt;
  }
}

ChannelLayout LayoutOf(const AVChannelLayout& layout) {
  using Kind = ChannelLayout::Kind;
  ChannelLayout out;
  const int channels = layout.nb_channels;
  if (layout.order == AV_CHANNEL_ORDER_NATIVE && std::popcount(layout.u.mask) == channels) {
    out.kind = Kind::kMask;
    out.mask = layout.u.mask;
  } else if (layout.order == AV_CHANNEL_ORDER_CUSTOM &&
             channels <= static_cast<int>(kMaxPositions)) {
    out.kind = Kind::kPositions;
    for (int i = 0; i < channels; ++i) {
      const int id = layout.u.map[i].id;
      out.positions[static_cast<size_t>(i)] =
          id >= 0 && id < 64 ? static_cast<uint8_t>(id) : ChannelLayout::kUnknown;
    }
  } else if (layout.order == AV_CHANNEL_ORDER_AMBISONIC) {
    int order = 0;
    while ((order + 1) * (order + 1) < channels) ++order;
    // More channels than that would be loudspeakers beside the sound field.
    if ((order + 1) * (order + 1) == channels) out.kind = Kind::kAmbisonic;
  }
  return out;
}

}  // namespace

absl::Status DescribeSound(const AVFrame& frame, int significant_bits,
                           std::vector<const std::byte*>& planes, AudioBlock& audio) {
  if (frame.ch_layout.nb_channels <= 0 || frame.sample_rate <= 0 || frame.nb_samples <= 0) {
    return absl::InvalidArgumentError("a block of audio without channels, rate or samples");
  }
  const AVSampleFormat format = static_cast<AVSampleFormat>(frame.format);
  const std::optional<SampleFormat> found = Find(format);
  if (!found.has_value()) {
    return absl::UnimplementedError(absl::StrCat("sample format ", frame.format));
  }
  audio.format.sample_format = *found;
  audio.format.planar = av_sample_fmt_is_planar(format) != 0;
  audio.format.rate_hz = static_cast<uint32_t>(frame.sample_rate);
  audio.format.channels = static_cast<uint32_t>(frame.ch_layout.nb_channels);
  audio.format.layout = LayoutOf(frame.ch_layout);
  const int bits = 8 * av_get_bytes_per_sample(format);
  audio.format.significant_bits = significant_bits > 0 && significant_bits < bits
                                      ? static_cast<uint8_t>(significant_bits)
                                      : uint8_t{0};
  audio.frames = static_cast<uint32_t>(frame.nb_samples);
  const size_t count = audio.format.planar ? audio.format.channels : 1;
  planes.clear();
  for (size_t i = 0; i < count; ++i) {
    // SAFETY: std::byte and uint8_t are both bytes.
    planes.push_back(reinterpret_cast<const std::byte*>(frame.extended_data[i]));
  }
  audio.planes = planes;
  return absl::OkStatus();
}

}  // namespace parley::av

#include "parley/examples/film/interleave.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"

namespace parley::film {
namespace {

template <typename T>
T Same(T sample) {
  return sample;
}

float FloatFromDouble(double sample) {
  if (std::isnan(sample)) return 0.0f;
  constexpr double kMax = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(sample, -kMax, kMax));
}

int32_t UpperHalf(int64_t sample) { return static_cast<int32_t>(sample >> 32); }

// `convert` takes a sample as libav has it and gives one as Parley has it.
template <typename In, typename Convert>
void Copy(const AVFrame& frame, size_t channels, Convert convert, std::vector<std::byte>& storage) {
  using Out = decltype(convert(In{}));
  const size_t frames = static_cast<size_t>(frame.nb_samples);
  const bool planar = av_sample_fmt_is_planar(static_cast<AVSampleFormat>(frame.format)) != 0;
  storage.resize(frames * channels * sizeof(Out));
  std::byte* out = storage.data();
  for (size_t i = 0; i < frames; ++i) {
    for (size_t c = 0; c < channels; ++c) {
      const uint8_t* plane = frame.extended_data[planar ? c : 0];
      In in;
      std::memcpy(&in, plane + (planar ? i : i * channels + c) * sizeof(In), sizeof(In));
      const Out sample = convert(in);
      std::memcpy(out, &sample, sizeof(Out));
      out += sizeof(Out);
    }
  }
}

}  // namespace

absl::Status Interleave(const AVFrame& frame, std::vector<std::byte>& storage, AudioBlock& audio) {
  if (frame.ch_layout.nb_channels <= 0 || frame.sample_rate <= 0 || frame.nb_samples <= 0) {
    return absl::InvalidArgumentError("a block of audio without channels, rate or samples");
  }
  const size_t channels = static_cast<size_t>(frame.ch_layout.nb_channels);
  switch (frame.format) {
    case AV_SAMPLE_FMT_U8:
    case AV_SAMPLE_FMT_U8P:
      audio.format.sample_format = SampleFormat::kU8;
      Copy<uint8_t>(frame, channels, Same<uint8_t>, storage);
      break;
    case AV_SAMPLE_FMT_S16:
    case AV_SAMPLE_FMT_S16P:
      audio.format.sample_format = SampleFormat::kS16;
      Copy<int16_t>(frame, channels, Same<int16_t>, storage);
      break;
    case AV_SAMPLE_FMT_S32:
    case AV_SAMPLE_FMT_S32P:
      audio.format.sample_format = SampleFormat::kS32;
      Copy<int32_t>(frame, channels, Same<int32_t>, storage);
      break;
    case AV_SAMPLE_FMT_S64:
    case AV_SAMPLE_FMT_S64P:
      audio.format.sample_format = SampleFormat::kS32;
      Copy<int64_t>(frame, channels, UpperHalf, storage);
      break;
    case AV_SAMPLE_FMT_FLT:
    case AV_SAMPLE_FMT_FLTP:
      audio.format.sample_format = SampleFormat::kF32;
      Copy<float>(frame, channels, Same<float>, storage);
      break;
    case AV_SAMPLE_FMT_DBL:
    case AV_SAMPLE_FMT_DBLP:
      audio.format.sample_format = SampleFormat::kF32;
      Copy<double>(frame, channels, FloatFromDouble, storage);
      break;
    default:
      return absl::UnimplementedError(absl::StrCat("sample format ", frame.format));
  }
  audio.format.rate_hz = static_cast<uint32_t>(frame.sample_rate);
  audio.format.channels = static_cast<uint32_t>(channels);
  audio.frames = static_cast<uint32_t>(frame.nb_samples);
  audio.samples = storage;
  return absl::OkStatus();
}

}  // namespace parley::film

// SPDX-License-Identifier: Apache-2.0
#include "parley/media/colour.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace parley {
namespace {

constexpr uint8_t kMatrixYcgco = 8;

// A NaN is 0.
double Unit(double value) { return value > 0 ? std::min(value, 1.0) : 0.0; }

uint32_t Load(const std::byte* from, uint32_t bytes, bool big_endian) {
  uint32_t value = 0;
  for (uint32_t i = 0; i < bytes; ++i) {
    const uint32_t shift = 8 * (big_endian ? bytes - 1 - i : i);
    value |= std::to_integer<uint32_t>(from[i]) << shift;
  }
  return value;
}

struct Weights {
  uint8_t matrix;
  double red;
  double blue;
};
// H.273, table 4.
constexpr std::array<Weights, 7> kWeights = {{{kMatrixBt709, 0.2126, 0.0722},
                                              {4, 0.30, 0.11},
                                              {5, 0.299, 0.114},
                                              {kMatrixBt601, 0.299, 0.114},
                                              {7, 0.212, 0.087},
                                              {9, 0.2627, 0.0593},
                                              {10, 0.2627, 0.0593}}};

double SrgbOf(double linear) {
  const double v = Unit(linear);
  return v <= 0.0031308 ? 12.92 * v : 1.055 * std::pow(v, 1 / 2.4) - 0.055;
}

// X'Y'Z' of digital cinema (SMPTE ST 428-1): gamma 2.6, 48/52.37 of full scale is white.
Rgba FromXyz(double x, double y, double z) {
  const auto linear = [](double v) { return std::pow(Unit(v), 2.6) * 52.37 / 48; };
  const double lx = linear(x);
  const double ly = linear(y);
  const double lz = linear(z);
  return {.red = SrgbOf(3.2406 * lx - 1.5372 * ly - 0.4986 * lz),
          .green = SrgbOf(-0.9689 * lx + 1.8758 * ly + 0.0415 * lz),
          .blue = SrgbOf(0.0557 * lx - 0.2040 * ly + 1.0570 * lz),
          .alpha = 1};
}

}  // namespace

ResolvedColour ResolveColour(const VideoFormat& format) {
  const ColourModel model = InfoOf(format.pixel_format).model;
  ResolvedColour colour;
  colour.full_range = format.colour.range == ColourRange::kUnspecified
                          ? model != ColourModel::kYuv
                          : format.colour.range == ColourRange::kFull;
  if (model == ColourModel::kRgb || model == ColourModel::kXyz) {
    colour.matrix = kMatrixIdentity;
    return colour;
  }
  colour.matrix = format.colour.matrix;
  const auto* known = std::find_if(kWeights.begin(), kWeights.end(), [&](const Weights& weights) {
    return weights.matrix == colour.matrix;
  });
  if (known == kWeights.end() && colour.matrix != kMatrixIdentity &&
      colour.matrix != kMatrixYcgco) {
    colour.matrix = format.width >= 1280 || format.height >= 720 ? kMatrixBt709 : kMatrixBt601;
    return ResolveColour(VideoFormat{.pixel_format = format.pixel_format,
                                     .width = format.width,
                                     .height = format.height,
                                     .colour = {.range = format.colour.range,
                                                .primaries = format.colour.primaries,
                                                .transfer = format.colour.transfer,
                                                .matrix = colour.matrix}});
  }
  if (known != kWeights.end()) {
    colour.red_weight = known->red;
    colour.blue_weight = known->blue;
  }
  return colour;
}

PixelReader::PixelReader(const VideoFormat& format)
    : info_(&InfoOf(format.pixel_format)),
      colour_(ResolveColour(format)),
      premultiplied_(format.alpha == AlphaMode::kPremultiplied && info_->has_alpha) {}

uint32_t PixelReader::Raw(size_t component, const std::byte* plane, ptrdiff_t stride_bytes,
                          uint32_t x, uint32_t y) const {
  const PixelComponent& c = info_->components[component];
  if (component == 1 || component == 2) {
    if (info_->component_count > 2) {
      x >>= info_->chroma_shift_x;
      y >>= info_->chroma_shift_y;
    }
  }
  const uint32_t bits = uint32_t{c.shift_bits} + c.depth_bits;
  const uint32_t bytes = bits <= 8 ? 1 : bits <= 16 ? 2 : 4;
  const ptrdiff_t at = stride_bytes * static_cast<ptrdiff_t>(y) +
                       static_cast<ptrdiff_t>(x) * c.step_bytes + c.offset_bytes +
                       (bytes == 1 && info_->big_endian ? 1 : 0);
  const uint32_t value = Load(plane + at, bytes, info_->big_endian);
  if (info_->is_float) {
    float number;
    std::memcpy(&number, &value, sizeof(number));
    return static_cast<uint32_t>(std::lround(Unit(static_cast<double>(number)) * 65535));
  }
  return value >> c.shift_bits & ((uint32_t{1} << c.depth_bits) - 1);
}

double PixelReader::Scaled(size_t component, uint32_t raw, bool chroma) const {
  if (info_->is_float) return raw / 65535.0;
  const uint32_t depth = info_->components[component].depth_bits;
  const double max = (uint32_t{1} << depth) - 1;
  const bool alpha = info_->has_alpha && component + 1 == info_->component_count;
  if (colour_.full_range || alpha || depth < 8) {
    return chroma ? (raw - std::ldexp(1.0, static_cast<int>(depth) - 1)) / max : raw / max;
  }
  const double unit = std::ldexp(1.0, static_cast<int>(depth) - 8);  // of 8 bits
  return chroma ? (raw - 128 * unit) / (224 * unit) : (raw - 16 * unit) / (219 * unit);
}

Rgba PixelReader::At(const std::array<const std::byte*, kMaxPlanes>& planes,
                     const std::array<ptrdiff_t, kMaxPlanes>& strides_bytes, uint32_t x,
                     uint32_t y) const {
  const bool coded_rgb = info_->model == ColourModel::kYuv && colour_.matrix == kMatrixIdentity;
  std::array<double, 4> value = {};
  for (size_t i = 0; i < info_->component_count; ++i) {
    const size_t plane = info_->components[i].plane;
    const bool chroma = info_->model == ColourModel::kYuv && (i == 1 || i == 2) && !coded_rgb;
    value[i] = Scaled(i, Raw(i, planes[plane], strides_bytes[plane], x, y), chroma);
  }
  Rgba out;
  if (info_->has_alpha) out.alpha = Unit(value[size_t{info_->component_count} - 1]);
  switch (info_->model) {
    case ColourModel::kGray:
      out.red = out.green = out.blue = value[0];
      break;
    case ColourModel::kRgb:
      out.red = value[0];
      out.green = value[1];
      out.blue = value[2];
      break;
    case ColourModel::kXyz:
      return FromXyz(value[0], value[1], value[2]);
    case ColourModel::kYuv:
      if (coded_rgb) {
        out.green = value[0];
        out.blue = value[1];
        out.red = value[2];
      } else if (colour_.matrix == kMatrixYcgco) {
        out.green = value[0] + value[1];
        out.red = value[0] - value[1] + value[2];
        out.blue = value[0] - value[1] - value[2];
      } else {
        const double green_weight = 1 - colour_.red_weight - colour_.blue_weight;
        out.red = value[0] + 2 * (1 - colour_.red_weight) * value[2];
        out.blue = value[0] + 2 * (1 - colour_.blue_weight) * value[1];
        out.green = (value[0] - colour_.red_weight * out.red - colour_.blue_weight * out.blue) /
                    green_weight;
      }
      break;
  }
  if (premultiplied_ && out.alpha > 0) {
    out.red /= out.alpha;
    out.green /= out.alpha;
    out.blue /= out.alpha;
  }
  out.red = Unit(out.red);
  out.green = Unit(out.green);
  out.blue = Unit(out.blue);
  return out;
}

}  // namespace parley

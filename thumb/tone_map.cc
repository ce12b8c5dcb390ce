// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/tone_map.h"

#include <algorithm>
#include <cmath>

namespace parley::thumb {
namespace {

using Light = std::array<double, 3>;  // 1 is 100 cd/m2

// ITU-R BT.2100, table 4.
double FromPq(double value) {
  constexpr double kM1 = 2610.0 / 16384;
  constexpr double kM2 = 2523.0 / 4096 * 128;
  constexpr double kC1 = 3424.0 / 4096;
  constexpr double kC2 = 2413.0 / 4096 * 32;
  constexpr double kC3 = 2392.0 / 4096 * 32;
  const double power = std::pow(value, 1 / kM2);
  return 100 * std::pow(std::max(power - kC1, 0.0) / (kC2 - kC3 * power), 1 / kM1);
}

// The same, table 5: to the light of the scene, 0 to 1.
double FromHlg(double value) {
  constexpr double kA = 0.17883277;
  constexpr double kB = 1 - 4 * kA;
  const double c = 0.5 - kA * std::log(4 * kA);
  return value <= 0.5 ? value * value / 3 : (std::exp((value - c) / kA) + kB) / 12;
}

Light ToLight(HdrTransfer transfer, const std::array<uint16_t, 3>& rgb) {
  Light light;
  for (std::size_t i = 0; i < 3; ++i) {
    const double value = rgb[i] / 65535.0;
    light[i] = transfer == HdrTransfer::kPq ? FromPq(value) : FromHlg(value);
  }
  if (transfer == HdrTransfer::kPq) return light;
  // The system gamma of a screen of 1000 cd/m2.
  const double luminance = 0.2627 * light[0] + 0.6780 * light[1] + 0.0593 * light[2];
  const double gain = 10 * std::pow(luminance, 0.2);
  for (double& part : light) part *= gain;
  return light;
}

// BT.2087, for primaries of BT.709; what lies outside of them is cut off.
Light ToBt709(const Light& in) {
  const auto row = [&](double r, double g, double b) {
    return std::max(0.0, r * in[0] + g * in[1] + b * in[2]);
  };
  return {row(1.6605, -0.5876, -0.0728), row(-0.1246, 1.1329, -0.0083),
          row(-0.0182, -0.1006, 1.1187)};
}

// J. Hable, Filmic Tonemapping Operators, 2010.
double Hable(double x) {
  return (x * (0.15 * x + 0.05) + 0.004) / (x * (0.15 * x + 0.5) + 0.06) - 1.0 / 15;
}

uint8_t ToSrgb(double light) {
  const double unit = std::clamp(light, 0.0, 1.0);
  const double value = unit <= 0.0031308 ? 12.92 * unit : 1.055 * std::pow(unit, 1 / 2.4) - 0.055;
  return static_cast<uint8_t>(value * 255 + 0.5);
}

}  // namespace

std::array<uint8_t, 3> ToneMap::operator()(const std::array<uint16_t, 3>& rgb) const {
  const Light light = ToBt709(ToLight(transfer, rgb));
  // The same factor for all three keeps the hue.
  const double brightest = std::max({light[0], light[1], light[2], 1e-6});
  const double factor = Hable(brightest) / Hable(peak) / brightest;
  return {ToSrgb(light[0] * factor), ToSrgb(light[1] * factor), ToSrgb(light[2] * factor)};
}

}  // namespace parley::thumb

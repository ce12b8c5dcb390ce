// SPDX-License-Identifier: Apache-2.0
#include "parley/media/pixel_format.h"

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <utility>

#include "parley/os/check.h"

namespace parley {
namespace {

using P = PixelFormat;
using enum ColourModel;

constexpr unsigned kAlpha = 1;
constexpr unsigned kBigEndian = 2;
constexpr unsigned kFloat = 4;

struct Components {
  std::array<PixelComponent, 4> component = {};
  uint8_t count = 0;
  uint8_t planes = 0;
};

constexpr uint8_t Byte(int value) { return static_cast<uint8_t>(value); }

constexpr Components Exactly(std::initializer_list<PixelComponent> list) {
  Components all;
  for (const PixelComponent& one : list) {
    all.component[all.count++] = one;
    all.planes = std::max(all.planes, Byte(one.plane + 1));
  }
  return all;
}

// Each component in a plane of its own.
constexpr Components Planar(int count, int sample_bytes, int depth_bits) {
  Components all = {.component = {}, .count = Byte(count), .planes = Byte(count)};
  for (int i = 0; i < count; ++i) {
    all.component[static_cast<size_t>(i)] = {Byte(i), Byte(sample_bytes), 0, 0, Byte(depth_bits)};
  }
  return all;
}

// The same, with the planes in the order G, B, R, A.
constexpr Components PlanarGbr(int count, int sample_bytes, int depth_bits) {
  Components all = Planar(count, sample_bytes, depth_bits);
  constexpr std::array<uint8_t, 4> kPlaneOf = {2, 0, 1, 3};
  for (size_t i = 0; i < 4; ++i) {
    if (i < all.count) all.component[i].plane = kPlaneOf[i];
  }
  return all;
}

// Y in one plane, pairs of Cb and Cr in another.
constexpr Components SemiPlanar(int sample_bytes, int depth_bits, int shift_bits) {
  const uint8_t b = Byte(sample_bytes);
  const uint8_t s = Byte(shift_bits);
  const uint8_t d = Byte(depth_bits);
  return Exactly(
      {{0, b, 0, s, d}, {1, Byte(2 * b), 0, s, d}, {1, Byte(2 * b), static_cast<int8_t>(b), s, d}});
}

constexpr Components SemiPlanarCrCb(int sample_bytes, int depth_bits, int shift_bits) {
  Components all = SemiPlanar(sample_bytes, depth_bits, shift_bits);
  std::swap(all.component[1], all.component[2]);
  return all;
}

// One plane; `offsets` are those of the components, in bytes.
constexpr Components Packed(int step_bytes, int depth_bits, int shift_bits,
                            std::initializer_list<int> offsets) {
  Components all = {.component = {}, .count = 0, .planes = 1};
  for (const int offset : offsets) {
    all.component[all.count++] = {0, Byte(step_bytes), static_cast<int8_t>(offset),
                                  Byte(shift_bits), Byte(depth_bits)};
  }
  return all;
}

struct Row {
  PixelFormat format;
  std::string_view name;
  std::string_view libav;
  std::string_view gstreamer;
  std::string_view drm;
  ColourModel model;
  unsigned flags;
  uint8_t chroma_shift_x;
  uint8_t chroma_shift_y;
  Components components;
};

constexpr Row kRows[] = {
    {P::kGray8, "gray", "gray", "GRAY8", "R8  ", kGray, 0, 0, 0, Planar(1, 1, 8)},
    {P::kI420, "yuv420p", "yuv420p", "I420", "YU12", kYuv, 0, 1, 1, Planar(3, 1, 8)},
    {P::kI422, "yuv422p", "yuv422p", "Y42B", "YU16", kYuv, 0, 1, 0, Planar(3, 1, 8)},
    {P::kI444, "yuv444p", "yuv444p", "Y444", "YU24", kYuv, 0, 0, 0, Planar(3, 1, 8)},
    {P::kGray10, "gray10", "gray10le", "", "R10 ", kGray, 0, 0, 0, Planar(1, 2, 10)},
    {P::kI420P10, "yuv420p10", "yuv420p10le", "I420_10LE", "", kYuv, 0, 1, 1, Planar(3, 2, 10)},
    {P::kI422P10, "yuv422p10", "yuv422p10le", "I422_10LE", "", kYuv, 0, 1, 0, Planar(3, 2, 10)},
    {P::kI444P10, "yuv444p10", "yuv444p10le", "Y444_10LE", "", kYuv, 0, 0, 0, Planar(3, 2, 10)},
    {P::kYuyv422, "yuyv422", "yuyv422", "YUY2", "YUYV", kYuv, 0, 1, 0,
     Exactly({{0, 2, 0, 0, 8}, {0, 4, 1, 0, 8}, {0, 4, 3, 0, 8}})},
    {P::kRgb24, "rgb24", "rgb24", "RGB", "BG24", kRgb, 0, 0, 0, Packed(3, 8, 0, {0, 1, 2})},
    {P::kBgr24, "bgr24", "bgr24", "BGR", "RG24", kRgb, 0, 0, 0, Packed(3, 8, 0, {2, 1, 0})},
    {P::kI410, "yuv410p", "yuv410p", "YUV9", "YUV9", kYuv, 0, 2, 2, Planar(3, 1, 8)},
    {P::kI411, "yuv411p", "yuv411p", "Y41B", "YU11", kYuv, 0, 2, 0, Planar(3, 1, 8)},
    {P::kUyvy422, "uyvy422", "uyvy422", "UYVY", "UYVY", kYuv, 0, 1, 0,
     Exactly({{0, 2, 1, 0, 8}, {0, 4, 0, 0, 8}, {0, 4, 2, 0, 8}})},
    {P::kNv12, "nv12", "nv12", "NV12", "NV12", kYuv, 0, 1, 1, SemiPlanar(1, 8, 0)},
    {P::kNv21, "nv21", "nv21", "NV21", "NV21", kYuv, 0, 1, 1, SemiPlanarCrCb(1, 8, 0)},
    {P::kArgb, "argb", "argb", "ARGB", "BA24", kRgb, kAlpha, 0, 0, Packed(4, 8, 0, {1, 2, 3, 0})},
    {P::kRgba, "rgba", "rgba", "RGBA", "AB24", kRgb, kAlpha, 0, 0, Packed(4, 8, 0, {0, 1, 2, 3})},
    {P::kAbgr, "abgr", "abgr", "ABGR", "RA24", kRgb, kAlpha, 0, 0, Packed(4, 8, 0, {3, 2, 1, 0})},
    {P::kBgra, "bgra", "bgra", "BGRA", "AR24", kRgb, kAlpha, 0, 0, Packed(4, 8, 0, {2, 1, 0, 3})},
    {P::kGray16Be, "gray16be", "gray16be", "GRAY16_BE", "", kGray, kBigEndian, 0, 0,
     Planar(1, 2, 16)},
    {P::kGray16, "gray16", "gray16le", "GRAY16_LE", "R16 ", kGray, 0, 0, 0, Planar(1, 2, 16)},
    {P::kI440, "yuv440p", "yuv440p", "", "", kYuv, 0, 0, 1, Planar(3, 1, 8)},
    {P::kI420A, "yuva420p", "yuva420p", "A420", "", kYuv, kAlpha, 1, 1, Planar(4, 1, 8)},
    {P::kRgb48Be, "rgb48be", "rgb48be", "", "", kRgb, kBigEndian, 0, 0,
     Packed(6, 16, 0, {0, 2, 4})},
    {P::kRgb48, "rgb48", "rgb48le", "", "", kRgb, 0, 0, 0, Packed(6, 16, 0, {0, 2, 4})},
    {P::kRgb565Be, "rgb565be", "rgb565be", "", "", kRgb, kBigEndian, 0, 0,
     Exactly({{0, 2, -1, 3, 5}, {0, 2, 0, 5, 6}, {0, 2, 0, 0, 5}})},
    {P::kRgb565, "rgb565", "rgb565le", "RGB16", "RG16", kRgb, 0, 0, 0,
     Exactly({{0, 2, 1, 3, 5}, {0, 2, 0, 5, 6}, {0, 2, 0, 0, 5}})},
    {P::kRgb555Be, "rgb555be", "rgb555be", "", "", kRgb, kBigEndian, 0, 0,
     Exactly({{0, 2, -1, 2, 5}, {0, 2, 0, 5, 5}, {0, 2, 0, 0, 5}})},
    {P::kRgb555, "rgb555", "rgb555le", "RGB15", "XR15", kRgb, 0, 0, 0,
     Exactly({{0, 2, 1, 2, 5}, {0, 2, 0, 5, 5}, {0, 2, 0, 0, 5}})},
    {P::kBgr565Be, "bgr565be", "bgr565be", "", "", kRgb, kBigEndian, 0, 0,
     Exactly({{0, 2, 0, 0, 5}, {0, 2, 0, 5, 6}, {0, 2, -1, 3, 5}})},
    {P::kBgr565, "bgr565", "bgr565le", "BGR16", "BG16", kRgb, 0, 0, 0,
     Exactly({{0, 2, 0, 0, 5}, {0, 2, 0, 5, 6}, {0, 2, 1, 3, 5}})},
    {P::kBgr555Be, "bgr555be", "bgr555be", "", "", kRgb, kBigEndian, 0, 0,
     Exactly({{0, 2, 0, 0, 5}, {0, 2, 0, 5, 5}, {0, 2, -1, 2, 5}})},
    {P::kBgr555, "bgr555", "bgr555le", "BGR15", "XB15", kRgb, 0, 0, 0,
     Exactly({{0, 2, 0, 0, 5}, {0, 2, 0, 5, 5}, {0, 2, 1, 2, 5}})},
    {P::kI420P16, "yuv420p16", "yuv420p16le", "", "", kYuv, 0, 1, 1, Planar(3, 2, 16)},
    {P::kI420P16Be, "yuv420p16be", "yuv420p16be", "", "", kYuv, kBigEndian, 1, 1, Planar(3, 2, 16)},
    {P::kI422P16, "yuv422p16", "yuv422p16le", "", "", kYuv, 0, 1, 0, Planar(3, 2, 16)},
    {P::kI422P16Be, "yuv422p16be", "yuv422p16be", "", "", kYuv, kBigEndian, 1, 0, Planar(3, 2, 16)},
    {P::kI444P16, "yuv444p16", "yuv444p16le", "Y444_16LE", "", kYuv, 0, 0, 0, Planar(3, 2, 16)},
    {P::kI444P16Be, "yuv444p16be", "yuv444p16be", "Y444_16BE", "", kYuv, kBigEndian, 0, 0,
     Planar(3, 2, 16)},
    {P::kRgb444, "rgb444", "rgb444le", "", "XR12", kRgb, 0, 0, 0,
     Exactly({{0, 2, 1, 0, 4}, {0, 2, 0, 4, 4}, {0, 2, 0, 0, 4}})},
    {P::kRgb444Be, "rgb444be", "rgb444be", "", "", kRgb, kBigEndian, 0, 0,
     Exactly({{0, 2, -1, 0, 4}, {0, 2, 0, 4, 4}, {0, 2, 0, 0, 4}})},
    {P::kBgr444, "bgr444", "bgr444le", "", "XB12", kRgb, 0, 0, 0,
     Exactly({{0, 2, 0, 0, 4}, {0, 2, 0, 4, 4}, {0, 2, 1, 0, 4}})},
    {P::kBgr444Be, "bgr444be", "bgr444be", "", "", kRgb, kBigEndian, 0, 0,
     Exactly({{0, 2, 0, 0, 4}, {0, 2, 0, 4, 4}, {0, 2, -1, 0, 4}})},
    {P::kGrayAlpha8, "ya8", "ya8", "", "", kGray, kAlpha, 0, 0, Packed(2, 8, 0, {0, 1})},
    {P::kBgr48Be, "bgr48be", "bgr48be", "", "", kRgb, kBigEndian, 0, 0,
     Packed(6, 16, 0, {4, 2, 0})},
    {P::kBgr48, "bgr48", "bgr48le", "", "", kRgb, 0, 0, 0, Packed(6, 16, 0, {4, 2, 0})},
    {P::kI420P9Be, "yuv420p9be", "yuv420p9be", "", "", kYuv, kBigEndian, 1, 1, Planar(3, 2, 9)},
    {P::kI420P9, "yuv420p9", "yuv420p9le", "", "", kYuv, 0, 1, 1, Planar(3, 2, 9)},
    {P::kI420P10Be, "yuv420p10be", "yuv420p10be", "I420_10BE", "", kYuv, kBigEndian, 1, 1,
     Planar(3, 2, 10)},
    {P::kI422P10Be, "yuv422p10be", "yuv422p10be", "I422_10BE", "", kYuv, kBigEndian, 1, 0,
     Planar(3, 2, 10)},
    {P::kI444P9Be, "yuv444p9be", "yuv444p9be", "", "", kYuv, kBigEndian, 0, 0, Planar(3, 2, 9)},
    {P::kI444P9, "yuv444p9", "yuv444p9le", "", "", kYuv, 0, 0, 0, Planar(3, 2, 9)},
    {P::kI444P10Be, "yuv444p10be", "yuv444p10be", "Y444_10BE", "", kYuv, kBigEndian, 0, 0,
     Planar(3, 2, 10)},
    {P::kI422P9Be, "yuv422p9be", "yuv422p9be", "", "", kYuv, kBigEndian, 1, 0, Planar(3, 2, 9)},
    {P::kI422P9, "yuv422p9", "yuv422p9le", "", "", kYuv, 0, 1, 0, Planar(3, 2, 9)},
    {P::kGbrp, "gbrp", "gbrp", "GBR", "", kRgb, 0, 0, 0, PlanarGbr(3, 1, 8)},
    {P::kGbrp9Be, "gbrp9be", "gbrp9be", "", "", kRgb, kBigEndian, 0, 0, PlanarGbr(3, 2, 9)},
    {P::kGbrp9, "gbrp9", "gbrp9le", "", "", kRgb, 0, 0, 0, PlanarGbr(3, 2, 9)},
    {P::kGbrp10Be, "gbrp10be", "gbrp10be", "GBR_10BE", "", kRgb, kBigEndian, 0, 0,
     PlanarGbr(3, 2, 10)},
    {P::kGbrp10, "gbrp10", "gbrp10le", "GBR_10LE", "", kRgb, 0, 0, 0, PlanarGbr(3, 2, 10)},
    {P::kGbrp16Be, "gbrp16be", "gbrp16be", "", "", kRgb, kBigEndian, 0, 0, PlanarGbr(3, 2, 16)},
    {P::kGbrp16, "gbrp16", "gbrp16le", "", "", kRgb, 0, 0, 0, PlanarGbr(3, 2, 16)},
    {P::kI422A, "yuva422p", "yuva422p", "", "", kYuv, kAlpha, 1, 0, Planar(4, 1, 8)},
    {P::kI444A, "yuva444p", "yuva444p", "", "", kYuv, kAlpha, 0, 0, Planar(4, 1, 8)},
    {P::kI420AP9Be, "yuva420p9be", "yuva420p9be", "", "", kYuv, kAlpha | kBigEndian, 1, 1,
     Planar(4, 2, 9)},
    {P::kI420AP9, "yuva420p9", "yuva420p9le", "", "", kYuv, kAlpha, 1, 1, Planar(4, 2, 9)},
    {P::kI422AP9Be, "yuva422p9be", "yuva422p9be", "", "", kYuv, kAlpha | kBigEndian, 1, 0,
     Planar(4, 2, 9)},
    {P::kI422AP9, "yuva422p9", "yuva422p9le", "", "", kYuv, kAlpha, 1, 0, Planar(4, 2, 9)},
    {P::kI444AP9Be, "yuva444p9be", "yuva444p9be", "", "", kYuv, kAlpha | kBigEndian, 0, 0,
     Planar(4, 2, 9)},
    {P::kI444AP9, "yuva444p9", "yuva444p9le", "", "", kYuv, kAlpha, 0, 0, Planar(4, 2, 9)},
    {P::kI420AP10Be, "yuva420p10be", "yuva420p10be", "A420_10BE", "", kYuv, kAlpha | kBigEndian, 1,
     1, Planar(4, 2, 10)},
    {P::kI420AP10, "yuva420p10", "yuva420p10le", "A420_10LE", "", kYuv, kAlpha, 1, 1,
     Planar(4, 2, 10)},
    {P::kI422AP10Be, "yuva422p10be", "yuva422p10be", "A422_10BE", "", kYuv, kAlpha | kBigEndian, 1,
     0, Planar(4, 2, 10)},
    {P::kI422AP10, "yuva422p10", "yuva422p10le", "A422_10LE", "", kYuv, kAlpha, 1, 0,
     Planar(4, 2, 10)},
    {P::kI444AP10Be, "yuva444p10be", "yuva444p10be", "A444_10BE", "", kYuv, kAlpha | kBigEndian, 0,
     0, Planar(4, 2, 10)},
    {P::kI444AP10, "yuva444p10", "yuva444p10le", "A444_10LE", "", kYuv, kAlpha, 0, 0,
     Planar(4, 2, 10)},
    {P::kI420AP16Be, "yuva420p16be", "yuva420p16be", "", "", kYuv, kAlpha | kBigEndian, 1, 1,
     Planar(4, 2, 16)},
    {P::kI420AP16, "yuva420p16", "yuva420p16le", "", "", kYuv, kAlpha, 1, 1, Planar(4, 2, 16)},
    {P::kI422AP16Be, "yuva422p16be", "yuva422p16be", "", "", kYuv, kAlpha | kBigEndian, 1, 0,
     Planar(4, 2, 16)},
    {P::kI422AP16, "yuva422p16", "yuva422p16le", "", "", kYuv, kAlpha, 1, 0, Planar(4, 2, 16)},
    {P::kI444AP16Be, "yuva444p16be", "yuva444p16be", "", "", kYuv, kAlpha | kBigEndian, 0, 0,
     Planar(4, 2, 16)},
    {P::kI444AP16, "yuva444p16", "yuva444p16le", "", "", kYuv, kAlpha, 0, 0, Planar(4, 2, 16)},
    {P::kXyz12, "xyz12", "xyz12le", "", "", kXyz, 0, 0, 0, Packed(6, 12, 4, {0, 2, 4})},
    {P::kXyz12Be, "xyz12be", "xyz12be", "", "", kXyz, kBigEndian, 0, 0,
     Packed(6, 12, 4, {0, 2, 4})},
    {P::kNv16, "nv16", "nv16", "NV16", "NV16", kYuv, 0, 1, 0, SemiPlanar(1, 8, 0)},
    {P::kNv20, "nv20", "nv20le", "", "", kYuv, 0, 1, 0, SemiPlanar(2, 10, 0)},
    {P::kNv20Be, "nv20be", "nv20be", "", "", kYuv, kBigEndian, 1, 0, SemiPlanar(2, 10, 0)},
    {P::kRgba64Be, "rgba64be", "rgba64be", "RGBA64_BE", "", kRgb, kAlpha | kBigEndian, 0, 0,
     Packed(8, 16, 0, {0, 2, 4, 6})},
    {P::kRgba64, "rgba64", "rgba64le", "RGBA64_LE", "AB48", kRgb, kAlpha, 0, 0,
     Packed(8, 16, 0, {0, 2, 4, 6})},
    {P::kBgra64Be, "bgra64be", "bgra64be", "BGRA64_BE", "", kRgb, kAlpha | kBigEndian, 0, 0,
     Packed(8, 16, 0, {4, 2, 0, 6})},
    {P::kBgra64, "bgra64", "bgra64le", "BGRA64_LE", "AR48", kRgb, kAlpha, 0, 0,
     Packed(8, 16, 0, {4, 2, 0, 6})},
    {P::kYvyu422, "yvyu422", "yvyu422", "YVYU", "YVYU", kYuv, 0, 1, 0,
     Exactly({{0, 2, 0, 0, 8}, {0, 4, 3, 0, 8}, {0, 4, 1, 0, 8}})},
    {P::kGrayAlpha16Be, "ya16be", "ya16be", "", "", kGray, kAlpha | kBigEndian, 0, 0,
     Packed(4, 16, 0, {0, 2})},
    {P::kGrayAlpha16, "ya16", "ya16le", "", "", kGray, kAlpha, 0, 0, Packed(4, 16, 0, {0, 2})},
    {P::kGbrap, "gbrap", "gbrap", "GBRA", "", kRgb, kAlpha, 0, 0, PlanarGbr(4, 1, 8)},
    {P::kGbrap16Be, "gbrap16be", "gbrap16be", "", "", kRgb, kAlpha | kBigEndian, 0, 0,
     PlanarGbr(4, 2, 16)},
    {P::kGbrap16, "gbrap16", "gbrap16le", "", "", kRgb, kAlpha, 0, 0, PlanarGbr(4, 2, 16)},
    {P::kXrgb, "0rgb", "0rgb", "xRGB", "BX24", kRgb, 0, 0, 0, Packed(4, 8, 0, {1, 2, 3})},
    {P::kRgbx, "rgb0", "rgb0", "RGBx", "XB24", kRgb, 0, 0, 0, Packed(4, 8, 0, {0, 1, 2})},
    {P::kXbgr, "0bgr", "0bgr", "xBGR", "RX24", kRgb, 0, 0, 0, Packed(4, 8, 0, {3, 2, 1})},
    {P::kBgrx, "bgr0", "bgr0", "BGRx", "XR24", kRgb, 0, 0, 0, Packed(4, 8, 0, {2, 1, 0})},
    {P::kI420P12Be, "yuv420p12be", "yuv420p12be", "I420_12BE", "", kYuv, kBigEndian, 1, 1,
     Planar(3, 2, 12)},
    {P::kI420P12, "yuv420p12", "yuv420p12le", "I420_12LE", "", kYuv, 0, 1, 1, Planar(3, 2, 12)},
    {P::kI420P14Be, "yuv420p14be", "yuv420p14be", "", "", kYuv, kBigEndian, 1, 1, Planar(3, 2, 14)},
    {P::kI420P14, "yuv420p14", "yuv420p14le", "", "", kYuv, 0, 1, 1, Planar(3, 2, 14)},
    {P::kI422P12Be, "yuv422p12be", "yuv422p12be", "I422_12BE", "", kYuv, kBigEndian, 1, 0,
     Planar(3, 2, 12)},
    {P::kI422P12, "yuv422p12", "yuv422p12le", "I422_12LE", "", kYuv, 0, 1, 0, Planar(3, 2, 12)},
    {P::kI422P14Be, "yuv422p14be", "yuv422p14be", "", "", kYuv, kBigEndian, 1, 0, Planar(3, 2, 14)},
    {P::kI422P14, "yuv422p14", "yuv422p14le", "", "", kYuv, 0, 1, 0, Planar(3, 2, 14)},
    {P::kI444P12Be, "yuv444p12be", "yuv444p12be", "Y444_12BE", "", kYuv, kBigEndian, 0, 0,
     Planar(3, 2, 12)},
    {P::kI444P12, "yuv444p12", "yuv444p12le", "Y444_12LE", "", kYuv, 0, 0, 0, Planar(3, 2, 12)},
    {P::kI444P14Be, "yuv444p14be", "yuv444p14be", "", "", kYuv, kBigEndian, 0, 0, Planar(3, 2, 14)},
    {P::kI444P14, "yuv444p14", "yuv444p14le", "", "", kYuv, 0, 0, 0, Planar(3, 2, 14)},
    {P::kGbrp12Be, "gbrp12be", "gbrp12be", "GBR_12BE", "", kRgb, kBigEndian, 0, 0,
     PlanarGbr(3, 2, 12)},
    {P::kGbrp12, "gbrp12", "gbrp12le", "GBR_12LE", "", kRgb, 0, 0, 0, PlanarGbr(3, 2, 12)},
    {P::kGbrp14Be, "gbrp14be", "gbrp14be", "", "", kRgb, kBigEndian, 0, 0, PlanarGbr(3, 2, 14)},
    {P::kGbrp14, "gbrp14", "gbrp14le", "", "", kRgb, 0, 0, 0, PlanarGbr(3, 2, 14)},
    {P::kI440P10, "yuv440p10", "yuv440p10le", "", "", kYuv, 0, 0, 1, Planar(3, 2, 10)},
    {P::kI440P10Be, "yuv440p10be", "yuv440p10be", "", "", kYuv, kBigEndian, 0, 1, Planar(3, 2, 10)},
    {P::kI440P12, "yuv440p12", "yuv440p12le", "", "", kYuv, 0, 0, 1, Planar(3, 2, 12)},
    {P::kI440P12Be, "yuv440p12be", "yuv440p12be", "", "", kYuv, kBigEndian, 0, 1, Planar(3, 2, 12)},
    {P::kAyuv64, "ayuv64", "ayuv64le", "", "", kYuv, kAlpha, 0, 0, Packed(8, 16, 0, {2, 4, 6, 0})},
    {P::kAyuv64Be, "ayuv64be", "ayuv64be", "", "", kYuv, kAlpha | kBigEndian, 0, 0,
     Packed(8, 16, 0, {2, 4, 6, 0})},
    {P::kP010, "p010", "p010le", "P010_10LE", "P010", kYuv, 0, 1, 1, SemiPlanar(2, 10, 6)},
    {P::kP010Be, "p010be", "p010be", "P010_10BE", "", kYuv, kBigEndian, 1, 1, SemiPlanar(2, 10, 6)},
    {P::kGbrap12Be, "gbrap12be", "gbrap12be", "GBRA_12BE", "", kRgb, kAlpha | kBigEndian, 0, 0,
     PlanarGbr(4, 2, 12)},
    {P::kGbrap12, "gbrap12", "gbrap12le", "GBRA_12LE", "", kRgb, kAlpha, 0, 0, PlanarGbr(4, 2, 12)},
    {P::kGbrap10Be, "gbrap10be", "gbrap10be", "GBRA_10BE", "", kRgb, kAlpha | kBigEndian, 0, 0,
     PlanarGbr(4, 2, 10)},
    {P::kGbrap10, "gbrap10", "gbrap10le", "GBRA_10LE", "", kRgb, kAlpha, 0, 0, PlanarGbr(4, 2, 10)},
    {P::kGray12Be, "gray12be", "gray12be", "", "", kGray, kBigEndian, 0, 0, Planar(1, 2, 12)},
    {P::kGray12, "gray12", "gray12le", "", "R12 ", kGray, 0, 0, 0, Planar(1, 2, 12)},
    {P::kGray10Be, "gray10be", "gray10be", "", "", kGray, kBigEndian, 0, 0, Planar(1, 2, 10)},
    {P::kP016, "p016", "p016le", "P016_LE", "P016", kYuv, 0, 1, 1, SemiPlanar(2, 16, 0)},
    {P::kP016Be, "p016be", "p016be", "P016_BE", "", kYuv, kBigEndian, 1, 1, SemiPlanar(2, 16, 0)},
    {P::kGray9Be, "gray9be", "gray9be", "", "", kGray, kBigEndian, 0, 0, Planar(1, 2, 9)},
    {P::kGray9, "gray9", "gray9le", "", "", kGray, 0, 0, 0, Planar(1, 2, 9)},
    {P::kGbrpF32Be, "gbrpf32be", "gbrpf32be", "", "", kRgb, kBigEndian | kFloat, 0, 0,
     PlanarGbr(3, 4, 32)},
    {P::kGbrpF32, "gbrpf32", "gbrpf32le", "", "", kRgb, kFloat, 0, 0, PlanarGbr(3, 4, 32)},
    {P::kGbrapF32Be, "gbrapf32be", "gbrapf32be", "", "", kRgb, kAlpha | kBigEndian | kFloat, 0, 0,
     PlanarGbr(4, 4, 32)},
    {P::kGbrapF32, "gbrapf32", "gbrapf32le", "", "", kRgb, kAlpha | kFloat, 0, 0,
     PlanarGbr(4, 4, 32)},
    {P::kGray14Be, "gray14be", "gray14be", "", "", kGray, kBigEndian, 0, 0, Planar(1, 2, 14)},
    {P::kGray14, "gray14", "gray14le", "", "", kGray, 0, 0, 0, Planar(1, 2, 14)},
    {P::kGrayF32Be, "grayf32be", "grayf32be", "", "", kGray, kBigEndian | kFloat, 0, 0,
     Planar(1, 4, 32)},
    {P::kGrayF32, "grayf32", "grayf32le", "", "", kGray, kFloat, 0, 0, Planar(1, 4, 32)},
    {P::kI422AP12Be, "yuva422p12be", "yuva422p12be", "", "", kYuv, kAlpha | kBigEndian, 1, 0,
     Planar(4, 2, 12)},
    {P::kI422AP12, "yuva422p12", "yuva422p12le", "", "", kYuv, kAlpha, 1, 0, Planar(4, 2, 12)},
    {P::kI444AP12Be, "yuva444p12be", "yuva444p12be", "", "", kYuv, kAlpha | kBigEndian, 0, 0,
     Planar(4, 2, 12)},
    {P::kI444AP12, "yuva444p12", "yuva444p12le", "", "", kYuv, kAlpha, 0, 0, Planar(4, 2, 12)},
    {P::kNv24, "nv24", "nv24", "NV24", "NV24", kYuv, 0, 0, 0, SemiPlanar(1, 8, 0)},
    {P::kNv42, "nv42", "nv42", "", "NV42", kYuv, 0, 0, 0, SemiPlanarCrCb(1, 8, 0)},
    {P::kY210Be, "y210be", "y210be", "", "", kYuv, kBigEndian, 1, 0,
     Exactly({{0, 4, 0, 6, 10}, {0, 8, 2, 6, 10}, {0, 8, 6, 6, 10}})},
    {P::kY210, "y210", "y210le", "Y210", "Y210", kYuv, 0, 1, 0,
     Exactly({{0, 4, 0, 6, 10}, {0, 8, 2, 6, 10}, {0, 8, 6, 6, 10}})},
    {P::kX2rgb10, "x2rgb10", "x2rgb10le", "", "XR30", kRgb, 0, 0, 0,
     Exactly({{0, 4, 2, 4, 10}, {0, 4, 1, 2, 10}, {0, 4, 0, 0, 10}})},
    {P::kX2rgb10Be, "x2rgb10be", "x2rgb10be", "", "", kRgb, kBigEndian, 0, 0,
     Exactly({{0, 4, 0, 4, 10}, {0, 4, 1, 2, 10}, {0, 4, 2, 0, 10}})},
    {P::kX2bgr10, "x2bgr10", "x2bgr10le", "", "XB30", kRgb, 0, 0, 0,
     Exactly({{0, 4, 0, 0, 10}, {0, 4, 1, 2, 10}, {0, 4, 2, 4, 10}})},
    {P::kX2bgr10Be, "x2bgr10be", "x2bgr10be", "", "", kRgb, kBigEndian, 0, 0,
     Exactly({{0, 4, 2, 0, 10}, {0, 4, 1, 2, 10}, {0, 4, 0, 4, 10}})},
    {P::kP210Be, "p210be", "p210be", "", "", kYuv, kBigEndian, 1, 0, SemiPlanar(2, 10, 6)},
    {P::kP210, "p210", "p210le", "", "P210", kYuv, 0, 1, 0, SemiPlanar(2, 10, 6)},
    {P::kP410Be, "p410be", "p410be", "", "", kYuv, kBigEndian, 0, 0, SemiPlanar(2, 10, 6)},
    {P::kP410, "p410", "p410le", "", "", kYuv, 0, 0, 0, SemiPlanar(2, 10, 6)},
    {P::kP216Be, "p216be", "p216be", "", "", kYuv, kBigEndian, 1, 0, SemiPlanar(2, 16, 0)},
    {P::kP216, "p216", "p216le", "", "", kYuv, 0, 1, 0, SemiPlanar(2, 16, 0)},
    {P::kP416Be, "p416be", "p416be", "", "", kYuv, kBigEndian, 0, 0, SemiPlanar(2, 16, 0)},
    {P::kP416, "p416", "p416le", "", "", kYuv, 0, 0, 0, SemiPlanar(2, 16, 0)},
    {P::kP012, "p012", "p012le", "P012_LE", "P012", kYuv, 0, 1, 1, SemiPlanar(2, 12, 4)},
    {P::kP012Be, "p012be", "p012be", "P012_BE", "", kYuv, kBigEndian, 1, 1, SemiPlanar(2, 12, 4)},
    {P::kP212, "p212", "p212le", "", "", kYuv, 0, 1, 0, SemiPlanar(2, 12, 4)},
    {P::kP212Be, "p212be", "p212be", "", "", kYuv, kBigEndian, 1, 0, SemiPlanar(2, 12, 4)},
    {P::kP412, "p412", "p412le", "", "", kYuv, 0, 0, 0, SemiPlanar(2, 12, 4)},
    {P::kP412Be, "p412be", "p412be", "", "", kYuv, kBigEndian, 0, 0, SemiPlanar(2, 12, 4)},
    {P::kY212, "y212", "y212le", "Y212_LE", "Y212", kYuv, 0, 1, 0,
     Exactly({{0, 4, 0, 4, 12}, {0, 8, 2, 4, 12}, {0, 8, 6, 4, 12}})},
    {P::kY212Be, "y212be", "y212be", "Y212_BE", "", kYuv, kBigEndian, 1, 0,
     Exactly({{0, 4, 0, 4, 12}, {0, 8, 2, 4, 12}, {0, 8, 6, 4, 12}})},
    {P::kVuya, "vuya", "vuya", "VUYA", "AYUV", kYuv, kAlpha, 0, 0, Packed(4, 8, 0, {2, 1, 0, 3})},
    {P::kVuyx, "vuyx", "vuyx", "", "XYUV", kYuv, 0, 0, 0, Packed(4, 8, 0, {2, 1, 0})},
    {P::kRgbF32, "rgbf32", "rgbf32le", "", "", kRgb, kFloat, 0, 0, Packed(12, 32, 0, {0, 4, 8})},
    {P::kRgbF32Be, "rgbf32be", "rgbf32be", "", "", kRgb, kBigEndian | kFloat, 0, 0,
     Packed(12, 32, 0, {0, 4, 8})},
    {P::kRgbaF32, "rgbaf32", "rgbaf32le", "", "", kRgb, kAlpha | kFloat, 0, 0,
     Packed(16, 32, 0, {0, 4, 8, 12})},
    {P::kRgbaF32Be, "rgbaf32be", "rgbaf32be", "", "", kRgb, kAlpha | kBigEndian | kFloat, 0, 0,
     Packed(16, 32, 0, {0, 4, 8, 12})},
};

constexpr size_t kCount = std::size(kRows);

constexpr std::array<PixelFormatInfo, kCount> MakeTable() {
  std::array<PixelFormatInfo, kCount> table;
  for (size_t i = 0; i < kCount; ++i) {
    const Row& row = kRows[i];
    table[i] = {.format = row.format,
                .name = row.name,
                .libav = row.libav,
                .gstreamer = row.gstreamer,
                .drm = row.drm,
                .model = row.model,
                .has_alpha = (row.flags & kAlpha) != 0,
                .big_endian = (row.flags & kBigEndian) != 0,
                .is_float = (row.flags & kFloat) != 0,
                .chroma_shift_x = row.chroma_shift_x,
                .chroma_shift_y = row.chroma_shift_y,
                .plane_count = row.components.planes,
                .component_count = row.components.count,
                .components = row.components.component};
  }
  return table;
}

constexpr std::array<PixelFormatInfo, kCount> kTable = MakeTable();

// FindPixelFormat takes the number as the place in the table.
constexpr bool NumbersAreInOrder() {
  for (size_t i = 0; i < kCount; ++i) {
    if (static_cast<size_t>(kTable[i].format) != i + 1) return false;
  }
  return true;
}
static_assert(NumbersAreInOrder());

}  // namespace

absl::Span<const PixelFormatInfo> AllPixelFormats() { return kTable; }

const PixelFormatInfo* FindPixelFormat(uint32_t number) {
  return number >= 1 && number <= kCount ? &kTable[number - 1] : nullptr;
}

const PixelFormatInfo& InfoOf(PixelFormat format) {
  const PixelFormatInfo* info = FindPixelFormat(static_cast<uint32_t>(format));
  PARLEY_CHECK(info != nullptr, "InfoOf: no pixel format has this number");
  return *info;
}

const PixelFormatInfo* PixelFormatFromLibav(std::string_view name) {
  if (name == "yuvj420p") name = "yuv420p";
  if (name == "yuvj422p") name = "yuv422p";
  if (name == "yuvj444p") name = "yuv444p";
  if (name == "yuvj440p") name = "yuv440p";
  if (name == "yuvj411p") name = "yuv411p";
  const auto* found = std::find_if(kTable.begin(), kTable.end(),
                                   [&](const PixelFormatInfo& info) { return info.libav == name; });
  return found == kTable.end() ? nullptr : found;
}

}  // namespace parley

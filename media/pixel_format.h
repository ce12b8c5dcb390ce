// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_MEDIA_PIXEL_FORMAT_H_
#define PARLEY_MEDIA_PIXEL_FORMAT_H_

// The one table of pixel formats: where each component of a pixel lies, and what other libraries
// call the format (libav, GStreamer, DRM).
//
// The numbers of the enumeration travel; those of the table do not. A name is libav's without "le".
// Samples of more than 8 bits are little-endian unless the name ends in "be".
//
// Trust: a number that a peer says is looked up with FindPixelFormat.
// Threads: values and pure functions; any.
//
//   const PixelFormatInfo& info = InfoOf(PixelFormat::kNv12);
//   const PixelComponent& cb = info.components[1];   // plane 1, every 2 bytes, from byte 0, 8 bits
//   const PixelFormatInfo* same = PixelFormatFromLibav("p010le");

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/types/span.h"

namespace parley {

inline constexpr size_t kMaxPlanes = 4;

enum class PixelFormat : uint32_t {
  kGray8 = 1,
  kI420 = 2,
  kI422 = 3,
  kI444 = 4,
  kGray10 = 5,
  kI420P10 = 6,
  kI422P10 = 7,
  kI444P10 = 8,
  kYuyv422 = 9,
  kRgb24 = 10,
  kBgr24 = 11,
  kI410 = 12,
  kI411 = 13,
  kUyvy422 = 14,
  kNv12 = 15,
  kNv21 = 16,
  kArgb = 17,
  kRgba = 18,
  kAbgr = 19,
  kBgra = 20,
  kGray16Be = 21,
  kGray16 = 22,
  kI440 = 23,
  kI420A = 24,
  kRgb48Be = 25,
  kRgb48 = 26,
  kRgb565Be = 27,
  kRgb565 = 28,
  kRgb555Be = 29,
  kRgb555 = 30,
  kBgr565Be = 31,
  kBgr565 = 32,
  kBgr555Be = 33,
  kBgr555 = 34,
  kI420P16 = 35,
  kI420P16Be = 36,
  kI422P16 = 37,
  kI422P16Be = 38,
  kI444P16 = 39,
  kI444P16Be = 40,
  kRgb444 = 41,
  kRgb444Be = 42,
  kBgr444 = 43,
  kBgr444Be = 44,
  kGrayAlpha8 = 45,
  kBgr48Be = 46,
  kBgr48 = 47,
  kI420P9Be = 48,
  kI420P9 = 49,
  kI420P10Be = 50,
  kI422P10Be = 51,
  kI444P9Be = 52,
  kI444P9 = 53,
  kI444P10Be = 54,
  kI422P9Be = 55,
  kI422P9 = 56,
  kGbrp = 57,
  kGbrp9Be = 58,
  kGbrp9 = 59,
  kGbrp10Be = 60,
  kGbrp10 = 61,
  kGbrp16Be = 62,
  kGbrp16 = 63,
  kI422A = 64,
  kI444A = 65,
  kI420AP9Be = 66,
  kI420AP9 = 67,
  kI422AP9Be = 68,
  kI422AP9 = 69,
  kI444AP9Be = 70,
  kI444AP9 = 71,
  kI420AP10Be = 72,
  kI420AP10 = 73,
  kI422AP10Be = 74,
  kI422AP10 = 75,
  kI444AP10Be = 76,
  kI444AP10 = 77,
  kI420AP16Be = 78,
  kI420AP16 = 79,
  kI422AP16Be = 80,
  kI422AP16 = 81,
  kI444AP16Be = 82,
  kI444AP16 = 83,
  kXyz12 = 84,
  kXyz12Be = 85,
  kNv16 = 86,
  kNv20 = 87,
  kNv20Be = 88,
  kRgba64Be = 89,
  kRgba64 = 90,
  kBgra64Be = 91,
  kBgra64 = 92,
  kYvyu422 = 93,
  kGrayAlpha16Be = 94,
  kGrayAlpha16 = 95,
  kGbrap = 96,
  kGbrap16Be = 97,
  kGbrap16 = 98,
  kXrgb = 99,
  kRgbx = 100,
  kXbgr = 101,
  kBgrx = 102,
  kI420P12Be = 103,
  kI420P12 = 104,
  kI420P14Be = 105,
  kI420P14 = 106,
  kI422P12Be = 107,
  kI422P12 = 108,
  kI422P14Be = 109,
  kI422P14 = 110,
  kI444P12Be = 111,
  kI444P12 = 112,
  kI444P14Be = 113,
  kI444P14 = 114,
  kGbrp12Be = 115,
  kGbrp12 = 116,
  kGbrp14Be = 117,
  kGbrp14 = 118,
  kI440P10 = 119,
  kI440P10Be = 120,
  kI440P12 = 121,
  kI440P12Be = 122,
  kAyuv64 = 123,
  kAyuv64Be = 124,
  kP010 = 125,
  kP010Be = 126,
  kGbrap12Be = 127,
  kGbrap12 = 128,
  kGbrap10Be = 129,
  kGbrap10 = 130,
  kGray12Be = 131,
  kGray12 = 132,
  kGray10Be = 133,
  kP016 = 134,
  kP016Be = 135,
  kGray9Be = 136,
  kGray9 = 137,
  kGbrpF32Be = 138,
  kGbrpF32 = 139,
  kGbrapF32Be = 140,
  kGbrapF32 = 141,
  kGray14Be = 142,
  kGray14 = 143,
  kGrayF32Be = 144,
  kGrayF32 = 145,
  kI422AP12Be = 146,
  kI422AP12 = 147,
  kI444AP12Be = 148,
  kI444AP12 = 149,
  kNv24 = 150,
  kNv42 = 151,
  kY210Be = 152,
  kY210 = 153,
  kX2rgb10 = 154,
  kX2rgb10Be = 155,
  kX2bgr10 = 156,
  kX2bgr10Be = 157,
  kP210Be = 158,
  kP210 = 159,
  kP410Be = 160,
  kP410 = 161,
  kP216Be = 162,
  kP216 = 163,
  kP416Be = 164,
  kP416 = 165,
  kP012 = 166,
  kP012Be = 167,
  kP212 = 168,
  kP212Be = 169,
  kP412 = 170,
  kP412Be = 171,
  kY212 = 172,
  kY212Be = 173,
  kVuya = 174,
  kVuyx = 175,
  kRgbF32 = 176,
  kRgbF32Be = 177,
  kRgbaF32 = 178,
  kRgbaF32Be = 179,
};

// What the components are: Y; Y, Cb, Cr; R, G, B; X, Y, Z. Alpha, where there is one, is the last.
enum class ColourModel : uint8_t { kGray, kYuv, kRgb, kXyz };

// One component, as libav's descriptors have it. Its value is read as a number of 8 bits where
// shift_bits + depth_bits <= 8 (at offset_bytes + 1 if big-endian), of 16 bits up to 16 and of 32
// bits above, and shifted right.
struct PixelComponent {
  uint8_t plane = 0;
  uint8_t step_bytes = 0;   // from one sample to the next of the same row
  int8_t offset_bytes = 0;  // of the first sample
  uint8_t shift_bits = 0;
  uint8_t depth_bits = 0;
  bool operator==(const PixelComponent&) const = default;
};

struct PixelFormatInfo {
  PixelFormat format = PixelFormat::kGray8;
  std::string_view name;
  std::string_view libav;      // av_get_pix_fmt; some are newer than FFmpeg 5.1
  std::string_view gstreamer;  // gst_video_format_from_string; empty: has none
  std::string_view drm;        // four characters; empty: has none
  ColourModel model = ColourModel::kGray;
  bool has_alpha = false;
  bool big_endian = false;
  bool is_float = false;
  uint8_t chroma_shift_x = 0;  // the second and third component are this many halvings narrower
  uint8_t chroma_shift_y = 0;
  uint8_t plane_count = 0;
  uint8_t component_count = 0;
  std::array<PixelComponent, 4> components = {};
};

// All of them, by ascending number.
absl::Span<const PixelFormatInfo> AllPixelFormats();

// Null for a number that stands for no format: for what a peer says.
const PixelFormatInfo* FindPixelFormat(uint32_t number);
// `format` must be one of the enumeration; anything else aborts.
const PixelFormatInfo& InfoOf(PixelFormat format);
// By libav's name ("yuv420p10le"; the old "yuvj420p" is yuv420p with the full range, which is the
// caller's to say); null: not in the table.
const PixelFormatInfo* PixelFormatFromLibav(std::string_view name);

}  // namespace parley

#endif  // PARLEY_MEDIA_PIXEL_FORMAT_H_

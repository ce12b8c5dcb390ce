// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_THUMB_THUMB_WIRE_H_
#define PARLEY_THUMB_THUMB_WIRE_H_

// The messages between parley-thumb and its worker.
//
//   host -> worker   the job's request: one RequestWire
//   worker -> host   for a picture: one PictureWire, then its bytes in kPixelsTag messages
//                    for facts: one FileWire, then one StreamWire for each stream, in order
//
// Trust: what the worker sends is read by result_reader.h alone.

#include <array>
#include <cstdint>

#include "parley/boundary/wire_type.h"

namespace parley::thumb {

inline constexpr char kThumbProtocol[] = "parley-thumb 1";

inline constexpr uint32_t kPictureTag = 1;
inline constexpr uint32_t kPixelsTag = 2;
inline constexpr uint32_t kFileTag = 3;
inline constexpr uint32_t kStreamTag = 4;

inline constexpr uint32_t kMessageBytes = uint32_t{128} << 10;

struct RequestWire {
  uint64_t max_pixels;
  int64_t at;
  uint32_t at_kind;
  uint32_t max_width;
  uint32_t max_height;
  uint32_t columns;
  uint32_t rows;
  uint32_t facts;  // 1: facts instead of a picture
};

struct PictureWire {
  uint32_t width;
  uint32_t height;
  uint32_t channels;
  uint32_t reserved;  // 0
};

// A text ends at its first zero, or with its array; what follows the first zero is zero.
using Text = std::array<char, 32>;

struct FileWire {
  Text container;
  int64_t duration_ns;
  int64_t bits_per_second;
  uint32_t streams;
  uint32_t streams_left_out;
};

inline constexpr uint32_t kAttachedPicture = 1;
inline constexpr uint32_t kCanBeDecoded = 2;
inline constexpr uint32_t kFullRange = 4;

struct StreamWire {
  uint32_t kind;
  uint32_t flags;
  Text codec;
  Text profile;
  Text format;
  Text language;
  Text primaries;
  Text transfer;
  Text matrix;
  int64_t duration_ns;
  int64_t bits_per_second;
  uint32_t width;
  uint32_t height;
  uint32_t pixel_aspect_numerator;
  uint32_t pixel_aspect_denominator;
  uint32_t rotation_degrees;
  uint32_t rate_numerator;
  uint32_t rate_denominator;
  uint32_t sample_rate_hz;
  uint32_t channels;
  uint32_t reserved;  // 0
};

static_assert(WireType<RequestWire> && sizeof(RequestWire) == 40);
static_assert(WireType<PictureWire> && sizeof(PictureWire) == 16);
static_assert(WireType<FileWire> && sizeof(FileWire) == 56);
static_assert(WireType<StreamWire> && sizeof(StreamWire) == 288);

}  // namespace parley::thumb

#endif  // PARLEY_THUMB_THUMB_WIRE_H_

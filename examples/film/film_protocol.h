// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_FILM_PROTOCOL_H_
#define PARLEY_EXAMPLES_FILM_FILM_PROTOCOL_H_

// What the decoder and the viewer send to each other: one message of the channel per picture, block
// of audio or record below, told apart by its tag.
//
//   viewer:   Accepts
//   decoder:  Info, then any of { Format, Picture, PictureInPlace, Audio, AudioInPlace, Progress }
//             in the order of the film, then End or, at any point, Failed, which ends the film too
//   or, as the second look of --verify: any of { CheckPicture, CheckAudio }, then End or Failed
//
// The decoder asks for the film's bytes as it needs them (supervise/worker_link.h, InputSource); so
// a film may be of any size, and no descriptor of it leaves the viewer.
//
// A picture or block of audio is a FrameHeaderWire and its payload (media/frame.h). Of one that was
// decoded into the channel's arena the message is a frame's record (frames/frame_sender.h,
// kTagPictureInPlace, kTagAudioInPlace) with the header as its metadata, and the payload stays
// where it is. A format is a record of media/format.h and precedes the first frame that has it.
// Pictures are numbered from 0 over the whole film, blocks of audio likewise; a worker that resumes
// begins at the numbers that it was started with, and sends Progress while it decodes what lies
// before them.
//
// Trust: in the viewer every byte is hostile; FilmReceiver and CheckReceiver validate.

#include <array>
#include <cstdint>

#include "parley/boundary/wire_type.h"

namespace parley::film {

enum FilmTag : uint32_t {
  kTagInfo = 1,
  kTagFormat = 2,
  kTagPicture = 3,
  kTagAudio = 4,
  kTagProgress = 5,
  kTagEnd = 6,
  kTagFailed = 7,
  kTagCheckPicture = 8,
  kTagCheckAudio = 9,
  kTagPictureInPlace = 10,
  kTagAudioInPlace = 11,
  // Of the viewer.
  kTagAccepts = 100,  // a record of media/acceptance.h
};

// In the handshake, so that two programs which mean different things do not talk to each other.
inline constexpr char kFilmProtocol[] = "parley-film/5";

struct InfoWire {
  int64_t duration_ns;                // 0: not known
  std::array<uint8_t, 48> container;  // text, padded with zeros
  std::array<uint8_t, 24> video_codec;
  std::array<uint8_t, 24> audio_codec;
};
static_assert(sizeof(InfoWire) == 104);
static_assert(WireType<InfoWire>);

struct ProgressWire {
  uint64_t pictures;  // decoded and dropped
  uint64_t audio_blocks;
};
static_assert(sizeof(ProgressWire) == 16);
static_assert(WireType<ProgressWire>);

struct EndWire {
  uint64_t pictures;  // in the whole film
  uint64_t audio_blocks;
  uint64_t audio_frames;
  uint64_t bad_packets;
  uint32_t truncated;  // 0 or 1
  uint32_t reserved;
};
static_assert(sizeof(EndWire) == 40);
static_assert(WireType<EndWire>);

struct FailedWire {
  std::array<uint8_t, 256> reason;  // text, padded with zeros
};
static_assert(sizeof(FailedWire) == 256);
static_assert(WireType<FailedWire>);

// What the decoder asks for at once of the film.
inline constexpr uint32_t kPieceBytes = 256u << 10;

// Means over the cells of a grid, where the decoder had to convert the picture.
inline constexpr uint32_t kGridSide = 8;
inline constexpr size_t kGridBytes = size_t{kGridSide} * kGridSide * 3;
inline constexpr uint8_t kGridYuv = 0;
inline constexpr uint8_t kGridRgb = 1;
inline constexpr uint8_t kGridGray = 2;  // the second and third of each cell say nothing

// What libav itself says about a picture and a block of audio: its own names and numbers.
struct CheckPictureWire {
  double seconds;  // from the start of the film
  uint32_t width;
  uint32_t height;
  uint32_t aspect_numerator;  // 0: unknown
  uint32_t aspect_denominator;
  int32_t rotation_degrees;  // counter-clockwise, 0 to 359; of a mirrored one, of what it mirrors
  uint8_t mirrored;
  uint8_t full_range;  // 0: no, 1: yes, 2: unspecified
  uint8_t primaries;
  uint8_t transfer;
  uint8_t matrix;
  uint8_t chroma_place;
  uint8_t interlaced;
  uint8_t top_first;
  uint8_t key;
  uint8_t grid_kind;  // Y, Cb, Cr and Y alone as they are stored, 0 to 255 being the full scale
  uint8_t has_grid;
  uint8_t reserved;
  std::array<uint8_t, 24> pixel_format;  // text
  std::array<uint8_t, 32> digest;        // SHA-256 of the rows, plane by plane
  std::array<uint8_t, kGridBytes> grid;
};
static_assert(sizeof(CheckPictureWire) == 288);

struct CheckAudioWire {
  double seconds;
  uint64_t mask;  // 0: none
  uint32_t frames;
  uint32_t rate_hz;
  uint32_t channels;
  uint32_t reserved;
  std::array<uint8_t, 8> sample_format;  // text
  std::array<uint8_t, 32> digest;        // SHA-256 of the samples, plane by plane
};
static_assert(sizeof(CheckAudioWire) == 72);

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_FILM_PROTOCOL_H_

#ifndef PARLEY_EXAMPLES_FILM_FILM_PROTOCOL_H_
#define PARLEY_EXAMPLES_FILM_FILM_PROTOCOL_H_

// What the decoder sends to the viewer: one message of the channel per picture, block of audio or
// record below, told apart by its tag. Nothing goes the other way.
//
//   Info, then any of { Format, Picture, Audio, Progress } in the order of the film, then End
//   or, at any point, Failed, which ends the film as well.
//
// A picture or block of audio is a FrameHeaderWire and its payload (media/frame.h); a format is a
// record of media/format.h and precedes the first frame that has it. Pictures are numbered from 0
// over the whole film, blocks of audio likewise; a worker that resumes begins at the numbers that
// it was started with, and sends Progress while it decodes what lies before them.
//
// Trust: every byte is hostile; FilmReceiver validates.

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
};

// In the handshake, so that two programs which mean different things do not talk to each other.
inline constexpr char kFilmProtocol[] = "parley-film/1";

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

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_FILM_PROTOCOL_H_

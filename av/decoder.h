// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_AV_DECODER_H_
#define PARLEY_AV_DECODER_H_

// Decodes a film with libavcodec, on one thread, in an order that depends on nothing but the bytes:
// two runs deliver the same pictures and the same blocks of audio.
//
// Pictures and samples stay as libav gives them, as far as the receiver accepts that; what it does
// not accept becomes the accepted format that loses least, by swscale's bit-exact path. Times count
// from the start of the film, as ffmpeg's do.
//
// Given an arena, it decodes into the arena that the viewer maps as far as that has room, and
// goes on predicting from pictures that the viewer reads meanwhile: it never writes to a picture or
// a block of sound that was delivered. The viewer can't write there. A hijacked decoder can at any
// time, as everywhere.
//
// There is no seeking: whoever resumes decodes from the start and drops what was delivered before.
// That costs time and is right for every codec: open GOPs, audio pre-roll and edit lists included.
//
// Trust: the film is hostile, and so is libavcodec once it has seen the film. That is why this code
// runs in the confined worker; in the viewer only --verify runs it, and says so.
// Threads: one at a time; starts none. After WarmUpDecoder() it opens no file and no socket, and
// makes no system call but those of the allocator.
//
//   WarmUpDecoder();                                   // before lock-down
//   auto decoder = FilmDecoder::Open(source, acceptance);   // after it
//   if (!decoder.ok()) return decoder.status();
//   auto totals = (*decoder)->Run(sink);

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/av/byte_source.h"
#include "parley/av/decoder_memory.h"
#include "parley/av/media_units.h"
#include "parley/media/acceptance.h"

namespace parley::av {

struct FilmInfo {
  std::string container;
  std::string video_codec;  // empty: no video
  std::string audio_codec;  // empty: no audio
  int64_t duration_ns = 0;  // 0: not known
};

struct DecodeTotals {
  uint64_t pictures = 0;
  uint64_t audio_blocks = 0;
  uint64_t audio_frames = 0;
  uint64_t bad_packets = 0;  // could not be decoded, though they were all there
  bool truncated = false;    // the film ends before its own headers say
};

// Everything that opens files or initialises tables on first use. Call before lock-down.
void WarmUpDecoder();

class FilmDecoder {
 public:
  // `film` and what `arena` has must outlive the decoder. kInvalidArgument: not a film, a list
  // of other files, or nothing in it that can be decoded; kResourceExhausted: no memory.
  static absl::StatusOr<std::unique_ptr<FilmDecoder>> Open(ByteSource& film,
                                                           const Acceptance& acceptance = {},
                                                           const DecoderArena& arena = {});
  virtual ~FilmDecoder() = default;

  virtual const FilmInfo& info() const = 0;
  // Once.
  virtual absl::StatusOr<DecodeTotals> Run(MediaSink& sink) = 0;
};

}  // namespace parley::av

#endif  // PARLEY_AV_DECODER_H_

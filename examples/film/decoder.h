#ifndef PARLEY_EXAMPLES_FILM_DECODER_H_
#define PARLEY_EXAMPLES_FILM_DECODER_H_

// Decodes a film that lies in memory with libavcodec, on one thread, in an order that depends on
// nothing but the bytes: two runs deliver the same pictures and the same blocks of audio.
//
// Pictures keep their pixel format where Parley has it (8- and 10-bit planar 4:2:0, 4:2:2, 4:4:4
// and gray); others are converted with swscale's bit-exact path to the nearest one that loses least
// (RGB and palettes to 4:4:4, more than 10 bits to 10). Audio keeps its sample format and becomes
// interleaved; 64-bit float becomes 32-bit float and 64-bit integers keep their upper half.
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
//   auto decoder = FilmDecoder::Open(film_bytes);      // after it
//   if (!decoder.ok()) return decoder.status();
//   auto totals = (*decoder)->Run(sink);

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/examples/film/media_units.h"

namespace parley::film {

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
  // `film` must outlive the decoder. kInvalidArgument: not a film, or nothing in it that can be
  // decoded; kResourceExhausted: no memory.
  static absl::StatusOr<std::unique_ptr<FilmDecoder>> Open(absl::Span<const std::byte> film);
  virtual ~FilmDecoder() = default;

  virtual const FilmInfo& info() const = 0;
  // Once.
  virtual absl::StatusOr<DecodeTotals> Run(MediaSink& sink) = 0;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_DECODER_H_

#ifndef PARLEY_EXAMPLES_FILM_INTERLEAVE_H_
#define PARLEY_EXAMPLES_FILM_INTERLEAVE_H_

// Brings a decoded AVFrame of audio into interleaved PCM of one of Parley's sample formats.
//
// Threads: pure function; any.

#include <vector>

#include "absl/status/status.h"
#include "parley/examples/film/libav.h"
#include "parley/examples/film/media_units.h"

namespace parley::film {

// Fills format, frames and samples of `audio`; the samples are kept in `storage`.
absl::Status Interleave(const AVFrame& frame, std::vector<std::byte>& storage, AudioBlock& audio);

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_INTERLEAVE_H_

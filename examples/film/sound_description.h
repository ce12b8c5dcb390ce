// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_SOUND_DESCRIPTION_H_
#define PARLEY_EXAMPLES_FILM_SOUND_DESCRIPTION_H_

// Describes a decoded AVFrame of audio as an AudioBlock, as it is.
//
// Threads: pure function; any.

#include <vector>

#include "absl/status/status.h"
#include "parley/examples/film/libav.h"
#include "parley/examples/film/media_units.h"

namespace parley::film {

// Fills format, frames and planes of `audio`; they point into `frame`, and the list of the planes
// is kept in `planes`. `significant_bits`: of each sample, 0 for all.
absl::Status DescribeSound(const AVFrame& frame, int significant_bits,
                           std::vector<const std::byte*>& planes, AudioBlock& audio);

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_SOUND_DESCRIPTION_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_AV_SOUND_DESCRIPTION_H_
#define PARLEY_AV_SOUND_DESCRIPTION_H_

// Describes a decoded AVFrame of audio as an AudioBlock, as it is.
//
// Threads: pure function; any.

#include <vector>

#include "absl/status/status.h"
#include "parley/av/libav.h"
#include "parley/av/media_units.h"

namespace parley::av {

// Fills format, frames and planes of `audio`; they point into `frame`, and the list of the planes
// is kept in `planes`. `significant_bits`: of each sample, 0 for all.
absl::Status DescribeSound(const AVFrame& frame, int significant_bits,
                           std::vector<const std::byte*>& planes, AudioBlock& audio);

}  // namespace parley::av

#endif  // PARLEY_AV_SOUND_DESCRIPTION_H_

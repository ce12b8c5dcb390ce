// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_EFFECT_EFFECT_OPTIONS_H_
#define PARLEY_EXAMPLES_EFFECT_EFFECT_OPTIONS_H_

// What the host and its effect have agreed on: stereo, 48 kHz, blocks of 128 frames (2.7 ms).
//
// Threads: a pure function.

#include "absl/time/time.h"
#include "parley/media/audio_port.h"

namespace parley::effect {

inline AudioPortOptions Options() {
  AudioPortOptions options;
  options.send_channels = options.receive_channels = 2;
  options.max_block_frames = 128;
  // The effect has no processor to itself: it sleeps between its looks. The host does not wait long
  // enough for that to matter.
  options.poll_sleep = absl::Microseconds(50);
  return options;
}

}  // namespace parley::effect

#endif  // PARLEY_EXAMPLES_EFFECT_EFFECT_OPTIONS_H_

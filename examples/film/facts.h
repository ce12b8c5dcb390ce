// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_FACTS_H_
#define PARLEY_EXAMPLES_FILM_FACTS_H_

// What --verify keeps of each picture and block that was delivered, to compare it with the second
// look (check_receiver.h) once all of it is there.
//
// Threads: one at a time.
//
//   FactsOfPicture facts = recorder.Of(picture);

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "parley/examples/film/digest.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/examples/film/media_units.h"

namespace parley::film {

struct FactsOfPicture {
  Digest digest = {};  // of the rows
  int64_t pts_ns = 0;
  uint32_t format = 0;  // which of FactsRecorder::formats()
  bool key = false;
  bool interlaced = false;
  bool top_first = false;
  // Of one that was converted: means over a grid, as CheckPictureWire has them, and
  // the same as R, G, B.
  std::vector<uint8_t> stored_grid = {};
  std::vector<uint8_t> rgb_grid = {};
};

struct FactsOfAudio {
  Digest digest = {};  // of the samples
  int64_t pts_ns = 0;
  uint32_t frames = 0;
  AudioFormat format = {};
};

class FactsRecorder {
 public:
  FactsOfPicture Of(const Picture& picture);
  FactsOfAudio Of(const AudioBlock& audio);
  const std::vector<VideoFormat>& formats() const { return formats_; }

 private:
  Digester digester_;
  std::vector<VideoFormat> formats_;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_FACTS_H_

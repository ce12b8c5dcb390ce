// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_WAV_WRITER_H_
#define PARLEY_EXAMPLES_FILM_WAV_WRITER_H_

// Writes blocks of audio as WAV, interleaved; integers of 64 bits keep their upper half. The layout
// of the channels is written down where WAV has a mask for it. A file holds one format and less
// than 4 GiB: at a change, or when it is full, film.wav is followed by film-2.wav and so on; a pipe
// cannot be followed, and takes no more. Floats are sanitised on the way.
//
// Threads: one at a time.
//
//   WavWriter writer("film.wav");
//   if (auto s = writer.Write(audio); !s.ok()) return s;
//   return writer.Finish();

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "parley/cli/output_file.h"
#include "parley/examples/film/media_units.h"
#include "parley/examples/film/output_names.h"

namespace parley::film {

class WavWriter {
 public:
  // `names` may be null, and outlives this.
  explicit WavWriter(std::string path, OutputNames* names = nullptr)
      : path_(std::move(path)), names_(names) {}

  absl::Status Write(const AudioBlock& audio);
  // Publishes what was written, if there was anything.
  absl::Status Finish();
  // The files published so far.
  const std::vector<std::string>& files() const { return files_; }

 private:
  absl::Status Begin(const AudioFormat& format);
  // Into interleaved_.
  void Interleave(const AudioBlock& audio);

  std::string path_;
  OutputNames* names_;
  std::vector<std::string> files_;
  std::optional<cli::OutputFile> file_;
  std::vector<std::byte> interleaved_;
  AudioFormat format_;
  uint64_t data_bytes_ = 0;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_WAV_WRITER_H_

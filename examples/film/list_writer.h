// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_LIST_WRITER_H_
#define PARLEY_EXAMPLES_FILM_LIST_WRITER_H_

// Writes a line for each picture and block of sound: when, how long, and what it is. For programs
// that compare a film with what another one says about it.
//
//   picture NUMBER SECONDS LASTS WIDTHxHEIGHT FORMAT [key] [corrupt] [interlaced] [converted]
//   sound NUMBER SECONDS LASTS SAMPLES RATE CHANNELS FORMAT [corrupt]
//
// Formats are libav's names. The file appears under its name when it is finished.
//
// Trust: every field was validated; the lines are numbers and names of ours.
// Threads: one at a time.
//
//   ListWriter list("film.list");
//   list.Write(picture);
//   list.Finish();

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "parley/cli/output_file.h"
#include "parley/examples/film/media_units.h"

namespace parley::film {

class ListWriter {
 public:
  explicit ListWriter(std::string path) : path_(std::move(path)) {}

  // The first creates the file.
  absl::Status Write(const Picture& picture);
  absl::Status Write(const AudioBlock& audio);
  // Whether a file was published, or there was nothing to write.
  absl::Status Finish();

  const std::string& path() const { return path_; }
  bool empty() const { return pictures_ + audio_blocks_ == 0; }

 private:
  absl::Status WriteLine(const std::string& line);

  const std::string path_;
  std::optional<cli::OutputFile> file_;
  uint64_t pictures_ = 0;
  uint64_t audio_blocks_ = 0;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_LIST_WRITER_H_

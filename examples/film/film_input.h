// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_FILM_INPUT_H_
#define PARLEY_EXAMPLES_FILM_FILM_INPUT_H_

// The film in the viewer: an open file of any size, of which a worker asks for pieces.
//
// Trust: whoever asks is hostile; how much one worker may read in all is bounded.
// Threads: one at a time.
//
//   absl::StatusOr<FilmInput> film = FilmInput::Open("film.mp4");
//   link_options.source = film->Source();

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "parley/os/unique_fd.h"
#include "parley/supervise/worker_link.h"

namespace parley::film {

// Demuxers seek, and badly interleaved files make them seek much.
inline constexpr uint64_t kMaxReadings = 64;
inline constexpr uint64_t kReadAllowanceBytes = uint64_t{1} << 30;  // for small files

class FilmInput {
 public:
  // kInvalidArgument: a directory, no regular file, empty.
  static absl::StatusOr<FilmInput> Open(const std::string& path);

  uint64_t size_bytes() const { return size_bytes_; }
  int fd() const { return fd_.get(); }
  // For one worker; this outlives it.
  InputSource Source() const;

 private:
  FilmInput(UniqueFd fd, uint64_t size_bytes) : fd_(std::move(fd)), size_bytes_(size_bytes) {}

  UniqueFd fd_;
  uint64_t size_bytes_;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_FILM_INPUT_H_

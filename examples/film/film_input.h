#ifndef PARLEY_EXAMPLES_FILM_FILM_INPUT_H_
#define PARLEY_EXAMPLES_FILM_FILM_INPUT_H_

// The film in the viewer: an open file of any size, of which a worker asks for pieces.
//
// Trust: requests are hostile. The worst that they can cause is kDataLoss with the reason: pieces
// are bounded, none lies outside of the file, and one worker gets kMaxReadings times the file in
// all.
// Threads: one at a time.
//
//   absl::StatusOr<FilmInput> input = FilmInput::Open("film.mp4");
//   absl::StatusOr<absl::Span<const std::byte>> piece = input->Answer(message);

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/os/unique_fd.h"

namespace parley::film {

// Demuxers seek, and badly interleaved files make them seek much.
inline constexpr uint64_t kMaxReadings = 64;
inline constexpr uint64_t kReadAllowanceBytes = uint64_t{1} << 30;  // for small files

// kDataLoss with the reason: another size, nothing or too much asked for, outside of the film.
absl::StatusOr<ReadRequestWire> ParseRead(absl::Span<const std::byte> message, uint64_t film_bytes);

class FilmInput {
 public:
  // kInvalidArgument: a directory, no regular file, empty.
  static absl::StatusOr<FilmInput> Open(const std::string& path);

  uint64_t size_bytes() const { return size_bytes_; }
  int fd() const { return fd_.get(); }

  // A new worker, with a new budget.
  void BeginWorker() { read_bytes_ = 0; }
  // What a kTagRead asks for; valid until the next call. Empty where the file has become shorter.
  // kDataLoss: the worker's fault; anything else: the file cannot be read.
  absl::StatusOr<absl::Span<const std::byte>> Answer(absl::Span<const std::byte> message);

 private:
  FilmInput(UniqueFd fd, uint64_t size_bytes)
      : fd_(std::move(fd)), size_bytes_(size_bytes), piece_(kMaxReadBytes) {}

  UniqueFd fd_;
  uint64_t size_bytes_;
  uint64_t read_bytes_ = 0;
  std::vector<std::byte> piece_;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_FILM_INPUT_H_

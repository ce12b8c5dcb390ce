// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_REMOTE_SOURCE_H_
#define PARLEY_EXAMPLES_FILM_REMOTE_SOURCE_H_

// The worker's end of a film that stays with the viewer: keeps the last piece that it asked for,
// since demuxers read a few bytes at a time.
//
// Threads: one at a time, the one that sends pictures.
//
//   RemoteSource film(worker.input());
//   auto decoder = av::FilmDecoder::Open(film, acceptance);

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/examples/film/film_source.h"
#include "parley/supervise/worker_main.h"

namespace parley::film {

class RemoteSource final : public FilmSource {
 public:
  // The input outlives this.
  explicit RemoteSource(WorkerInput& input) : input_(input), piece_(kPieceBytes) {}

  uint64_t size_bytes() const override { return input_.size_bytes(); }
  size_t ReadAt(uint64_t offset, absl::Span<std::byte> into) override;

 private:
  WorkerInput& input_;
  std::vector<std::byte> piece_;  // the last one
  uint64_t piece_offset_ = 0;
  size_t piece_bytes_ = 0;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_REMOTE_SOURCE_H_

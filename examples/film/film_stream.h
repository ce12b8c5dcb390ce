// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_FILM_STREAM_H_
#define PARLEY_EXAMPLES_FILM_FILM_STREAM_H_

// A film, with as many workers as it takes: one that misbehaves is thrown away, and another one
// resumes at the last key picture, so that the sink gets every picture and sample once.
//
// Trust: as worker_session.h; a film that ends each of its workers costs at most `max_workers`.
// Threads: one at a time.
//
//   StreamOptions options;
//   options.session = ...;                    // which film, what is accepted
//   const FilmRun run = StreamFilm(options, sink);
//   if (run.last.end == SessionEnd::kWhole) ...

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/examples/film/film_receiver.h"
#include "parley/examples/film/media_units.h"
#include "parley/examples/film/worker_session.h"

namespace parley::film {

struct StreamOptions {
  // `hijack` is the first worker's alone; `on_progress` is set from here.
  SessionOptions session;
  // Workers in a row that deliver nothing new before it is given up, and workers at all.
  int max_useless_workers = 3;
  int max_workers = 50;
  FilmReceiver::OnAgain on_again;  // may be null
  // After each message; what was delivered, and the worker's claim of how long the film is.
  std::function<void(const Delivered& delivered, int64_t claimed_duration_ns)> on_progress;
  // When a worker has ended, before `say`.
  std::function<void()> on_worker_ended;
  // Gets a sentence without a full stop for each worker that was thrown away.
  std::function<void(const std::string& sentence)> say;
};

struct FilmRun {
  SessionResult last;
  Delivered delivered;
  EndWire totals = {};
  std::string description;  // the last worker's claim; printable
  absl::StatusCode sink_code = absl::StatusCode::kOk;
  int workers = 0;
  uint64_t messages = 0;
  uint64_t wakeups = 0;
  Arrivals pictures;
  Arrivals sound;  // in blocks
  double worker_cpu_seconds = 0;
  double seconds = 0;
};

FilmRun StreamFilm(const StreamOptions& options, MediaSink& sink);

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_FILM_STREAM_H_

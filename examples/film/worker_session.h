// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_WORKER_SESSION_H_
#define PARLEY_EXAMPLES_FILM_WORKER_SESSION_H_

// The life of one worker, from its start to its end: started with nothing but a socket, answered
// when it asks for a piece of the film, and killed and reaped whatever happens.
//
// Trust: the worker is hostile from its first byte on. The worst that it can cause is a session
// that ends with kThrownAway and a sentence that says why. Threads: one at a time, and the thread
// outlives the session (the worker dies with it).
//
//   FilmReceiver receiver(...);
//   SessionResult result = RunSession(options, start, receiver);
//   if (result.end == SessionEnd::kThrownAway) ... another one, from receiver.delivered() ...

#include <cstdint>
#include <functional>
#include <string>

#include "absl/time/time.h"
#include "parley/examples/film/film_input.h"
#include "parley/examples/film/film_sender.h"
#include "parley/examples/film/hijack.h"
#include "parley/examples/film/message_handler.h"
#include "parley/media/acceptance.h"

namespace parley::film {

struct SessionOptions {
  std::string worker_program;
  FilmInput* film = nullptr;
  Acceptance acceptance;
  uint32_t max_message_bytes = 0;
  bool second_look = false;
  // Shows the handler pictures and sound where the worker decoded them, which it may rewrite
  // meanwhile, instead of a copy.
  bool in_place = false;
  // A worker that says nothing for so long is thrown away.
  absl::Duration patience;
  Hijack hijack = Hijack::kNone;
  // Asked several times a second; true ends the session.
  std::function<bool()> stop;
  // Called after each message that was handled; may be null.
  std::function<void()> on_progress;
};

enum class SessionEnd {
  kWhole,         // the film is complete; totals say how well
  kNotDecodable,  // the worker said, in order, that this is no film it can decode
  kThrownAway,    // a violation, a crash, silence
  kSinkFailed,    // the disk is full or the window was closed, and the like
  kStopped,       // `stop` said so
  kNoWorker,      // it could not be started, confined or shaken hands with
  kUnreadable,    // the film's file cannot be read any more
};

// How many came, and which way.
struct Arrivals {
  uint64_t in_place = 0;  // sent where they were decoded
  uint64_t copied = 0;    // by the worker, into the ring, and by the viewer out of it

  Arrivals& operator+=(const Arrivals& more) {
    in_place += more.in_place;
    copied += more.copied;
    return *this;
  }
};

struct SessionResult {
  SessionEnd end = SessionEnd::kNoWorker;
  // A sentence without a full stop; empty for kWhole and kStopped.
  std::string what;
  uint64_t messages = 0;
  uint64_t wakeups = 0;
  Arrivals pictures;
  Arrivals audio_blocks;
  absl::Duration worker_cpu;
};

SessionResult RunSession(const SessionOptions& options, const FilmStart& start,
                         MessageHandler& handler);

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_WORKER_SESSION_H_

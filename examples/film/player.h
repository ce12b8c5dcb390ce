// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_PLAYER_H_
#define PARLEY_EXAMPLES_FILM_PLAYER_H_

// Shows a film in an SDL2 window, with sound, at its own speed: a picture is held back until its
// time has come, which holds back the worker as well.
//
// The last picture stays in the window, whatever becomes of the worker that sent it.
//
// Trust: pictures and samples were validated; floats are sanitised here. Timestamps may be lies: no
// picture waits longer than a second for its turn.
// Threads: the one that created it (SDL's rule).
//
//   auto player = Player::Create("film.mp4");
//   if (!player.ok()) return player.status();        // no display
//   (*player)->OnPicture(picture);                   // kCancelled: the window was closed

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "parley/examples/film/media_units.h"

namespace parley::film {

class Player : public MediaSink {
 public:
  // kUnavailable where there is no display. Without a sound device the film is silent.
  static absl::StatusOr<std::unique_ptr<Player>> Create(const std::string& title);

  // Goes on showing the last picture for so long. kCancelled: the window was closed.
  virtual absl::Status Hold(absl::Duration time) = 0;
  // Of the window; what is behind the film's name.
  virtual void SetNote(const std::string& note) = 0;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_PLAYER_H_

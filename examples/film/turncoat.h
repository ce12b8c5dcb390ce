// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_TURNCOAT_H_
#define PARLEY_EXAMPLES_FILM_TURNCOAT_H_

// What a hijacked decoder does: an honest FilmSender up to the middle of the film, and then one of
// the attacks of hijack.h, with its own hands in the memory that the viewer reads.
//
// Threads: one at a time.
//
//   Turncoat turncoat(Hijack::kRewind, duration_ns / 2, film_sender, channel->sender);
//   decoder->Run(turncoat);              // with kNone: honest to the end

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "parley/channel/channel.h"
#include "parley/examples/film/film_sender.h"
#include "parley/examples/film/hijack.h"
#include "parley/examples/film/media_units.h"

namespace parley::film {

class Turncoat final : public MediaSink {
 public:
  // `turns_at_ns` 0: after a few pictures or blocks. Everything outlives this.
  Turncoat(Hijack hijack, int64_t turns_at_ns, FilmSender& honest, Sender& sender)
      : hijack_(hijack), turns_at_ns_(turns_at_ns), honest_(honest), sender_(sender) {}

  absl::Status OnPicture(const Picture& picture) override;
  absl::Status OnAudio(const AudioBlock& audio) override;

  // It has ended the stream: nothing more is to be sent.
  bool left() const { return turned_ && hijack_ == Hijack::kEarlyEnd; }

 private:
  // True once, when the time has come.
  bool Turns(int64_t pts_ns);
  // Most of them do not return.
  void Attack();
  void SendBadFrame();
  void FloodWithFormats();
  absl::Status SendRewritten(const Picture& picture);

  const Hijack hijack_;
  const int64_t turns_at_ns_;
  FilmSender& honest_;
  Sender& sender_;
  int units_ = 0;
  bool turned_ = false;
  int rewritten_ = 0;
  std::vector<std::byte> inverted_;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_TURNCOAT_H_

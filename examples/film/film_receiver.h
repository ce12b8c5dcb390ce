// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_FILM_RECEIVER_H_
#define PARLEY_EXAMPLES_FILM_FILM_RECEIVER_H_

// Turns the messages of one worker into pictures and audio for a sink, each exactly once, however
// often a worker was replaced in between. Knows no channel and no process.
//
// Trust: every message is hostile (and already a private copy, but for pictures and sound that the
// session reads in place). The worst that it can cause is a violation with its reason, or a picture
// that is a lie. Work is bounded by the message's own size.
// Threads: one at a time.
//
//   Delivered delivered;
//   FilmReceiver receiver(limits, delivered, sink, nullptr);
//   while (receiver.OnMessage(tag, bytes) == FilmReceiver::Verdict::kGoOn) ...
//   delivered = receiver.delivered();    // where the next worker resumes

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/examples/film/media_units.h"
#include "parley/examples/film/message_handler.h"
#include "parley/media/format.h"
#include "parley/media/frame.h"
#include "parley/media/incoming_stream.h"

namespace parley::film {

// What the sink has had, and so where a new worker goes on.
struct Delivered {
  uint64_t pictures = 0;
  uint64_t audio_blocks = 0;
  uint64_t audio_frames = 0;
  uint64_t key_picture = 0;  // the last one, or 0
  uint64_t bytes = 0;        // of samples, headers not counted
  int64_t reached_ns = 0;    // the latest end of anything
};

class FilmReceiver final : public MessageHandler {
 public:
  using Verdict = film::Verdict;
  // Gets each picture that was delivered before, with its number: a chance to compare.
  using OnAgain = std::function<void(uint64_t number, const Picture& picture)>;

  FilmReceiver(const IncomingLimits& limits, const Delivered& delivered, MediaSink& sink,
               OnAgain on_again);

  // Anything but kGoOn is final.
  Verdict OnMessage(uint32_t tag, absl::Span<const std::byte> message) override;
  // A picture or a block of audio. Nothing but the sink looks at `payload`.
  Verdict OnFrame(uint32_t tag, absl::Span<const std::byte> metadata,
                  absl::Span<const std::byte> payload) override;

  const absl::Status& status() const override { return status_; }
  const Delivered& delivered() const { return delivered_; }
  const EndWire& totals() const { return totals_; }
  // Printable ASCII.
  const std::string& failure() const override { return failure_; }
  // Of what the worker claims the film to be: printable ASCII, and a duration that may be a lie.
  const std::string& description() const { return description_; }
  int64_t claimed_duration_ns() const { return claimed_duration_ns_; }
  // Pictures that this worker sent again since it began at the last key frame.
  uint64_t pictures_again() const { return pictures_again_; }

 private:
  absl::Status OnInfo(absl::Span<const std::byte> message);
  absl::Status OnFormat(absl::Span<const std::byte> message);
  absl::Status OnPicture(absl::Span<const std::byte> header, absl::Span<const std::byte> payload);
  absl::Status OnAudio(absl::Span<const std::byte> header, absl::Span<const std::byte> payload);
  absl::Status OnProgress(absl::Span<const std::byte> message);
  absl::Status OnEnd(absl::Span<const std::byte> message);
  absl::Status OnFailed(absl::Span<const std::byte> message);
  Verdict Conclude();
  absl::Status FromSink(absl::Status status);

  const IncomingLimits limits_;
  IncomingStream video_;
  IncomingStream audio_;
  std::vector<const std::byte*> channels_;
  Delivered delivered_;
  MediaSink& sink_;
  OnAgain on_again_;
  const uint64_t first_picture_;
  const uint64_t first_audio_block_;
  uint64_t progress_ = 0;
  uint64_t pictures_again_ = 0;
  bool has_info_ = false;
  bool sink_failed_ = false;
  Verdict verdict_ = Verdict::kGoOn;
  absl::Status status_;
  EndWire totals_ = {};
  std::string failure_;
  std::string description_;
  int64_t claimed_duration_ns_ = 0;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_FILM_RECEIVER_H_

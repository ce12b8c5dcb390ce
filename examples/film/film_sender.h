// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_FILM_SENDER_H_
#define PARLEY_EXAMPLES_FILM_FILM_SENDER_H_

// Turns pictures and audio into the messages of film_protocol.h: what lies in the channel's arena
// is sent where it lies, everything else is written once, straight into the memory that the viewer
// reads.
//
// Threads: one at a time.
//
//   FilmSender sender(message_out, {.first_picture = 60, .first_audio_block = 112}, acceptance,
//                     &frame_sender);
//   sender.SendInfo(decoder->info());
//   auto totals = decoder->Run(sender);
//   totals.ok() ? sender.SendEnd(*totals) : sender.SendFailed(totals.status());

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/av/decoder.h"
#include "parley/examples/film/media_units.h"
#include "parley/frames/frame_sender.h"
#include "parley/media/acceptance.h"
#include "parley/media/format.h"
#include "parley/media/frame.h"

namespace parley::film {

// Where messages go: the channel's sender, or a test's.
class MessageOut {
 public:
  virtual ~MessageOut() = default;
  virtual uint32_t max_message_bytes() const = 0;
  // Room for a message of `size_bytes`, in place; Commit sends it, whole.
  virtual absl::StatusOr<absl::Span<std::byte>> Reserve(uint32_t size_bytes) = 0;
  virtual void Commit(uint32_t tag, uint32_t size_bytes) = 0;

  // A copy of `message`.
  absl::Status Send(uint32_t tag, absl::Span<const std::byte> message);
};

// What comes before was delivered by an earlier worker: decoded, and dropped.
struct FilmStart {
  uint64_t first_picture = 0;
  uint64_t first_audio_block = 0;
};

class FilmSender final : public MediaSink {
 public:
  // What `acceptance` refuses is never sent: its sentence ends the film instead. `arena`, of the
  // channel behind `out`, with metadata for a frame's header: where pictures and sound may lie, or
  // null.
  FilmSender(MessageOut& out, const FilmStart& start, const Acceptance& acceptance = {},
             FrameSender* arena = nullptr)
      : out_(out), start_(start), acceptance_(acceptance), arena_(arena) {}

  absl::Status SendInfo(const av::FilmInfo& info);
  // kResourceExhausted: above a limit of the receiver's, or longer than a message can be;
  // kUnimplemented: a format that it does not accept.
  absl::Status OnPicture(const Picture& picture) override;
  absl::Status OnAudio(const AudioBlock& audio) override;
  absl::Status SendEnd(const av::DecodeTotals& totals);
  absl::Status SendFailed(std::string_view reason);

  // What the next picture and the current formats have; 0: no format yet.
  uint64_t next_picture() const { return video_.next; }
  uint32_t video_generation() const { return video_.format.generation; }
  uint32_t audio_generation() const { return audio_.format.generation; }

 private:
  // One of the two streams: its numbers and its current format.
  struct Stream {
    uint64_t next = 0;
    NumberedFormat format;
  };
  absl::Status SendProgress();
  absl::Status UseFormat(const StreamFormat& format, Stream& stream);
  // Whether its planes lie in the arena as the receiver wants them; then `*header` says where, and
  // `*payload_bytes` how much of the frame they take.
  bool LiesInPlace(const Picture& picture, FrameHeaderWire* header, uint32_t* payload_bytes) const;
  bool LiesInPlace(const AudioBlock& audio, FrameHeaderWire* header, uint32_t* payload_bytes) const;
  // Of planes that end at `end` of the frame.
  bool IsAsWanted(const FrameHeaderWire& header, const OutFrame& frame, uint64_t end,
                  const NumberedFormat& format) const;
  absl::Status SendInPlace(uint32_t tag, const OutFrame& frame, const FrameHeaderWire& header,
                           uint32_t payload_bytes);
  // Header written, payload to be filled in by the caller and then committed.
  absl::StatusOr<absl::Span<std::byte>> Begin(const FrameHeaderWire& header,
                                              uint32_t payload_bytes);

  MessageOut& out_;
  FilmStart start_;
  const Acceptance acceptance_;
  FrameSender* const arena_;
  Stream video_;
  Stream audio_;
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_FILM_SENDER_H_

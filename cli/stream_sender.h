// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CLI_STREAM_SENDER_H_
#define PARLEY_CLI_STREAM_SENDER_H_

// Reads a stream from an input and makes messages of it, each written once, straight into where it
// is read from. Knows no channel and no process.
//
// Trust: the input is anybody's: kDataLoss with the reason where it is not what it should be.
// Threads: one at a time.
//
//   StreamSender stream(StreamKind::kY4m, input, limits);
//   absl::Status begun = stream.Begin();             // reads the header
//   ... a channel of stream.max_message_bytes() ...
//   while ((sent = stream.SendNext(out)).ok()) ...   // kOutOfRange: all of it was sent

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/cli/input.h"
#include "parley/cli/nut.h"
#include "parley/cli/stream_protocol.h"
#include "parley/cli/wav.h"
#include "parley/media/format.h"

namespace parley::cli {

// Where messages go: the channel's sender, or a test's.
class MessageSink {
 public:
  virtual ~MessageSink() = default;
  // Space for a message of `size_bytes`, in place; Commit sends it. kUnavailable, with `may_drop`
  // alone: there is none now, and the message is to be dropped.
  virtual absl::StatusOr<absl::Span<std::byte>> Reserve(uint32_t size_bytes, bool may_drop) = 0;
  virtual void Commit(uint32_t tag, uint32_t size_bytes) = 0;
};

class StreamSender {
 public:
  StreamSender(StreamKind kind, BufferedInput& input, const FormatLimits& limits,
               uint64_t limit_bytes)
      : kind_(kind),
        input_(input),
        limits_(limits),
        limit_bytes_(limit_bytes),
        nut_(limits.max_frame_bytes) {}

  // Up to the first message. kDataLoss: the input is no stream of this kind.
  absl::Status Begin();
  uint32_t max_message_bytes() const { return max_message_bytes_; }

  // One message. kOutOfRange: the end of the input, in order; kResourceExhausted: the limit.
  absl::Status SendNext(MessageSink& out);
  absl::Status SendEnd(MessageSink& out);

  // Drop the newest message where there is no space for it; of a NUT, all that come up to the next
  // resume point as well.
  void DropNewest() { drops_ = true; }
  // It is a NUT without any.
  bool has_no_resume_points() const { return nut_.has_no_syncpoints(); }
  // The longest message that goes before all others: a format.
  uint32_t max_format_bytes() const;

  uint64_t messages() const { return totals_.messages; }
  uint64_t bytes() const { return totals_.bytes; }
  uint64_t dropped() const { return DroppedOf(totals_); }
  const EndWire& totals() const { return totals_; }

 private:
  absl::Status SendFormat(MessageSink& out);
  absl::Status SendPicture(MessageSink& out);
  absl::Status SendSamples(MessageSink& out);
  absl::Status SendPiece(MessageSink& out);
  absl::Status BeginNut();
  absl::StatusOr<NutSplitter::Step> ReadNut();
  absl::Status SendNut(MessageSink& out);
  absl::Status SendNutPiece(MessageSink& out, std::size_t bytes);
  absl::Status SendLine(MessageSink& out);
  absl::Status Count(uint64_t bytes);

  const StreamKind kind_;
  BufferedInput& input_;
  const FormatLimits limits_;
  const uint64_t limit_bytes_;
  bool drops_ = false;
  bool format_sent_ = false;
  bool gap_ = false;
  NumberedFormat format_;
  WavStream wav_;
  uint64_t wav_left_ = 0;
  uint32_t max_message_bytes_ = 0;
  EndWire totals_ = {};
  uint64_t time_samples_ = 0;
  uint64_t pictures_ = 0;
  std::vector<std::byte> scratch_;

  NutSplitter nut_;
  std::vector<std::byte> nut_headers_;
  std::vector<std::byte> unread_;  // of a NUT; what was not given to the splitter
  std::size_t unread_begin_ = 0;
  std::vector<std::byte> piece_;  // what was, and not sent
  uint64_t piece_position_ = 0;   // in the stream
  bool piece_is_resume_ = false;
};

}  // namespace parley::cli

#endif  // PARLEY_CLI_STREAM_SENDER_H_

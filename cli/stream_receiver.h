// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CLI_STREAM_RECEIVER_H_
#define PARLEY_CLI_STREAM_RECEIVER_H_

// Makes a stream of bytes of the messages of `parley send`. Knows no channel and no process.
//
// Trust: every message is hostile (and already a private copy). The worst that it can cause is
// kDataLoss with the reason, or content that is a lie: what is written is a valid y4m or WAV
// stream, or whole frames and packets of a NUT, in any case. Work is bounded by the message's own
// size, memory by a message or a frame.
// Threads: one at a time.
//
//   StreamReceiver stream(StreamKind::kY4m, limits, write);
//   absl::Status taken = stream.OnMessage(tag, bytes);   // kOutOfRange: the stream is whole

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/cli/nut.h"
#include "parley/cli/stream_protocol.h"
#include "parley/cli/wav.h"
#include "parley/media/incoming_stream.h"

namespace parley::cli {

class StreamReceiver {
 public:
  using Write = std::function<absl::Status(absl::Span<const std::byte> bytes)>;

  // `limit_bytes`: of payload; more is kResourceExhausted. `one_of_many`: the sender has other
  // receivers as well, and leaves out for each what that has no time for.
  StreamReceiver(StreamKind kind, const FormatLimits& limits, uint64_t limit_bytes, Write write,
                 bool one_of_many = false);

  // kOutOfRange: the end, in order, and everything came; kDataLoss: a violation; others are those
  // of `write`. Anything but OK is final.
  absl::Status OnMessage(uint32_t tag, absl::Span<const std::byte> message);

  // A message that was sent and taken back before it came; one of many alone. Of a NUT, those that
  // depend on it are left out.
  void Missed() {
    ++taken_back_;
    awaits_resume_ = true;
  }

  uint64_t messages() const { return messages_ - left_out_; }
  uint64_t bytes() const { return bytes_; }
  // At the end: as the sender counts them, and what Missed and this left out; and how many gaps
  // were seen.
  uint64_t dropped() const { return DroppedOf(end_) + taken_back_ + left_out_; }
  uint64_t gaps() const { return gaps_; }
  // By reason.
  const EndWire& end() const { return end_; }
  uint64_t taken_back() const { return taken_back_; }
  uint64_t left_out() const { return left_out_; }

 private:
  absl::Status Handle(uint32_t tag, absl::Span<const std::byte> message);
  absl::Status OnFormat(absl::Span<const std::byte> message);
  absl::Status OnFrame(absl::Span<const std::byte> message);
  absl::Status OnBytes(absl::Span<const std::byte> message, bool ended);
  absl::Status OnNutHeaders(absl::Span<const std::byte> message);
  absl::Status OnNutBytes(absl::Span<const std::byte> message, bool may_resume);
  absl::Status TakeNut(absl::Span<const std::byte> bytes);
  absl::Status OnEnd(absl::Span<const std::byte> message);
  absl::Status Count(uint64_t bytes);

  const StreamKind kind_;
  const uint64_t limit_bytes_;
  const Write write_;
  const bool one_of_many_;
  std::optional<IncomingStream> media_;
  FormatLimits limits_;
  WavStream wav_;
  std::vector<std::byte> packed_;
  absl::Status over_;
  uint64_t messages_ = 0;
  uint64_t bytes_ = 0;
  EndWire end_ = {};
  uint64_t gaps_ = 0;
  uint64_t taken_back_ = 0;
  bool open_line_ = false;

  NutSplitter nut_;
  std::vector<std::byte> piece_;  // what was taken and is not written, because it is not whole
  uint64_t written_bytes_ = 0;
  uint64_t cut_at_ = 0;         // of what is written: where it went on after a gap, the last one
  bool is_cut_ = false;         // there was a gap
  bool awaits_resume_ = false;  // the messages that come are of no use until a resume point
  uint64_t left_out_ = 0;       // of them
};

}  // namespace parley::cli

#endif  // PARLEY_CLI_STREAM_RECEIVER_H_

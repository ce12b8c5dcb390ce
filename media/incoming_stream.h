// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_MEDIA_INCOMING_STREAM_H_
#define PARLEY_MEDIA_INCOMING_STREAM_H_

// The receiving side's memory of one stream: its current format, the sequence number that comes
// next, and how often the format has changed.
//
// Trust: the peer controls every byte of every record. The worst that it can cause is a kDataLoss
// with the reason; a format change costs us one comparison, and their number is bounded (ATTACKS.md
// P4). After the first refusal the stream refuses everything.
// Threads: one at a time.
//
//   IncomingStream video(StreamKind::kVideo, IncomingLimits{}, 0);
//   if (auto changed = video.OnFormat(record); !changed.ok()) return Drop(changed);
//   auto frame = video.OnFrame(message);      // header and payload
//   if (!frame.ok()) return Drop(frame.status());

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/media/format.h"
#include "parley/media/frame.h"

namespace parley {

enum class StreamKind { kVideo, kAudio };

struct IncomingLimits {
  FormatLimits format;
  uint32_t max_format_changes = 1000;
  FrameAlignment alignment = {};  // as it was asked for
  // One receiver of several: some frames are left out for it, and it may begin at any. Sequence
  // numbers grow.
  bool may_miss_frames = false;
};

class IncomingStream {
 public:
  // `first_sequence` is the number that the first frame must have.
  IncomingStream(StreamKind kind, const IncomingLimits& limits, uint64_t first_sequence)
      : kind_(kind), limits_(limits), next_sequence_(first_sequence) {}

  // A format record. Refused: what ParseFormat refuses, the other kind of stream, a generation that
  // is not one more than the last (the first is 1), two changes without a frame between them, more
  // changes than the limit.
  absl::Status OnFormat(absl::Span<const std::byte> record);

  // A header with its payload. Refused: what ValidateFrame refuses, a frame before any format, a
  // sequence number that is not the next, or with may_miss_frames less than that.
  absl::StatusOr<Frame> OnFrame(absl::Span<const std::byte> header_and_payload);
  // The same where the payload lies elsewhere.
  absl::StatusOr<Frame> OnFrame(absl::Span<const std::byte> header, std::size_t payload_bytes);

  bool has_format() const { return format_.has_value(); }
  // Only with has_format().
  const NumberedFormat& format() const { return *format_; }
  uint64_t next_sequence() const { return next_sequence_; }
  // Sequence numbers that were passed over since the first frame.
  uint64_t missed_frames() const { return missed_frames_; }

 private:
  absl::Status Poison(absl::Status why);

  StreamKind kind_;
  IncomingLimits limits_;
  uint64_t next_sequence_;
  uint64_t missed_frames_ = 0;
  bool has_frame_ = false;
  std::optional<NumberedFormat> format_;
  bool frame_since_format_ = true;
  absl::Status poisoned_;
};

}  // namespace parley

#endif  // PARLEY_MEDIA_INCOMING_STREAM_H_

// SPDX-License-Identifier: Apache-2.0
#include "parley/media/incoming_stream.h"

#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"

namespace parley {

absl::Status IncomingStream::Poison(absl::Status why) {
  poisoned_ = why;
  return why;
}

absl::Status IncomingStream::OnFormat(absl::Span<const std::byte> record) {
  if (!poisoned_.ok()) return poisoned_;
  absl::StatusOr<NumberedFormat> parsed = ParseFormat(record, limits_.format);
  if (!parsed.ok()) return Poison(parsed.status());
  const bool is_video = std::holds_alternative<VideoFormat>(parsed->format);
  if (is_video != (kind_ == StreamKind::kVideo)) {
    return Poison(absl::DataLossError("format record: for the other kind of stream"));
  }
  const uint32_t expected = format_.has_value() ? format_->generation + 1 : 1;
  if (parsed->generation != expected) {
    return Poison(absl::DataLossError(absl::StrCat("format record: generation ", parsed->generation,
                                                   " where ", expected, " is next")));
  }
  if (!frame_since_format_) {
    return Poison(absl::DataLossError("format record: two changes without a frame between them"));
  }
  if (expected > limits_.max_format_changes) {
    return Poison(absl::DataLossError(
        absl::StrCat("format record: more than ", limits_.max_format_changes, " changes")));
  }
  format_ = *std::move(parsed);
  frame_since_format_ = false;
  return absl::OkStatus();
}

absl::StatusOr<Frame> IncomingStream::OnFrame(absl::Span<const std::byte> header_and_payload) {
  const std::size_t header_bytes = std::min(header_and_payload.size(), kFrameHeaderBytes);
  return OnFrame(header_and_payload.first(header_bytes), header_and_payload.size() - header_bytes);
}

absl::StatusOr<Frame> IncomingStream::OnFrame(absl::Span<const std::byte> header,
                                              std::size_t payload_bytes) {
  if (!poisoned_.ok()) return poisoned_;
  if (!format_.has_value()) return Poison(absl::DataLossError("a frame before any format"));
  if (header.size() != kFrameHeaderBytes) {
    return Poison(absl::DataLossError(
        absl::StrCat("a frame whose header has ", header.size(), " bytes and not 64")));
  }
  absl::StatusOr<Frame> frame = ValidateFrame(header, payload_bytes, *format_, limits_.alignment);
  if (!frame.ok()) return Poison(frame.status());
  const bool in_order = limits_.may_miss_frames ? frame->sequence >= next_sequence_
                                                : frame->sequence == next_sequence_;
  if (!in_order) {
    return Poison(absl::DataLossError(absl::StrCat("frame header: sequence ", frame->sequence,
                                                   " where ", next_sequence_, " is next")));
  }
  if (has_frame_) missed_frames_ += frame->sequence - next_sequence_;
  has_frame_ = true;
  next_sequence_ = frame->sequence + 1;
  frame_since_format_ = true;
  return frame;
}

}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include "parley/cli/stream_sender.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "parley/boundary/wire_copy.h"
#include "parley/cli/y4m.h"
#include "parley/media/frame.h"

namespace parley::cli {
namespace {

// How much of a NUT is looked at before it is sent. With what may be held back for longer it fits
// into a message.
constexpr size_t kNutReadBytes = size_t{32} << 10;
static_assert(kNutReadBytes + kMaxNutUndecidedBytes + 1024 + sizeof(ResumeWire) <= kMaxPieceBytes);
static_assert(kMaxNutHeaderBytes <= kMaxPieceBytes);

// A hundredth of a second of CD sound; small ones for large rates and many channels.
constexpr uint32_t kWavFrames = 1024;

int64_t PictureTime(const VideoFormat& format, uint64_t number) {
  if (format.frame_rate.numerator == 0) return 0;
  const double ns = static_cast<double>(number) * 1e9 * format.frame_rate.denominator /
                    format.frame_rate.numerator;
  return static_cast<int64_t>(std::min(ns, static_cast<double>(kMaxTimestampNs)));
}

}  // namespace

absl::Status StreamSender::Begin() {
  max_message_bytes_ = kMaxPieceBytes;
  if (kind_ == StreamKind::kY4m) {
    absl::StatusOr<VideoFormat> video = ReadY4mHeader(input_, limits_);
    if (!video.ok()) return video.status();
    const uint64_t bytes = PackedVideoBytes(*video) + kFrameHeaderBytes;
    if (bytes > std::numeric_limits<uint32_t>::max() / 4) {
      return absl::ResourceExhaustedError("a picture above 1 GiB");
    }
    max_message_bytes_ = std::max(static_cast<uint32_t>(bytes), 4096u);
    format_ = {*std::move(video), 1};
  } else if (kind_ == StreamKind::kWav) {
    absl::StatusOr<WavStream> wav = ReadWavHeader(input_, limits_);
    if (!wav.ok()) return wav.status();
    wav_ = *std::move(wav);
    wav_left_ = wav_.data_bytes.value_or(std::numeric_limits<uint64_t>::max());
    format_ = {wav_.format, 1};
    max_message_bytes_ = std::max(4096u, kWavFrames * BytesPerAudioFrame(wav_.format) +
                                             static_cast<uint32_t>(kFrameHeaderBytes));
  } else if (kind_ == StreamKind::kNut) {
    return BeginNut();
  }
  return absl::OkStatus();
}

uint32_t StreamSender::max_format_bytes() const {
  return std::max(4096u, static_cast<uint32_t>(nut_headers_.size()));
}

absl::Status StreamSender::Count(uint64_t bytes) {
  if (totals_.bytes + bytes > limit_bytes_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the limit of ", limit_bytes_, " bytes is reached"));
  }
  return absl::OkStatus();
}

absl::Status StreamSender::SendFormat(MessageSink& out) {
  const std::vector<std::byte> record =
      kind_ == StreamKind::kNut ? nut_headers_ : EncodeFormat(format_);
  if (absl::Status within = Count(nut_headers_.size()); !within.ok()) return within;
  const absl::StatusOr<absl::Span<std::byte>> room =
      out.Reserve(static_cast<uint32_t>(record.size()), false);
  if (!room.ok()) return room.status();
  std::memcpy(room->data(), record.data(), record.size());
  out.Commit(kTagFormat, static_cast<uint32_t>(record.size()));
  totals_.bytes += nut_headers_.size();
  format_sent_ = true;
  return absl::OkStatus();
}

absl::Status StreamSender::SendNext(MessageSink& out) {
  if (kind_ != StreamKind::kRaw && kind_ != StreamKind::kLines && !format_sent_) {
    const absl::Status sent = SendFormat(out);
    if (!sent.ok()) return sent;
  }
  switch (kind_) {
    case StreamKind::kY4m:
      return SendPicture(out);
    case StreamKind::kWav:
      return SendSamples(out);
    case StreamKind::kLines:
      return SendLine(out);
    case StreamKind::kRaw:
      return SendPiece(out);
    case StreamKind::kNut:
      return SendNut(out);
  }
  return absl::InternalError("no such kind");
}

absl::Status StreamSender::SendPicture(MessageSink& out) {
  absl::Status line = ReadY4mFrameLine(input_);
  if (!line.ok()) return line;
  const VideoFormat& video = std::get<VideoFormat>(format_.format);
  const PictureShape shape = ShapeOf(video);
  if (absl::Status within = Count(shape.size_bytes()); !within.ok()) return within;
  uint32_t payload_bytes = 0;
  FrameHeaderWire header = PackedVideoHeader(format_, &payload_bytes);
  header.sequence = totals_.messages;
  header.pts_ns = PictureTime(video, pictures_);
  header.flags = static_cast<uint16_t>(kFrameKey | (gap_ ? kFrameGap : 0));
  ++pictures_;
  const uint32_t size = static_cast<uint32_t>(kFrameHeaderBytes) + payload_bytes;
  absl::StatusOr<absl::Span<std::byte>> room = out.Reserve(size, drops_);
  const bool dropped = !room.ok() && absl::IsUnavailable(room.status());
  if (!room.ok() && !dropped) return room.status();
  if (dropped) {
    scratch_.resize(size);
    room = absl::MakeSpan(scratch_);
  }
  std::memcpy(room->data(), &header, sizeof(header));
  const absl::Span<std::byte> payload = room->subspan(kFrameHeaderBytes);
  size_t end = 0;
  for (size_t plane = 0; plane < shape.count; ++plane) {
    const size_t offset = header.planes[plane].offset_bytes;
    std::memset(payload.data() + end, 0, offset - end);
    const size_t bytes = static_cast<size_t>(shape.planes[plane].size_bytes());
    const absl::Status got = input_.ReadExactly(payload.subspan(offset, bytes));
    if (absl::IsOutOfRange(got)) {
      return absl::DataLossError("the input ends in the middle of a picture");
    }
    if (!got.ok()) return got;
    end = offset + bytes;
  }
  if (dropped) {
    ++totals_.dropped_newest;
    gap_ = true;
    return absl::OkStatus();
  }
  out.Commit(kTagFrame, size);
  gap_ = false;
  ++totals_.messages;
  totals_.bytes += shape.size_bytes();
  return absl::OkStatus();
}

absl::Status StreamSender::SendSamples(MessageSink& out) {
  const AudioFormat& audio = std::get<AudioFormat>(format_.format);
  const size_t in_frame = size_t{wav_.file_sample_bytes} * audio.channels;
  const size_t wanted =
      static_cast<size_t>(std::min<uint64_t>(wav_left_, uint64_t{kWavFrames} * in_frame));
  scratch_.resize(wanted);
  // As much as is there, but whole samples of each channel.
  size_t got = 0;
  while (got == 0 || got % in_frame != 0) {
    if (got >= wanted) break;
    const absl::StatusOr<size_t> now = input_.ReadSome(absl::MakeSpan(scratch_).subspan(got));
    if (!now.ok()) return now.status();
    if (*now == 0) break;
    got += *now;
  }
  if (got == 0) {
    if (wanted == 0 || !wav_.data_bytes.has_value()) return absl::OutOfRangeError("the end");
    return absl::DataLossError("the input ends before its samples do");
  }
  if (got % in_frame != 0) return absl::DataLossError("the input ends in the middle of a sample");
  wav_left_ -= got;
  const auto frames = static_cast<uint32_t>(got / in_frame);
  if (absl::Status within = Count(got); !within.ok()) return within;
  uint32_t payload_bytes = 0;
  FrameHeaderWire header = PackedAudioHeader(format_, frames, &payload_bytes);
  header.sequence = totals_.messages;
  const double ns = static_cast<double>(time_samples_) * 1e9 / audio.rate_hz;
  header.pts_ns = static_cast<int64_t>(std::min(ns, static_cast<double>(kMaxTimestampNs)));
  time_samples_ += frames;
  const uint32_t size = static_cast<uint32_t>(kFrameHeaderBytes) + payload_bytes;
  const absl::StatusOr<absl::Span<std::byte>> room = out.Reserve(size, false);
  if (!room.ok()) return room.status();
  std::memcpy(room->data(), &header, sizeof(header));
  std::byte* to = room->data() + kFrameHeaderBytes;
  if (wav_.file_sample_bytes == 3) {
    // 24 bits become the upper ones of 32.
    for (size_t at = 0; at < got; at += 3) {
      *to++ = std::byte{0};
      std::memcpy(to, scratch_.data() + at, 3);
      to += 3;
    }
  } else {
    std::memcpy(to, scratch_.data(), got);
  }
  out.Commit(kTagFrame, size);
  ++totals_.messages;
  totals_.bytes += got;
  return absl::OkStatus();
}

absl::Status StreamSender::SendPiece(MessageSink& out) {
  scratch_.resize(kMaxPieceBytes);
  const absl::StatusOr<size_t> got = input_.ReadSome(absl::MakeSpan(scratch_));
  if (!got.ok()) return got.status();
  if (*got == 0) return absl::OutOfRangeError("the end");
  if (absl::Status within = Count(*got); !within.ok()) return within;
  const absl::StatusOr<absl::Span<std::byte>> room =
      out.Reserve(static_cast<uint32_t>(*got), false);
  if (!room.ok()) return room.status();
  std::memcpy(room->data(), scratch_.data(), *got);
  out.Commit(kTagBytes, static_cast<uint32_t>(*got));
  ++totals_.messages;
  totals_.bytes += *got;
  return absl::OkStatus();
}

// Takes what there is, up to what is found in it; waits for more where there is none. kOutOfRange:
// the end.
absl::StatusOr<NutSplitter::Step> StreamSender::ReadNut() {
  if (unread_begin_ == unread_.size()) {
    unread_.resize(kNutReadBytes);
    const absl::StatusOr<size_t> got = input_.ReadSome(absl::MakeSpan(unread_));
    unread_begin_ = 0;
    unread_.resize(got.ok() ? *got : 0);
    if (!got.ok()) return got.status();
    if (*got == 0) {
      const absl::Status whole = nut_.End();
      return whole.ok() ? absl::OutOfRangeError("the end") : whole;
    }
  }
  const auto unread = absl::MakeConstSpan(unread_).subspan(unread_begin_);
  const absl::StatusOr<NutSplitter::Step> step = nut_.Take(unread);
  if (!step.ok()) return step.status();
  piece_.insert(piece_.end(), unread.begin(), unread.begin() + static_cast<ptrdiff_t>(step->taken));
  unread_begin_ += step->taken;
  return step;
}

absl::Status StreamSender::BeginNut() {
  size_t behind = 0;
  while (true) {
    const absl::StatusOr<NutSplitter::Step> step = ReadNut();
    if (absl::IsOutOfRange(step.status())) break;
    if (!step.ok()) return step.status();
    if (step->found != NutSplitter::Found::kHeadersEnd) continue;
    behind = static_cast<size_t>(step->found_bytes);
    break;
  }
  const auto end = piece_.end() - static_cast<ptrdiff_t>(behind);
  nut_headers_.assign(piece_.begin(), end);
  piece_.erase(piece_.begin(), end);
  piece_position_ = nut_headers_.size();
  piece_is_resume_ = true;  // a receiver that has the headers, and nothing else, goes on there
  return absl::OkStatus();
}

absl::Status StreamSender::SendNut(MessageSink& out) {
  while (true) {
    const bool all_read = unread_begin_ == unread_.size();
    // At the end of the input all is sent.
    const uint64_t known =
        piece_.size() - std::min<uint64_t>(piece_.size(), nut_.undecided_bytes());
    if (all_read && known > 0) return SendNutPiece(out, static_cast<size_t>(known));
    const absl::StatusOr<NutSplitter::Step> step = ReadNut();
    if (absl::IsOutOfRange(step.status()) && !piece_.empty()) {
      return SendNutPiece(out, piece_.size());
    }
    if (!step.ok()) return step.status();
    if (step->found != NutSplitter::Found::kResumePoint) continue;
    const size_t before = piece_.size() - static_cast<size_t>(step->found_bytes);
    if (before > 0) {
      const absl::Status sent = SendNutPiece(out, before);
      piece_is_resume_ = true;
      return sent;
    }
    piece_is_resume_ = true;
  }
}

absl::Status StreamSender::SendNutPiece(MessageSink& out, size_t bytes) {
  const bool is_resume = std::exchange(piece_is_resume_, false);
  if (gap_ && !is_resume) {
    ++totals_.dropped_before_key;
  } else {
    if (absl::Status within = Count(bytes); !within.ok()) return within;
    const size_t prefix = is_resume ? sizeof(ResumeWire) : 0;
    const auto size = static_cast<uint32_t>(prefix + bytes);
    const absl::StatusOr<absl::Span<std::byte>> room = out.Reserve(size, drops_);
    gap_ = !room.ok();
    if (room.ok()) {
      const auto position = WireBytes(ResumeWire{piece_position_});
      std::memcpy(room->data(), position.data(), prefix);
      std::memcpy(room->data() + prefix, piece_.data(), bytes);
      out.Commit(is_resume ? kTagResume : kTagBytes, size);
      ++totals_.messages;
      totals_.bytes += bytes;
    } else if (absl::IsUnavailable(room.status())) {
      ++totals_.dropped_newest;
    } else {
      return room.status();
    }
  }
  piece_.erase(piece_.begin(), piece_.begin() + static_cast<ptrdiff_t>(bytes));
  piece_position_ += bytes;
  return absl::OkStatus();
}

absl::Status StreamSender::SendLine(MessageSink& out) {
  bool ended = true;
  const absl::StatusOr<std::string> line = input_.ReadLine(kMaxPieceBytes, &ended);
  if (!line.ok()) return line.status();
  if (absl::Status within = Count(line->size() + 1); !within.ok()) return within;
  const absl::StatusOr<absl::Span<std::byte>> room =
      out.Reserve(static_cast<uint32_t>(line->size()), drops_);
  if (!room.ok() && absl::IsUnavailable(room.status())) {
    ++totals_.dropped_newest;
    return absl::OkStatus();
  }
  if (!room.ok()) return room.status();
  if (!line->empty()) std::memcpy(room->data(), line->data(), line->size());
  out.Commit(ended ? kTagBytes : kTagOpenLine, static_cast<uint32_t>(line->size()));
  ++totals_.messages;
  totals_.bytes += line->size() + (ended ? 1 : 0);
  return absl::OkStatus();
}

absl::Status StreamSender::SendEnd(MessageSink& out) {
  const auto record = WireBytes(totals_);
  const absl::StatusOr<absl::Span<std::byte>> room =
      out.Reserve(static_cast<uint32_t>(record.size()), false);
  if (!room.ok()) return room.status();
  std::memcpy(room->data(), record.data(), record.size());
  out.Commit(kTagEnd, static_cast<uint32_t>(record.size()));
  return absl::OkStatus();
}

}  // namespace parley::cli

// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/film_receiver.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "parley/boundary/wire_copy.h"

namespace parley::film {
namespace {

absl::Status Bad(const std::string& what) { return absl::DataLossError(what); }

template <typename T>
absl::Status ReadExactly(absl::Span<const std::byte> message, const char* name, T* out) {
  if (message.size() == sizeof(T) && ReadWire(message, out)) return absl::OkStatus();
  return Bad(absl::StrCat(name, " record of ", message.size(), " bytes"));
}

}  // namespace

FilmReceiver::FilmReceiver(const IncomingLimits& limits, const Delivered& delivered,
                           MediaSink& sink, OnAgain on_again)
    : limits_(limits),
      video_(StreamKind::kVideo, limits, delivered.key_picture),
      audio_(StreamKind::kAudio, limits, delivered.audio_blocks),
      delivered_(delivered),
      sink_(sink),
      on_again_(std::move(on_again)),
      first_picture_(delivered.key_picture),
      first_audio_block_(delivered.audio_blocks) {}

Verdict FilmReceiver::OnMessage(uint32_t tag, absl::Span<const std::byte> message) {
  if (verdict_ != Verdict::kGoOn) return verdict_;
  const size_t header_bytes = std::min(message.size(), kFrameHeaderBytes);
  switch (tag) {
    case kTagInfo:
      status_ = OnInfo(message);
      break;
    case kTagFormat:
      status_ = OnFormat(message);
      break;
    case kTagPicture:
      status_ = OnPicture(message.first(header_bytes), message.subspan(header_bytes));
      break;
    case kTagAudio:
      status_ = OnAudio(message.first(header_bytes), message.subspan(header_bytes));
      break;
    case kTagProgress:
      status_ = OnProgress(message);
      break;
    case kTagEnd:
      status_ = OnEnd(message);
      break;
    case kTagFailed:
      status_ = OnFailed(message);
      break;
    default:
      status_ = Bad(absl::StrCat("a message with the unknown tag ", tag));
  }
  return Conclude();
}

Verdict FilmReceiver::OnFrame(uint32_t tag, absl::Span<const std::byte> metadata,
                              absl::Span<const std::byte> payload) {
  if (verdict_ != Verdict::kGoOn) return verdict_;
  switch (tag) {
    case kTagPictureInPlace:
      status_ = OnPicture(metadata, payload);
      break;
    case kTagAudioInPlace:
      status_ = OnAudio(metadata, payload);
      break;
    default:
      status_ = Bad(absl::StrCat("a frame with the unknown tag ", tag));
  }
  return Conclude();
}

Verdict FilmReceiver::Conclude() {
  if (!status_.ok()) verdict_ = sink_failed_ ? Verdict::kSinkFailed : Verdict::kViolation;
  return verdict_;
}

absl::Status FilmReceiver::FromSink(absl::Status status) {
  sink_failed_ = !status.ok();
  return status;
}

absl::Status FilmReceiver::OnInfo(absl::Span<const std::byte> message) {
  InfoWire wire;
  const absl::Status read = ReadExactly(message, "an info", &wire);
  if (!read.ok()) return read;
  if (has_info_) return Bad("a second info record");
  has_info_ = true;
  claimed_duration_ns_ = std::clamp(wire.duration_ns, int64_t{0}, kMaxTimestampNs);
  const std::string video = Printable(wire.video_codec);
  const std::string audio = Printable(wire.audio_codec);
  description_ = absl::StrCat(Printable(wire.container), ": ", video,
                              video.empty() || audio.empty() ? "" : " + ", audio);
  return absl::OkStatus();
}

absl::Status FilmReceiver::OnFormat(absl::Span<const std::byte> message) {
  // Which of the two it is for is in the record; each stream checks that, and everything else,
  // itself.
  const absl::StatusOr<NumberedFormat> parsed = ParseFormat(message, limits_.format);
  const bool is_audio = parsed.ok() && std::holds_alternative<AudioFormat>(parsed->format);
  return is_audio ? audio_.OnFormat(message) : video_.OnFormat(message);
}

absl::Status FilmReceiver::OnPicture(absl::Span<const std::byte> header,
                                     absl::Span<const std::byte> payload) {
  const absl::StatusOr<Frame> frame = video_.OnFrame(header, payload.size());
  if (!frame.ok()) return frame.status();
  const auto& format = std::get<VideoFormat>(video_.format().format);
  Picture picture;
  picture.format = format;
  picture.pts_ns = frame->pts_ns;
  picture.duration_ns = frame->duration_ns;
  picture.key = (frame->flags & kFrameKey) != 0;
  picture.corrupt = (frame->flags & kFrameCorrupt) != 0;
  picture.interlaced = (frame->flags & kFrameInterlaced) != 0;
  picture.top_first = (frame->flags & kFrameTopFirst) != 0;
  picture.converted = (frame->flags & kFrameConverted) != 0;
  uint64_t bytes = 0;
  for (size_t i = 0; i < frame->plane_count; ++i) {
    picture.planes[i] = payload.data() + frame->planes[i].offset_bytes;
    picture.strides_bytes[i] = frame->planes[i].stride_bytes;
    bytes += uint64_t{frame->planes[i].row_bytes} * frame->planes[i].rows;
  }
  if (frame->sequence < delivered_.pictures) {
    ++pictures_again_;
    if (on_again_) on_again_(frame->sequence, picture);
    return absl::OkStatus();
  }
  const absl::Status taken = FromSink(sink_.OnPicture(picture));
  if (!taken.ok()) return taken;
  ++delivered_.pictures;
  delivered_.bytes += bytes;
  delivered_.reached_ns = std::max(delivered_.reached_ns, frame->pts_ns + frame->duration_ns);
  if (picture.key) delivered_.key_picture = frame->sequence;
  return absl::OkStatus();
}

absl::Status FilmReceiver::OnAudio(absl::Span<const std::byte> header,
                                   absl::Span<const std::byte> payload) {
  const absl::StatusOr<Frame> frame = audio_.OnFrame(header, payload.size());
  if (!frame.ok()) return frame.status();
  const auto& format = std::get<AudioFormat>(audio_.format().format);
  AudioBlock block;
  block.format = format;
  block.pts_ns = frame->pts_ns;
  block.duration_ns = frame->duration_ns;
  block.corrupt = (frame->flags & kFrameCorrupt) != 0;
  block.frames = frame->audio_frames;
  const Plane& plane = frame->planes[0];
  channels_.clear();
  for (uint32_t i = 0; i < plane.rows; ++i) {
    channels_.push_back(payload.data() + plane.offset_bytes + size_t{i} * plane.stride_bytes);
  }
  block.planes = channels_;
  const absl::Status taken = FromSink(sink_.OnAudio(block));
  if (!taken.ok()) return taken;
  ++delivered_.audio_blocks;
  delivered_.audio_frames += block.frames;
  delivered_.bytes += block.bytes();
  delivered_.reached_ns = std::max(delivered_.reached_ns, frame->pts_ns + frame->duration_ns);
  return absl::OkStatus();
}

absl::Status FilmReceiver::OnProgress(absl::Span<const std::byte> message) {
  ProgressWire wire;
  const absl::Status read = ReadExactly(message, "a progress", &wire);
  if (!read.ok()) return read;
  // Only forward, and only up to where the film goes on: so their number is bounded.
  if (wire.pictures > first_picture_ || wire.audio_blocks > first_audio_block_ ||
      wire.pictures + wire.audio_blocks <= progress_) {
    return Bad("a progress record without progress");
  }
  progress_ = wire.pictures + wire.audio_blocks;
  return absl::OkStatus();
}

absl::Status FilmReceiver::OnEnd(absl::Span<const std::byte> message) {
  const absl::Status read = ReadExactly(message, "an end", &totals_);
  if (!read.ok()) return read;
  if (totals_.truncated > 1 || totals_.reserved != 0) {
    return Bad("end record: a reserved bit is not zero");
  }
  if (totals_.pictures != delivered_.pictures || totals_.audio_blocks != delivered_.audio_blocks ||
      totals_.audio_frames != delivered_.audio_frames) {
    return Bad(absl::StrCat("end record: claims ", totals_.pictures, " pictures and ",
                            totals_.audio_blocks, " blocks of audio where ", delivered_.pictures,
                            " and ", delivered_.audio_blocks, " came"));
  }
  verdict_ = Verdict::kEnded;
  return absl::OkStatus();
}

absl::Status FilmReceiver::OnFailed(absl::Span<const std::byte> message) {
  FailedWire wire;
  const absl::Status read = ReadExactly(message, "a failure", &wire);
  if (!read.ok()) return read;
  failure_ = Printable(wire.reason);
  verdict_ = Verdict::kFailed;
  return absl::OkStatus();
}

}  // namespace parley::film

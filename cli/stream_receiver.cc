// SPDX-License-Identifier: Apache-2.0
#include "parley/cli/stream_receiver.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "parley/boundary/wire_copy.h"
#include "parley/cli/y4m.h"

namespace parley::cli {
namespace {

absl::Status Bad(const std::string& what) { return absl::DataLossError(what); }

absl::Span<const std::byte> Text(std::string_view text) {
  // SAFETY: characters seen as bytes.
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace

StreamReceiver::StreamReceiver(StreamKind kind, const FormatLimits& limits, uint64_t limit_bytes,
                               Write write, bool one_of_many)
    : kind_(kind),
      limit_bytes_(limit_bytes),
      write_(std::move(write)),
      one_of_many_(one_of_many),
      limits_(limits),
      nut_(limits.max_frame_bytes) {
  // One format: neither y4m nor WAV can change it.
  const IncomingLimits incoming = {
      .format = limits, .max_format_changes = 1, .alignment = {}, .may_miss_frames = one_of_many};
  if (kind == StreamKind::kY4m) media_.emplace(parley::StreamKind::kVideo, incoming, 0);
  if (kind == StreamKind::kWav) media_.emplace(parley::StreamKind::kAudio, incoming, 0);
}

absl::Status StreamReceiver::OnMessage(uint32_t tag, absl::Span<const std::byte> message) {
  if (over_.ok()) over_ = Handle(tag, message);
  return over_;
}

absl::Status StreamReceiver::Handle(uint32_t tag, absl::Span<const std::byte> message) {
  if (tag == kTagEnd) return OnEnd(message);
  if (media_.has_value()) {
    if (tag == kTagFormat) return OnFormat(message);
    if (tag == kTagFrame) return OnFrame(message);
  } else if (kind_ == StreamKind::kNut) {
    if (tag == kTagFormat) return OnNutHeaders(message);
    if (tag == kTagBytes || tag == kTagResume) return OnNutBytes(message, tag == kTagResume);
  } else if (tag == kTagBytes || (tag == kTagOpenLine && kind_ == StreamKind::kLines)) {
    return OnBytes(message, tag == kTagBytes);
  }
  return Bad(
      absl::StrCat("a message with the tag ", tag, " in a stream of ", std::string(NameOf(kind_))));
}

absl::Status StreamReceiver::Count(uint64_t bytes) {
  if (bytes > limit_bytes_ || bytes_ > limit_bytes_ - bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the limit of ", limit_bytes_, " bytes is reached"));
  }
  bytes_ += bytes;
  return absl::OkStatus();
}

absl::Status StreamReceiver::OnFormat(absl::Span<const std::byte> message) {
  const absl::Status taken = media_->OnFormat(message);
  if (!taken.ok()) return taken;
  if (kind_ == StreamKind::kY4m) {
    const absl::StatusOr<std::string> header =
        Y4mHeader(std::get<VideoFormat>(media_->format().format));
    if (!header.ok()) return Bad(std::string(header.status().message()));
    return write_(Text(*header));
  }
  wav_.format = std::get<AudioFormat>(media_->format().format);
  const std::optional<uint32_t> sample = WavSampleBytes(wav_.format);
  if (wav_.format.planar || !sample.has_value() || *sample * wav_.format.channels > 0xffff) {
    return Bad("sound that WAV does not have");
  }
  wav_.file_sample_bytes = *sample;
  return write_(WavHeader(wav_));
}

absl::Status StreamReceiver::OnFrame(absl::Span<const std::byte> message) {
  const uint64_t missed = media_->missed_frames();
  const absl::StatusOr<Frame> frame = media_->OnFrame(message);
  if (!frame.ok()) return frame.status();
  const absl::Span<const std::byte> payload = message.subspan(kFrameHeaderBytes);
  if ((frame->flags & kFrameGap) != 0 || media_->missed_frames() != missed) ++gaps_;
  packed_.clear();
  if (kind_ == StreamKind::kY4m) {
    const absl::Span<const std::byte> line = Text(kY4mFrameLine);
    packed_.assign(line.begin(), line.end());
    for (size_t i = 0; i < frame->plane_count; ++i) {
      const Plane& plane = frame->planes[i];
      for (uint32_t row = 0; row < plane.rows; ++row) {
        const absl::Span<const std::byte> bytes = payload.subspan(
            plane.offset_bytes + uint64_t{row} * plane.stride_bytes, plane.row_bytes);
        packed_.insert(packed_.end(), bytes.begin(), bytes.end());
      }
    }
    const absl::Status counted = Count(packed_.size() - line.size());
    if (!counted.ok()) return counted;
  } else {
    const Plane& plane = frame->planes[0];
    const absl::Span<const std::byte> samples =
        payload.subspan(plane.offset_bytes, plane.size_bytes);
    if (wav_.file_sample_bytes == 3) {
      for (size_t at = 0; at + 4 <= samples.size(); at += 4) {
        packed_.insert(packed_.end(), samples.begin() + static_cast<ptrdiff_t>(at) + 1,
                       samples.begin() + static_cast<ptrdiff_t>(at) + 4);
      }
    } else {
      packed_.assign(samples.begin(), samples.end());
    }
    const absl::Status counted = Count(packed_.size());
    if (!counted.ok()) return counted;
  }
  ++messages_;
  return write_(packed_);
}

absl::Status StreamReceiver::OnBytes(absl::Span<const std::byte> message, bool ended) {
  const bool lines = kind_ == StreamKind::kLines;
  if (message.size() > kMaxPieceBytes || (!lines && message.empty())) {
    return Bad(absl::StrCat("a piece of ", message.size(), " bytes"));
  }
  if (open_line_) return Bad("a line behind one that had no end");
  if (lines && std::find(message.begin(), message.end(), std::byte{'\n'}) != message.end()) {
    return Bad("a line with a newline in it");
  }
  open_line_ = !ended;
  const absl::Status counted = Count(message.size() + (lines && ended ? 1 : 0));
  if (!counted.ok()) return counted;
  ++messages_;
  if (!lines || !ended) return write_(message);
  packed_.assign(message.begin(), message.end());
  packed_.push_back(std::byte{'\n'});
  return write_(packed_);
}

absl::Status StreamReceiver::OnNutHeaders(absl::Span<const std::byte> message) {
  if (nut_.headers_whole()) return Bad("headers of a NUT for the second time");
  const absl::Status counted = Count(message.size());
  if (!counted.ok()) return counted;
  const absl::Status taken = TakeNut(message);
  if (!taken.ok()) return taken;
  if (!nut_.headers_whole() || nut_.open_bytes() > 0) return Bad("headers of a NUT in part");
  return absl::OkStatus();
}

absl::Status StreamReceiver::OnNutBytes(absl::Span<const std::byte> message, bool may_resume) {
  ResumeWire resume = {nut_.position()};
  if (message.size() > kMaxPieceBytes || (may_resume && !ReadWire(message, &resume))) {
    return Bad(absl::StrCat("a piece of ", message.size(), " bytes"));
  }
  message.remove_prefix(may_resume ? sizeof(resume) : 0);
  if (message.empty()) return Bad("a piece of no bytes");
  if (!nut_.headers_whole()) return Bad("frames of a NUT before its headers");
  const absl::Status counted = Count(message.size());
  if (!counted.ok()) return counted;
  ++messages_;
  if (awaits_resume_ && !may_resume) {
    ++left_out_;
    return absl::OkStatus();
  }
  if (resume.position < nut_.position() || resume.position > uint64_t{1} << 62) {
    return Bad(absl::StrCat("a NUT that goes on at byte ", resume.position, " after byte ",
                            nut_.position()));
  }
  if (awaits_resume_ || resume.position != nut_.position()) {
    nut_.Resume(resume.position);
    piece_.clear();
    cut_at_ = written_bytes_;
    is_cut_ = true;
    awaits_resume_ = false;
    ++gaps_;
  }
  return TakeNut(message);
}

absl::Status StreamReceiver::TakeNut(absl::Span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const absl::StatusOr<NutSplitter::Step> step = nut_.Take(bytes);
    if (!step.ok()) return step.status();
    piece_.insert(piece_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(step->taken));
    bytes.remove_prefix(step->taken);
    if (!is_cut_) continue;
    // Positions are those of what is written: no pointer into what was left out, and no index.
    const auto found_bytes = static_cast<size_t>(step->found_bytes);
    if (step->found == NutSplitter::Found::kSyncpoint) {
      const uint64_t at = written_bytes_ + piece_.size() - found_bytes;
      ShortenNutBackPointer(absl::MakeSpan(piece_).last(found_bytes), (at - cut_at_) / 16);
    } else if (step->found == NutSplitter::Found::kIndex) {
      piece_.resize(piece_.size() - found_bytes);
    }
  }
  const size_t whole = piece_.size() - static_cast<size_t>(nut_.open_bytes());
  if (whole == 0) return absl::OkStatus();
  const absl::Status written = write_(absl::MakeConstSpan(piece_).first(whole));
  written_bytes_ += whole;
  piece_.erase(piece_.begin(), piece_.begin() + static_cast<ptrdiff_t>(whole));
  return written;
}

absl::Status StreamReceiver::OnEnd(absl::Span<const std::byte> message) {
  EndWire wire;
  if (message.size() != sizeof(wire) || !ReadWire(message, &wire)) {
    return Bad(absl::StrCat("an end of ", message.size(), " bytes"));
  }
  const uint64_t messages = messages_ + taken_back_;
  const uint64_t bytes = one_of_many_ ? 0 : bytes_;
  if (wire.messages != messages || wire.bytes != bytes) {
    return Bad(absl::StrCat("the end says ", wire.messages, " messages and ", wire.bytes,
                            " bytes where ", messages, " and ", bytes, " came"));
  }
  end_ = wire;
  if (kind_ == StreamKind::kNut && !piece_.empty() && dropped() == 0) {
    // It may end with a syncpoint.
    absl::Status whole = nut_.End();
    if (whole.ok()) whole = write_(piece_);
    if (!whole.ok()) return whole;
  }
  return absl::OutOfRangeError("the end");
}

}  // namespace parley::cli

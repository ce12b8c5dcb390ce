// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/film_sender.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "parley/boundary/wire_copy.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/os/deadline.h"

namespace parley::film {
namespace {

// Dropped pictures and blocks per Progress record: often enough that the viewer sees life.
constexpr uint64_t kProgressEvery = 32;

template <size_t kSize>
void CopyText(std::string_view text, std::array<uint8_t, kSize>& out) {
  std::copy_n(text.begin(), std::min(text.size(), kSize), out.begin());
}

// From `from` to `to`; nullopt: backwards, or further than a header can say.
std::optional<uint32_t> Distance(const std::byte* from, const std::byte* to) {
  const ptrdiff_t bytes = to - from;
  if (bytes < 0 || bytes > std::numeric_limits<int32_t>::max()) return std::nullopt;
  return static_cast<uint32_t>(bytes);
}

}  // namespace

absl::Status MessageOut::Send(uint32_t tag, absl::Span<const std::byte> message) {
  const absl::StatusOr<absl::Span<std::byte>> room = Reserve(static_cast<uint32_t>(message.size()));
  if (!room.ok()) return room.status();
  std::memcpy(room->data(), message.data(), message.size());
  Commit(tag, static_cast<uint32_t>(message.size()));
  return absl::OkStatus();
}

absl::Status FilmSender::SendInfo(const av::FilmInfo& info) {
  InfoWire wire = {};
  wire.duration_ns = info.duration_ns;
  CopyText(info.container, wire.container);
  CopyText(info.video_codec, wire.video_codec);
  CopyText(info.audio_codec, wire.audio_codec);
  return out_.Send(kTagInfo, WireBytes(wire));
}

absl::Status FilmSender::SendProgress() {
  return out_.Send(
      kTagProgress,
      WireBytes(ProgressWire{.pictures = std::min(video_.next, start_.first_picture),
                             .audio_blocks = std::min(audio_.next, start_.first_audio_block)}));
}

absl::Status FilmSender::UseFormat(const StreamFormat& format, Stream& stream) {
  if (stream.format.generation != 0 && stream.format.format == format) return absl::OkStatus();
  absl::Status accepted = acceptance_.Check(format);
  if (!accepted.ok()) return accepted;
  if (stream.format.generation == acceptance_.max_format_changes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the film changes its format more often than the receiver's limit of ",
                     acceptance_.max_format_changes));
  }
  stream.format.format = format;
  ++stream.format.generation;
  return out_.Send(kTagFormat, EncodeFormat(stream.format));
}

absl::StatusOr<absl::Span<std::byte>> FilmSender::Begin(const FrameHeaderWire& header,
                                                        uint32_t payload_bytes) {
  const absl::StatusOr<absl::Span<std::byte>> room =
      out_.Reserve(static_cast<uint32_t>(kFrameHeaderBytes) + payload_bytes);
  if (!room.ok()) return room.status();
  std::memcpy(room->data(), &header, sizeof(header));
  return room->subspan(kFrameHeaderBytes);
}

bool FilmSender::IsAsWanted(const FrameHeaderWire& header, const OutFrame& frame, uint64_t end,
                            const NumberedFormat& format) const {
  if (end > frame.read_only_bytes().size() || end > out_.max_message_bytes() - kFrameHeaderBytes) {
    return false;
  }
  // The receiver's own question.
  return ValidateFrame(WireBytes(header), end, format, acceptance_.alignment).ok();
}

bool FilmSender::LiesInPlace(const Picture& picture, FrameHeaderWire* header,
                             uint32_t* payload_bytes) const {
  if (arena_ == nullptr || picture.frame == nullptr) return false;
  const std::byte* const begin = picture.frame->read_only_bytes().data();
  FrameHeaderWire in_place = *header;
  uint64_t end = 0;
  const PictureShape shape = ShapeOf(picture.format);
  for (size_t plane = 0; plane < shape.count; ++plane) {
    const std::optional<uint32_t> offset = Distance(begin, picture.planes[plane]);
    const ptrdiff_t stride = picture.strides_bytes[plane];
    if (!offset.has_value() || stride < 0 || stride > std::numeric_limits<int32_t>::max()) {
      return false;
    }
    in_place.planes[plane] = {*offset, static_cast<uint32_t>(stride)};
    end = uint64_t{*offset} + static_cast<uint64_t>(stride) * (shape.planes[plane].rows - 1) +
          shape.planes[plane].row_bytes;
  }
  if (!IsAsWanted(in_place, *picture.frame, end, video_.format)) return false;
  *header = in_place;
  *payload_bytes = static_cast<uint32_t>(end);
  return true;
}

bool FilmSender::LiesInPlace(const AudioBlock& audio, FrameHeaderWire* header,
                             uint32_t* payload_bytes) const {
  if (arena_ == nullptr || audio.frame == nullptr) return false;
  const std::optional<uint32_t> offset =
      Distance(audio.frame->read_only_bytes().data(), audio.planes[0]);
  if (!offset.has_value()) return false;
  FrameHeaderWire in_place = *header;
  in_place.planes[0].offset_bytes = *offset;
  uint64_t end = *offset + audio.plane_bytes();
  if (audio.planes.size() > 1) {
    const std::optional<uint32_t> stride = Distance(audio.planes[0], audio.planes[1]);
    if (!stride.has_value()) return false;
    for (size_t i = 1; i < audio.planes.size(); ++i) {
      if (Distance(audio.planes[i - 1], audio.planes[i]) != stride) return false;
    }
    in_place.planes[1].stride_bytes = *stride;
    end += uint64_t{*stride} * (audio.planes.size() - 1);
  }
  if (!IsAsWanted(in_place, *audio.frame, end, audio_.format)) return false;
  *header = in_place;
  *payload_bytes = static_cast<uint32_t>(end);
  return true;
}

absl::Status FilmSender::SendInPlace(uint32_t tag, const OutFrame& frame,
                                     const FrameHeaderWire& header, uint32_t payload_bytes) {
  OutFrame shared = frame.Share();
  return arena_->Send(&shared, payload_bytes, tag, WireBytes(header), Deadline::Never());
}

absl::Status FilmSender::OnPicture(const Picture& picture) {
  const uint64_t number = video_.next++;
  if (number < start_.first_picture) {
    return video_.next % kProgressEvery == 0 ? SendProgress() : absl::OkStatus();
  }
  // What lies above a limit has no planes that could be counted.
  if (absl::Status within = CheckLimits(picture.format, acceptance_.limits); !within.ok()) {
    return within;
  }
  const PictureShape shape = ShapeOf(picture.format);
  const uint64_t bytes =
      kFrameHeaderBytes + PackedVideoBytes(picture.format, acceptance_.alignment);
  if (bytes > out_.max_message_bytes()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a picture of ", shape.size_bytes(),
                     " bytes is too large for the channel (see --max_frame_mib)"));
  }
  const absl::Status announced = UseFormat(picture.format, video_);
  if (!announced.ok()) return announced;

  uint32_t payload_bytes = 0;
  FrameHeaderWire header = PackedVideoHeader(video_.format, &payload_bytes, acceptance_.alignment);
  header.sequence = number;
  header.pts_ns = picture.pts_ns;
  header.duration_ns = picture.duration_ns;
  header.flags = static_cast<uint16_t>(
      (picture.key ? kFrameKey : kFrameDelta) | (picture.corrupt ? kFrameCorrupt : 0) |
      (picture.interlaced ? kFrameInterlaced : 0) | (picture.top_first ? kFrameTopFirst : 0) |
      (picture.converted ? kFrameConverted : 0));
  if (LiesInPlace(picture, &header, &payload_bytes)) {
    return SendInPlace(kTagPictureInPlace, *picture.frame, header, payload_bytes);
  }
  const absl::StatusOr<absl::Span<std::byte>> payload = Begin(header, payload_bytes);
  if (!payload.ok()) return payload.status();
  uint32_t end = 0;
  for (size_t plane = 0; plane < shape.count; ++plane) {
    const PlaneWire& to = header.planes[plane];
    // What lies between two planes or rows would be old bytes of the ring.
    std::memset(payload->data() + end, 0, to.offset_bytes - end);
    end = to.offset_bytes;
    const uint32_t row_bytes = shape.planes[plane].row_bytes;
    for (uint32_t row = 0; row < shape.planes[plane].rows; ++row) {
      const uint32_t at = to.offset_bytes + row * to.stride_bytes;
      std::memset(payload->data() + end, 0, at - end);
      std::memcpy(payload->data() + at, picture.Row(plane, row, row_bytes).data(), row_bytes);
      end = at + row_bytes;
    }
  }
  out_.Commit(kTagPicture, static_cast<uint32_t>(kFrameHeaderBytes) + payload_bytes);
  return absl::OkStatus();
}

absl::Status FilmSender::OnAudio(const AudioBlock& audio) {
  const uint64_t number = audio_.next++;
  if (number < start_.first_audio_block) {
    return audio_.next % kProgressEvery == 0 ? SendProgress() : absl::OkStatus();
  }
  if (absl::Status within = CheckLimits(audio.format, acceptance_.limits); !within.ok()) {
    return within;
  }
  const uint64_t bytes = PackedAudioBytes(audio.format, audio.frames, acceptance_.alignment);
  if (bytes + kFrameHeaderBytes > out_.max_message_bytes()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a block of ", bytes,
                     " bytes of audio is too large for the channel (see --max_frame_mib)"));
  }
  const absl::Status announced = UseFormat(audio.format, audio_);
  if (!announced.ok()) return announced;
  uint32_t payload_bytes = 0;
  FrameHeaderWire header =
      PackedAudioHeader(audio_.format, audio.frames, &payload_bytes, acceptance_.alignment);
  header.sequence = number;
  header.pts_ns = audio.pts_ns;
  header.duration_ns = audio.duration_ns;
  header.flags = audio.corrupt ? kFrameCorrupt : uint16_t{0};
  if (LiesInPlace(audio, &header, &payload_bytes)) {
    return SendInPlace(kTagAudioInPlace, *audio.frame, header, payload_bytes);
  }
  const absl::StatusOr<absl::Span<std::byte>> payload = Begin(header, payload_bytes);
  if (!payload.ok()) return payload.status();
  size_t end = 0;
  for (size_t i = 0; i < audio.planes.size(); ++i) {
    const size_t at = i * header.planes[1].stride_bytes;
    std::memset(payload->data() + end, 0, at - end);
    std::memcpy(payload->data() + at, audio.planes[i], audio.plane_bytes());
    end = at + audio.plane_bytes();
  }
  out_.Commit(kTagAudio, static_cast<uint32_t>(kFrameHeaderBytes) + payload_bytes);
  return absl::OkStatus();
}

absl::Status FilmSender::SendEnd(const av::DecodeTotals& totals) {
  return out_.Send(kTagEnd, WireBytes(EndWire{.pictures = totals.pictures,
                                              .audio_blocks = totals.audio_blocks,
                                              .audio_frames = totals.audio_frames,
                                              .bad_packets = totals.bad_packets,
                                              .truncated = totals.truncated ? uint32_t{1} : 0,
                                              .reserved = 0}));
}

absl::Status FilmSender::SendFailed(std::string_view reason) {
  FailedWire wire = {};
  CopyText(reason, wire.reason);
  return out_.Send(kTagFailed, WireBytes(wire));
}

}  // namespace parley::film

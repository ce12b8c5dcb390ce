#include "parley/media/frame.h"

#include <limits>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "parley/boundary/wire_copy.h"
#include "parley/os/check.h"

namespace parley {
namespace {

absl::Status Bad(const std::string& what) {
  return absl::DataLossError(absl::StrCat("frame header: ", what));
}

absl::Status AddPlane(const PlaneWire& wire, const PlaneShape& shape, uint64_t earliest_offset,
                      size_t payload_bytes, Frame& frame) {
  const size_t index = frame.plane_count;
  if (wire.stride_bytes < shape.row_bytes) {
    return Bad(absl::StrCat("plane ", index, " has a stride of ", wire.stride_bytes,
                            " bytes for rows of ", shape.row_bytes));
  }
  if (wire.offset_bytes < earliest_offset) {
    return Bad(absl::StrCat("plane ", index, " overlaps the one before"));
  }
  // 32-bit factors: neither the product nor the sums can leave 64 bits.
  const uint64_t size = uint64_t{wire.stride_bytes} * (shape.rows - 1) + shape.row_bytes;
  if (size > payload_bytes || wire.offset_bytes > payload_bytes - size) {
    return Bad(
        absl::StrCat("plane ", index, " ends outside the payload of ", payload_bytes, " bytes"));
  }
  if (size > std::numeric_limits<uint32_t>::max()) return Bad("a plane above 4 GiB");
  frame.planes[index] = {.offset_bytes = wire.offset_bytes,
                         .stride_bytes = wire.stride_bytes,
                         .row_bytes = shape.row_bytes,
                         .rows = shape.rows,
                         .size_bytes = static_cast<uint32_t>(size)};
  ++frame.plane_count;
  return absl::OkStatus();
}

absl::Status AddAudio(const FrameHeaderWire& wire, const AudioFormat& format, size_t payload_bytes,
                      Frame& frame) {
  const uint32_t frame_bytes = BytesPerAudioFrame(format);
  const uint32_t size_bytes = wire.planes[0].stride_bytes;
  if (size_bytes == 0 || size_bytes % frame_bytes != 0) {
    return Bad(absl::StrCat(size_bytes, " bytes of audio are not whole frames of ", frame_bytes));
  }
  frame.audio_frames = size_bytes / frame_bytes;
  return AddPlane(wire.planes[0], {.row_bytes = size_bytes, .rows = 1}, 0, payload_bytes, frame);
}

absl::Status AddPicture(const FrameHeaderWire& wire, const VideoFormat& format,
                        size_t payload_bytes, Frame& frame) {
  const PictureShape shape = ShapeOf(format);
  uint64_t end = 0;
  for (size_t i = 0; i < shape.count; ++i) {
    const absl::Status added = AddPlane(wire.planes[i], shape.planes[i], end, payload_bytes, frame);
    if (!added.ok()) return added;
    end = uint64_t{frame.planes[i].offset_bytes} + frame.planes[i].size_bytes;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Frame> ValidateFrame(absl::Span<const std::byte> header, size_t payload_bytes,
                                    const NumberedFormat& format) {
  // TRUST: the copy is private; the fields checked are the fields used.
  FrameHeaderWire wire;
  if (header.size() != kFrameHeaderBytes || !ReadWire(header, &wire)) {
    return Bad(absl::StrCat(header.size(), " bytes long"));
  }
  if ((wire.flags & ~kFrameKnownFlags) != 0 || wire.reserved != 0) {
    return Bad("a reserved bit is not zero");
  }
  if ((wire.flags & kFrameKey) != 0 && (wire.flags & kFrameDelta) != 0) {
    return Bad("a key frame that depends on others");
  }
  if (wire.format_generation != format.generation) {
    return Bad(absl::StrCat("format generation ", wire.format_generation, " is not the current ",
                            format.generation));
  }
  if (wire.pts_ns < -kMaxTimestampNs || wire.pts_ns > kMaxTimestampNs) {
    return Bad("a timestamp out of range");
  }
  if (wire.duration_ns < 0 || wire.duration_ns > kMaxTimestampNs) {
    return Bad("a duration out of range");
  }
  const auto* video = std::get_if<VideoFormat>(&format.format);
  const size_t planes = video != nullptr ? ShapeOf(*video).count : 1;
  if (wire.plane_count != planes) {
    return Bad(absl::StrCat(wire.plane_count, " planes where the format has ", planes));
  }
  for (size_t i = planes; i < kMaxPlanes; ++i) {
    if (wire.planes[i].offset_bytes != 0 || wire.planes[i].stride_bytes != 0) {
      return Bad("a plane beyond the last one is not zero");
    }
  }
  Frame frame = {.sequence = wire.sequence,
                 .pts_ns = wire.pts_ns,
                 .duration_ns = wire.duration_ns,
                 .flags = wire.flags,
                 .planes = {},
                 .plane_count = 0,
                 .audio_frames = 0};
  const absl::Status added =
      video != nullptr ? AddPicture(wire, *video, payload_bytes, frame)
                       : AddAudio(wire, std::get<AudioFormat>(format.format), payload_bytes, frame);
  if (!added.ok()) return added;
  return frame;
}

FrameHeaderWire PackedVideoHeader(const NumberedFormat& format, uint32_t* payload_bytes) {
  const auto* video = std::get_if<VideoFormat>(&format.format);
  PARLEY_CHECK(video != nullptr, "PackedVideoHeader: the format is not video");
  const PictureShape shape = ShapeOf(*video);
  FrameHeaderWire wire = {};
  wire.format_generation = format.generation;
  wire.plane_count = static_cast<uint8_t>(shape.count);
  uint64_t end = 0;
  for (size_t i = 0; i < shape.count; ++i) {
    end = (end + 15) & ~uint64_t{15};
    PARLEY_CHECK(end + shape.planes[i].size_bytes() <= std::numeric_limits<uint32_t>::max(),
                 "PackedVideoHeader: a picture above 4 GiB");
    wire.planes[i] = {.offset_bytes = static_cast<uint32_t>(end),
                      .stride_bytes = shape.planes[i].row_bytes};
    end += shape.planes[i].size_bytes();
  }
  *payload_bytes = static_cast<uint32_t>(end);
  return wire;
}

FrameHeaderWire PackedAudioHeader(const NumberedFormat& format, uint32_t audio_frames,
                                  uint32_t* payload_bytes) {
  const auto* audio = std::get_if<AudioFormat>(&format.format);
  PARLEY_CHECK(audio != nullptr, "PackedAudioHeader: the format is not audio");
  const uint64_t size = uint64_t{audio_frames} * BytesPerAudioFrame(*audio);
  PARLEY_CHECK(size > 0 && size <= std::numeric_limits<uint32_t>::max(),
               "PackedAudioHeader: no samples, or above 4 GiB");
  FrameHeaderWire wire = {};
  wire.format_generation = format.generation;
  wire.plane_count = 1;
  wire.planes[0].stride_bytes = static_cast<uint32_t>(size);
  *payload_bytes = static_cast<uint32_t>(size);
  return wire;
}

}  // namespace parley

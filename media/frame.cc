// SPDX-License-Identifier: Apache-2.0
#include "parley/media/frame.h"

#include <algorithm>
#include <array>
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

uint64_t RoundUp(uint64_t value, uint32_t alignment) {
  return (value + alignment - 1) & ~uint64_t{alignment - 1};
}

constexpr uint32_t kLeastPlaneAlignment = 16;

uint32_t PlaneAlignment(const FrameAlignment& alignment) {
  return std::max(alignment.plane_bytes, kLeastPlaneAlignment);
}

absl::Status AddPlane(const PlaneWire& wire, const PlaneShape& shape, uint64_t earliest_offset,
                      size_t payload_bytes, const FrameAlignment& alignment, Frame& frame) {
  const size_t index = frame.plane_count;
  if (wire.offset_bytes % alignment.plane_bytes != 0) {
    return Bad(absl::StrCat("plane ", index, " at ", wire.offset_bytes, " is not aligned to ",
                            alignment.plane_bytes, " bytes"));
  }
  if (shape.rows > 1 && wire.stride_bytes % alignment.row_bytes != 0) {
    return Bad(absl::StrCat("plane ", index, " has a stride of ", wire.stride_bytes,
                            " bytes, not aligned to ", alignment.row_bytes));
  }
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
                      const FrameAlignment& alignment, Frame& frame) {
  const uint32_t unit_bytes =
      format.planar ? BytesPerSample(format.sample_format) : BytesPerAudioFrame(format);
  const uint32_t size_bytes = wire.planes[0].stride_bytes;
  if (size_bytes == 0 || size_bytes % unit_bytes != 0) {
    return Bad(absl::StrCat(size_bytes, " bytes of audio are not whole frames of ", unit_bytes));
  }
  frame.audio_frames = size_bytes / unit_bytes;
  if (!format.planar) {
    return AddPlane(wire.planes[0], {.row_bytes = size_bytes, .rows = 1}, 0, payload_bytes,
                    alignment, frame);
  }
  const PlaneWire channels = {.offset_bytes = wire.planes[0].offset_bytes,
                              .stride_bytes = wire.planes[1].stride_bytes};
  return AddPlane(channels, {.row_bytes = size_bytes, .rows = format.channels}, 0, payload_bytes,
                  alignment, frame);
}

absl::Status AddPicture(const FrameHeaderWire& wire, const VideoFormat& format,
                        size_t payload_bytes, const FrameAlignment& alignment, Frame& frame) {
  const PictureShape shape = ShapeOf(format);
  uint64_t end = 0;
  for (size_t i = 0; i < shape.count; ++i) {
    const absl::Status added =
        AddPlane(wire.planes[i], shape.planes[i], end, payload_bytes, alignment, frame);
    if (!added.ok()) return added;
    end = uint64_t{frame.planes[i].offset_bytes} + frame.planes[i].size_bytes;
  }
  return absl::OkStatus();
}

// Planes one behind the other; each row but the last of a picture is as long as its stride.
uint64_t Pack(const PictureShape& shape, const FrameAlignment& alignment,
              std::array<PlaneWire, kMaxPlanes>* planes) {
  uint64_t end = 0;
  for (size_t i = 0; i < shape.count; ++i) {
    end = RoundUp(end, PlaneAlignment(alignment));
    const uint64_t stride = RoundUp(shape.planes[i].row_bytes, alignment.row_bytes);
    if (planes != nullptr) {
      (*planes)[i] = {.offset_bytes = static_cast<uint32_t>(end),
                      .stride_bytes = static_cast<uint32_t>(stride)};
    }
    end += stride * (shape.planes[i].rows - 1) + shape.planes[i].row_bytes;
  }
  return end;
}

// From one channel of planar audio to the next.
uint64_t ChannelStride(const AudioFormat& format, uint32_t audio_frames,
                       const FrameAlignment& alignment) {
  return RoundUp(uint64_t{audio_frames} * BytesPerSample(format.sample_format),
                 std::max(alignment.row_bytes, alignment.plane_bytes));
}

}  // namespace

absl::StatusOr<Frame> ValidateFrame(absl::Span<const std::byte> header, size_t payload_bytes,
                                    const NumberedFormat& format, const FrameAlignment& alignment) {
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
  if ((wire.flags & kFrameTopFirst) != 0 && (wire.flags & kFrameInterlaced) == 0) {
    return Bad("a first field of a picture that has none");
  }
  const auto* video = std::get_if<VideoFormat>(&format.format);
  const auto* audio = std::get_if<AudioFormat>(&format.format);
  const size_t planes = video != nullptr ? ShapeOf(*video).count : 1;
  if (wire.plane_count != planes) {
    return Bad(absl::StrCat(wire.plane_count, " planes where the format has ", planes));
  }
  for (size_t i = planes; i < kMaxPlanes; ++i) {
    const bool leads_to_the_next_channel = i == 1 && audio != nullptr && audio->planar;
    if (wire.planes[i].offset_bytes != 0 ||
        (wire.planes[i].stride_bytes != 0 && !leads_to_the_next_channel)) {
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
  const absl::Status added = video != nullptr
                                 ? AddPicture(wire, *video, payload_bytes, alignment, frame)
                                 : AddAudio(wire, *audio, payload_bytes, alignment, frame);
  if (!added.ok()) return added;
  return frame;
}

FrameHeaderWire PackedVideoHeader(const NumberedFormat& format, uint32_t* payload_bytes,
                                  const FrameAlignment& alignment) {
  const auto* video = std::get_if<VideoFormat>(&format.format);
  PARLEY_CHECK(video != nullptr, "PackedVideoHeader: the format is not video");
  const PictureShape shape = ShapeOf(*video);
  FrameHeaderWire wire = {};
  wire.format_generation = format.generation;
  wire.plane_count = static_cast<uint8_t>(shape.count);
  const uint64_t end = Pack(shape, alignment, &wire.planes);
  PARLEY_CHECK(end <= std::numeric_limits<uint32_t>::max(),
               "PackedVideoHeader: a picture above 4 GiB");
  *payload_bytes = static_cast<uint32_t>(end);
  return wire;
}

uint64_t PackedVideoBytes(const VideoFormat& format, const FrameAlignment& alignment) {
  return Pack(ShapeOf(format), alignment, nullptr);
}

uint64_t PackedAudioBytes(const AudioFormat& format, uint32_t audio_frames,
                          const FrameAlignment& alignment) {
  if (!format.planar) return uint64_t{audio_frames} * BytesPerAudioFrame(format);
  return ChannelStride(format, audio_frames, alignment) * (format.channels - 1) +
         uint64_t{audio_frames} * BytesPerSample(format.sample_format);
}

FrameHeaderWire PackedAudioHeader(const NumberedFormat& format, uint32_t audio_frames,
                                  uint32_t* payload_bytes, const FrameAlignment& alignment) {
  const auto* audio = std::get_if<AudioFormat>(&format.format);
  PARLEY_CHECK(audio != nullptr, "PackedAudioHeader: the format is not audio");
  const uint64_t size = PackedAudioBytes(*audio, audio_frames, alignment);
  PARLEY_CHECK(audio_frames > 0 && size <= std::numeric_limits<uint32_t>::max(),
               "PackedAudioHeader: no samples, or above 4 GiB");
  FrameHeaderWire wire = {};
  wire.format_generation = format.generation;
  wire.plane_count = 1;
  wire.planes[0].stride_bytes = static_cast<uint32_t>(size);
  if (audio->planar) {
    wire.planes[0].stride_bytes = audio_frames * BytesPerSample(audio->sample_format);
    wire.planes[1].stride_bytes =
        static_cast<uint32_t>(ChannelStride(*audio, audio_frames, alignment));
  }
  *payload_bytes = static_cast<uint32_t>(size);
  return wire;
}

}  // namespace parley

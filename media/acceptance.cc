// SPDX-License-Identifier: Apache-2.0
#include "parley/media/acceptance.h"

#include <algorithm>
#include <bit>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "parley/boundary/wire_copy.h"

namespace parley {
namespace {

absl::Status Bad(const std::string& what) {
  return absl::DataLossError(absl::StrCat("acceptance record: ", what));
}

bool IsAlignment(uint32_t bytes) {
  return std::has_single_bit(bytes) && bytes <= kMaxFrameAlignment;
}

absl::Status NotAccepted(const std::string& what) {
  return absl::UnimplementedError(absl::StrCat("the receiver does not accept ", what));
}

}  // namespace

void Acceptance::SetPixelFormats(absl::Span<const PixelFormat> formats) {
  pixel_formats = {};
  for (const PixelFormat format : formats) {
    const size_t number = static_cast<size_t>(InfoOf(format).format);
    pixel_formats[number / 64] |= uint64_t{1} << (number % 64);
  }
}

bool Acceptance::Accepts(PixelFormat format) const {
  const size_t number = static_cast<size_t>(InfoOf(format).format);
  return number < 256 && (pixel_formats[number / 64] >> (number % 64) & 1) != 0;
}

bool Acceptance::Accepts(SampleFormat format) const {
  return (sample_formats >> (static_cast<uint32_t>(format) % 32) & 1) != 0;
}

absl::Status Acceptance::Check(const StreamFormat& format) const {
  if (const auto* video = std::get_if<VideoFormat>(&format)) {
    if (!Accepts(video->pixel_format)) {
      return NotAccepted(
          absl::StrCat("pictures as ", std::string(InfoOf(video->pixel_format).name)));
    }
  } else {
    const AudioFormat& audio = std::get<AudioFormat>(format);
    if (!Accepts(audio.sample_format)) {
      return NotAccepted(absl::StrCat("samples as in ", ToString(audio)));
    }
    if (!(audio.planar ? planar : interleaved)) {
      return NotAccepted(audio.planar ? "planar sound" : "interleaved sound");
    }
  }
  return CheckLimits(format, limits);
}

std::array<std::byte, kAcceptanceBytes> EncodeAcceptance(const Acceptance& acceptance) {
  return std::bit_cast<std::array<std::byte, kAcceptanceBytes>>(AcceptanceWire{
      .magic = kAcceptanceMagic,
      .version = kAcceptanceVersion,
      .interleaved = acceptance.interleaved ? uint8_t{1} : uint8_t{0},
      .planar = acceptance.planar ? uint8_t{1} : uint8_t{0},
      .pixel_formats = acceptance.pixel_formats,
      .sample_formats = acceptance.sample_formats,
      .plane_alignment_bytes = acceptance.alignment.plane_bytes,
      .row_alignment_bytes = acceptance.alignment.row_bytes,
      .max_width = acceptance.limits.max_width,
      .max_height = acceptance.limits.max_height,
      .max_rate_hz = acceptance.limits.max_rate_hz,
      .max_frame_bytes = acceptance.limits.max_frame_bytes,
      .max_channels = acceptance.limits.max_channels,
      .max_icc_bytes = acceptance.limits.max_icc_bytes,
      .max_format_changes = acceptance.max_format_changes,
      .reserved = {},
  });
}

absl::StatusOr<Acceptance> ParseAcceptance(absl::Span<const std::byte> record) {
  // TRUST: the copy is private; the fields checked are the fields used.
  AcceptanceWire wire;
  if (record.size() != kAcceptanceBytes || !ReadWire(record, &wire)) {
    return Bad(absl::StrCat(record.size(), " bytes long"));
  }
  if (wire.magic != kAcceptanceMagic) return Bad("wrong magic number");
  if (wire.version != kAcceptanceVersion) {
    return Bad(absl::StrCat("unknown version ", wire.version));
  }
  if (std::any_of(wire.reserved.begin(), wire.reserved.end(), [](uint32_t v) { return v != 0; })) {
    return Bad("a reserved field is not zero");
  }
  if (wire.interleaved > 1 || wire.planar > 1 || wire.interleaved + wire.planar == 0) {
    return Bad("neither planar nor interleaved");
  }
  if (!IsAlignment(wire.plane_alignment_bytes) || !IsAlignment(wire.row_alignment_bytes)) {
    return Bad(absl::StrCat("an alignment of ", wire.plane_alignment_bytes, " and ",
                            wire.row_alignment_bytes, " bytes"));
  }
  return Acceptance{.pixel_formats = wire.pixel_formats,
                    .sample_formats = wire.sample_formats,
                    .interleaved = wire.interleaved == 1,
                    .planar = wire.planar == 1,
                    .limits = {.max_width = wire.max_width,
                               .max_height = wire.max_height,
                               .max_frame_bytes = wire.max_frame_bytes,
                               .max_rate_hz = wire.max_rate_hz,
                               .max_channels = wire.max_channels,
                               .max_icc_bytes = wire.max_icc_bytes},
                    .max_format_changes = wire.max_format_changes,
                    .alignment = {.plane_bytes = wire.plane_alignment_bytes,
                                  .row_bytes = wire.row_alignment_bytes}};
}

}  // namespace parley

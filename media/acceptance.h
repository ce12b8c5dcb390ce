// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_MEDIA_ACCEPTANCE_H_
#define PARLEY_MEDIA_ACCEPTANCE_H_

// What a receiver accepts: which pixel and sample formats, up to which limits, and how it wants
// planes and rows to be aligned. It travels to the sender before the first format, as a record of
// 128 bytes, so that an honest sender never sends what is refused.
//
// Trust: at the sender a record is hostile. ParseAcceptance returns checked values; the worst that
// the peer can cause is that nothing is accepted, and alignment that costs at most
// kMaxFrameAlignment bytes for each row.
// Threads: values and pure functions; any.
//
//   Acceptance wants;                                  // everything, up to the default limits
//   wants.SetPixelFormats({PixelFormat::kI420, PixelFormat::kNv12});
//   Send(EncodeAcceptance(wants));
//
//   absl::StatusOr<Acceptance> wants = ParseAcceptance(record);
//   if (auto fits = wants->Check(format); !fits.ok()) return fits;   // it names the reason

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/boundary/wire_type.h"
#include "parley/media/format.h"
#include "parley/media/frame.h"

namespace parley {

struct Acceptance {
  // Bit n stands for the format with the number n.
  std::array<uint64_t, 4> pixel_formats = {~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0}};
  uint32_t sample_formats = ~uint32_t{0};
  bool interleaved = true;
  bool planar = true;
  FormatLimits limits = {};
  uint32_t max_format_changes = 1000;
  FrameAlignment alignment = {};
  bool operator==(const Acceptance&) const = default;

  void SetPixelFormats(absl::Span<const PixelFormat> formats);
  bool Accepts(PixelFormat format) const;
  bool Accepts(SampleFormat format) const;
  // kUnimplemented: a format that is not accepted; kResourceExhausted: above a limit. The message
  // is a sentence for people.
  absl::Status Check(const StreamFormat& format) const;
};

struct AcceptanceWire {
  uint32_t magic;
  uint16_t version;
  uint8_t interleaved;
  uint8_t planar;
  std::array<uint64_t, 4> pixel_formats;
  uint32_t sample_formats;
  uint32_t plane_alignment_bytes;
  uint32_t row_alignment_bytes;
  uint32_t max_width;
  uint32_t max_height;
  uint32_t max_rate_hz;
  uint64_t max_frame_bytes;
  uint32_t max_channels;
  uint32_t max_icc_bytes;
  uint32_t max_format_changes;
  std::array<uint32_t, 11> reserved;
};
inline constexpr uint32_t kAcceptanceMagic = 0x31414d50;  // "PMA1"
inline constexpr uint16_t kAcceptanceVersion = 1;
inline constexpr size_t kAcceptanceBytes = 128;
static_assert(sizeof(AcceptanceWire) == kAcceptanceBytes);
static_assert(WireType<AcceptanceWire>);

std::array<std::byte, kAcceptanceBytes> EncodeAcceptance(const Acceptance& acceptance);

// kDataLoss with the reason: size, magic, version, a reserved field, an alignment that is no power
// of two up to kMaxFrameAlignment, neither planar nor interleaved. Bits of formats that are not
// known here are kept and mean nothing.
absl::StatusOr<Acceptance> ParseAcceptance(absl::Span<const std::byte> record);

}  // namespace parley

#endif  // PARLEY_MEDIA_ACCEPTANCE_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_MEDIA_FRAME_H_
#define PARLEY_MEDIA_FRAME_H_

// The 64-byte header in front of one picture or one block of audio, and the check that turns it
// into a Frame whose planes are known to lie inside the payload.
//
// The header carries offset and stride of up to four planes. A plane's size is not in it: rows and
// row length follow from the format, so there is no third number that could contradict them.
// Audio that is interleaved is one plane, and its stride is its length in bytes. Planar audio is
// one as well: the channels are its rows, the stride of entry 0 is the length of one channel, and
// that of entry 1, otherwise unused, leads from one channel to the next.
//
//   offset  0  u64 sequence            16  i64 duration_ns         30  u8 plane_count
//           8  i64 pts_ns              24  u32 format_generation   31  u8 reserved, zero
//                                      28  u16 flags               32  {u32 offset, u32 stride} x 4
//
// Trust: the header is hostile. ValidateFrame copies it once and checks everything in 64 bits
// (ATTACKS.md P2, P3) before the caller sees anything. What the payload *shows* cannot be checked.
// Threads: pure functions; any.
//
//   auto frame = ValidateFrame(message.first(64), message.size() - 64, current_format);
//   if (!frame.ok()) return frame.status();           // kDataLoss: drop the peer
//   auto luma = message.subspan(64 + frame->planes[0].offset_bytes, frame->planes[0].size_bytes);

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parley/boundary/wire_type.h"
#include "parley/media/format.h"

namespace parley {

struct PlaneWire {
  uint32_t offset_bytes;  // from the end of the header
  uint32_t stride_bytes;  // from one row to the next
};

struct FrameHeaderWire {
  uint64_t sequence;
  int64_t pts_ns;
  int64_t duration_ns;
  uint32_t format_generation;
  uint16_t flags;
  uint8_t plane_count;
  uint8_t reserved;
  std::array<PlaneWire, kMaxPlanes> planes;
};

inline constexpr size_t kFrameHeaderBytes = 64;
static_assert(sizeof(FrameHeaderWire) == kFrameHeaderBytes);
static_assert(offsetof(FrameHeaderWire, planes) == 32);
static_assert(WireType<FrameHeaderWire>);

inline constexpr uint16_t kFrameKey = 1 << 0;            // decoding can start here
inline constexpr uint16_t kFrameDelta = 1 << 1;          // depends on earlier frames
inline constexpr uint16_t kFrameDiscontinuity = 1 << 2;  // time jumps before this frame
inline constexpr uint16_t kFrameGap = 1 << 3;            // frames are missing before this one
inline constexpr uint16_t kFrameCorrupt = 1 << 4;        // made from damaged input
inline constexpr uint16_t kFrameInterlaced = 1 << 5;     // two fields
inline constexpr uint16_t kFrameTopFirst = 1 << 6;       // of an interlaced one
inline constexpr uint16_t kFrameConverted = 1 << 7;      // from a format that was not accepted
inline constexpr uint16_t kFrameKnownFlags = (1 << 8) - 1;

// About 36 years either way: sums and differences of two timestamps stay far from overflow.
inline constexpr int64_t kMaxTimestampNs = int64_t{1} << 60;

// How a receiver wants the planes to lie, in bytes: a power of two, up to kMaxFrameAlignment.
struct FrameAlignment {
  uint32_t plane_bytes = 1;  // where each plane begins, from the end of the header
  uint32_t row_bytes = 1;    // each stride
  bool operator==(const FrameAlignment&) const = default;
};
inline constexpr uint32_t kMaxFrameAlignment = 4096;

struct Plane {
  uint32_t offset_bytes = 0;  // from the end of the header
  uint32_t stride_bytes = 0;
  uint32_t row_bytes = 0;
  uint32_t rows = 0;
  uint32_t size_bytes = 0;  // stride * (rows - 1) + row_bytes
};

// A header that has been checked against the format and the payload's size.
struct Frame {
  uint64_t sequence = 0;
  int64_t pts_ns = 0;
  int64_t duration_ns = 0;
  uint16_t flags = 0;
  std::array<Plane, kMaxPlanes> planes;
  size_t plane_count = 0;
  uint32_t audio_frames = 0;  // samples per channel; 0 for video
};

// kDataLoss with the reason: unknown flags, reserved bits, key and delta at once, a format that is
// not the current one, a timestamp or duration out of range, the wrong number of planes, a stride
// below the row, planes out of order, overlapping, outside the payload, not aligned as asked for,
// or (audio) not whole samples of each channel.
absl::StatusOr<Frame> ValidateFrame(absl::Span<const std::byte> header, size_t payload_bytes,
                                    const NumberedFormat& format,
                                    const FrameAlignment& alignment = {});

// The header of a picture whose planes lie one behind the other, aligned; to 16 bytes where less
// is asked for. `payload_bytes` receives the size of what follows the header. A picture above 4 GiB
// aborts: PackedVideoBytes tells beforehand.
FrameHeaderWire PackedVideoHeader(const NumberedFormat& format, uint32_t* payload_bytes,
                                  const FrameAlignment& alignment = {});
// The size of that payload.
uint64_t PackedVideoBytes(const VideoFormat& format, const FrameAlignment& alignment = {});
// The same for `audio_frames` samples per channel.
FrameHeaderWire PackedAudioHeader(const NumberedFormat& format, uint32_t audio_frames,
                                  uint32_t* payload_bytes, const FrameAlignment& alignment = {});
uint64_t PackedAudioBytes(const AudioFormat& format, uint32_t audio_frames,
                          const FrameAlignment& alignment = {});

}  // namespace parley

#endif  // PARLEY_MEDIA_FRAME_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CLI_STREAM_PROTOCOL_H_
#define PARLEY_CLI_STREAM_PROTOCOL_H_

// What `parley send` sends to `parley recv`. The kind of the stream is part of the channel's format
// ("parley-stream/1 y4m"), so that two ends which mean different things do not talk.
//
//   y4m, wav:        Format (media/format.h), then Frame (media/frame.h) ..., then End
//   raw, nut, lines: Bytes ..., then End; a line is a message without its newline, and a last one
//                    that has none is OpenLine
//
// Trust: at the receiver every byte is hostile; StreamReceiver validates.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "parley/boundary/wire_type.h"

namespace parley::cli {

enum class StreamKind { kRaw, kLines, kNut, kY4m, kWav };

// "y4m"
std::string_view NameOf(StreamKind kind);
std::optional<StreamKind> StreamKindFromName(std::string_view name);
// "parley-stream/1 y4m"
std::string ChannelFormat(StreamKind kind);

enum StreamTag : uint32_t {
  kTagFormat = 1,
  kTagFrame = 2,
  kTagBytes = 3,
  kTagOpenLine = 4,
  kTagEnd = 5,
  // The message is a frame in the sender's broadcast (frames/frame_fan_out.h), under this bit.
  kTagInArena = 256,
};

struct EndWire {
  uint64_t messages;  // frames, lines or pieces that were sent to this receiver
  uint64_t bytes;     // of payload; 0 where there are several receivers
  uint64_t dropped;   // that were not sent, because the receiver was slow
};
static_assert(sizeof(EndWire) == 24);
static_assert(WireType<EndWire>);

// A piece of bytes, and the longest line.
inline constexpr uint32_t kMaxPieceBytes = 64u << 10;

}  // namespace parley::cli

#endif  // PARLEY_CLI_STREAM_PROTOCOL_H_

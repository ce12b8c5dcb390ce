// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_CLI_STREAM_PROTOCOL_H_
#define PARLEY_CLI_STREAM_PROTOCOL_H_

// What `parley send` sends to `parley recv`. The kind of the stream is part of the channel's format
// ("parley-stream/2 y4m"), so that two ends which mean different things do not talk.
//
//   y4m, wav:        Format (media/format.h), then Frame (media/frame.h) ..., then End
//   raw, lines:      Bytes ..., then End; a line is a message without its newline, and a last one
//                    that has none is OpenLine
//   nut:             Format (what comes before the first syncpoint), then Bytes and Resume ...,
//                    then End. A Resume is a ResumeWire and bytes which begin at a resume point
//                    (cli/nut.h), or right behind the headers. Where something was left out, the
//                    next message is one
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
// "parley-stream/2 y4m"
std::string ChannelFormat(StreamKind kind);

enum StreamTag : uint32_t {
  kTagFormat = 1,
  kTagFrame = 2,
  kTagBytes = 3,
  kTagOpenLine = 4,
  kTagEnd = 5,
  kTagResume = 6,
  // The message is a frame in the sender's broadcast (frames/frame_fan_out.h), under this bit.
  kTagInArena = 256,
};

struct EndWire {
  uint64_t messages;  // frames, lines or pieces that were sent to this receiver
  uint64_t bytes;     // of payload; 0 where there are several receivers
  // That were not sent, because the receiver had enough of them, took no records, was waited for in
  // vain, or has missed what these depend on.
  uint64_t dropped_newest;
  uint64_t dropped_unread;
  uint64_t dropped_late;
  uint64_t dropped_before_key;
};
static_assert(sizeof(EndWire) == 48);
static_assert(WireType<EndWire>);

uint64_t DroppedOf(const EndWire& end);
// "3 newest, 0 unread, 0 late, 12 before a key"
std::string ReasonsOf(const EndWire& end);

struct ResumeWire {
  uint64_t position;  // of the first byte behind it in the whole stream
};
static_assert(WireType<ResumeWire>);

// A piece of bytes, and the longest line.
inline constexpr uint32_t kMaxPieceBytes = 64u << 10;

}  // namespace parley::cli

#endif  // PARLEY_CLI_STREAM_PROTOCOL_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_AV_DECODER_MEMORY_H_
#define PARLEY_AV_DECODER_MEMORY_H_

// Gives libav room for its pictures and blocks of sound in the arena of a channel, so that what it
// decodes is sent where it lies.
//
// Each is written once: libav is told that it may not write to one that it has handed out, and
// copies it where a codec wants to (AV_BUFFER_FLAG_READONLY). Until then the peer can watch it.
//
// Room is given to codecs that take memory of others (AV_CODEC_CAP_DR1), for pictures of a format
// that the receiver accepts and for sound, and not for more at once than leaves room for one more
// whatever the order of their ends (frames/arena_allocator.h). So a wait for room ends when the
// receiver's frames come back. One that has not taken what was sent is slow, and is waited for. One
// that has taken everything, and returned nothing for kMaxWait, keeps its frames until something
// else comes, such as the sound that follows a picture: it is not waited for again until half of
// the arena is free. What gets no room lies in libav's own memory, and goes another way.
//
// Threads: one at a time; that of the FrameSender.
//
//   DecoderMemory memory(acceptance, {&channel.sender, &frame_sender});
//   memory.UseFor(*codec_context);                            // before avcodec_open2
//   const OutFrame* frame = memory.FrameOf(*decoded);         // null: not there

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "parley/av/libav.h"
#include "parley/channel/sender.h"
#include "parley/frames/frame_sender.h"
#include "parley/media/acceptance.h"

namespace parley::av {

// A channel's end for messages and its end for frames; both null: there is no arena, and nothing is
// given.
struct DecoderArena {
  Sender* sender = nullptr;
  FrameSender* frames = nullptr;
};

class DecoderMemory {
 public:
  static constexpr absl::Duration kMaxWait = absl::Seconds(1);

  DecoderMemory(const Acceptance& acceptance, const DecoderArena& arena)
      : acceptance_(acceptance), sender_(arena.sender), arena_(arena.frames) {}
  DecoderMemory(const DecoderMemory&) = delete;
  DecoderMemory& operator=(const DecoderMemory&) = delete;

  // `codec` ends before this does.
  void UseFor(AVCodecContext& codec);

  // Where all planes of a picture or a block lie; as long as its buffer.
  const OutFrame* FrameOf(const AVFrame& decoded) const;

 private:
  // What a buffer of libav's stands for.
  struct Given {
    DecoderMemory* memory;
    OutFrame frame;
  };
  static int GetBuffer(AVCodecContext* codec, AVFrame* frame, int flags);
  static void Release(void* given, uint8_t* bytes);
  // Whether there is room; then `frame` has it.
  bool GivePicture(AVCodecContext& codec, AVFrame& picture);
  bool GiveSound(AVFrame& sound);
  // Zeros, in a buffer of libav's; null: no room.
  AVBufferRef* Give(std::size_t size_bytes);
  OutFrame Acquire(std::size_t size_bytes);
  uint64_t ExtentBytes(std::size_t size_bytes) const;
  bool HasRoomFor(std::size_t size_bytes) const;

  const Acceptance acceptance_;
  Sender* const sender_;
  FrameSender* const arena_;
  std::vector<std::unique_ptr<Given>> given_;  // that libav has
  uint64_t given_bytes_ = 0;                   // of their extents
  bool waits_ = true;
};

}  // namespace parley::av

#endif  // PARLEY_AV_DECODER_MEMORY_H_

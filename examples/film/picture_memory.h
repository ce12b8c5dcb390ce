// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_EXAMPLES_FILM_PICTURE_MEMORY_H_
#define PARLEY_EXAMPLES_FILM_PICTURE_MEMORY_H_

// Gives libav room for its pictures in the arena of a channel, so that what it decodes is sent
// where it lies.
//
// A picture is written once: libav is told that it may not write to one that it has handed out, and
// copies it where a codec wants to (AV_BUFFER_FLAG_READONLY). Until then the peer can watch it.
//
// Room is given for pictures of a format that the receiver accepts, from codecs that take memory of
// others (AV_CODEC_CAP_DR1), and not for more at once than leaves room for one more whatever the
// order of their ends (frames/arena_allocator.h). So a wait for room always ends: the receiver's
// frames come back, and those that libav keeps are few enough. Everything else lies in libav's own
// memory.
//
// Threads: one at a time; that of the FrameSender.
//
//   PictureMemory memory(acceptance, &frame_sender);
//   memory.UseFor(*codec_context);                            // before avcodec_open2
//   const OutFrame* frame = memory.FrameOf(*picture);         // of a decoded one; null: not there

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "parley/examples/film/libav.h"
#include "parley/frames/frame_sender.h"
#include "parley/media/acceptance.h"

namespace parley::film {

class PictureMemory {
 public:
  // `arena` may be null, and then nothing is given.
  PictureMemory(const Acceptance& acceptance, FrameSender* arena)
      : acceptance_(acceptance), arena_(arena) {}
  PictureMemory(const PictureMemory&) = delete;
  PictureMemory& operator=(const PictureMemory&) = delete;

  // `codec` ends before this does.
  void UseFor(AVCodecContext& codec);

  // As long as the picture's buffer.
  const OutFrame* FrameOf(const AVFrame& picture) const;

 private:
  // What a buffer of libav's stands for.
  struct Given {
    PictureMemory* memory;
    OutFrame frame;
  };
  static int GetBuffer(AVCodecContext* codec, AVFrame* picture, int flags);
  static void Release(void* given, uint8_t* bytes);
  bool Give(AVCodecContext& codec, AVFrame& picture);
  bool HasRoomFor(std::size_t size_bytes);

  const Acceptance acceptance_;
  FrameSender* const arena_;
  std::vector<std::unique_ptr<Given>> given_;  // that libav has
  std::size_t longest_bytes_ = 0;              // of all that were ever given
};

}  // namespace parley::film

#endif  // PARLEY_EXAMPLES_FILM_PICTURE_MEMORY_H_

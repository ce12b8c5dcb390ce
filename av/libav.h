// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_AV_LIBAV_H_
#define PARLEY_AV_LIBAV_H_

// The headers of libav without their warnings, and owners for its objects.
// Trust: none of its own. Threads: any.

#include <cstring>
#include <memory>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <libavutil/avutil.h>
#include <libavutil/channel_layout.h>
#include <libavutil/display.h>
#include <libavutil/frame.h>
#include <libavutil/imgutils.h>
#include <libavutil/log.h>
#include <libavutil/mastering_display_metadata.h>
#include <libavutil/mathematics.h>
#include <libavutil/mem.h>
#include <libavutil/pixdesc.h>
#include <libavutil/sha.h>
#include <libswscale/swscale.h>
}
#pragma GCC diagnostic pop

namespace parley::av {

// What a file says may be no value of the enumeration, and then may not be read as one.
template <typename Enum>
int NumberOf(const Enum& value) {
  static_assert(sizeof(value) == sizeof(int));
  int number = 0;
  std::memcpy(&number, &value, sizeof(number));
  return number;
}

template <typename T, auto free_function>
struct AvDeleter {
  void operator()(T* object) const { free_function(&object); }
};

using AvFrame = std::unique_ptr<AVFrame, AvDeleter<AVFrame, av_frame_free>>;
using AvPacket = std::unique_ptr<AVPacket, AvDeleter<AVPacket, av_packet_free>>;
using AvCodecContext =
    std::unique_ptr<AVCodecContext, AvDeleter<AVCodecContext, avcodec_free_context>>;
using AvFormatContext =
    std::unique_ptr<AVFormatContext, AvDeleter<AVFormatContext, avformat_close_input>>;

struct SwsDeleter {
  void operator()(SwsContext* context) const { sws_freeContext(context); }
};
using AvSwsContext = std::unique_ptr<SwsContext, SwsDeleter>;

// The buffer of an AVIOContext goes with it.
struct IoDeleter {
  void operator()(AVIOContext* context) const {
    av_freep(static_cast<void*>(&context->buffer));
    avio_context_free(&context);
  }
};
using AvIo = std::unique_ptr<AVIOContext, IoDeleter>;

}  // namespace parley::av

#endif  // PARLEY_AV_LIBAV_H_

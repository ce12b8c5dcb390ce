// SPDX-License-Identifier: Apache-2.0
#include "parley/av/libav_input.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>

namespace parley::av {

int SourceFile::Read(void* opaque, uint8_t* into, int size) {
  auto* file = static_cast<SourceFile*>(opaque);
  if (size <= 0) return AVERROR_EOF;
  const std::size_t got = file->source->ReadAt(
      // SAFETY: std::byte and uint8_t are both bytes.
      file->position, {reinterpret_cast<std::byte*>(into), static_cast<std::size_t>(size)});
  if (got == 0) return AVERROR_EOF;
  file->position += got;
  return static_cast<int>(got);
}

int64_t SourceFile::Seek(void* opaque, int64_t offset, int whence) {
  auto* file = static_cast<SourceFile*>(opaque);
  const auto size = static_cast<int64_t>(file->source->size_bytes());
  whence &= ~AVSEEK_FORCE;
  if (whence == AVSEEK_SIZE) return size;
  int64_t base = 0;
  if (whence == SEEK_CUR) base = static_cast<int64_t>(file->position);
  if (whence == SEEK_END) base = size;
  int64_t target = 0;
  if (__builtin_add_overflow(base, offset, &target) || target < 0) return AVERROR(EINVAL);
  file->position = static_cast<uint64_t>(std::min(target, size));
  return target;
}

bool OpensOtherFiles(const AVInputFormat& format) {
  if ((format.flags & AVFMT_NOFILE) != 0) return true;
  for (const char* other : {"hls", "dash", "concat", "sdp", "rtsp", "rtp", "sap", "imf", "vobsub",
                            "webm_dash_manifest", "avisynth", "vapoursynth"}) {
    if (av_match_name(other, format.name) != 0) return true;
  }
  return false;
}

int RefuseToOpen(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) {
  return AVERROR(EPERM);
}

}  // namespace parley::av

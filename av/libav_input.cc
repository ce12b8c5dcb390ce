// SPDX-License-Identifier: Apache-2.0
#include "parley/av/libav_input.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <ctime>

namespace parley::av {
namespace {

constexpr int kBufferBytes = 1 << 16;

// Demuxers that open other files, which a file's text names. None of them is offered.
bool OpensOtherFiles(const AVInputFormat& format) {
  if ((format.flags & AVFMT_NOFILE) != 0) return true;
  for (const char* other : {"hls", "dash", "concat", "sdp", "rtsp", "rtp", "sap", "imf", "vobsub",
                            "webm_dash_manifest", "avisynth", "vapoursynth"}) {
    if (av_match_name(other, format.name) != 0) return true;
  }
  return false;
}

// What remains may name other files as well, as a QuickTime reference film does: never opened.
int RefuseToOpen(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) {
  return AVERROR(EPERM);
}

}  // namespace

int FileReader::Read(void* opaque, uint8_t* into, int size) {
  auto* file = static_cast<FileReader*>(opaque);
  if (size <= 0) return AVERROR_EOF;
  const std::size_t got = file->source_->ReadAt(
      // SAFETY: std::byte and uint8_t are both bytes.
      file->position_, {reinterpret_cast<std::byte*>(into), static_cast<std::size_t>(size)});
  if (got == 0) return AVERROR_EOF;
  file->position_ += got;
  return static_cast<int>(got);
}

int64_t FileReader::Seek(void* opaque, int64_t offset, int whence) {
  auto* file = static_cast<FileReader*>(opaque);
  const auto size = static_cast<int64_t>(file->source_->size_bytes());
  whence &= ~AVSEEK_FORCE;
  if (whence == AVSEEK_SIZE) return size;
  int64_t base = 0;
  if (whence == SEEK_CUR) base = static_cast<int64_t>(file->position_);
  if (whence == SEEK_END) base = size;
  int64_t target = 0;
  if (__builtin_add_overflow(base, offset, &target) || target < 0) return AVERROR(EINVAL);
  file->position_ = static_cast<uint64_t>(std::min(target, size));
  return target;
}

FileReader::Opened FileReader::Open(ByteSource& source) {
  source_ = &source;
  auto* buffer = static_cast<unsigned char*>(av_malloc(kBufferBytes));
  if (buffer == nullptr) return Opened::kNoMemory;
  io_.reset(avio_alloc_context(buffer, kBufferBytes, 0, this, Read, nullptr, Seek));
  if (io_ == nullptr) {
    av_freep(static_cast<void*>(&buffer));
    return Opened::kNoMemory;
  }
  error_ = av_probe_input_buffer2(io_.get(), &demuxer_, nullptr, nullptr, 0, 0);
  if (error_ >= 0 && demuxer_ == nullptr) error_ = AVERROR_INVALIDDATA;
  if (error_ < 0) return Opened::kUnknown;
  if (OpensOtherFiles(*demuxer_)) return Opened::kOtherFiles;
  AVFormatContext* format = avformat_alloc_context();
  if (format == nullptr) return Opened::kNoMemory;
  format->pb = io_.get();
  format->io_open = RefuseToOpen;
  // Takes or frees `format`.
  error_ = avformat_open_input(&format, nullptr, demuxer_, nullptr);
  if (error_ < 0) return Opened::kDamaged;
  format_.reset(format);
  return Opened::kOk;
}

void WarmUpLibav(void (*log)(void*, int, const char*, va_list)) {
  av_log_set_callback(log);
  // localtime and gmtime read the zone file on first use.
  ::tzset();
  void* state = nullptr;
  while (av_codec_iterate(&state) != nullptr) {
  }
  state = nullptr;
  while (av_demuxer_iterate(&state) != nullptr) {
  }
}

}  // namespace parley::av

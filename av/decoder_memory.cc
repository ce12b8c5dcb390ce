// SPDX-License-Identifier: Apache-2.0
#include "parley/av/decoder_memory.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "parley/media/pixel_format.h"
#include "parley/os/deadline.h"

namespace parley::av {
namespace {

// Where each plane of a picture, and each channel of planar sound, begins. What libav wants of rows
// is in avcodec_align_dimensions2.
constexpr std::size_t kPlaneAlignment = 64;
// What libav's own allocator leaves behind each plane, for code that reads ahead.
constexpr std::size_t kReadAhead = 16 + 64 - 1;

// What libav may have at once: more than any codec keeps.
constexpr std::size_t kMaxGiven = kMaxFrames / 2;

std::size_t RoundUp(std::size_t bytes, std::size_t alignment) {
  return (bytes + alignment - 1) & ~(alignment - 1);
}

struct Layout {
  std::array<int, 4> strides = {};
  std::array<std::size_t, 4> offsets = {};
  std::size_t plane_count = 0;
  std::size_t size_bytes = 0;
};

// The same strides as libav's own allocator chooses: there are codecs that want all pictures to
// have the same, wherever they lie.
bool LayOut(AVCodecContext& codec, const AVFrame& picture, Layout* layout) {
  const auto format = static_cast<AVPixelFormat>(picture.format);
  int width = picture.width;
  int height = picture.height;
  std::array<int, AV_NUM_DATA_POINTERS> alignment = {};
  avcodec_align_dimensions2(&codec, &width, &height, alignment.data());
  bool aligned = false;
  while (!aligned) {
    if (width <= 0 || av_image_fill_linesizes(layout->strides.data(), format, width) < 0) {
      return false;
    }
    width += width & ~(width - 1);
    aligned = true;
    for (std::size_t i = 0; i < 4; ++i) aligned = aligned && layout->strides[i] % alignment[i] == 0;
  }
  std::array<ptrdiff_t, 4> strides = {};
  std::copy(layout->strides.begin(), layout->strides.end(), strides.begin());
  std::array<std::size_t, 4> sizes = {};
  if (av_image_fill_plane_sizes(sizes.data(), format, height, strides.data()) < 0) return false;
  for (std::size_t i = 0; i < 4 && sizes[i] != 0; ++i) {
    layout->offsets[i] = layout->size_bytes;
    layout->size_bytes += RoundUp(sizes[i] + kReadAhead, kPlaneAlignment);
    ++layout->plane_count;
  }
  return layout->plane_count != 0;
}

}  // namespace

void DecoderMemory::UseFor(AVCodecContext& codec) {
  if (arena_ == nullptr || codec.codec == nullptr) return;
  if ((codec.codec->capabilities & AV_CODEC_CAP_DR1) == 0) return;
  codec.opaque = this;
  codec.get_buffer2 = GetBuffer;
}

const OutFrame* DecoderMemory::FrameOf(const AVFrame& decoded) const {
  if (decoded.buf[0] == nullptr || decoded.buf[1] != nullptr) return nullptr;
  const void* const opaque = av_buffer_get_opaque(decoded.buf[0]);
  for (const std::unique_ptr<Given>& given : given_) {
    if (given.get() == opaque) return &given->frame;
  }
  return nullptr;
}

int DecoderMemory::GetBuffer(AVCodecContext* codec, AVFrame* frame, int flags) {
  auto* const memory = static_cast<DecoderMemory*>(codec->opaque);
  const bool given = codec->codec_type == AVMEDIA_TYPE_AUDIO ? memory->GiveSound(*frame)
                                                             : memory->GivePicture(*codec, *frame);
  return given ? 0 : avcodec_default_get_buffer2(codec, frame, flags);
}

void DecoderMemory::Release(void* given, uint8_t*) {
  DecoderMemory* const memory = static_cast<Given*>(given)->memory;
  std::erase_if(memory->given_, [&](const auto& each) {
    if (each.get() != given) return false;
    memory->given_bytes_ -= memory->ExtentBytes(each->frame.read_only_bytes().size());
    return true;
  });
}

uint64_t DecoderMemory::ExtentBytes(std::size_t size_bytes) const {
  return RoundUp(size_bytes, arena_->arena().alignment);
}

// With k frames given, one of n bytes fits whatever lies between them if k + 1 times n are free
// (frames/arena_allocator.h), which they are once the receiver's are back.
bool DecoderMemory::HasRoomFor(std::size_t size_bytes) const {
  const uint64_t arena_bytes = arena_->arena().bytes;
  if (given_.size() >= kMaxGiven || size_bytes > arena_bytes) return false;
  return given_bytes_ + (given_.size() + 1) * ExtentBytes(size_bytes) <= arena_bytes;
}

OutFrame DecoderMemory::Acquire(std::size_t size_bytes) {
  OutFrame frame;
  if (arena_->TryAcquire(size_bytes, &frame) == Outcome::kOk) {
    if (arena_->free_bytes() >= arena_->arena().bytes / 2) waits_ = true;
    return frame;
  }
  while (waits_) {
    absl::StatusOr<OutFrame> waited = arena_->Acquire(size_bytes, Deadline::After(kMaxWait));
    if (waited.ok()) return *std::move(waited);
    // Where the receiver has gone the next message says so.
    if (!absl::IsDeadlineExceeded(waited.status())) break;
    waits_ = !sender_->AwaitDrained(Deadline::After(absl::ZeroDuration())).ok();
  }
  return frame;
}

AVBufferRef* DecoderMemory::Give(std::size_t size_bytes) {
  if (!HasRoomFor(size_bytes)) return nullptr;
  auto given = std::make_unique<Given>(Given{this, Acquire(size_bytes)});
  if (!given->frame) return nullptr;
  // SAFETY: std::byte and uint8_t are both bytes.
  auto* const bytes = reinterpret_cast<uint8_t*>(given->frame.bytes().data());
  // Where a damaged picture is not decoded it must not show what lay there before: which picture
  // that was depends on when the receiver returned it.
  std::memset(bytes, 0, size_bytes);
  AVBufferRef* const buffer =
      av_buffer_create(bytes, size_bytes, Release, given.get(), AV_BUFFER_FLAG_READONLY);
  if (buffer == nullptr) return nullptr;
  given_.push_back(std::move(given));
  given_bytes_ += ExtentBytes(size_bytes);
  return buffer;
}

bool DecoderMemory::GivePicture(AVCodecContext& codec, AVFrame& picture) {
  const char* const name = av_get_pix_fmt_name(static_cast<AVPixelFormat>(picture.format));
  const PixelFormatInfo* const info = name == nullptr ? nullptr : PixelFormatFromLibav(name);
  if (info == nullptr || !acceptance_.Accepts(info->format)) return false;
  Layout layout;
  if (!LayOut(codec, picture, &layout)) return false;
  picture.buf[0] = Give(layout.size_bytes);
  if (picture.buf[0] == nullptr) return false;
  for (std::size_t i = 0; i < layout.plane_count; ++i) {
    picture.data[i] = picture.buf[0]->data + layout.offsets[i];
    picture.linesize[i] = layout.strides[i];
  }
  picture.extended_data = picture.data;
  return true;
}

// As libav's own allocator, which pads each channel to 32 samples, but for one buffer for all
// channels, as far apart as the receiver wants them.
bool DecoderMemory::GiveSound(AVFrame& sound) {
  const auto format = static_cast<AVSampleFormat>(sound.format);
  const int channels = sound.ch_layout.nb_channels;
  int row_bytes = 0;
  if (av_samples_get_buffer_size(&row_bytes, channels, sound.nb_samples, format, 0) <= 0) {
    return false;
  }
  const std::size_t planes =
      av_sample_fmt_is_planar(format) != 0 ? static_cast<std::size_t>(channels) : 1;
  const FrameAlignment& asked = acceptance_.alignment;
  const std::size_t stride = RoundUp(
      static_cast<std::size_t>(row_bytes),
      std::max({kPlaneAlignment, std::size_t{asked.plane_bytes}, std::size_t{asked.row_bytes}}));
  uint8_t** rows = sound.data;
  if (planes > AV_NUM_DATA_POINTERS) {
    rows = static_cast<uint8_t**>(av_calloc(planes, sizeof(*rows)));
    if (rows == nullptr) return false;
  }
  sound.buf[0] = Give(planes * stride);
  if (sound.buf[0] == nullptr) {
    if (rows != sound.data) av_free(rows);
    return false;
  }
  for (std::size_t i = 0; i < planes; ++i) {
    rows[i] = sound.buf[0]->data + i * stride;
    if (i < AV_NUM_DATA_POINTERS) sound.data[i] = rows[i];
  }
  sound.extended_data = rows;
  sound.linesize[0] = row_bytes;
  return true;
}

}  // namespace parley::av

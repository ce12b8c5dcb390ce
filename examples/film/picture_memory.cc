// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/picture_memory.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "parley/media/pixel_format.h"
#include "parley/os/deadline.h"

namespace parley::film {
namespace {

// Where each plane begins. What libav wants of rows is in avcodec_align_dimensions2.
constexpr std::size_t kPlaneAlignment = 64;
// What libav's own allocator leaves behind each plane, for code that reads ahead.
constexpr std::size_t kReadAhead = 16 + 64 - 1;

std::size_t Aligned(std::size_t bytes) {
  return (bytes + kPlaneAlignment - 1) & ~(kPlaneAlignment - 1);
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
    layout->size_bytes += Aligned(sizes[i] + kReadAhead);
    ++layout->plane_count;
  }
  return layout->plane_count != 0;
}

}  // namespace

void PictureMemory::UseFor(AVCodecContext& codec) {
  if (arena_ == nullptr || codec.codec == nullptr) return;
  if ((codec.codec->capabilities & AV_CODEC_CAP_DR1) == 0) return;
  codec.opaque = this;
  codec.get_buffer2 = GetBuffer;
}

const OutFrame* PictureMemory::FrameOf(const AVFrame& picture) const {
  if (picture.buf[0] == nullptr || picture.buf[1] != nullptr) return nullptr;
  const void* const opaque = av_buffer_get_opaque(picture.buf[0]);
  for (const std::unique_ptr<Given>& given : given_) {
    if (given.get() == opaque) return &given->frame;
  }
  return nullptr;
}

int PictureMemory::GetBuffer(AVCodecContext* codec, AVFrame* picture, int flags) {
  auto* const memory = static_cast<PictureMemory*>(codec->opaque);
  if (memory->Give(*codec, *picture)) return 0;
  return avcodec_default_get_buffer2(codec, picture, flags);
}

void PictureMemory::Release(void* given, uint8_t*) {
  PictureMemory* const memory = static_cast<Given*>(given)->memory;
  std::erase_if(memory->given_, [given](const auto& each) { return each.get() == given; });
}

// With k frames kept of at most n bytes each, one more fits whatever lies between them if k + 1
// times n are free (frames/arena_allocator.h), which they are once the receiver's are back. The
// same holds for the next one, with this one kept as well.
bool PictureMemory::HasRoomFor(std::size_t size_bytes) {
  const uint64_t longest_bytes = std::max(longest_bytes_, size_bytes);
  const uint64_t kept = given_.size();
  return longest_bytes <= arena_->arena().bytes / (2 * kept + 1);
}

bool PictureMemory::Give(AVCodecContext& codec, AVFrame& picture) {
  const char* const name = av_get_pix_fmt_name(static_cast<AVPixelFormat>(picture.format));
  const PixelFormatInfo* const info = name == nullptr ? nullptr : PixelFormatFromLibav(name);
  if (info == nullptr || !acceptance_.Accepts(info->format)) return false;
  Layout layout;
  if (!LayOut(codec, picture, &layout) || !HasRoomFor(layout.size_bytes)) return false;
  absl::StatusOr<OutFrame> frame = arena_->Acquire(layout.size_bytes, Deadline::Never());
  if (!frame.ok()) return false;  // the receiver has gone, and the next message says so
  auto given = std::make_unique<Given>(Given{this, *std::move(frame)});
  // SAFETY: std::byte and uint8_t are both bytes.
  auto* const bytes = reinterpret_cast<uint8_t*>(given->frame.bytes().data());
  // Where a damaged picture is not decoded it must not show what lay there before: which picture
  // that was depends on when the receiver returned it.
  std::memset(bytes, 0, layout.size_bytes);
  AVBufferRef* const buffer =
      av_buffer_create(bytes, layout.size_bytes, Release, given.get(), AV_BUFFER_FLAG_READONLY);
  if (buffer == nullptr) return false;
  given_.push_back(std::move(given));
  longest_bytes_ = std::max(longest_bytes_, layout.size_bytes);
  picture.buf[0] = buffer;
  for (std::size_t i = 0; i < layout.plane_count; ++i) {
    picture.data[i] = bytes + layout.offsets[i];
    picture.linesize[i] = layout.strides[i];
  }
  picture.extended_data = picture.data;
  return true;
}

}  // namespace parley::film

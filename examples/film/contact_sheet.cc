// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/contact_sheet.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "parley/cli/output_file.h"
#include "parley/examples/film/libav.h"

namespace parley::film {
namespace {

constexpr size_t kShots = 12;
constexpr size_t kKept = 4 * kShots;  // the more are kept, the more evenly twelve can be chosen
constexpr uint32_t kColumns = 4;
constexpr uint32_t kThumbnail = 320;  // the longer side
constexpr uint32_t kMargin = 14;
constexpr uint32_t kLabelScale = 2;
constexpr uint32_t kLabelSpace = kLabelHeight * kLabelScale + 8;
constexpr Rgb kPaper = {24, 24, 28};
constexpr Rgb kInk = {222, 222, 214};

std::string Clock(int64_t ns) {
  const int64_t tenths = (std::max(int64_t{0}, ns) + 50000000) / 100000000;
  const int64_t seconds = tenths / 10;
  if (seconds >= 3600) {
    return absl::StrFormat("%d:%02d:%02d", seconds / 3600, seconds / 60 % 60, seconds % 60);
  }
  return absl::StrFormat("%d:%02d.%d", seconds / 60, seconds % 60, tenths % 10);
}

absl::Status WritePng(const RgbImage& image, const std::string& path) {
  const absl::Status no_memory = absl::ResourceExhaustedError("no memory for the contact sheet");
  const AVCodec* codec = avcodec_find_encoder(AV_CODEC_ID_PNG);
  if (codec == nullptr) return absl::UnimplementedError("libavcodec was built without PNG");
  AvCodecContext context(avcodec_alloc_context3(codec));
  AvFrame frame(av_frame_alloc());
  AvPacket packet(av_packet_alloc());
  if (context == nullptr || frame == nullptr || packet == nullptr) return no_memory;
  context->width = frame->width = static_cast<int>(image.width());
  context->height = frame->height = static_cast<int>(image.height());
  context->pix_fmt = AV_PIX_FMT_RGB24;
  frame->format = AV_PIX_FMT_RGB24;
  context->time_base = {1, 1};
  context->thread_count = 1;
  if (avcodec_open2(context.get(), codec, nullptr) < 0 || av_frame_get_buffer(frame.get(), 0) < 0) {
    return no_memory;
  }
  const size_t row_bytes = size_t{image.width()} * 3;
  for (uint32_t y = 0; y < image.height(); ++y) {
    std::memcpy(frame->data[0] + static_cast<ptrdiff_t>(y) * frame->linesize[0],
                image.bytes().data() + y * row_bytes, row_bytes);
  }
  if (avcodec_send_frame(context.get(), frame.get()) < 0 ||
      avcodec_send_frame(context.get(), nullptr) < 0 ||
      avcodec_receive_packet(context.get(), packet.get()) < 0) {
    return absl::InternalError("the contact sheet cannot be encoded");
  }
  absl::StatusOr<cli::OutputFile> file = cli::OutputFile::Create(path);
  if (!file.ok()) return file.status();
  const absl::Status written = file->Write(
      // SAFETY: std::byte and uint8_t are both bytes.
      {reinterpret_cast<const std::byte*>(packet->data), static_cast<size_t>(packet->size)});
  return written.ok() ? file->Publish() : written;
}

}  // namespace

void ContactSheet::Add(const Picture& picture) {
  if (!shots_.empty() && picture.pts_ns < next_ns_) return;
  if (shots_.size() == kKept) {
    for (size_t i = 1; i < kKept / 2; ++i) shots_[i] = std::move(shots_[2 * i]);
    shots_.resize(kKept / 2);
    interval_ns_ *= 2;
    next_ns_ = shots_.back().pts_ns + interval_ns_;
    if (picture.pts_ns < next_ns_) return;
  }
  shots_.push_back({picture.pts_ns, Thumbnail(picture, kThumbnail, kThumbnail)});
  next_ns_ = picture.pts_ns + interval_ns_;
}

absl::Status ContactSheet::Write(const std::string& path) const {
  const size_t count = std::min(shots_.size(), kShots);
  if (count == 0) return absl::FailedPreconditionError("no pictures for a contact sheet");
  std::vector<const Shot*> chosen;
  for (size_t i = 0; i < count; ++i) {
    // The first, the last, and what lies evenly between.
    const size_t at = count == 1 ? 0 : i * (shots_.size() - 1) / (count - 1);
    chosen.push_back(&shots_[at]);
  }
  uint32_t cell_width = 0;
  uint32_t cell_height = 0;
  for (const Shot* shot : chosen) {
    cell_width = std::max(cell_width, shot->image.width());
    cell_height = std::max(cell_height, shot->image.height());
  }
  const uint32_t columns = std::min(kColumns, static_cast<uint32_t>(count));
  const uint32_t rows = (static_cast<uint32_t>(count) + columns - 1) / columns;
  RgbImage sheet(kMargin + columns * (cell_width + kMargin),
                 kMargin + rows * (cell_height + kLabelSpace + kMargin), kPaper);
  for (uint32_t i = 0; i < count; ++i) {
    const Shot& shot = *chosen[i];
    const uint32_t x = kMargin + i % columns * (cell_width + kMargin);
    const uint32_t y = kMargin + i / columns * (cell_height + kLabelSpace + kMargin);
    sheet.Put(shot.image, x + (cell_width - shot.image.width()) / 2,
              y + (cell_height - shot.image.height()) / 2);
    sheet.Label(Clock(shot.pts_ns), x, y + cell_height + 6, kLabelScale, kInk);
  }
  return WritePng(sheet, path);
}

}  // namespace parley::film

// SPDX-License-Identifier: Apache-2.0
#include "parley/examples/film/second_look.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "parley/boundary/wire_copy.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/examples/film/libav.h"

namespace parley::film {
namespace {

// Damaged films can make a demuxer fail again and again without coming to the end.
constexpr int kMaxErrors = 1000;

struct Cursor {
  FilmSource* film = nullptr;
  int64_t at = 0;
};

int ReadSome(void* opaque, uint8_t* into, int size) {
  auto* cursor = static_cast<Cursor*>(opaque);
  const size_t got = cursor->film->ReadAt(
      static_cast<uint64_t>(cursor->at),
      // SAFETY: std::byte and uint8_t are both bytes.
      {reinterpret_cast<std::byte*>(into), static_cast<size_t>(std::max(size, 0))});
  cursor->at += static_cast<int64_t>(got);
  return got == 0 ? AVERROR_EOF : static_cast<int>(got);
}

int64_t SeekTo(void* opaque, int64_t offset, int whence) {
  auto* cursor = static_cast<Cursor*>(opaque);
  const auto size = static_cast<int64_t>(cursor->film->size_bytes());
  switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE:
      return size;
    case SEEK_CUR:
      if (__builtin_add_overflow(offset, cursor->at, &offset)) return AVERROR(EINVAL);
      break;
    case SEEK_END:
      if (__builtin_add_overflow(offset, size, &offset)) return AVERROR(EINVAL);
      break;
    default:
      break;
  }
  if (offset < 0) return AVERROR(EINVAL);
  cursor->at = std::min(offset, size);
  return cursor->at;
}

int NoOtherFile(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) {
  return AVERROR(EPERM);
}

template <size_t kSize>
void CopyName(const char* name, std::array<uint8_t, kSize>& out) {
  if (name != nullptr) std::memcpy(out.data(), name, std::min(std::strlen(name), kSize - 1));
}

class Looker {
 public:
  Looker(FilmSource& film, const std::function<bool(std::string_view)>& accepted, MessageOut& out)
      : cursor_{.film = &film, .at = 0}, accepted_(accepted), out_(out), sha_(av_sha_alloc()) {}
  ~Looker() {
    codecs_[0].reset();
    codecs_[1].reset();
    demuxer_.reset();
    if (io_ != nullptr) av_freep(static_cast<void*>(&io_->buffer));
    avio_context_free(&io_);
    av_free(sha_);
  }
  Looker(const Looker&) = delete;
  Looker& operator=(const Looker&) = delete;

  absl::Status Run();

 private:
  // Empty: everything is open. Otherwise why not.
  std::string Open();
  absl::Status Feed(size_t track, const AVPacket* packet);
  absl::Status SayPicture();
  absl::Status SayAudio();
  void FillGrid(CheckPictureWire& wire);
  double SecondsOf(size_t track);
  absl::Status SendFailed(const std::string& why);

  Cursor cursor_;
  const std::function<bool(std::string_view)>& accepted_;
  MessageOut& out_;
  AVSHA* sha_;
  AVIOContext* io_ = nullptr;
  AvFormatContext demuxer_;
  // Pictures and sound.
  std::array<AvCodecContext, 2> codecs_;
  std::array<int, 2> index_ = {-1, -1};
  std::array<double, 2> next_seconds_ = {0, 0};
  AvFrame frame_;
  AvPacket packet_;
  EndWire end_ = {};
  std::vector<uint8_t> copy_;
};

absl::Status Looker::SendFailed(const std::string& why) {
  FailedWire wire = {};
  std::copy_n(why.begin(), std::min(why.size(), wire.reason.size()), wire.reason.begin());
  return out_.Send(kTagFailed, WireBytes(wire));
}

std::string Looker::Open() {
  constexpr int kBufferBytes = 1 << 15;
  auto* buffer = static_cast<unsigned char*>(av_malloc(kBufferBytes));
  if (buffer == nullptr || sha_ == nullptr) return "no memory";
  io_ = avio_alloc_context(buffer, kBufferBytes, 0, &cursor_, ReadSome, nullptr, SeekTo);
  AVFormatContext* demuxer = avformat_alloc_context();
  frame_.reset(av_frame_alloc());
  packet_.reset(av_packet_alloc());
  if (io_ == nullptr || demuxer == nullptr || frame_ == nullptr || packet_ == nullptr) {
    avformat_free_context(demuxer);
    return "no memory";
  }
  demuxer->pb = io_;
  demuxer->io_open = NoOtherFile;
  if (avformat_open_input(&demuxer, nullptr, nullptr, nullptr) < 0) return "this cannot be read";
  demuxer_.reset(demuxer);
  if (avformat_find_stream_info(demuxer, nullptr) < 0) return "its streams cannot be read";
  for (const size_t track : {size_t{0}, size_t{1}}) {
    const AVCodec* codec = nullptr;
    const int index = av_find_best_stream(
        demuxer, track == 0 ? AVMEDIA_TYPE_VIDEO : AVMEDIA_TYPE_AUDIO, -1, -1, &codec, 0);
    if (index < 0 || codec == nullptr) continue;
    AVStream* stream = demuxer->streams[index];
    if ((stream->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0) continue;
    AvCodecContext context(avcodec_alloc_context3(codec));
    if (context == nullptr) return "no memory";
    context->thread_count = 1;
    if (avcodec_parameters_to_context(context.get(), stream->codecpar) < 0) return "no decoder";
    context->pkt_timebase = stream->time_base;
    if (avcodec_open2(context.get(), codec, nullptr) < 0) return "no decoder";
    codecs_[track] = std::move(context);
    index_[track] = index;
  }
  return "";
}

double Looker::SecondsOf(size_t track) {
  const AVStream* stream = demuxer_->streams[index_[track]];
  const double start = demuxer_->start_time == AV_NOPTS_VALUE
                           ? 0
                           : static_cast<double>(demuxer_->start_time) / AV_TIME_BASE;
  return frame_->best_effort_timestamp == AV_NOPTS_VALUE
             ? next_seconds_[track]
             : static_cast<double>(frame_->best_effort_timestamp) * av_q2d(stream->time_base) -
                   start;
}

void Looker::FillGrid(CheckPictureWire& wire) {
  const auto format = static_cast<AVPixelFormat>(frame_->format);
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(format);
  const bool palette = (descriptor->flags & AV_PIX_FMT_FLAG_PAL) != 0;
  const bool rgb = (descriptor->flags & AV_PIX_FMT_FLAG_RGB) != 0 || palette;
  const bool unusual = (descriptor->flags & (AV_PIX_FMT_FLAG_BAYER | AV_PIX_FMT_FLAG_FLOAT)) != 0 ||
                       std::strncmp(descriptor->name, "xyz", 3) == 0 ||
                       std::strcmp(descriptor->name, "rgb8") == 0 ||
                       std::strcmp(descriptor->name, "bgr8") == 0;
  if (unusual) return;
  wire.has_grid = 1;
  const int components = palette ? 3 : std::min<int>(descriptor->nb_components, 3);
  const bool gray = !rgb && components < 3;
  wire.grid_kind = rgb ? kGridRgb : gray ? kGridGray : kGridYuv;
  std::vector<double> sums(kGridBytes);
  std::vector<double> counts(kGridBytes);
  std::vector<uint16_t> line(static_cast<size_t>(frame_->width));
  const bool inverted = format == AV_PIX_FMT_MONOWHITE;
  for (int c = 0; c < (gray ? 1 : components); ++c) {
    const int depth = palette ? 8 : descriptor->comp[c].depth;
    const double full = static_cast<double>((1 << depth) - 1);
    const bool chroma = !rgb && c > 0;
    const int sx = chroma ? descriptor->log2_chroma_w : 0;
    const int sy = chroma ? descriptor->log2_chroma_h : 0;
    const int width = AV_CEIL_RSHIFT(frame_->width, sx);
    for (int y = 0; y < frame_->height; ++y) {
      const uint8_t* data[4] = {frame_->data[0], frame_->data[1], frame_->data[2], frame_->data[3]};
      const int strides[4] = {frame_->linesize[0], frame_->linesize[1], frame_->linesize[2],
                              frame_->linesize[3]};
      av_read_image_line2(line.data(), data, strides, descriptor, 0, y >> sy, palette ? 0 : c,
                          width, 0, sizeof(uint16_t));
      // The entries are B, G, R, A in memory.
      for (int x = 0; palette && x < width; ++x) {
        uint16_t& value = line[static_cast<size_t>(x)];
        value = frame_->data[1][4 * value + static_cast<size_t>(2 - c)];
      }
      const size_t row = static_cast<size_t>(y) * kGridSide / static_cast<size_t>(frame_->height);
      for (int x = 0; x < frame_->width; ++x) {
        const size_t column =
            static_cast<size_t>(x) * kGridSide / static_cast<size_t>(frame_->width);
        const size_t cell = (row * kGridSide + column) * 3 + static_cast<size_t>(c);
        const double value = line[static_cast<size_t>(x >> sx)] / full;
        sums[cell] += inverted ? 1 - value : value;
        counts[cell] += 1;
      }
    }
  }
  for (size_t i = 0; i < kGridBytes; ++i) {
    const double mean = counts[i] > 0 ? sums[i] / counts[i] : 0;
    wire.grid[i] = static_cast<uint8_t>(std::clamp(mean, 0.0, 1.0) * 255 + 0.5);
  }
}

absl::Status Looker::SayPicture() {
  CheckPictureWire wire = {};
  AVStream* stream = demuxer_->streams[index_[0]];
  wire.seconds = SecondsOf(0);
  double lasts =
      static_cast<double>(std::max<int64_t>(frame_->pkt_duration, 0)) * av_q2d(stream->time_base);
  const AVRational rate = av_guess_frame_rate(demuxer_.get(), stream, nullptr);
  if (lasts <= 0 && rate.num > 0) lasts = 1 / av_q2d(rate);
  next_seconds_[0] = wire.seconds + lasts;
  wire.width = static_cast<uint32_t>(frame_->width);
  wire.height = static_cast<uint32_t>(frame_->height);
  const AVRational aspect = av_guess_sample_aspect_ratio(demuxer_.get(), stream, frame_.get());
  if (aspect.num > 0 && aspect.den > 0) {
    wire.aspect_numerator = static_cast<uint32_t>(aspect.num);
    wire.aspect_denominator = static_cast<uint32_t>(aspect.den);
  }
  const AVFrameSideData* own = av_frame_get_side_data(frame_.get(), AV_FRAME_DATA_DISPLAYMATRIX);
  size_t size = 0;
  const uint8_t* matrix = own != nullptr
                              ? own->data
                              : av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  if (matrix != nullptr) {
    int32_t m[9];
    std::memcpy(m, matrix, sizeof(m));
    wire.mirrored = static_cast<double>(m[0]) * m[4] - static_cast<double>(m[1]) * m[3] < 0;
    if (wire.mirrored != 0) av_display_matrix_flip(m, 1, 0);
    const double degrees = av_display_rotation_get(m);
    if (!std::isnan(degrees)) {
      wire.rotation_degrees = static_cast<int32_t>(std::lround(degrees) + 360) % 360;
    }
  }
  const char* name = av_get_pix_fmt_name(static_cast<AVPixelFormat>(frame_->format));
  const bool old_full_range = name != nullptr && std::strncmp(name, "yuvj", 4) == 0;
  const int range = av::NumberOf(frame_->color_range);
  wire.full_range = range == AVCOL_RANGE_JPEG || old_full_range ? 1
                    : range == AVCOL_RANGE_MPEG                 ? 0
                                                                : 2;
  wire.primaries = static_cast<uint8_t>(av::NumberOf(frame_->color_primaries));
  wire.transfer = static_cast<uint8_t>(av::NumberOf(frame_->color_trc));
  wire.matrix = static_cast<uint8_t>(av::NumberOf(frame_->colorspace));
  wire.chroma_place = static_cast<uint8_t>(av::NumberOf(frame_->chroma_location));
  wire.interlaced = frame_->interlaced_frame != 0 ? 1 : 0;
  wire.top_first = wire.interlaced != 0 && frame_->top_field_first != 0 ? 1 : 0;
  wire.key = frame_->key_frame != 0 ? 1 : 0;
  std::string plain = name == nullptr ? "none" : name;
  if (old_full_range) plain.erase(3, 1);
  CopyName(plain.c_str(), wire.pixel_format);
  if (accepted_(plain)) {
    const auto format = static_cast<AVPixelFormat>(frame_->format);
    const int bytes = av_image_get_buffer_size(format, frame_->width, frame_->height, 1);
    if (bytes < 0) return absl::InternalError("a picture without a size");
    copy_.resize(static_cast<size_t>(bytes));
    if (av_image_copy_to_buffer(copy_.data(), bytes, frame_->data, frame_->linesize, format,
                                frame_->width, frame_->height, 1) < 0) {
      return absl::InternalError("a picture that cannot be copied");
    }
    av_sha_init(sha_, 256);
    av_sha_update(sha_, copy_.data(), copy_.size());
    av_sha_final(sha_, wire.digest.data());
  } else {
    FillGrid(wire);
  }
  ++end_.pictures;
  return out_.Send(kTagCheckPicture, WireBytes(wire));
}

absl::Status Looker::SayAudio() {
  CheckAudioWire wire = {};
  wire.seconds = SecondsOf(1);
  next_seconds_[1] = wire.seconds + static_cast<double>(frame_->nb_samples) / frame_->sample_rate;
  wire.frames = static_cast<uint32_t>(frame_->nb_samples);
  wire.rate_hz = static_cast<uint32_t>(frame_->sample_rate);
  wire.channels = static_cast<uint32_t>(frame_->ch_layout.nb_channels);
  if (frame_->ch_layout.order == AV_CHANNEL_ORDER_NATIVE) wire.mask = frame_->ch_layout.u.mask;
  const auto format = static_cast<AVSampleFormat>(frame_->format);
  CopyName(av_get_sample_fmt_name(format), wire.sample_format);
  const bool planar = av_sample_fmt_is_planar(format) != 0;
  const int planes = planar ? frame_->ch_layout.nb_channels : 1;
  const size_t bytes = static_cast<size_t>(av_get_bytes_per_sample(format)) *
                       static_cast<size_t>(frame_->nb_samples) *
                       static_cast<size_t>(planar ? 1 : frame_->ch_layout.nb_channels);
  av_sha_init(sha_, 256);
  for (int i = 0; i < planes; ++i) av_sha_update(sha_, frame_->extended_data[i], bytes);
  av_sha_final(sha_, wire.digest.data());
  ++end_.audio_blocks;
  end_.audio_frames += wire.frames;
  return out_.Send(kTagCheckAudio, WireBytes(wire));
}

absl::Status Looker::Feed(size_t track, const AVPacket* packet) {
  const int sent = avcodec_send_packet(codecs_[track].get(), packet);
  if (sent == AVERROR(ENOMEM)) return absl::ResourceExhaustedError("no memory");
  if (sent < 0 && sent != AVERROR_EOF) {
    ++end_.bad_packets;
    return absl::OkStatus();
  }
  int got = 0;
  while ((got = avcodec_receive_frame(codecs_[track].get(), frame_.get())) >= 0) {
    const absl::Status said = track == 0 ? SayPicture() : SayAudio();
    av_frame_unref(frame_.get());
    if (!said.ok()) return said;
  }
  if (got == AVERROR(ENOMEM)) return absl::ResourceExhaustedError("no memory");
  return absl::OkStatus();
}

absl::Status Looker::Run() {
  if (const std::string why = Open(); !why.empty()) return SendFailed(why);
  for (int errors = 0; errors < kMaxErrors;) {
    const int got = av_read_frame(demuxer_.get(), packet_.get());
    if (got == AVERROR_EOF) break;
    if (got < 0) {
      ++errors;
      continue;
    }
    absl::Status fed;
    for (const size_t track : {size_t{0}, size_t{1}}) {
      if (packet_->stream_index != index_[track]) continue;
      // As the first look: the last packet of a film that was cut off is no picture.
      const bool cut = (packet_->flags & AV_PKT_FLAG_CORRUPT) != 0 && avio_feof(io_) != 0;
      if (!cut) fed = Feed(track, packet_.get());
    }
    av_packet_unref(packet_.get());
    if (!fed.ok()) return fed;
  }
  for (const size_t track : {size_t{0}, size_t{1}}) {
    if (codecs_[track] == nullptr) continue;
    const absl::Status flushed = Feed(track, nullptr);
    if (!flushed.ok()) return flushed;
  }
  return out_.Send(kTagEnd, WireBytes(end_));
}

}  // namespace

absl::Status SecondLook(FilmSource& film, const std::function<bool(std::string_view)>& accepted,
                        MessageOut& out) {
  return Looker(film, accepted, out).Run();
}

}  // namespace parley::film

// SPDX-License-Identifier: Apache-2.0
#include "parley/av/decoder.h"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "parley/av/decoder_memory.h"
#include "parley/av/libav.h"
#include "parley/av/libav_input.h"
#include "parley/av/picture_converter.h"
#include "parley/av/sound_description.h"
#include "parley/av/video_format.h"
#include "parley/media/frame.h"

namespace parley::av {
namespace {

constexpr AVRational kNanoseconds = {1, 1000000000};
// Damaged films can make a demuxer fail again and again without coming to the end.
constexpr int kMaxReadErrors = 1000;

absl::Status AvStatus(int error, const std::string& what) {
  char reason[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(error, reason, sizeof(reason));
  const std::string text = absl::StrCat(what, ": ", reason);
  if (error == AVERROR(ENOMEM)) return absl::ResourceExhaustedError(text);
  return absl::InvalidArgumentError(text);
}

void Silent(void*, int, const char*, va_list) {}

int64_t ToNs(int64_t timestamp, AVRational time_base) {
  const int64_t ns = av_rescale_q(timestamp, time_base, kNanoseconds);
  return std::clamp(ns, -kMaxTimestampNs, kMaxTimestampNs);
}

// Both at most kMaxTimestampNs in magnitude.
int64_t Minus(int64_t a, int64_t b) { return std::clamp(a - b, -kMaxTimestampNs, kMaxTimestampNs); }

Ratio ToRatio(AVRational ratio) {
  if (ratio.num <= 0 || ratio.den <= 0) return {0, 1};
  return {static_cast<uint32_t>(ratio.num), static_cast<uint32_t>(ratio.den)};
}

struct Track {
  int index = -1;
  AVStream* stream = nullptr;
  AvCodecContext codec;
  int64_t next_pts_ns = 0;
};

class LibavDecoder final : public FilmDecoder {
 public:
  LibavDecoder(const Acceptance& acceptance, const DecoderArena& arena)
      : memory_(acceptance, arena), converter_(acceptance) {}
  absl::Status Open(ByteSource& film);
  const FilmInfo& info() const override { return info_; }
  absl::StatusOr<DecodeTotals> Run(MediaSink& sink) override;

 private:
  absl::Status OpenTrack(AVMediaType type, Track& track);
  // Hands `packet` (null: flush) to the codec and what comes out to the sink.
  absl::Status Decode(Track& track, const AVPacket* packet, MediaSink& sink);
  absl::Status Deliver(Track& track, MediaSink& sink);
  absl::Status DeliverPicture(Track& track, MediaSink& sink);
  absl::Status DeliverAudio(Track& track, MediaSink& sink);
  int64_t PtsOf(const Track& track) const;
  void NotePacket(const AVPacket& packet);
  bool EndsEarly() const;

  FileReader reader_;
  DecoderMemory memory_;  // outlives the codecs
  Track video_;
  Track audio_;
  AvPacket packet_;
  AvFrame frame_;
  PictureConverter converter_;
  std::vector<const std::byte*> channels_;
  // When the film begins, on the clock of its container: what all times are relative to.
  int64_t start_ns_ = 0;
  // Where the last packet of any stream ends, from the start: subtitles and tracks that nobody
  // decodes included, since the container's duration includes them.
  int64_t packets_end_ns_ = 0;
  DisplayMatrix stream_matrix_ = {};
  // Of the first picture: single ones that differ say so themselves.
  FieldOrder field_order_ = FieldOrder::kUnspecified;
  FilmInfo info_;
  DecodeTotals totals_;
};

absl::Status LibavDecoder::Open(ByteSource& film) {
  if (film.size_bytes() == 0) return absl::InvalidArgumentError("the file is empty");
  switch (reader_.Open(film)) {
    case FileReader::Opened::kOk:
      break;
    case FileReader::Opened::kNoMemory:
      return absl::ResourceExhaustedError("no memory");
    case FileReader::Opened::kOtherFiles:
      return absl::InvalidArgumentError(
          absl::StrCat("this is not a film but a list of other files (", reader_.demuxer(),
                       "), and none of them is opened"));
    case FileReader::Opened::kUnknown:
    case FileReader::Opened::kDamaged:
      return AvStatus(reader_.error(), "this is not a film that can be read");
  }
  packet_.reset(av_packet_alloc());
  frame_.reset(av_frame_alloc());
  if (packet_ == nullptr || frame_ == nullptr) return absl::ResourceExhaustedError("no memory");
  AVFormatContext* const format = reader_.format();
  const int error = avformat_find_stream_info(format, nullptr);
  if (error < 0) return AvStatus(error, "the film's streams cannot be read");
  if (format->start_time != AV_NOPTS_VALUE) start_ns_ = ToNs(format->start_time, AV_TIME_BASE_Q);

  const absl::Status video = OpenTrack(AVMEDIA_TYPE_VIDEO, video_);
  if (!video.ok()) return video;
  const absl::Status audio = OpenTrack(AVMEDIA_TYPE_AUDIO, audio_);
  if (!audio.ok()) return audio;
  if (video_.codec == nullptr && audio_.codec == nullptr) {
    return absl::InvalidArgumentError("there is neither video nor audio in it");
  }
  if (video_.stream != nullptr) {
    size_t size = 0;
    const uint8_t* matrix =
        av_stream_get_side_data(video_.stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
    if (matrix != nullptr && size >= sizeof(DisplayMatrix)) {
      // SAFETY: nine aligned int32_t, by libavutil/display.h.
      stream_matrix_ = ToDisplayMatrix(reinterpret_cast<const int32_t*>(matrix));
    }
  }
  info_.container = format->iformat->name;
  if (video_.codec != nullptr) info_.video_codec = video_.codec->codec->name;
  if (audio_.codec != nullptr) info_.audio_codec = audio_.codec->codec->name;
  if (format->duration > 0) info_.duration_ns = ToNs(format->duration, AV_TIME_BASE_Q);
  return absl::OkStatus();
}

absl::Status LibavDecoder::OpenTrack(AVMediaType type, Track& track) {
  const AVCodec* codec = nullptr;
  const int index = av_find_best_stream(reader_.format(), type, -1, -1, &codec, 0);
  if (index < 0 || codec == nullptr) return absl::OkStatus();
  AVStream* stream = reader_.format()->streams[index];
  // A cover picture is not a film.
  if ((stream->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0) return absl::OkStatus();
  AvCodecContext context(avcodec_alloc_context3(codec));
  if (context == nullptr) return absl::ResourceExhaustedError("no memory for a decoder");
  int error = avcodec_parameters_to_context(context.get(), stream->codecpar);
  if (error < 0) return AvStatus(error, absl::StrCat("the parameters of ", codec->name));
  context->thread_count = 1;
  context->pkt_timebase = stream->time_base;
  memory_.UseFor(*context);
  error = avcodec_open2(context.get(), codec, nullptr);
  if (error < 0) return AvStatus(error, absl::StrCat("the decoder ", codec->name));
  track = {.index = index, .stream = stream, .codec = std::move(context), .next_pts_ns = 0};
  return absl::OkStatus();
}

int64_t LibavDecoder::PtsOf(const Track& track) const {
  const int64_t pts = frame_->best_effort_timestamp;
  return pts == AV_NOPTS_VALUE ? track.next_pts_ns
                               : Minus(ToNs(pts, track.stream->time_base), start_ns_);
}

void LibavDecoder::NotePacket(const AVPacket& packet) {
  const int64_t at = packet.pts != AV_NOPTS_VALUE ? packet.pts : packet.dts;
  if (at == AV_NOPTS_VALUE) return;
  const AVRational time_base =
      reader_.format()->streams[static_cast<unsigned>(packet.stream_index)]->time_base;
  const int64_t duration_ns = ToNs(std::max(int64_t{0}, packet.duration), time_base);
  const int64_t begin_ns = Minus(ToNs(at, time_base), start_ns_);
  packets_end_ns_ = std::max(packets_end_ns_, begin_ns + duration_ns);
}

absl::Status LibavDecoder::DeliverPicture(Track& track, MediaSink& sink) {
  Picture picture;
  const absl::Status converted = converter_.Convert(*frame_, picture);
  if (!converted.ok()) return converted;
  if (!picture.converted) picture.frame = memory_.FrameOf(*frame_);
  const AVRational rate = av_guess_frame_rate(reader_.format(), track.stream, nullptr);
  picture.format.frame_rate = ToRatio(rate);
  picture.format.pixel_aspect =
      ToRatio(av_guess_sample_aspect_ratio(reader_.format(), track.stream, frame_.get()));
  if (picture.format.display_matrix == DisplayMatrix{}) {
    picture.format.display_matrix = stream_matrix_;
  }
  if (field_order_ == FieldOrder::kUnspecified) {
    field_order_ = !picture.interlaced ? FieldOrder::kProgressive
                   : picture.top_first ? FieldOrder::kTopFirst
                                       : FieldOrder::kBottomFirst;
  }
  picture.format.field_order = field_order_;
  picture.pts_ns = PtsOf(track);
  if (frame_->pkt_duration > 0) {
    picture.duration_ns = ToNs(frame_->pkt_duration, track.stream->time_base);
  } else if (rate.num > 0 && rate.den > 0) {
    picture.duration_ns = ToNs(1, av_inv_q(rate));
  }
  picture.duration_ns = std::clamp(picture.duration_ns, int64_t{0}, kMaxTimestampNs);
  picture.key = frame_->key_frame != 0;
  picture.corrupt = (frame_->flags & AV_FRAME_FLAG_CORRUPT) != 0 || frame_->decode_error_flags != 0;
  if (picture.corrupt) ++totals_.bad_packets;
  track.next_pts_ns = std::min(picture.pts_ns + picture.duration_ns, kMaxTimestampNs);
  ++totals_.pictures;
  return sink.OnPicture(picture);
}

absl::Status LibavDecoder::DeliverAudio(Track& track, MediaSink& sink) {
  AudioBlock audio;
  const absl::Status described =
      DescribeSound(*frame_, track.codec->bits_per_raw_sample, channels_, audio);
  if (!described.ok()) return described;
  audio.frame = memory_.FrameOf(*frame_);
  audio.pts_ns = PtsOf(track);
  audio.duration_ns = ToNs(audio.frames, AVRational{1, frame_->sample_rate});
  audio.corrupt = (frame_->flags & AV_FRAME_FLAG_CORRUPT) != 0;
  track.next_pts_ns = std::min(audio.pts_ns + audio.duration_ns, kMaxTimestampNs);
  ++totals_.audio_blocks;
  totals_.audio_frames += audio.frames;
  return sink.OnAudio(audio);
}

absl::Status LibavDecoder::Deliver(Track& track, MediaSink& sink) {
  return &track == &video_ ? DeliverPicture(track, sink) : DeliverAudio(track, sink);
}

absl::Status LibavDecoder::Decode(Track& track, const AVPacket* packet, MediaSink& sink) {
  int error = avcodec_send_packet(track.codec.get(), packet);
  if (error == AVERROR(ENOMEM)) return AvStatus(error, "decoding");
  if (error < 0 && error != AVERROR_EOF) {
    ++totals_.bad_packets;
    return absl::OkStatus();
  }
  while ((error = avcodec_receive_frame(track.codec.get(), frame_.get())) >= 0) {
    const absl::Status delivered = Deliver(track, sink);
    av_frame_unref(frame_.get());
    if (!delivered.ok()) return delivered;
  }
  if (error == AVERROR(ENOMEM)) return AvStatus(error, "decoding");
  if (error != AVERROR(EAGAIN) && error != AVERROR_EOF) ++totals_.bad_packets;
  return absl::OkStatus();
}

bool LibavDecoder::EndsEarly() const {
  // A duration that was estimated from the bit rate or found at the film's own end says nothing.
  if (info_.duration_ns == 0 ||
      reader_.format()->duration_estimation_method != AVFMT_DURATION_FROM_STREAM) {
    return false;
  }
  return packets_end_ns_ + std::max(int64_t{500000000}, info_.duration_ns / 50) < info_.duration_ns;
}

absl::StatusOr<DecodeTotals> LibavDecoder::Run(MediaSink& sink) {
  int read_errors = 0;
  while (true) {
    const int error = av_read_frame(reader_.format(), packet_.get());
    if (error == AVERROR_EOF) break;
    if (error == AVERROR(ENOMEM)) return AvStatus(error, "reading the film");
    if (error < 0) {
      if (avio_feof(reader_.format()->pb) != 0) {
        totals_.truncated = true;
      } else {
        ++totals_.bad_packets;
      }
      if (++read_errors == kMaxReadErrors) break;
      continue;
    }
    NotePacket(*packet_);
    Track* track = nullptr;
    if (packet_->stream_index == video_.index) track = &video_;
    if (packet_->stream_index == audio_.index) track = &audio_;
    absl::Status decoded;
    if (track != nullptr) {
      if ((packet_->flags & AV_PKT_FLAG_CORRUPT) != 0 && avio_feof(reader_.format()->pb) != 0) {
        totals_.truncated = true;  // the last packet, of which a part is missing
      } else {
        decoded = Decode(*track, packet_.get(), sink);
      }
    }
    av_packet_unref(packet_.get());
    if (!decoded.ok()) return decoded;
  }
  for (Track* track : {&video_, &audio_}) {
    if (track->codec == nullptr) continue;
    const absl::Status flushed = Decode(*track, nullptr, sink);
    if (!flushed.ok()) return flushed;
  }
  if (EndsEarly()) totals_.truncated = true;
  if (totals_.pictures == 0 && totals_.audio_blocks == 0) {
    return absl::InvalidArgumentError("not one picture or sample of it can be decoded");
  }
  return totals_;
}

}  // namespace

void WarmUpDecoder() { WarmUpLibav(Silent); }

absl::StatusOr<std::unique_ptr<FilmDecoder>> FilmDecoder::Open(ByteSource& film,
                                                               const Acceptance& acceptance,
                                                               const DecoderArena& arena) {
  auto decoder = std::make_unique<LibavDecoder>(acceptance, arena);
  const absl::Status opened = decoder->Open(film);
  if (!opened.ok()) return opened;
  return decoder;
}

}  // namespace parley::av

// SPDX-License-Identifier: Apache-2.0
#include "parley/thumb/media_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "parley/av/libav_input.h"
#include "parley/av/video_format.h"

namespace parley::thumb {
namespace {

using av::AvCodecContext;
using av::AvFrame;
using av::AvPacket;
using av::FileReader;

constexpr AVRational kNanoseconds = {1, 1'000'000'000};
constexpr AVRational kMicroseconds = {1, 1'000'000};
constexpr int64_t kMaxNs = int64_t{1} << 62;
// Damaged files can make a demuxer fail again and again without coming to the end.
constexpr int kMaxReadErrors = 100;
constexpr std::size_t kMaxComplaintBytes = 160;

// libav's last complaint, which says more than its error codes. One thread, one file.
std::string& Complaint() {
  static std::string complaint;
  return complaint;
}

void Listen(void*, int level, const char* format, va_list arguments) {
  if (level > AV_LOG_ERROR) return;
  std::array<char, kMaxComplaintBytes> text = {};
  static_cast<void>(std::vsnprintf(text.data(), text.size(), format, arguments));
  std::string line(text.data());
  while (!line.empty() && (line.back() == '\n' || line.back() == '.')) line.pop_back();
  if (!line.empty()) Complaint() = std::move(line);
}

absl::Status AvStatus(int error, const std::string& what) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> reason = {};
  av_strerror(error, reason.data(), reason.size());
  std::string text = absl::StrCat(what, ": ", reason.data());
  if (!Complaint().empty()) absl::StrAppend(&text, " (", Complaint(), ")");
  if (error == AVERROR(ENOMEM)) return absl::ResourceExhaustedError(text);
  return absl::InvalidArgumentError(text);
}

absl::Status NoMemory() { return absl::ResourceExhaustedError("there is not enough memory"); }

int64_t ToNs(int64_t timestamp, AVRational time_base) {
  const int64_t ns = av_rescale_q(timestamp, time_base, kNanoseconds);
  return std::clamp(ns, -kMaxNs, kMaxNs);
}

// The options by which libav refuses what is too large before it makes room for it.
class DecoderOptions {
 public:
  explicit DecoderOptions(uint64_t max_pixels) {
    av_dict_set_int(&dictionary_, "max_pixels", static_cast<int64_t>(max_pixels), 0);
    av_dict_set(&dictionary_, "threads", "1", 0);
  }
  DecoderOptions(const DecoderOptions&) = delete;
  DecoderOptions& operator=(const DecoderOptions&) = delete;
  ~DecoderOptions() { av_dict_free(&dictionary_); }
  AVDictionary** get() { return &dictionary_; }

 private:
  AVDictionary* dictionary_ = nullptr;
};

// Reads the headers of all streams, each with the decoder's limits.
int FindStreams(AVFormatContext* format, uint64_t max_pixels) {
  std::vector<std::unique_ptr<DecoderOptions>> options;
  std::vector<AVDictionary*> pointers;
  for (unsigned i = 0; i < format->nb_streams; ++i) {
    options.push_back(std::make_unique<DecoderOptions>(max_pixels));
    pointers.push_back(*options.back()->get());
  }
  const int error = avformat_find_stream_info(format, pointers.empty() ? nullptr : pointers.data());
  // libav leaves in each what it did not use, perhaps as another object.
  for (std::size_t i = 0; i < pointers.size(); ++i) *options[i]->get() = pointers[i];
  return error;
}

// Printable ASCII alone: the host takes nothing else.
std::string Plain(const char* text) {
  constexpr std::size_t kMaxText = 31;
  std::string plain;
  for (; text != nullptr && *text != 0 && plain.size() < kMaxText; ++text) {
    plain += *text >= 0x20 && *text < 0x7f ? *text : '?';
  }
  return plain;
}

// What is said of something that nobody has said.
std::string Named(const char* text) {
  const std::string plain = Plain(text);
  return plain == "unknown" || plain == "reserved" ? "" : plain;
}

// `end`: of the enumeration's values.
template <typename Enum>
std::string NameOfCode(const Enum& code, int end, const char* (*name)(Enum)) {
  const int number = av::NumberOf(code);
  return number < 0 || number >= end ? "" : Named(name(static_cast<Enum>(number)));
}

StreamKind KindOf(AVMediaType type) {
  switch (type) {
    case AVMEDIA_TYPE_VIDEO:
      return StreamKind::kVideo;
    case AVMEDIA_TYPE_AUDIO:
      return StreamKind::kAudio;
    case AVMEDIA_TYPE_SUBTITLE:
      return StreamKind::kSubtitle;
    case AVMEDIA_TYPE_DATA:
      return StreamKind::kData;
    case AVMEDIA_TYPE_ATTACHMENT:
      return StreamKind::kAttachment;
    default:
      return StreamKind::kOther;
  }
}

uint32_t NotNegative(int value) { return static_cast<uint32_t>(std::max(0, value)); }

const int32_t* MatrixOf(const AVStream* stream) {
  std::size_t size = 0;
  const uint8_t* matrix = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  // SAFETY: nine aligned int32_t, by libavutil/display.h.
  return size >= 9 * sizeof(int32_t) ? reinterpret_cast<const int32_t*>(matrix) : nullptr;
}

const int32_t* MatrixOf(const AVFrame* frame) {
  const AVFrameSideData* data = av_frame_get_side_data(frame, AV_FRAME_DATA_DISPLAYMATRIX);
  if (data == nullptr || data->size < 9 * sizeof(int32_t)) return nullptr;
  // SAFETY: as above.
  return reinterpret_cast<const int32_t*>(data->data);
}

uint32_t RotationDegrees(const int32_t* matrix) {
  const double counterclockwise = matrix == nullptr ? 0 : av_display_rotation_get(matrix);
  if (!std::isfinite(counterclockwise)) return 0;
  return static_cast<uint32_t>((360 - std::lround(counterclockwise)) % 360);
}

StreamFacts FactsOf(AVFormatContext* format, AVStream* stream) {
  const AVCodecParameters& codec = *stream->codecpar;
  StreamFacts facts;
  facts.kind = KindOf(codec.codec_type);
  facts.attached_picture = (stream->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0;
  facts.can_be_decoded = avcodec_find_decoder(codec.codec_id) != nullptr;
  facts.codec = Plain(avcodec_get_name(codec.codec_id));
  facts.profile = Named(avcodec_profile_name(codec.codec_id, codec.profile));
  facts.bits_per_second = std::clamp<int64_t>(codec.bit_rate, 0, int64_t{1} << 50);
  if (stream->duration > 0) facts.duration_ns = ToNs(stream->duration, stream->time_base);
  const AVDictionaryEntry* language = av_dict_get(stream->metadata, "language", nullptr, 0);
  if (language != nullptr && std::string_view(language->value) != "und") {
    facts.language = Plain(language->value);
  }
  if (facts.kind == StreamKind::kVideo) {
    facts.width = NotNegative(codec.width);
    facts.height = NotNegative(codec.height);
    facts.format = Plain(av_get_pix_fmt_name(static_cast<AVPixelFormat>(codec.format)));
    facts.primaries = NameOfCode(codec.color_primaries, AVCOL_PRI_NB, av_color_primaries_name);
    facts.transfer = NameOfCode(codec.color_trc, AVCOL_TRC_NB, av_color_transfer_name);
    facts.matrix = NameOfCode(codec.color_space, AVCOL_SPC_NB, av_color_space_name);
    facts.full_range = av::NumberOf(codec.color_range) == AVCOL_RANGE_JPEG;
    const AVRational aspect = av_guess_sample_aspect_ratio(format, stream, nullptr);
    facts.pixel_aspect_numerator = NotNegative(aspect.num);
    facts.pixel_aspect_denominator = NotNegative(aspect.den);
    facts.rotation_degrees = RotationDegrees(MatrixOf(stream));
    const AVRational rate = av_guess_frame_rate(format, stream, nullptr);
    facts.rate_numerator = NotNegative(rate.num);
    facts.rate_denominator = NotNegative(rate.den);
  } else if (facts.kind == StreamKind::kAudio) {
    facts.format = Plain(av_get_sample_fmt_name(static_cast<AVSampleFormat>(codec.format)));
    facts.sample_rate_hz = NotNegative(codec.sample_rate);
    facts.channels = NotNegative(codec.ch_layout.nb_channels);
  }
  return facts;
}

class LibavFile final : public MediaFile {
 public:
  absl::Status Open(av::ByteSource& source, uint64_t max_pixels);
  MediaFacts Facts() const override;
  bool is_still() const override;
  int64_t duration_ns() const override { return duration_ns_; }
  absl::StatusOr<DecodedPicture> PictureAt(int64_t time_ns, Exactness exactness) override;

 private:
  absl::Status OpenVideo();
  absl::Status CheckSize(int64_t width, int64_t height) const;
  // To the key picture before `time_ns`, if that can be done.
  bool SeekTo(int64_t time_ns);
  // The next picture, in the order of showing; false at the end.
  absl::StatusOr<bool> NextPicture();
  // The first picture at or after `target`, or the last one; false: not one.
  absl::StatusOr<bool> FindPicture(int64_t target);
  DecodedPicture Describe();

  FileReader reader_;
  AVStream* stream_ = nullptr;  // the video's; null: there is none
  AvCodecContext codec_;
  AvPacket packet_;
  AvFrame frame_;
  AvFrame last_;  // the last one that was decoded
  bool at_start_ = true;
  bool flushed_ = false;
  bool cover_sent_ = false;
  uint64_t max_pixels_ = 0;
  int64_t duration_ns_ = 0;
};

absl::Status LibavFile::Open(av::ByteSource& source, uint64_t max_pixels) {
  Complaint().clear();
  if (source.size_bytes() == 0) return absl::InvalidArgumentError("the file is empty");
  max_pixels_ = max_pixels;
  switch (reader_.Open(source)) {
    case FileReader::Opened::kOk:
      break;
    case FileReader::Opened::kNoMemory:
      return NoMemory();
    case FileReader::Opened::kUnknown:
      return AvStatus(reader_.error(), "this is no film and no picture that can be read");
    case FileReader::Opened::kOtherFiles:
      return absl::InvalidArgumentError(absl::StrCat(
          "this is a list of other files (", reader_.demuxer(), "), and none of them is opened"));
    case FileReader::Opened::kDamaged:
      return AvStatus(reader_.error(), absl::StrCat("it cannot be read as ", reader_.demuxer()));
  }
  packet_.reset(av_packet_alloc());
  frame_.reset(av_frame_alloc());
  last_.reset(av_frame_alloc());
  if (packet_ == nullptr || frame_ == nullptr || last_ == nullptr) return NoMemory();
  AVFormatContext* const format = reader_.format();
  const int error = FindStreams(format, max_pixels);
  if (error < 0)
    return AvStatus(error, absl::StrCat("no streams can be found in ", reader_.demuxer()));
  if (format->duration > 0) duration_ns_ = ToNs(format->duration, kMicroseconds);
  return absl::OkStatus();
}

MediaFacts LibavFile::Facts() const {
  MediaFacts facts;
  facts.container = Plain(reader_.format()->iformat->name);
  facts.duration_ns = duration_ns_;
  facts.bits_per_second = std::clamp<int64_t>(reader_.format()->bit_rate, 0, int64_t{1} << 50);
  for (unsigned i = 0; i < reader_.format()->nb_streams; ++i) {
    if (facts.streams.size() == kMaxStreams) {
      ++facts.streams_left_out;
    } else {
      facts.streams.push_back(FactsOf(reader_.format(), reader_.format()->streams[i]));
    }
  }
  return facts;
}

bool LibavFile::is_still() const {
  if (stream_ != nullptr && (stream_->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0) return true;
  const std::string_view name = reader_.format()->iformat->name;
  for (const std::string_view still : {"gif", "apng", "image2", "ico", "tty"}) {
    if (name == still) return true;
  }
  return name.size() > 5 && name.substr(name.size() - 5) == "_pipe";
}

absl::Status LibavFile::CheckSize(int64_t width, int64_t height) const {
  if (width <= 0 || height <= 0) {
    return absl::InvalidArgumentError("a picture without width or height");
  }
  if (static_cast<uint64_t>(width) * static_cast<uint64_t>(height) > max_pixels_) {
    return absl::InvalidArgumentError(absl::StrCat("the picture has ", width, " x ", height,
                                                   " pixels; at most ", max_pixels_,
                                                   " are allowed"));
  }
  return absl::OkStatus();
}

absl::Status LibavFile::OpenVideo() {
  if (codec_ != nullptr) return absl::OkStatus();
  const AVCodec* decoder = nullptr;
  const int index = av_find_best_stream(reader_.format(), AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);
  if (index == AVERROR_DECODER_NOT_FOUND) {
    return absl::UnimplementedError("there is no decoder for its pictures");
  }
  if (index < 0 || decoder == nullptr) {
    return absl::InvalidArgumentError("there is no picture in it");
  }
  for (unsigned i = 0; i < reader_.format()->nb_streams; ++i) {
    if (i != static_cast<unsigned>(index)) reader_.format()->streams[i]->discard = AVDISCARD_ALL;
  }
  stream_ = reader_.format()->streams[index];
  if (stream_->codecpar->width > 0) {
    if (absl::Status status = CheckSize(stream_->codecpar->width, stream_->codecpar->height);
        !status.ok()) {
      return status;
    }
  }
  codec_.reset(avcodec_alloc_context3(decoder));
  if (codec_ == nullptr) return NoMemory();
  int error = avcodec_parameters_to_context(codec_.get(), stream_->codecpar);
  if (error < 0) return AvStatus(error, absl::StrCat("the parameters of ", decoder->name));
  codec_->pkt_timebase = stream_->time_base;
  error = avcodec_open2(codec_.get(), decoder, DecoderOptions(max_pixels_).get());
  if (error < 0) return AvStatus(error, absl::StrCat("the decoder ", decoder->name));
  return absl::OkStatus();
}

bool LibavFile::SeekTo(int64_t time_ns) {
  if (time_ns <= 0 && at_start_) return true;
  cover_sent_ = false;
  // As the ffmpeg program does: to before the time where pictures are reordered, since a seek is by
  // the time of decoding.
  int64_t time_us = time_ns / 1000;
  if (time_us > 0 && stream_->codecpar->video_delay > 0 &&
      (reader_.format()->iformat->flags & AVFMT_SEEK_TO_PTS) == 0) {
    time_us = std::max<int64_t>(0, time_us - 3 * AV_TIME_BASE / 23);
  }
  if (reader_.format()->start_time != AV_NOPTS_VALUE &&
      __builtin_add_overflow(time_us, reader_.format()->start_time, &time_us)) {
    return false;
  }
  if (avformat_seek_file(reader_.format(), -1, INT64_MIN, time_us, time_us, 0) < 0) return false;
  avcodec_flush_buffers(codec_.get());
  flushed_ = false;
  at_start_ = false;
  return true;
}

absl::StatusOr<bool> LibavFile::NextPicture() {
  int read_errors = 0;
  while (true) {
    const int received = avcodec_receive_frame(codec_.get(), frame_.get());
    if (received >= 0) return true;
    if (received == AVERROR(ENOMEM)) return NoMemory();
    if (received == AVERROR_EOF || flushed_) return false;
    at_start_ = false;
    const bool is_cover = (stream_->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0;
    int error = 0;
    if (is_cover) {
      error = cover_sent_ ? AVERROR_EOF : av_packet_ref(packet_.get(), &stream_->attached_pic);
      cover_sent_ = true;
    } else {
      error = av_read_frame(reader_.format(), packet_.get());
    }
    if (error == AVERROR(ENOMEM)) return NoMemory();
    if (error == AVERROR_EOF || (error < 0 && ++read_errors == kMaxReadErrors)) {
      flushed_ = true;
      error = avcodec_send_packet(codec_.get(), nullptr);
    } else if (error < 0) {
      continue;
    } else if (packet_->stream_index == stream_->index) {
      error = avcodec_send_packet(codec_.get(), packet_.get());
    }
    av_packet_unref(packet_.get());
    // A damaged packet is one picture less.
    if (error == AVERROR(ENOMEM)) return NoMemory();
  }
}

absl::StatusOr<bool> LibavFile::FindPicture(int64_t target) {
  av_frame_unref(last_.get());
  bool found = false;
  while (true) {
    const absl::StatusOr<bool> more = NextPicture();
    if (!more.ok()) return more.status();
    if (!*more) return found;
    found = true;
    av_frame_unref(last_.get());
    av_frame_move_ref(last_.get(), frame_.get());
    const int64_t pts = last_->best_effort_timestamp;
    if (pts == AV_NOPTS_VALUE || pts >= target) return true;
  }
}

DecodedPicture LibavFile::Describe() {
  DecodedPicture picture;
  picture.frame = last_.get();
  const int32_t* matrix = MatrixOf(last_.get());
  if (matrix == nullptr) matrix = MatrixOf(stream_);
  if (matrix != nullptr) picture.turn = TurnOf(av::ToDisplayMatrix(matrix));
  const AVRational aspect = av_guess_sample_aspect_ratio(reader_.format(), stream_, last_.get());
  if (aspect.num > 0 && aspect.den > 0) picture.pixel_aspect = aspect;
  if (last_->best_effort_timestamp != AV_NOPTS_VALUE) {
    const int64_t start_ns = reader_.format()->start_time == AV_NOPTS_VALUE
                                 ? 0
                                 : ToNs(reader_.format()->start_time, kMicroseconds);
    picture.time_ns = std::clamp(ToNs(last_->best_effort_timestamp, stream_->time_base) - start_ns,
                                 -kMaxNs, kMaxNs);
  }
  return picture;
}

absl::StatusOr<DecodedPicture> LibavFile::PictureAt(int64_t time_ns, Exactness exactness) {
  if (absl::Status status = OpenVideo(); !status.ok()) return status;
  if (is_still() && time_ns <= 0) exactness = Exactness::kKeyPicture;
  const bool sought = SeekTo(time_ns);
  int64_t target = INT64_MIN;
  if (exactness == Exactness::kExact || !sought) {
    int64_t time_us = time_ns / 1000;
    if (reader_.format()->start_time == AV_NOPTS_VALUE ||
        !__builtin_add_overflow(time_us, reader_.format()->start_time, &time_us)) {
      target = av_rescale_q(time_us, kMicroseconds, stream_->time_base);
    }
  }
  absl::StatusOr<bool> found = FindPicture(target);
  // Behind the end, or in a part that cannot be decoded: what there is from the start on.
  if (found.ok() && !*found && time_ns > 0 && SeekTo(0)) found = FindPicture(INT64_MIN);
  if (!found.ok()) return found.status();
  if (!*found) {
    return AvStatus(AVERROR_INVALIDDATA,
                    absl::StrCat("not one picture of it can be decoded as ", codec_->codec->name));
  }
  if (absl::Status status = CheckSize(last_->width, last_->height); !status.ok()) return status;
  return Describe();
}

}  // namespace

absl::StatusOr<std::unique_ptr<MediaFile>> MediaFile::Open(av::ByteSource& source,
                                                           uint64_t max_pixels) {
  auto file = std::make_unique<LibavFile>();
  if (absl::Status status = file->Open(source, max_pixels); !status.ok()) return status;
  return file;
}

void WarmUpLibav() { av::WarmUpLibav(Listen); }

}  // namespace parley::thumb

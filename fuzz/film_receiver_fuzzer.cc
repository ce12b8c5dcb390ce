// SPDX-License-Identifier: Apache-2.0

// Attacks the viewer of the film example with all that a hijacked decoder can say: the film's own
// records, formats, pictures and audio, right, spoilt, out of order, again after a resumption. What
// is accepted goes the way that it goes in the viewer: as YUV4MPEG2 and WAV, and into a thumbnail.
//
// Each picture and block of audio must reach the sink exactly once and in order; the counts must be
// the sink's; what was said as text must be printable; the end must be told rightly.
//
// Input: where the film resumes, then messages: one byte each (modulo 8), followed by what it
// needs.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "parley/boundary/wire_copy.h"
#include "parley/examples/film/film_protocol.h"
#include "parley/examples/film/film_receiver.h"
#include "parley/examples/film/media_units.h"
#include "parley/examples/film/thumbnail.h"
#include "parley/examples/film/wav_writer.h"
#include "parley/examples/film/y4m_writer.h"
#include "parley/fuzz/media_script.h"
#include "parley/media/format.h"
#include "parley/media/incoming_stream.h"
#include "parley/os/check.h"
#include "parley/testing/scripted_memory.h"

namespace parley::fuzz {
namespace {

using film::Delivered;
using film::FilmReceiver;
using testing::Script;

constexpr int kMaxMessages = 60;

// As the viewer's, but everything that is written is thrown away.
class Sink final : public film::MediaSink {
 public:
  absl::Status OnPicture(const film::Picture& picture) override {
    if (pictures + audio_blocks >= fails_after) return absl::DataLossError("the sink is full");
    ++pictures;
    Look(picture);
    const auto formats = film::Y4mPixelFormats();
    const bool fits =
        std::find(formats.begin(), formats.end(), picture.format.pixel_format) != formats.end();
    // A film of one picture a minute is repeated: not here.
    if (fits && picture.format.frame_rate.numerator <= 255) {
      PARLEY_CHECK(y4m_.Write(picture).ok(), "a picture that can't be written");
    }
    return absl::OkStatus();
  }
  absl::Status OnAudio(const film::AudioBlock& audio) override {
    if (pictures + audio_blocks >= fails_after) return absl::DataLossError("the sink is full");
    ++audio_blocks;
    audio_frames += audio.frames;
    bytes += audio.bytes();
    PARLEY_CHECK(audio.bytes() == uint64_t{audio.frames} * BytesPerAudioFrame(audio.format),
                 "not whole samples");
    uint64_t sum = 0;
    for (std::size_t i = 0; i < audio.planes.size(); ++i) {
      for (const std::byte b : audio.Plane(i)) sum += std::to_integer<uint64_t>(b);
    }
    static_cast<void>(sum);
    // WAV has 65535 bytes for a sample of each channel.
    const absl::Status written = wav_.Write(audio);
    PARLEY_CHECK(written.ok() || BytesPerAudioFrame(audio.format) > 0xffff,
                 "audio that can't be written");
    return absl::OkStatus();
  }
  // Every row, and a thumbnail, whose shape may be any.
  void Look(const film::Picture& picture) {
    const PictureShape shape = ShapeOf(picture.format);
    uint64_t sum = 0;
    for (std::size_t plane = 0; plane < shape.count; ++plane) {
      const uint32_t row_bytes = shape.planes[plane].row_bytes;
      for (uint32_t row = 0; row < shape.planes[plane].rows; ++row) {
        for (const std::byte b : picture.Row(plane, row, row_bytes)) {
          sum += std::to_integer<uint64_t>(b);
        }
        bytes += row_bytes;
      }
    }
    static_cast<void>(sum);
    const film::RgbImage small = film::Thumbnail(picture, 16, 12);
    PARLEY_CHECK(
        small.width() >= 1 && small.width() <= 16 && small.height() >= 1 && small.height() <= 12,
        "a thumbnail outside of its frame");
  }

  uint64_t fails_after = ~uint64_t{0};
  uint64_t pictures = 0;
  uint64_t audio_blocks = 0;
  uint64_t audio_frames = 0;
  uint64_t bytes = 0;

 private:
  film::Y4mWriter y4m_{"/dev/null"};
  film::WavWriter wav_{"/dev/null"};
};

class Run {
 public:
  explicit Run(Script script) : script_(script) {
    const uint8_t bits = script_.Take8();
    if ((bits & 1) != 0) {
      before_.pictures = script_.Take8();
      before_.key_picture = before_.pictures - (bits & 2) * (before_.pictures / 4);
      before_.audio_blocks = script_.Take8();
      before_.audio_frames = before_.audio_blocks * 64;
    }
    if ((bits & 4) != 0) sink_.fails_after = script_.Take8() % 16;
    if ((bits & 8) != 0) limits_.max_format_changes = 2;
    if ((bits & 16) != 0) limits_.format.max_frame_bytes = 4096;
    next_[0] = before_.key_picture;
    next_[1] = before_.audio_blocks;
    receiver_.emplace(limits_, before_, sink_, [this](uint64_t number, const film::Picture& p) {
      PARLEY_CHECK(number < before_.pictures, "a new picture taken for one that comes again");
      ++again_;
      const uint64_t bytes = sink_.bytes;
      sink_.Look(p);
      sink_.bytes = bytes;
    });
  }

  void Everything() {
    for (int i = 0; i < kMaxMessages && !script_.empty(); ++i) SendOne();
  }

 private:
  void SendOne() {
    std::vector<std::byte> message;
    const uint8_t kind = script_.Take8();
    uint32_t tag = kind % 8;
    switch (kind % 8) {
      case film::kTagInfo: {
        film::InfoWire wire = {};
        wire.duration_ns = static_cast<int64_t>(script_.Take64());
        Fill(&wire.container);
        Fill(&wire.video_codec);
        Fill(&wire.audio_codec);
        message = BytesOf(wire);
        break;
      }
      case film::kTagFormat: {
        const bool video = (kind & 8) != 0;
        const auto generation = static_cast<uint32_t>(generations_[video ? 0 : 1] + 1);
        message = MakeFormat(script_, video, generation);
        break;
      }
      case film::kTagPicture:
      case film::kTagAudio: {
        const std::size_t which = tag == film::kTagPicture ? 0 : 1;
        if (formats_[which]) message = MakeFrame(script_, *formats_[which], next_[which]);
        if ((kind & 128) != 0) {
          tag = which == 0 ? film::kTagPictureInPlace : film::kTagAudioInPlace;
        }
        break;
      }
      case film::kTagProgress:
        message = BytesOf(film::ProgressWire{script_.Take8(), script_.Take8()});
        break;
      case film::kTagEnd: {
        const Delivered& now = receiver_->delivered();
        message = BytesOf(film::EndWire{now.pictures, now.audio_blocks, now.audio_frames,
                                        script_.Take8(), script_.Take8() % 2u, 0});
        break;
      }
      case film::kTagFailed: {
        film::FailedWire wire = {};
        Fill(&wire.reason);
        message = BytesOf(wire);
        break;
      }
      default:
        tag = (kind & 8) != 0 ? script_.Take32() : kind / 32u;
        message = script_.TakeBytes(script_.Take8());
    }
    Spoil(script_, &message);
    // Its own block, so that the first byte behind it is found.
    Deliver(tag, message);
  }

  void Deliver(uint32_t tag, const std::vector<std::byte>& message) {
    FilmReceiver::Verdict verdict = last_;
    if (tag == film::kTagPictureInPlace || tag == film::kTagAudioInPlace) {
      // Two blocks of their own, as a frame has its metadata and its bytes.
      const auto at = message.begin() +
                      static_cast<std::ptrdiff_t>(std::min(message.size(), kFrameHeaderBytes));
      const std::vector<std::byte> metadata(message.begin(), at);
      const std::vector<std::byte> payload(at, message.end());
      verdict = receiver_->OnFrame(tag, metadata, payload);
    } else {
      verdict = receiver_->OnMessage(tag, message);
    }
    const Delivered& now = receiver_->delivered();
    if (over_) PARLEY_CHECK(verdict == last_, "a verdict that was final has changed");
    PARLEY_CHECK(now.pictures == before_.pictures + sink_.pictures &&
                     now.audio_blocks == before_.audio_blocks + sink_.audio_blocks &&
                     now.audio_frames == before_.audio_frames + sink_.audio_frames &&
                     now.bytes == before_.bytes + sink_.bytes,
                 "not what the sink has had");
    PARLEY_CHECK(receiver_->pictures_again() == again_, "another number of pictures again");
    PARLEY_CHECK(now.key_picture <= now.pictures, "resuming behind the end");
    for (const std::string* text : {&receiver_->description(), &receiver_->failure()}) {
      for (const char c : *text) PARLEY_CHECK(c >= ' ' && c <= '~', "not printable");
    }
    PARLEY_CHECK(receiver_->claimed_duration_ns() >= 0, "a duration below zero");
    const bool good = verdict == FilmReceiver::Verdict::kGoOn ||
                      verdict == FilmReceiver::Verdict::kEnded ||
                      verdict == FilmReceiver::Verdict::kFailed;
    PARLEY_CHECK(good == receiver_->status().ok(), "a verdict and a status that differ");
    if (!good) PARLEY_CHECK(absl::IsDataLoss(receiver_->status()), "an error that is not typed");
    PARLEY_CHECK((verdict == FilmReceiver::Verdict::kSinkFailed) ==
                     (!good && sink_.pictures + sink_.audio_blocks >= sink_.fails_after &&
                      receiver_->status().message() == "the sink is full"),
                 "the sink's error is not the peer's");
    if (!over_ && verdict == FilmReceiver::Verdict::kGoOn) {
      Remember(tag == film::kTagPictureInPlace ? uint32_t{film::kTagPicture}
               : tag == film::kTagAudioInPlace ? uint32_t{film::kTagAudio}
                                               : tag,
               message);
    }
    if (!over_ && verdict == FilmReceiver::Verdict::kEnded) {
      PARLEY_CHECK(tag == film::kTagEnd && message.size() == 40 &&
                       Number(message, 0, 8) == now.pictures &&
                       Number(message, 8, 8) == now.audio_blocks &&
                       Number(message, 16, 8) == now.audio_frames && Number(message, 32, 4) <= 1 &&
                       Number(message, 36, 4) == 0,
                   "an end was accepted against the rules");
    }
    over_ = verdict != FilmReceiver::Verdict::kGoOn;
    last_ = verdict;
  }

  // What was accepted: by the model it was right.
  void Remember(uint32_t tag, const std::vector<std::byte>& message) {
    if (tag == film::kTagFormat) {
      const auto format = ModelOfFormat(message, limits_.format);
      PARLEY_CHECK(format.has_value(), "a format was accepted against the rules");
      const std::size_t which = format->video ? 0 : 1;
      // NOLINTNEXTLINE(bugprone-assert-side-effect): this check is in every build
      PARLEY_CHECK(format->generation == ++generations_[which], "a format out of order");
      formats_[which] = format;
    } else if (tag == film::kTagPicture || tag == film::kTagAudio) {
      const std::size_t which = tag == film::kTagPicture ? 0 : 1;
      PARLEY_CHECK(formats_[which] && message.size() >= 64 &&
                       ModelOfFrame(message, message.size() - 64, *formats_[which]) &&
                       Number(message, 0, 8) == next_[which],
                   "a frame was accepted against the rules");
      ++next_[which];
    } else {
      PARLEY_CHECK((tag == film::kTagInfo && message.size() == 104) ||
                       (tag == film::kTagProgress && message.size() == 16),
                   "a record was accepted against the rules");
      if (tag != film::kTagProgress) return;
      const uint64_t pictures = Number(message, 0, 8);
      const uint64_t audio_blocks = Number(message, 8, 8);
      PARLEY_CHECK(pictures <= before_.key_picture && audio_blocks <= before_.audio_blocks &&
                       pictures + audio_blocks > progress_,
                   "progress beyond where the film goes on, or none");
      progress_ = pictures + audio_blocks;
    }
  }

  template <std::size_t kSize>
  void Fill(std::array<uint8_t, kSize>* text) {
    const std::size_t length = script_.Take8() % (kSize + 1);
    for (std::size_t i = 0; i < length; ++i) (*text)[i] = script_.Take8();
  }
  template <typename T>
  static std::vector<std::byte> BytesOf(const T& wire) {
    const auto bytes = WireBytes(wire);
    return {bytes.begin(), bytes.end()};
  }

  Script script_;
  IncomingLimits limits_;
  Delivered before_;
  Sink sink_;
  std::optional<FilmReceiver> receiver_;
  uint64_t again_ = 0;
  uint64_t progress_ = 0;
  bool over_ = false;
  FilmReceiver::Verdict last_ = FilmReceiver::Verdict::kGoOn;
  // Of pictures and of audio.
  std::array<std::optional<FormatModel>, 2> formats_;
  std::array<uint64_t, 2> generations_ = {};
  std::array<uint64_t, 2> next_ = {};
};

}  // namespace
}  // namespace parley::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  parley::fuzz::Run(parley::testing::Script(data, size)).Everything();
  return 0;
}

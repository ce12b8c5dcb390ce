#include "parley/examples/film/decoder.h"

#include <cctype>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/examples/film/digest.h"
#include "parley/examples/film/media_units.h"
#include "parley/examples/film/test_clip.h"
#include "parley/media/format.h"

namespace parley::film {
namespace {

class Recorder final : public MediaSink {
 public:
  absl::Status OnPicture(const Picture& picture) override {
    if (pictures.empty() || !(formats.back() == picture.format)) formats.push_back(picture.format);
    pictures.push_back(digester_.Of(picture));
    key_pictures += picture.key ? 1 : 0;
    last_pts_ns = picture.pts_ns;
    return absl::OkStatus();
  }
  absl::Status OnAudio(const AudioBlock& block) override {
    audio.push_back(digester_.Of(block));
    audio_format = block.format;
    EXPECT_EQ(block.samples.size(), block.frames * BytesPerAudioFrame(block.format));
    return absl::OkStatus();
  }

  std::vector<Digest> pictures;
  std::vector<Digest> audio;
  std::vector<VideoFormat> formats;
  AudioFormat audio_format;
  int key_pictures = 0;
  int64_t last_pts_ns = 0;

 private:
  Digester digester_;
};

struct Decoded {
  Recorder recorder;
  DecodeTotals totals;
  absl::Status status;
};

void Decode(absl::Span<const std::byte> film, Decoded& out) {
  WarmUpDecoder();
  auto decoder = FilmDecoder::Open(film);
  out.status = decoder.status();
  if (!out.status.ok()) return;
  auto totals = (*decoder)->Run(out.recorder);
  out.status = totals.status();
  if (totals.ok()) out.totals = *totals;
}

class EachClip : public ::testing::TestWithParam<std::string> {};

TEST_P(EachClip, DecodesToTheSameTwice) {
  const std::vector<std::byte> film = ReadAll(TestClip(GetParam()));
  Decoded first;
  Decoded second;
  Decode(film, first);
  Decode(film, second);
  ASSERT_TRUE(first.status.ok()) << first.status;
  EXPECT_GT(first.totals.pictures + first.totals.audio_blocks, 5u);
  EXPECT_EQ(first.totals.bad_packets, 0u);
  EXPECT_FALSE(first.totals.truncated);
  EXPECT_EQ(first.recorder.pictures, second.recorder.pictures);
  EXPECT_EQ(first.recorder.audio, second.recorder.audio);
}

INSTANTIATE_TEST_SUITE_P(Clips, EachClip, ::testing::ValuesIn(TestClipNames()),
                         [](const auto& clip) {
                           std::string name = clip.param;
                           for (char& c : name) c = std::isalnum(c) != 0 ? c : '_';
                           return name;
                         });

TEST(DecoderTest, KeepsWhatTheFilmIs) {
  Decoded h264;
  Decode(ReadAll(TestClip("h264-aac.mp4")), h264);
  EXPECT_EQ(h264.totals.pictures, 50u);
  EXPECT_EQ(h264.recorder.key_pictures, 5);
  EXPECT_EQ(h264.recorder.last_pts_ns, 1960000000);
  EXPECT_EQ(h264.recorder.formats.at(0).pixel_format, PixelFormat::kI420);
  EXPECT_EQ(h264.recorder.audio_format.sample_format, SampleFormat::kF32);

  Decoded deep;
  Decode(ReadAll(TestClip("422-10bit.mkv")), deep);
  EXPECT_EQ(deep.recorder.formats.at(0).pixel_format, PixelFormat::kI422P10);

  Decoded odd;
  Decode(ReadAll(TestClip("odd-size.mp4")), odd);
  EXPECT_EQ(odd.recorder.formats.at(0).width, 1919u);
  EXPECT_EQ(odd.recorder.formats.at(0).height, 1079u);

  Decoded rgb;
  Decode(ReadAll(TestClip("rgb.mkv")), rgb);
  EXPECT_EQ(rgb.recorder.formats.at(0).pixel_format, PixelFormat::kI444);

  Decoded mono;
  Decode(ReadAll(TestClip("mono-8khz.wav")), mono);
  EXPECT_EQ(mono.recorder.audio_format,
            (AudioFormat{.sample_format = SampleFormat::kS16, .rate_hz = 8000, .channels = 1}));

  Decoded changing;
  Decode(ReadAll(TestClip("resolution-change.ts")), changing);
  ASSERT_EQ(changing.recorder.formats.size(), 2u);
  EXPECT_EQ(changing.recorder.formats[0].width, 320u);
  EXPECT_EQ(changing.recorder.formats[1].width, 480u);
  EXPECT_EQ(changing.totals.pictures, 50u);
}

TEST(DecoderTest, SaysThatAFilmIsTruncated) {
  for (const std::string name : {"h264-aac.mp4", "vp9-opus.webm", "mpeg4-mp3.avi"}) {
    const std::vector<std::byte> film = ReadAll(TestClip(name));
    Decoded half;
    Decode(absl::MakeSpan(film).first(film.size() / 2), half);
    ASSERT_TRUE(half.status.ok()) << name << half.status;
    EXPECT_TRUE(half.totals.truncated) << name;
    EXPECT_EQ(half.totals.bad_packets, 0u) << name;
    EXPECT_GT(half.totals.pictures, 5u) << name;
  }
}

TEST(DecoderTest, SaysThatAFilmIsDamaged) {
  std::vector<std::byte> film = ReadAll(TestClip("h264-aac.mp4"));
  for (size_t at = film.size() / 3; at < film.size() / 3 + 2000; ++at) film[at] ^= std::byte{0x5a};
  Decoded damaged;
  Decode(film, damaged);
  ASSERT_TRUE(damaged.status.ok()) << damaged.status;
  EXPECT_GT(damaged.totals.bad_packets, 0u);
  EXPECT_GT(damaged.totals.pictures, 40u);
}

TEST(DecoderTest, WhatIsNoFilmIsAnErrorAndNotACrash) {
  for (const std::string& text : {std::string(), std::string("a"), std::string(100000, 'x'),
                                  std::string("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")}) {
    Decoded none;
    Decode({reinterpret_cast<const std::byte*>(text.data()), text.size()}, none);
    EXPECT_EQ(none.status.code(), absl::StatusCode::kInvalidArgument) << text.substr(0, 20);
  }
}

}  // namespace
}  // namespace parley::film

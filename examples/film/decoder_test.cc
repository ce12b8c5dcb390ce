// SPDX-License-Identifier: Apache-2.0
#include "parley/av/decoder.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/examples/film/digest.h"
#include "parley/examples/film/film_source.h"
#include "parley/examples/film/media_units.h"
#include "parley/examples/film/test_clip.h"
#include "parley/media/acceptance.h"
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
    if (pictures.size() == 1) first_pts_ns = picture.pts_ns;
    interlaced += picture.interlaced ? 1 : 0;
    end_ns = std::max(end_ns, picture.pts_ns + picture.duration_ns);

    return absl::OkStatus();
  }
  absl::Status OnAudio(const AudioBlock& block) override {
    audio.push_back(digester_.Of(block));
    audio_format = block.format;
    EXPECT_EQ(block.bytes(), block.frames * BytesPerAudioFrame(block.format));
    return absl::OkStatus();
  }

  std::vector<Digest> pictures;
  std::vector<Digest> audio;
  std::vector<VideoFormat> formats;
  AudioFormat audio_format;
  int key_pictures = 0;
  int64_t first_pts_ns = 0;
  int64_t last_pts_ns = 0;
  int64_t end_ns = 0;
  int interlaced = 0;

 private:
  Digester digester_;
};

struct Decoded {
  Recorder recorder;
  av::DecodeTotals totals;
  absl::Status status;
};

void Decode(absl::Span<const std::byte> film, Decoded& out, const Acceptance& acceptance = {}) {
  av::WarmUpDecoder();
  MemorySource source(film);
  auto decoder = av::FilmDecoder::Open(source, acceptance);
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
  EXPECT_EQ(rgb.recorder.formats.at(0).pixel_format, PixelFormat::kBgrx);

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

// What ffprobe says about a clip.
std::string Probe(const std::string& path, const std::string& what) {
  std::string out =
      RunCommand(absl::StrCat("ffprobe -v error -of csv=p=0 ", what, " '", path, "'")).output;
  while (!out.empty() && (out.back() == '\n' || out.back() == ',')) out.pop_back();
  return out;
}

std::string Make(const std::string& name, const std::string& arguments) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/", name);
  const CommandResult made =
      RunCommand(absl::StrCat("ffmpeg -nostdin -loglevel error -y ", arguments, " '", path, "'"));
  EXPECT_EQ(made.exit_code, 0) << made.output;
  return path;
}

const char kPicture[] = "-f lavfi -i testsrc2=size=160x96:rate=25:duration=1 ";

// "36004.40 s of film" for three seconds: a container's clock may begin anywhere.
TEST(DecoderTest, TimesCountFromTheStartOfTheFilm) {
  for (const std::string name : {"late.ts", "late.mpg", "late.mkv"}) {
    const std::string path =
        Make(name, absl::StrCat(kPicture, "-f lavfi -i sine=duration=1 -c:v mpeg2video -c:a mp2 ",
                                "-output_ts_offset 36000 -f ",
                                name == "late.ts"    ? "mpegts"
                                : name == "late.mpg" ? "mpeg"
                                                     : "matroska"));
    Decoded late;
    Decode(ReadAll(path), late);
    ASSERT_TRUE(late.status.ok()) << late.status;
    const double start = std::atof(Probe(path, "-show_entries format=start_time").c_str());
    EXPECT_GT(start, 30000) << name;
    const double first = std::atof(
        Probe(path, "-select_streams v -read_intervals %+#1 -show_entries frame=pts_time").c_str());
    EXPECT_NEAR(static_cast<double>(late.recorder.first_pts_ns) / 1e9, first - start, 1e-5) << name;
    EXPECT_LT(late.recorder.end_ns, 2'000'000'000) << name;
    const std::string counted =
        Probe(path, "-count_frames -select_streams v -show_entries stream=nb_read_frames");
    EXPECT_EQ(static_cast<int>(late.totals.pictures), std::atoi(counted.c_str())) << counted;
  }
}

// The bytes of the first picture are those that ffmpeg writes, in the format that ffprobe names.
TEST(DecoderTest, EveryFormatArrivesAsItIs) {
  const std::vector<std::pair<std::string, std::string>> clips = {
      {"yuv440p", "-pix_fmt yuv440p -c:v libvpx-vp9 -deadline realtime -cpu-used 8"},
      {"yuvj420p", "-pix_fmt yuvj420p -c:v mjpeg"},
      {"yuvj444p", "-pix_fmt yuvj444p -c:v mjpeg"},
      {"yuv411p", "-s 720x480 -r 30000/1001 -pix_fmt yuv411p -c:v dvvideo"},
      {"yuv410p", "-pix_fmt yuv410p -c:v ffv1"},
      {"bgr0", "-pix_fmt bgr0 -c:v ffv1"},
      {"bgra", "-pix_fmt bgra -c:v ffv1"},
      {"gbrp", "-pix_fmt gbrp -c:v libx264rgb -crf 0"},
      {"gbrp10le", "-pix_fmt gbrp10le -c:v ffv1"},
      {"gbrap16le", "-pix_fmt gbrap16le -c:v ffv1"},
      {"yuva420p", "-pix_fmt yuva420p -c:v ffv1"},
      {"yuv420p12le", "-pix_fmt yuv420p12le -c:v libx265 -x265-params log-level=none"},
      {"yuv444p16le", "-pix_fmt yuv444p16le -c:v ffv1"},
      {"gray", "-pix_fmt gray -c:v ffv1"},
      {"gray16le", "-pix_fmt gray16le -c:v ffv1"},
      {"gray10le", "-pix_fmt gray10le -c:v ffv1"},
      {"rgb24", "-pix_fmt rgb24 -c:v png"},
      {"rgba", "-pix_fmt rgba -c:v png"},
      {"rgb48be", "-pix_fmt rgb48be -c:v png"},
      {"ya8", "-pix_fmt ya8 -c:v png"},
      {"nv12", "-pix_fmt nv12 -c:v rawvideo"},
      {"nv21", "-pix_fmt nv21 -c:v rawvideo"},
      {"yuyv422", "-pix_fmt yuyv422 -c:v rawvideo"},
      {"uyvy422", "-pix_fmt uyvy422 -c:v rawvideo"},
      {"argb", "-pix_fmt argb -c:v rawvideo"},
      {"abgr", "-pix_fmt abgr -c:v rawvideo"},
      {"bgr24", "-pix_fmt bgr24 -c:v rawvideo"},
      {"rgb565le", "-pix_fmt rgb565le -c:v rawvideo"},
      {"gbrpf32le", "-pix_fmt gbrpf32le -c:v exr -f image2pipe"},
  };
  class First final : public MediaSink {
   public:
    absl::Status OnPicture(const Picture& picture) override {
      if (!bytes.empty()) return absl::OkStatus();
      format = picture.format;
      const PictureShape shape = ShapeOf(format);
      for (size_t i = 0; i < shape.count; ++i) {
        for (uint32_t row = 0; row < shape.planes[i].rows; ++row) {
          for (const std::byte b : picture.Row(i, row, shape.planes[i].row_bytes)) {
            bytes.push_back(b);
          }
        }
      }
      return absl::OkStatus();
    }
    absl::Status OnAudio(const AudioBlock&) override { return absl::OkStatus(); }
    VideoFormat format;
    std::vector<std::byte> bytes;
  };
  // All of them by one ffmpeg, and back by another one.
  const std::string folder = absl::StrCat(::testing::TempDir(), "/as-it-is");
  std::string there =
      absl::StrCat("mkdir -p '", folder, "'; ffmpeg -nostdin -loglevel error -y ", kPicture);
  std::string inputs = "ffmpeg -nostdin -loglevel error -y ";
  std::string outputs;
  std::vector<std::string> paths;
  for (const auto& [name, how] : clips) {
    const bool image = how.find("image2pipe") != std::string::npos;
    const bool nut = how.find("rawvideo") != std::string::npos;
    paths.push_back(absl::StrCat(folder, "/", name, image ? ".exr" : nut ? ".nut" : ".mkv"));
    absl::StrAppend(&there, how, " -frames:v 1 '", paths.back(), "' ");
    absl::StrAppend(&outputs, "-map ", paths.size() - 1, ":v -frames:v 1 -f rawvideo '",
                    paths.back(), ".raw' ");
    absl::StrAppend(&inputs, "-i '", paths.back(), "' ");
  }
  const CommandResult made = RunCommand(absl::StrCat(there, " && ", inputs, outputs));
  ASSERT_EQ(made.exit_code, 0) << made.output;
  for (size_t i = 0; i < clips.size(); ++i) {
    const std::string& name = clips[i].first;
    const std::string& path = paths[i];
    av::WarmUpDecoder();
    const std::vector<std::byte> film = ReadAll(path);
    MemorySource source(film);
    auto decoder = av::FilmDecoder::Open(source);
    ASSERT_TRUE(decoder.ok()) << name << decoder.status();
    First first;
    ASSERT_TRUE((*decoder)->Run(first).ok()) << name;
    const std::string probed = Probe(path, "-select_streams v -show_entries stream=pix_fmt");
    EXPECT_EQ(probed, name);
    EXPECT_EQ(PixelFormatFromLibav(probed), &InfoOf(first.format.pixel_format)) << name << probed;
    EXPECT_TRUE(first.bytes == ReadAll(path + ".raw")) << name;
    if (name.rfind("yuvj", 0) == 0) {
      EXPECT_EQ(first.format.colour.range, ColourRange::kFull) << name;
    }
  }
}

TEST(DecoderTest, TurningFieldsChromaPlaceAspectAndLayoutAreCarried) {
  const std::string turned =
      Make("turned.mp4", absl::StrCat("-i '", TestClip("no-audio.mp4"),
                                      "' -c copy -metadata:s:v rotate=90 -aspect 2:1"));
  Decoded picture;
  Decode(ReadAll(turned), picture);
  const VideoFormat& format = picture.recorder.formats.at(0);
  EXPECT_EQ(Probe(turned, "-select_streams v -show_entries stream_side_data=rotation"), "90");
  // A quarter counter-clockwise: to the right becomes up.
  EXPECT_EQ(format.display_matrix[0], 0);
  EXPECT_EQ(format.display_matrix[1], -65536);
  EXPECT_EQ(format.display_matrix[3], 65536);
  EXPECT_EQ(absl::StrCat(format.pixel_aspect.numerator, ":", format.pixel_aspect.denominator),
            Probe(turned, "-select_streams v -show_entries stream=sample_aspect_ratio"));
  EXPECT_EQ(Probe(turned, "-select_streams v -show_entries stream=chroma_location"), "left");
  EXPECT_EQ(format.chroma_place, ChromaPlace::kLeft);

  const std::string fields =
      Make("fields.mpg",
           "-f lavfi -i testsrc2=size=160x96:rate=50:duration=1 -vf interlace=tff "
           "-c:v mpeg2video -flags +ildct+ilme -field_order tt -f mpeg");
  Decoded interlaced;
  Decode(ReadAll(fields), interlaced);
  EXPECT_EQ(Probe(fields,
                  "-select_streams v -read_intervals %+#1 "
                  "-show_entries frame=interlaced_frame,top_field_first"),
            "1,1");
  EXPECT_EQ(interlaced.recorder.formats.at(0).field_order, FieldOrder::kTopFirst);
  EXPECT_EQ(interlaced.recorder.interlaced, static_cast<int>(interlaced.totals.pictures));

  for (const auto& [layout, mask] :
       {std::pair<std::string, uint64_t>("5.1", 0x3f), {"7.1", 0x63f}, {"quad", 0x33}}) {
    const std::string sound = Make(
        "layout.wav",
        absl::StrCat("-f lavfi -i sine=duration=0.1 -af 'pan=", layout, "|FL=c0' -c:a pcm_s16le"));
    Decoded decoded;
    Decode(ReadAll(sound), decoded);
    EXPECT_EQ(Probe(sound, "-show_entries stream=channel_layout"), layout);
    EXPECT_EQ(decoded.recorder.audio_format.layout.kind, ChannelLayout::Kind::kMask);
    EXPECT_EQ(decoded.recorder.audio_format.layout.mask, mask) << layout;
  }
}

// A receiver that wants y4m's formats gets the nearest one, with the range of the original.
TEST(DecoderTest, WhatIsConvertedKeepsItsRange) {
  Acceptance wants;
  wants.SetPixelFormats({PixelFormat::kI420, PixelFormat::kI422, PixelFormat::kI444,
                         PixelFormat::kGray8, PixelFormat::kI444P10});
  const std::string path =
      Make("range.mkv", absl::StrCat(kPicture, "-pix_fmt yuv440p -color_range pc -c:v libvpx-vp9 ",
                                     "-deadline realtime -cpu-used 8 -frames:v 1"));
  Decoded kept;
  Decode(ReadAll(path), kept, wants);
  ASSERT_TRUE(kept.status.ok()) << kept.status;
  EXPECT_EQ(kept.recorder.formats.at(0).pixel_format, PixelFormat::kI444);
  EXPECT_EQ(kept.recorder.formats.at(0).colour.range, ColourRange::kFull);
  Decoded rgb;
  Decode(ReadAll(TestClip("rgb.mkv")), rgb, wants);
  EXPECT_EQ(rgb.recorder.formats.at(0).pixel_format, PixelFormat::kI444);
  EXPECT_EQ(rgb.recorder.formats.at(0).colour.range, ColourRange::kLimited);
  EXPECT_EQ(rgb.recorder.formats.at(0).colour.matrix, 6);  // of 320x180
}

TEST(DecoderTest, ATrackThatRunsLongerIsNoTruncation) {
  for (const std::string name : {"longer.mkv", "longer.mp4"}) {
    const std::string path = Make(
        name, absl::StrCat(kPicture, "-f lavfi -i sine=duration=1 -f lavfi -i sine=duration=4 ",
                           "-map 0 -map 1 -map 2 -c:v mpeg4 -c:a aac"));
    Decoded film;
    Decode(ReadAll(path), film);
    ASSERT_TRUE(film.status.ok()) << film.status;
    EXPECT_FALSE(film.totals.truncated) << name;
    EXPECT_EQ(film.totals.bad_packets, 0u) << name;
  }
  const std::string texts = absl::StrCat(::testing::TempDir(), "/texts.srt");
  RunCommand(absl::StrCat("printf '1\\n00:00:00,500 --> 00:00:09,000\\nlong\\n' >'", texts, "'"));
  const std::string path =
      Make("texts.mkv", absl::StrCat(kPicture, "-i '", texts, "' -c:v mpeg4 -c:s srt"));
  Decoded film;
  Decode(ReadAll(path), film);
  EXPECT_FALSE(film.totals.truncated);
}

TEST(DecoderTest, ListsOfOtherFilesAreNotOpened) {
  const std::vector<std::pair<std::string, std::string>> lists = {
      {"concat", "ffconcat version 1.0\nfile /etc/passwd\n"},
      {"dash",
       "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" "
       "profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" type=\"static\"></MPD>\n"},
      {"sdp",
       "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
       "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"},
      {"hls", "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n"},
  };
  for (const auto& [name, text] : lists) {
    Decoded none;
    Decode({reinterpret_cast<const std::byte*>(text.data()), text.size()}, none);
    EXPECT_EQ(none.status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_NE(std::string(none.status.message()).find("a list of other files (" + name),
              std::string::npos)
        << name << none.status;
  }
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

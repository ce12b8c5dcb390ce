// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/av/decoder.h"
#include "parley/cli/output_file.h"
#include "parley/examples/film/contact_sheet.h"
#include "parley/examples/film/film_source.h"
#include "parley/examples/film/media_units.h"
#include "parley/examples/film/output_names.h"
#include "parley/examples/film/test_clip.h"
#include "parley/examples/film/thumbnail.h"
#include "parley/examples/film/wav_writer.h"
#include "parley/examples/film/y4m_writer.h"
#include "parley/media/acceptance.h"
#include "parley/media/format.h"

// Commands are put together a few times per test.
// NOLINTBEGIN(performance-inefficient-string-concatenation)
namespace parley::film {
namespace {

std::string NewFolder(const std::string& name) {
  const std::string path = ::testing::TempDir() + "/" + name;
  std::filesystem::remove_all(path);
  std::filesystem::create_directory(path);
  return path;
}

size_t FilesIn(const std::string& folder) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

class Writing final : public MediaSink {
 public:
  explicit Writing(const std::string& folder) : y4m(folder + "/f.y4m"), wav(folder + "/f.wav") {}
  absl::Status OnPicture(const Picture& picture) override {
    sheet.Add(picture);
    return y4m.Write(picture);
  }
  absl::Status OnAudio(const AudioBlock& audio) override { return wav.Write(audio); }
  Y4mWriter y4m;
  WavWriter wav;
  ContactSheet sheet;
};

void DecodeInto(MediaSink& sink, const std::string& clip) {
  av::WarmUpDecoder();
  const std::vector<std::byte> film = ReadAll(clip.rfind('/', 0) == 0 ? clip : TestClip(clip));
  MemorySource source(film);
  Acceptance wants;
  wants.SetPixelFormats(Y4mPixelFormats());
  auto decoder = av::FilmDecoder::Open(source, wants);
  ASSERT_TRUE(decoder.ok()) << decoder.status();
  ASSERT_TRUE((*decoder)->Run(sink).ok());
}

// What ffmpeg reads back from our files is what it decodes itself.
TEST(WritersTest, FfmpegReadsTheSamePicturesAndSamples) {
  for (const std::string clip : {"h264-aac.mp4", "422-10bit.mkv", "odd-444.mkv"}) {
    const std::string folder = NewFolder("same");
    Writing writing(folder);
    DecodeInto(writing, clip);
    ASSERT_TRUE(writing.y4m.Finish().ok());
    ASSERT_TRUE(writing.wav.Finish().ok());
    const auto md5 = [](const std::string& path, const std::string& stream) {
      return RunCommand("ffmpeg -nostdin -loglevel error -i '" + path + "' -map 0:" + stream +
                        " -c:" + stream + (stream == "v" ? " rawvideo" : " pcm_f32le") +
                        " -vsync passthrough -f md5 -")
          .output;
    };
    EXPECT_EQ(md5(folder + "/f.y4m", "v"), md5(TestClip(clip), "v")) << clip;
    EXPECT_EQ(md5(folder + "/f.y4m", "v").substr(0, 4), "MD5=");
    if (clip == "odd-444.mkv") continue;
    EXPECT_EQ(md5(folder + "/f.wav", "a"), md5(TestClip(clip), "a")) << clip;
    EXPECT_EQ(md5(folder + "/f.wav", "a").substr(0, 4), "MD5=");
  }
}

TEST(WritersTest, AChangeOfFormatBeginsAnotherFile) {
  const std::string folder = NewFolder("parts");
  Writing writing(folder);
  DecodeInto(writing, "resolution-change.ts");
  ASSERT_TRUE(writing.y4m.Finish().ok());
  EXPECT_EQ(writing.y4m.files(),
            (std::vector<std::string>{folder + "/f.y4m", folder + "/f-2.y4m"}));
  EXPECT_EQ(PartPath("a.b/film", 2), "a.b/film-2");
  EXPECT_EQ(PartPath(".y4m", 2), ".y4m-2");
}

TEST(WritersTest, NothingIsLeftUnlessPublished) {
  const std::string folder = NewFolder("unpublished");
  {
    Writing writing(folder);
    DecodeInto(writing, "h264-aac.mp4");
  }
  EXPECT_EQ(FilesIn(folder), 0u);
}

TEST(WritersTest, PublishingReplacesTheOldFile) {
  const std::string folder = NewFolder("replace");
  for (int i = 0; i < 2; ++i) {
    Writing writing(folder);
    DecodeInto(writing, "no-audio.mp4");
    ASSERT_TRUE(writing.y4m.Finish().ok());
    ASSERT_TRUE(writing.wav.Finish().ok());  // no audio, no file
  }
  EXPECT_EQ(FilesIn(folder), 1u);
}

TEST(WritersTest, AFolderThatIsNotThereIsAnError) {
  Y4mWriter writer(::testing::TempDir() + "/not-there/f.y4m");
  const std::vector<std::byte> gray(16);
  Picture picture;
  picture.format = {.pixel_format = PixelFormat::kGray8,
                    .width = 4,
                    .height = 4,
                    .frame_rate = {},
                    .pixel_aspect = {},
                    .colour = {.range = ColourRange::kFull}};
  picture.planes[0] = gray.data();
  picture.strides_bytes[0] = 4;
  EXPECT_FALSE(writer.Write(picture).ok());
}

TEST(WritersTest, AHostileFloatDoesNotReachTheFile) {
  const std::string folder = NewFolder("nan");
  WavWriter writer(folder + "/f.wav");
  const std::vector<float> samples = {std::numeric_limits<float>::quiet_NaN(), 1e30f};
  AudioBlock audio;
  audio.format = {.sample_format = SampleFormat::kF32, .rate_hz = 8000, .channels = 1};
  audio.frames = 2;
  const auto* plane = reinterpret_cast<const std::byte*>(samples.data());
  audio.planes = absl::MakeConstSpan(&plane, 1);
  ASSERT_TRUE(writer.Write(audio).ok());
  ASSERT_TRUE(writer.Finish().ok());
  const std::vector<std::byte> file = ReadAll(folder + "/f.wav");
  ASSERT_EQ(file.size(), 68u + 8u);
  float written[2];
  std::memcpy(written, file.data() + 68, 8);
  EXPECT_EQ(written[0], 0.0f);
  EXPECT_EQ(written[1], 8.0f);
}

std::string Probe(const std::string& path, const std::string& what) {
  std::string out =
      RunCommand(absl::StrCat("ffprobe -v error -of csv=p=0 ", what, " '", path, "'")).output;
  while (!out.empty() && (out.back() == '\n' || out.back() == ',')) out.pop_back();
  return out;
}

std::string Make(const std::string& path, const std::string& arguments) {
  const CommandResult made =
      RunCommand(absl::StrCat("ffmpeg -nostdin -loglevel error -y ", arguments, " '", path, "'"));
  EXPECT_EQ(made.exit_code, 0) << made.output;
  return path;
}

// "A 4.0 s film becomes 2.4 s of y4m": the pictures that are missing are repeated.
TEST(WritersTest, AFilmOfVariableRateKeepsItsTime) {
  const std::string folder = NewFolder("variable");
  const std::string film =
      Make(folder + "/v.mkv",
           "-f lavfi -i testsrc2=size=160x96:rate=25:duration=4 "
           "-vf \"select='if(lt(t,1),1,not(mod(n,5)))'\" -vsync vfr -c:v mpeg4");
  Writing writing(folder);
  DecodeInto(writing, film);
  ASSERT_TRUE(writing.y4m.Finish().ok());
  EXPECT_GT(writing.y4m.repeated(), 50u);
  EXPECT_NEAR(std::atof(Probe(folder + "/f.y4m", "-show_entries format=duration").c_str()),
              std::atof(Probe(film, "-show_entries format=duration").c_str()), 0.041);
}

// Times are a worker's claim: one picture in a thousand years fills no disk.
TEST(WritersTest, NoGapIsFilledForLongerThanAMinute) {
  const std::string folder = NewFolder("gaps");
  Y4mWriter writer(folder + "/f.y4m");
  const std::vector<std::byte> gray(16);
  Picture picture;
  picture.format = {
      .pixel_format = PixelFormat::kGray8, .width = 4, .height = 4, .frame_rate = {0xffff'ffff, 1}};
  picture.planes[0] = gray.data();
  picture.strides_bytes[0] = 4;
  for (const int64_t pts : {int64_t{0}, int64_t{1} << 60, -(int64_t{1} << 60), int64_t{50} << 30}) {
    picture.pts_ns = pts;
    picture.duration_ns = int64_t{1} << 60;
    ASSERT_TRUE(writer.Write(picture).ok());
  }
  ASSERT_TRUE(writer.Finish().ok());
  // 60 pictures a second, for a minute at most behind each of the four.
  EXPECT_LE(writer.repeated(), 5u * 60 * 60);
  EXPECT_LE(std::filesystem::file_size(folder + "/f.y4m"), 22u * 5 * 60 * 60);
}

TEST(WritersTest, WhatFfprobeSaysOfAFilmItSaysOfItsY4mAndWav) {
  const std::string folder = NewFolder("said");
  const std::vector<std::pair<std::string, std::string>> clips = {
      {"fields.mpg",
       "-f lavfi -i testsrc2=size=160x96:rate=50:duration=0.4 -vf interlace=tff -c:v mpeg2video "
       "-flags +ildct+ilme -field_order tt -aspect 2:1 -f mpeg"},
      {"jpeg.mkv", "-f lavfi -i testsrc2=size=160x96:duration=0.2 -pix_fmt yuvj422p -c:v mjpeg"},
      {"left.mkv", "-f lavfi -i testsrc2=size=160x96:duration=0.2 -pix_fmt yuv420p -c:v libx264"},
      {"deep.mkv", "-f lavfi -i testsrc2=size=160x96:duration=0.2 -pix_fmt yuv420p12le -c:v ffv1"},
      {"gray.mkv", "-f lavfi -i testsrc2=size=160x96:duration=0.2 -pix_fmt gray -c:v ffv1"},
      {"alpha.mkv", "-f lavfi -i testsrc2=size=160x96:duration=0.2 -pix_fmt yuva444p -c:v ffv1"},
  };
  for (const auto& [name, how] : clips) {
    const std::string film = Make(folder + "/" + name, how);
    Writing writing(folder);
    DecodeInto(writing, film);
    ASSERT_TRUE(writing.y4m.Finish().ok()) << name;
    const auto said = [&](const std::string& path) {
      return Probe(path,
                   "-select_streams v -show_entries "
                   "stream=width,height,sample_aspect_ratio,field_order,chroma_location");
    };
    const auto format = [&](const std::string& path) {
      std::string text = Probe(path, "-select_streams v -show_entries stream=pix_fmt");
      return text.rfind("yuvj", 0) == 0 ? "yuv" + text.substr(4) : text;
    };
    if (name == "fields.mpg" || name == "left.mkv") {
      EXPECT_EQ(said(folder + "/f.y4m"), said(film)) << name;
    }
    EXPECT_EQ(format(folder + "/f.y4m"), format(film)) << name;
    const auto md5 = [&](const std::string& path) {
      return RunCommand("ffmpeg -nostdin -loglevel error -i '" + path +
                        "' -c:v rawvideo -vsync passthrough -f md5 -")
          .output;
    };
    EXPECT_EQ(md5(folder + "/f.y4m"), md5(film)) << name;
  }
  const std::string sound = Make(folder + "/six.flac",
                                 "-f lavfi -i sine=duration=0.1 -af 'pan=5.1|FL=c0|LFE=c0' "
                                 "-sample_fmt s32 -bits_per_raw_sample 24");
  Writing writing(folder);
  DecodeInto(writing, sound);
  ASSERT_TRUE(writing.wav.Finish().ok());
  EXPECT_EQ(Probe(folder + "/f.wav", "-show_entries stream=channels,channel_layout"),
            Probe(sound, "-show_entries stream=channels,channel_layout"));
}

// "A format change into a device or pipe goes to /dev/null-2".
TEST(WritersTest, APipeGetsNoSecondFileAndADeviceTakesAny) {
  const std::string folder = NewFolder("pipe");
  {
    std::error_code none;
    const auto before = std::filesystem::last_write_time("/dev/null-2", none);
    Y4mWriter writer("/dev/null");
    const std::vector<std::byte> gray(64);
    Picture picture;
    picture.planes[0] = gray.data();
    for (const uint32_t side : {4u, 8u, 4u}) {
      picture.format = {.pixel_format = PixelFormat::kGray8, .width = side, .height = side};
      EXPECT_TRUE(writer.Write(picture).ok());
    }
    EXPECT_TRUE(writer.Finish().ok());
    EXPECT_EQ(std::filesystem::last_write_time("/dev/null-2", none), before);
  }
  const std::string pipe = folder + "/pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  Writing writing(folder);
  Y4mWriter piped(pipe);
  const std::vector<std::byte> gray(64);
  Picture picture;
  picture.planes[0] = gray.data();
  picture.format = {.pixel_format = PixelFormat::kGray8, .width = 4, .height = 4};
  EXPECT_TRUE(piped.Write(picture).ok());
  picture.format.width = 8;
  const absl::Status second = piped.Write(picture);
  EXPECT_NE(std::string(second.message()).find("it gets no more"), std::string::npos) << second;
  EXPECT_EQ(FilesIn(folder), 1u);
  ::close(reader);
}

// A full disk, a limit on the size of files, a pipe without a reader: each has its sentence, and
// what was whole is kept.
TEST(WritersTest, EachTroubleOfAnOutputHasItsSentence) {
  const std::vector<std::byte> some(100'000);
  {
    auto file = cli::OutputFile::Create("/dev/full");
    ASSERT_TRUE(file.ok());
    const absl::Status written = file->Write(some);
    EXPECT_EQ(written.message(), "no space is left on the device of /dev/full");
    EXPECT_EQ(written.code(), absl::StatusCode::kResourceExhausted);
  }
  const std::string folder = NewFolder("trouble");
  const std::string pipe = folder + "/pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  auto file = cli::OutputFile::Create(pipe);
  ASSERT_TRUE(file.ok()) << file.status();
  ::close(reader);
  ::signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(file->Write(some).message(), "the reader of " + pipe + " has left");
}

TEST(OutputNamesTest, TheInputAndTheOtherOutputsAreProtectedThroughLinks) {
  const std::string folder = NewFolder("names");
  const std::string film = folder + "/film.y4m";
  std::filesystem::copy_file(TestClip("mono-8khz.wav"), film);
  std::filesystem::create_symlink(film, folder + "/soft");
  std::filesystem::create_hard_link(film, folder + "/hard");
  std::filesystem::create_symlink(folder, folder + "/self");
  std::filesystem::create_symlink("new.y4m", folder + "/dangling");
  const int fd = ::open(film.c_str(), O_RDONLY | O_CLOEXEC);
  OutputNames names;
  ASSERT_TRUE(names.ProtectInput(fd, film).ok());
  ::close(fd);
  for (const std::string name : {"film.y4m", "soft", "hard", "self/film.y4m", "./film.y4m"}) {
    EXPECT_EQ(names.Claim(folder + "/" + name, "--y4m").code(), absl::StatusCode::kInvalidArgument)
        << name;
  }
  ASSERT_TRUE(names.Claim(folder + "/new.y4m", "--y4m").ok());
  EXPECT_TRUE(names.Claim(folder + "/new.y4m", "--y4m").ok());
  for (const std::string name : {"new.y4m", "dangling", "self/new.y4m"}) {
    EXPECT_EQ(names.Claim(folder + "/" + name, "--wav").code(), absl::StatusCode::kInvalidArgument)
        << name;
  }
  EXPECT_TRUE(names.Claim("/dev/null", "--y4m").ok());
  EXPECT_TRUE(names.Claim("/dev/null", "--wav").ok());
  EXPECT_FALSE(names.Claim("/no/such/folder/x", "--wav").ok());
  // What is written later, behind the first file, asks as well.
  Y4mWriter writer(folder + "/film-0.y4m", &names);
  const std::vector<std::byte> gray(64);
  Picture picture;
  picture.planes[0] = gray.data();
  ASSERT_TRUE(names.Claim(folder + "/film-0-2.y4m", "--wav").ok());
  picture.format = {.pixel_format = PixelFormat::kGray8, .width = 4, .height = 4};
  EXPECT_TRUE(writer.Write(picture).ok());
  picture.format.width = 8;
  EXPECT_EQ(writer.Write(picture).code(), absl::StatusCode::kInvalidArgument);
}

TEST(WritersTest, TheContactSheetIsAPngWithTwelvePictures) {
  const std::string folder = NewFolder("sheet");
  Writing writing(folder);
  DecodeInto(writing, "h264-aac.mp4");
  ASSERT_TRUE(writing.sheet.Write(folder + "/sheet.png").ok());
  const std::string probe =
      RunCommand("ffprobe -v error -show_entries stream=codec_name,width,height -of csv=p=0 '" +
                 folder + "/sheet.png'")
          .output;
  // 4 x 3 pictures of 320x180, labels and margins.
  EXPECT_EQ(probe, "png,1350,662\n");
}

TEST(ThumbnailTest, ColoursAreRight) {
  // Pure red in BT.601, limited range.
  const std::vector<std::byte> y(64 * 64, std::byte{81});
  const std::vector<std::byte> u(32 * 32, std::byte{90});
  const std::vector<std::byte> v(32 * 32, std::byte{240});
  Picture picture;
  picture.format = {.pixel_format = PixelFormat::kI420,
                    .width = 64,
                    .height = 64,
                    .frame_rate = {},
                    .pixel_aspect = {2, 1}};
  picture.planes = {y.data(), u.data(), v.data(), nullptr};
  picture.strides_bytes = {64, 32, 32, 0};
  const RgbImage image = Thumbnail(picture, 16, 16);
  EXPECT_EQ(image.width(), 16u);
  EXPECT_EQ(image.height(), 8u);  // pixels are twice as wide as high
  EXPECT_NEAR(image.bytes()[0], 255, 2);
  EXPECT_NEAR(image.bytes()[1], 0, 2);
  EXPECT_NEAR(image.bytes()[2], 0, 2);
}

// "RGB at 720 lines and above has wrong colours in the contact sheet".
TEST(ThumbnailTest, RgbIsShownAsItIsAtAnySize) {
  for (const uint32_t height : {64u, 720u}) {
    const std::vector<std::byte> pixels(size_t{16} * height * 4, std::byte{0});
    std::vector<std::byte> red = pixels;
    for (size_t i = 2; i < red.size(); i += 4) red[i] = std::byte{200};
    Picture picture;
    picture.format = {.pixel_format = PixelFormat::kBgrx, .width = 16, .height = height};
    picture.planes[0] = red.data();
    picture.strides_bytes[0] = 64;
    const RgbImage image = Thumbnail(picture, 16, 16);
    EXPECT_EQ(image.bytes()[0], 200);
    EXPECT_EQ(image.bytes()[1], 0);
    EXPECT_EQ(image.bytes()[2], 0);
  }
}

// As ffmpeg turns it: with rotate=90 the left upper corner comes to the right.
TEST(ThumbnailTest, IsTurnedAsTheFilmSays) {
  std::vector<std::byte> gray(32 * 16, std::byte{0});
  for (size_t y = 0; y < 8; ++y) {
    for (size_t x = 0; x < 16; ++x) gray[y * 32 + x] = std::byte{255};
  }
  Picture picture;
  picture.format = {.pixel_format = PixelFormat::kGray8, .width = 32, .height = 16};
  picture.planes[0] = gray.data();
  picture.strides_bytes[0] = 32;
  const auto corner = [&](const DisplayMatrix& matrix) {
    picture.format.display_matrix = matrix;
    const RgbImage image = Thumbnail(picture, 32, 32);
    const auto at = [&](uint32_t x, uint32_t y) {
      return image.bytes()[(size_t{y} * image.width() + x) * 3] > 128;
    };
    const uint32_t r = image.width() - 1;
    const uint32_t b = image.height() - 1;
    return std::string(at(0, 0)   ? "left top"
                       : at(r, 0) ? "right top"
                       : at(0, b) ? "left bottom"
                       : at(r, b) ? "right bottom"
                                  : "nowhere") +
           (image.width() > image.height() ? " wide" : " high");
  };
  EXPECT_EQ(corner({}), "left top wide");
  EXPECT_EQ(corner({0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30}), "right top high");
  EXPECT_EQ(corner({-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30}), "right bottom wide");
  EXPECT_EQ(corner({0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30}), "left bottom high");
  EXPECT_EQ(corner({-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30}), "right top wide");
}

}  // namespace
}  // namespace parley::film
// NOLINTEND(performance-inefficient-string-concatenation)

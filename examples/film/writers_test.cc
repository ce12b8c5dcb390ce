#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/examples/film/contact_sheet.h"
#include "parley/examples/film/decoder.h"
#include "parley/examples/film/media_units.h"
#include "parley/examples/film/test_clip.h"
#include "parley/examples/film/thumbnail.h"
#include "parley/examples/film/wav_writer.h"
#include "parley/examples/film/y4m_writer.h"
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
  WarmUpDecoder();
  const std::vector<std::byte> film = ReadAll(TestClip(clip));
  auto decoder = FilmDecoder::Open(film);
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
                    .full_range = true};
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
  audio.samples = {reinterpret_cast<const std::byte*>(samples.data()), 8};
  ASSERT_TRUE(writer.Write(audio).ok());
  ASSERT_TRUE(writer.Finish().ok());
  const std::vector<std::byte> file = ReadAll(folder + "/f.wav");
  ASSERT_EQ(file.size(), 44u + 8u);
  float written[2];
  std::memcpy(written, file.data() + 44, 8);
  EXPECT_EQ(written[0], 0.0f);
  EXPECT_EQ(written[1], 8.0f);
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
                    .pixel_aspect = {2, 1},
                    .full_range = false};
  picture.planes = {y.data(), u.data(), v.data(), nullptr};
  picture.strides_bytes = {64, 32, 32, 0};
  const RgbImage image = Thumbnail(picture, 16, 16);
  EXPECT_EQ(image.width(), 16u);
  EXPECT_EQ(image.height(), 8u);  // pixels are twice as wide as high
  EXPECT_NEAR(image.bytes()[0], 255, 2);
  EXPECT_NEAR(image.bytes()[1], 0, 2);
  EXPECT_NEAR(image.bytes()[2], 0, 2);
}

}  // namespace
}  // namespace parley::film
// NOLINTEND(performance-inefficient-string-concatenation)

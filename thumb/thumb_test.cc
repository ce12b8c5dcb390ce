// SPDX-License-Identifier: Apache-2.0

// The whole of parley-thumb with undamaged files: each picture equals the one that is decoded
// without a sandbox, and the one that ffmpeg makes.

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/av/byte_source.h"
#include "parley/boundary/wire_copy.h"
#include "parley/os/deadline.h"
#include "parley/tests/process.h"
#include "parley/thumb/make_thumbnail.h"
#include "parley/thumb/media_file.h"
#include "parley/thumb/testing_media.h"

namespace parley::thumb {
namespace {

using testing::Difference;
using testing::FfmpegPicture;
using testing::Media;
using testing::ReadFile;
using testing::ReadPng;

// The same scaling as ours.
constexpr char kFlags[] = ":flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact";

std::string NewFolder(const std::string& name) {
  std::string folder = ::testing::TempDir() + "/" + name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

struct Ran {
  int exit_code = -1;
  std::string output;
  std::string errors;
};

Ran Thumb(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), Binary("thumb/parley_thumb"));
  Process process(std::move(arguments));
  process.EndInput();
  Ran ran;
  ran.exit_code = process.Wait(Deadline::After(absl::Minutes(4)));
  ran.output = process.output();
  ran.errors = process.errors();
  return ran;
}

Picture ThumbOf(const std::string& path, std::vector<std::string> flags = {}) {
  const std::string out = ::testing::TempDir() + "/one.png";
  ::unlink(out.c_str());
  flags.insert(flags.end(), {"--output", out, path});
  const Ran ran = Thumb(std::move(flags));
  EXPECT_EQ(ran.exit_code, 0) << path << ": " << ran.errors;
  return ReadPng(out);
}

// In this process, with nothing around it.
Picture Unsandboxed(const std::string& path, const ThumbRequest& request = {}) {
  WarmUpLibav();
  const std::string bytes = ReadFile(path);
  av::SpanSource source(BytesOfWire(absl::MakeConstSpan(bytes.data(), bytes.size())));
  const auto result = MakeThumbnail(source, request);
  EXPECT_TRUE(result.ok()) << path << ": " << result.status();
  return result.ok() ? *result->picture : Picture();
}

void ExpectSame(const Picture& a, const Picture& b, const std::string& what) {
  EXPECT_EQ(a.width, b.width) << what;
  EXPECT_EQ(a.height, b.height) << what;
  EXPECT_EQ(a.channels, b.channels) << what;
  EXPECT_TRUE(a.bytes == b.bytes) << what << " differs by " << Difference(a, b);
}

// Whose picture ffmpeg makes another way, or not at all.
bool HasATestOfItsOwn(const std::string& name) {
  return name == "sound.ogg" || name == "seek.mp4" || name == "animated.webp" ||
         name == "alpha.png" || name == "wide.png" || name.find("pixels-") == 0 ||
         name == "pq.mkv" || name == "hlg.mkv";
}

TEST(ThumbTest, EachPictureEqualsTheOneThatIsDecodedWithoutASandboxAndIsFfmpegs) {
  const std::string folder = NewFolder("all");
  std::vector<std::string> arguments = {"--size=100x80", "--at=0", "--output", folder, "--verbose"};
  std::vector<std::string> names;
  for (const std::string& name : testing::MediaNames()) {
    if (name == "sound.ogg") continue;
    names.push_back(name);
    arguments.push_back(Media(name));
  }
  EXPECT_GE(names.size(), 30u);
  const Ran ran = Thumb(std::move(arguments));
  EXPECT_EQ(ran.exit_code, 0) << ran.errors;
  EXPECT_NE(ran.errors.find(absl::StrCat(names.size(), " files: ", names.size(), " made")),
            std::string::npos)
      << ran.errors;
  ThumbRequest request;
  request.max_width = 100;
  request.max_height = 80;
  request.at.kind = PictureTime::Kind::kNanoseconds;
  for (const std::string& name : names) {
    const Picture picture = ReadPng(folder + "/" + name + ".png");
    ExpectSame(picture, Unsandboxed(Media(name), request), name);
    if (HasATestOfItsOwn(name)) continue;
    EXPECT_EQ(picture.width, 100u) << name;
    EXPECT_EQ(picture.height, 75u) << name;
    EXPECT_LT(Difference(picture, FfmpegPicture(Media(name), "",
                                                absl::StrCat("scale=100:75", kFlags), 100, 75)),
              0.6)
        << name;
  }
}

TEST(ThumbTest, ATimeIsThatOfFfmpeg) {
  const std::string film = Media("seek.mp4");
  for (const char* at : {"0", "0.31", "2", "3.45", "5.9"}) {
    const Picture ours = ThumbOf(film, {"--size=160", absl::StrCat("--at=", at)});
    const Picture theirs = FfmpegPicture(film, absl::StrCat("-ss ", at),
                                         absl::StrCat("scale=160:120", kFlags), 160, 120);
    EXPECT_LT(Difference(ours, theirs), 0.6) << at;
  }
  // The counter in the picture tells all of these apart.
  const Picture last = ThumbOf(film, {"--size=160", "--at=5.9"});
  EXPECT_GT(Difference(last, ThumbOf(film, {"--size=160", "--at=3.45"})), 0.6);
  // Behind the end: the last one.
  ExpectSame(ThumbOf(film, {"--size=160", "--at=1:00"}), last, "behind the end");
  ExpectSame(ThumbOf(film, {"--size=160", "--at=50%"}), ThumbOf(film, {"--size=160", "--at=3"}),
             "a part");
  // The key picture before 0.6 s.
  ExpectSame(ThumbOf(film, {"--size=160"}), ThumbOf(film, {"--size=160", "--at=0"}), "auto");
}

TEST(ThumbTest, AGridShowsTheMiddlesOfEqualParts) {
  const std::string film = Media("seek.mp4");
  const Picture sheet = ThumbOf(film, {"--size=80", "--grid=3x2"});
  ASSERT_EQ(sheet.width, 3 * 80u + 2 * 4);
  ASSERT_EQ(sheet.height, 2 * 60u + 4);
  // 6 s in six parts.
  for (uint32_t i = 0; i < 6; ++i) {
    Picture cell;
    cell.width = 80;
    cell.height = 60;
    for (uint32_t y = 0; y < 60; ++y) {
      const size_t at = sheet.At(i % 3 * 84, i / 3 * 64 + y);
      cell.bytes.insert(cell.bytes.end(), sheet.bytes.begin() + static_cast<ptrdiff_t>(at),
                        sheet.bytes.begin() + static_cast<ptrdiff_t>(at) + 80 * 3);
    }
    ExpectSame(cell, ThumbOf(film, {"--size=80", absl::StrCat("--at=", i, ".5")}),
               absl::StrCat("cell ", i));
  }
}

TEST(ThumbTest, PicturesStandUpright) {
  for (const char* turn : {"turned-90.mp4", "turned-180.mp4", "turned-270.mp4"}) {
    const bool lies = std::string(turn) != "turned-180.mp4";
    const uint32_t width = lies ? 60 : 80;
    const uint32_t height = lies ? 80 : 60;
    // ffmpeg turns by itself, before it scales.
    const Picture theirs = FfmpegPicture(
        Media(turn), "", absl::StrCat("scale=", width, ":", height, kFlags), width, height);
    const Picture ours = ThumbOf(Media(turn), {"--size=80"});
    EXPECT_LT(Difference(ours, theirs), 1.5) << turn;
    EXPECT_GT(Difference(ours, ThumbOf(Media("h264.mp4"), {"--size=80"})), 20) << turn;
  }
}

// EXIF of a camera that was held on its side, and of one that mirrors.
TEST(ThumbTest, AJpegsExifIsFollowed) {
  const std::string jpeg = ReadFile(Media("jpeg.jpg"));
  const Picture upright = ThumbOf(Media("jpeg.jpg"), {"--size=160"});
  for (const char orientation : {'\x02', '\x03', '\x06', '\x08'}) {
    const std::string tiff = std::string("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0", 18) +
                             orientation + std::string(7, '\0');
    const std::string exif = std::string("Exif\0\0", 6) + tiff;
    const std::string path = ::testing::TempDir() + "/exif.jpg";
    testing::WriteFile(path, jpeg.substr(0, 2) + "\xff\xe1" + '\0' +
                                 static_cast<char>(exif.size() + 2) + exif + jpeg.substr(2));
    const Picture turned = ThumbOf(path, {"--size=160"});
    Picture expected;
    const bool lies = orientation >= 5;
    expected.width = lies ? upright.height : upright.width;
    expected.height = lies ? upright.width : upright.height;
    for (uint32_t y = 0; y < expected.height; ++y) {
      for (uint32_t x = 0; x < expected.width; ++x) {
        uint32_t from_x = upright.width - 1 - x;
        uint32_t from_y = y;
        if (orientation == 3) from_y = upright.height - 1 - y;
        if (orientation == 6) {
          from_x = y;
          from_y = upright.height - 1 - x;
        }
        if (orientation == 8) {
          from_x = upright.width - 1 - y;
          from_y = x;
        }
        for (size_t c = 0; c < 3; ++c) {
          expected.bytes.push_back(upright.bytes[upright.At(from_x, from_y) + c]);
        }
      }
    }
    ExpectSame(turned, expected, absl::StrCat("orientation ", int{orientation}));
  }
}

TEST(ThumbTest, PixelsAreMadeSquare) {
  // 160x120 with pixels of 4:3 is 213x120; of 1:2 it is 160x240.
  const Picture wide = ThumbOf(Media("pixels-4-3.mkv"), {"--size=100"});
  EXPECT_LT(Difference(wide, FfmpegPicture(Media("pixels-4-3.mkv"), "",
                                           absl::StrCat("scale=100:56", kFlags), 100, 56)),
            0.6);
  const Picture tall = ThumbOf(Media("pixels-1-2.mkv"), {"--size=120"});
  EXPECT_LT(Difference(tall, FfmpegPicture(Media("pixels-1-2.mkv"), "",
                                           absl::StrCat("scale=80:120", kFlags), 80, 120)),
            0.6);
}

TEST(ThumbTest, ACoverIsThePictureOfSound) {
  const Picture cover = ThumbOf(Media("cover.mp3"), {"--size=100"});
  ExpectSame(cover, ThumbOf(Media("jpeg.jpg"), {"--size=100"}), "cover");
  const Ran none = Thumb({"--output=" + ::testing::TempDir() + "/none.png", Media("sound.ogg")});
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_NE(none.errors.find("there is no picture in it"), std::string::npos) << none.errors;
}

// Players guess another matrix from 1280x720 on, but RGB has none to be guessed.
TEST(ThumbTest, RgbKeepsItsColoursAtEachSize) {
  for (const char* size : {"640x360", "1280x720"}) {
    for (const char* format : {"rgb24", "rgba", "rgb48be", "pal8", "gray"}) {
      const std::string path = Media(absl::StrCat("sized-", format, "-", size, ".png"));
      EXPECT_LT(
          Difference(ThumbOf(path, {"--size=320"}),
                     FfmpegPicture(path, "", absl::StrCat("scale=320:180", kFlags), 320, 180)),
          2)
          << path;
    }
  }
}

// libav 5.1 reads no animated WebP; the same picture lies in the animated PNG.
TEST(ThumbTest, AnAnimatedWebpIsItsFirstPicture) {
  ExpectSame(ThumbOf(Media("animated.webp"), {"--size=100"}),
             ThumbOf(Media("animated.apng"), {"--size=100"}), "animated.webp");
}

TEST(ThumbTest, AnAnimatedWebpHasAPictureForEachTime) {
  for (const char* at : {"0.1", "0.5", "1.2", "99"}) {
    const std::string option = absl::StrCat("--at=", at);
    ExpectSame(ThumbOf(Media("animated.webp"), {"--size=100", option}),
               ThumbOf(Media("animated.apng"), {"--size=100", option}), option);
  }
  const Picture sheet = ThumbOf(Media("animated.webp"), {"--size=100", "--grid=2x1"});
  const Picture one = ThumbOf(Media("animated.webp"), {"--size=100"});
  EXPECT_EQ(sheet.width, 2 * one.width + kGridGap);
  EXPECT_EQ(sheet.height, one.height);
}

TEST(ThumbTest, WhatIsTransparentStaysSo) {
  const Picture picture = ThumbOf(Media("alpha.png"));
  ASSERT_EQ(picture.channels, 4u);
  EXPECT_EQ(picture.bytes[picture.At(10, 60) + 3], 0);
  EXPECT_EQ(picture.bytes[picture.At(150, 60) + 3], 255);
}

TEST(ThumbTest, HighDynamicRangeLooksAsOnAnOrdinaryScreen) {
  // Hable's curve in ffmpeg, with the same peak.
  const std::string filter =
      "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0:peak=10,"
      "zscale=t=iec61966-2-1:m=gbr:r=full,format=gbrp,scale=160:120";
  const Picture pq = ThumbOf(Media("pq.mkv"), {"--size=160"});
  const Picture sdr = ThumbOf(Media("h264.mp4"), {"--size=160"});
  EXPECT_LT(Difference(pq, FfmpegPicture(Media("pq.mkv"), "", filter, 160, 120)), 5);
  // Without a tone map it would be gray.
  EXPECT_LT(Difference(pq, sdr), 40);
  const Picture hlg = ThumbOf(Media("hlg.mkv"), {"--size=160"});
  EXPECT_LT(Difference(hlg, FfmpegPicture(Media("hlg.mkv"), "", filter, 160, 120)), 12);
}

TEST(ThumbTest, ExtremeShapesAreReducedInSteps) {
  const Picture picture = ThumbOf(Media("wide.png"), {"--size=50"});
  EXPECT_EQ(picture.width, 50u);
  EXPECT_EQ(picture.height, 1u);
}

TEST(ThumbTest, JsonSaysWhatIsInEachFile) {
  const Ran ran = Thumb({"--json", Media("h264.mp4"), Media("pq.mkv"), Media("turned-90.mp4"),
                         Media("cover.mp3"), "/nowhere/x"});
  EXPECT_EQ(ran.exit_code, 1);
  const auto has = [&](const std::string& text) {
    EXPECT_NE(ran.output.find(text), std::string::npos) << text << "\n" << ran.output;
  };
  EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 5);
  has("\"container\":\"mov,mp4,m4a,3gp,3g2,mj2\",\"duration_seconds\":0.5");
  has("\"kind\":\"video\",\"codec\":\"h264\",\"profile\":\"High\",\"decodable\":true,\"width\":160,"
      "\"height\":120");
  has("\"kind\":\"audio\",\"codec\":\"aac\"");
  has("\"samples_per_second\":16000,\"channels\":1");
  has("\"primaries\":\"bt2020\",\"transfer\":\"smpte2084\",\"matrix\":\"bt2020nc\"");
  has("\"rotation_degrees\":270");
  has("\"attached_picture\":true");
  has("{\"file\":\"/nowhere/x\",\"error\":\"cannot open it");
}

TEST(ThumbTest, ProgressIsShownOnATerminalAlone) {
  const std::string command =
      absl::StrCat(Binary("thumb/parley_thumb"), " --size=50 --output ", NewFolder("terminal"), " ",
                   Media("png.png"), " ", Media("jpeg.jpg"));
  Process terminal({"script", "-qec", command, "/dev/null"});
  terminal.EndInput();
  EXPECT_EQ(terminal.Wait(Deadline::After(absl::Minutes(1))), 0) << terminal.errors();
  EXPECT_NE(terminal.output().find("\r\x1b[K[============            ] 1 of 2 files"),
            std::string::npos)
      << terminal.output();
  Process pipe({"/bin/sh", "-c", command});
  EXPECT_EQ(pipe.Wait(Deadline::After(absl::Minutes(1))), 0);
  EXPECT_EQ(pipe.errors(), "parley-thumb: 2 files: 2 made\n");
}

TEST(ThumbTest, PipesOnBothSides) {
  const std::string script =
      absl::StrCat(Binary("thumb/parley_thumb"), " --size=50 --format=ppm - < ", Media("png.png"),
                   " | head -c 13");
  Process shell({"/bin/sh", "-c", script});
  EXPECT_EQ(shell.Wait(Deadline::After(absl::Minutes(1))), 0) << shell.errors();
  EXPECT_EQ(shell.output().substr(0, 12), "P6\n50 38\n255");
}

TEST(ThumbTest, WrongArgumentsAreRefusedBeforeAnythingIsRead) {
  EXPECT_EQ(Thumb({}).exit_code, 2);
  EXPECT_EQ(Thumb({"--size=0", "x"}).exit_code, 2);
  EXPECT_EQ(Thumb({"--nonsense", "x"}).exit_code, 2);
  EXPECT_EQ(Thumb({"a/x.png", "b/x.png"}).exit_code, 2);
  EXPECT_EQ(Thumb({"--output=-", Media("png.png"), Media("jpeg.jpg")}).exit_code, 2);
  EXPECT_EQ(Thumb({"--output=" + Media("png.png"), Media("png.png")}).exit_code, 2);
  EXPECT_EQ(Thumb({"--help"}).exit_code, 0);
  EXPECT_EQ(Thumb({"--worker=/nowhere/worker", Media("png.png")}).exit_code, 4);
}

}  // namespace
}  // namespace parley::thumb

// SPDX-License-Identifier: Apache-2.0

// Runs the real viewer and the real worker.

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "parley/examples/film/test_clip.h"
#include "parley/testing/sanitizers.h"

// Commands are put together a few times per test.
// NOLINTBEGIN(performance-inefficient-string-concatenation)
namespace parley::film {
namespace {

const char kViewer[] = "examples/film/film";

// The sanitizer profile answers the opening of files with an error where the real one ends the
// process: the runtimes try to, and the attacker gets nowhere either way.
const char* const kWhatOpeningAFileLeadsTo =
    PARLEY_HAS_SANITIZER ? "it said nothing" : "it called openat";

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

// Waits for children that somebody else left to us: their number, or -1 if one of them still runs
// after a second.
int Orphans() {
  int orphans = 0;
  for (int tries = 0; tries < 100;) {
    const pid_t pid = ::waitpid(-1, nullptr, WNOHANG);
    if (pid < 0) return orphans;
    if (pid > 0) {
      ++orphans;
    } else {
      ++tries;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  return -1;
}

class FilmTest : public ::testing::Test {
 protected:
  // Whatever a viewer leaves behind becomes our child.
  void SetUp() override { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }
  // No worker is left behind, neither running nor as a zombie.
  void TearDown() override { EXPECT_EQ(Orphans(), 0); }
  CommandResult Film(const std::string& arguments) {
    return RunCommand(std::string(kViewer) + " " + arguments);
  }
};

bool Says(const CommandResult& result, const std::string& text) {
  return result.output.find(text) != std::string::npos;
}

class FilmClipTest : public FilmTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(FilmClipTest, ArrivesIdentical) {
  const CommandResult result = Film("--verify '" + TestClip(GetParam()) + "'");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_TRUE(Says(result, "verified   all ")) << result.output;
}

INSTANTIATE_TEST_SUITE_P(Clips, FilmClipTest, ::testing::ValuesIn(TestClipNames()),
                         [](const auto& clip) {
                           std::string name = clip.param;
                           for (char& c : name) c = std::isalnum(c) != 0 ? c : '_';
                           return name;
                         });

struct HijackCase {
  std::string kind;
  std::string what_the_viewer_says;
};

class FilmHijackTest : public FilmTest, public ::testing::WithParamInterface<HijackCase> {};

TEST_P(FilmHijackTest, TheWholeFilmIsDeliveredAllTheSame) {
  const CommandResult result = Film("--verify --patience=3s --hijack=" + GetParam().kind + " '" +
                                    TestClip("h264-aac.mp4") + "'");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_TRUE(Says(result, "threw the worker away after ")) << result.output;
  EXPECT_TRUE(Says(result, GetParam().what_the_viewer_says)) << result.output;
  EXPECT_TRUE(Says(result, "another worker resumes at key picture ")) << result.output;
  EXPECT_TRUE(Says(result, "verified   all 50 pictures ")) << result.output;
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, FilmHijackTest,
    ::testing::Values(
        HijackCase{"index-jump", "producer position out of range"},
        HijackCase{"length-lie", "record longer than the agreed maximum"},
        HijackCase{"rewind", "producer position"}, HijackCase{"silence", "said nothing for 3s"},
        HijackCase{"flood", "doorbell signalled again and again without progress"},
        HijackCase{"truncate", "it called ftruncate"}, HijackCase{"death", "killed by signal"},
        HijackCase{"bad-frame", "outside the payload"}, HijackCase{"format-flood", "format record"},
        HijackCase{"early-end", "ended the stream without"},
        HijackCase{"open-file", kWhatOpeningAFileLeadsTo}),
    [](const auto& kind) {
      std::string name = kind.param.kind;
      for (char& c : name) c = std::isalnum(c) != 0 ? c : '_';
      return name;
    });

TEST_F(FilmTest, ARewrittenPayloadLeavesTheViewerSoundAndVerifyNamesThePictures) {
  const CommandResult result =
      Film("--verify --hijack=payload-rewrite '" + TestClip("h264-aac.mp4") + "'");
  EXPECT_EQ(result.exit_code, 3) << result.output;
  EXPECT_TRUE(Says(result, "delivered  50 pictures")) << result.output;
  EXPECT_TRUE(Says(result, "pictures differ: 2")) << result.output;
}

TEST_F(FilmTest, AHijackInTheMiddleOfSoundLosesNoSample) {
  const CommandResult result =
      Film("--verify --hijack=index-jump '" + TestClip("audio-only.ogg") + "'");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_TRUE(Says(result, "threw the worker away")) << result.output;
  EXPECT_TRUE(Says(result, "verified   all 0 pictures")) << result.output;
}

TEST_F(FilmTest, WritesWhatItSays) {
  const std::string folder = NewFolder("outputs");
  const CommandResult result =
      Film("--hijack=death --y4m=" + folder + "/f.y4m --wav=" + folder +
           "/f.wav --sheet=" + folder + "/f.png '" + TestClip("h264-aac.mp4") + "'");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(FilesIn(folder), 3u);
  const auto md5 = [](const std::string& file, const std::string& stream) {
    return RunCommand("ffmpeg -nostdin -loglevel error -i '" + file + "' -map 0:" + stream +
                      (stream == "v" ? " -c:v rawvideo" : " -c:a pcm_f32le") +
                      " -vsync passthrough -f md5 -")
        .output;
  };
  for (const auto& [file, stream] : {std::pair("f.y4m", "v"), std::pair("f.wav", "a")}) {
    EXPECT_EQ(md5(folder + "/" + file, stream), md5(TestClip("h264-aac.mp4"), stream)) << file;
  }
}

struct BadFile {
  std::string name;
  std::string content;
  std::string says;
};

TEST_F(FilmTest, WhatIsNoFilmGetsOneSentence) {
  const std::string folder = NewFolder("bad");
  const std::vector<BadFile> files = {
      {"empty", "", "the file is empty"},
      {"text", std::string(5000, 'x'), "not a film"},
      {"zeros", std::string(100000, '\0'), "not a film"},
      {"playlist", "#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "not a film"},
  };
  for (const BadFile& bad : files) {
    const std::string path = folder + "/" + bad.name;
    std::ofstream(path, std::ios::binary) << bad.content;
    const CommandResult result = Film("--y4m=" + folder + "/out.y4m '" + path + "'");
    EXPECT_EQ(result.exit_code, 1) << bad.name << result.output;
    EXPECT_TRUE(Says(result, bad.says)) << bad.name << ": " << result.output;
    EXPECT_EQ(std::count(result.output.begin(), result.output.end(), '\n'), 1) << result.output;
    EXPECT_FALSE(std::filesystem::exists(folder + "/out.y4m")) << bad.name;
  }
  EXPECT_EQ(FilesIn(folder), files.size());
}

TEST_F(FilmTest, DirectoriesMissingFilesAndLimitsGetOneSentence) {
  const std::string clip = TestClip("h264-aac.mp4");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"/", "this is a directory"},
      {"/dev/zero", "no regular file"},
      {"/no/such/file", "No such file"},
      {"--max_frame_mib=1 '" + TestClip("odd-size.mp4") + "'",
       "more than the receiver's limit of 1048576"},
      {"--y4m=/no/such/folder/f.y4m '" + clip + "'", "/no/such/folder/f.y4m"},
      {"--worker=/no/such/worker '" + clip + "'", "/no/such/worker"},
      {"--worker=/bin/true '" + clip + "'", "ended normally"},
  };
  for (const auto& [arguments, says] : cases) {
    const CommandResult result = Film(arguments);
    EXPECT_EQ(result.exit_code, 1) << arguments << result.output;
    EXPECT_TRUE(Says(result, says)) << arguments << ": " << result.output;
    EXPECT_EQ(std::count(result.output.begin(), result.output.end(), '\n'), 1) << result.output;
  }
}

// Not with the sanitizers: they need descriptors and address space of their own.
#if !PARLEY_HAS_SANITIZER
// With each limit from hopeless to comfortable: it works, or there is one sentence.
void ExpectOneSentenceBelow(const std::string& limit, int from, int to, int step,
                            const std::string& unit) {
  const std::string folder = NewFolder("limited");
  bool failed = false;
  for (int value = from; value <= to; value += step) {
    const CommandResult result =
        RunCommand("prlimit --" + limit + "=" + std::to_string(value) + unit + " " + kViewer +
                   " --sheet=" + folder + "/s.png '" + TestClip("h264-aac.mp4") + "'");
    if (result.exit_code == 0) continue;
    // Too little even for the dynamic loader, or for prlimit: not our sentence.
    if (Says(result, "shared librar") || Says(result, "prlimit:")) continue;
    failed = true;
    EXPECT_EQ(result.exit_code, 1) << value << ": " << result.output;
    EXPECT_EQ(std::count(result.output.begin(), result.output.end(), '\n'), 1)
        << value << ": " << result.output;
  }
  EXPECT_TRUE(failed) << "the limit was never felt";
  EXPECT_LE(FilesIn(folder), 1u);
}

TEST_F(FilmTest, AFullDescriptorTableGetsOneSentence) {
  ExpectOneSentenceBelow("nofile", 4, 20, 1, "");
}

TEST_F(FilmTest, NoMemoryGetsOneSentence) { ExpectOneSentenceBelow("as", 225, 450, 15, "000000"); }
#endif

std::string Make(const std::string& path, const std::string& arguments) {
  const CommandResult made =
      RunCommand("ffmpeg -nostdin -loglevel error -y " + arguments + " '" + path + "'");
  EXPECT_EQ(made.exit_code, 0) << made.output;
  return path;
}

// "Honest files are called attacks and cost three workers each": one worker, and either the film or
// one sentence about a limit.
TEST_F(FilmTest, HonestFilesAreNoAttacks) {
  const std::string folder = NewFolder("honest");
  const std::string jpegs = folder + "/sizes.mjpeg";
  for (const std::string size : {"64x48", "80x48"}) {
    Make(folder + "/" + size + ".jpg",
         "-f lavfi -i testsrc2=size=" + size + " -frames:v 1 -pix_fmt yuvj420p");
  }
  RunCommand("for i in $(seq 60); do cat '" + folder + "/64x48.jpg' '" + folder +
             "/80x48.jpg'; done >'" + jpegs + "'");
  struct Case {
    std::string file;
    std::string says;
    int exit_code;
  };
  const std::vector<Case> cases = {
      {Make(folder + "/wide.png", "-f lavfi -i color=red:size=20000x16 -frames:v 1"), "20000x16",
       0},
      {Make(folder + "/megahertz.wav",
            "-f lavfi -i sine=duration=0.01:sample_rate=96000 -af asetrate=1000000 -c:a pcm_s16le"),
       "1000000 Hz", 0},
      {Make(
           folder + "/channels.wav", "-f lavfi -i 'aevalsrc=" +
                                         [] {
                                           std::string all = "0";
                                           for (int i = 1; i < 64; ++i) all += "|0";
                                           return all;
                                         }() +
                                         ":d=0.01' -c:a pcm_s16le"),
       "64 channels", 0},
      {jpegs, "120 pictures", 0},
  };
  for (const Case& honest : cases) {
    const CommandResult result = Film("--verify '" + honest.file + "'");
    EXPECT_EQ(result.exit_code, honest.exit_code) << honest.file << result.output;
    EXPECT_TRUE(Says(result, honest.says)) << honest.file << result.output;
    EXPECT_FALSE(Says(result, "threw the worker away")) << honest.file << result.output;
  }
}

// Damaged pictures of a codec that starts threads or aborts, and lists of other files.
TEST_F(FilmTest, DamagedPicturesCostOneWorker) {
  const std::string folder = NewFolder("damaged-pictures");
  for (const std::string name : {"p.jxl", "p.webp", "p.png", "p.jpg", "p.tif", "p.gif"}) {
    const std::string path =
        Make(folder + "/" + name, "-f lavfi -i testsrc2=size=320x180 -frames:v 1");
    std::vector<std::byte> bytes = ReadAll(path);
    for (size_t at = bytes.size() / 2; at < bytes.size() / 2 + 40 && at < bytes.size(); ++at) {
      bytes[at] ^= std::byte{0x5a};
    }
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    const CommandResult result = Film("'" + path + "'");
    EXPECT_FALSE(Says(result, "threw the worker away")) << name << result.output;
    EXPECT_TRUE(result.exit_code == 0 || result.exit_code == 1 || result.exit_code == 4)
        << name << result.output;
  }
}

TEST_F(FilmTest, OutputsThatAreTheInputOrEachOtherAreRefusedBeforeAnythingIsWritten) {
  const std::string folder = NewFolder("same");
  const std::string film = folder + "/film.mp4";
  std::filesystem::copy_file(TestClip("h264-aac.mp4"), film);
  std::filesystem::create_hard_link(film, folder + "/hard.y4m");
  std::filesystem::create_symlink(film, folder + "/soft.wav");
  const auto before = std::filesystem::last_write_time(film);
  const uint64_t size = std::filesystem::file_size(film);
  for (const std::string& flags : std::vector<std::string>{
           "--y4m=" + film, "--y4m=" + folder + "/hard.y4m", "--wav=" + folder + "/soft.wav",
           "--sheet=" + folder + "/./film.mp4", "--list=" + folder + "/hard.y4m",
           "--y4m=" + folder + "/a --wav=" + folder + "/../same/a"}) {
    const CommandResult result = Film(flags + " '" + film + "'");
    EXPECT_EQ(result.exit_code, 2) << flags << result.output;
    EXPECT_TRUE(Says(result, "would write to")) << flags << result.output;
  }
  EXPECT_EQ(std::filesystem::file_size(film), size);
  EXPECT_EQ(std::filesystem::last_write_time(film), before);
  EXPECT_EQ(FilesIn(folder), 3u);
}

TEST_F(FilmTest, AReaderThatLeavesLosesItsOwnOutputOnly) {
  const std::string folder = NewFolder("reader");
  const CommandResult result = RunCommand("mkfifo '" + folder + "/pipe'; head -c 100000 '" +
                                          folder + "/pipe' >/dev/null & " + kViewer + " --y4m='" +
                                          folder + "/pipe' --wav='" + folder + "/f.wav' --sheet='" +
                                          folder + "/f.png' '" + TestClip("h264-aac.mp4") + "'");
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_TRUE(Says(result, "the reader of " + folder + "/pipe has left")) << result.output;
  EXPECT_TRUE(Says(result, "delivered  50 pictures")) << result.output;
  EXPECT_TRUE(std::filesystem::exists(folder + "/f.wav"));
  EXPECT_TRUE(std::filesystem::exists(folder + "/f.png"));
}

TEST_F(FilmTest, AFullDiskGetsItsOwnSentence) {
  const CommandResult result = Film("--y4m=/dev/full '" + TestClip("h264-aac.mp4") + "'");
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_TRUE(Says(result, "no space is left on the device of /dev/full")) << result.output;
  EXPECT_FALSE(Says(result, "shared")) << result.output;
}

TEST_F(FilmTest, AFilmThatGoesOnForEverEndsAtTheBudget) {
  // 50 pictures of 24.9 MB: 1.2 GiB.
  const std::string film =
      Make(NewFolder("budget") + "/f.mkv",
           "-f lavfi -i color=gray:size=3840x2160:rate=25:duration=2 -pix_fmt yuv444p -c:v ffv1");
  const CommandResult result = Film("--max_output_gib=1 '" + film + "'");
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_TRUE(Says(result, "more than 1 GiB of pictures and sound")) << result.output;
}

// What a film costs in copies, from the decoder to whoever looks: none in place, and one where the
// viewer wants bytes that stay.
TEST_F(FilmTest, PicturesOf1080And2160LinesAndTheirSoundAreCopiedOnceOrNotAtAll) {
  const std::string folder = NewFolder("large");
  for (const std::string size : {"1920x1080", "3840x2160"}) {
    const std::string clip = folder + "/" + size + ".mp4";
    ASSERT_EQ(RunCommand("ffmpeg -loglevel error -nostdin -f lavfi -i testsrc2=size=" + size +
                         ":rate=25:duration=0.32 -f lavfi -i sine=duration=0.32 -c:v libx264 "
                         "-preset ultrafast -bf 2 -c:a aac " +
                         clip)
                  .exit_code,
              0);
    for (const auto& [flag, times] :
         {std::pair("", "once, by the viewer"), std::pair("--in_place ", "nowhere")}) {
      const CommandResult result = Film(std::string("--verify ") + flag + clip);
      EXPECT_EQ(result.exit_code, 0) << result.output;
      // 0.32 s at 44.1 kHz in blocks of 1024.
      EXPECT_TRUE(
          Says(result,
               "in place   8 pictures and 14 blocks of sound, sent where they were decoded, "
               "and copied " +
                   std::string(times)))
          << result.output;
      EXPECT_FALSE(Says(result, "\ncopied ")) << result.output;
      EXPECT_TRUE(Says(result, "verified   all 8 pictures")) << result.output;
    }
  }
  // What is converted is copied twice; the sound beside it is not.
  const CommandResult converted = Film("--y4m=" + folder + "/f.y4m '" + TestClip("rgb.mkv") + "'");
  EXPECT_TRUE(Says(converted,
                   "copied     25 pictures and 0 blocks of sound, once by the worker, and once by "
                   "the viewer"))
      << converted.output;
  const CommandResult sound =
      Film("--wav=" + folder + "/f.wav '" + TestClip("audio-only.ogg") + "'");
  EXPECT_TRUE(Says(sound, "in place   0 pictures and ")) << sound.output;
  EXPECT_FALSE(Says(sound, "\ncopied ")) << sound.output;
}

// Above 2 GiB, with its index at the end: what is not needed is not read, nor held in memory.
TEST_F(FilmTest, AFilmOfThreeGibibytesIsStreamed) {
  if (PARLEY_HAS_SANITIZER) GTEST_SKIP() << "a sanitizer's shadow memory is above the limit";
  const std::string film = NewFolder("three") + "/f.mp4";
  std::filesystem::copy_file(TestClip("h264-aac.mp4"), film);
  const uint64_t begins = std::filesystem::file_size(film);
  // A "free" box of 3 GiB behind the film, by its 64-bit size, and nothing in it.
  std::ofstream(film, std::ios::binary | std::ios::app)
      << std::string("\0\0\0\1free\0\0\0\0\xc0\0\0\0", 16);
  std::filesystem::resize_file(film, begins + (uint64_t{3} << 30));
  const CommandResult result =
      RunCommand(std::string("prlimit --as=1500000000 ") + kViewer + " --verify '" + film + "'");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_TRUE(Says(result, "verified   all 50 pictures")) << result.output;
  std::filesystem::remove(film);
}

TEST_F(FilmTest, WhatWasConvertedForY4mIsVerifiedByItsColours) {
  const std::string folder = NewFolder("converted");
  for (const std::string how :
       {"-pix_fmt yuv440p -color_range pc -c:v libvpx-vp9 -deadline realtime",
        "-pix_fmt bgr0 -c:v ffv1", "-pix_fmt gbrp10le -c:v ffv1", "-pix_fmt pal8 -c:v png",
        "-pix_fmt monob -c:v png", "-s 1280x720 -pix_fmt bgr0 -c:v ffv1",
        "-pix_fmt yuv410p -c:v ffv1", "-pix_fmt ya8 -c:v png", "-pix_fmt ya16be -c:v png",
        "-pix_fmt rgba -c:v png"}) {
    const std::string film =
        Make(folder + "/f.mkv", "-f lavfi -i testsrc2=size=160x96:rate=25:duration=0.2 " + how);
    const CommandResult result = Film("--verify --y4m=" + folder + "/f.y4m '" + film + "'");
    EXPECT_EQ(result.exit_code, 0) << how << result.output;
    EXPECT_TRUE(Says(result, "verified   all 5 pictures")) << how << result.output;
  }
  // What no receiver knows is converted in any case.
  for (const std::string how : {"pal8", "monob"}) {
    const std::string film =
        Make(folder + "/f.png", "-f lavfi -i testsrc2=size=160x96 -frames:v 1 -pix_fmt " + how);
    const CommandResult result = Film("--verify '" + film + "'");
    EXPECT_EQ(result.exit_code, 0) << how << result.output;
  }
}

// Odd sizes, turned, fields, varying rates, negative times, edit lists, changes in mid-stream,
// pictures, cover art. verify_clips.py has twenty times as many (docs/runs/clips.md).
TEST_F(FilmTest, ClipsOfEachKindAreIdenticalAndAsFfprobeSays) {
  const CommandResult result =
      RunCommand(std::string("python3 -B examples/film/verify_clips.py --few --film ") + kViewer);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_FALSE(Says(result, "not made")) << result.output;
  EXPECT_TRUE(Says(result, "0 clips with faults")) << result.output;
}

TEST_F(FilmTest, ATruncatedFilmIsDeliveredAsFarAsItGoesWithAWarning) {
  const std::string folder = NewFolder("truncated");
  for (const std::string clip : {"h264-aac.mp4", "vp9-opus.webm", "mpeg4-mp3.avi"}) {
    const std::string path = folder + "/" + clip;
    std::filesystem::copy_file(TestClip(clip), path);
    std::filesystem::resize_file(path, std::filesystem::file_size(path) * 2 / 3);
    const CommandResult result = Film("--verify '" + path + "'");
    EXPECT_EQ(result.exit_code, 0) << clip << result.output;
    EXPECT_TRUE(Says(result, "warning: the film is truncated")) << clip << result.output;
    EXPECT_TRUE(Says(result, "verified   all ")) << clip << result.output;
  }
}

TEST_F(FilmTest, ADamagedFilmIsDeliveredAsFarAsItCanBe) {
  const std::string path = NewFolder("damaged") + "/film.mp4";
  std::filesystem::copy_file(TestClip("h264-aac.mp4"), path);
  const auto middle = static_cast<std::streamoff>(std::filesystem::file_size(path) / 3);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(middle);
  file << std::string(3000, 'Z');
  file.close();
  const CommandResult result = Film("'" + path + "'");
  EXPECT_EQ(result.exit_code, 4) << result.output;
  EXPECT_TRUE(Says(result, "the film is damaged")) << result.output;
  EXPECT_TRUE(Says(result, "delivered  ")) << result.output;
}

// Bit flips anywhere: whatever the decoder makes of them, the viewer ends in order.
TEST_F(FilmTest, BitFlipsNeverEndInACrash) {
  const std::string path = NewFolder("flips") + "/film.mp4";
  const std::vector<std::byte> original = ReadAll(TestClip("h264-aac.mp4"));
  uint64_t state = 42;
  for (int round = 0; round < 8; ++round) {
    std::vector<std::byte> film = original;
    for (int flip = 0; flip < 40; ++flip) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      film[(state >> 20) % film.size()] ^= static_cast<std::byte>(1 << (state >> 60 & 7));
    }
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(film.data()),
               static_cast<std::streamsize>(film.size()));
    const CommandResult result = Film("'" + path + "'");
    EXPECT_TRUE(result.exit_code == 0 || result.exit_code == 1 || result.exit_code == 4)
        << result.exit_code << result.output;
  }
}

TEST_F(FilmTest, PlaysAtTheSpeedOfTheFilm) {
  const auto began = std::chrono::steady_clock::now();
  const CommandResult result =
      RunCommand(std::string("SDL_VIDEODRIVER=dummy SDL_AUDIODRIVER=dummy ") + kViewer +
                 " --verify --play '" + TestClip("h264-aac.mp4") + "'");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_TRUE(Says(result, "verified   all 50 pictures")) << result.output;
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(1900));
}

TEST_F(FilmTest, WithoutADisplayPlayingIsRefusedInOneSentence) {
  const CommandResult result =
      RunCommand(std::string("env -u DISPLAY -u WAYLAND_DISPLAY -u SDL_VIDEODRIVER ") + kViewer +
                 " --play '" + TestClip("h264-aac.mp4") + "'");
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_TRUE(Says(result, "film: there is no display to play on")) << result.output;
}

TEST_F(FilmTest, WrongUsageIsExitCodeTwo) {
  for (const std::string arguments : {"", "a b", "--hijack=nonsense x", "--max_frame_mib=0 x"}) {
    EXPECT_EQ(Film(arguments).exit_code, 2) << arguments;
  }
}

TEST_F(FilmTest, CtrlCKeepsWhatWasDeliveredAndLeavesNothingElse) {
  const std::string folder = NewFolder("interrupted");
  const std::string clip = TestClip("h264-aac.mp4");
  const std::string y4m = folder + "/f.y4m";
  const std::string log = folder + ".log";
  const pid_t viewer = ::fork();
  if (viewer == 0) {
    if (std::freopen(log.c_str(), "w", stderr) == nullptr) ::_exit(98);
    // Silent half-way and patient: so it certainly runs when the signal comes.
    ::execl(kViewer, kViewer, "--hijack=silence", "--patience=100s", ("--y4m=" + y4m).c_str(),
            clip.c_str(), nullptr);
    ::_exit(99);
  }
  std::this_thread::sleep_for(std::chrono::seconds(3));
  EXPECT_EQ(FilesIn(folder), 0u);  // not even a temporary file is to be seen
  ::kill(viewer, SIGINT);
  int status = 0;
  ASSERT_EQ(::waitpid(viewer, &status, 0), viewer);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 130) << status;
  EXPECT_EQ(FilesIn(folder), 1u);
  // Half of the 50 pictures, whole: 86406 bytes each, and a header.
  EXPECT_GT(std::filesystem::file_size(y4m), 20u * 86406u);
  const std::vector<std::byte> said = ReadAll(log);
  const std::string text(reinterpret_cast<const char*>(said.data()), said.size());
  EXPECT_EQ(text, "film: interrupted; what was delivered until now is kept\n");
}

// Even SIGKILL leaves no file and no worker.
TEST_F(FilmTest, AKilledViewerLeavesNothing) {
  const std::string folder = NewFolder("killed");
  const std::string clip = TestClip("h264-aac.mp4");
  const pid_t viewer = ::fork();
  if (viewer == 0) {
    ::execl(kViewer, kViewer, "--hijack=silence", "--patience=100s",
            ("--y4m=" + folder + "/f.y4m").c_str(), clip.c_str(), nullptr);
    ::_exit(99);
  }
  std::this_thread::sleep_for(std::chrono::seconds(2));
  ::kill(viewer, SIGKILL);
  ASSERT_EQ(::waitpid(viewer, nullptr, 0), viewer);
  // Nobody but the kernel could end the worker now, and nobody but us can reap it, and the holder
  // of its namespaces where they can be made.
  const int orphans = Orphans();
  EXPECT_GE(orphans, 1);
  EXPECT_LE(orphans, 2);
  EXPECT_EQ(FilesIn(folder), 0u);
}

}  // namespace
}  // namespace parley::film
// NOLINTEND(performance-inefficient-string-concatenation)

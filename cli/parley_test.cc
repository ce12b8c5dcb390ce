// SPDX-License-Identifier: Apache-2.0

// Runs the real program at both ends, between real ffmpeg where films are concerned.

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "parley/cli/arguments.h"

// Commands are put together a few times per test.
// NOLINTBEGIN(performance-inefficient-string-concatenation)
namespace parley::cli {
namespace {

constexpr char kParley[] = "cli/parley";

struct Result {
  int exit_code = -1;
  std::string output;
};

// With bash, so that `set -o pipefail` is there, and with both outputs.
Result Shell(const std::string& script) {
  Result result;
  const std::string path = ::testing::TempDir() + "/script";
  std::ofstream(path) << "set -o pipefail; P=" << kParley << "; " << script << "\n";
  // NOLINTNEXTLINE(cert-env33-c): commands of the tests themselves.
  FILE* pipe = ::popen(("timeout 60 bash '" + path + "' 2>&1").c_str(), "r");
  char buffer[4096];
  size_t got = 0;
  while ((got = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0) result.output.append(buffer, got);
  const int status = ::pclose(pipe);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

// `./dev test` installs it; the other places where this runs have none.
bool HasFfmpeg() { return Shell("command -v ffmpeg").exit_code == 0; }

std::string NewFolder() {
  static int number = 0;
  const std::string path = ::testing::TempDir() + "/f" + std::to_string(number++);
  std::filesystem::remove_all(path);
  std::filesystem::create_directory(path);
  return path;
}

std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool Says(const Result& result, const std::string& text) {
  return result.output.find(text) != std::string::npos;
}

// Both ends with the same flags; prints "send N" and "recv N", their exit codes.
std::string Both(const std::string& folder, const std::string& input, const std::string& flags,
                 const std::string& output) {
  return "(" + input + " | $P send " + flags + " '" + folder + "/s'; echo send $?) & $P recv " +
         flags + " '" + folder + "/s' | " + output + "; echo recv ${PIPESTATUS[0]}; wait";
}

TEST(ParleyTest, BytesAndLinesArriveAsTheyWere) {
  for (const std::string flags : {"", "--raw", "--lines"}) {
    const std::string folder = NewFolder();
    const Result result =
        Shell("seq 200000 >'" + folder + "/in'; " +
              Both(folder, "cat '" + folder + "/in'", flags, "cat >'" + folder + "/out'"));
    EXPECT_TRUE(Says(result, "send 0") && Says(result, "recv 0")) << result.output;
    EXPECT_TRUE(Content(folder + "/in") == Content(folder + "/out")) << flags;
  }
}

const std::string kPictures = "-f lavfi -i testsrc2=size=160x120:rate=25:duration=2 ";
const std::string kSound = "-f lavfi -i sine=duration=2 ";

// Checksums of what ffmpeg gives and of what comes out of the other end.
TEST(ParleyTest, FilmsAndSoundHaveFfmpegsChecksums) {
  if (!HasFfmpeg()) GTEST_SKIP() << "there is no ffmpeg";
  const std::vector<std::pair<std::string, std::string>> films = {
      {"--y4m", "-f lavfi -i testsrc2=size=319x181:rate=25:duration=2 -pix_fmt yuv420p"},
      {"--y4m",
       "-f lavfi -i testsrc2=size=320x180:rate=30:duration=1 -pix_fmt yuv422p10le -strict -1"},
      {"--y4m", "-f lavfi -i testsrc2=size=1920x1080:rate=25:duration=1 -pix_fmt yuv444p"},
      {"--wav", "-f lavfi -i sine=duration=2 -af 'pan=5.1|FL=c0|BR=c0' -c:a pcm_s24le"},
      {"--wav", "-f lavfi -i sine=duration=2:sample_rate=96000 -c:a pcm_f32le"},
      {"--wav", "-f lavfi -i sine=duration=2 -c:a pcm_s16le"},
      {"--nut", "-f lavfi -i testsrc2=size=64x48:rate=25:duration=1 -c:v ffv1"},
      {"--nut", kPictures + kSound + "-c:v mpeg4 -g 5 -bf 2 -c:a pcm_s16le"},
      {"--nut", kPictures + kSound + "-c:v libx264 -bf 3 -c:a aac -write_index 0"},
      {"--nut", kPictures + "-c:v mpeg4 -g 600 -syncpoints none -strict -2"},
      {"--nut", kPictures + "-c:v mjpeg -syncpoints timestamped -strict -2"},
      {"--nut", kSound + "-c:a libvorbis"},
  };
  for (const auto& [flags, how] : films) {
    const std::string folder = NewFolder();
    const std::string format = flags == "--y4m" ? "yuv4mpegpipe" : flags.substr(2);
    const std::string make = "ffmpeg -nostdin -loglevel error " + how + " -f " + format;
    const std::string md5 =
        "ffmpeg -nostdin -loglevel error -i - -map 0 -f framemd5 - | grep -v '^#'";
    const Result result =
        Shell(make + " - >'" + folder + "/in'; " +
              // A NUT may have the times in it at which it was written.
              Both(folder, flags == "--nut" ? "cat '" + folder + "/in'" : make + " -", flags,
                   "tee '" + folder + "/out' >/dev/null") +
              "; cat '" + folder + "/in' | " + md5 + " >'" + folder + "/a'; cat '" + folder +
              "/out' | " + md5 + " >'" + folder + "/b'");
    EXPECT_TRUE(Says(result, "send 0") && Says(result, "recv 0")) << how << result.output;
    EXPECT_GT(Content(folder + "/a").size(), 100u) << how << result.output;
    EXPECT_EQ(Content(folder + "/a"), Content(folder + "/b")) << how;
    if (flags == "--nut") {
      EXPECT_TRUE(Content(folder + "/in") == Content(folder + "/out")) << how;
    }
  }
}

TEST(ParleyTest, CommandsAtBothEnds) {
  const std::string folder = NewFolder();
  const Result result =
      Shell("($P send --lines '" + folder + "/s' --exec seq 1000; echo send $?) & " +
            "$P recv --lines '" + folder + "/s' --exec sort -n -r -o '" + folder +
            "/out'; echo recv $?; wait");
  EXPECT_TRUE(Says(result, "send 0") && Says(result, "recv 0")) << result.output;
  EXPECT_EQ(Content(folder + "/out").substr(0, 9), "1000\n999\n");
  const Result failed =
      Shell("($P send --lines '" + folder + "/s' --exec sh -c 'seq 9; exit 3'; " +
            "echo send $?) & $P recv --lines '" + folder + "/s' >/dev/null; echo recv $?; wait");
  EXPECT_TRUE(Says(failed, "send 5") && Says(failed, "recv 4")) << failed.output;
}

TEST(ParleyTest, ExitCodesAreTheDocumentedOnes) {
  const std::string folder = NewFolder();
  const std::string s = " '" + folder + "/s'";
  const std::vector<std::pair<std::string, int>> alone = {
      {"$P", 2},
      {"$P nonsense", 2},
      {"$P send", 2},
      {"$P send --nonsense" + s, 2},
      {"$P send --raw --policy drop-newest" + s, 2},
      {"$P send --timeout never" + s, 2},
      {"$P recv --limit-bytes 0" + s, 2},
      {"$P send --help", 0},
      {"echo hello | $P send --y4m" + s, 3},
      {"echo hello | $P send --wav" + s, 3},
      {"$P send --raw --timeout 300ms" + s + " </dev/null", 6},
      {"$P recv --raw --timeout 300ms" + s, 6},
      {"echo x | $P send --raw /no/such/folder/s", 1},
      {"$P recv --raw --timeout 300ms" + s + " --exec /no/such/command", 6},
      {"$P send --raw" + s + " --exec /no/such/command", 1},
  };
  for (const auto& [command, code] : alone) {
    const Result result = Shell(command);
    EXPECT_EQ(result.exit_code, code) << command << result.output;
  }
  const std::vector<std::pair<std::string, std::string>> both = {
      // A reader that leaves, and both limits.
      {Both(folder, "seq 1000000", "--lines", "head -n 5"), "recv 141"},
      {Both(folder, "seq 1000000", "--raw --limit-bytes 100k", "cat >/dev/null"), "send 7"},
      {"(seq 1000000 | $P send" + s + "; echo send $?) & $P recv --limit-bytes 100k" + s +
           " >/dev/null; echo recv $?; wait",
       "recv 7"},
      // Another kind, and one who sends nothing.
      {"(seq 9 | timeout 2 $P send --raw" + s + ") & $P recv --lines" + s + "; echo recv $?; wait",
       "recv 1"},
      {"(sleep 3 | $P send --raw" + s + "; echo send $?) & $P recv --timeout 500ms --raw" + s +
           "; echo recv $?; wait",
       "recv 6"},
      // A receiver that takes nothing.
      {"(seq 9000000 | $P send --raw --timeout 500ms" + s + "; echo send $?) & $P recv --raw" + s +
           " | sleep 2; wait",
       "send 6"},
  };
  for (const auto& [script, says] : both) {
    const Result result = Shell(script);
    EXPECT_TRUE(Says(result, says)) << script << result.output;
  }
}

// Interrupts and deaths at either end: nobody hangs, and no socket file is left.
TEST(ParleyTest, InterruptsAndDeathsAreClean) {
  for (const std::string signal : {"INT", "TERM", "KILL"}) {
    for (const std::string whom : {"send", "recv"}) {
      const std::string folder = NewFolder();
      const Result result = Shell("(yes | $P send --lines '" + folder + "/s' & echo $! >'" +
                                  folder + "/send'; wait $!; echo send $?) & ($P recv --lines '" +
                                  folder + "/s' >/dev/null & echo $! >'" + folder +
                                  "/recv'; wait $!; echo recv $?) & sleep 1; " + "kill -" + signal +
                                  " $(cat '" + folder + "/" + whom + "'); wait");
      const std::string other = whom == "send" ? "recv 4" : "send 4";
      EXPECT_TRUE(Says(result, other)) << signal << whom << result.output;
      if (signal != "KILL") {
        EXPECT_TRUE(Says(result, whom + " 130")) << signal << result.output;
      }
      if (signal != "KILL" || whom == "recv") {
        EXPECT_FALSE(std::filesystem::exists(folder + "/s")) << signal << whom;
      }
    }
  }
}

// "drop-newest": a slow receiver costs the sender nothing, and both count the same.
TEST(ParleyTest, ASlowReceiverIsSentLessAndBothEndsSayHowMuch) {
  if (!HasFfmpeg()) GTEST_SKIP() << "there is no ffmpeg";
  const std::string folder = NewFolder();
  const Result result = Shell(
      "(ffmpeg -nostdin -loglevel error -f lavfi -i testsrc2=size=640x360:rate=25:duration=8 "
      "-pix_fmt yuv420p -f yuv4mpegpipe - | $P send --y4m --stats --policy drop-newest '" +
      folder + "/s'; echo send $?) & $P recv --y4m --stats '" + folder + "/s' | (sleep 2; cat >'" +
      folder + "/out'); wait; sleep 0.1");
  EXPECT_TRUE(Says(result, "send 0")) << result.output;
  const std::string header = "parley send: ";
  const size_t at = result.output.find(header);
  ASSERT_NE(at, std::string::npos) << result.output;
  unsigned long long sent = 0;
  unsigned long long bytes = 0;
  unsigned long long dropped = 0;
  // NOLINTNEXTLINE(cert-err34-c): how many there are is asked
  ASSERT_EQ(std::sscanf(result.output.c_str() + at, "parley send: %llu messages, %llu bytes, %llu",
                        &sent, &bytes, &dropped),
            3);
  EXPECT_EQ(sent + dropped, 200u) << result.output;
  EXPECT_GT(dropped, 0u) << result.output;
  EXPECT_TRUE(Says(result, "dropped " + std::to_string(dropped) + " messages")) << result.output;
  EXPECT_EQ(Content(folder + "/out").size(),
            6 * sent + bytes + Content(folder + "/out").find('\n') + 1);
}

// What --stats says of one receiver.
struct FanOutLine {
  unsigned long long offered = 0;
  unsigned long long sent = 0;
  unsigned long long dropped = 0;
  unsigned long long reasons[4] = {};
  unsigned long long returned = 0;
  unsigned long long taken_back = 0;
  unsigned long long held = 0;
};

std::vector<FanOutLine> FanOutLines(const Result& result) {
  std::vector<FanOutLine> lines;
  const std::string begin = "parley send: receiver ";
  for (size_t at = result.output.find(begin); at != std::string::npos;
       at = result.output.find(begin, at + 1)) {
    FanOutLine line;
    // NOLINTNEXTLINE(cert-err34-c): how many there are is asked
    const int read = std::sscanf(
        result.output.c_str() + at,
        "parley send: receiver %*u: %llu offered, %llu sent, %llu dropped (%llu newest, %llu "
        "unread, %llu late, %llu before a key), %llu returned, %llu taken back, %llu held",
        &line.offered, &line.sent, &line.dropped, &line.reasons[0], &line.reasons[1],
        &line.reasons[2], &line.reasons[3], &line.returned, &line.taken_back, &line.held);
    EXPECT_EQ(read, 10) << result.output.substr(at, 200);
    EXPECT_EQ(line.offered, line.sent + line.dropped);
    EXPECT_EQ(line.dropped, line.reasons[0] + line.reasons[1] + line.reasons[2] + line.reasons[3]);
    EXPECT_EQ(line.sent, line.returned + line.taken_back + line.held);
    lines.push_back(line);
  }
  return lines;
}

// Sixteen receivers, of which four stop and two lie about everything: the other ten get all of it,
// and each picture of each receiver is accounted for.
TEST(ParleyTest, OfSixteenReceiversTheTenGoodOnesGetEveryPicture) {
  if (!HasFfmpeg()) GTEST_SKIP() << "there is no ffmpeg";
  const std::string folder = NewFolder();
  const std::string film =
      "ffmpeg -nostdin -loglevel error -re -f lavfi -i testsrc2=size=160x120:rate=5:duration=4 "
      "-pix_fmt yuv420p -f yuv4mpegpipe -";
  const Result result = Shell(
      "cd '" + folder + "'; P=\"$OLDPWD/$P\"; H=\"$OLDPWD/cli/testing_hostile_receiver\"; (" +
      film + " | tee in | $P send --y4m --stats --policy drop-newest --fan-out 16 --await 16 " +
      "--timeout 3s s; echo send $?; touch done) & " +
      "for i in $(seq 10); do ($P recv --y4m s >out$i; echo recv $?) & done; " +
      "for i in $(seq 4); do $P recv --y4m s >/dev/null & echo $! >>stopped; done; " +
      "for i in 1 2; do $H s & echo $! >>stopped; done; " +
      "until [ -s out1 ]; do sleep 0.02; done; kill -STOP $(head -n 4 stopped); " +
      "until [ -e done ]; do sleep 0.1; done; " + "kill -KILL $(cat stopped); wait");
  EXPECT_TRUE(Says(result, "send 0")) << result.output;
  const std::string whole = Content(folder + "/in");
  EXPECT_GT(whole.size(), 20u * 160 * 120);
  for (int i = 1; i <= 10; ++i) {
    const std::string got = Content(folder + "/out" + std::to_string(i));
    // But for the header, which is written anew.
    EXPECT_EQ(got.substr(got.find('\n')), whole.substr(whole.find('\n'))) << i;
  }
  const std::vector<FanOutLine> lines = FanOutLines(result);
  ASSERT_EQ(lines.size(), 16u) << result.output;
  int all = 0;
  int some = 0;
  for (const FanOutLine& line : lines) {
    EXPECT_EQ(line.offered, 20u);
    (line.sent == 20 ? all : some) += 1;
  }
  EXPECT_GE(all, 10) << result.output;
  EXPECT_GE(some, 4) << result.output;
}

TEST(ParleyTest, AReceiverThatIsKilledAndStartedAgainGoesOn) {
  if (!HasFfmpeg()) GTEST_SKIP() << "there is no ffmpeg";
  const std::string folder = NewFolder();
  const Result result = Shell(
      "cd '" + folder + "'; P=\"$OLDPWD/$P\"; (ffmpeg -nostdin -loglevel error -re -f lavfi -i " +
      "testsrc2=size=64x48:rate=10:duration=4 -pix_fmt yuv420p -f yuv4mpegpipe - | tee in | " +
      "$P send --y4m --stats --fan-out 2 s; echo send $?) & " +
      "$P recv --y4m s >first & FIRST=$!; until [ $(stat -c %s first) -gt 20000 ]; do sleep "
      "0.05; " +
      "done; kill -KILL $FIRST; $P recv --y4m --stats s >second; echo recv $?; wait");
  EXPECT_TRUE(Says(result, "send 0") && Says(result, "recv 0")) << result.output;
  const std::string whole = Content(folder + "/in");
  const std::string second = Content(folder + "/second");
  const std::string pictures = second.substr(second.find('\n') + 1);
  EXPECT_GT(pictures.size(), 64u * 48);
  EXPECT_LT(pictures.size(), whole.size() - 20000);
  // The end of the film, from a picture on.
  EXPECT_EQ(pictures.size() % (6 + 64 * 48 * 3 / 2), 0u);
  EXPECT_EQ(whole.substr(whole.size() - pictures.size()), pictures);
  EXPECT_EQ(FanOutLines(result).size(), 2u) << result.output;
  EXPECT_TRUE(Says(result, "the peer ended without closing")) << result.output;
}

// Decodes a NUT, from which everything must be got without a complaint: a line for each picture and
// block of sound, with its time and checksum.
std::vector<std::string> DecodedLines(const std::string& path) {
  const Result result = Shell(
      "ffmpeg -nostdin -loglevel warning -copyts -i - -map 0 -fps_mode passthrough -f framemd5 - "
      "<'" +
      path + "' 2>'" + path + ".errors' | grep -v '^#' >'" + path + ".lines'; cat '" + path +
      ".errors' | grep -v 'start time for stream\\|Guessed Channel\\|^$'");
  EXPECT_EQ(result.output, "") << path;
  std::vector<std::string> lines;
  std::ifstream file(path + ".lines");
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  EXPECT_FALSE(lines.empty()) << path;
  return lines;
}

// The lines of a stream.
std::vector<std::string> OfStream(const std::vector<std::string>& lines, char number) {
  std::vector<std::string> its;
  for (const std::string& line : lines) {
    if (line[0] == number) its.push_back(line);
  }
  return its;
}

// Key pictures four times a second, and some that are sent behind one and shown before it; sound
// without loss, so that each block is the same whatever came before.
const std::string kFilm =
    "ffmpeg -nostdin -loglevel error -re -f lavfi -i testsrc2=size=64x48:rate=20:duration=2.5 -f "
    "lavfi -i sine=duration=2.5 -c:v mpeg4 -g 5 -bf 2 -c:a pcm_s16le -f nut -flush_packets 1 -";

TEST(ParleyTest, AReceiverOfANutThatIsKilledAndStartedAgainGoesOnAtAKeyFrame) {
  if (!HasFfmpeg()) GTEST_SKIP() << "there is no ffmpeg";
  const std::string folder = NewFolder();
  const Result result =
      Shell("cd '" + folder + "'; P=\"$OLDPWD/$P\"; (" + kFilm +
            " | tee in | $P send --nut --stats --fan-out 1 s; echo send $?) & $P recv --nut s "
            ">first & FIRST=$!; " +
            "until [ $(stat -c %s first) -gt 30000 ]; do sleep 0.05; done; kill -KILL $FIRST; " +
            "wait $FIRST; $P recv --nut --stats s >second; echo recv $?; wait");
  EXPECT_TRUE(Says(result, "send 0") && Says(result, "recv 0")) << result.output;
  const std::vector<std::string> whole = DecodedLines(folder + "/in");
  const std::vector<std::string> second = DecodedLines(folder + "/second");
  for (const char stream : {'0', '1'}) {
    const std::vector<std::string> all = OfStream(whole, stream);
    const std::vector<std::string> some = OfStream(second, stream);
    ASSERT_TRUE(some.size() > 10 && some.size() < all.size()) << result.output;
    // The end of the film, line by line.
    EXPECT_EQ(std::vector<std::string>(all.end() - static_cast<ptrdiff_t>(some.size()), all.end()),
              some);
    if (stream == '1') continue;
    // Pictures from a key picture on: a 1 for each in their order.
    const Result keys = Shell(
        "ffprobe -loglevel error -select_streams v -show_entries frame=key_frame -of "
        "csv=p=0 '" +
        folder + "/in' | tr -d ',\\n'");
    EXPECT_EQ(keys.output.substr(all.size() - some.size(), 1), "1") << keys.output;
  }
  EXPECT_EQ(FanOutLines(result).size(), 2u) << result.output;
  // Without --fan-out the stream ends with its receiver.
  const std::string other = NewFolder();
  const Result alone = Shell(
      "cd '" + other + "'; P=\"$OLDPWD/$P\"; (" + kFilm + " | $P send --nut s; echo send $?) & " +
      "$P recv --nut s >first & FIRST=$!; until [ -s first ]; do sleep 0.05; done; " +
      "kill -KILL $FIRST; sleep 0.3; $P recv --nut --timeout 300ms s; echo recv $?; wait");
  EXPECT_TRUE(Says(alone, "the receiver has left") && Says(alone, "send 4")) << alone.output;
  EXPECT_TRUE(Says(alone, "no sender at s") && Says(alone, "recv 6")) << alone.output;
}

// A receiver that stops for a while loses units, and both ends say how many and why.
TEST(ParleyTest, AReceiverOfANutThatStopsGoesOnAtAKeyFrame) {
  if (!HasFfmpeg()) GTEST_SKIP() << "there is no ffmpeg";
  const std::string film = NewFolder() + "/film";
  const Result made = Shell(
      "ffmpeg -nostdin -loglevel error -f lavfi -i testsrc2=size=160x120:rate=25:duration=8 -vf "
      "noise=alls=60:allf=t -c:v mpeg4 -q:v 1 -g 10 -sc_threshold 1000000000 -f nut '" +
      film + "'");
  ASSERT_GT(Content(film).size(), 5'000'000u) << made.output;
  const std::vector<std::string> whole = DecodedLines(film);
  for (const std::string flags : {"--policy drop-newest", "--policy drop-newest --fan-out 2",
                                  "--policy drop-oldest --fan-out 2"}) {
    const std::string folder = NewFolder();
    // Half the film comes while nobody reads.
    const Result result = Shell(
        "cd '" + folder +
        "'; P=\"$OLDPWD/$P\"; ((head -c 2500000; touch half; sleep 0.3; for i in " +
        "$(seq 10); do sleep 0.03; head -c 400000; done) <'" + film + "' | $P send --nut --stats " +
        flags + " s; echo send $?) & ($P recv --nut --stats s; echo recv $? >&2) | " +
        "(until [ -e half ]; do sleep 0.02; done; cat >out); wait");
    EXPECT_TRUE(Says(result, "send 0") && Says(result, "recv 0")) << result.output;
    // Each picture is one of the film's, and behind a gap comes a key picture.
    size_t at = 0;
    size_t gaps = 0;
    for (const std::string& line : DecodedLines(folder + "/out")) {
      const size_t expected = at;
      while (at < whole.size() && whole[at] != line) ++at;
      ASSERT_LT(at, whole.size()) << line << result.output;
      if (at != expected) {
        EXPECT_EQ(at % 10, 0u) << result.output;
        ++gaps;
      }
      ++at;
    }
    EXPECT_GE(gaps, 1u) << result.output;
    EXPECT_GT(at, whole.size() / 2) << result.output;
    // The same reasons at both ends.
    const std::string begin = "parley recv: dropped ";
    const size_t found = result.output.find(begin);
    ASSERT_NE(found, std::string::npos) << result.output;
    const size_t end = result.output.find(" before a key", found);
    const std::string reasons =
        result.output.substr(found + begin.size(), end - found - begin.size());
    const size_t first = result.output.find(reasons);
    EXPECT_NE(result.output.find(reasons, first + 1), std::string::npos) << result.output;
  }
}

TEST(ParleyTest, ALateReceiverOfAQuietStreamGetsTheNextLine) {
  const std::string folder = NewFolder();
  const Result result = Shell(
      "cd '" + folder + "'; P=\"$OLDPWD/$P\"; ((echo one; sleep 1.5; echo two) | $P send --lines " +
      "--fan-out 2 s; echo send $?) & $P recv --lines s >first & sleep 0.5; $P recv --lines s " +
      ">second; echo recv $?; wait");
  EXPECT_TRUE(Says(result, "send 0") && Says(result, "recv 0")) << result.output;
  EXPECT_EQ(Content(folder + "/first"), "one\ntwo\n");
  EXPECT_EQ(Content(folder + "/second"), "two\n");
}

TEST(ParleyTest, ADamagedNutIsNamed) {
  if (!HasFfmpeg()) GTEST_SKIP() << "there is no ffmpeg";
  const std::string folder = NewFolder();
  const std::string s = " '" + folder + "/s'";
  const Result made = Shell("ffmpeg -nostdin -loglevel error " + kPictures + "-c:v mpeg4 -f nut '" +
                            folder + "/in'");
  ASSERT_EQ(made.exit_code, 0) << made.output;
  std::string film = Content(folder + "/in");
  film[40] = static_cast<char>(film[40] ^ 1);
  std::ofstream(folder + "/bad") << film;
  const Result header = Shell("$P send --nut" + s + " <'" + folder + "/bad'");
  EXPECT_EQ(header.exit_code, 3) << header.output;
  EXPECT_TRUE(Says(header, "this NUT is damaged at byte 25: the checksum of a main header"))
      << header.output;
  const Result cut =
      Shell(Both(folder, "head -c 20000 '" + folder + "/in'", "--nut", "cat >/dev/null"));
  EXPECT_TRUE(Says(cut, "send 3") && Says(cut, "recv 4")) << cut.output;
  EXPECT_TRUE(Says(cut, "the input ends in the middle of what begins here")) << cut.output;
  const Result twice =
      Shell(Both(folder, "cat '" + folder + "/in' '" + folder + "/in'", "--nut", "cat >/dev/null"));
  EXPECT_TRUE(Says(twice, "send 3") && Says(twice, "damaged at byte ")) << twice.output;
}

TEST(ParleyTest, ASenderThatTakesBackAllThatItSendsIsTimedOutLikeASilentOne) {
  const std::string folder = NewFolder();
  const Result result =
      Shell("cli/testing_hostile_sender '" + folder + "/s' & $P recv --lines --timeout 500ms '" +
            folder + "/s'; echo recv $?; kill $!");
  EXPECT_TRUE(Says(result, "nothing came for 500ms") && Says(result, "recv 6")) << result.output;
}

TEST(ArgumentsTest, AreReadStrictly) {
  const auto parse = [](std::vector<std::string> arguments) {
    return ParseStreamArguments(arguments);
  };
  const auto good = parse({"--y4m", "--policy=drop-newest", "--limit-bytes", "10M", "--timeout=2s",
                           "--stats", "@name", "--exec", "ffplay", "--stats", "-"});
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_EQ(good->kind, StreamKind::kY4m);
  EXPECT_TRUE(good->policy == SlowReceiver::kDropNewest && good->stats);
  EXPECT_EQ(good->limit_bytes, 10u << 20);
  EXPECT_EQ(good->path, "@name");
  EXPECT_EQ(good->command, (std::vector<std::string>{"ffplay", "--stats", "-"}));
  const auto nut = parse({"--nut", "--fan-out", "1", "--policy", "drop-oldest", "name"});
  ASSERT_TRUE(nut.ok()) << nut.status();
  EXPECT_EQ(nut->policy, SlowReceiver::kDropOldest);
  for (const std::vector<std::string>& bad :
       std::vector<std::vector<std::string>>{{},
                                             {"a", "b"},
                                             {"a", "--exec"},
                                             {"a", "--y4m", "--wav"},
                                             {"a", "--limit-bytes"},
                                             {"a", "--limit-bytes", "-1"},
                                             {"a", "--limit-bytes", "99999999999G"},
                                             {"a", "--max-frame-mib", "0"},
                                             {"a", "--timeout", "-1s"},
                                             {"a", "--policy", "some"},
                                             {"a", "--y4m", "--policy", "drop-oldest"},
                                             {"a", "--raw", "--fan-out", "2"},
                                             {"a", "--wav", "--fan-out", "2"},
                                             {"a", "--nut", "--policy", "drop-oldest"},
                                             {"a", "--y4m", "--fan-out", "0"},
                                             {"a", "--y4m", "--fan-out", "257"},
                                             {"a", "--y4m", "--await", "2"},
                                             {"a", "--y4m", "--fan-out", "3", "--await", "4"}}) {
    EXPECT_FALSE(parse(bad).ok());
  }
}

}  // namespace
}  // namespace parley::cli
// NOLINTEND(performance-inefficient-string-concatenation)

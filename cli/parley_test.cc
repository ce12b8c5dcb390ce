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

// Checksums of what ffmpeg gives and of what comes out of the other end.
TEST(ParleyTest, FilmsAndSoundHaveFfmpegsChecksums) {
  const std::vector<std::pair<std::string, std::string>> films = {
      {"--y4m", "-f lavfi -i testsrc2=size=319x181:rate=25:duration=2 -pix_fmt yuv420p"},
      {"--y4m",
       "-f lavfi -i testsrc2=size=320x180:rate=30:duration=1 -pix_fmt yuv422p10le -strict -1"},
      {"--y4m", "-f lavfi -i testsrc2=size=1920x1080:rate=25:duration=1 -pix_fmt yuv444p"},
      {"--wav", "-f lavfi -i sine=duration=2 -af 'pan=5.1|FL=c0|BR=c0' -c:a pcm_s24le"},
      {"--wav", "-f lavfi -i sine=duration=2:sample_rate=96000 -c:a pcm_f32le"},
      {"--wav", "-f lavfi -i sine=duration=2 -c:a pcm_s16le"},
      {"--nut", "-f lavfi -i testsrc2=size=64x48:rate=25:duration=1 -c:v ffv1"},
  };
  for (const auto& [flags, how] : films) {
    const std::string folder = NewFolder();
    const std::string format = flags == "--y4m" ? "yuv4mpegpipe" : flags.substr(2);
    const std::string make = "ffmpeg -nostdin -loglevel error " + how + " -f " + format;
    const std::string md5 =
        "ffmpeg -nostdin -loglevel error -i - -map 0 -f framemd5 - | grep -v '^#'";
    const Result result =
        Shell(make + " - >'" + folder + "/in'; " +
              Both(folder, make + " -", flags, "tee '" + folder + "/out' >/dev/null") + "; cat '" +
              folder + "/in' | " + md5 + " >'" + folder + "/a'; cat '" + folder + "/out' | " + md5 +
              " >'" + folder + "/b'");
    EXPECT_TRUE(Says(result, "send 0") && Says(result, "recv 0")) << how << result.output;
    EXPECT_GT(Content(folder + "/a").size(), 100u) << how << result.output;
    EXPECT_EQ(Content(folder + "/a"), Content(folder + "/b")) << how;
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

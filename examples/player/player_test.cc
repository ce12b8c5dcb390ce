// SPDX-License-Identifier: Apache-2.0

// The player in a window of a virtual X server (Xvfb), looked at from outside: the server's screen
// is a file.

#include <signal.h>
#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/examples/film/test_clip.h"
#include "parley/os/deadline.h"
#include "parley/tests/process.h"

namespace parley::film {
namespace {

constexpr std::size_t kWidth = 320;
constexpr std::size_t kHeight = 180;
constexpr std::size_t kPictureBytes = kWidth * kHeight * 3;
constexpr std::size_t kScreenWidth = 640;
constexpr std::size_t kScreenHeight = 360;

Deadline Generous() { return Deadline::After(absl::Seconds(30)); }

using Rgb = std::vector<uint8_t>;  // kPictureBytes

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// An X server without a window manager: a window is where its program asks it to be.
class VirtualScreen {
 public:
  VirtualScreen()
      : folder_(::testing::TempDir() + "/screen"),
        server_((std::filesystem::create_directories(folder_),
                 std::vector<std::string>{"Xvfb", "-displayfd", "1", "-screen", "0", "640x360x24",
                                          "-nolisten", "tcp", "-fbdir", folder_})) {
    EXPECT_TRUE(server_.AwaitOutput("\n", Generous())) << server_.errors();
    display_ = ":" + server_.output().substr(0, server_.output().find('\n'));
  }
  ~VirtualScreen() {
    server_.Signal(SIGTERM);  // so that it takes its lock file and socket away
    server_.Wait(Generous());
  }

  // How to run the player on it, in one way of drawing on all machines.
  std::vector<std::string> Player(std::vector<std::string> arguments) const {
    std::vector<std::string> command = {"env",
                                        "-u",
                                        "WAYLAND_DISPLAY",
                                        "DISPLAY=" + display_,
                                        "SDL_VIDEODRIVER=x11",
                                        "SDL_AUDIODRIVER=dummy",
                                        "SDL_RENDER_DRIVER=software",
                                        "SDL_FRAMEBUFFER_ACCELERATION=0",
                                        Binary("examples/player/player"),
                                        "--worker=" + Binary("examples/film/film_worker")};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return command;
  }

  // What a window of the film's size, in the middle, shows. The file is a "window dump": numbers of
  // 32 bits, high byte first, then colours, then lines of blue, green, red and a byte of nothing.
  Rgb Middle() const {
    const std::string dump = ReadFile(folder_ + "/Xvfb_screen0");
    const auto number = [&](std::size_t index) {
      std::size_t value = 0;
      for (std::size_t i = 0; i < 4; ++i) {
        value = value << 8 | static_cast<uint8_t>(dump.at(4 * index + i));
      }
      return value;
    };
    EXPECT_EQ(number(4), kScreenWidth);
    EXPECT_EQ(number(5), kScreenHeight);
    EXPECT_EQ(number(7), 0u) << "the low byte comes first";
    EXPECT_EQ(number(11), 32u) << "bits a pixel";
    const std::size_t begin = number(0) + number(19) * 12;
    Rgb picture;
    for (std::size_t y = 0; y < kHeight; ++y) {
      for (std::size_t x = 0; x < kWidth; ++x) {
        const std::size_t at = begin + (y + (kScreenHeight - kHeight) / 2) * number(12) +
                               (x + (kScreenWidth - kWidth) / 2) * 4;
        for (const std::size_t component : {2u, 1u, 0u}) {
          picture.push_back(static_cast<uint8_t>(dump.at(at + component)));
        }
      }
    }
    return picture;
  }

 private:
  const std::string folder_;
  Process server_;
  std::string display_;
};

// All pictures of the clip, as ffmpeg decodes them.
std::vector<Rgb> Reference(const std::string& clip) {
  const std::string raw = clip + ".rgb";
  const CommandResult made = RunCommand("ffmpeg -v error -nostdin -y -i '" + clip +
                                        "' -f rawvideo -pix_fmt rgb24 '" + raw + "'");
  EXPECT_EQ(made.exit_code, 0) << made.output;
  const std::string bytes = ReadFile(raw);
  std::vector<Rgb> pictures;
  for (std::size_t at = 0; at + kPictureBytes <= bytes.size(); at += kPictureBytes) {
    pictures.emplace_back(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                          bytes.begin() + static_cast<std::ptrdiff_t>(at + kPictureBytes));
  }
  return pictures;
}

// In the mean over all samples, of 255.
double Difference(const Rgb& a, const Rgb& b) {
  double sum = 0;
  for (std::size_t i = 0; i < kPictureBytes; ++i) sum += std::abs(int{a[i]} - int{b[i]});
  return sum / static_cast<double>(kPictureBytes);
}

// That the window shows picture `number` and no other one. What differs are the two ways to make
// RGB of half as many colour samples.
void ExpectShows(const VirtualScreen& screen, const std::vector<Rgb>& reference,
                 std::size_t number) {
  const Rgb shown = screen.Middle();
  ASSERT_LT(number, reference.size());
  const double difference = Difference(shown, reference[number]);
  ::testing::Test::RecordProperty("difference", std::to_string(difference));
  EXPECT_LT(difference, 2) << "picture " << number;
  for (std::size_t other = 0; other < reference.size(); ++other) {
    if (other != number) {
      EXPECT_GT(Difference(shown, reference[other]), difference) << other;
    }
  }
}

TEST(PlayerTest, TheWholeFilmIsShownWhateverItsFirstDecoderDoes) {
  const std::string clip = TestClip("h264-aac.mp4");
  const VirtualScreen screen;
  Process player(screen.Player({"--hold", "--hijack=length-lie", clip}));
  ASSERT_TRUE(player.AwaitOutput("the window stays", Generous())) << player.errors();
  EXPECT_EQ(player.output().rfind("the whole film: 50 pictures, 2 decoders\n", 0), 0u)
      << player.output();
  EXPECT_NE(player.errors().find("player: another worker resumes at key picture "),
            std::string::npos)
      << player.errors();
  ExpectShows(screen, Reference(clip), 49);
  player.Signal(SIGINT);
  EXPECT_EQ(player.Wait(Generous()), 0);
}

// One decoder and no other one: what is there when it turns hostile is what stays.
TEST(PlayerTest, AfterAHijackingTheWindowHasTheLastGoodPicture) {
  const std::string clip = TestClip("h264-aac.mp4");
  const std::vector<Rgb> reference = Reference(clip);
  const VirtualScreen screen;
  struct Case {
    const char* hijack;
    const char* says;
  };
  for (const Case& c : {Case{"index-jump", "producer position out of range"},
                        Case{"death", " was killed by signal "}}) {
    SCOPED_TRACE(c.hijack);
    Process player(
        screen.Player({"--hold", "--workers=1", std::string("--hijack=") + c.hijack, clip}));
    ASSERT_TRUE(player.AwaitOutput("the window stays", Generous())) << player.errors();
    const std::string begin = "player: threw the worker away after ";
    ASSERT_EQ(player.errors().rfind(begin, 0), 0u) << player.errors();
    const uint64_t pictures = std::stoull(player.errors().substr(begin.size()));
    EXPECT_NE(player.errors().find(c.says), std::string::npos) << player.errors();
    EXPECT_NE(player.errors().find("gave up; the window has picture " + std::to_string(pictures) +
                                   ", the last good one\n"),
              std::string::npos)
        << player.errors();
    ASSERT_GT(pictures, 0u);
    ASSERT_LT(pictures, 50u);
    ExpectShows(screen, reference, static_cast<std::size_t>(pictures) - 1);
    player.Signal(SIGINT);
    EXPECT_EQ(player.Wait(Generous()), 1);
  }
}

TEST(PlayerTest, WrongUseNoDisplayAndCtrlCAreSaidInASentence) {
  for (const char* wrong : {"--workers=0", "--hijack=nonsense", "--patience=0s"}) {
    Process player({Binary("examples/player/player"), wrong, "film.mp4"});
    EXPECT_EQ(player.Wait(Generous()), 2) << wrong;
    EXPECT_EQ(player.errors().rfind("player: give me one file", 0), 0u) << player.errors();
  }
  const std::string clip = TestClip("h264-aac.mp4");
  Process blind({"env", "-u", "DISPLAY", "-u", "WAYLAND_DISPLAY", "-u", "SDL_VIDEODRIVER",
                 Binary("examples/player/player"), clip});
  EXPECT_EQ(blind.Wait(Generous()), 1);
  EXPECT_EQ(blind.errors(), "player: there is no display to play on\n");
  // Its decoder says nothing for a long time: Ctrl-C is answered all the same.
  Process silent({"env", "SDL_VIDEODRIVER=dummy", "SDL_AUDIODRIVER=dummy",
                  Binary("examples/player/player"),
                  "--worker=" + Binary("examples/film/film_worker"), "--hijack=silence",
                  "--patience=100s", clip});
  ::sleep(1);
  silent.Signal(SIGINT);
  EXPECT_EQ(silent.Wait(Generous()), 130);
  EXPECT_EQ(silent.errors(), "player: interrupted\n");
}

}  // namespace
}  // namespace parley::film

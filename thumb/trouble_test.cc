// SPDX-License-Identifier: Apache-2.0
// parley-thumb against hostile files and in bad places: hijacked workers, bombs, pipes that never
// end, dying templates, a host that is killed, full disks, Ctrl-C.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/sandbox/plain_code.h"
#include "parley/tests/process.h"
#include "parley/thumb/damage.h"
#include "parley/thumb/damaged_campaign.h"
#include "parley/thumb/options.h"
#include "parley/thumb/run.h"
#include "parley/thumb/testing_media.h"

namespace parley::thumb {
namespace {

namespace fs = std::filesystem;
using testing::HeldNow;
using testing::Media;
using testing::ReadPng;
using testing::WriteFile;

Deadline Generous() { return Deadline::After(absl::Minutes(4)); }

std::string NewFolder(const std::string& name) {
  const std::string folder = ::testing::TempDir() + "/" + name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

std::string Hostile() { return Binary("thumb/testing_hostile_worker"); }

std::vector<std::string> Command(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), Binary("thumb/parley_thumb"));
  return arguments;
}

struct Ran {
  int exit_code = -1;
  std::string output;
  std::string errors;
};

Ran Thumb(std::vector<std::string> arguments) {
  Process process(Command(std::move(arguments)));
  process.EndInput();
  Ran ran;
  ran.exit_code = process.Wait(Generous());
  ran.output = process.output();
  ran.errors = process.errors();
  return ran;
}

std::size_t FilesIn(const std::string& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

std::set<int> ChildrenOf(pid_t pid) {
  std::set<int> children;
  std::error_code error;
  for (const auto& task : fs::directory_iterator(absl::StrCat("/proc/", pid, "/task"), error)) {
    std::ifstream file(task.path() / "children");
    for (int child = 0; file >> child;) children.insert(child);
  }
  return children;
}

bool IsPlain(const std::string& text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= 0x20 && c < 0x7f) || c == '\n'; });
}

// ---- Hijacked workers.

struct HijackCase {
  const char* kind;
  const char* says;
};

const std::vector<HijackCase>& HijackCases() {
  static const std::vector<HijackCase> cases = {
      {"header-lie", "broke the protocol: a picture of 4294967295 x 4294967295"},
      {"too-large", "broke the protocol: a picture of 257 x 1"},
      {"missing-pixels", "broke the protocol: its picture has missing pixels"},
      {"too-many-pixels", "broke the protocol: 193 bytes where 192 are missing"},
      {"pixels-first", "broke the protocol: pixels without a picture"},
      {"facts-instead", "broke the protocol: facts that were not asked for"},
      {"escape-in-reason", "\\x1b]0;owned"},
      {"nothing", "broke the protocol: it sent no picture"},
      {"exit", "ended normally"},
      {"death", "was killed by signal"},
      {"open-file", "was killed by the system call filter: it called chdir"},
      {"burn", "its worker"},
      {"memory", "not enough memory"},
      {"flood", "broke the protocol: 0 bytes"},
      {"stderr", "it has said enough"},
      {"index-jump", "broke the protocol"},
      {"silence", "its worker was ended: no outcome after"},
  };
  return cases;
}

// Each file that takes its worker over has its own end, with its reason, within its limits; the
// innocent ones beside it have their pictures; nothing reaches the terminal but printable text; and
// nothing is left.
TEST(ThumbHijackTest, PromiseP6ContainmentEachFilesWorkerIsItsOwn) {
  if (internal::kSanitizer) GTEST_SKIP() << "a sanitizer's runtime has limits of its own";
  const std::string in = NewFolder("hijack-in");
  const std::string out = NewFolder("hijack-out");
  std::vector<std::string> arguments = {"--worker",  Hostile(),  "--output",      out,
                                        "--verbose", "--jobs=2", "--time-limit=4"};
  for (const HijackCase& one : HijackCases()) {
    const std::string name = in + "/" + one.kind;
    WriteFile(name, std::string("hijack ") + one.kind);
    arguments.push_back(name);
    fs::copy_file(Media("png.png"), name + ".innocent");
    arguments.push_back(name + ".innocent");
  }
  const Ran ran = Thumb(std::move(arguments));
  EXPECT_EQ(ran.exit_code, 1) << ran.errors;
  EXPECT_EQ(ran.output, "");
  EXPECT_TRUE(IsPlain(ran.errors)) << ran.errors;
  for (const HijackCase& one : HijackCases()) {
    const std::size_t at = ran.errors.find(absl::StrCat("/", one.kind, ": "));
    ASSERT_NE(at, std::string::npos) << one.kind << "\n" << ran.errors;
    const std::string line = ran.errors.substr(at, ran.errors.find('\n', at) - at);
    EXPECT_NE(line.find(one.says), std::string::npos) << line;
    EXPECT_EQ(ReadPng(absl::StrCat(out, "/", one.kind, ".innocent.png")).width, 160u) << one.kind;
    EXPECT_FALSE(fs::exists(absl::StrCat(out, "/", one.kind, ".png"))) << one.kind;
  }
  EXPECT_EQ(FilesIn(out), HijackCases().size());
}

TEST(ThumbHijackTest, FactsWithEscapesAreRefused) {
  const std::string file = ::testing::TempDir() + "/escape";
  WriteFile(file, "hijack escape-in-facts");
  const Ran ran = Thumb({"--worker", Hostile(), "--json", file});
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_TRUE(IsPlain(ran.output)) << ran.output;
  EXPECT_NE(ran.output.find("broke the protocol: facts that are none"), std::string::npos)
      << ran.output;
}

// In this process, so that what it holds can be counted.
TEST(ThumbHijackTest, PromiseP7ResourcesNothingIsLeftBehind) {
  const std::string in = NewFolder("left-in");
  ThumbOptions options;
  options.output = NewFolder("left-out");
  options.quiet = true;
  options.time_limit = absl::Seconds(1);
  for (const HijackCase& one : HijackCases()) {
    if (internal::kSanitizer && std::string(one.kind) == "memory") continue;
    WriteFile(in + "/" + one.kind, std::string("hijack ") + one.kind);
    options.files.push_back(in + "/" + one.kind);
  }
  options.files.push_back(Media("png.png"));
  options.files.emplace_back("/nowhere/x");
  const testing::Held before = HeldNow();
  EXPECT_EQ(RunThumb(options, Hostile(), [] { return 0; }), kExitNoPicture);
  const testing::Held after = testing::HeldAtRest(before);
  EXPECT_EQ(after.descriptors, before.descriptors);
  EXPECT_EQ(after.shared_mappings, before.shared_mappings);
  EXPECT_EQ(after.children, 0u);
}

// ---- Damaged files, bombs.

// A small part of `./dev damaged`.
TEST(ThumbDamagedTest, DamagedFilesEndAsAPictureOrAReason) {
  testing::CampaignOptions options;
  options.files_of_each = internal::kSanitizer ? 1 : 2;
  options.worker = Binary("thumb/thumb_worker");
  const testing::CampaignResult result = testing::RunCampaign(options);
  EXPECT_GE(result.outcomes.size(), 30u);
  EXPECT_GE(result.damaged, 30u * static_cast<std::size_t>(options.files_of_each));
  for (const std::string& fault : result.faults) ADD_FAILURE() << fault;
}

TEST(ThumbDamagedTest, TheSameSeedDamagesTheSameWay) {
  const std::string file(1000, 'x');
  EXPECT_EQ(testing::Damaged(file, 7), testing::Damaged(file, 7));
  EXPECT_NE(testing::Damaged(file, 7), testing::Damaged(file, 8));
  EXPECT_NE(testing::Damaged(file, 7), file);
}

std::string BigEndian(uint32_t number) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(number >> shift);
  return text;
}

std::string PngChunk(const std::string& name, const std::string& data) {
  uint32_t crc = ~uint32_t{0};
  for (const char c : name + data) {
    crc ^= static_cast<uint8_t>(c);
    for (int i = 0; i < 8; ++i) crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
  }
  return BigEndian(static_cast<uint32_t>(data.size())) + name + data + BigEndian(~crc);
}

std::string PngThatClaims(uint32_t width, uint32_t height) {
  return "\x89PNG\r\n\x1a\n" +
         PngChunk("IHDR", BigEndian(width) + BigEndian(height) + std::string("\x08\x06\0\0\0", 5)) +
         PngChunk("IDAT", std::string("\x78\x9c\x63\x60\x00\x00\x00\x02\x00\x01", 10)) +
         PngChunk("IEND", "");
}

std::string GifThatClaims(uint16_t width, uint16_t height, int pictures) {
  const auto little = [](uint16_t number) {
    return std::string{static_cast<char>(number), static_cast<char>(number >> 8)};
  };
  std::string gif = "GIF89a" + little(width) + little(height) + std::string("\x80\0\0", 3) +
                    std::string("\0\0\0\xff\xff\xff", 6);
  for (int i = 0; i < pictures; ++i) {
    gif += "," + little(0) + little(0) + little(width) + little(height) + std::string("\0\x02", 2) +
           std::string("\x02\x44\x01\0", 4);
  }
  return gif + ";";
}

TEST(ThumbBombTest, PromiseP7ResourcesAFewBytesThatClaimMuchAreRefused) {
  const std::string in = NewFolder("bombs");
  const std::string out = NewFolder("bombs-out");
  WriteFile(in + "/huge.png", PngThatClaims(65535, 65535));
  WriteFile(in + "/large.png", PngThatClaims(30000, 30000));
  WriteFile(in + "/huge.gif", GifThatClaims(65535, 65535, 1));
  WriteFile(in + "/many.gif", GifThatClaims(3000, 3000, 20000));
  std::vector<std::string> arguments = {"--output", out, "--time-limit=20", "--memory-limit=512M"};
  for (const char* name : {"huge.png", "large.png", "huge.gif"}) {
    arguments.push_back(absl::StrCat(in, "/", name));
  }
  const Ran ran = Thumb(arguments);
  EXPECT_EQ(ran.exit_code, 1) << ran.errors;
  EXPECT_EQ(FilesIn(out), 0u) << ran.errors;
  EXPECT_NE(ran.errors.find("65535"), std::string::npos) << ran.errors;
  // With a limit that lets it through, the worker's memory ends it.
  if (!internal::kSanitizer) {
    const Ran memory =
        Thumb({"--max-pixels=2G", "--memory-limit=256M", "--output", out, in + "/large.png"});
    EXPECT_EQ(memory.exit_code, 1) << memory.errors;
    EXPECT_EQ(FilesIn(out), 0u) << memory.errors;
    // Its libraries do not count: a low limit is enough for a small picture.
    const std::string small = NewFolder("bombs-small");
    const Ran low = Thumb({"--memory-limit=32M", "--output", small, Media("png.png")});
    EXPECT_EQ(low.exit_code, 0) << low.errors;
  }
  // Thousands of pictures: the first one is enough.
  const Ran many = Thumb({"--output", out, "--time-limit=20", in + "/many.gif"});
  EXPECT_EQ(many.exit_code, 0) << many.errors;
}

// ---- Inputs that never end, or never begin.

TEST(ThumbInputTest, PromiseP2TimeAPipeThatNeverBeginsCostsItsTimeLimit) {
  const std::string folder = NewFolder("pipes");
  ASSERT_EQ(::mkfifo((folder + "/pipe").c_str(), 0600), 0);
  const std::string out = NewFolder("pipes-out");
  const int64_t before_ns = MonotonicNowNs();
  const Ran ran = Thumb({"--time-limit=1", "--output", out, folder + "/pipe", Media("png.png")});
  EXPECT_LT(MonotonicNowNs() - before_ns, 30'000'000'000);
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_NE(ran.errors.find("it did not end in time"), std::string::npos) << ran.errors;
  EXPECT_EQ(ReadPng(out + "/png.png.png").width, 160u);
}

TEST(ThumbInputTest, PromiseP7ResourcesAStreamWithoutEndCostsItsLimit) {
  Process shell({"/bin/sh", "-c",
                 "yes | " + Binary("thumb/parley_thumb") + " --max-input=1M --output x.png -"});
  EXPECT_EQ(shell.Wait(Generous()), 1);
  EXPECT_NE(shell.errors().find("larger than 1048576 bytes"), std::string::npos) << shell.errors();
  const Ran device = Thumb({"--output", NewFolder("device"), "/dev/zero", "/dev", "/dev/null"});
  EXPECT_EQ(device.exit_code, 1);
  EXPECT_NE(device.errors.find("this is a device"), std::string::npos) << device.errors;
  EXPECT_NE(device.errors.find("this is a folder"), std::string::npos) << device.errors;
}

TEST(ThumbInputTest, ListsOfOtherFilesAreNotOpened) {
  const std::string folder = NewFolder("lists");
  const std::string film = Media("h264.mp4");
  WriteFile(folder + "/a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n" + film + "\n");
  WriteFile(folder + "/a.ffconcat", "ffconcat version 1.0\nfile '" + film + "'\n");
  WriteFile(folder + "/a.sdp",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
            "m=video 5000 RTP/AVP 96\na=rtpmap:96 H264/90000\n");
  const std::string out = NewFolder("lists-out");
  for (const char* name : {"a.m3u8", "a.ffconcat", "a.sdp"}) {
    const Ran ran = Thumb({"--output", out, absl::StrCat(folder, "/", name)});
    EXPECT_EQ(ran.exit_code, 1) << name;
    EXPECT_NE(ran.errors.find("this is a list of other files"), std::string::npos) << ran.errors;
  }
  EXPECT_EQ(FilesIn(out), 0u);
}

// ---- Ends of templates and hosts.

TEST(ThumbHostTest, ATemplateThatDiesIsReplaced) {
  if (internal::kSanitizer) GTEST_SKIP() << "no templates in a build with a sanitizer";
  const std::string folder = NewFolder("template");
  ASSERT_EQ(::mkfifo((folder + "/pipe").c_str(), 0600), 0);
  const std::string out = NewFolder("template-out");
  Process host(Command({"--output", out, Media("png.png"), folder + "/pipe", Media("jpeg.jpg")}));
  const Deadline deadline = Generous();
  // The first worker comes and goes; what stays is the template, while the host waits for the pipe.
  while ((ReadPng(out + "/png.png.png").width == 0 || ChildrenOf(host.pid()).size() != 1) &&
         !deadline.Expired()) {
    absl::SleepFor(absl::Milliseconds(20));
  }
  const std::set<int> children = ChildrenOf(host.pid());
  ASSERT_EQ(children.size(), 1u);
  ASSERT_EQ(::kill(*children.begin(), SIGKILL), 0);
  WriteFile(folder + "/pipe", testing::ReadFile(Media("bmp.bmp")));
  EXPECT_EQ(host.Wait(deadline), 0) << host.errors();
  EXPECT_EQ(FilesIn(out), 3u);
}

// Two workers that say nothing, and a file after them.
struct Busy {
  explicit Busy(const std::string& name)
      : out(NewFolder(name)),
        process(Command({"--worker", Hostile(), "--output", out, "--jobs=2", "--time-limit=200",
                         Silent(name + "-1"), Silent(name + "-2"), Media("png.png")})) {
    const Deadline deadline = Generous();
    while (ChildrenOf(process.pid()).size() < 2 && !deadline.Expired()) {
      absl::SleepFor(absl::Milliseconds(10));
    }
    absl::SleepFor(absl::Milliseconds(300));
  }
  static std::string Silent(const std::string& name) {
    std::string path = ::testing::TempDir() + "/" + name;
    WriteFile(path, "hijack silence");
    return path;
  }
  std::string out;
  Process process;
};

std::vector<UniqueFd> DescriptorsOf(const std::set<int>& processes) {
  std::vector<UniqueFd> fds;
  for (const int pid : processes) {
    fds.emplace_back(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  }
  return fds;
}

void ExpectGone(const std::vector<UniqueFd>& fds) {
  for (const UniqueFd& fd : fds) {
    pollfd entry = {fd.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&entry, 1, 20'000), 1) << "a process lives on";
  }
}

TEST(ThumbHostTest, PromiseP7ResourcesAHostThatIsKilledLeavesNoProcessAndNoFile) {
  Busy host("killed");
  const std::vector<UniqueFd> fds = DescriptorsOf(ChildrenOf(host.process.pid()));
  EXPECT_GE(fds.size(), 2u);
  host.process.Signal(SIGKILL);
  EXPECT_EQ(host.process.Wait(Generous()), 128 + SIGKILL);
  ExpectGone(fds);
  EXPECT_EQ(FilesIn(host.out), 0u);
}

TEST(ThumbHostTest, CtrlCEndsItInOrder) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    Busy host("interrupted");
    const std::vector<UniqueFd> fds = DescriptorsOf(ChildrenOf(host.process.pid()));
    const int64_t before_ns = MonotonicNowNs();
    host.process.Signal(number);
    EXPECT_EQ(host.process.Wait(Generous()), 128 + number);
    EXPECT_LT(MonotonicNowNs() - before_ns, 10'000'000'000);
    EXPECT_TRUE(IsPlain(host.process.errors())) << host.process.errors();
    ExpectGone(fds);
    EXPECT_EQ(FilesIn(host.out), 0u);
  }
}

TEST(ThumbHostTest, AnInterruptEndsTheWaitForAPipe) {
  Process host(Command({"--time-limit=200", "-"}));  // nothing is typed
  absl::SleepFor(absl::Milliseconds(500));
  host.Signal(SIGINT);
  EXPECT_EQ(host.Wait(Generous()), 128 + SIGINT);
  EXPECT_EQ(host.output(), "");
}

// ---- Outputs that cannot be written.

TEST(ThumbOutputTest, AFullDiskIsAnErrorAndLeavesNoFile) {
  const Ran full = Thumb({"--output=/dev/full", Media("png.png")});
  EXPECT_EQ(full.exit_code, 3);
  EXPECT_NE(full.errors.find("no space is left"), std::string::npos) << full.errors;
  const Ran nowhere = Thumb({"--output=/nowhere/x.png", Media("png.png")});
  EXPECT_EQ(nowhere.exit_code, 3);
  // A disk of eight pages, where a mount can be made.
  const std::string disk = NewFolder("disk");
  const std::string mount = absl::StrCat("mount -t tmpfs -o size=8k none ", disk);
  Process can({"unshare", "-rm", "/bin/sh", "-c", mount});
  if (can.Wait(Generous()) != 0) GTEST_SKIP() << "no file system can be mounted here";
  Process shell(
      {"unshare", "-rm", "/bin/sh", "-c",
       absl::StrCat(mount, " && { ", Binary("thumb/parley_thumb"), " --format=ppm -o ", disk,
                    "/x.ppm ", Media("png.png"), "; echo code $?; ls -A ", disk, " | wc -l; }")});
  EXPECT_EQ(shell.Wait(Generous()), 0) << shell.errors();
  EXPECT_EQ(shell.output(), "code 3\n0\n") << shell.errors();
}

TEST(ThumbOutputTest, ALimitForFilesIsAnError) {
  const std::string out = NewFolder("limit");
  Process shell(
      {"/bin/bash", "-c",
       absl::StrCat("ulimit -f 1024; exec ", Binary("thumb/parley_thumb"),
                    " --format=ppm --grid=8x8 --size=320 -o ", out, "/x.ppm ", Media("h264.mp4"))});
  EXPECT_EQ(shell.Wait(Generous()), 3) << shell.errors();
  EXPECT_EQ(FilesIn(out), 0u);
}

// A reader that takes nothing: a signal ends that too, and an ignored one does not.
TEST(ThumbOutputTest, AReaderThatStallsHoldsUpNoSignal) {
  for (const bool ignored : {false, true}) {
    const std::string folder = NewFolder("stalled");
    ASSERT_EQ(::mkfifo((folder + "/pipe").c_str(), 0600), 0);
    const UniqueFd reader(::open((folder + "/pipe").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    Process host(
        {"/bin/bash", "-c",
         absl::StrCat(ignored ? "trap '' HUP; " : "", "exec ", Binary("thumb/parley_thumb"),
                      " --format=ppm --grid=4x4 --size=256 -o - ", Media("h264.mp4"), " >", folder,
                      "/pipe")});
    // Until the pipe is full.
    int queued = 0;
    const Deadline deadline = Generous();
    for (int before = -1; (queued == 0 || queued != before) && !deadline.Expired();) {
      before = queued;
      absl::SleepFor(absl::Milliseconds(200));
      ::ioctl(reader.get(), FIONREAD, &queued);
    }
    ASSERT_GT(queued, 0);
    host.Signal(SIGHUP);
    if (ignored) {
      absl::SleepFor(absl::Milliseconds(200));
      host.Signal(SIGTERM);
    }
    EXPECT_EQ(host.Wait(Generous()), 128 + (ignored ? SIGTERM : SIGHUP));
  }
}

TEST(ThumbOutputTest, AnInputOnStandardInputIsNoOutput) {
  const std::string folder = NewFolder("both");
  const std::string bytes = testing::ReadFile(Media("png.png"));
  WriteFile(folder + "/a.png", bytes);
  Process shell(
      {"/bin/bash", "-c",
       absl::StrCat("cd ", folder, "; exec ", Binary("thumb/parley_thumb"), " -o a.png - <a.png")});
  EXPECT_EQ(shell.Wait(Generous()), 2) << shell.errors();
  EXPECT_EQ(testing::ReadFile(folder + "/a.png"), bytes);
}

TEST(ThumbOutputTest, AReaderThatLeavesIsAnError) {
  Process shell({"/bin/bash", "-c",
                 absl::StrCat("{ sleep 0.3; ", Binary("thumb/parley_thumb"), " -o - ",
                              Media("png.png"), "; echo code $? >&2; } | true")});
  EXPECT_EQ(shell.Wait(Generous()), 0);
  EXPECT_NE(shell.errors().find("the reader of standard output has left"), std::string::npos)
      << shell.errors();
  EXPECT_NE(shell.errors().find("code 3"), std::string::npos) << shell.errors();
}

}  // namespace
}  // namespace parley::thumb

// SPDX-License-Identifier: Apache-2.0

// examples/call, run as a user runs it.

#include <signal.h>
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/tests/peer.h"
#include "parley/tests/process.h"
#include "parley/tests/resources.h"

namespace parley {
namespace {

constexpr std::size_t kWavHeaderBytes = 68;
constexpr uint64_t kBlockFrames = 480;

std::string InTestFolder(const std::string& name) {
  const char* folder = std::getenv("TEST_TMPDIR");
  return std::string(folder == nullptr ? "/tmp" : folder) + "/" + name;
}

std::vector<std::string> Call(std::vector<std::string> flags) {
  std::vector<std::string> command = {Binary("examples/call/call"),
                                      "--worker=" + Binary("examples/call/call_worker")};
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

struct Direction {
  uint64_t spoken_blocks = 0;
  uint64_t no_space = 0;
  uint64_t heard_frames = 0;
  uint64_t skipped_frames = 0;
  uint64_t missed_frames = 0;
  uint64_t silent_frames = 0;
  uint64_t overruns = 0;
  uint64_t heard_blocks = 0;
  uint64_t implausible = 0;
};

// What `text` says of one direction, "a to b".
Direction Read(const std::string& text, const std::string& direction) {
  const std::regex lines(direction +
                         R"(: (\d+) blocks spoken, (\d+) without free space; (\d+) frames heard, )"
                         R"((\d+) skipped, (\d+) missed, \d+ underruns with (\d+) frames of )"
                         R"(silence, (\d+) overruns, \d+ late periods\n)"
                         R"(mouth to ear, (\d+) blocks, (\d+) implausible: p50 )");
  std::smatch m;
  Direction found;
  if (!std::regex_search(text, m, lines)) {
    ADD_FAILURE() << direction << " is not in: " << text;
    return found;
  }
  uint64_t* const into[] = {&found.spoken_blocks,  &found.no_space,      &found.heard_frames,
                            &found.skipped_frames, &found.missed_frames, &found.silent_frames,
                            &found.overruns,       &found.heard_blocks,  &found.implausible};
  std::size_t group = 0;
  for (uint64_t* const number : into) *number = std::stoull(m[++group]);
  return found;
}

// 20 s of float samples, each of which says which one it is. Its header is that of 48 kHz mono.
float Numbered(uint64_t frame) { return static_cast<float>(frame + 1) / (1 << 20); }

std::string NumberedWav() {
  std::vector<float> samples;
  for (uint64_t i = 0; i < 20 * 48'000; ++i) samples.push_back(Numbered(i));
  std::string bytes = "RIFF....WAVEfmt ";
  const auto put = [&](uint64_t number, int size) {
    for (int i = 0; i < size; ++i) bytes.push_back(static_cast<char>(number >> (8 * i)));
  };
  put(16, 4);
  put(3, 2);  // float
  put(1, 2);
  put(48'000, 4);
  put(48'000 * 4, 4);
  put(4, 2);
  put(32, 2);
  bytes += "data";
  const std::size_t data_bytes = samples.size() * sizeof(float);
  put(data_bytes, 4);
  const std::size_t header = bytes.size();
  bytes.resize(header + data_bytes);
  std::memcpy(bytes.data() + header, samples.data(), data_bytes);
  const std::string path = InTestFolder("numbered.wav");
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

std::vector<float> SamplesOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  if (bytes.size() < kWavHeaderBytes) return {};
  std::vector<float> samples((bytes.size() - kWavHeaderBytes) / sizeof(float));
  std::memcpy(samples.data(), bytes.data() + kWavHeaderBytes, samples.size() * sizeof(float));
  return samples;
}

// However late the machine is: each frame that is spoken is heard as it was said, in its order, or
// is counted where it was dropped.
TEST(CallTest, EachFrameIsHeardAsItWasSaidOrCountedAsDropped) {
  const std::string ear = InTestFolder("ear.wav");
  const std::string json = InTestFolder("call.jsonl");
  Process call(
      Call({"--seconds=2", "--mouth_a=" + NumberedWav(), "--ear_b=" + ear, "--json=" + json}));
  ASSERT_EQ(call.Wait(Generous()), 0) << call.errors();
  EXPECT_EQ(call.errors(), "");
  const Direction there = Read(call.output(), "a to b");
  const Direction back = Read(call.output(), "b to a");
  for (const Direction& way : {there, back}) {
    EXPECT_GT(way.spoken_blocks, 100u) << call.output();
    EXPECT_EQ(way.heard_frames + way.skipped_frames,
              kBlockFrames * (way.spoken_blocks - way.no_space))
        << call.output();
    EXPECT_LE(way.missed_frames, kBlockFrames * way.no_space) << call.output();
    EXPECT_LE(way.heard_blocks, way.spoken_blocks) << call.output();
    EXPECT_EQ(way.implausible, 0u) << call.output();
  }
  uint64_t heard = 0;
  float last = 0;
  for (const float sample : SamplesOf(ear)) {
    if (sample == 0) continue;  // silence
    ++heard;
    ASSERT_GT(sample, last) << "after " << heard << " frames";
    const auto number = static_cast<uint64_t>(sample * (1 << 20)) - 1;
    ASSERT_EQ(sample, Numbered(number));
    last = sample;
  }
  EXPECT_LE(heard, there.heard_frames);
  // What b heard comes back with what it says; of the latter a block may have found no free space.
  if (back.overruns == 0) {
    EXPECT_EQ(heard, there.heard_frames) << call.output();
  }
  std::ifstream lines(json);
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(line.rfind("{\"name\": \"call, mouth of a to ear of b\", \"count\": " +
                           std::to_string(there.heard_blocks) + ", ",
                       0),
            0u)
      << line;
}

// Both are there and have begun to talk.
std::vector<pid_t> AwaitParties(const Process& call) {
  std::vector<pid_t> parties = call.AwaitChildren("call_worker", 2, Generous());
  absl::SleepFor(absl::Milliseconds(200));
  return parties;
}

TEST(CallTest, APartyThatIsKilledIsNamedAndEndsTheCallForBoth) {
  Process call(Call({"--seconds=600"}));
  const std::vector<pid_t> parties = AwaitParties(call);
  ASSERT_EQ(parties.size(), 2u);
  ASSERT_EQ(::kill(parties[1], SIGKILL), 0);
  EXPECT_EQ(call.Wait(Generous()), 1);
  EXPECT_NE(call.errors().find(" was killed by somebody else"), std::string::npos) << call.errors();
  EXPECT_NE(call.errors().find("call: the call ended early\n"), std::string::npos) << call.errors();
  // The other one has said what it heard.
  EXPECT_NE(call.output().find("did not say what it heard"), std::string::npos) << call.output();
  EXPECT_NE(call.output().find(" frames heard, "), std::string::npos) << call.output();
  EXPECT_EQ(::kill(parties[0], 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(CallTest, CtrlCEndsTheCallAndItsParties) {
  Process call(Call({"--seconds=600"}));
  const std::vector<pid_t> parties = AwaitParties(call);
  ASSERT_EQ(parties.size(), 2u);
  call.Signal(SIGINT);
  EXPECT_EQ(call.Wait(Generous()), 130) << call.errors();
  EXPECT_EQ(call.errors(), "call: interrupted\n");
  Read(call.output(), "a to b");
  for (const pid_t party : parties) EXPECT_EQ(::kill(party, 0), -1) << party;
}

TEST(CallTest, WrongUseAndAFileThatIsNoWavAreSaidInASentence) {
  for (const char* flag : {"--seconds=0", "--seconds=nan", "--buffer_ms=9", "--buffer_ms=51",
                           "--priority=51", "file.wav"}) {
    Process call(Call({flag}));
    EXPECT_EQ(call.Wait(Generous()), 2) << flag;
    EXPECT_EQ(call.errors().rfind("call: --seconds is 0.1 to 86400", 0), 0u) << call.errors();
  }
  const std::string text = InTestFolder("text.wav");
  std::ofstream(text) << "to be said";
  Process none(Call({"--mouth_a=" + text}));
  EXPECT_EQ(none.Wait(Generous()), 1);
  EXPECT_NE(none.errors().find("this is no WAV"), std::string::npos) << none.errors();
  Process missing(Call({"--mouth_b=" + text + ".not"}));
  EXPECT_EQ(missing.Wait(Generous()), 1);
  EXPECT_EQ(missing.errors().rfind("call: cannot open ", 0), 0u) << missing.errors();
}

// By thread, its system calls in order; those that wait until an absolute time are "wait".
std::map<std::string, std::vector<std::string>> CallsByThread(const std::string& trace) {
  const std::regex line_format(R"(^(\d+) +(\w+)\((.*))");
  std::map<std::string, std::vector<std::string>> calls;
  std::ifstream file(trace);
  for (std::string line; std::getline(file, line);) {
    std::smatch match;
    if (!std::regex_match(line, match, line_format)) continue;
    const std::string arguments = match[3];
    std::string name = match[2];
    if (arguments.rfind("CLOCK_MONOTONIC, TIMER_ABSTIME", 0) == 0) name = "wait";
    if (arguments.rfind("PR_SET_NAME, \"audio\"", 0) == 0) name = "audio";
    calls[match[1]].push_back(name);
  }
  return calls;
}

TEST(CallTest, TheAudioThreadsMakeNoSystemCallButTheWaitForTheNextPeriod) {
  Process can({"strace", "-o", "/dev/null", "true"});
  if (can.Wait(Generous()) != 0) GTEST_SKIP() << "strace can't trace here (is ptrace permitted?)";
  if (IsSanitized()) GTEST_SKIP() << "a sanitizer makes system calls of its own";
  const std::string trace = InTestFolder("trace");
  std::vector<std::string> command = {"strace", "-f", "-o", trace};
  for (const std::string& argument : Call({"--seconds=1"})) command.push_back(argument);
  Process call(command);
  ASSERT_EQ(call.Wait(Generous()), 0) << call.errors();
  int hosts = 0;
  int parties = 0;
  for (const auto& [thread, names] : CallsByThread(trace)) {
    // Between its first and its last wait.
    const auto begin = std::find(names.begin(), names.end(), "wait");
    if (begin == names.end()) continue;
    const auto end = std::find(names.rbegin(), names.rend(), "wait").base();
    EXPECT_GT(end - begin, 50) << thread;
    for (auto i = begin; i != end; ++i) EXPECT_EQ(*i, "wait") << thread;
    if (std::find(names.begin(), names.end(), "audio") != names.end()) {
      ++hosts;
      EXPECT_EQ(*(begin - 1), "audio") << "between the thread's name and its first wait";
    } else {
      ++parties;
      EXPECT_LT(names.end() - end, 3) << "after its last wait it ends";
    }
  }
  EXPECT_EQ(hosts, 1);
  EXPECT_EQ(parties, 2);
}

}  // namespace
}  // namespace parley

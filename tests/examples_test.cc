// SPDX-License-Identifier: Apache-2.0

// The examples, run as a user runs them.

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/tests/peer.h"
#include "parley/tests/process.h"

namespace parley {
namespace {

const char* const kReceiver = "examples/hello/hello_receiver";
const char* const kSender = "examples/hello/hello_sender";
const char* const kPictures = "examples/frames/pictures";
const char* const kServer = "examples/event_loop/server";
const char* const kClients = "examples/event_loop/clients";
const char* const kChat = "examples/duplex_chat/chat";

// Each test has a socket path of its own, relative to where the programs run.
struct ExamplesTest : ::testing::Test {
  ExamplesTest() {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    path = std::string(info->name()) + ".sock";
    ::unlink(FullPath().c_str());
  }
  std::string FullPath() const {
    const char* folder = std::getenv("TEST_TMPDIR");
    return std::string(folder == nullptr ? "/tmp" : folder) + "/" + path;
  }
  bool SocketExists() const {
    struct stat info = {};
    return ::lstat(FullPath().c_str(), &info) == 0;
  }
  bool AwaitSocket() const {
    const Deadline deadline = Generous();
    while (!SocketExists() && !deadline.Expired()) absl::SleepFor(absl::Milliseconds(5));
    return SocketExists();
  }
  std::string path;
};

// One sentence that names the program, and nothing else.
void ExpectOneSentence(const std::string& errors, const std::string& program,
                       const std::string& contains) {
  EXPECT_EQ(errors.rfind(program + ": ", 0), 0u) << errors;
  EXPECT_NE(errors.find(contains), std::string::npos) << errors;
  EXPECT_EQ(errors.find('\n'), errors.size() - 1) << errors;
}

// --- frames
// ---------------------------------------------------------------------------------------

TEST(PicturesTest, EveryPictureArrivesWhole) {
  Process pictures({Binary(kPictures), "50"});
  EXPECT_EQ(pictures.Wait(Generous()), 0) << pictures.errors();
  // (i / 4 + number) modulo 256 is the same on average for each of these pictures.
  EXPECT_EQ(
      pictures.output().rfind("50 pictures of 1280x720, the last of brightness 127, 0 torn", 0), 0u)
      << pictures.output();
  EXPECT_EQ(pictures.errors(), "");
}

TEST(PicturesTest, EndsWithItsPainterOnCtrlCAndSaysHowItIsUsed) {
  Process pictures({Binary(kPictures), "1000000000"});
  absl::SleepFor(absl::Milliseconds(300));
  pictures.Signal(SIGINT);
  EXPECT_EQ(pictures.Wait(Generous()), 130) << pictures.errors();
  Process wrong({Binary(kPictures), "many"});
  EXPECT_EQ(wrong.Wait(Generous()), 2);
  EXPECT_NE(wrong.errors().find("usage: pictures [COUNT]"), std::string::npos);
}

// --- event_loop
// -----------------------------------------------------------------------------------

TEST_F(ExamplesTest, EventLoopServesThousandsOfChannels) {
  rlimit limit = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlim_t clients = std::min<rlim_t>(2000, limit.rlim_max / 8);
  Process server({Binary(kServer), path, std::to_string(clients)});
  ASSERT_TRUE(AwaitSocket());
  const std::string expected = std::to_string(clients * 3);
  Process asking({Binary(kClients), path, std::to_string(clients), "3"});
  EXPECT_EQ(asking.Wait(In(120'000)), 0) << asking.errors();
  EXPECT_EQ(asking.output(), expected + " answers\n");
  EXPECT_EQ(server.Wait(Generous()), 0) << server.errors();
  EXPECT_EQ(server.output(), std::to_string(clients) + " clients, " + std::to_string(clients) +
                                 " closed in order, " + expected + " messages\n");
}

TEST_F(ExamplesTest, EventLoopEndsOnCtrlC) {
  Process server({Binary(kServer), path});
  ASSERT_TRUE(AwaitSocket());
  Process asking({Binary(kClients), path, "5", "2"});
  EXPECT_EQ(asking.Wait(Generous()), 0) << asking.errors();
  server.Signal(SIGINT);
  EXPECT_EQ(server.Wait(Generous()), 130) << server.errors();
  EXPECT_FALSE(SocketExists());
}

// The whole numbers that are words, from behind `begin` to the end of its line.
std::vector<uint64_t> NumbersBehind(const std::string& text, const std::string& begin) {
  const std::size_t at = text.find(begin);
  if (at == std::string::npos) return {};
  const std::size_t from = at + begin.size();
  std::vector<uint64_t> numbers;
  for (const absl::string_view word :
       absl::StrSplit(text.substr(from, text.find('\n', from) - from), absl::ByAnyChar(" ,:;"))) {
    uint64_t number = 0;
    if (absl::SimpleAtoi(word, &number)) numbers.push_back(number);
  }
  return numbers;
}

// --- camera
// -----------------------------------------------------------------------------------------

const char* const kCamera = "examples/camera/camera";

TEST(CameraTest, EachViewerGetsWhatItsPolicySaysAndNothingThatIsWrong) {
  Process camera({Binary(kCamera), "--device=/dev/none", "--pictures=200", "--rate=200"});
  EXPECT_EQ(camera.Wait(Generous()), 0) << camera.errors();
  EXPECT_EQ(camera.errors(), "");
  const std::string& text = camera.output();
  for (const std::string name : {"screen", "recorder", "slow"}) {
    SCOPED_TRACE(text);
    const std::vector<uint64_t> counts = NumbersBehind(text, "to " + name + ": ");
    const std::vector<uint64_t> seen = NumbersBehind(text, "\n" + name + ": ");
    ASSERT_EQ(counts.size(), 4u);
    ASSERT_EQ(seen.size(), 3u);
    const uint64_t offered = counts[0];
    const uint64_t sent = counts[1];
    const uint64_t dropped = counts[2];
    const uint64_t pictures = seen[0];
    const uint64_t wrong = seen[1];
    const uint64_t lost = seen[2];
    EXPECT_EQ(offered, 200u);
    EXPECT_EQ(sent + dropped, 200u);
    EXPECT_EQ(wrong, 0u);
    EXPECT_LE(pictures + lost, sent);
    if (name == "recorder") {
      EXPECT_EQ(pictures, 200u);
    }
    if (name == "slow") {
      EXPECT_EQ(pictures, sent);
      EXPECT_GT(dropped, 100u) << "10 a second, of 200 in more than a second";
    }
  }
}

TEST(CameraTest, CtrlCEndsItAndItsViewersAndWhatIsNoCameraIsSaid) {
  Process camera({Binary(kCamera), "--device=/dev/none", "--pictures=1000000"});
  absl::SleepFor(absl::Milliseconds(500));
  camera.Signal(SIGINT);
  EXPECT_EQ(camera.Wait(Generous()), 130) << camera.errors();
  ExpectOneSentence(camera.errors(), "camera", "interrupted");
  EXPECT_NE(camera.output().find("\nslow: "), std::string::npos) << camera.output();
  Process none({Binary(kCamera), "--device=/dev/null"});
  EXPECT_EQ(none.Wait(Generous()), 1);
  ExpectOneSentence(none.errors(), "camera", "/dev/null: cannot ask what it can do");
  Process wrong({Binary(kCamera), "--rate=0"});
  EXPECT_EQ(wrong.Wait(Generous()), 2);
}

// --- effect: whatever the machine does, each block is answered or silent
// ----------------------------------------------------------------------------------------

TEST(EffectTest, EachBlockIsAnsweredInTimeOrSilentAlsoWhereTheWorkerStops) {
  for (const bool stalls : {false, true}) {
    std::vector<std::string> command = {Binary("examples/effect/effect"), "--seconds=1",
                                        "--worker=" + Binary("examples/effect/effect_worker")};
    if (stalls) command.emplace_back("--stall");
    Process effect(command);
    EXPECT_EQ(effect.Wait(Generous()), 0) << effect.errors();
    // "375 cycles of 128 frames: 375 answered in time, 0 of silence, ..."
    const std::vector<uint64_t> counts = NumbersBehind(effect.output(), "");
    ASSERT_GE(counts.size(), 4u) << effect.output();
    const uint64_t cycles = counts[0];
    const uint64_t answered = counts[2];
    const uint64_t silent = counts[3];
    EXPECT_EQ(cycles, 375u);
    EXPECT_EQ(answered + silent, cycles);
    EXPECT_GT(answered, 0u);
    if (stalls) {
      EXPECT_GE(silent, 100u);
    }
  }
}

TEST(EffectTest, AWorkerThatIsKilledEndsItAndIsNamed) {
  Process effect({Binary("examples/effect/effect"), "--seconds=600",
                  "--worker=" + Binary("examples/effect/effect_worker")});
  const std::vector<pid_t> workers = effect.AwaitChildren("effect_worker", 1, Generous());
  ASSERT_EQ(workers.size(), 1u);
  absl::SleepFor(absl::Milliseconds(200));
  ASSERT_EQ(::kill(workers[0], SIGKILL), 0);
  EXPECT_EQ(effect.Wait(Generous()), 1);
  EXPECT_NE(effect.errors().find(" was killed by somebody else"), std::string::npos)
      << effect.errors();
  EXPECT_NE(effect.output().find(" answered in time, "), std::string::npos) << effect.output();
}

TEST(EffectTest, CtrlCEndsItAndItsWorker) {
  Process effect({Binary("examples/effect/effect"), "--seconds=600",
                  "--worker=" + Binary("examples/effect/effect_worker")});
  const std::vector<pid_t> workers = effect.AwaitChildren("effect_worker", 1, Generous());
  ASSERT_EQ(workers.size(), 1u);
  absl::SleepFor(absl::Milliseconds(200));
  effect.Signal(SIGINT);
  EXPECT_EQ(effect.Wait(Generous()), 130) << effect.errors();
  EXPECT_EQ(effect.errors(), "effect: interrupted\n");
  EXPECT_NE(effect.output().find(" answered in time, "), std::string::npos) << effect.output();
  EXPECT_EQ(::kill(workers[0], 0), -1);
}

// --- hello
// ----------------------------------------------------------------------------------------

using HelloTest = ExamplesTest;

TEST_F(HelloTest, DeliversEachArgument) {
  Process receiver({Binary(kReceiver), path});
  ASSERT_TRUE(AwaitSocket());
  Process sender({Binary(kSender), path, "Hello, world!", "", "na\u00efve", "\x1b[2Jcleared?"});
  EXPECT_EQ(sender.Wait(Generous()), 0) << sender.errors();
  EXPECT_EQ(receiver.Wait(Generous()), 0) << receiver.errors();
  EXPECT_EQ(receiver.output(), "Hello, world!\n\nna\u00efve\n\\x1b[2Jcleared?\n");
  EXPECT_EQ(receiver.errors() + sender.errors() + sender.output(), "");
  EXPECT_FALSE(SocketExists());
}

TEST_F(HelloTest, SaysHowItIsUsed) {
  for (const char* program : {kReceiver, kSender}) {
    Process process({Binary(program)});
    EXPECT_EQ(process.Wait(Generous()), 2);
    EXPECT_EQ(process.errors().rfind("usage: hello_", 0), 0u) << process.errors();
  }
}

TEST_F(HelloTest, ASenderWithoutAReceiverSaysSo) {
  Process sender({Binary(kSender), path, "hello"});
  EXPECT_EQ(sender.Wait(Generous()), 1);
  ExpectOneSentence(sender.errors(), "hello_sender", path);
}

TEST_F(HelloTest, ASecondReceiverOnThePathSaysSoAndHarmsNobody) {
  Process first({Binary(kReceiver), path});
  ASSERT_TRUE(AwaitSocket());
  Process second({Binary(kReceiver), path});
  EXPECT_EQ(second.Wait(Generous()), 1);
  ExpectOneSentence(second.errors(), "hello_receiver", "another process is listening");
  EXPECT_TRUE(SocketExists());
  Process sender({Binary(kSender), path, "still there"});
  EXPECT_EQ(sender.Wait(Generous()), 0) << sender.errors();
  EXPECT_EQ(first.Wait(Generous()), 0);
  EXPECT_EQ(first.output(), "still there\n");
}

TEST_F(HelloTest, APathThatIsNoSocketOrTooLongIsRefused) {
  Process folder({Binary(kReceiver), "/"});
  EXPECT_EQ(folder.Wait(Generous()), 1);
  ExpectOneSentence(folder.errors(), "hello_receiver", "no socket");
  Process longer({Binary(kReceiver), std::string(200, 'x')});
  EXPECT_EQ(longer.Wait(Generous()), 1);
  ExpectOneSentence(longer.errors(), "hello_receiver", "107 bytes");
}

TEST_F(HelloTest, AMessageThatIsTooLongIsRefusedBeforeItIsSent) {
  Process receiver({Binary(kReceiver), path});
  ASSERT_TRUE(AwaitSocket());
  Process sender({Binary(kSender), path, std::string(100'000, 'x')});
  EXPECT_EQ(sender.Wait(Generous()), 1);
  ExpectOneSentence(sender.errors(), "hello_sender", "a message has at most");
  EXPECT_EQ(receiver.Wait(Generous()), 1);
  ExpectOneSentence(receiver.errors(), "hello_receiver", "ended without closing");
}

TEST_F(HelloTest, CtrlCLeavesNoSocketFile) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Process receiver({Binary(kReceiver), path});
    ASSERT_TRUE(AwaitSocket());
    receiver.Signal(signal);
    EXPECT_EQ(receiver.Wait(Generous()), 130);
    ExpectOneSentence(receiver.errors(), "hello_receiver", "interrupted");
    EXPECT_FALSE(SocketExists());
  }
}

TEST_F(HelloTest, AReceiverThatWasKilledLeavesAPathThatTheNextOneTakes) {
  {
    Process receiver({Binary(kReceiver), path});
    ASSERT_TRUE(AwaitSocket());
    receiver.Signal(SIGKILL);
    EXPECT_EQ(receiver.Wait(Generous()), 128 + SIGKILL);
  }
  ASSERT_TRUE(SocketExists());
  Process receiver({Binary(kReceiver), path});
  for (int i = 0; i < 200; ++i) {
    Process attempt({Binary(kSender), path, "again"});
    if (attempt.Wait(Generous()) == 0) break;
    absl::SleepFor(absl::Milliseconds(20));
  }
  EXPECT_EQ(receiver.Wait(Generous()), 0) << receiver.errors();
  EXPECT_EQ(receiver.output(), "again\n");
}

// --- chat
// -----------------------------------------------------------------------------------------

using ChatTest = ExamplesTest;

struct Talk {
  explicit Talk(const std::string& path, const std::string& patience = "30")
      : first({Binary(kChat), path, patience}) {
    EXPECT_TRUE(first.AwaitErrors("waiting for somebody", Generous())) << first.errors();
    second = std::make_unique<Process>(std::vector<std::string>{Binary(kChat), path, patience});
    EXPECT_TRUE(second->AwaitErrors("connected", Generous())) << second->errors();
    EXPECT_TRUE(first.AwaitErrors("connected", Generous())) << first.errors();
  }
  Process first;                    // listened
  std::unique_ptr<Process> second;  // connected
};

TEST_F(ChatTest, LinesGoBothWaysUntilBothHaveEnded) {
  Talk talk(path);
  EXPECT_FALSE(SocketExists());  // the two have met: nobody else is expected
  EXPECT_TRUE(talk.first.Type("hello there\n", Generous()));
  EXPECT_TRUE(talk.second->AwaitOutput("> hello there\n", Generous()));
  EXPECT_TRUE(talk.second->Type("hello yourself\n", Generous()));
  EXPECT_TRUE(talk.first.AwaitOutput("> hello yourself\n", Generous()));
  talk.first.EndInput();
  EXPECT_TRUE(talk.second->AwaitErrors("all it had to say", Generous()));
  EXPECT_TRUE(talk.second->Type("still talking, without a line end", Generous()));
  talk.second->EndInput();
  EXPECT_EQ(talk.first.Wait(Generous()), 0) << talk.first.errors();
  EXPECT_EQ(talk.second->Wait(Generous()), 0) << talk.second->errors();
  EXPECT_EQ(talk.first.output(), "> hello yourself\n> still talking, without a line end\n");
  EXPECT_EQ(talk.second->output(), "> hello there\n");
}

// As much as fits into no ring and no pipe. The output goes to files, so that nobody waits for this
// test to read.
TEST_F(ChatTest, ALotBothWaysAtOnce) {
  std::string text;
  std::string heard;
  for (int i = 0; i < 5000; ++i) {
    const std::string line = std::to_string(i) + " " + std::string(50, 'x') + "\n";
    text += line;
    heard += "> " + line;
  }
  const std::string command = "exec \"$0\" \"$1\" >\"$2\"";
  Process first({"sh", "-c", command, Binary(kChat), path, path + ".1"});
  ASSERT_TRUE(first.AwaitErrors("waiting for somebody", Generous())) << first.errors();
  Process second({"sh", "-c", command, Binary(kChat), path, path + ".2"});
  ASSERT_TRUE(second.AwaitErrors("connected", Generous())) << second.errors();
  std::thread typing([&] { EXPECT_TRUE(first.Type(text, Generous())); });
  EXPECT_TRUE(second.Type(text, Generous()));
  typing.join();
  first.EndInput();
  second.EndInput();
  EXPECT_EQ(first.Wait(Generous()), 0) << first.errors();
  EXPECT_EQ(second.Wait(Generous()), 0) << second.errors();
  for (const char* suffix : {".1", ".2"}) {
    std::ifstream file(FullPath() + suffix);
    const std::string output((std::istreambuf_iterator<char>(file)), {});
    EXPECT_TRUE(output == heard) << output.size() << " bytes of " << heard.size();
  }
}

TEST_F(ChatTest, ControlCharactersDoNotReachTheTerminal) {
  Talk talk(path);
  EXPECT_TRUE(talk.first.Type("\x1b]0;title\x07 \x9b\n", Generous()));
  EXPECT_TRUE(talk.second->AwaitOutput("> \\x1b]0;title\\x07 \\x9b\n", Generous()));
}

TEST_F(ChatTest, TheOtherSidesDeathIsReported) {
  for (const bool first_dies : {true, false}) {
    Talk talk(path);
    Process& dying = first_dies ? talk.first : *talk.second;
    Process& living = first_dies ? *talk.second : talk.first;
    EXPECT_TRUE(dying.Type("last words\n", Generous()));
    EXPECT_TRUE(living.AwaitOutput("> last words\n", Generous()));
    dying.Signal(SIGKILL);
    EXPECT_EQ(living.Wait(Generous()), 1);
    EXPECT_NE(living.errors().find("chat: the peer ended without closing"), std::string::npos)
        << living.errors();
    EXPECT_FALSE(SocketExists());
  }
}

TEST_F(ChatTest, CtrlCLeavesNoSocketFileWhileWaiting) {
  Process chat({Binary(kChat), path});
  ASSERT_TRUE(chat.AwaitErrors("waiting for somebody", Generous()));
  EXPECT_TRUE(SocketExists());
  chat.Signal(SIGINT);
  EXPECT_EQ(chat.Wait(Generous()), 130);
  EXPECT_NE(chat.errors().find("chat: interrupted\n"), std::string::npos) << chat.errors();
  EXPECT_FALSE(SocketExists());
}

TEST_F(ChatTest, CtrlCEndsATalkForBoth) {
  Talk talk(path);
  talk.first.Signal(SIGINT);
  EXPECT_EQ(talk.first.Wait(Generous()), 130);
  EXPECT_EQ(talk.second->Wait(Generous()), 1);
  EXPECT_FALSE(SocketExists());
}

TEST_F(ChatTest, SaysThatTheOtherSideDoesNotReadAndGivesUpInTheEnd) {
  Talk talk(path, "3");
  talk.second->Signal(SIGSTOP);
  // More than the ring holds; the chat stops reading when the ring is full, so not all of it goes.
  const std::string line = std::string(999, 'x') + "\n";
  for (int i = 0; i < 100; ++i) {
    if (!talk.first.Type(line, In(100))) break;
  }
  EXPECT_TRUE(talk.first.AwaitErrors("the other side does not read", Generous()));
  EXPECT_EQ(talk.first.Wait(Generous()), 1);
  EXPECT_NE(talk.first.errors().find("chat: gave up"), std::string::npos) << talk.first.errors();
  talk.second->Signal(SIGCONT);
}

TEST_F(ChatTest, AStoppedSideThatGoesOnGetsEverything) {
  Talk talk(path);
  talk.second->Signal(SIGSTOP);
  const std::string line = std::string(999, 'x') + "\n";
  std::string heard;
  for (int i = 0; i < 80; ++i) {
    EXPECT_TRUE(talk.first.Type(line, Generous()));
    heard += "> " + line;
  }
  EXPECT_TRUE(talk.first.AwaitErrors("the other side does not read", Generous()));
  talk.second->Signal(SIGCONT);
  talk.first.EndInput();
  talk.second->EndInput();
  EXPECT_EQ(talk.second->Wait(Generous()), 0) << talk.second->errors();
  EXPECT_EQ(talk.first.Wait(Generous()), 0) << talk.first.errors();
  EXPECT_TRUE(talk.second->output() == heard);
}

TEST_F(ChatTest, SaysHowItIsUsed) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{}, {path, "soon"}, {path, "0"}, {path, "nan"}, {path, "1", "2"}}) {
    std::vector<std::string> all = {Binary(kChat)};
    all.insert(all.end(), arguments.begin(), arguments.end());
    Process chat(all);
    EXPECT_EQ(chat.Wait(Generous()), 2);
    EXPECT_EQ(chat.errors().rfind("usage: chat PATH", 0), 0u) << chat.errors();
  }
}

// Somebody who connects and says nothing does not keep the two from meeting.
TEST_F(ChatTest, AStrangerWhoSaysNothingIsNoPartner) {
  Process first({Binary(kChat), path});
  ASSERT_TRUE(first.AwaitErrors("waiting for somebody", Generous()));
  const UniqueFd stranger(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string full = FullPath();
  if (full.size() >= sizeof(address.sun_path)) GTEST_SKIP() << "the test's folder has a long path";
  full.copy(address.sun_path, full.size());
  // SAFETY: the sockets API takes every address family through this type.
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  ASSERT_EQ(::connect(stranger.get(), generic, sizeof(address)), 0);
  Process second({Binary(kChat), path});
  EXPECT_TRUE(second.AwaitErrors("connected", Generous())) << second.errors();
}

}  // namespace
}  // namespace parley

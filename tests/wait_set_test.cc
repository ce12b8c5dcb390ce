// SPDX-License-Identifier: Apache-2.0

// A WaitSet among real processes: a thousand channels, a peer that floods, peers that die, and what
// it asks of the kernel.

#include "parley/wait_set/wait_set.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/violation.h"
#include "parley/channel/channel.h"
#include "parley/channel/hostile_access.h"
#include "parley/frames/frame_receiver.h"
#include "parley/frames/frame_sender.h"
#include "parley/handshake/options.h"
#include "parley/os/deadline.h"
#include "parley/testing/channel_pair.h"
#include "parley/tests/child.h"
#include "parley/tests/echo_server.h"
#include "parley/tests/peer.h"
#include "parley/tests/process.h"
#include "parley/tests/resources.h"
#include "parley/tests/shared_counter.h"
#include "parley/wait_set/listener.h"

namespace parley {
namespace {

using Ran = WaitSet::Ran;

std::unique_ptr<WaitSet> MakeSet() {
  auto set = WaitSet::Create();
  EXPECT_TRUE(set.ok()) << set.status();
  return *std::move(set);
}

// Whether this process may have so many descriptors.
bool AllowDescriptors(rlim_t wanted) {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max < wanted) return false;
  if (limit.rlim_cur >= wanted) return true;
  limit.rlim_cur = wanted;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

AcceptOptions SmallRings() {
  AcceptOptions options;
  options.send = {4096, 64};
  options.receive = {4096, 64};
  return options;
}

bool Ping(Channel& channel) {
  std::array<std::byte, 64> message = {};
  return channel.sender.Send(1, absl::MakeConstSpan(message).first(8), Generous()).ok() &&
         channel.receiver.Receive(absl::MakeSpan(message), Generous()).ok();
}

// --- a thousand channels -------------------------------------------------------------------------

constexpr std::size_t kChannels = 1000;
constexpr std::size_t kActive = 10;
constexpr int kRounds = 200;

int BeAThousandOfWhichTenAreActive(const std::string& name, SharedCounter& done) {
  std::vector<Channel> channels;
  for (std::size_t i = 0; i < kChannels; ++i) {
    auto channel = ConnectChannel(name, {}, Generous());
    if (!channel.ok()) return 2;
    channels.push_back(*std::move(channel));
  }
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < kActive; ++i) {
      if (!Ping(channels[i * (kChannels / kActive)])) return 3;
    }
  }
  done.Set(1);
  ::pause();  // until it is killed, with all of its channels
  return 0;
}

int Flood(const std::string& name) {
  auto channel = ConnectChannel(name, {}, Generous());
  if (!channel.ok()) return 2;
  while (true) HostileAccess::DoorbellOf(channel->sender).Signal();
}

TEST(WaitSetProcessTest, AttackW15TenOfAThousandAreServedBesideAFloodAndThenAllDie) {
  if (!AllowDescriptors(8 * kChannels)) GTEST_SKIP() << "RLIMIT_NOFILE is too low";
  const std::string name = "@parley-thousand-" + std::to_string(::getpid());
  auto listener = ChannelListener::Listen(name, SmallRings());
  ASSERT_TRUE(listener.ok()) << listener.status();
  SharedCounter done;
  Child clients([&] { return BeAThousandOfWhichTenAreActive(name, done); });
  Child flood([&] { return Flood(name); });
  auto set = MakeSet();
  EchoServer server(set.get());
  std::size_t accepted = 0;
  auto listening = AddListener(set.get(), &*listener, [&](absl::StatusOr<Channel> channel) {
    ASSERT_TRUE(channel.ok()) << channel.status();
    ++accepted;
    server.Add(*std::move(channel));
  });
  ASSERT_TRUE(listening.ok()) << listening.status();
  const Deadline give_up = In(120'000);
  while ((done.Get() == 0 || server.violations() == 0) && !give_up.Expired()) {
    set->RunOnce(In(100));
  }
  EXPECT_EQ(accepted, kChannels + 1);
  EXPECT_EQ(server.echoed(), kActive * kRounds);
  // The flood ended as one; nobody else did.
  EXPECT_EQ(server.violations(), 1);
  EXPECT_EQ(server.clients(), kChannels);

  // A thousand hang-ups at once, each told once.
  clients.Kill();
  const WaitSetStats before = set->stats();
  while (server.clients() != 0 && !give_up.Expired()) set->RunOnce(In(100));
  EXPECT_EQ(server.clients(), 0u);
  EXPECT_EQ(server.ended(), static_cast<int>(kChannels) + 1);
  EXPECT_LE(set->stats().handlers - before.handlers, 2 * kChannels + 10);
  while (set->RunOnce(In(50)) != Ran::kDeadline && !give_up.Expired()) {
  }
  const uint64_t polls = set->stats().polls;
  EXPECT_EQ(set->RunOnce(In(50)), Ran::kDeadline);
  EXPECT_LE(set->stats().polls - polls, 2u);
}

// The peer's end of the socket stays open, in a process that it left: only the pidfd tells.
TEST(WaitSetProcessTest, AttackW16AnHeirThatKeepsTheSocketHidesNoDeath) {
  SharedCounter heir;
  Peer peer = Peer::Start({}, [&](Channel&) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::alarm(120);
      while (true) ::pause();
    }
    heir.Set(static_cast<uint64_t>(pid));
    return 0;
  });
  auto set = MakeSet();
  int told = 0;
  auto data = set->Add(peer.channel.receiver.waitable(), [&](const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    ++told;
  });
  ASSERT_TRUE(data.ok()) << data.status();
  const Deadline give_up = Generous();
  while (told == 0 && !give_up.Expired()) set->RunOnce(In(100));
  const uint64_t polls = set->stats().polls;
  EXPECT_EQ(set->RunOnce(In(50)), Ran::kDeadline);
  EXPECT_LE(set->stats().polls - polls, 2u);
  EXPECT_EQ(told, 1);
  EXPECT_EQ(::kill(static_cast<pid_t>(heir.Get()), SIGKILL), 0);
}

TEST(WaitSetProcessTest, NoEndHasAnEpollOfItsOwn) {
  Peer peer = Peer::Start({}, Echo);
  const std::size_t before = OpenDescriptors().size();
  auto set = MakeSet();
  EXPECT_EQ(OpenDescriptors().size(), before + 2);
  auto data = set->Add(peer.channel.receiver.waitable(), [](const absl::Status&) {});
  auto space =
      set->Add(peer.channel.sender.waitable(8), [](const absl::Status&) {}, WaitSet::Mode::kOnce);
  ASSERT_TRUE(data.ok() && space.ok());
  set->RunOnce(In(1));
  EXPECT_EQ(OpenDescriptors().size(), before + 2);
}

// --- frames --------------------------------------------------------------------------------------

TEST(WaitSetFramesTest, AFrameAndItsReturnAreTold) {
  auto set = MakeSet();
  testing::ChannelPairOptions options;
  options.ring.arena = {.bytes = 16384};
  auto made = testing::ChannelPair::Create(options);
  ASSERT_TRUE(made.ok());
  auto sender = FrameSender::Create((*made)->accepting());
  auto receiver = FrameReceiver::Create((*made)->connecting());
  ASSERT_TRUE(sender.ok() && receiver.ok());
  constexpr int kFrames = 300;
  int sent = 0;
  int received = 0;
  std::deque<InFrame> held;  // so that the sender has to wait for a return
  auto space = set->Add(sender->waitable(4096), [&](const absl::Status& status) {
    ASSERT_TRUE(status.ok()) << status;
    OutFrame frame;
    if (sent == kFrames || sender->TryAcquire(4096, &frame) != Outcome::kOk) return;
    ASSERT_EQ(sender->TrySend(&frame, 100, 1), Outcome::kOk);
    ++sent;
  });
  auto data = set->Add(receiver->waitable(), [&](const absl::Status& status) {
    ASSERT_TRUE(status.ok()) << status;
    InFrame frame;  // one at a time: the rest is told in the next round
    if (receiver->TryReceive(&frame) != Outcome::kOk) return;
    held.push_back(std::move(frame));
    if (held.size() == 4) held.pop_front();
    ++received;
  });
  ASSERT_TRUE(space.ok() && data.ok());
  const Deadline give_up = Generous();
  while (received < kFrames && !give_up.Expired()) set->RunOnce(In(50));
  EXPECT_EQ(received, kFrames);
  EXPECT_LE(sender->stats().returned, static_cast<uint64_t>(kFrames));
}

// --- system calls --------------------------------------------------------------------------------

bool CanTrace() {
  Process strace({"strace", "-o", "/dev/null", "true"});
  return strace.Wait(Generous()) == 0;
}

// By name, of the process that made the marks, between them.
std::map<std::string, uint64_t> CallsBetweenMarks(const std::string& trace) {
  const std::regex line_format(R"(^(\d+) +(?:<\.\.\. )?(\w+)(\(| resumed).*)");
  std::map<std::string, uint64_t> counts;
  std::string inside;
  std::ifstream file(trace);
  for (std::string line; std::getline(file, line);) {
    std::smatch match;
    if (!std::regex_match(line, match, line_format) || match[3] == " resumed") continue;
    if (line.find("write(-1, \"begin\"") != std::string::npos) {
      inside = match[1];
    } else if (line.find("write(-1, \"end\"") != std::string::npos) {
      inside.clear();
    } else if (match[1] == inside) {
      ++counts[match[2]];
    }
  }
  return counts;
}

// A served message is one poll, one signal, and the emptying of the doorbell; nothing is added to
// or taken out of the epoll for it.
TEST(WaitSetSystemCallsTest, AServedMessageIsOnePollOneDrainAndOneSignal) {
  if (!CanTrace()) GTEST_SKIP() << "strace can't trace here (is ptrace permitted?)";
  if (IsSanitized()) GTEST_SKIP() << "a sanitizer makes system calls of its own";
  constexpr uint64_t kMessages = 2000;
  const char* folder = std::getenv("TEST_TMPDIR");
  const std::string trace = std::string(folder == nullptr ? "/tmp" : folder) + "/trace.echo";
  Process strace(
      {"strace", "-f", "-o", trace, Binary("tests/echo_loop"), std::to_string(kMessages)});
  ASSERT_EQ(strace.Wait(Generous()), 0) << strace.errors();
  auto calls = CallsBetweenMarks(trace);
  std::smatch counted;
  const std::string output = strace.output();
  ASSERT_TRUE(std::regex_search(output, counted,
                                std::regex(R"(polls=(\d+) handlers=(\d+) spurious=(\d+))")));
  const uint64_t polls = std::stoull(counted[1]);
  const uint64_t spurious = std::stoull(counted[3]);
  EXPECT_EQ(calls["epoll_pwait2"] + calls["epoll_wait"], polls);
  // One with a message each, and at most one more that finds a signal whose message was taken.
  EXPECT_LE(polls, 2 * kMessages + 10);
  // A signal and "no other", for each wake-up; before Linux 6.16 with a look at each first.
  EXPECT_LE(calls["recvfrom"], 3 * (kMessages + spurious));
  EXPECT_LE(calls["recvmsg"], 3 * (kMessages + spurious));
  EXPECT_LE(calls["sendto"], kMessages + 4);
  uint64_t total = 0;
  for (const auto& [name, count] : calls) {
    total += count;
    const bool known =
        name == "epoll_pwait2" || name == "epoll_wait" || name == "recvfrom" || name == "recvmsg" ||
        name == "sendto" || name == "restart_syscall" ||
        // Around a signal that is measured, and the rare question for the peer's end.
        name == "clock_gettime" || (name == "ppoll" && count <= 100);
    EXPECT_TRUE(known) << name << ": " << count;
  }
  RecordProperty("system_calls_of_2000_messages", static_cast<int>(total));
}

}  // namespace
}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/handshake/checked_options.h"
#include "parley/handshake/connector.h"
#include "parley/handshake/failure_budget.h"
#include "parley/handshake/listener.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/server_limits.h"
#include "parley/handshake/session.h"
#include "parley/handshake/wire.h"
#include "parley/os/deadline.h"
#include "parley/os/thread_cpu.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/guarded_range.h"
#include "parley/testing/slow_files.h"
#include "parley/wait/doorbell.h"

namespace parley {
namespace {

using testing_support::FailSystemCall;
using testing_support::LingeringSocket;
using testing_support::RunInChild;
using testing_support::SendWithDescriptor;

Deadline Soon() { return Deadline::After(absl::Seconds(10)); }
Deadline Past() { return Deadline::AtMonotonicNs(0); }

std::string Name() {
  static int count = 0;
  return "@parley_server_" + std::to_string(::getpid()) + "_" + std::to_string(++count);
}

std::vector<std::byte> HelloBytes() {
  Hello hello;
  hello.roles = kRoleSends | kRoleReceives;
  hello.doorbells = kDoorbellSocket;
  return EncodeHello(hello);
}

absl::Duration CpuOfThisThread() { return absl::Nanoseconds(ThreadCpuNs()); }

struct ServerTest : ::testing::Test {
  const std::string name = Name();
  FileRegistry registry;
  FileRegistry client_registry;
  AcceptOptions options;
  ServerLimits limits;
  std::optional<Server> server;

  ServerTest() { options.registry = &registry; }
  void Start() {
    server.emplace(*Listener::Bind(name), *CheckedAcceptOptions::Make(options), limits);
  }

  // An honest connecting side.
  absl::StatusOr<std::shared_ptr<Session>> Connect(absl::Duration within = absl::Seconds(10)) {
    const Deadline deadline = Deadline::After(within);
    auto socket = ConnectTo(name, deadline);
    if (!socket.ok()) return socket.status();
    ConnectOptions connect;
    connect.registry = &client_registry;
    return ConnectHandshake(*std::move(socket), connect, deadline);
  }
  // One that says Hello, and whatever then.
  PeerSocket Raw() {
    auto socket = ConnectTo(name, Soon());
    EXPECT_TRUE(socket.ok() && socket->Send(HelloBytes()).ok());
    return *std::move(socket);
  }
  // The same, by a thread that has another user id.
  PeerSocket RawOf(uid_t uid) {
    std::optional<PeerSocket> made;
    std::thread other([&] {
      // Of this thread alone, unlike libc's.
      if (::syscall(SYS_setresuid, uid, uid, uid) == 0) made = Raw();
    });
    other.join();
    EXPECT_TRUE(made.has_value());
    return *std::move(made);
  }
  // Rounds enough for a message and the memory that it asks for, also where failures were so
  // expensive that nobody is taken for a moment.
  void Drive() {
    EXPECT_FALSE(server->Accept(AfterAPause()).ok());
    for (int i = 0; i < 10; ++i) EXPECT_FALSE(server->Accept(Past()).ok());
  }
  static Deadline AfterAPause() {
    return Deadline::After(absl::Nanoseconds(internal::FailureBudget::kMaxPauseNs) +
                           absl::Milliseconds(2));
  }
  // Takes the Welcome and answers it.
  static void Answer(const PeerSocket& socket) {
    std::array<std::byte, kMaxMessageBytes> into;
    const auto size = socket.Receive(absl::MakeSpan(into), Soon());
    ASSERT_TRUE(size.ok()) << size.status();
    const auto welcome = ParseWelcome(absl::MakeConstSpan(into).first(*size));
    ASSERT_TRUE(welcome.ok()) << welcome.status();
    socket.AllowDescriptors();
    ASSERT_TRUE(socket.Send(EncodeChannelId(MessageType::kAccepted, welcome->channel_id)).ok());
  }
  // What it was refused for; 0 if it was not, or nothing came.
  static uint32_t ReasonOf(const PeerSocket& socket) {
    std::array<std::byte, kMaxMessageBytes> into;
    pollfd entry = {socket.fd(), POLLIN, 0};
    if (::poll(&entry, 1, 1000) != 1) return 0;
    const ssize_t got = ::recv(socket.fd(), into.data(), into.size(), MSG_PEEK);
    const auto reason =
        ParseRefused(absl::MakeConstSpan(into).first(got > 0 ? static_cast<std::size_t>(got) : 0));
    return reason.ok() ? static_cast<uint32_t>(*reason) : 0;
  }
  static bool HasAnswer(const PeerSocket& socket) {
    pollfd entry = {socket.fd(), POLLIN, 0};
    return ::poll(&entry, 1, 0) == 1;
  }
};

// Keeps `count` connections open that say nothing, and opens each again that is closed.
[[noreturn]] void KeepSilent(const std::string& name, std::size_t count, uid_t uid) {
  if (uid != 0 && ::setresuid(uid, uid, uid) != 0) ::_exit(1);
  std::vector<PeerSocket> silent;
  while (silent.size() < count) {
    auto socket = ConnectTo(name, Soon());
    if (socket.ok()) silent.push_back(*std::move(socket));
  }
  while (true) {
    std::vector<pollfd> polled;
    for (const PeerSocket& s : silent) polled.push_back({s.fd(), 0, 0});
    if (::poll(polled.data(), polled.size(), 100) <= 0) continue;
    for (std::size_t i = 0; i < count; ++i) {
      if (polled[i].revents == 0) continue;
      auto socket = ConnectTo(name, Soon());
      if (socket.ok()) silent[i] = *std::move(socket);
    }
  }
}

// Keeps the listener's queue full: each of `count` threads connects, and again when it is through.
[[noreturn]] void KeepTheQueueFull(const std::string& name, int count, uid_t uid) {
  if (::setresuid(uid, uid, uid) != 0) ::_exit(1);
  for (int i = 0; i < count; ++i) {
    std::thread([&] {
      while (true) static_cast<void>(ConnectTo(name, Soon()));
    }).detach();
  }
  while (true) ::pause();
}

struct CrowdResult {
  int good = 0;
  uint64_t failures = 0;
  absl::Duration cpu;  // of the thread that serves
  absl::Duration time;
};
// `tries` of an honest one, each with 2 s; beside a process that does what `crowd` says, if any.
CrowdResult TriesBeside(ServerTest* test, int tries, const std::function<void()>& crowd) {
  std::atomic<bool> end = false;
  CrowdResult result;
  const pid_t pid = crowd ? ::fork() : 0;
  if (crowd && pid == 0) {
    crowd();
    ::_exit(1);
  }
  std::thread serving([&] {
    const absl::Time start = absl::Now();
    // RELAXED: a flag.
    while (!end.load(std::memory_order_relaxed)) {
      static_cast<void>(test->server->Accept(Deadline::After(absl::Milliseconds(50))));
    }
    result.time = absl::Now() - start;
    result.cpu = CpuOfThisThread();
    result.failures = test->server->failures();
  });
  absl::SleepFor(absl::Milliseconds(300));
  for (int i = 0; i < tries; ++i) {
    const auto made = test->Connect(absl::Seconds(2));
    if (made.ok()) ++result.good;
    absl::SleepFor(absl::Milliseconds(5));
  }
  end.store(true, std::memory_order_relaxed);  // RELAXED: a flag
  serving.join();
  if (pid > 0) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  return result;
}
// There was a crowd, and it took a tenth of a processor and a burst, however fast they come; as
// much again for what the budget only estimates.
void ExpectWithinBudget(const CrowdResult& alone, const CrowdResult& beside) {
  EXPECT_GT(beside.failures, 20u);
  EXPECT_LT(beside.cpu - alone.cpu, beside.time * 0.2 + absl::Milliseconds(50));
}

// All of `tries` get in beside the crowd, which is held to the budget.
CrowdResult AllGetInBeside(ServerTest* test, int tries, const std::function<void()>& crowd) {
  const CrowdResult alone = TriesBeside(test, tries, nullptr);
  const CrowdResult beside = TriesBeside(test, tries, crowd);
  EXPECT_EQ(beside.good, tries) << test->server->last_failure();
  ExpectWithinBudget(alone, beside);
  return beside;
}

TEST_F(ServerTest, AttackH10ASilentCrowdWhomThePolicyRefusesKeepsNobodyOut) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root, so no other user";
  Start();
  AllGetInBeside(this, 40, [&] { KeepSilent(name, 40, 4711); });
}

// An honest peer waits behind them in the kernel's queue, so they have to be gone through: for as
// long as there are some, the server works and does not wait. It idled for 97 percent of the time.
TEST_F(ServerTest, AttackH15AQueueFullOfStrangersIsGoneThrough) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root, so no other user";
  Start();
  const CrowdResult beside = AllGetInBeside(this, 10, [&] { KeepTheQueueFull(name, 200, 4711); });
  EXPECT_GT(beside.cpu, beside.time * 0.05);
}

TEST_F(ServerTest, AttackH10ASilentCrowdOfOurOwnUserKeepsNobodyOutEither) {
  Start();
  AllGetInBeside(this, 40, [&] { KeepSilent(name, 40, 0); });
}

TEST_F(ServerTest, AnHonestOneThatFindsNoPlaceIsToldToTryAgain) {
  limits.max_pending = 2;
  Start();
  const PeerSocket first = Raw();
  const PeerSocket second = Raw();
  for (int i = 0; i < 6; ++i) EXPECT_FALSE(server->Accept(Past()).ok());
  std::atomic<bool> done = false;
  absl::Status told;
  std::thread client([&] {
    told = ConnectHandshake(*ConnectTo(name, Soon()), ConnectOptions{}, Soon()).status();
    done = true;
  });
  while (!done) static_cast<void>(server->Accept(Past()));
  client.join();
  EXPECT_TRUE(absl::IsUnavailable(told)) << told;
  EXPECT_TRUE(IsRefusal(told));
}

TEST_F(ServerTest, TheOldestSilentOneGoesAndNotTheNewcomer) {
  limits.max_pending = 3;
  Start();
  std::vector<PeerSocket> silent;
  for (int i = 0; i < 3; ++i) silent.push_back(*ConnectTo(name, Soon()));
  EXPECT_FALSE(server->Accept(Past()).ok());
  const PeerSocket newcomer = Raw();
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(server->Accept(Past()).ok());
  EXPECT_TRUE(HasAnswer(newcomer));
  EXPECT_EQ(ReasonOf(newcomer), 0u);
  EXPECT_EQ(ReasonOf(silent[0]), static_cast<uint32_t>(RefusalReason::kBusy));
  EXPECT_FALSE(HasAnswer(silent[1]));
  // Those that have said something stay.
  const PeerSocket second = Raw();
  const PeerSocket third = Raw();
  for (int i = 0; i < 6; ++i) EXPECT_FALSE(server->Accept(Past()).ok());
  const PeerSocket one_too_many = Raw();
  for (int i = 0; i < 6; ++i) EXPECT_FALSE(server->Accept(Past()).ok());
  EXPECT_EQ(ReasonOf(one_too_many), static_cast<uint32_t>(RefusalReason::kBusy));
  EXPECT_EQ(ReasonOf(second), 0u);
}

// Memory that a peer took and did not use stays with it as long as it likes: so much of each user.
TEST_F(ServerTest, PromiseP7ResourcesGivenUpHandshakesAreBoundedForEachUser) {
  limits.max_unfinished_of_user = 3;
  limits.given_up_time = absl::Milliseconds(300);
  Start();
  std::vector<PeerSocket> hoard;
  for (int i = 0; i < 5; ++i) {
    hoard.push_back(Raw());
    Drive();
    Answer(hoard.back());
    Drive();
    EXPECT_TRUE(HasAnswer(hoard.back()));
    EXPECT_EQ(ReasonOf(hoard.back()),
              i < 3 ? 0 : static_cast<uint32_t>(RefusalReason::kUnfinished));
    // Rubbish in place of the answer: its slot is free again, and what it was given is not.
    static_cast<void>(hoard.back().Send(std::vector<std::byte>(2)));
    EXPECT_FALSE(server->Accept(Past()).ok());
  }
  EXPECT_EQ(registry.size(), 0u);
  EXPECT_FALSE(server->Accept(Deadline::After(absl::Milliseconds(400))).ok());
  // Descriptors in the peer's queue are charged to our user: they are not forgotten.
  hoard.push_back(Raw());
  Drive();
  Answer(hoard.back());
  Drive();
  EXPECT_EQ(ReasonOf(hoard.back()), static_cast<uint32_t>(RefusalReason::kUnfinished));
  hoard.clear();
  const PeerSocket next = Raw();
  Drive();
  Answer(next);
  Drive();
  EXPECT_TRUE(HasAnswer(next));
  EXPECT_EQ(ReasonOf(next), 0u);
}

TEST_F(ServerTest, PromiseP7ResourcesTheBytesOfUnfinishedOnesAreBounded) {
  // One has two rings and two pages of control words: less than two.
  limits.max_unfinished_bytes_of_user = 3 * (kDefaultCapacityBytes + PageBytes());
  Start();
  const PeerSocket first = Raw();
  const PeerSocket second = Raw();
  const PeerSocket third = Raw();
  // All are welcome, which costs nothing; then all of them answer at once.
  Drive();
  for (const PeerSocket* peer : {&first, &second, &third}) Answer(*peer);
  Drive();
  EXPECT_TRUE(HasAnswer(first));
  EXPECT_TRUE(HasAnswer(second));
  // The third waits for those before it, and has what it needs when one is through.
  EXPECT_FALSE(HasAnswer(third));
  static_cast<void>(first.Send(std::vector<std::byte>(2)));
  Drive();
  EXPECT_FALSE(HasAnswer(third));
}

// By a call that any loop can make, and the descriptor says when.
TEST_F(ServerTest, HalfMadeChannelsOfDeadPeersEndInTend) {
  Start();
  const auto descriptor = server->descriptor();
  ASSERT_TRUE(descriptor.ok()) << descriptor.status();
  const auto tend_while_readable = [&] {
    pollfd entry = {*descriptor, POLLIN, 0};
    int rounds = 0;
    while (::poll(&entry, 1, 50) == 1 && ++rounds < 100) server->Tend();
    EXPECT_LT(rounds, 100) << "the loop would spin";
  };
  tend_while_readable();
  {
    const PeerSocket peer = Raw();
    tend_while_readable();
    EXPECT_TRUE(HasAnswer(peer));
    EXPECT_EQ(registry.size(), 0u);
    Answer(peer);
    tend_while_readable();
    EXPECT_TRUE(HasAnswer(peer));
    EXPECT_EQ(registry.size(), 2u);
  }
  tend_while_readable();
  EXPECT_EQ(registry.size(), 0u);
  EXPECT_EQ(server->failures(), 1u);

  // The same loop makes channels, and an Accept that does not wait returns them.
  absl::StatusOr<std::shared_ptr<Session>> connected = absl::UnknownError("");
  std::thread client([&] { connected = Connect(); });
  for (const Deadline soon = Soon(); !server->HasReady() && !soon.Expired();) {
    pollfd entry = {*descriptor, POLLIN, 0};
    if (::poll(&entry, 1, 50) == 1) server->Tend();
  }
  client.join();
  EXPECT_TRUE(connected.ok()) << connected.status();
  pollfd entry = {*descriptor, POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, 1000), 1);
  EXPECT_TRUE(server->Accept(Past()).ok());
  EXPECT_EQ(::poll(&entry, 1, 0), 0);
}

TEST_F(ServerTest, ASilentPeerEndsInTendWhenItsTimeIsUp) {
  limits.handshake_time = absl::Milliseconds(50);
  Start();
  const auto descriptor = server->descriptor();
  ASSERT_TRUE(descriptor.ok());
  const auto silent = ConnectTo(name, Soon());
  server->Tend();
  pollfd entry = {*descriptor, POLLIN, 0};
  ASSERT_EQ(::poll(&entry, 1, 2000), 1);
  server->Tend();
  EXPECT_EQ(ReasonOf(*silent), static_cast<uint32_t>(RefusalReason::kDeadline));
  EXPECT_EQ(::poll(&entry, 1, 100), 0);
}

// Each client has said Hello when it is refused: the reason arrives all the same, every time.
TEST_F(ServerTest, ARefusalArrivesWithItsReasonAndNotAsAReset) {
  options.policy = PeerPolicy::Uid(12345);
  Start();
  std::atomic<bool> end = false;
  std::thread serving([&] {
    // RELAXED: a flag.
    while (!end.load(std::memory_order_relaxed)) {
      static_cast<void>(server->Accept(Deadline::After(absl::Milliseconds(20))));
    }
  });
  for (int i = 0; i < 300; ++i) {
    const auto refused = Connect();
    ASSERT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition) << refused.status();
    ASSERT_NE(refused.status().message().find("policy"), std::string::npos) << refused.status();
  }
  end.store(true, std::memory_order_relaxed);  // RELAXED: a flag
  serving.join();
}

// What came in time counts, however long our caller was away.
TEST_F(ServerTest, APunctualPeerIsNotTimedOutBecauseOurCallerWasAway) {
  limits.handshake_time = absl::Milliseconds(100);
  Start();
  absl::StatusOr<std::shared_ptr<Session>> connected = absl::UnknownError("");
  std::thread client([&] { connected = Connect(); });
  for (int i = 0; i < 4; ++i) {  // takes the connection, the Hello, and what follows it
    static_cast<void>(server->Accept(Past()));
    absl::SleepFor(absl::Milliseconds(300));
  }
  const auto accepted = server->Accept(Deadline::After(absl::Seconds(5)));
  client.join();
  EXPECT_TRUE(connected.ok()) << connected.status();
  EXPECT_TRUE(accepted.ok() || server->failures() == 0) << accepted.status();
}

// The connecting side says nothing to who listens under a name that another user took first.
TEST_F(ServerTest, AttackH14AListenerOfAnotherUserIsNotSpokenTo) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root, so no other user";
  int told[2] = {-1, -1};
  ASSERT_EQ(::pipe2(told, O_CLOEXEC), 0);
  const pid_t squatter = ::fork();
  if (squatter == 0) {
    if (::setresuid(4711, 4711, 4711) != 0) ::_exit(1);
    auto listener = Listener::Bind(name);
    if (!listener.ok() || ::write(told[1], "x", 1) != 1) ::_exit(2);
    for (int i = 0; i < 2; ++i) {
      std::optional<PeerSocket> socket;
      while (!socket) socket = *listener->TryAccept();
      std::array<std::byte, kMaxMessageBytes> bytes;
      const auto got = socket->Receive(absl::MakeSpan(bytes), Soon());
      if (::write(told[1], got.ok() ? "y" : "n", 1) != 1) ::_exit(3);
    }
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(told[0], &byte, 1), 1);
  const auto refused = Connect();
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kPermissionDenied) << refused.status();
  ASSERT_EQ(::read(told[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'n');  // not a word
  ConnectOptions connect;
  connect.registry = &client_registry;
  connect.policy = PeerPolicy::Uid(4711);
  static_cast<void>(ConnectHandshake(*ConnectTo(name, Soon()), connect, Soon()));
  ASSERT_EQ(::read(told[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  ASSERT_EQ(::waitpid(squatter, nullptr, 0), squatter);
}

// On a kernel that lets it be queued as well.
TEST_F(ServerTest, AttackF12AcceptKeepsItsDeadlineWhateverWasQueued) {
  for (const bool old_kernel : {false, true}) {
    EXPECT_EQ(RunInChild([&] {
                UniqueFd slow = LingeringSocket(absl::Seconds(3));
                if (old_kernel) FailSystemCall(SYS_setsockopt, ENOPROTOOPT);
                Start();
                const UniqueFd attacker(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
                sockaddr_un address = {};
                address.sun_family = AF_UNIX;
                name.copy(address.sun_path, sizeof(address.sun_path));
                address.sun_path[0] = '\0';
                const auto length =
                    static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
                // SAFETY: the sockets API takes every address family through this type.
                const auto* any = reinterpret_cast<const sockaddr*>(&address);
                ASSERT_EQ(::connect(attacker.get(), any, length), 0);
                const bool sent = SendWithDescriptor(attacker.get(), slow.get());
                EXPECT_TRUE(sent || !old_kernel);
                if (sent) slow.Reset();
                const absl::Time before = absl::Now();
                EXPECT_FALSE(server->Accept(Deadline::After(absl::Milliseconds(100))).ok());
                server.reset();
                EXPECT_LE(absl::Now() - before, absl::Milliseconds(1000));
              }),
              "ok")
        << old_kernel;
  }
}

// With no descriptor left Accept waits like any other time, and each peer in the queue is let go.
TEST_F(ServerTest, PromiseP3WorkAFullTableMakesNobodySpin) {
  EXPECT_EQ(RunInChild([&] {
              Start();
              std::vector<PeerSocket> waiting;
              for (int i = 0; i < 3; ++i) waiting.push_back(Raw());
              std::vector<UniqueFd> table;
              const rlimit few = {200, 200};
              ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
              do {
                table.emplace_back(::dup(waiting[0].fd()));
              } while (table.back().ok());
              const absl::Duration before = CpuOfThisThread();
              const auto got = server->Accept(Deadline::After(absl::Milliseconds(300)));
              EXPECT_EQ(got.status().code(), absl::StatusCode::kResourceExhausted) << got.status();
              EXPECT_LT(CpuOfThisThread() - before, absl::Milliseconds(100));
              EXPECT_EQ(server->failures(), 3u);
              for (const PeerSocket& peer : waiting) EXPECT_TRUE(HasAnswer(peer));
            }),
            "ok");
}

// --- limits, counts and the descriptor -----------------------------------------------------------

bool Says(const absl::Status& status, const char* sentence) {
  return status.ToString().find(sentence) != std::string::npos;
}

TEST(ServerLimitsTest, EachIsAllowedUpToItsEndAndNamedBeyondIt) {
  const struct {
    std::function<void(ServerLimits&)> set;
    const char* sentence;  // empty: it is allowed
  } kCases[] = {
      {[](ServerLimits&) {}, ""},
      {[](ServerLimits& l) { l.max_pending = 0; }, "max_pending is 0; allowed: 1 to 4096"},
      {[](ServerLimits& l) { l.max_pending = 1; }, ""},
      {[](ServerLimits& l) { l.max_pending = 4096; }, ""},
      {[](ServerLimits& l) { l.max_pending = 4097; }, "max_pending is 4097; allowed: 1 to 4096"},
      {[](ServerLimits& l) { l.max_pending_of_user = 1; }, ""},
      {[](ServerLimits& l) { l.max_pending_of_user = 0; }, "at least 1"},
      {[](ServerLimits& l) { l.max_unfinished = 1; }, ""},
      {[](ServerLimits& l) { l.max_unfinished = 0; }, "at least 1"},
      {[](ServerLimits& l) { l.max_unfinished_of_user = 1; }, ""},
      {[](ServerLimits& l) { l.max_unfinished_of_user = 0; }, "at least 1"},
      {[](ServerLimits& l) { l.max_unfinished_bytes = 1; }, ""},
      {[](ServerLimits& l) { l.max_unfinished_bytes = 0; }, "at least 1"},
      {[](ServerLimits& l) { l.max_unfinished_bytes_of_user = 1; }, ""},
      {[](ServerLimits& l) { l.max_unfinished_bytes_of_user = 0; }, "at least 1"},
      {[](ServerLimits& l) { l.given_up_time = absl::ZeroDuration(); }, ""},
      {[](ServerLimits& l) { l.given_up_time = -absl::Nanoseconds(1); }, "given_up_time"},
      {[](ServerLimits& l) { l.socket_file_mode = 0666; }, ""},
      {[](ServerLimits& l) { l.socket_file_mode = 0700; }, "socket_file_mode at most 0666"},
      {[](ServerLimits& l) { l.socket_file_mode = 0601; }, "socket_file_mode at most 0666"},
      {[](ServerLimits& l) { l.handshake_time = absl::Nanoseconds(1); }, ""},
      {[](ServerLimits& l) { l.handshake_time = absl::ZeroDuration(); }, "handshake_time is 0"},
  };
  for (const auto& c : kCases) {
    ServerLimits limits;
    c.set(limits);
    const absl::Status status = CheckServerLimits(limits);
    EXPECT_EQ(status.ok(), c.sentence[0] == '\0') << &c - kCases << status;
    EXPECT_TRUE(Says(status, c.sentence)) << &c - kCases << status;
  }
  EXPECT_EQ(ServerLimits().socket_file_mode, 0u);
  EXPECT_EQ(ServerLimits().given_up_time, absl::Minutes(1));
}

TEST_F(ServerTest, NothingHasHappenedAtFirst) {
  Start();
  EXPECT_EQ(server->failures(), 0u);
  EXPECT_TRUE(server->last_failure().ok());
  EXPECT_FALSE(server->HasReady());
}

// Connections are taken 16 at a time; whom the policy refuses is counted and told, also where it
// has said something already, and is a peer that knows nothing of resets.
TEST_F(ServerTest, SixteenAreTakenAtATimeAndEachRefusalIsCounted) {
  options.policy = PeerPolicy::Uid(12345);
  Start();
  std::vector<PeerSocket> peers;
  for (int i = 0; i < 20; ++i) peers.push_back(Raw());
  EXPECT_EQ(server->Accept(Past()).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(server->failures(), 16u);
  EXPECT_EQ(server->last_failure().code(), absl::StatusCode::kPermissionDenied);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(HasAnswer(peers[static_cast<std::size_t>(i)]), i < 16);
  std::array<std::byte, kMaxMessageBytes> into;
  const ssize_t got = ::recv(peers[0].fd(), into.data(), into.size(), MSG_DONTWAIT);
  ASSERT_GT(got, 0);
  const auto reason = ParseRefused(absl::MakeConstSpan(into).first(static_cast<std::size_t>(got)));
  ASSERT_TRUE(reason.ok());
  EXPECT_EQ(*reason, RefusalReason::kIdentity);
  EXPECT_FALSE(server->Accept(AfterAPause()).ok());
  EXPECT_EQ(server->failures(), 20u);
}

TEST_F(ServerTest, APidfdThatCannotBeKeptIsOurTrouble) {
  options.peer_pidfd = 1'000'000;
  Start();
  const PeerSocket peer = Raw();
  EXPECT_TRUE(Says(server->Accept(Past()).status(), "keep the peer's process descriptor"));
  EXPECT_EQ(ReasonOf(peer), static_cast<uint32_t>(RefusalReason::kResources));
  EXPECT_EQ(server->failures(), 1u);
  // It is over with the next call.
  EXPECT_EQ(server->Accept(Past()).status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ServerTest, AWaitThatTheKernelRefusesIsOurTrouble) {
  EXPECT_EQ(RunInChild([&] {
              Start();
              FailSystemCall(SYS_ppoll, ENOMEM);
              const absl::Status status =
                  server->Accept(Deadline::After(absl::Milliseconds(10))).status();
              EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
            }),
            "ok");
}

// One user's silent ones make room for each other, before all slots are taken.
TEST_F(ServerTest, AUserWithAllOfItsSlotsLosesItsOldestSilentOne) {
  limits.max_pending_of_user = 2;
  Start();
  std::vector<PeerSocket> silent;
  for (int i = 0; i < 2; ++i) silent.push_back(*ConnectTo(name, Soon()));
  EXPECT_FALSE(server->Accept(Past()).ok());
  for (const PeerSocket& peer : silent) EXPECT_FALSE(HasAnswer(peer));
  const PeerSocket newcomer = Raw();
  Drive();
  EXPECT_EQ(ReasonOf(silent[0]), static_cast<uint32_t>(RefusalReason::kBusy));
  EXPECT_FALSE(HasAnswer(silent[1]));
  EXPECT_TRUE(HasAnswer(newcomer));
  EXPECT_EQ(ReasonOf(newcomer), 0u);
  EXPECT_EQ(server->failures(), 1u);
}

// The bytes or the number, of one user or of all: whichever limit is reached, the next one waits.
TEST_F(ServerTest, EachLimitOfWhatIsUnfinishedHoldsUpTheNextOne) {
  uint64_t bytes_of_one = 0;
  {
    Start();
    const PeerSocket peer = Raw();
    Drive();
    Answer(peer);
    Drive();
    std::array<std::byte, kMaxMessageBytes> into;
    const auto got = peer.ReceiveWithDescriptors(absl::MakeSpan(into), 8, Soon());
    ASSERT_TRUE(got.ok() && got->descriptors.size() == 2) << got.status();
    for (const UniqueFd& fd : got->descriptors) {
      bytes_of_one += static_cast<uint64_t>(::lseek(fd.get(), 0, SEEK_END));
    }
    server.reset();
  }
  const struct {
    std::function<void(ServerLimits&, uint64_t)> set;
    int let_in;
  } kCases[] = {
      {[](ServerLimits& l, uint64_t) { l.max_unfinished = 1; }, 1},
      {[](ServerLimits& l, uint64_t) { l.max_unfinished = 2; }, 2},
      {[](ServerLimits& l, uint64_t) { l.max_unfinished_of_user = 1; }, 1},
      {[](ServerLimits& l, uint64_t) { l.max_unfinished_of_user = 2; }, 2},
      {[](ServerLimits& l, uint64_t one) { l.max_unfinished_bytes = one; }, 1},
      // A quarter is for users that have none.
      {[](ServerLimits& l, uint64_t one) { l.max_unfinished_bytes = one + one / 3; }, 1},
      {[](ServerLimits& l, uint64_t one) { l.max_unfinished_bytes = one + one / 3 + 2; }, 2},
      {[](ServerLimits& l, uint64_t) { l.max_unfinished = 3; }, 3},
      {[](ServerLimits& l, uint64_t) { l.max_unfinished = 4; }, 3},
      {[](ServerLimits& l, uint64_t one) { l.max_unfinished_bytes_of_user = one; }, 1},
      {[](ServerLimits& l, uint64_t one) { l.max_unfinished_bytes_of_user = one + 1; }, 2},
      {[](ServerLimits&, uint64_t) {}, 3},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(&c - kCases);
    limits = {};
    c.set(limits, bytes_of_one);
    Start();
    // Those that have said nothing, or nothing sensible, do not count.
    const auto silent = ConnectTo(name, Soon());
    const auto rubbish = ConnectTo(name, Soon());
    ASSERT_TRUE(silent.ok() && rubbish.ok() && rubbish->Send(std::vector<std::byte>(20)).ok());
    std::vector<PeerSocket> peers;
    for (int i = 0; i < 3; ++i) peers.push_back(Raw());
    Drive();
    for (const PeerSocket& peer : peers) Answer(peer);
    Drive();
    Drive();
    int let_in = 0;
    for (const PeerSocket& peer : peers) let_in += HasAnswer(peer) ? 1 : 0;
    EXPECT_EQ(let_in, c.let_in);
    EXPECT_EQ(server->failures(), 1u);  // the rubbish
    server.reset();
  }
}

// A few users that give up all they may leave something for the next one, who has none.
TEST_F(ServerTest, AttackH11AFewUsersDoNotUseUpWhatIsForAll) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root, so no other user";
  options.policy = PeerPolicy::Anyone();
  limits.max_unfinished = 8;
  limits.max_unfinished_of_user = 4;
  Start();
  std::vector<PeerSocket> hoard;
  const auto give_up = [&](uid_t uid) {
    hoard.push_back(RawOf(uid));
    Drive();
    Answer(hoard.back());
    Drive();
    const uint32_t reason = ReasonOf(hoard.back());
    static_cast<void>(hoard.back().Send(std::vector<std::byte>(2)));
    Drive();
    return reason;
  };
  const auto busy = static_cast<uint32_t>(RefusalReason::kBusy);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(give_up(1001), 0u);
  EXPECT_EQ(give_up(1001), static_cast<uint32_t>(RefusalReason::kUnfinished));
  for (int i = 0; i < 2; ++i) EXPECT_EQ(give_up(1002), 0u);
  // It has less than a user may, but of all that is open to it there is no more: no fault of its.
  EXPECT_EQ(give_up(1002), busy);
  EXPECT_EQ(give_up(1003), 0u);
  EXPECT_EQ(give_up(1003), busy);
  EXPECT_EQ(give_up(1004), 0u);
  EXPECT_EQ(give_up(1005), busy);
}

// A peer that gave its memory up without finishing is told, and then that this is the end.
TEST_F(ServerTest, AGivenUpPeerSeesTheEndOfItsConnection) {
  Start();
  const PeerSocket peer = Raw();
  Drive();
  Answer(peer);
  Drive();
  std::array<std::byte, kMaxMessageBytes> into;
  ASSERT_TRUE(peer.ReceiveWithDescriptors(absl::MakeSpan(into), 8, Soon()).ok());
  ASSERT_TRUE(peer.Send(std::vector<std::byte>(2)).ok());
  Drive();
  EXPECT_EQ(ReasonOf(peer), static_cast<uint32_t>(RefusalReason::kMalformed));
  ASSERT_TRUE(peer.Receive(absl::MakeSpan(into), Soon()).ok());
  EXPECT_EQ(peer.Receive(absl::MakeSpan(into), Soon()).status().code(),
            absl::StatusCode::kUnavailable);
}

// What is complete is kept up to max_pending; then nobody is taken until the caller takes one.
TEST_F(ServerTest, WithAllPlacesReadyNobodyIsTaken) {
  limits.max_pending = 1;
  Start();
  absl::StatusOr<std::shared_ptr<Session>> connected = absl::UnknownError("");
  std::thread client([&] { connected = Connect(); });
  for (const Deadline soon = Soon(); !server->HasReady() && !soon.Expired();) server->Tend();
  client.join();
  ASSERT_TRUE(connected.ok()) << connected.status();
  EXPECT_EQ(server->failures(), 0u);
  const PeerSocket next = Raw();
  for (int i = 0; i < 10; ++i) server->Tend();
  EXPECT_FALSE(HasAnswer(next));
  EXPECT_TRUE(server->Accept(Past()).ok());
  EXPECT_FALSE(server->HasReady());
  for (const Deadline soon = Soon(); !HasAnswer(next) && !soon.Expired();) server->Tend();
  EXPECT_TRUE(HasAnswer(next));
}

// Made when there is something to wait for already: what it has to say is not lost.
TEST_F(ServerTest, ALateDescriptorKnowsOfWhatIsUnderWay) {
  limits.handshake_time = absl::Minutes(1);
  Start();
  const auto speaks = ConnectTo(name, Soon());
  ASSERT_TRUE(speaks.ok());
  EXPECT_FALSE(server->Accept(Past()).ok());
  auto descriptor = server->descriptor();
  ASSERT_TRUE(descriptor.ok()) << descriptor.status();
  EXPECT_EQ(*server->descriptor(), *descriptor);
  pollfd entry = {*descriptor, POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, 0), 0);
  ASSERT_TRUE(speaks->Send(HelloBytes()).ok());
  EXPECT_EQ(::poll(&entry, 1, 10'000), 1);
  server->Tend();
  EXPECT_TRUE(HasAnswer(*speaks));

  // And of a time that will be up.
  server.reset();
  limits.handshake_time = absl::Milliseconds(50);
  Start();
  const auto silent = ConnectTo(name, Soon());
  ASSERT_TRUE(silent.ok());
  EXPECT_FALSE(server->Accept(Past()).ok());
  descriptor = server->descriptor();
  ASSERT_TRUE(descriptor.ok()) << descriptor.status();
  entry = {*descriptor, POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, 10'000), 1);
  server->Tend();
  EXPECT_EQ(ReasonOf(*silent), static_cast<uint32_t>(RefusalReason::kDeadline));
}

TEST_F(ServerTest, ADescriptorAloneTellsThatATimeIsUpAlsoAfterAccept) {
  limits.handshake_time = absl::Milliseconds(50);
  Start();
  const auto descriptor = server->descriptor();
  ASSERT_TRUE(descriptor.ok());
  const auto silent = ConnectTo(name, Soon());
  EXPECT_FALSE(server->Accept(Past()).ok());
  pollfd entry = {*descriptor, POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, 10'000), 1);
  EXPECT_FALSE(HasAnswer(*silent));
  server->Tend();
  EXPECT_EQ(ReasonOf(*silent), static_cast<uint32_t>(RefusalReason::kDeadline));
}

// The socket is the channel's from then on: its traffic is no reason to call Tend.
TEST_F(ServerTest, AChannelsTrafficDoesNotMakeTheDescriptorReadable) {
  Start();
  const auto descriptor = server->descriptor();
  ASSERT_TRUE(descriptor.ok());
  absl::StatusOr<std::shared_ptr<Session>> connected = absl::UnknownError("");
  std::thread client([&] { connected = Connect(); });
  const auto accepted = server->Accept(Soon());
  client.join();
  ASSERT_TRUE(accepted.ok() && connected.ok());
  pollfd entry = {*descriptor, POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, 0), 0);
  (*connected)->send()->doorbell->Signal();
  pollfd connection = {(*accepted)->connection(), POLLIN, 0};
  ASSERT_EQ(::poll(&connection, 1, 10'000), 1);
  EXPECT_EQ(::poll(&entry, 1, 0), 0);
}

// One that waits for others of its user keeps nobody busy, and goes on when one of them is through.
TEST_F(ServerTest, PromiseP3WorkADeferredPeerDoesNotKeepTheLoopBusy) {
  limits.max_unfinished_of_user = 1;
  limits.given_up_time = absl::ZeroDuration();
  Start();
  const auto descriptor = server->descriptor();
  ASSERT_TRUE(descriptor.ok());
  const auto tend_while_readable = [&] {
    pollfd entry = {*descriptor, POLLIN, 0};
    int rounds = 0;
    while (::poll(&entry, 1, 50) == 1 && ++rounds < 100) server->Tend();
    EXPECT_LT(rounds, 100) << "the loop would spin";
  };
  std::optional<PeerSocket> first = Raw();
  const PeerSocket second = Raw();
  tend_while_readable();
  Answer(*first);
  tend_while_readable();
  EXPECT_TRUE(HasAnswer(*first));
  Answer(second);
  tend_while_readable();
  EXPECT_FALSE(HasAnswer(second));
  const absl::Duration before = CpuOfThisThread();
  EXPECT_FALSE(server->Accept(Deadline::After(absl::Milliseconds(300))).ok());
  EXPECT_LT(CpuOfThisThread() - before, absl::Milliseconds(100));
  // A loop that calls only where there is something to do has to be told of that, too.
  first.reset();
  tend_while_readable();
  EXPECT_TRUE(HasAnswer(second));
  EXPECT_EQ(ReasonOf(second), 0u);
}

// While Accept waits for others, and without a connection or a message that would wake it.
TEST_F(ServerTest, ASilentPeerIsTimedOutWhileAcceptWaits) {
  limits.handshake_time = absl::Milliseconds(50);
  Start();
  const auto silent = ConnectTo(name, Soon());
  ASSERT_TRUE(silent.ok());
  std::thread serving([&] { EXPECT_TRUE(server->Accept(Deadline::After(absl::Minutes(1))).ok()); });
  pollfd entry = {silent->fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, 10'000), 1);
  EXPECT_EQ(ReasonOf(*silent), static_cast<uint32_t>(RefusalReason::kDeadline));
  const auto good = Connect();
  serving.join();
  EXPECT_TRUE(good.ok()) << good.status();
}

TEST_F(ServerTest, AnIdleServerSleeps) {
  Start();
  const absl::Duration before = CpuOfThisThread();
  EXPECT_FALSE(server->Accept(Deadline::After(absl::Milliseconds(300))).ok());
  EXPECT_LT(CpuOfThisThread() - before, absl::Milliseconds(100));
}

// Two descriptors, or an error and none.
TEST_F(ServerTest, PromiseP7ResourcesWithoutRoomThereIsNoDescriptorToPoll) {
  for (rlim_t room = 0; room <= 2; ++room) {
    EXPECT_EQ(RunInChild([&] {
                Start();
                rlimit limit = {};
                ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
                rlimit tight = limit;
                {
                  const UniqueFd lowest(::fcntl(0, F_DUPFD_CLOEXEC, 0));
                  tight.rlim_cur = static_cast<rlim_t>(lowest.get()) + room;
                }
                ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
                EXPECT_EQ(server->descriptor().status().code(),
                          room < 2 ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kOk);
                ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
                EXPECT_TRUE(server->descriptor().ok());
              }),
              "ok")
        << room;
  }
}

}  // namespace
}  // namespace parley

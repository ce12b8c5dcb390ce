// SPDX-License-Identifier: Apache-2.0

// Channels between real processes: volume, death at any moment, stops, and peers that do not play.

#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/channel/channel.h"
#include "parley/handshake/listener.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/session.h"
#include "parley/handshake/wire.h"
#include "parley/os/deadline.h"
#include "parley/tests/child.h"
#include "parley/tests/peer.h"
#include "parley/tests/resources.h"
#include "parley/tests/shared_counter.h"

namespace parley {
namespace {

struct TwoProcessTest : ::testing::TestWithParam<DoorbellKind> {
  TwoProcessTest() { setup.doorbell = GetParam(); }
  PeerSetup setup;
};
INSTANTIATE_TEST_SUITE_P(Doorbells, TwoProcessTest,
                         ::testing::Values(DoorbellKind::kSocket, DoorbellKind::kEventfd,
                                           DoorbellKind::kFutex),
                         [](const auto& kind) { return DoorbellName(kind.param); });

// --- volume
// ---------------------------------------------------------------------------------------

constexpr uint32_t kDataTag = 1;
constexpr uint32_t kChecksumTag = 2;

uint64_t Mix(uint64_t sum, uint64_t value) { return (sum ^ value) * 0x100000001b3; }

// Message i: 8 to 32 bytes that begin with its number.
bool SendNumbered(Sender& sender, uint64_t count) {
  std::array<uint64_t, 4> words = {};
  uint64_t sum = 0;
  for (uint64_t i = 0; i < count; ++i) {
    words[0] = i;
    words[3] = ~i;
    const std::size_t size_bytes = 8 + 8 * (i % 4);
    sum = Mix(sum, i + size_bytes);
    const auto bytes =
        absl::MakeConstSpan(reinterpret_cast<const std::byte*>(words.data()), size_bytes);
    if (!sender.Send(kDataTag, bytes, Generous()).ok()) return false;
  }
  const auto bytes = absl::MakeConstSpan(reinterpret_cast<const std::byte*>(&sum), sizeof(sum));
  if (!sender.Send(kChecksumTag, bytes, Generous()).ok()) return false;
  sender.Close();
  return true;
}

// True if exactly `count` messages came, in order, and their sum is the sender's.
bool ReceiveNumbered(Receiver& receiver, uint64_t count) {
  std::vector<std::byte> buffer(receiver.max_message_bytes());
  uint64_t sum = 0;
  for (uint64_t i = 0; i <= count; ++i) {
    auto record = receiver.Receive(absl::MakeSpan(buffer), Generous());
    uint64_t value = 0;
    if (!record.ok() || record->size_bytes < sizeof(value)) return false;
    std::memcpy(&value, buffer.data(), sizeof(value));
    if (i == count) {
      if (record->tag != kChecksumTag || value != sum) return false;
    } else {
      if (record->tag != kDataTag || value != i || record->size_bytes != 8 + 8 * (i % 4))
        return false;
      sum = Mix(sum, value + record->size_bytes);
    }
  }
  return absl::IsOutOfRange(receiver.Receive(absl::MakeSpan(buffer), Generous()).status());
}

bool BothWays(Channel& channel, uint64_t count) {
  bool sent = false;
  std::thread sending([&] { sent = SendNumbered(channel.sender, count); });
  const bool received = ReceiveNumbered(channel.receiver, count);
  sending.join();
  return sent && received;
}

TEST_P(TwoProcessTest, AMillionMessagesEachWayAtOnce) {
  const uint64_t count = IsSanitized() ? 100'000 : 1'000'000;
  Peer peer =
      Peer::Start(setup, [&](Channel& channel) { return BothWays(channel, count) ? 0 : 1; });
  EXPECT_TRUE(BothWays(peer.channel, count));
  EXPECT_EQ(peer.child.Wait(Generous()), 0);
  EXPECT_EQ(peer.channel.receiver.stats().messages, count + 1);
  EXPECT_EQ(peer.channel.receiver.violation(), Violation::kNone);
}

TEST_P(TwoProcessTest, LargeMessagesUpToTheLongest) {
  setup.ring = {1 << 20, (1 << 20) - 8};
  Peer peer = Peer::Start(setup, Echo);
  const uint32_t longest = peer.channel.sender.max_message_bytes();
  ASSERT_EQ(longest, (1u << 20) - 8);
  std::mt19937_64 random(7);
  std::vector<std::byte> buffer(longest);
  std::vector<std::byte> expected;
  for (int i = 0; i < 60; ++i) {
    const std::size_t size_bytes =
        i % 3 == 0 ? longest - static_cast<std::size_t>(i) : random() % longest;
    expected.resize(size_bytes);
    for (std::size_t j = 0; j < size_bytes; j += 97) expected[j] = static_cast<std::byte>(random());
    auto room = peer.channel.sender.Reserve(size_bytes, Generous());
    ASSERT_TRUE(room.ok()) << room.status();
    std::memcpy(room->data(), expected.data(), size_bytes);
    peer.channel.sender.Commit(5, size_bytes);
    auto record = peer.channel.receiver.Receive(absl::MakeSpan(buffer), Generous());
    ASSERT_TRUE(record.ok()) << record.status();
    ASSERT_EQ(record->size_bytes, size_bytes);
    ASSERT_EQ(std::memcmp(buffer.data(), expected.data(), size_bytes), 0);
  }
  peer.channel.sender.Close();
  EXPECT_EQ(peer.child.Wait(Generous()), 0);
}

// --- death
// ----------------------------------------------------------------------------------------

// Sends numbered messages until it is killed; `committed` follows.
int SendUntilKilled(Channel& channel, SharedCounter& committed) {
  for (uint64_t i = 1;; ++i) {
    const auto bytes = absl::MakeConstSpan(reinterpret_cast<const std::byte*>(&i), sizeof(i));
    if (!channel.sender.Send(kDataTag, bytes, Generous()).ok()) return 1;
    committed.Set(i);
  }
}

int ReceiveUntilKilled(Channel& channel) {
  std::vector<std::byte> buffer(channel.receiver.max_message_bytes());
  while (channel.receiver.Receive(absl::MakeSpan(buffer), Generous()).ok()) {
  }
  return 1;
}

// The survivor gets every message that the dead one had committed, then learns of the death.
void TheSenderIsKilled(const PeerSetup& setup, std::mt19937_64& random) {
  SharedCounter committed;
  Peer peer =
      Peer::Start(setup, [&](Channel& channel) { return SendUntilKilled(channel, committed); });
  std::vector<std::byte> buffer(peer.channel.receiver.max_message_bytes());
  const uint64_t kill_after = random() % 3000;
  absl::SleepFor(absl::Microseconds(random() % 2000));
  uint64_t received = 0;
  while (true) {
    if (received == kill_after) {
      ASSERT_EQ(peer.child.Kill(), 128 + SIGKILL);
    }
    auto record = peer.channel.receiver.Receive(absl::MakeSpan(buffer), Generous());
    if (!record.ok()) {
      EXPECT_TRUE(absl::IsUnavailable(record.status())) << record.status();
      break;
    }
    uint64_t number = 0;
    std::memcpy(&number, buffer.data(), sizeof(number));
    ASSERT_EQ(number, ++received);
  }
  EXPECT_GE(received, kill_after);
  EXPECT_GE(received, committed.Get());
  EXPECT_LE(received, committed.Get() + 1);  // killed between sending and counting
}

void TheReceiverIsKilled(const PeerSetup& setup, std::mt19937_64& random) {
  Peer peer = Peer::Start(setup, ReceiveUntilKilled);
  const uint64_t kill_after = random() % 3000;
  absl::Status status;
  for (uint64_t i = 0; status.ok() && i < kill_after + 1'000'000; ++i) {
    if (i == kill_after) {
      ASSERT_EQ(peer.child.Kill(), 128 + SIGKILL);
    }
    status = peer.channel.sender.Send(kDataTag, BytesOf("12345678"), Generous());
  }
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
}

void BothAreTalking(const PeerSetup& setup, std::mt19937_64& random) {
  Peer peer = Peer::Start(setup, Echo);
  const uint64_t kill_after = random() % 100;
  for (uint64_t i = 0; i < kill_after; ++i) ASSERT_TRUE(RoundTrip(peer.channel, "talk"));
  ASSERT_EQ(peer.child.Kill(), 128 + SIGKILL);
  EXPECT_FALSE(RoundTrip(peer.channel, "nobody"));
}

TEST_P(TwoProcessTest, KilledAtARandomMomentAHundredTimesWithNothingLostOrLeaked) {
  std::mt19937_64 random(static_cast<unsigned>(GetParam()));
  Resources before;
  for (int i = 0; i < 110; ++i) {
    if (i == 10) before = Resources::Now();  // after what the first uses allocate for good
    setup.accepting = i % 2 == 0;
    if (i % 5 < 2) {
      TheSenderIsKilled(setup, random);
    } else if (i % 5 < 4) {
      TheReceiverIsKilled(setup, random);
    } else {
      BothAreTalking(setup, random);
    }
    if (HasFatalFailure()) return;
  }
  ExpectNothingLeaked(before);
}

TEST_P(TwoProcessTest, AttackW8AGrandchildThatKeepsTheSocketOpenDoesNotHideTheDeath) {
  SharedCounter grandchild;
  Peer peer = Peer::Start(setup, [&](Channel& channel) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::alarm(120);
      while (true) ::pause();
    }
    grandchild.Set(static_cast<uint64_t>(pid));
    return channel.sender.Send(1, BytesOf("last words"), Generous()).ok() ? 0 : 1;
  });
  std::vector<std::byte> buffer(peer.channel.receiver.max_message_bytes());
  EXPECT_TRUE(peer.channel.receiver.Receive(absl::MakeSpan(buffer), Generous()).ok());
  const auto next = peer.channel.receiver.Receive(absl::MakeSpan(buffer), Generous());
  EXPECT_TRUE(absl::IsUnavailable(next.status())) << next.status();
  EXPECT_EQ(::kill(static_cast<pid_t>(grandchild.Get()), SIGKILL), 0);
}

// The same where the kernel is asked for the peer's process, at both sides of a named socket.
TEST(NamedSocketTest, AttackW8AGrandchildThatKeepsTheSocketOpenDoesNotHideTheDeath) {
  const std::string name = "@parley-grandchild-" + std::to_string(::getpid());
  SharedCounter grandchild;
  auto listener = ChannelListener::Listen(name, {});
  ASSERT_TRUE(listener.ok()) << listener.status();
  Child child([&] {
    auto channel = ConnectChannel(name, {}, Generous());
    if (!channel.ok()) return 1;
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::alarm(120);
      while (true) ::pause();
    }
    grandchild.Set(static_cast<uint64_t>(pid));
    return 0;
  });
  auto channel = listener->Accept(Generous());
  ASSERT_TRUE(channel.ok()) << channel.status();
  if (!channel->session->peer().pidfd.ok()) {
    EXPECT_EQ(child.Wait(Generous()), 0);
    EXPECT_EQ(::kill(static_cast<pid_t>(grandchild.Get()), SIGKILL), 0);
    GTEST_SKIP() << "this kernel has no SO_PEERPIDFD";
  }
  std::vector<std::byte> buffer(channel->receiver.max_message_bytes());
  const auto next = channel->receiver.Receive(absl::MakeSpan(buffer), Generous());
  EXPECT_TRUE(absl::IsUnavailable(next.status())) << next.status();
  EXPECT_EQ(child.Wait(Generous()), 0);
  EXPECT_EQ(::kill(static_cast<pid_t>(grandchild.Get()), SIGKILL), 0);
}

// --- stops and signals
// ----------------------------------------------------------------------------

TEST_P(TwoProcessTest, AStoppedPeerDoesNotStretchADeadline) {
  Peer peer = Peer::Start(setup, Echo);
  ASSERT_TRUE(RoundTrip(peer.channel, "before"));
  peer.child.Signal(SIGSTOP);
  std::vector<std::byte> buffer(peer.channel.receiver.max_message_bytes());
  ASSERT_TRUE(peer.channel.sender.Send(1, BytesOf("later"), Generous()).ok());
  const int64_t start_ns = MonotonicNowNs();
  auto got = peer.channel.receiver.Receive(absl::MakeSpan(buffer), In(200));
  const int64_t took_ns = MonotonicNowNs() - start_ns;
  EXPECT_TRUE(absl::IsDeadlineExceeded(got.status())) << got.status();
  EXPECT_GE(took_ns, 200'000'000);
  EXPECT_LT(took_ns, int64_t{15} * 1'000'000'000);
  peer.child.Signal(SIGCONT);
  EXPECT_TRUE(peer.channel.receiver.Receive(absl::MakeSpan(buffer), Generous()).ok());
  peer.channel.sender.Close();
  EXPECT_EQ(peer.child.Wait(Generous()), 0);
}

// Stopped and continued in the middle of its own wait, the process waits on to the same deadline.
TEST_P(TwoProcessTest, AWaitThatIsStoppedAndContinuedKeepsItsDeadline) {
  SharedCounter waiting;
  Peer peer = Peer::Start(setup, [&](Channel& channel) {
    std::vector<std::byte> buffer(channel.receiver.max_message_bytes());
    const int64_t start_ns = MonotonicNowNs();
    waiting.Set(1);
    auto got = channel.receiver.Receive(absl::MakeSpan(buffer), In(600));
    const int64_t took_ns = MonotonicNowNs() - start_ns;
    if (!absl::IsDeadlineExceeded(got.status())) return 1;
    return took_ns >= 600'000'000 && took_ns < int64_t{15} * 1'000'000'000 ? 0 : 2;
  });
  while (waiting.Get() == 0) absl::SleepFor(absl::Milliseconds(1));
  for (int i = 0; i < 5; ++i) {
    absl::SleepFor(absl::Milliseconds(20));
    peer.child.Signal(SIGSTOP);
    absl::SleepFor(absl::Milliseconds(20));
    peer.child.Signal(SIGCONT);
  }
  EXPECT_EQ(peer.child.Wait(Generous()), 0);
}

TEST_P(TwoProcessTest, SignalsNeitherCutNorStretchAWait) {
  Peer peer = Peer::Start(setup, [&](Channel& channel) {
    ::signal(SIGALRM, [](int) {});
    const itimerval often = {{0, 2000}, {0, 2000}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
    std::vector<std::byte> buffer(channel.receiver.max_message_bytes());
    const int64_t start_ns = MonotonicNowNs();
    auto got = channel.receiver.Receive(absl::MakeSpan(buffer), In(300));
    const int64_t took_ns = MonotonicNowNs() - start_ns;
    if (!absl::IsDeadlineExceeded(got.status())) return 1;
    return took_ns >= 300'000'000 && took_ns < int64_t{15} * 1'000'000'000 ? 0 : 2;
  });
  EXPECT_EQ(peer.child.Wait(Generous()), 0);
}

// --- peers that do not play
// -----------------------------------------------------------------------

TEST_P(TwoProcessTest, AttackD2APeerThatNeverDrainsCostsItsOwnDirectionOnly) {
  SharedCounter full;
  Peer peer = Peer::Start(setup, [&](Channel& channel) {
    while (full.Get() == 0) absl::SleepFor(absl::Milliseconds(1));
    if (!channel.sender.Send(1, BytesOf("I talk, I do not listen"), Generous()).ok()) return 1;
    return channel.sender.AwaitDrained(Generous()).ok() ? 0 : 2;
  });
  const Resources before = Resources::Now();
  uint64_t sent = 0;
  while (peer.channel.sender.TrySend(1, BytesOf(std::string(1000, 'x'))) == Outcome::kOk) ++sent;
  EXPECT_EQ(sent, 65536u / 1008u);
  const int64_t start_ns = MonotonicNowNs();
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(absl::IsDeadlineExceeded(
        peer.channel.sender.Send(1, BytesOf(std::string(1000, 'x')), In(5))));
  }
  EXPECT_GE(MonotonicNowNs() - start_ns, 100'000'000);
  EXPECT_TRUE(absl::IsDeadlineExceeded(peer.channel.sender.AwaitDrained(In(5))));
  ExpectNothingLeaked(before);
  full.Set(1);
  std::vector<std::byte> buffer(peer.channel.receiver.max_message_bytes());
  EXPECT_TRUE(peer.channel.receiver.Receive(absl::MakeSpan(buffer), Generous()).ok());
  EXPECT_EQ(peer.child.Wait(Generous()), 0);
}

TEST_P(TwoProcessTest, AwaitDrainedLearnsThatThePeerTakesNoMore) {
  Peer peer = Peer::Start(setup, [&](Channel& channel) {
    channel.receiver.Close();
    if (!channel.sender.Send(1, BytesOf("closed"), Generous()).ok()) return 1;
    while (true) ::pause();
  });
  ASSERT_EQ(peer.channel.sender.TrySend(1, BytesOf("unread")), Outcome::kOk);
  std::vector<std::byte> buffer(peer.channel.receiver.max_message_bytes());
  ASSERT_TRUE(peer.channel.receiver.Receive(absl::MakeSpan(buffer), Generous()).ok());
  const absl::Status status = peer.channel.sender.AwaitDrained(In(3000));
  EXPECT_TRUE(absl::IsOutOfRange(status)) << status;
}

// Sixteen peers that each stop at another point of the handshake hold nobody up, and are dropped.
TEST(ListenerTest, AttackD4SlowAndHalfOpenHandshakesDelayNobody) {
  const std::string name = "@parley-slow-" + std::to_string(::getpid());
  ServerLimits limits;
  limits.max_pending = 20;
  limits.handshake_time = absl::Milliseconds(300);
  limits.given_up_time = absl::ZeroDuration();
  auto listener = ChannelListener::Listen(name, {}, limits);
  ASSERT_TRUE(listener.ok()) << listener.status();
  const Resources before = Resources::Now();
  SharedCounter connected;
  Child slow([&] {
    std::vector<PeerSocket> sockets;
    for (int i = 0; i < 16; ++i) {
      auto socket = ConnectTo(name, Generous());
      if (!socket.ok()) return 1;
      if (i % 2 == 1) {
        Hello hello;
        hello.roles = kRoleSends | kRoleReceives;
        hello.doorbells = kDoorbellSocket;
        if (!socket->Send(EncodeHello(hello)).ok()) return 2;
      }
      sockets.push_back(*std::move(socket));
    }
    connected.Set(1);
    while (true) ::pause();
  });
  while (connected.Get() == 0) absl::SleepFor(absl::Milliseconds(1));
  Child honest([&] {
    auto channel = ConnectChannel(name, {}, Generous());
    return channel.ok() ? Echo(*channel) : 1;
  });
  {
    auto channel = listener->Accept(Generous());
    ASSERT_TRUE(channel.ok()) << channel.status();
    EXPECT_TRUE(RoundTrip(*channel, "honest"));
    channel->sender.Close();
    EXPECT_EQ(honest.Wait(Generous()), 0);
  }
  // The slow ones are still there, and are all dropped in time.
  const Deadline deadline = Generous();
  while (listener->failures() < 16 && !deadline.Expired()) {
    EXPECT_TRUE(absl::IsDeadlineExceeded(listener->Accept(In(50)).status()));
  }
  EXPECT_EQ(listener->failures(), 16u);
  // What was given to those that are still there is remembered for as long.
  slow.Signal(SIGKILL);
  static_cast<void>(slow.Wait(Generous()));
  EXPECT_TRUE(absl::IsDeadlineExceeded(listener->Accept(In(5)).status()));
  ExpectNothingLeaked(before);
}

}  // namespace
}  // namespace parley

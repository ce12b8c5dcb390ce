// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/boundary/violation.h"
#include "parley/handshake/acceptor.h"
#include "parley/handshake/checked_options.h"
#include "parley/handshake/connector.h"
#include "parley/handshake/doorbells.h"
#include "parley/handshake/identify_peer.h"
#include "parley/handshake/identity.h"
#include "parley/handshake/listener.h"
#include "parley/handshake/peer_socket.h"
#include "parley/handshake/server.h"
#include "parley/handshake/session.h"
#include "parley/handshake/wire.h"
#include "parley/os/connected_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/disposal.h"
#include "parley/os/pidfd.h"
#include "parley/os/unique_fd.h"
#include "parley/ring/consumer.h"
#include "parley/ring/layout.h"
#include "parley/ring/producer.h"
#include "parley/ring/ring_types.h"
#include "parley/sealing/file_registry.h"
#include "parley/sealing/guarded_range.h"
#include "parley/sealing/huge_pages.h"
#include "parley/sealing/seals.h"
#include "parley/sealing/test_support.h"
#include "parley/shm/arena_layout.h"
#include "parley/shm/broadcast.h"
#include "parley/shm/sections.h"
#include "parley/wait/doorbell.h"
#include "parley/wait/memory_barrier.h"

namespace parley {
namespace {

Deadline Soon() { return Deadline::After(absl::Seconds(5)); }

int OpenDescriptors() {
  int count = 0;
  DIR* folder = ::opendir("/proc/self/fd");
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

// Both ends are in this process, so each has a set of held memory of its own.
struct Ends {
  FileRegistry accepting_registry;
  FileRegistry connecting_registry;
  AcceptOptions accept;
  ConnectOptions connect;
  absl::StatusOr<std::shared_ptr<Session>> accepted = absl::UnknownError("not run");
  absl::StatusOr<std::shared_ptr<Session>> connected = absl::UnknownError("not run");

  Ends() {
    accept.registry = &accepting_registry;
    connect.registry = &connecting_registry;
  }
  void Run() {
    auto pair = PeerSocket::Pair();
    ASSERT_TRUE(pair.ok());
    std::thread other(
        [&] { connected = ConnectHandshake(std::move(pair->second), connect, Soon()); });
    accepted = AcceptHandshake(std::move(pair->first), accept, Soon());
    other.join();
  }
};

void ExpectBytesFlow(Session& from, Session& to) {
  Producer producer(from.control(), from.send()->data, from.peer_control(), from.send()->ring);
  Consumer consumer(to.control(), to.peer_control(), to.receive()->data, to.receive()->ring);
  const std::array<std::byte, 5> message = {std::byte{1}, std::byte{2}};
  EXPECT_EQ(producer.TrySend(9, message), Outcome::kOk);
  std::vector<std::byte> into(consumer.max_message_bytes());
  Record record;
  EXPECT_EQ(consumer.TryReceive(absl::MakeSpan(into), &record), Outcome::kOk);
  EXPECT_EQ(record.tag, 9u);
  EXPECT_EQ(record.size_bytes, 5u);
  for (auto& [ringer, rung] : {std::pair(&from.send()->doorbell, &to.receive()->doorbell),
                               std::pair(&to.receive()->doorbell, &from.send()->doorbell)}) {
    (*rung)->Prepare();
    (*ringer)->Signal();
    EXPECT_TRUE((*rung)->Sleep(Deadline::AtMonotonicNs(0)));
    EXPECT_EQ((*rung)->Drain(), Doorbell::Drained::kSignalled);
  }
}

TEST(HandshakeTest, EachDoorbellAndEachDirection) {
  using Kind = Doorbell::Kind;
  for (const Kind doorbell : {Kind::kSocket, Kind::kEventfd, Kind::kFutex}) {
    const bool eventfd = doorbell == Kind::kEventfd;
    for (const auto& [accepting, connecting] :
         {std::pair(Direction::kBoth, Direction::kBoth),
          std::pair(Direction::kSendOnly, Direction::kReceiveOnly),
          std::pair(Direction::kReceiveOnly, Direction::kSendOnly)}) {
      Ends ends;
      ends.accept.direction = accepting;
      ends.connect.direction = connecting;
      if (eventfd) ends.accept.trust = PeerTrust::Because("both ends are this test");
      ends.connect.trust = PeerTrust::Because("both ends are this test");
      if (doorbell == Kind::kFutex) {
        ends.accept.doorbell = DoorbellKind::kFutex;
        ends.connect.doorbell = DoorbellKind::kFutex;
      }
      ends.connect.format = "theirs";
      ends.accept.format = "ours";
      ends.Run();
      ASSERT_TRUE(ends.accepted.ok()) << ends.accepted.status();
      ASSERT_TRUE(ends.connected.ok()) << ends.connected.status();
      EXPECT_EQ((*ends.accepted)->id(), (*ends.connected)->id());
      EXPECT_EQ((*ends.accepted)->protocol(), "theirs");
      EXPECT_EQ((*ends.connected)->protocol(), "ours");
      if (accepting != Direction::kReceiveOnly) {
        EXPECT_EQ((*ends.accepted)->send()->doorbell->kind(), doorbell);
        EXPECT_EQ((*ends.connected)->receive()->doorbell->kind(), doorbell);
        ExpectBytesFlow(**ends.accepted, **ends.connected);
      }
      if (accepting != Direction::kSendOnly) {
        EXPECT_EQ((*ends.accepted)->receive()->doorbell->kind(), doorbell);
        ExpectBytesFlow(**ends.connected, **ends.accepted);
      }
    }
  }
}

TEST(HandshakeTest, TheAcceptingSidesWishForHugePagesIsForBothRings) {
  Ends ends;
  constexpr uint64_t kCapacity = 2 * kHugePageBytes;
  ends.accept.send = {kCapacity, 1024};
  ends.accept.receive = {kCapacity, 1024};
  ends.accept.pages = HugePages::kHugeIfPossible;
  ends.Run();
  ASSERT_TRUE(ends.accepted.ok()) << ends.accepted.status();
  ASSERT_TRUE(ends.connected.ok()) << ends.connected.status();
  ExpectBytesFlow(**ends.accepted, **ends.connected);
  ExpectBytesFlow(**ends.connected, **ends.accepted);
  const uint64_t huge_bytes = testing_support::HugeMappedBytes();
  if (huge_bytes == 0) GTEST_SKIP() << "this kernel gathers no huge pages (before Linux 6.1)";
  // Two regions at two ends, each with its data twice, of which the second time lies askew.
  EXPECT_EQ(huge_bytes, 4 * 3 * kHugePageBytes);
}

// Whether there is a descriptor to poll is its users' choice, at both ends: never the peer's.
TEST(HandshakeTest, AFutexDoorbellOnlyWhereBothSidesAskForIt) {
  for (const DoorbellKind accepting : {DoorbellKind::kAutomatic, DoorbellKind::kSocket,
                                       DoorbellKind::kEventfd, DoorbellKind::kFutex}) {
    for (const DoorbellKind connecting : {DoorbellKind::kAutomatic, DoorbellKind::kSocket,
                                          DoorbellKind::kEventfd, DoorbellKind::kFutex}) {
      Ends ends;
      ends.accept.doorbell = accepting;
      ends.connect.doorbell = connecting;
      ends.accept.trust = PeerTrust::Because("both ends are this test");
      ends.connect.trust = PeerTrust::Because("both ends are this test");
      ends.Run();
      const bool futex = accepting == DoorbellKind::kFutex && connecting == accepting;
      const bool none_in_common =
          !futex && accepting != connecting &&
          (accepting == DoorbellKind::kFutex || connecting == DoorbellKind::kFutex ||
           (accepting != DoorbellKind::kAutomatic && connecting != DoorbellKind::kAutomatic));
      EXPECT_EQ(ends.accepted.ok(), !none_in_common) << ends.accepted.status();
      EXPECT_EQ(ends.connected.ok(), !none_in_common) << ends.connected.status();
      if (!ends.accepted.ok() || !ends.connected.ok()) {
        EXPECT_NE(ends.connected.status().ToString().find("no doorbell that both"),
                  std::string::npos)
            << ends.connected.status();
        continue;
      }
      for (const auto& end : {*ends.accepted, *ends.connected}) {
        EXPECT_EQ(end->send()->doorbell->can_be_polled(), !futex);
        EXPECT_EQ(end->receive()->doorbell->can_be_polled(), !futex);
      }
    }
  }
}

TEST(HandshakeTest, EventfdsAreOfferedToASupervisorAlone) {
  ConnectOptions connect;
  connect.doorbell = DoorbellKind::kEventfd;
  auto pair = PeerSocket::Pair();
  EXPECT_NE(ConnectHandshake(std::move(pair->second), connect, Soon())
                .status()
                .message()
                .find("block our writes"),
            std::string::npos);
}

TEST(HandshakeTest, SizesAreTheConnectingSidesWishOrOursOrTheDefault) {
  Ends ends;
  ends.connect.send = {1 << 20, 100'000};
  const uint64_t small = std::max<uint64_t>(8192, PageBytes());
  ends.accept.send = {small, 0};
  ends.Run();
  ASSERT_TRUE(ends.accepted.ok()) << ends.accepted.status();
  EXPECT_EQ((*ends.accepted)->receive()->ring.capacity_bytes, 1u << 20);
  EXPECT_EQ((*ends.accepted)->receive()->ring.max_message_bytes, 100'000u);
  EXPECT_EQ((*ends.accepted)->send()->ring.capacity_bytes, small);
  EXPECT_EQ((*ends.accepted)->send()->ring.max_message_bytes, small / 4);
  EXPECT_EQ((*ends.connected)->receive()->ring.capacity_bytes, small);
}

TEST(HandshakeTest, PromiseP7ResourcesSizesBeyondTheLimitAreRefusedWithTheReason) {
  Ends ends;
  ends.connect.limits.max_capacity_bytes = 1 << 30;
  ends.connect.send = {uint64_t{1} << 30, 1000};
  ends.Run();
  EXPECT_EQ(ends.accepted.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ends.connected.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(std::string(ends.connected.status().message()).find("its limits"), std::string::npos)
      << ends.connected.status();
}

// A peer's wish may not decide whether a message that our caller sends, or a buffer that it
// receives into, is too long or too short: those are checks that abort.
TEST(HandshakeTest, PromiseP9AbortIsOursTheWishCannotUndercutWhatOurCallerReliesOn) {
  struct Case {
    RingRequest send;     // the connecting side's
    RingRequest receive;  //
    bool agreed;
  };
  const uint64_t page = PageBytes();
  const Case cases[] = {
      {{}, {}, true},
      {{2 * page, 1000}, {2 * page, 2000}, true},
      // Shorter ones than we can take, longer than we send.
      {{page, 64}, {16 * page, 3000}, true},
      {{}, {2 * page, 1999}, false},
      {{}, {page, 2000}, false},
      {{}, {2 * page, 64}, false},
      {{2 * page, 1001}, {}, false},
      {{1 << 20, 0}, {}, false},
  };
  for (const Case& c : cases) {
    Ends ends;
    ends.accept.send = {2 * page, 2000};
    ends.accept.receive = {2 * page, 1000};
    ends.connect.send = c.send;
    ends.connect.receive = c.receive;
    ends.Run();
    SCOPED_TRACE(::testing::Message() << c.send.max_message_bytes << " " << c.receive.capacity_bytes
                                      << " " << c.receive.max_message_bytes);
    EXPECT_EQ(ends.accepted.ok(), c.agreed) << ends.accepted.status();
    EXPECT_EQ(ends.connected.ok(), c.agreed) << ends.connected.status();
    if (!c.agreed) {
      EXPECT_EQ(ends.accepted.status().code(), absl::StatusCode::kResourceExhausted);
      EXPECT_NE(ends.connected.status().message().find("sizes"), std::string::npos);
      continue;
    }
    EXPECT_GE((*ends.accepted)->send()->ring.max_message_bytes, 2000u);
    EXPECT_LE((*ends.accepted)->receive()->ring.max_message_bytes, 1000u);
  }
}

// What a peer costs us in an arena is our own options' word, and never its request. How its frames
// are aligned is the larger request of the two.
TEST(HandshakeTest, PromiseP7ResourcesAnArenaIsThatOfTheAcceptingSide) {
  constexpr ArenaGeometry kSmall = {8192, 64};
  constexpr ArenaGeometry kLarge = {81920, 256};
  struct Case {
    ArenaGeometry ours;
    ArenaGeometry request;
    bool agreed;
    uint32_t alignment = 0;
  };
  for (const Case& c :
       {Case{{}, {}, true}, Case{kSmall, {}, true, 64}, Case{kSmall, kSmall, true, 64},
        Case{{}, kSmall, false}, Case{kSmall, kLarge, false}, Case{kLarge, kSmall, false},
        Case{kSmall, {4096, 64}, false}, Case{{8192, 0}, {}, true, 64},
        Case{{8192, 0}, {8192, 0}, true, 64}, Case{kSmall, {0, 4096}, true, 4096},
        Case{kSmall, {8192, 512}, true, 512}, Case{kLarge, {0, 64}, true, 256},
        Case{{}, {0, 4096}, true}, Case{{0, 128}, {}, true}, Case{{0, 128}, {0, 64}, true}}) {
    for (const bool sending : {true, false}) {
      Ends ends;
      (sending ? ends.accept.send : ends.accept.receive).arena = c.ours;
      (sending ? ends.connect.receive : ends.connect.send).arena = c.request;
      ends.Run();
      EXPECT_EQ(ends.accepted.ok(), c.agreed) << ends.accepted.status();
      EXPECT_EQ(ends.connected.ok(), c.agreed) << ends.connected.status();
      if (!c.agreed) {
        EXPECT_NE(ends.connected.status().message().find("sizes"), std::string::npos);
        continue;
      }
      const ArenaGeometry none = {};
      const ArenaGeometry all = {c.ours.bytes, c.alignment};
      EXPECT_EQ((*ends.accepted)->send()->arena, sending ? all : none);
      EXPECT_EQ((*ends.accepted)->receive()->arena, sending ? none : all);
      EXPECT_EQ((*ends.connected)->receive()->arena, sending ? all : none);
      EXPECT_EQ((*ends.connected)->send()->arena, sending ? none : all);
      EXPECT_EQ((*ends.accepted)->send()->arena_memory.size_bytes(),
                sending ? ArenaSectionBytes(all) : 0);
      EXPECT_EQ((*ends.connected)->send()->arena_memory.size_bytes(),
                sending ? 0 : ArenaSectionBytes(all));
    }
  }
  Ends ends;
  ends.accept.send.arena = kSmall;
  ends.connect.limits.max_arena_bytes = 8191;
  ends.Run();
  EXPECT_TRUE(absl::IsResourceExhausted(ends.connected.status())) << ends.connected.status();
}

// --- a broadcast
// ----------------------------------------------------------------------------------

struct BroadcastHandshakeTest : ::testing::Test {
  FileRegistry writers;
  std::shared_ptr<Broadcast> broadcast = New();

  std::shared_ptr<Broadcast> New() {
    BroadcastOptions options;
    options.registry = &writers;
    return *Broadcast::Create({{3, 4, 100}, {9, 1, 65536}}, options);
  }
  // One more reader of it.
  std::unique_ptr<Ends> Reader(Direction accepting, Direction connecting) const {
    auto ends = std::make_unique<Ends>();
    ends->accept.broadcast = broadcast;
    ends->accept.direction = accepting;
    ends->connect.direction = connecting;
    ends->connect.broadcast_kinds = {3, 0x1234};
    return ends;
  }
};

TEST_F(BroadcastHandshakeTest, AnyNumberOfSessionsReadOneRegion) {
  auto memory = broadcast->TakeSection(3);
  ASSERT_TRUE(memory.ok());
  std::vector<std::unique_ptr<Ends>> readers;
  for (const auto& [accepting, connecting] :
       {std::pair(Direction::kNone, Direction::kNone),
        std::pair(Direction::kBoth, Direction::kBoth),
        std::pair(Direction::kReceiveOnly, Direction::kSendOnly)}) {
    for (const bool eventfds : {false, true}) {
      auto ends = Reader(accepting, connecting);
      if (eventfds) ends->accept.trust = PeerTrust::Because("both ends are this test");
      if (eventfds) ends->connect.trust = PeerTrust::Because("both ends are this test");
      ends->Run();
      ASSERT_TRUE(ends->accepted.ok()) << ends->accepted.status();
      ASSERT_TRUE(ends->connected.ok()) << ends->connected.status();
      EXPECT_EQ((*ends->accepted)->broadcast(), nullptr);
      EXPECT_TRUE((*ends->accepted)->reads_broadcast());
      EXPECT_EQ((*ends->accepted)->send() != nullptr, accepting == Direction::kBoth);
      EXPECT_EQ((*ends->connected)->send() != nullptr, connecting != Direction::kNone);
      if (connecting == Direction::kBoth) ExpectBytesFlow(**ends->connected, **ends->accepted);
      readers.push_back(std::move(ends));
    }
  }
  memory->StoreRelease64(64, 42);
  for (const auto& ends : readers) {
    const BroadcastView* view = (*ends->connected)->broadcast();
    ASSERT_NE(view, nullptr);
    EXPECT_EQ(view->Find(3)->section, (Section{3, 4, 100}));
    EXPECT_EQ(view->Find(3)->memory.LoadAcquire64(64).AnyValueIsAcceptable(), 42u);
    // Sections that the reader does not know take their place all the same.
    EXPECT_EQ(view->Find(9)->memory.size_bytes(), 65536u);
  }
}

TEST_F(BroadcastHandshakeTest, WhoTakesNoneOfItsKindsGetsASessionWithout) {
  auto ends = Reader(Direction::kBoth, Direction::kBoth);
  ends->connect.broadcast_kinds = {4};
  ends->Run();
  ASSERT_TRUE(ends->connected.ok()) << ends->connected.status();
  EXPECT_EQ((*ends->connected)->broadcast(), nullptr);
  EXPECT_FALSE((*ends->accepted)->reads_broadcast());

  auto alone = Reader(Direction::kNone, Direction::kNone);
  alone->connect.broadcast_kinds = {4};
  alone->Run();
  EXPECT_FALSE(alone->accepted.ok());
  EXPECT_NE(alone->connected.status().message().find("a broadcast alone"), std::string::npos)
      << alone->connected.status();
}

TEST_F(BroadcastHandshakeTest, PromiseP7ResourcesALargerOneThanOurLimitIsNotMapped) {
  auto ends = Reader(Direction::kBoth, Direction::kBoth);
  ends->connect.limits.max_broadcast_bytes = 65536;  // and the other section
  ends->Run();
  EXPECT_EQ(ends->connected.status().code(), absl::StatusCode::kResourceExhausted)
      << ends->connected.status();
}

// What a session of a broadcast alone is for besides: each side learns of the other one's end.
TEST_F(BroadcastHandshakeTest, ASessionWithoutADirectionTellsOfTheEnd) {
  auto ends = Reader(Direction::kNone, Direction::kNone);
  ends->Run();
  ASSERT_TRUE(ends->connected.ok() && ends->accepted.ok());
  pollfd polled = {(*ends->connected)->connection(), POLLIN | POLLRDHUP, 0};
  EXPECT_EQ(::poll(&polled, 1, 0), 0);
  ends->accepted = absl::UnknownError("gone");
  EXPECT_EQ(::poll(&polled, 1, 1000), 1);
  EXPECT_NE(polled.revents & POLLRDHUP, 0);
  // The region outlives its writer.
  broadcast.reset();
  EXPECT_EQ((*ends->connected)->broadcast()->Find(9)->memory.size_bytes(), 65536u);
}

// What a hostile writer hands over as its broadcast.
TEST_F(BroadcastHandshakeTest, AttackM16AHostileWritersRegionIsRefusedWithoutALeak) {
  Welcome good;
  good.roles = kRoleSends | kRoleReceives;
  good.doorbell = kDoorbellSocket;
  good.send = {65536, 1000};
  good.receive = {65536, 1000};
  const uint64_t page = PageBytes();
  good.broadcast = {{3, 1, 2 * page}};
  const auto region = [](uint64_t bytes, int seals) {
    UniqueFd fd(::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
    EXPECT_EQ(::fallocate(fd.get(), 0, 0, static_cast<off_t>(bytes)), 0);
    EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals), 0);
    return fd;
  };
  const uint64_t right = 3 * page;
  constexpr int kAll = static_cast<int>(kRegionSeals);
  enum Kind { kRight, kMissing, kTheirRegion, kOurRegion, kPipe, kOneMore };
  struct Case {
    uint64_t bytes;
    int seals;
    Kind kind;
    bool agreed;
  };
  const Case cases[] = {
      {right, kAll, kRight, true},
      {right - page, kAll, kRight, false},
      {right + page, kAll, kRight, false},
      {right, 0, kRight, false},
      {right, kAll & ~F_SEAL_SHRINK, kRight, false},        // could be cut
      {right, kAll & ~F_SEAL_GROW, kRight, false},          // pages behind the end
      {right, kAll & ~F_SEAL_FUTURE_WRITE, kRight, false},  // anybody could write it
      {right, kAll & ~F_SEAL_SEAL, kRight, false},          // could be sealed against its writer
      {right, kAll, kMissing, false},
      {right, kAll, kTheirRegion, false},  // which is larger
      {right, kAll, kOurRegion, false},
      {right, kAll, kPipe, false},
      {right, kAll, kOneMore, false},
  };
  const int before = OpenDescriptors();
  for (const Case& c : cases) {
    FileRegistry registry;
    ConnectOptions options;
    options.registry = &registry;
    options.broadcast_kinds = {3};
    options.trust = PeerTrust::Because("seals without a helper");
    auto pair = PeerSocket::Pair();
    ASSERT_TRUE(pair->first.Send(EncodeWelcome(good)).ok());
    std::vector<UniqueFd> fds;
    fds.push_back(region(page + 65536, kAll));
    fds.push_back(region(page + 65536, static_cast<int>(kShapeSeals)));
    fds.push_back(region(c.bytes, c.seals));
    std::vector<int> numbers = {fds[0].get(), fds[1].get(), fds[2].get()};
    UniqueFd event(::eventfd(0, EFD_CLOEXEC));
    if (c.kind == kMissing) numbers.pop_back();
    if (c.kind == kTheirRegion) numbers[2] = numbers[0];
    if (c.kind == kOurRegion) numbers[2] = numbers[1];
    if (c.kind == kPipe) numbers[2] = event.get();
    if (c.kind == kOneMore) numbers.push_back(event.get());
    ASSERT_TRUE(
        pair->first.Send(EncodeChannelId(MessageType::kDescriptors, good.channel_id), numbers)
            .ok());
    ASSERT_TRUE(pair->first.Send(EncodeChannelId(MessageType::kReady, good.channel_id)).ok());
    {
      const auto made = ConnectHandshake(std::move(pair->second), options, Soon());
      EXPECT_EQ(made.ok(), c.agreed) << &c - cases << " " << made.status();
    }
    EXPECT_EQ(registry.size(), 0u);
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

// A region that we write, also one of another session and of the right size, is no broadcast to us.
TEST_F(BroadcastHandshakeTest, M12WhatWeWriteInAnotherSessionIsNotReadAsABroadcast) {
  constexpr uint64_t kBytes = 65536;
  FileRegistry registry;
  ConnectOptions options;
  options.registry = &registry;
  options.broadcast_kinds = {3};
  options.trust = PeerTrust::Because("seals without a helper");
  Welcome welcome;
  welcome.roles = kRoleSends | kRoleReceives;
  welcome.doorbell = kDoorbellSocket;
  welcome.send = {kBytes, 1000};
  welcome.receive = {kBytes, 1000};
  const auto region = [] {
    UniqueFd fd(::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    const auto bytes = static_cast<off_t>(PageBytes() + kBytes);
    EXPECT_EQ(::fallocate(fd.get(), 0, 0, bytes), 0);
    EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, kShapeSeals), 0);
    return fd;
  };
  const UniqueFd ours = region();  // what the victim writes in its first session
  std::shared_ptr<Session> first;
  for (const bool again : {false, true}) {
    if (again) welcome.broadcast = {{3, 1, kBytes}};
    auto pair = PeerSocket::Pair();
    const UniqueFd theirs = region();
    ASSERT_EQ(::fcntl(theirs.get(), F_ADD_SEALS, kRegionSeals), 0);
    const UniqueFd fresh = region();
    std::vector<int> numbers = {theirs.get(), again ? fresh.get() : ours.get()};
    if (again) numbers.push_back(ours.get());
    ASSERT_TRUE(pair->first.Send(EncodeWelcome(welcome)).ok());
    ASSERT_TRUE(
        pair->first.Send(EncodeChannelId(MessageType::kDescriptors, welcome.channel_id), numbers)
            .ok());
    ASSERT_TRUE(pair->first.Send(EncodeChannelId(MessageType::kReady, welcome.channel_id)).ok());
    const auto made = ConnectHandshake(std::move(pair->second), options, Soon());
    EXPECT_EQ(made.status().code(),
              again ? absl::StatusCode::kAlreadyExists : absl::StatusCode::kOk)
        << made.status();
    if (made.ok()) first = *made;
  }
}

TEST(HandshakeTest, FencesAreSkippedOnlyWhereTheSleeperMakesTheBarrier) {
  if (!SystemWideBarrierWorks()) GTEST_SKIP() << "this kernel has no membarrier GLOBAL_EXPEDITED";
  using enum FenceMode;
  struct Case {
    FenceMode accepting;
    FenceMode connecting;
    bool trust;  // each in the other
    bool accepting_skips;
    bool connecting_skips;
  };
  const Case cases[] = {
      {kAutomatic, kAutomatic, false, false, false},
      {kAutomatic, kAutomatic, true, false, true},
      {kFull, kAutomatic, true, false, false},
      {kAutomatic, kFull, true, false, false},
      {kAsymmetric, kAutomatic, false, false, false},
      {kAsymmetric, kAutomatic, true, false, true},
      // A peer that merely offers to skip its fences gets no barrier from us.
      {kAutomatic, kAsymmetric, false, false, false},
      {kAutomatic, kAsymmetric, true, false, true},
      {kFull, kAsymmetric, true, false, false},
      {kAsymmetric, kFull, true, false, false},
      {kAsymmetric, kAsymmetric, false, true, true},
  };
  for (const Case& c : cases) {
    Ends ends;
    ends.accept.fences = c.accepting;
    ends.connect.fences = c.connecting;
    if (c.trust) {
      ends.accept.trust = PeerTrust::Because("both ends are this test");
      ends.connect.trust = PeerTrust::Because("both ends are this test");
    }
    ends.Run();
    ASSERT_TRUE(ends.accepted.ok() && ends.connected.ok());
    SCOPED_TRACE(::testing::Message() << static_cast<int>(c.accepting) << " "
                                      << static_cast<int>(c.connecting) << " " << c.trust);
    EXPECT_EQ((*ends.accepted)->skips_fences(), c.accepting_skips);
    EXPECT_EQ((*ends.connected)->barrier_before_sleep(), c.accepting_skips);
    EXPECT_EQ((*ends.connected)->skips_fences(), c.connecting_skips);
    EXPECT_EQ((*ends.accepted)->barrier_before_sleep(), c.connecting_skips);
  }
}

TEST(HandshakeTest, BothEndsInOneProcessAreToldWhatToDo) {
  Ends ends;
  ends.accept.registry = nullptr;
  ends.connect.registry = nullptr;
  ends.Run();
  EXPECT_NE(ends.connected.status().message().find("both ends are in this process"),
            std::string::npos)
      << ends.connected.status();
}

TEST(HandshakeTest, AttackH4BothThinkTheyAreTheProducer) {
  Ends ends;
  ends.accept.direction = Direction::kSendOnly;
  ends.connect.direction = Direction::kSendOnly;
  ends.Run();
  EXPECT_FALSE(ends.accepted.ok());
  EXPECT_NE(std::string(ends.connected.status().message()).find("who sends"), std::string::npos);
}

TEST(HandshakeTest, PolicyAndFormatRefuseWithTheirReason) {
  {
    Ends ends;
    ends.accept.policy = PeerPolicy::SameUser().And(PeerPolicy::Uid(12345));
    ends.Run();
    EXPECT_EQ(ends.accepted.status().code(), absl::StatusCode::kPermissionDenied);
    EXPECT_NE(std::string(ends.connected.status().message()).find("policy"), std::string::npos);
  }
  {
    Ends ends;
    ends.accept.check_format = [](const std::string& format) {
      return format == "raw" ? absl::OkStatus() : absl::InvalidArgumentError("not raw");
    };
    ends.Run();
    EXPECT_EQ(ends.accepted.status().message(), "not raw");
    EXPECT_NE(std::string(ends.connected.status().message()).find("format"), std::string::npos);
  }
}

TEST(HandshakeTest, WithoutARandomIdThereIsNoChannel) {
  EXPECT_EQ(
      testing_support::RunInChild([] {
        testing_support::FailSystemCall(SYS_getrandom, EAGAIN);
        Ends ends;
        ends.Run();
        EXPECT_NE(ends.accepted.status().ToString().find("random channel id"), std::string::npos)
            << ends.accepted.status();
        EXPECT_NE(ends.connected.status().ToString().find("memory or descriptors"),
                  std::string::npos)
            << ends.connected.status();
      }),
      "ok");
}

TEST(HandshakeTest, PromiseP8NoSideDoorsEveryDescriptorIsCloseOnExec) {
  const int before = OpenDescriptors();
  for (const bool eventfd : {false, true}) {
    Ends ends;
    if (eventfd) ends.accept.trust = PeerTrust::Because("both ends are this test");
    if (eventfd) ends.connect.trust = PeerTrust::Because("both ends are this test");
    ends.Run();
    ASSERT_TRUE(ends.accepted.ok() && ends.connected.ok());
    DIR* folder = ::opendir("/proc/self/fd");
    while (const dirent* entry = ::readdir(folder)) {
      const int fd = static_cast<int>(std::strtol(entry->d_name, nullptr, 10));
      if (fd <= 2 || entry->d_name[0] == '.' || fd == ::dirfd(folder)) continue;
      if (fd < before) continue;  // of the test runner
      EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0) << fd;
    }
    ::closedir(folder);
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

// --- a hostile connecting side
// --------------------------------------------------------------------

struct AcceptorTest : ::testing::Test {
  FileRegistry registry;
  AcceptOptions options = OfRegistry(&registry);
  std::optional<CheckedAcceptOptions> checked;
  std::optional<Acceptor> acceptor;
  PeerSocket peer = NewPeer();

  static AcceptOptions OfRegistry(FileRegistry* registry) {
    AcceptOptions options;
    options.registry = registry;
    return options;
  }
  PeerSocket NewPeer() {
    auto pair = PeerSocket::Pair();
    checked = *CheckedAcceptOptions::Make(options);
    acceptor.emplace(std::move(pair->first), &*checked);
    return std::move(pair->second);
  }

  static std::vector<std::byte> GoodHello() {
    Hello hello;
    hello.roles = kRoleSends | kRoleReceives;
    hello.doorbells = kDoorbellSocket;
    return EncodeHello(hello);
  }
  // The peer says hello and answers the Welcome; what it gets then.
  absl::StatusOr<PeerSocket::WithDescriptors> TakeDescriptors() {
    EXPECT_TRUE(peer.Send(GoodHello()).ok());
    EXPECT_TRUE(acceptor->Advance().ok());
    std::array<std::byte, 8192> into;
    const auto size = peer.TryReceive(absl::MakeSpan(into));  // without descriptors, or it fails
    EXPECT_TRUE(size.ok() && *size) << size.status();
    const auto welcome = ParseWelcome(absl::MakeConstSpan(into).first(**size));
    EXPECT_TRUE(welcome.ok()) << welcome.status();
    id = welcome->channel_id;
    EXPECT_TRUE(peer.Send(EncodeChannelId(MessageType::kAccepted, id)).ok());
    EXPECT_TRUE(acceptor->Advance(Soon()).ok());
    return peer.ReceiveWithDescriptors(absl::MakeSpan(into), 6, Soon());
  }
  ChannelId id = {};
  // The reason that the peer is told; 0 if nothing came.
  uint32_t ReasonTold() {
    std::array<std::byte, 4096> into;
    auto got = peer.TryReceive(absl::MakeSpan(into));
    if (!got.ok() || !*got) return 0;
    auto reason = ParseRefused(absl::MakeConstSpan(into).first(**got));
    return reason.ok() ? static_cast<uint32_t>(*reason) : 0;
  }
};

TEST_F(AcceptorTest, RubbishIsRefusedAndThePeerIsToldWhy) {
  ASSERT_TRUE(peer.Send(std::vector<std::byte>(64, std::byte{0x41})).ok());
  EXPECT_EQ(acceptor->Advance().status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonTold(), static_cast<uint32_t>(RefusalReason::kMalformed));
}

TEST_F(AcceptorTest, AttackH6MessagesOutOfOrderAreRefused) {
  ASSERT_TRUE(peer.Send(EncodeChannelId(MessageType::kMapped, {0, 0})).ok());
  EXPECT_FALSE(acceptor->Advance().ok());

  peer = NewPeer();
  ASSERT_TRUE(peer.Send(GoodHello()).ok());
  ASSERT_TRUE(acceptor->Advance().ok());
  ASSERT_TRUE(peer.Send(GoodHello()).ok());  // twice
  EXPECT_FALSE(acceptor->Advance().ok());
}

TEST_F(AcceptorTest, AttackH2UnknownVersionsAndBitsAreRefused) {
  Hello hello;
  hello.roles = kRoleSends | kRoleReceives;
  hello.doorbells = kDoorbellSocket;
  hello.version_min = 2;
  hello.version_max = 9;
  ASSERT_TRUE(peer.Send(EncodeHello(hello)).ok());
  EXPECT_FALSE(acceptor->Advance().ok());
  EXPECT_EQ(ReasonTold(), static_cast<uint32_t>(RefusalReason::kVersion));

  peer = NewPeer();
  hello.version_min = 1;
  hello.features = 0x8000;
  ASSERT_TRUE(peer.Send(EncodeHello(hello)).ok());
  EXPECT_FALSE(acceptor->Advance().ok());
  EXPECT_EQ(ReasonTold(), static_cast<uint32_t>(RefusalReason::kFeatures));

  peer = NewPeer();
  hello.features = 0;
  hello.doorbells = 0x80;  // none that we know
  ASSERT_TRUE(peer.Send(EncodeHello(hello)).ok());
  EXPECT_FALSE(acceptor->Advance().ok());
  EXPECT_EQ(ReasonTold(), static_cast<uint32_t>(RefusalReason::kDoorbell));
}

TEST_F(AcceptorTest, AnUnconfinedPeerNeverGetsAnEventfd) {
  Hello hello;
  hello.roles = kRoleSends | kRoleReceives;
  hello.doorbells = kDoorbellEventfd;
  ASSERT_TRUE(peer.Send(EncodeHello(hello)).ok());
  EXPECT_FALSE(acceptor->Advance().ok());
  EXPECT_EQ(ReasonTold(), static_cast<uint32_t>(RefusalReason::kDoorbell));
}

TEST_F(AcceptorTest, AMappedWithoutSealingTheRegionIsRefused) {
  auto got = TakeDescriptors();
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_TRUE(peer.Send(EncodeChannelId(MessageType::kMapped, id)).ok());
  EXPECT_FALSE(acceptor->Advance(Soon()).ok());
  EXPECT_EQ(ReasonTold(), static_cast<uint32_t>(RefusalReason::kMemory));
}

TEST_F(AcceptorTest, AHolePunchedBeforeSealingIsRefused) {
  auto got = TakeDescriptors();
  ASSERT_TRUE(got.ok()) << got.status();
  const int region = got->descriptors[1].get();
  const auto page = static_cast<off_t>(PageBytes());
  ASSERT_EQ(::fallocate(region, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page, page), 0);
  ASSERT_EQ(::fcntl(region, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL), 0);
  ASSERT_TRUE(peer.Send(EncodeChannelId(MessageType::kMapped, id)).ok());
  EXPECT_FALSE(acceptor->Advance(Soon()).ok());
  EXPECT_EQ(ReasonTold(), static_cast<uint32_t>(RefusalReason::kMemory));
}

TEST_F(AcceptorTest, AttackH3AnotherChannelsIdIsRefused) {
  for (const MessageType type : {MessageType::kAccepted, MessageType::kMapped}) {
    peer = NewPeer();
    if (type == MessageType::kMapped) {
      ASSERT_TRUE(TakeDescriptors().ok());
    } else {
      ASSERT_TRUE(peer.Send(GoodHello()).ok());
      ASSERT_TRUE(acceptor->Advance().ok());
    }
    ASSERT_TRUE(peer.Send(EncodeChannelId(type, {1, 2})).ok());
    EXPECT_FALSE(acceptor->Advance(Soon()).ok());
  }
}

// A Hello costs a message. Memory and descriptors are for a peer that has answered, so that
// handshakes which are given up after the Welcome leave nothing charged to us.
TEST_F(AcceptorTest, PromiseP7ResourcesNothingIsMadeForAPeerThatDoesNotAnswer) {
  const int before = OpenDescriptors();
  ASSERT_TRUE(peer.Send(GoodHello()).ok());
  ASSERT_TRUE(acceptor->Advance(Soon()).ok());
  EXPECT_EQ(OpenDescriptors(), before);
  EXPECT_EQ(registry.size(), 0u);
  EXPECT_EQ(acceptor->memory_bytes(), 0u);
  EXPECT_FALSE(acceptor->busy());
}

// However large the regions are, a call that is past its time makes a slice of them.
TEST_F(AcceptorTest, PromiseP2TimeRegionsAreMadeInSlices) {
  options.send = options.receive = {16 << 20, 1024};
  peer = NewPeer();
  Hello hello;
  hello.roles = kRoleSends | kRoleReceives;
  hello.doorbells = kDoorbellSocket;
  ASSERT_TRUE(peer.Send(EncodeHello(hello)).ok());
  ASSERT_TRUE(acceptor->Advance().ok());
  std::array<std::byte, 8192> into;
  const auto size = peer.TryReceive(absl::MakeSpan(into));
  ASSERT_TRUE(size.ok() && *size);
  const auto welcome = ParseWelcome(absl::MakeConstSpan(into).first(**size));
  ASSERT_TRUE(welcome.ok());
  ASSERT_TRUE(peer.Send(EncodeChannelId(MessageType::kAccepted, welcome->channel_id)).ok());
  int slices = 0;
  do {
    ASSERT_TRUE(acceptor->Advance(Deadline::AtMonotonicNs(0)).ok());
    ++slices;
  } while (acceptor->busy());
  EXPECT_GT(slices, 32);  // at most 1 MiB each
  EXPECT_EQ(acceptor->memory_bytes(), 2 * (uint64_t{16 << 20} + PageBytes()));
}

TEST_F(AcceptorTest, AttackF1DescriptorsOnTheHelloAreRefusedAndNotInstalled) {
  UniqueFd event(::eventfd(0, EFD_CLOEXEC));
  const int fd = event.get();
  const int before = OpenDescriptors();
  // Since Linux 6.16 the sender itself is told no.
  if (peer.Send(GoodHello(), absl::MakeConstSpan(&fd, 1)).ok()) {
    EXPECT_FALSE(acceptor->Advance().ok());
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(AcceptorTest, NothingIsAllocatedForAPeerThatThePolicyRefuses) {
  options.policy = PeerPolicy::Uid(12345);
  peer = NewPeer();
  const int before = OpenDescriptors();
  ASSERT_TRUE(peer.Send(GoodHello()).ok());
  EXPECT_FALSE(acceptor->Advance().ok());
  EXPECT_EQ(OpenDescriptors(), before);
  EXPECT_EQ(registry.size(), 0u);
}

TEST_F(AcceptorTest, PromiseP2TimeASilentPeerCostsTheDeadlineAndNoMore) {
  auto pair = PeerSocket::Pair();
  const int64_t start_ns = MonotonicNowNs();
  auto result =
      AcceptHandshake(std::move(pair->first), options, Deadline::After(absl::Milliseconds(50)));
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(MonotonicNowNs() - start_ns, 50'000'000);
}

TEST_F(AcceptorTest, AttackW8ADeadPeerWhoseHeirKeepsTheSocketDoesNotCostTheDeadline) {
  auto pair = PeerSocket::Pair();
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);  // pair->second stays open here: the heir
  auto pidfd = OpenPidfd(child);
  ASSERT_TRUE(pidfd.ok());
  options.peer_pidfd = pidfd->get();
  const auto result =
      AcceptHandshake(std::move(pair->first), options, Deadline::After(absl::Minutes(2)));
  EXPECT_EQ(result.status().code(), absl::StatusCode::kUnavailable) << result.status();
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
}

// --- a hostile accepting side
// ---------------------------------------------------------------------

TEST(ConnectorTest, AHostileAnswerIsRefused) {
  const ChannelId id = {1, 2};
  Welcome good;
  good.roles = kRoleSends | kRoleReceives;
  good.doorbell = kDoorbellSocket;
  good.channel_id = id;
  good.send = {65536, 1000};
  good.receive = {65536, 1000};
  Welcome too_large = good;
  too_large.receive = {uint64_t{1} << 30, 1000};
  Welcome not_asked = good;
  not_asked.roles = kRoleSends;
  not_asked.receive = {};
  Welcome eventfd = good;
  eventfd.doorbell = kDoorbellEventfd;
  Welcome barrier = good;
  barrier.features = kFeatureBarrierBeforeSleep;
  Welcome skips = good;
  skips.features = kFeatureSkipsFences;
  const std::vector<std::byte> answers[] = {
      EncodeWelcome(good),       // without descriptors
      EncodeWelcome(too_large),  //
      EncodeWelcome(not_asked),  //
      EncodeWelcome(eventfd),    // not offered
      EncodeWelcome(barrier),    // not offered
      EncodeWelcome(skips),      // not offered
      EncodeChannelId(MessageType::kReady, id),
      EncodeRefused(static_cast<RefusalReason>(999)),
      std::vector<std::byte>(10, std::byte{1}),
  };
  for (const auto& answer : answers) {
    auto pair = PeerSocket::Pair();
    ASSERT_TRUE(pair->first.Send(answer).ok());
    ASSERT_TRUE(pair->first.Send(EncodeChannelId(MessageType::kDescriptors, id)).ok());
    EXPECT_FALSE(ConnectHandshake(std::move(pair->second), {}, Soon()).ok());
  }
}

TEST(ConnectorTest, ForeignDescriptorsAsRegionsAreRefusedWithoutALeak) {
  Welcome good;
  good.roles = kRoleSends | kRoleReceives;
  good.doorbell = kDoorbellSocket;
  good.send = {65536, 1000};
  good.receive = {65536, 1000};
  const int before = OpenDescriptors();
  {
    UniqueFd plain(::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(::ftruncate(plain.get(), 4096 + 65536), 0);
    UniqueFd event(::eventfd(0, EFD_CLOEXEC));
    for (const int fd : {plain.get(), event.get()}) {
      for (std::size_t count = 1; count <= 6; ++count) {
        auto pair = PeerSocket::Pair();
        ASSERT_TRUE(pair->first.Send(EncodeWelcome(good)).ok());
        ASSERT_TRUE(pair->first
                        .Send(EncodeChannelId(MessageType::kDescriptors, good.channel_id),
                              std::vector<int>(count, fd))
                        .ok());
        EXPECT_FALSE(ConnectHandshake(std::move(pair->second), {}, Soon()).ok());
      }
    }
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST(ConnectorTest, AnAcceptingSideThatGoesAwayIsAnError) {
  auto pair = PeerSocket::Pair();
  {
    PeerSocket gone = std::move(pair->first);
  }
  EXPECT_EQ(ConnectHandshake(std::move(pair->second), {}, Soon()).status().code(),
            absl::StatusCode::kUnavailable);
}

// --- listeners
// ------------------------------------------------------------------------------------

std::string SocketPath(const char* name) {
  const char* folder = std::getenv("TEST_TMPDIR");
  return std::string(folder != nullptr && std::string(folder).size() < 60 ? folder : "/tmp") +
         "/parley_" + std::to_string(::getpid()) + name;
}

TEST(ListenerTest, ConnectsByPathAndByAbstractNameAndRemovesItsFile) {
  for (const std::string& name : {SocketPath("a"), "@parley_test_" + std::to_string(::getpid())}) {
    {
      auto listener = Listener::Bind(name);
      ASSERT_TRUE(listener.ok()) << listener.status();
      auto client = ConnectTo(name, Soon());
      ASSERT_TRUE(client.ok()) << client.status();
      auto server = listener->TryAccept();
      ASSERT_TRUE(server.ok() && *server);
      EXPECT_FALSE(*listener->TryAccept());
      if (name[0] == '/') {
        struct stat info = {};
        ASSERT_EQ(::lstat(name.c_str(), &info), 0);
        EXPECT_EQ(info.st_mode & 0777, 0600u);
      }
    }
    EXPECT_NE(::access(name.c_str(), F_OK), 0);
    EXPECT_EQ(ConnectTo(name, Soon()).status().code(),
              name[0] == '/' ? absl::StatusCode::kNotFound : absl::StatusCode::kUnavailable);
  }
}

TEST(ListenerTest, ASecondListenerIsToldAndTheFirstGoesOn) {
  const std::string path = SocketPath("b");
  auto first = Listener::Bind(path);
  ASSERT_TRUE(first.ok());
  auto second = Listener::Bind(path);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_NE(std::string(second.status().message()).find("another process is listening"),
            std::string::npos);
  EXPECT_TRUE(ConnectTo(path, Soon()).ok());
}

TEST(ListenerTest, AStaleFileIsReplacedAndAForeignFileIsNot) {
  const std::string path = SocketPath("c");
  const std::string moved = path + "x";
  {
    auto dead = Listener::Bind(path);
    ASSERT_TRUE(dead.ok());
    ASSERT_EQ(::rename(path.c_str(), moved.c_str()), 0);  // so that it is not removed
  }
  ASSERT_EQ(::rename(moved.c_str(), path.c_str()), 0);
  EXPECT_TRUE(Listener::Bind(path).ok());

  UniqueFd file(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  EXPECT_EQ(Listener::Bind(path).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(::access(path.c_str(), F_OK), 0);
  ::unlink(path.c_str());
}

TEST(ListenerTest, ImpossibleNamesAreErrors) {
  for (const std::string& bad : {std::string(), std::string("@"), std::string(108, 'x'),
                                 std::string("a\0b", 3), std::string("/nonexistent/folder/x")}) {
    EXPECT_FALSE(Listener::Bind(bad).ok());
    EXPECT_FALSE(ConnectTo(bad, Soon()).ok());
  }
}

// A named peer's death is seen by its process descriptor. A handshake that could not get one for
// want of room must fail: it would not be missed before it is needed.
TEST(FileRegistryTest, PromiseP7AFullDescriptorTableIsAnErrorAndNoUnknownPeer) {
  const std::string path = SocketPath("full");
  auto listener = Listener::Bind(path);
  ASSERT_TRUE(listener.ok());
  const pid_t child = ::fork();
  if (child == 0) {
    auto socket = ConnectTo(path, Soon());
    while (socket.ok()) ::pause();
    ::_exit(1);
  }
  std::optional<PeerSocket> socket;
  for (const Deadline soon = Soon(); !socket && !soon.Expired(); ::usleep(1000)) {
    socket = *listener->TryAccept();
  }
  ASSERT_TRUE(socket.has_value());
  auto peer = IdentifyPeer(socket->fd(), -1, socket->origin());
  ASSERT_TRUE(peer.ok()) << peer.status();
  const bool kernel_tells = peer->pidfd.ok();
  peer->pidfd.Reset();

  rlimit limit = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const UniqueFd lowest(::fcntl(0, F_DUPFD_CLOEXEC, 0));
  const rlimit full = {static_cast<rlim_t>(lowest.get()), limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &full), 0);
  peer = IdentifyPeer(socket->fd(), -1, socket->origin());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  ::kill(child, SIGKILL);
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
  if (!kernel_tells) GTEST_SKIP() << "this kernel has no SO_PEERPIDFD";
  EXPECT_EQ(peer.status().code(), absl::StatusCode::kResourceExhausted) << peer.status();
}

// Each of these wants regions to be made. A call that is past its deadline makes those of one.
TEST(ServerTest, PromiseP2TimeManyHandshakesAtOnceDoNotAddUpBeyondTheDeadline) {
  const std::string path = SocketPath("many");
  FileRegistry registry;
  AcceptOptions options;
  options.registry = &registry;
  auto listener = Listener::Bind(path);
  ASSERT_TRUE(listener.ok());
  Server server(*std::move(listener), *CheckedAcceptOptions::Make(options));
  Hello hello;
  hello.roles = kRoleSends | kRoleReceives;
  hello.doorbells = kDoorbellSocket;
  std::vector<PeerSocket> peers;
  for (int i = 0; i < 8; ++i) {
    auto socket = ConnectTo(path, Soon());
    ASSERT_TRUE(socket.ok()) << socket.status();
    ASSERT_TRUE(socket->Send(EncodeHello(hello)).ok());
    peers.push_back(*std::move(socket));
  }
  const auto answered = [&] {
    int count = 0;
    for (const PeerSocket& peer : peers) {
      pollfd entry = {peer.fd(), POLLIN, 0};
      count += ::poll(&entry, 1, 0);
    }
    return count;
  };
  const Deadline past = Deadline::AtMonotonicNs(0);
  EXPECT_EQ(server.Accept(past).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(answered(), 0);  // taken from the queue, and no more
  for (int i = 1; i <= 8; ++i) {
    EXPECT_EQ(server.Accept(past).status().code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(answered(), i);
  }
}

TEST(ServerTest, AnyNumberOfBadPeersDoesNotKeepAGoodOneOut) {
  const std::string path = SocketPath("d");
  FileRegistry registry;
  FileRegistry client_registry;
  AcceptOptions options;
  options.registry = &registry;
  ServerLimits limits;
  limits.handshake_time = absl::Milliseconds(300);
  const int before = OpenDescriptors();
  {
    auto listener = Listener::Bind(path);
    ASSERT_TRUE(listener.ok());
    Server server(*std::move(listener), *CheckedAcceptOptions::Make(options), limits);
    std::thread peers([&] {
      std::vector<PeerSocket> silent;
      for (int i = 0; i < 200; ++i) {
        auto socket = ConnectTo(path, Soon());
        if (!socket.ok()) continue;
        if (i % 3 == 0) static_cast<void>(socket->Send(std::vector<std::byte>(20)));
        if (i % 3 == 1) silent.push_back(*std::move(socket));
      }
      ConnectOptions connect;
      connect.registry = &client_registry;
      // Busy until the silent ones have used up their time.
      absl::StatusOr<std::shared_ptr<Session>> good = absl::UnknownError("");
      for (int tries = 0; tries < 50 && !good.ok(); ++tries) {
        auto socket = ConnectTo(path, Soon());
        if (socket.ok()) good = ConnectHandshake(*std::move(socket), connect, Soon());
        if (!good.ok()) ::usleep(50'000);
      }
      EXPECT_TRUE(good.ok()) << good.status();
    });
    auto peer = server.Accept(Deadline::After(absl::Seconds(20)));
    peers.join();
    ASSERT_TRUE(peer.ok()) << peer.status();
    EXPECT_GT(server.failures(), 100u);
  }
  // Before Linux 6.16 a helper closes some, a moment later.
  for (const Deadline soon = Soon(); OpenDescriptors() != before && !soon.Expired();) {
    TendDisposal();
    ::usleep(1000);
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

// A policy that went on with the handshakes which it is asked about would find them ended.
TEST(ServerDeathTest, APolicyMustNotUseItsListener) {
  for (const bool ends : {false, true}) {
    EXPECT_DEATH(
        {
          const std::string path = "@parley-own-policy-" + std::to_string(::getpid());
          std::unique_ptr<Server> server;
          AcceptOptions options;
          options.policy = PeerPolicy::Predicate([&](const PeerIdentity&) {
            if (ends) {
              server.reset();
            } else {
              server->Tend();
            }
            return true;
          });
          auto listener = Listener::Bind(path);
          server =
              std::make_unique<Server>(*std::move(listener), *CheckedAcceptOptions::Make(options));
          const auto peer = ConnectTo(path, Soon());
          server->Tend();
        },
        ends ? "must not end in its own policy" : "must not be used by its own policy");
  }
}

// --- each step of either side --------------------------------------------------------------------

bool Says(const absl::Status& status, const char* sentence) {
  return status.ToString().find(sentence) != std::string::npos;
}

// Those of this process's descriptors that are memfds, in ascending order.
std::vector<int> OpenMemfds() {
  std::vector<int> found;
  DIR* folder = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(folder)) {
    std::array<char, 64> target = {};
    const std::string path = std::string("/proc/self/fd/") + entry->d_name;
    if (::readlink(path.c_str(), target.data(), target.size() - 1) < 0) continue;
    if (std::string(target.data()).rfind("/memfd:", 0) != 0) continue;
    found.push_back(static_cast<int>(std::strtol(entry->d_name, nullptr, 10)));
  }
  ::closedir(folder);
  std::sort(found.begin(), found.end());
  return found;
}

TEST(HandshakeTest, BothEndsHaveTheSameFactsAndNoDescriptorOfARegion) {
  const SessionTerms terms;
  EXPECT_FALSE(terms.skips_fences);
  EXPECT_FALSE(terms.barrier_before_sleep);
  EXPECT_FALSE(terms.reads_broadcast);
  EXPECT_FALSE(terms.peer_is_supervisor);
  ChannelId last = {};
  for (int round = 0; round < 2; ++round) {
    Ends ends;
    const std::vector<int> memfds = OpenMemfds();
    ends.Run();
    ASSERT_TRUE(ends.accepted.ok() && ends.connected.ok());
    EXPECT_EQ(OpenMemfds(), memfds);
    for (const auto& end : {*ends.accepted, *ends.connected}) {
      EXPECT_EQ(end->peer().pid, ::getpid());
      EXPECT_EQ(end->peer().uid, ::geteuid());
      EXPECT_TRUE(end->peer().own_pair);
      EXPECT_FALSE(end->reads_broadcast());
      EXPECT_EQ(end->broadcast(), nullptr);
      EXPECT_FALSE(end->peer_is_supervisor());
      EXPECT_NE(end->id(), last);
      EXPECT_EQ(end->send()->ring.capacity_bytes, kDefaultCapacityBytes);
      EXPECT_EQ(end->receive()->ring.max_message_bytes, kDefaultCapacityBytes / 4);
    }
    last = (*ends.accepted)->id();
    EXPECT_EQ(last, (*ends.connected)->id());
    EXPECT_NE(last, ChannelId());
  }
}

TEST_F(BroadcastHandshakeTest, BothEndsKnowThatItIsRead) {
  auto ends = Reader(Direction::kBoth, Direction::kBoth);
  ends->Run();
  ASSERT_TRUE(ends->connected.ok() && ends->accepted.ok());
  EXPECT_TRUE((*ends->accepted)->reads_broadcast());
  EXPECT_TRUE((*ends->connected)->reads_broadcast());
}

TEST(HandshakeTest, AnInheritedSocketsOtherEndIsTheSupervisor) {
  Ends ends;
  auto pair = PeerSocket::Pair();
  ASSERT_TRUE(pair.ok());
  auto inherited =
      PeerSocket::Adopt(std::move(pair->second).Release(), PeerSocket::Origin::kInherited);
  ASSERT_TRUE(inherited.ok());
  std::thread other(
      [&] { ends.connected = ConnectHandshake(*std::move(inherited), ends.connect, Soon()); });
  ends.accepted = AcceptHandshake(std::move(pair->first), ends.accept, Soon());
  other.join();
  ASSERT_TRUE(ends.accepted.ok() && ends.connected.ok());
  EXPECT_TRUE((*ends.connected)->peer_is_supervisor());
  EXPECT_FALSE((*ends.accepted)->peer_is_supervisor());
}

TEST(HandshakeTest, TheArenasMemoryIsThereAtBothEnds) {
  constexpr ArenaGeometry kArena = {8192, 128};
  Ends ends;
  ends.accept.send.arena = kArena;
  ends.accept.receive.arena = kArena;
  ends.Run();
  ASSERT_TRUE(ends.accepted.ok() && ends.connected.ok());
  for (const auto& end : {*ends.accepted, *ends.connected}) {
    EXPECT_EQ(end->send()->arena, kArena);
    EXPECT_EQ(end->receive()->arena, kArena);
    EXPECT_EQ(end->send()->arena_memory.size_bytes(), ArenaSectionBytes(kArena));
    EXPECT_EQ(end->receive()->arena_memory.size_bytes(), ArenaSectionBytes(kArena));
  }
}

// Rings and arenas beyond what a region has by default, which take longer to make than one turn of
// the loop that makes them.
TEST(HandshakeTest, LargeRegionsAreMadeAndMapped) {
  Ends ends;
  for (ChannelLimits* limits : {&ends.accept.limits, &ends.connect.limits}) {
    limits->max_capacity_bytes = kMaxCapacityBytes;
  }
  ends.connect.send = ends.connect.receive = {64 << 20, 1024};
  ends.accept.send.arena = {128 << 20, 64};
  ends.Run();
  ASSERT_TRUE(ends.accepted.ok()) << ends.accepted.status();
  ASSERT_TRUE(ends.connected.ok()) << ends.connected.status();
  ExpectBytesFlow(**ends.accepted, **ends.connected);
  ExpectBytesFlow(**ends.connected, **ends.accepted);
}

TEST(HandshakeTest, ADroppedSessionKeepsItsMemoryAndNoDescriptor) {
  for (const bool eventfds : {false, true}) {
    const int before = OpenDescriptors();
    Ends ends;
    if (eventfds) ends.accept.trust = PeerTrust::Because("both ends are this test");
    if (eventfds) ends.connect.trust = PeerTrust::Because("both ends are this test");
    auto pidfd = OpenPidfd(::getppid());
    ASSERT_TRUE(pidfd.ok());
    ends.accept.peer_pidfd = pidfd->get();
    ends.Run();
    ASSERT_TRUE(ends.accepted.ok() && ends.connected.ok());
    EXPECT_TRUE((*ends.accepted)->peer().pidfd.ok());
    pidfd->Reset();
    for (const auto& end : {*ends.accepted, *ends.connected}) {
      end->DropDescriptors();
      EXPECT_EQ(end->connection(), -1);
      EXPECT_FALSE(end->peer().pidfd.ok());
      EXPECT_EQ(end->send()->doorbell, nullptr);
      EXPECT_EQ(end->receive()->doorbell, nullptr);
      end->termination().Poison(Violation::kMetadataInvalid);  // there is nobody to be woken
      end->control().StoreRelease64(0, 1);
    }
    EXPECT_EQ(OpenDescriptors(), before);
  }
}

TEST(HandshakeTest, ImpossibleOptionsAreAnErrorOfEitherSide) {
  auto pair = PeerSocket::Pair();
  AcceptOptions accept;
  accept.limits.max_capacity_bytes = 1;
  EXPECT_TRUE(Says(AcceptHandshake(std::move(pair->first), accept, Soon()).status(),
                   "AcceptOptions::limits.max_capacity_bytes"));
  ConnectOptions connect;
  connect.limits.max_capacity_bytes = 1;
  EXPECT_TRUE(Says(ConnectHandshake(std::move(pair->second), connect, Soon()).status(),
                   "ConnectOptions::limits.max_capacity_bytes"));
}

TEST(HandshakeTest, AWaitThatTheKernelRefusesIsAnErrorOfTheAcceptingSide) {
  EXPECT_EQ(testing_support::RunInChild([] {
              auto pair = PeerSocket::Pair();
              testing_support::FailSystemCall(SYS_ppoll, ENOMEM);
              const absl::Status status =
                  AcceptHandshake(std::move(pair->first), {}, Soon()).status();
              EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
            }),
            "ok");
}

TEST(HandshakeTest, AListenerThatCannotBeIdentifiedIsAnError) {
  EXPECT_EQ(testing_support::RunInChild([] {
              auto pair = PeerSocket::Pair();
              testing_support::FailSystemCallWhere(SYS_getsockopt, 2, SO_PEERCRED, ENOMEM);
              const absl::Status status =
                  ConnectHandshake(std::move(pair->second), ConnectOptions{}, Soon()).status();
              EXPECT_TRUE(Says(status, "ask who the peer is")) << status;
            }),
            "ok");
}

TEST(HandshakeTest, OurPolicyJudgesTheListenerOfASocketThatIsGiven) {
  auto pair = PeerSocket::Pair();
  ConnectOptions options;
  options.policy = PeerPolicy::Predicate([](const PeerIdentity&) { return false; });
  EXPECT_EQ(ConnectHandshake(std::move(pair->second), options, Soon()).status().code(),
            absl::StatusCode::kPermissionDenied);
  std::array<std::byte, 100> into;
  EXPECT_EQ(pair->first.TryReceive(absl::MakeSpan(into)).status().code(),
            absl::StatusCode::kUnavailable);  // not a word
}

// --- the accepting side, step by step

TEST_F(AcceptorTest, ItSaysWhereItIs) {
  const auto expect = [&](bool hello, bool accepted, bool busy, uint64_t bytes) {
    EXPECT_EQ(acceptor->AwaitsHello(), hello);
    EXPECT_EQ(acceptor->AwaitsAccepted(), accepted);
    EXPECT_EQ(acceptor->busy(), busy);
    EXPECT_EQ(acceptor->memory_bytes(), bytes);
  };
  const uint64_t all = 2 * (kDefaultCapacityBytes + PageBytes());
  expect(true, false, false, 0);
  EXPECT_FALSE(*acceptor->Advance());  // nothing came
  expect(true, false, false, 0);
  ASSERT_TRUE(peer.Send(GoodHello()).ok());
  EXPECT_FALSE(*acceptor->Advance());
  expect(false, true, false, 0);
  EXPECT_EQ(registry.size(), 0u);
  std::array<std::byte, 8192> into;
  const auto size = peer.TryReceive(absl::MakeSpan(into));
  ASSERT_TRUE(size.ok() && *size);
  const auto welcome = ParseWelcome(absl::MakeConstSpan(into).first(**size));
  ASSERT_TRUE(welcome.ok());
  ASSERT_TRUE(peer.Send(EncodeChannelId(MessageType::kAccepted, welcome->channel_id)).ok());
  // A call that is past its time makes a slice of one region, so two are not made by one call.
  EXPECT_FALSE(*acceptor->Advance());
  int calls = 1;
  for (; acceptor->busy(); ++calls) {
    expect(false, false, true, all);
    EXPECT_FALSE(*acceptor->Advance());
  }
  EXPECT_GE(calls, 2);
  expect(false, false, false, all);
  const auto got = peer.ReceiveWithDescriptors(absl::MakeSpan(into), 8, Soon());
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->descriptors.size(), 2u);
  ASSERT_EQ(::fcntl(got->descriptors[1].get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL), 0);
  EXPECT_FALSE(*acceptor->Advance());
  expect(false, false, false, all);
  EXPECT_DEATH(static_cast<void>(std::move(*acceptor).Take()), "Take before");
  ASSERT_TRUE(peer.Send(EncodeChannelId(MessageType::kMapped, welcome->channel_id)).ok());
  auto done = acceptor->Advance();
  while (done.ok() && !*done) {
    expect(false, false, true, all);
    done = acceptor->Advance();
  }
  ASSERT_TRUE(done.ok()) << done.status();
  expect(false, false, false, all);
  EXPECT_DEATH(static_cast<void>(acceptor->Advance()), "Advance after the end");
  const auto session = std::move(*acceptor).Take();
  ASSERT_TRUE(session.ok());
  EXPECT_EQ((*session)->id(), welcome->channel_id);
  const auto ready = peer.TryReceive(absl::MakeSpan(into));
  ASSERT_TRUE(ready.ok() && *ready);
  EXPECT_TRUE(ParseChannelId(absl::MakeConstSpan(into).first(**ready), MessageType::kReady,
                             welcome->channel_id)
                  .ok());
}

// Whatever ends it, it is not driven on.
TEST_F(AcceptorTest, AfterAnErrorItIsOver) {
  ASSERT_TRUE(peer.Send(std::vector<std::byte>(64, std::byte{0x41})).ok());
  EXPECT_FALSE(acceptor->Advance().ok());
  EXPECT_DEATH(static_cast<void>(acceptor->Advance()), "Advance after the end");

  peer = NewPeer();
  {
    const PeerSocket gone = std::move(peer);
  }
  EXPECT_EQ(acceptor->Advance().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_DEATH(static_cast<void>(acceptor->Advance()), "Advance after the end");
}

TEST_F(AcceptorTest, APeerThatIsGoneWhenItIsAnsweredIsAnError) {
  // At the descriptors: nothing is charged, since nobody has the memory.
  ASSERT_TRUE(peer.Send(GoodHello()).ok());
  ASSERT_TRUE(acceptor->Advance().ok());
  std::array<std::byte, 8192> into;
  const auto size = peer.TryReceive(absl::MakeSpan(into));
  ASSERT_TRUE(size.ok() && *size);
  const auto welcome = ParseWelcome(absl::MakeConstSpan(into).first(**size));
  ASSERT_TRUE(welcome.ok());
  ASSERT_TRUE(peer.Send(EncodeChannelId(MessageType::kAccepted, welcome->channel_id)).ok());
  {
    const PeerSocket gone = std::move(peer);
  }
  EXPECT_EQ(acceptor->Advance(Soon()).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(acceptor->memory_bytes(), 0u);

  // At Ready.
  peer = NewPeer();
  {
    const auto got = TakeDescriptors();
    ASSERT_TRUE(got.ok());
    ASSERT_EQ(::fcntl(got->descriptors[1].get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL),
              0);
  }
  ASSERT_TRUE(peer.Send(EncodeChannelId(MessageType::kMapped, id)).ok());
  {
    const PeerSocket gone = std::move(peer);
  }
  EXPECT_EQ(acceptor->Advance(Soon()).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_DEATH(static_cast<void>(acceptor->Advance()), "Advance after the end");
  peer = NewPeer();
}

TEST_F(AcceptorTest, AMessageThatIsLongerThanAnyIsRefused) {
  ASSERT_TRUE(peer.Send(std::vector<std::byte>(kMaxMessageBytes + 1)).ok());
  EXPECT_FALSE(acceptor->Advance().ok());
  EXPECT_EQ(ReasonTold(), static_cast<uint32_t>(RefusalReason::kMalformed));
}

TEST_F(AcceptorTest, APidfdThatCannotBeKeptIsWantOfResources) {
  options.peer_pidfd = 1'000'000;
  peer = NewPeer();
  ASSERT_TRUE(peer.Send(GoodHello()).ok());
  EXPECT_TRUE(Says(acceptor->Advance().status(), "keep the peer's process descriptor"));
  EXPECT_EQ(ReasonTold(), static_cast<uint32_t>(RefusalReason::kResources));
}

// What else the peer had sent does not turn the reason into a reset, also for a peer that does not
// know of resets, and it can send no more.
TEST_F(AcceptorTest, ARefusalArrivesWhateverElseWasSent) {
  ASSERT_TRUE(peer.Send(std::vector<std::byte>(64, std::byte{0x41})).ok());
  ASSERT_TRUE(peer.Send(GoodHello()).ok());
  ASSERT_TRUE(peer.Send(GoodHello()).ok());
  EXPECT_FALSE(acceptor->Advance().ok());
  EXPECT_EQ(peer.Send(GoodHello()).code(), absl::StatusCode::kUnavailable);
  acceptor.reset();
  std::array<std::byte, 4096> into;
  const ssize_t got = ::recv(peer.fd(), into.data(), into.size(), MSG_DONTWAIT);
  ASSERT_GT(got, 0);
  const auto reason = ParseRefused(absl::MakeConstSpan(into).first(static_cast<std::size_t>(got)));
  ASSERT_TRUE(reason.ok());
  EXPECT_EQ(*reason, RefusalReason::kMalformed);
}

TEST_F(AcceptorTest, ADescriptorIsRefusedByTheKernelFromThenOn) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
  auto mine = PeerSocket::Adopt(UniqueFd(fds[0]));
  auto theirs = PeerSocket::Adopt(UniqueFd(fds[1]));
  ASSERT_TRUE(mine.ok() && theirs.ok());
  const int fd = STDOUT_FILENO;
  if (!RefuseRights(mine->fd())) GTEST_SKIP() << "this kernel has no SO_PASSRIGHTS";
  ASSERT_TRUE(AllowRights(mine->fd()));
  acceptor.emplace(*std::move(mine), &*checked);
  EXPECT_FALSE(theirs->Send(GoodHello(), absl::MakeConstSpan(&fd, 1)).ok());
  EXPECT_TRUE(theirs->Send(GoodHello()).ok());
  EXPECT_TRUE(acceptor->Advance().ok());
}

// With room for so many descriptors more, whichever is the one that is missing: the peer is told,
// and nothing is left. With eventfds there are the most of them.
TEST_F(AcceptorTest, PromiseP7ResourcesWhateverRoomThereIsThePeerIsTold) {
  options.trust = PeerTrust::Because("both ends are this test");
  int told[2];  // that it worked
  ASSERT_EQ(::pipe2(told, O_CLOEXEC | O_NONBLOCK), 0);
  bool done = false;
  rlim_t room = 0;
  for (; !done && room < 40; ++room) {
    const std::string ended = testing_support::RunInChild([&] {
      peer = NewPeer();
      Hello hello;
      hello.roles = kRoleSends | kRoleReceives;
      hello.doorbells = kDoorbellEventfd;
      ASSERT_TRUE(peer.Send(EncodeHello(hello)).ok());
      ASSERT_TRUE(acceptor->Advance().ok());
      std::array<std::byte, 8192> into;
      const auto size = peer.TryReceive(absl::MakeSpan(into));
      ASSERT_TRUE(size.ok() && *size);
      const auto welcome = ParseWelcome(absl::MakeConstSpan(into).first(**size));
      ASSERT_TRUE(welcome.ok());
      ASSERT_TRUE(peer.Send(EncodeChannelId(MessageType::kAccepted, welcome->channel_id)).ok());
      const int before = OpenDescriptors();
      rlimit limit = {};
      ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
      rlimit tight = limit;
      {
        const UniqueFd lowest(::fcntl(0, F_DUPFD_CLOEXEC, 0));
        tight.rlim_cur = static_cast<rlim_t>(lowest.get()) + room;
      }
      ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
      const auto advanced = acceptor->Advance(Soon());
      ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
      if (advanced.ok()) {
        const auto got = peer.ReceiveWithDescriptors(absl::MakeSpan(into), 8, Soon());
        ASSERT_TRUE(got.ok()) << got.status();
        EXPECT_EQ(got->descriptors.size(), 6u);
        EXPECT_EQ(::write(told[1], "x", 1), 1);
        return;
      }
      EXPECT_EQ(advanced.status().code(), absl::StatusCode::kResourceExhausted)
          << advanced.status();
      EXPECT_EQ(ReasonTold(), static_cast<uint32_t>(RefusalReason::kResources));
      EXPECT_EQ(acceptor->memory_bytes(), 0u);
      acceptor.reset();
      EXPECT_EQ(OpenDescriptors(), before - 1);
      EXPECT_EQ(registry.size(), 0u);
    });
    EXPECT_EQ(ended, "ok") << room;
    char byte = 0;
    done = ::read(told[0], &byte, 1) == 1;
  }
  EXPECT_TRUE(done);
  ::close(told[0]);
  ::close(told[1]);
  EXPECT_GE(room, 4u);
}

// The memory of either region, where the kernel has none: the peer is told, and has got nothing.
TEST_F(AcceptorTest, PromiseP7ResourcesWithoutMemoryForEitherRegionThePeerIsTold) {
  for (const std::size_t which : {0U, 1U}) {
    EXPECT_EQ(
        testing_support::RunInChild([&] {
          options.send = options.receive = {8 << 20, 1024};
          peer = NewPeer();
          ASSERT_TRUE(peer.Send(GoodHello()).ok());
          ASSERT_TRUE(acceptor->Advance().ok());
          std::array<std::byte, 8192> into;
          const auto size = peer.TryReceive(absl::MakeSpan(into));
          ASSERT_TRUE(size.ok() && *size);
          const auto welcome = ParseWelcome(absl::MakeConstSpan(into).first(**size));
          ASSERT_TRUE(welcome.ok());
          ASSERT_TRUE(peer.Send(EncodeChannelId(MessageType::kAccepted, welcome->channel_id)).ok());
          ASSERT_TRUE(acceptor->Advance().ok());  // one slice
          std::vector<int> memfds = OpenMemfds();
          ASSERT_EQ(memfds.size(), 2u);
          testing_support::FailSystemCallWhere(SYS_fallocate, 0,
                                               static_cast<uint32_t>(memfds[which]), ENOSPC);
          absl::StatusOr<bool> done = false;
          while (done.ok() && acceptor->busy()) done = acceptor->Advance();
          EXPECT_EQ(done.status().code(), absl::StatusCode::kResourceExhausted) << done.status();
          EXPECT_EQ(ReasonTold(), static_cast<uint32_t>(RefusalReason::kResources));
          EXPECT_EQ(acceptor->memory_bytes(), 0u);
        }),
        "ok")
        << which;
  }
}

TEST_F(AcceptorTest, AttackH3AnotherChannelsIdIsRefusedAlsoWhereAllElseIsRight) {
  const auto got = TakeDescriptors();
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_EQ(::fcntl(got->descriptors[1].get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL), 0);
  ASSERT_TRUE(peer.Send(EncodeChannelId(MessageType::kMapped, {1, 2})).ok());
  EXPECT_FALSE(acceptor->Advance(Soon()).ok());
  EXPECT_EQ(ReasonTold(), static_cast<uint32_t>(RefusalReason::kMalformed));
}

// A channel without a doorbell is none.
TEST_F(AcceptorTest, PromiseP7ResourcesWithoutADescriptorForADoorbellThereIsNoSession) {
  const auto got = TakeDescriptors();
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_EQ(::fcntl(got->descriptors[1].get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL), 0);
  ASSERT_TRUE(peer.Send(EncodeChannelId(MessageType::kMapped, id)).ok());
  auto done = acceptor->Advance(Soon());
  while (done.ok() && !*done) done = acceptor->Advance(Soon());
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(testing_support::RunInChild([&] {
              const rlimit none = {0, 0};
              ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
              const auto session = std::move(*acceptor).Take();
              EXPECT_EQ(session.status().code(), absl::StatusCode::kResourceExhausted)
                  << session.status();
            }),
            "ok");
}

TEST_F(AcceptorTest, ASilentPeerIsToldThatItsTimeIsUp) {
  auto pair = PeerSocket::Pair();
  EXPECT_FALSE(AcceptHandshake(std::move(pair->first), options, Deadline::AtMonotonicNs(0)).ok());
  peer = std::move(pair->second);
  EXPECT_EQ(ReasonTold(), static_cast<uint32_t>(RefusalReason::kDeadline));
}

// What a process said before it died is judged, also where its heir keeps the socket.
TEST_F(AcceptorTest, AttackW8WhatADeadPeerSaidIsReadFirst) {
  auto pair = PeerSocket::Pair();
  ASSERT_TRUE(pair->second.Send(std::vector<std::byte>(64, std::byte{0x41})).ok());
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  auto pidfd = OpenPidfd(child);
  ASSERT_TRUE(pidfd.ok());
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  options.peer_pidfd = pidfd->get();
  const auto result = AcceptHandshake(std::move(pair->first), options, Soon());
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument) << result.status();
}

// --- the connecting side, step by step

Welcome GoodWelcome() {
  Welcome welcome;
  welcome.roles = kRoleSends | kRoleReceives;
  welcome.doorbell = kDoorbellSocket;
  welcome.channel_id = {11, 12};
  welcome.send = {65536, 1000};
  welcome.receive = {65536, 1000};
  return welcome;
}

UniqueFd SealedRegion(unsigned seals, uint64_t data_bytes = 65536) {
  UniqueFd fd(::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const auto bytes = static_cast<off_t>(PageBytes() + data_bytes);
  EXPECT_EQ(::fallocate(fd.get(), 0, 0, bytes), 0);
  EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, static_cast<int>(seals)), 0);
  return fd;
}

// An accepting side that says all at once, without listening.
struct Script {
  std::vector<std::byte> welcome = EncodeWelcome(GoodWelcome());
  std::vector<std::byte> descriptors = EncodeChannelId(MessageType::kDescriptors, {11, 12});
  std::vector<std::byte> ready = EncodeChannelId(MessageType::kReady, {11, 12});
  mutable FileRegistry registry;  // outlives the session
  UniqueFd theirs = SealedRegion(kRegionSeals);
  UniqueFd ours = SealedRegion(kShapeSeals);
  std::vector<int> numbers = {theirs.get(), ours.get()};
  // Empty ones are left out.
  void Send(const PeerSocket& socket) const {
    EXPECT_TRUE(welcome.empty() || socket.Send(welcome).ok());
    EXPECT_TRUE(descriptors.empty() || socket.Send(descriptors, numbers).ok());
    EXPECT_TRUE(ready.empty() || socket.Send(ready).ok());
  }
  absl::StatusOr<std::shared_ptr<Session>> Run(Deadline deadline = Soon()) const {
    auto pair = PeerSocket::Pair();
    Send(pair->first);
    ConnectOptions options;
    options.registry = &registry;
    options.trust = PeerTrust::Because("seals without a helper");
    return ConnectHandshake(std::move(pair->second), options, deadline);
  }
};

TEST(ConnectorTest, EachAnswerOfAHostileAcceptingSideHasItsError) {
  using enum absl::StatusCode;
  struct Case {
    std::function<void(Script&)> spoil;
    absl::StatusCode code;
    const char* sentence;
  };
  const auto nothing_after = [](std::vector<std::byte> Script::* which,
                                const std::vector<std::byte>& by) {
    return [which, by](Script& s) {
      s.*which = by;
      if (which == &Script::welcome) s.descriptors.clear();
      if (which != &Script::ready) s.ready.clear();
      if (which == &Script::descriptors) s.numbers.clear();
    };
  };
  const auto welcome = [](auto change) {
    return [change](Script& s) {
      Welcome changed = GoodWelcome();
      change(changed);
      s.welcome = EncodeWelcome(changed);
    };
  };
  const auto busy = EncodeRefused(RefusalReason::kBusy);
  const auto size = EncodeRefused(RefusalReason::kSize);
  std::vector<std::byte> damaged = size;
  damaged[20] = std::byte{1};
  std::vector<std::byte> newer = EncodeWelcome(GoodWelcome());
  newer[16] = std::byte{2};
  const std::vector<std::byte> rubbish(10, std::byte{1});
  const auto id = [](MessageType type) { return EncodeChannelId(type, {11, 13}); };
  const Case cases[] = {
      {[](Script&) {}, kOk, ""},
      {nothing_after(&Script::welcome, busy), kUnavailable, "too many handshakes"},
      {nothing_after(&Script::welcome, size), kFailedPrecondition, "its limits"},
      {nothing_after(&Script::welcome, damaged), kInvalidArgument, "reserved field not zero"},
      {nothing_after(&Script::welcome, newer), kInvalidArgument, "version that was not offered"},
      {nothing_after(&Script::welcome, rubbish), kInvalidArgument, "too short"},
      {welcome([](Welcome& w) { w.send = {uint64_t{1} << 30, 1000}; }), kResourceExhausted,
       "ring is beyond our limits"},
      {welcome([](Welcome& w) { w.doorbell = kDoorbellFutex; }), kInvalidArgument,
       "chose what was not offered"},
      {nothing_after(&Script::descriptors, busy), kUnavailable, "too many handshakes"},
      {nothing_after(&Script::descriptors, size), kFailedPrecondition, "its limits"},
      {nothing_after(&Script::descriptors, rubbish), kInvalidArgument, "too short"},
      {[&](Script& s) { s.descriptors = id(MessageType::kDescriptors); }, kInvalidArgument,
       "another channel's id"},
      {[](Script& s) { s.numbers.clear(); }, kInvalidArgument, "a region is missing"},
      {[](Script& s) { s.numbers.pop_back(); }, kInvalidArgument, "a region is missing"},
      {[](Script& s) { s.numbers.push_back(0); }, kInvalidArgument,
       "more descriptors than the handshake has"},
      {[](Script& s) {
         s.theirs = SealedRegion(kShapeSeals);
         s.numbers[0] = s.theirs.get();
       },
       kInvalidArgument, ""},
      {[](Script& s) {
         s.ours = SealedRegion(0);
         s.numbers[1] = s.ours.get();
       },
       kInvalidArgument, ""},
      {nothing_after(&Script::ready, busy), kUnavailable, "too many handshakes"},
      {nothing_after(&Script::ready, size), kFailedPrecondition, "its limits"},
      {nothing_after(&Script::ready, rubbish), kInvalidArgument, "too short"},
      {[&](Script& s) { s.ready = id(MessageType::kReady); }, kInvalidArgument,
       "another channel's id"},
  };
  const int before = OpenDescriptors();
  for (const Case& c : cases) {
    SCOPED_TRACE(&c - cases);
    Script script;
    c.spoil(script);
    const absl::Status status = script.Run().status();
    EXPECT_EQ(status.code(), c.code) << status;
    EXPECT_TRUE(Says(status, c.sentence)) << status;
    EXPECT_EQ(IsRefusal(status), Says(status, "the peer refused: ")) << status;
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST(ConnectorTest, PromiseP2TimeSilenceAtEachStepCostsTheDeadline) {
  for (int step = 0; step < 3; ++step) {
    Script script;
    script.ready.clear();
    if (step < 2) script.descriptors.clear();
    if (step < 1) script.welcome.clear();
    EXPECT_EQ(script.Run(Deadline::After(absl::Milliseconds(30))).status().code(),
              absl::StatusCode::kDeadlineExceeded)
        << step;
  }
}

// A region takes time to be mapped, and there is none left.
TEST(ConnectorTest, PromiseP2TimeALargeRegionIsNotMappedBeyondTheDeadline) {
  constexpr uint64_t kLarge = uint64_t{16} << 20;
  for (const bool incoming : {true, false}) {
    Script script;
    Welcome welcome = GoodWelcome();
    (incoming ? welcome.receive : welcome.send).capacity_bytes = kLarge;
    script.welcome = EncodeWelcome(welcome);
    UniqueFd& region = incoming ? script.theirs : script.ours;
    region = SealedRegion(incoming ? kRegionSeals : kShapeSeals, kLarge);
    script.numbers[incoming ? 0 : 1] = region.get();
    EXPECT_EQ(script.Run(Deadline::AtMonotonicNs(0)).status().code(),
              absl::StatusCode::kDeadlineExceeded)
        << incoming;
  }
}

// An accepting side that does not read: the step at which its queue is full is the last one.
TEST(ConnectorTest, AFullQueueAtEachStepIsAnErrorAtOnce) {
  for (int room = 0; room < 3; ++room) {
    Script script;
    if (room < 2) script.descriptors.clear();
    if (room < 1) script.welcome.clear();
    script.ready.clear();
    auto pair = PeerSocket::Pair();
    script.Send(pair->first);
    while (pair->second.Send(std::vector<std::byte>(48)).ok()) {
    }
    std::array<std::byte, 100> into;
    for (int i = 0; i < room; ++i) {
      const auto taken = pair->first.TryReceive(absl::MakeSpan(into));
      ASSERT_TRUE(taken.ok() && *taken);
    }
    FileRegistry registry;
    ConnectOptions options;
    options.registry = &registry;
    options.trust = PeerTrust::Because("seals without a helper");
    const absl::Status status =
        ConnectHandshake(std::move(pair->second), options, Deadline::After(absl::Seconds(1)))
            .status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << room << status;
    EXPECT_TRUE(Says(status, "does not read its socket")) << room << status;
  }
}

TEST(ConnectorTest, ARefusalForATimeIsUnavailableAndOthersAreNot) {
  constexpr auto kLast = static_cast<uint32_t>(RefusalReason::kUnfinished);
  for (uint32_t number = 1; number <= kLast; ++number) {
    const auto reason = static_cast<RefusalReason>(number);
    auto pair = PeerSocket::Pair();
    ASSERT_TRUE(pair->first.Send(EncodeRefused(reason)).ok());
    const absl::Status status =
        ConnectHandshake(std::move(pair->second), ConnectOptions{}, Soon()).status();
    EXPECT_TRUE(IsRefusal(status)) << status;
    EXPECT_EQ(absl::IsUnavailable(status), Says(status, "try again later")) << status;
    EXPECT_EQ(absl::IsFailedPrecondition(status), !Says(status, "try again later")) << status;
  }
}

// It hung up: if it said why before that, this is the error.
TEST(ConnectorTest, ARefusalBeforeTheHangUpIsFound) {
  for (const bool refuses : {true, false}) {
    auto pair = PeerSocket::Pair();
    ASSERT_TRUE(!refuses || pair->first.Send(EncodeRefused(RefusalReason::kIdentity)).ok());
    pair->first.HangUp();
    const absl::Status status =
        ConnectHandshake(std::move(pair->second), ConnectOptions{}, Soon()).status();
    EXPECT_EQ(IsRefusal(status), refuses) << status;
    EXPECT_EQ(status.code(),
              refuses ? absl::StatusCode::kFailedPrecondition : absl::StatusCode::kUnavailable);
  }
}

TEST(ConnectorTest, ItTakesDescriptorsWhileItConnectsAndNoneAfterwards) {
  auto pair = PeerSocket::Pair();
  if (!RefuseRights(pair->second.fd())) GTEST_SKIP() << "this kernel has no SO_PASSRIGHTS";
  FileRegistry accepting_registry;
  FileRegistry connecting_registry;
  AcceptOptions accept;
  accept.registry = &accepting_registry;
  ConnectOptions connect;
  connect.registry = &connecting_registry;
  absl::StatusOr<std::shared_ptr<Session>> connected = absl::UnknownError("not run");
  std::thread other(
      [&] { connected = ConnectHandshake(std::move(pair->second), connect, Soon()); });
  const auto accepted = AcceptHandshake(std::move(pair->first), accept, Soon());
  other.join();
  ASSERT_TRUE(connected.ok()) << connected.status();
  EXPECT_TRUE(RefusesRights((*connected)->connection()));
  EXPECT_TRUE(RefusesRights((*accepted)->connection()));
}

// Of what came and was found to be as agreed, nothing has to be closed elsewhere.
TEST(ConnectorTest, VerifiedDescriptorsAreClosedInPlace) {
  const auto unused = PeerSocket::Pair();
  if (!RefusesRights(unused->first.fd())) GTEST_SKIP() << "sockets need helpers as well here";
  EXPECT_EQ(testing_support::RunInChild([] {
              testing_support::FailSystemCall(SYS_clone, EAGAIN);
              const Script script;
              const auto made = script.Run();
              EXPECT_TRUE(made.ok()) << made.status();
              EXPECT_EQ(TendDisposal().parked, 0u);
            }),
            "ok");
}

// With room for so many descriptors more: a session or an error, and nothing is left.
TEST(ConnectorTest, PromiseP7ResourcesWhateverRoomThereIsNothingIsLeftBehind) {
  for (rlim_t room = 0; room < 12; ++room) {
    EXPECT_EQ(testing_support::RunInChild([&] {
                const Script script;
                auto pair = PeerSocket::Pair();
                script.Send(pair->first);
                FileRegistry registry;
                ConnectOptions options;
                options.registry = &registry;
                options.trust = PeerTrust::Because("seals without a helper");
                const auto checked = CheckedConnectOptions::Make(options);
                ASSERT_TRUE(checked.ok());
                const int before = OpenDescriptors();
                rlimit limit = {};
                ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
                rlimit tight = limit;
                {
                  const UniqueFd lowest(::fcntl(0, F_DUPFD_CLOEXEC, 0));
                  tight.rlim_cur = static_cast<rlim_t>(lowest.get()) + room;
                }
                ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
                {
                  const auto made = ConnectHandshake(std::move(pair->second), *checked, Soon());
                  if (made.ok()) {
                    EXPECT_NE((*made)->send()->doorbell, nullptr);
                  } else {
                    EXPECT_TRUE(Says(made.status(), "ulimit")) << made.status();
                  }
                  EXPECT_TRUE(made.ok() || room < 11) << made.status();
                }
                ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
                EXPECT_EQ(OpenDescriptors(), before - 1);
                EXPECT_EQ(registry.size(), 0u);
              }),
              "ok")
        << room;
  }
}

TEST(ConnectorTest, PromiseP7ResourcesWithoutAnEventfdForTheDoorbellsThereIsNoSession) {
  EXPECT_EQ(testing_support::RunInChild([] {
              const Script script;
              auto pair = PeerSocket::Pair();
              script.Send(pair->first);
              ConnectOptions options;
              options.registry = &script.registry;
              options.trust = PeerTrust::Because("seals without a helper");
              const auto checked = CheckedConnectOptions::Make(options);
              ASSERT_TRUE(checked.ok());
              testing_support::FailSystemCall(SYS_eventfd2, EMFILE);
              const auto made = ConnectHandshake(std::move(pair->second), *checked, Soon());
              EXPECT_EQ(made.status().code(), absl::StatusCode::kResourceExhausted)
                  << made.status();
            }),
            "ok");
}

// --- doorbells

TEST(DoorbellsTest, OnlyEventfdsHaveDescriptorsTwoForEachRing) {
  const RingGeometry none = {};
  const RingGeometry ring = {65536, 1000};
  for (const uint32_t kind : {kDoorbellEventfd, kDoorbellSocket, kDoorbellFutex}) {
    for (const RingGeometry& send : {none, ring}) {
      for (const RingGeometry& receive : {none, ring}) {
        const bool sends = send.capacity_bytes != 0;
        const bool receives = receive.capacity_bytes != 0;
        const std::size_t wanted =
            kind == kDoorbellEventfd ? (sends ? 2U : 0U) + (receives ? 2U : 0U) : 0U;
        for (std::size_t count = 0; count <= 5; ++count) {
          auto made = MakeDoorbells(kind, send, receive);
          ASSERT_TRUE(made.ok()) << made.status();
          EXPECT_EQ(made->own.send != nullptr, kind == kDoorbellEventfd && sends);
          EXPECT_EQ(made->own.receive != nullptr, kind == kDoorbellEventfd && receives);
          ASSERT_EQ(made->for_peer.size(), wanted);
          while (made->for_peer.size() > count) made->for_peer.pop_back();
          while (made->for_peer.size() < count) {
            made->for_peer.emplace_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
          }
          // The other side's "send" is our "receive".
          const auto adopted = AdoptDoorbells(kind, receive, send, absl::MakeSpan(made->for_peer));
          ASSERT_EQ(adopted.ok(), count == wanted) << adopted.status();
          if (!adopted.ok()) {
            EXPECT_TRUE(Says(adopted.status(),
                             count < wanted ? "a doorbell is missing" : "more descriptors than"))
                << adopted.status();
            continue;
          }
          EXPECT_EQ(adopted->send != nullptr, kind == kDoorbellEventfd && receives);
          EXPECT_EQ(adopted->receive != nullptr, kind == kDoorbellEventfd && sends);
        }
      }
    }
  }
}

TEST(DoorbellsTest, WhatIsNoEventfdIsRefusedInEachPlace) {
  const RingGeometry ring = {65536, 1000};
  for (std::size_t place = 0; place < 4; ++place) {
    auto made = MakeDoorbells(kDoorbellEventfd, ring, ring);
    ASSERT_TRUE(made.ok() && made->for_peer.size() == 4);
    made->for_peer[place] = SealedRegion(0);
    EXPECT_EQ(AdoptDoorbells(kDoorbellEventfd, ring, ring, absl::MakeSpan(made->for_peer))
                  .status()
                  .code(),
              absl::StatusCode::kInvalidArgument)
        << place;
  }
}

// A violation that one end finds ends the wait of the other.
TEST(DoorbellsTest, TheEndOfTheSessionWakesBothDirections) {
  for (const DoorbellKind kind :
       {DoorbellKind::kSocket, DoorbellKind::kEventfd, DoorbellKind::kFutex}) {
    Ends ends;
    ends.accept.doorbell = ends.connect.doorbell = kind;
    ends.accept.trust = PeerTrust::Because("both ends are this test");
    ends.connect.trust = PeerTrust::Because("both ends are this test");
    ends.Run();
    ASSERT_TRUE(ends.accepted.ok() && ends.connected.ok());
    for (const auto& end : {*ends.accepted, *ends.connected}) {
      end->termination().Poison(Violation::kMetadataInvalid);
      for (Doorbell* doorbell : {end->send()->doorbell.get(), end->receive()->doorbell.get()}) {
        EXPECT_TRUE(doorbell->Sleep(Deadline::AtMonotonicNs(0))) << static_cast<int>(kind);
      }
    }
  }
}

}  // namespace
}  // namespace parley

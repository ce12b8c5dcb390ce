// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/peer_socket.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/connected_socket.h"
#include "parley/os/unique_fd.h"
#include "parley/sealing/test_support.h"
#include "parley/testing/slow_files.h"

namespace parley {
namespace {

using testing_support::FailSystemCall;
using testing_support::LingeringSocket;
using testing_support::RunInChild;

int OpenDescriptors() {
  int count = 0;
  DIR* folder = ::opendir("/proc/self/fd");
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

Deadline Soon() { return Deadline::After(absl::Milliseconds(200)); }
std::vector<std::byte> SomeBytes(std::size_t n) { return std::vector<std::byte>(n, std::byte{7}); }

TEST(PeerSocketTest, MessagesKeepTheirBoundaries) {
  auto pair = PeerSocket::Pair();
  ASSERT_TRUE(pair.ok());
  ASSERT_TRUE(pair->first.Send(SomeBytes(3)).ok());
  ASSERT_TRUE(pair->first.Send(SomeBytes(5)).ok());
  std::array<std::byte, 100> into;
  EXPECT_EQ(*pair->second.Receive(absl::MakeSpan(into), Soon()), 3u);
  EXPECT_EQ(*pair->second.Receive(absl::MakeSpan(into), Soon()), 5u);
  EXPECT_EQ(pair->second.Receive(absl::MakeSpan(into), Soon()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST(PeerSocketDeathTest, AMessageThatCannotBeIsTheCallersBug) {
  auto pair = PeerSocket::Pair();
  ASSERT_TRUE(pair.ok());
  const std::vector<int> too_many(9, pair->first.fd());
  std::array<std::byte, 100> into;
  EXPECT_DEATH(pair->first.Send({}).IgnoreError(), "an empty message");
  EXPECT_DEATH(pair->first.Send(SomeBytes(3), too_many).IgnoreError(), "too many descriptors");
  EXPECT_DEATH(pair->second.ReceiveWithDescriptors(absl::MakeSpan(into), 9, Soon()).IgnoreError(),
               "too many descriptors");
}

TEST(PeerSocketTest, AttackF9ALongerMessageIsRefusedNotCut) {
  auto pair = PeerSocket::Pair();
  ASSERT_TRUE(pair->first.Send(SomeBytes(101)).ok());
  std::array<std::byte, 100> into;
  EXPECT_EQ(pair->second.TryReceive(absl::MakeSpan(into)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(PeerSocketTest, AttackF10AnEmptyMessageEndsTheSession) {
  auto pair = PeerSocket::Pair();
  ASSERT_EQ(::send(pair->first.fd(), "", 0, 0), 0);
  std::array<std::byte, 100> into;
  EXPECT_EQ(pair->second.TryReceive(absl::MakeSpan(into)).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(PeerSocketTest, AttackF1NoDescriptorIsEverInstalledByReceive) {
  auto pair = PeerSocket::Pair();
  UniqueFd event(::eventfd(0, EFD_CLOEXEC));
  const int fd = event.get();
  ASSERT_TRUE(pair->first.Send(SomeBytes(3), absl::MakeConstSpan(&fd, 1)).ok());
  const int before = OpenDescriptors();
  std::array<std::byte, 100> into;
  EXPECT_EQ(pair->second.TryReceive(absl::MakeSpan(into)).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST(PeerSocketTest, PromiseP8NoSideDoorsReceivedDescriptorsAreCloseOnExec) {
  auto pair = PeerSocket::Pair();
  UniqueFd event(::eventfd(0, 0));
  const int fd = event.get();
  ASSERT_TRUE(pair->first.Send(SomeBytes(3), absl::MakeConstSpan(&fd, 1)).ok());
  std::array<std::byte, 100> into;
  auto got = pair->second.ReceiveWithDescriptors(absl::MakeSpan(into), 2, Soon());
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_EQ(got->descriptors.size(), 1u);
  EXPECT_NE(::fcntl(got->descriptors[0].get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(PeerSocketTest, AttackF2OneDescriptorTooManyIsRefusedAndAllAreClosed) {
  for (std::size_t allowed = 0; allowed <= 3; ++allowed) {
    auto pair = PeerSocket::Pair();
    UniqueFd event(::eventfd(0, EFD_CLOEXEC));
    const std::vector<int> fds(allowed + 1, event.get());
    ASSERT_TRUE(pair->first.Send(SomeBytes(3), fds).ok());
    const int before = OpenDescriptors();
    std::array<std::byte, 100> into;
    EXPECT_EQ(
        pair->second.ReceiveWithDescriptors(absl::MakeSpan(into), allowed, Soon()).status().code(),
        absl::StatusCode::kInvalidArgument)
        << allowed;
    EXPECT_EQ(OpenDescriptors(), before) << allowed;
  }
}

TEST(PeerSocketTest, AttackF9ALongerMessageWithDescriptorsIsRefusedAndTheyAreClosed) {
  auto pair = PeerSocket::Pair();
  UniqueFd event(::eventfd(0, EFD_CLOEXEC));
  const std::array<int, 2> fds = {event.get(), event.get()};
  ASSERT_TRUE(pair->first.Send(SomeBytes(101), fds).ok());
  const int before = OpenDescriptors();
  std::array<std::byte, 100> into;
  EXPECT_EQ(pair->second.ReceiveWithDescriptors(absl::MakeSpan(into), 2, Soon()).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenDescriptors(), before);
}

// A socket that our caller has set up to bring credentials: they are not what was agreed either.
TEST(PeerSocketTest, ControlMessagesOtherThanDescriptorsAreRefused) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
  const int on = 1;
  ASSERT_EQ(::setsockopt(fds[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
  auto mine = PeerSocket::Adopt(UniqueFd(fds[0]));
  auto theirs = PeerSocket::Adopt(UniqueFd(fds[1]));
  ASSERT_TRUE(mine.ok() && theirs.ok());
  UniqueFd event(::eventfd(0, EFD_CLOEXEC));
  const std::array<int, 1> one = {event.get()};
  ASSERT_TRUE(theirs->Send(SomeBytes(3), one).ok());
  const int before = OpenDescriptors();
  std::array<std::byte, 100> into;
  EXPECT_EQ(mine->ReceiveWithDescriptors(absl::MakeSpan(into), 6, Soon()).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST(PeerSocketTest, WhatTheKernelRefusesIsAnErrorThatSaysWhat) {
  EXPECT_EQ(RunInChild([] {
              const rlimit none = {0, 0};
              ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
              const absl::Status status = PeerSocket::Pair().status();
              EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
              EXPECT_NE(status.ToString().find("create a pair of sockets"), std::string::npos);
            }),
            "ok");
  EXPECT_EQ(RunInChild([] {
              auto pair = PeerSocket::Pair();
              ASSERT_TRUE(pair.ok());
              UniqueFd fd = std::move(pair->first).Release();
              FailSystemCall(SYS_fcntl, EPERM);
              const absl::Status status = PeerSocket::Adopt(std::move(fd)).status();
              EXPECT_NE(status.ToString().find("close-on-exec"), std::string::npos) << status;
            }),
            "ok");
  EXPECT_EQ(RunInChild([] {
              auto pair = PeerSocket::Pair();
              ASSERT_TRUE(pair.ok() && pair->first.Send(SomeBytes(3)).ok());
              FailSystemCall(SYS_recvmsg, ENOBUFS);
              std::array<std::byte, 100> into;
              const auto got = pair->second.TryReceive(absl::MakeSpan(into));
              EXPECT_NE(got.status().ToString().find("receive from the peer"), std::string::npos)
                  << got.status();
            }),
            "ok");
}

TEST(PeerSocketTest, AttackF3AFullDescriptorTableIsAnError) {
  auto pair = PeerSocket::Pair();
  UniqueFd event(::eventfd(0, EFD_CLOEXEC));
  const std::vector<int> fds(4, event.get());
  ASSERT_TRUE(pair->first.Send(SomeBytes(3), fds).ok());
  rlimit before = {};
  ::getrlimit(RLIMIT_NOFILE, &before);
  UniqueFd highest(::eventfd(0, EFD_CLOEXEC));
  rlimit tight = before;
  tight.rlim_cur = static_cast<rlim_t>(highest.get()) + 2;  // room for one more
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  std::array<std::byte, 100> into;
  const int open_before = OpenDescriptors();
  const auto got = pair->second.ReceiveWithDescriptors(absl::MakeSpan(into), 4, Soon());
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument);
  // Whatever was installed was closed.
  EXPECT_EQ(OpenDescriptors(), open_before);
}

// Each way to come across what the peer queued or sent, on a kernel that lets it be queued.
TEST(PeerSocketTest, AttackF12NoCallReleasesThePeersFilesInThisThread) {
  enum { kReceive, kReceiveLater, kClose, kMoveOver, kTooMany, kFewerThanAdopted, kLast };
  for (int way = kReceive; way < kLast; ++way) {
    EXPECT_EQ(
        RunInChild([&] {
          UniqueFd slow = LingeringSocket(absl::Seconds(3));
          auto pair = PeerSocket::Pair();
          ASSERT_TRUE(pair.ok());
          // The victim's end as an old kernel has it: it may hold descriptors.
          PeerSocket attacker = std::move(pair->first);
          std::optional<PeerSocket> victim(*PeerSocket::Adopt(std::move(pair->second).Release()));
          const int one = slow.get();
          std::vector<int> sent(way == kTooMany ? 4 : 1, one);
          ASSERT_TRUE(way != kReceiveLater || attacker.Send(SomeBytes(3)).ok());
          ASSERT_TRUE(attacker.Send(SomeBytes(3), sent).ok());
          slow.Reset();
          std::array<std::byte, 100> into;
          const absl::Time before = absl::Now();
          switch (way) {
            case kReceiveLater:
              EXPECT_TRUE(victim->Receive(absl::MakeSpan(into), Soon()).ok());
              [[fallthrough]];
            case kReceive:
              for (int i = 0; i < 3; ++i) {
                EXPECT_EQ(victim->Receive(absl::MakeSpan(into), Soon()).status().code(),
                          absl::StatusCode::kInvalidArgument);
              }
              break;
            case kMoveOver:
              *victim = std::move(PeerSocket::Pair()->first);
              break;
            case kTooMany:
              EXPECT_FALSE(victim->ReceiveWithDescriptors(absl::MakeSpan(into), 3, Soon()).ok());
              break;
            case kFewerThanAdopted: {
              auto got = victim->ReceiveWithDescriptors(absl::MakeSpan(into), 3, Soon());
              ASSERT_TRUE(got.ok()) << got.status();
              got->descriptors.clear();  // what an Adopt does that refuses it
              break;
            }
            default:
              break;
          }
          victim.reset();
          EXPECT_LE(absl::Now() - before, absl::Seconds(1));
        }),
        "ok")
        << way;
  }
}

TEST(PeerSocketTest, WhatWasSaidBeforeAResetIsReceived) {
  auto pair = PeerSocket::Pair();
  ASSERT_TRUE(pair->second.Send(SomeBytes(3)).ok());
  ASSERT_TRUE(pair->first.Send(SomeBytes(7)).ok());
  {
    const PeerSocket gone = std::move(pair->first);  // with a message that it never read
  }
  std::array<std::byte, 100> into;
  const auto got = pair->second.TryReceive(absl::MakeSpan(into));
  ASSERT_TRUE(got.ok() && *got) << got.status();
  EXPECT_EQ(**got, 7u);
  EXPECT_EQ(pair->second.TryReceive(absl::MakeSpan(into)).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(PeerSocketTest, DescriptorsAreRefusedOnceNoneCanBeQueued) {
  auto pair = PeerSocket::Pair();
  const int fd = STDOUT_FILENO;
  const auto one = absl::MakeConstSpan(&fd, 1);
  if (!RefusesRights(pair->first.fd())) GTEST_SKIP() << "this kernel has no SO_PASSRIGHTS";
  EXPECT_FALSE(pair->second.Send(SomeBytes(3), one).ok());  // the accepting end, from the start
  ASSERT_TRUE(pair->first.Send(SomeBytes(3), one).ok());
  EXPECT_FALSE(pair->second.RefuseDescriptors());  // one is there: still looked at
  EXPECT_FALSE(RefusesRights(pair->second.fd()));
  std::array<std::byte, 100> into;
  EXPECT_TRUE(pair->second.ReceiveWithDescriptors(absl::MakeSpan(into), 1, Soon()).ok());
  EXPECT_TRUE(pair->second.RefuseDescriptors());
  EXPECT_FALSE(pair->first.Send(SomeBytes(3), one).ok());
}

TEST(PeerSocketTest, AttackW6ASendToAGonePeerRaisesNoSignal) {
  auto pair = PeerSocket::Pair();
  {
    PeerSocket gone = std::move(pair->second);
  }
  EXPECT_EQ(pair->first.Send(SomeBytes(3)).code(), absl::StatusCode::kUnavailable);
}

TEST(PeerSocketTest, PromiseP2TimeAPeerThatNeverReadsMakesSendFailNotWait) {
  auto pair = PeerSocket::Pair();
  absl::Status status;
  int sent = 0;
  while (status.ok() && sent < 100'000) {
    status = pair->first.Send(SomeBytes(100));
    ++sent;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
}

TEST(PeerSocketTest, OnlyAConnectedSeqpacketUnixSocketIsAdopted) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  UniqueFd other(fds[1]);
  EXPECT_EQ(PeerSocket::Adopt(UniqueFd(fds[0])).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PeerSocket::Adopt(UniqueFd(::eventfd(0, 0))).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PeerSocket::Adopt(UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET, 0))).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PeerSocket::Adopt(UniqueFd(::socket(AF_INET, SOCK_STREAM, 0))).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(PeerSocketTest, InheritedTakesTheNumberOnce) {
  auto pair = PeerSocket::Pair();
  const int number = std::move(pair->first).Release().Release();
  ::setenv("PARLEY_SOCKET", std::to_string(number).c_str(), 1);
  EXPECT_TRUE(PeerSocket::Inherited().ok());
  const auto again = PeerSocket::Inherited();
  EXPECT_EQ(again.status().code(), absl::StatusCode::kFailedPrecondition);
  for (const char* bad : {"", "x", "3x", "-1", "99999999999999999999"}) {
    ::setenv("PARLEY_SOCKET", bad, 1);
    EXPECT_FALSE(PeerSocket::Inherited().ok()) << bad;
  }
  ::unsetenv("PARLEY_SOCKET");
}

}  // namespace
}  // namespace parley

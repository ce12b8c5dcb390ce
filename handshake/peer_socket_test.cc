// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/peer_socket.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "parley/os/connected_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/disposal.h"
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

// Whether SO_PASSRIGHTS exists, asked without the code under test.
bool KernelRefusesRights() {
  int fds[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
  const UniqueFd one(fds[0]);
  const UniqueFd other(fds[1]);
  return RefuseRights(one.get());
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
  // Before Linux 6.16 a helper closes it, a moment later.
  EXPECT_EQ(pair->second.Receive(absl::MakeSpan(into), Soon()).status().code(),
            absl::StatusCode::kUnavailable);
}

// Also at an end that looks at nothing before it receives, and by the call that takes descriptors.
TEST(PeerSocketTest, WhatWasSaidBeforeAResetIsReceivedByEitherCall) {
  for (const bool with_descriptors : {false, true}) {
    auto pair = PeerSocket::Pair();
    ASSERT_TRUE(pair->first.Send(SomeBytes(3)).ok());
    ASSERT_TRUE(pair->second.Send(SomeBytes(7)).ok());
    {
      const PeerSocket gone = std::move(pair->second);  // with a message that it never read
    }
    std::array<std::byte, 100> into;
    if (with_descriptors) {
      const auto got = pair->first.ReceiveWithDescriptors(absl::MakeSpan(into), 8, Soon());
      ASSERT_TRUE(got.ok()) << got.status();
      EXPECT_EQ(got->size_bytes, 7u);
    } else {
      const auto got = pair->first.TryReceive(absl::MakeSpan(into));
      ASSERT_TRUE(got.ok() && *got) << got.status();
      EXPECT_EQ(**got, 7u);
    }
    EXPECT_EQ(pair->first.TryReceive(absl::MakeSpan(into)).status().code(),
              absl::StatusCode::kUnavailable);
  }
}

TEST(PeerSocketTest, DescriptorsAreRefusedOnceNoneCanBeQueued) {
  auto pair = PeerSocket::Pair();
  const int fd = STDOUT_FILENO;
  const auto one = absl::MakeConstSpan(&fd, 1);
  if (!KernelRefusesRights()) GTEST_SKIP() << "this kernel has no SO_PASSRIGHTS";
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

// --- each error of the kernel, each limit, each move ---------------------------------------------

bool Says(const absl::Status& status, const char* sentence) {
  return status.ToString().find(sentence) != std::string::npos;
}

constexpr char kGone[] = "the peer closed the connection";

TEST(PeerSocketTest, EachErrorOfASendHasItsStatus) {
  using enum absl::StatusCode;
  const struct {
    int error;
    absl::StatusCode code;
    const char* sentence;
  } kCases[] = {
      {EAGAIN, kResourceExhausted, "the peer does not read its socket"},
      {EPIPE, kUnavailable, kGone},
      {ECONNRESET, kUnavailable, kGone},
      {ENOTCONN, kUnavailable, kGone},
      {ENOBUFS, kResourceExhausted, "send to the peer"},
      {ETOOMANYREFS, kInternal, "send to the peer"},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(RunInChild([&] {
                auto pair = PeerSocket::Pair();
                FailSystemCall(SYS_sendmsg, c.error);
                const absl::Status status = pair->first.Send(SomeBytes(3));
                EXPECT_EQ(status.code(), c.code) << status;
                EXPECT_TRUE(Says(status, c.sentence)) << status;
              }),
              "ok")
        << c.error;
  }
}

TEST(PeerSocketTest, EachErrorOfAReceiveHasItsStatus) {
  const struct {
    int error;
    const char* sentence;  // empty: nothing is there yet
  } kCases[] = {{EAGAIN, ""}, {ECONNRESET, kGone}, {ENOBUFS, "receive from the peer"}};
  for (const auto& c : kCases) {
    for (const bool with_descriptors : {false, true}) {
      EXPECT_EQ(RunInChild([&] {
                  auto pair = PeerSocket::Pair();
                  FailSystemCall(SYS_recvmsg, c.error);
                  std::array<std::byte, 100> into;
                  if (with_descriptors) {
                    const absl::Status status =
                        pair->second
                            .ReceiveWithDescriptors(absl::MakeSpan(into), 8,
                                                    Deadline::AtMonotonicNs(0))
                            .status();
                    EXPECT_TRUE(Says(status, c.error == EAGAIN ? "in time" : c.sentence)) << status;
                    return;
                  }
                  const auto got = pair->second.TryReceive(absl::MakeSpan(into));
                  if (c.error == EAGAIN) {
                    EXPECT_TRUE(got.ok() && !*got) << got.status();
                  } else {
                    EXPECT_TRUE(Says(got.status(), c.sentence)) << got.status();
                  }
                }),
                "ok")
          << c.error << " " << with_descriptors;
    }
  }
}

TEST(PeerSocketTest, AWaitThatTheKernelRefusesIsAnError) {
  for (const bool with_descriptors : {false, true}) {
    EXPECT_EQ(
        RunInChild([&] {
          auto pair = PeerSocket::Pair();
          FailSystemCall(SYS_ppoll, ENOMEM);
          std::array<std::byte, 100> into;
          const absl::Status status =
              with_descriptors
                  ? pair->second.ReceiveWithDescriptors(absl::MakeSpan(into), 8, Soon()).status()
                  : pair->second.Receive(absl::MakeSpan(into), Soon()).status();
          EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
        }),
        "ok");
  }
}

// What an earlier call left in errno is nobody's answer.
TEST(PeerSocketTest, TheEndIsTheEndWhateverErrnoWas) {
  for (const int before : {0, EINTR, EAGAIN, ECONNRESET, ENOBUFS}) {
    for (const bool with_descriptors : {false, true}) {
      for (const bool empty_message : {false, true}) {
        EXPECT_EQ(RunInChild([&] {
                    auto pair = PeerSocket::Pair();
                    if (empty_message) {
                      EXPECT_EQ(::send(pair->first.fd(), "", 0, 0), 0);
                    } else {
                      const PeerSocket gone = std::move(pair->first);
                    }
                    pollfd end = {pair->second.fd(), POLLIN, 0};
                    EXPECT_EQ(::poll(&end, 1, 5000), 1);
                    std::array<std::byte, 100> into;
                    errno = before;
                    const absl::Status status =
                        with_descriptors ? pair->second
                                               .ReceiveWithDescriptors(absl::MakeSpan(into), 8,
                                                                       Deadline::AtMonotonicNs(0))
                                               .status()
                                         : pair->second.TryReceive(absl::MakeSpan(into)).status();
                    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
                  }),
                  "ok")
            << before << " " << with_descriptors << " " << empty_message;
      }
    }
  }
}

TEST(PeerSocketTest, UpToEightDescriptorsArriveInTheirOrder) {
  for (std::size_t count = 0; count <= 8; ++count) {
    auto pair = PeerSocket::Pair();
    std::vector<UniqueFd> events;
    std::vector<int> numbers;
    for (std::size_t i = 0; i < count; ++i) {
      events.emplace_back(::eventfd(static_cast<unsigned>(i + 1), EFD_CLOEXEC | EFD_NONBLOCK));
      numbers.push_back(events.back().get());
    }
    ASSERT_TRUE(pair->first.Send(SomeBytes(3 + count), numbers).ok());
    std::array<std::byte, 100> into;
    {
      const auto got = pair->second.ReceiveWithDescriptors(absl::MakeSpan(into), count, Soon());
      ASSERT_TRUE(got.ok()) << got.status();
      EXPECT_EQ(got->size_bytes, 3 + count);
      EXPECT_EQ(got->guard.size(), count);
      ASSERT_EQ(got->descriptors.size(), count);
      for (std::size_t i = 0; i < count; ++i) {
        eventfd_t value = 0;
        EXPECT_EQ(::eventfd_read(got->descriptors[i].get(), &value), 0);
        EXPECT_EQ(value, i + 1);
      }
    }
    // It was taken.
    const auto next = pair->second.TryReceive(absl::MakeSpan(into));
    EXPECT_TRUE(next.ok() && !*next) << next.status();
  }
}

// With room for so many more descriptors: two of them are looked at, and then two are taken.
TEST(PeerSocketTest, AttackF3WhateverRoomThereIsNothingIsLeftBehind) {
  for (rlim_t room = 0; room <= 4; ++room) {
    EXPECT_EQ(RunInChild([&] {
                auto pair = PeerSocket::Pair();
                UniqueFd event(::eventfd(0, EFD_CLOEXEC));
                ASSERT_TRUE(pair->first.Send(SomeBytes(3), std::vector<int>(2, event.get())).ok());
                const UniqueFd lowest(::fcntl(0, F_DUPFD_CLOEXEC, 0));
                const int before = OpenDescriptors();
                rlimit limit = {};
                ::getrlimit(RLIMIT_NOFILE, &limit);
                const rlimit tight = {static_cast<rlim_t>(lowest.get()) + 1 + room, limit.rlim_max};
                ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
                std::array<std::byte, 100> into;
                {
                  const auto got =
                      pair->second.ReceiveWithDescriptors(absl::MakeSpan(into), 2, Soon());
                  EXPECT_EQ(got.ok(), room == 4) << got.status();
                  if (!got.ok()) {
                    EXPECT_EQ(got.status().code(), room < 2 ? absl::StatusCode::kInvalidArgument
                                                            : absl::StatusCode::kResourceExhausted)
                        << got.status();
                    EXPECT_TRUE(Says(got.status(), "ulimit -n")) << got.status();
                  }
                }
                ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
                EXPECT_EQ(OpenDescriptors(), before);
              }),
              "ok")
        << room;
  }
}

// A message that was looked at and cannot be taken then: somebody else of ours took it, say.
TEST(PeerSocketTest, AMessageThatIsGoneAfterTheLookIsAnError) {
  for (const int error : {EAGAIN, ENOMEM}) {
    for (const std::size_t count : {0U, 1U}) {
      EXPECT_EQ(
          RunInChild([&] {
            auto pair = PeerSocket::Pair();
            const UniqueFd event(::eventfd(0, EFD_CLOEXEC));
            const std::vector<int> numbers(count, event.get());
            ASSERT_TRUE(pair->first.Send(SomeBytes(3), numbers).ok());
            testing_support::FailSystemCallWhere(SYS_recvmsg, 2, MSG_DONTWAIT | MSG_CMSG_CLOEXEC,
                                                 error);
            std::array<std::byte, 100> into;
            const auto got = pair->second.ReceiveWithDescriptors(absl::MakeSpan(into), 8, Soon());
            EXPECT_EQ(got.status().code(), absl::StatusCode::kResourceExhausted) << got.status();
          }),
          "ok")
          << error << " " << count;
    }
  }
}

// It may be moved over another one: what it is goes along, and the old connection ends.
TEST(PeerSocketTest, AMovedOneIsWhatItWas) {
  using Origin = PeerSocket::Origin;
  for (const Origin origin :
       {Origin::kGiven, Origin::kInherited, Origin::kAccepted, Origin::kConnected}) {
    auto pair = PeerSocket::Pair();
    auto other = PeerSocket::Pair();
    EXPECT_EQ(pair->first.origin(), Origin::kGiven);
    EXPECT_EQ(pair->second.origin(), Origin::kGiven);
    auto adopted = PeerSocket::Adopt(std::move(pair->second).Release(), origin);
    ASSERT_TRUE(adopted.ok());
    EXPECT_EQ(adopted->origin(), origin);
    const int fd = adopted->fd();
    other->first = *std::move(adopted);
    EXPECT_EQ(other->first.origin(), origin);
    EXPECT_EQ(other->first.fd(), fd);
    std::array<std::byte, 100> into;
    EXPECT_EQ(other->second.Receive(absl::MakeSpan(into), Soon()).status().code(),
              absl::StatusCode::kUnavailable);
    ASSERT_TRUE(pair->first.Send(SomeBytes(4)).ok());
    EXPECT_EQ(*other->first.Receive(absl::MakeSpan(into), Soon()), 4u);
    // To itself, by a road that no compiler sees through: nothing happens.
    PeerSocket* const same = &other->first;
    other->first = std::move(*same);
    EXPECT_EQ(other->first.fd(), fd);
    EXPECT_TRUE(pair->first.Send(SomeBytes(4)).ok());
  }
}

// A pair that nobody has used yet is closed in place: nothing of anybody's can be in it.
TEST(PeerSocketTest, AnUnusedPairNeedsNoHelperToBeClosed) {
  if (!KernelRefusesRights()) GTEST_SKIP() << "the other end needs one here";
  EXPECT_EQ(RunInChild([] {
              FailSystemCall(SYS_clone, EAGAIN);
              const int before = OpenDescriptors();
              {
                const auto pair = PeerSocket::Pair();
              }
              {
                auto pair = PeerSocket::Pair();
                auto other = PeerSocket::Pair();
                pair->first = std::move(other->second);
                pair->second = std::move(other->first);
              }
              EXPECT_EQ(TendDisposal().parked, 0u);
              EXPECT_EQ(OpenDescriptors(), before);
            }),
            "ok");
}

// Each hangs for a minute where it is closed in this thread, and RunInChild waits for ten seconds.
TEST(PeerSocketTest, AttackF12AMoveReleasesNothingInThisThread) {
  enum { kOverAnUnusedOne, kGuardOverAGuard, kGuardsEnd, kLast };
  for (int way = kOverAnUnusedOne; way < kLast; ++way) {
    EXPECT_EQ(RunInChild([&] {
                UniqueFd slow = LingeringSocket(absl::Seconds(60));
                auto pair = PeerSocket::Pair();
                const int one = slow.get();
                if (way == kOverAnUnusedOne) {
                  PeerSocket attacker = std::move(pair->first);
                  auto victim = PeerSocket::Adopt(std::move(pair->second).Release());
                  ASSERT_TRUE(victim.ok() && attacker.Send(SomeBytes(3), {&one, 1}).ok());
                  slow.Reset();
                  auto unused = PeerSocket::Pair();
                  unused->second = *std::move(victim);
                  return;
                }
                std::vector<UniqueFd> last;
                last.push_back(std::move(slow));
                DescriptorGuard guard(std::move(last));
                EXPECT_EQ(guard.size(), 1u);
                if (way == kGuardOverAGuard) {
                  std::vector<UniqueFd> two;
                  two.emplace_back(::dup(0));
                  two.emplace_back(::dup(0));
                  guard = DescriptorGuard(std::move(two));
                  EXPECT_EQ(guard.size(), 2u);
                  DescriptorGuard* const same = &guard;
                  guard = std::move(*same);
                  EXPECT_EQ(guard.size(), 2u);
                }
              }),
              "ok")
        << way;
  }
}

TEST(PeerSocketTest, WhatIsNoConnectedSeqpacketSocketIsNamed) {
  const auto expect = [](UniqueFd fd, const char* sentence) {
    const absl::Status status = PeerSocket::Adopt(std::move(fd)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_TRUE(Says(status, sentence)) << status << ", and not " << sentence;
  };
  expect(UniqueFd(::eventfd(0, 0)), "not a socket");
  expect(UniqueFd(::socket(AF_INET, SOCK_STREAM, 0)), "not an AF_UNIX socket");
  expect(UniqueFd(::socket(AF_UNIX, SOCK_STREAM, 0)), "not a SOCK_SEQPACKET socket");
  expect(UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET, 0)), "not connected");
  UniqueFd listening(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;  // the kernel chooses the rest
  // SAFETY: the sockets API takes every address family through this type.
  ASSERT_EQ(::bind(listening.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(sa_family_t)),
            0);
  ASSERT_EQ(::listen(listening.get(), 1), 0);
  expect(std::move(listening), "a listening socket");
}

TEST(PeerSocketTest, AdoptMakesItCloseOnExec) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
  const UniqueFd other(fds[1]);
  const auto adopted = PeerSocket::Adopt(UniqueFd(fds[0]));
  ASSERT_TRUE(adopted.ok());
  EXPECT_NE(::fcntl(adopted->fd(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(PeerSocketTest, AnInheritedNumberIsReadWholeAndMayBeZero) {
  for (const char* bad : {"", "x", "3x", " 3", "-1", "99999999999999999999"}) {
    ::setenv("PARLEY_SOCKET", bad, 1);
    EXPECT_TRUE(Says(PeerSocket::Inherited().status(), "holds no descriptor number")) << bad;
  }
  ::unsetenv("PARLEY_SOCKET");
  EXPECT_EQ(RunInChild([] {
              auto pair = PeerSocket::Pair();
              ASSERT_EQ(::dup2(pair->first.fd(), 0), 0);
              ::setenv("OTHER_NAME", "0", 1);
              const auto inherited = PeerSocket::Inherited("OTHER_NAME");
              ASSERT_TRUE(inherited.ok()) << inherited.status();
              std::array<std::byte, 100> into;
              ASSERT_TRUE(inherited->Send(SomeBytes(5)).ok());
              EXPECT_EQ(*pair->second.Receive(absl::MakeSpan(into), Soon()), 5u);
              EXPECT_EQ(inherited->origin(), PeerSocket::Origin::kInherited);
              EXPECT_EQ(::getenv("OTHER_NAME"), nullptr);
            }),
            "ok");
}

TEST(PeerSocketTest, TheAcceptingEndOfAPairRefusesDescriptorsFromTheStart) {
  if (!KernelRefusesRights()) GTEST_SKIP() << "this kernel has no SO_PASSRIGHTS";
  auto pair = PeerSocket::Pair();
  const int fd = STDOUT_FILENO;
  EXPECT_TRUE(RefusesRights(pair->first.fd()));
  EXPECT_FALSE(RefusesRights(pair->second.fd()));
  EXPECT_FALSE(pair->second.Send(SomeBytes(3), absl::MakeConstSpan(&fd, 1)).ok());
  // It stays so, whatever plain messages are queued.
  ASSERT_TRUE(pair->second.Send(SomeBytes(3)).ok());
  EXPECT_TRUE(pair->first.RefuseDescriptors());
  EXPECT_TRUE(RefusesRights(pair->first.fd()));
  // The other end refuses once its queue is empty, and takes them again when it is told to.
  ASSERT_TRUE(pair->first.Send(SomeBytes(3)).ok());
  EXPECT_FALSE(pair->second.RefuseDescriptors());
  EXPECT_FALSE(RefusesRights(pair->second.fd()));
  std::array<std::byte, 100> into;
  EXPECT_TRUE(pair->second.Receive(absl::MakeSpan(into), Soon()).ok());
  EXPECT_TRUE(pair->second.RefuseDescriptors());
  EXPECT_TRUE(RefusesRights(pair->second.fd()));
  pair->second.AllowDescriptors();
  EXPECT_TRUE(pair->first.Send(SomeBytes(3), absl::MakeConstSpan(&fd, 1)).ok());
}

TEST(PeerSocketTest, AKernelThatCannotRefuseDescriptorsIsNotBelievedTo) {
  EXPECT_EQ(RunInChild([] {
              auto pair = PeerSocket::Pair();
              FailSystemCall(SYS_setsockopt, ENOPROTOOPT);
              EXPECT_FALSE(pair->second.RefuseDescriptors());
            }),
            "ok");
}

// "Off" is taken at its word. Where it is wrong, a caller's own doing, nothing is installed.
TEST(PeerSocketTest, DescriptorsInAQueueThatIsSaidToHaveNoneAreAnError) {
  if (!KernelRefusesRights()) GTEST_SKIP() << "this kernel has no SO_PASSRIGHTS";
  auto pair = PeerSocket::Pair();
  const int fd = STDOUT_FILENO;
  ASSERT_TRUE(pair->first.Send(SomeBytes(3), absl::MakeConstSpan(&fd, 1)).ok());
  ASSERT_TRUE(RefuseRights(pair->second.fd()));
  const int before = OpenDescriptors();
  std::array<std::byte, 100> into;
  const auto got = pair->second.TryReceive(absl::MakeSpan(into));
  EXPECT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument) << got.status();
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST(PeerSocketTest, HangUpEndsBothWaysAfterWhatWasSaid) {
  auto pair = PeerSocket::Pair();
  ASSERT_TRUE(pair->first.Send(SomeBytes(3)).ok());
  pair->first.HangUp();
  std::array<std::byte, 100> into;
  EXPECT_EQ(*pair->second.Receive(absl::MakeSpan(into), Soon()), 3u);
  EXPECT_EQ(pair->second.Receive(absl::MakeSpan(into), Soon()).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(pair->second.Send(SomeBytes(3)).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(PeerSocket::WithDescriptors().size_bytes, 0u);
}

}  // namespace
}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include "parley/os/connected_socket.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/os/deadline.h"
#include "parley/os/disposal.h"
#include "parley/os/unique_fd.h"
#include "parley/testing/slow_files.h"

namespace parley {
namespace {

using testing_support::FailSystemCall;
using testing_support::LingeringSocket;
using testing_support::RunInChild;
using testing_support::SendWithDescriptor;

struct Pair {
  UniqueFd attacker;
  UniqueFd victim;
  Pair() {
    int fds[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    attacker.Reset(fds[0]);
    victim.Reset(fds[1]);
  }
};

template <typename Body>
absl::Duration TimeOf(const Body& body) {
  const absl::Time before = absl::Now();
  body();
  return absl::Now() - before;
}

TEST(ConnectedSocketTest, OffMeansThatTheKernelRefusesTheSender) {
  Pair pair;
  EXPECT_FALSE(RefusesRights(pair.victim.get()));
  if (!RefuseRights(pair.victim.get())) GTEST_SKIP() << "this kernel has no SO_PASSRIGHTS";
  EXPECT_TRUE(RefusesRights(pair.victim.get()));
  EXPECT_FALSE(SendWithDescriptor(pair.attacker.get(), STDOUT_FILENO));
  EXPECT_EQ(PeekNext(pair.victim.get()), NextMessage::kNone);
  EXPECT_TRUE(AllowRights(pair.victim.get()));
  EXPECT_FALSE(RefusesRights(pair.victim.get()));
}

TEST(ConnectedSocketTest, AttackF12APeekTellsOfDescriptorsAndReleasesNone) {
  Pair pair;
  EXPECT_EQ(PeekNext(pair.victim.get()), NextMessage::kNone);
  ASSERT_EQ(::send(pair.attacker.get(), "x", 1, 0), 1);
  EXPECT_EQ(PeekNext(pair.victim.get()), NextMessage::kPlain);
  char byte = 0;
  ASSERT_EQ(::recv(pair.victim.get(), &byte, 1, 0), 1);
  ASSERT_TRUE(SendWithDescriptor(pair.attacker.get(), LingeringSocket(absl::Seconds(3)).get()));
  EXPECT_LE(TimeOf([&] {
              for (int i = 0; i < 3; ++i) {
                EXPECT_EQ(PeekNext(pair.victim.get()), NextMessage::kWithDescriptors);
              }
            }),
            absl::Milliseconds(500));
  // The control: what a receive without a look would have cost.
  EXPECT_GE(TimeOf([&] { EXPECT_EQ(::recv(pair.victim.get(), &byte, 1, 0), 1); }),
            absl::Milliseconds(2900));
  ASSERT_EQ(::send(pair.attacker.get(), "", 0, 0), 0);
  EXPECT_EQ(PeekNext(pair.victim.get()), NextMessage::kEnd);
}

// And not nothing as yet, for which a caller would wait.
TEST(ConnectedSocketTest, APeekAtWhatIsNoConnectionIsTheEnd) {
  const UniqueFd alone(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd reading(ends[0]);
  const UniqueFd writing(ends[1]);
  for (const int fd : {-1, alone.get(), reading.get()}) {
    EXPECT_EQ(PeekNext(fd), NextMessage::kEnd) << fd;
  }
  Pair pair;
  EXPECT_EQ(PeekNext(pair.victim.get()), NextMessage::kNone);
  pair.attacker.Reset();
  EXPECT_EQ(PeekNext(pair.victim.get()), NextMessage::kEnd);
}

TEST(ConnectedSocketTest, AttackF12ClosingReleasesNothingOfThePeersHere) {
  for (const bool by_move : {false, true}) {
    Pair pair;
    ASSERT_TRUE(SendWithDescriptor(pair.attacker.get(), LingeringSocket(absl::Seconds(3)).get()));
    ConnectedSocket socket(std::move(pair.victim));
    EXPECT_LE(TimeOf([&] {
                if (by_move) {
                  socket = ConnectedSocket();
                } else {
                  const ConnectedSocket ends = std::move(socket);
                }
              }),
              absl::Milliseconds(500));
  }
}

TEST(ConnectedSocketTest, OneThatRefusesIsClosedInPlace) {
  Pair pair;
  if (!RefuseRights(pair.victim.get())) GTEST_SKIP() << "this kernel has no SO_PASSRIGHTS";
  EXPECT_EQ(RunInChild([&] {
              FailSystemCall(SYS_clone, EAGAIN);
              ConnectedSocket(std::move(pair.victim)).Reset();
              EXPECT_EQ(TendDisposal().parked, 0u);
            }),
            "ok");
}

// What a peer is told last reaches it, although it said something that was not read any more.
TEST(ConnectedSocketTest, AfterStopReceivingTheLastWordIsNotHiddenByAReset) {
  for (const bool stops : {true, false}) {
    Pair pair;
    for (int i = 0; i < 5; ++i) ASSERT_EQ(::send(pair.attacker.get(), "hello", 5, 0), 5);
    ASSERT_EQ(::send(pair.victim.get(), "refused", 7, 0), 7);
    if (stops) StopReceiving(pair.victim.get());
    EXPECT_EQ(::send(pair.attacker.get(), "x", 1, MSG_NOSIGNAL), stops ? -1 : 1);
    pair.victim.Reset();
    char bytes[16];
    const ssize_t got = ::recv(pair.attacker.get(), bytes, sizeof(bytes), 0);
    EXPECT_EQ(got, stops ? 7 : -1);
    if (!stops) {
      EXPECT_EQ(errno, ECONNRESET);
      // The reset is told once: our own connecting side reads on.
      EXPECT_EQ(PeekNext(pair.attacker.get()), NextMessage::kPlain);
      EXPECT_EQ(::recv(pair.attacker.get(), bytes, sizeof(bytes), 0), 7);
    }
  }
}

TEST(ConnectedSocketTest, AttackF12StopReceivingReleasesNothing) {
  Pair pair;
  ASSERT_EQ(::send(pair.attacker.get(), "x", 1, 0), 1);
  ASSERT_TRUE(SendWithDescriptor(pair.attacker.get(), LingeringSocket(absl::Seconds(3)).get()));
  EXPECT_LE(TimeOf([&] {
              StopReceiving(pair.victim.get());
              ConnectedSocket(std::move(pair.victim)).Reset();
            }),
            absl::Milliseconds(500));
}

// A peer that never stops sending empty messages is not waited for.
TEST(ConnectedSocketTest, PromiseP3WorkStopReceivingIsBounded) {
  Pair pair;
  while (::send(pair.attacker.get(), "", 0, MSG_DONTWAIT) == 0) {
  }
  EXPECT_LE(TimeOf([&] { StopReceiving(pair.victim.get()); }), absl::Milliseconds(500));
}

}  // namespace
}  // namespace parley

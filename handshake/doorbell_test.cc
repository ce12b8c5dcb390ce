#include "parley/handshake/doorbell.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <utility>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/handshake/peer_socket.h"
#include "parley/os/deadline.h"

namespace parley {
namespace {

struct Pair {
  Doorbell a;
  Doorbell b;
};

Pair SocketPair() {
  auto sockets = PeerSocket::Pair();
  return {Doorbell::OfSocket(std::move(sockets->first).Release()),
          Doorbell::OfSocket(std::move(sockets->second).Release())};
}

Pair EventfdPair() {
  UniqueFd x = *CreateEventfd();
  UniqueFd y = *CreateEventfd();
  UniqueFd x2(::dup(x.get()));
  UniqueFd y2(::dup(y.get()));
  return {Doorbell::OfEventfds(std::move(x), std::move(y)),
          Doorbell::OfEventfds(std::move(y2), std::move(x2))};
}

TEST(DoorbellTest, BothKindsRingAndDrainInBothDirections) {
  for (const bool socket : {true, false}) {
    Pair pair = socket ? SocketPair() : EventfdPair();
    EXPECT_EQ(pair.a.Drain(), Doorbell::Drained::kQuiet);
    pair.a.Ring();
    EXPECT_EQ(pair.b.Drain(), Doorbell::Drained::kRung);
    EXPECT_EQ(pair.b.Drain(), Doorbell::Drained::kQuiet);
    pair.b.Ring();
    EXPECT_EQ(pair.a.Drain(), Doorbell::Drained::kRung);
  }
}

TEST(DoorbellTest, ASocketTellsThatThePeerIsGone) {
  Pair pair = SocketPair();
  pair.b = Doorbell();
  EXPECT_EQ(pair.a.Drain(), Doorbell::Drained::kPeerGone);
  pair.a.Ring();  // and raises no signal
}

TEST(DoorbellTest, RubbishOnTheSocketIsUnexpected) {
  auto sockets = PeerSocket::Pair();
  Doorbell bell = Doorbell::OfSocket(std::move(sockets->first).Release());
  ASSERT_EQ(::send(sockets->second.fd(), "xyz", 3, 0), 3);
  EXPECT_EQ(bell.Drain(), Doorbell::Drained::kUnexpected);
  ASSERT_EQ(::send(sockets->second.fd(), "x", 1, 0), 1);
  EXPECT_EQ(bell.Drain(), Doorbell::Drained::kUnexpected);
}

TEST(DoorbellTest, PromiseP3WorkAFullQueueIsDrainedInBoundedSteps) {
  auto sockets = PeerSocket::Pair();
  Doorbell bell = Doorbell::OfSocket(std::move(sockets->first).Release());
  int sent = 0;
  while (::send(sockets->second.fd(), "\1", 1, MSG_DONTWAIT) == 1) ++sent;
  ASSERT_GT(sent, 100);
  EXPECT_EQ(bell.Drain(), Doorbell::Drained::kRung);
  int left = 0;
  char byte;
  while (::recv(bell.wait_fd(), &byte, 1, MSG_DONTWAIT) == 1) ++left;
  EXPECT_EQ(sent - left, 8);
}

// Runs `victim` in a child; true if it ended within a second, false if it had to be killed.
template <typename Victim>
bool EndsInTime(Victim victim) {
  const pid_t child = ::fork();
  if (child == 0) {
    victim();
    ::_exit(0);
  }
  const Deadline deadline = Deadline::After(absl::Seconds(1));
  while (!deadline.Expired()) {
    if (::waitpid(child, nullptr, WNOHANG) == child) return true;
    ::usleep(1000);
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return false;
}

// The flaw that the eventfd has when its flags are shared with an enemy, and the socket has not.
TEST(DoorbellTest, AttackW1ANaiveEventfdIsWedgedTheSocketIsNot) {
  UniqueFd shared(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  // The peer: clears the flag on the shared description and saturates the counter.
  ASSERT_EQ(::fcntl(shared.get(), F_SETFL, 0), 0);
  const uint64_t most = UINT64_MAX - 1;
  ASSERT_EQ(::write(shared.get(), &most, sizeof(most)), 8);
  EXPECT_FALSE(EndsInTime([&] {
    const uint64_t one = 1;
    static_cast<void>(!::write(shared.get(), &one, sizeof(one)));
  })) << "this kernel's eventfd no longer blocks: revisit the doorbell table";

  Pair pair = SocketPair();
  // The peer: clears O_NONBLOCK on its end, never reads, and has us ring more than the queue holds.
  ASSERT_EQ(::fcntl(pair.b.wait_fd(), F_SETFL, 0), 0);
  EXPECT_TRUE(EndsInTime([&] {
    for (int i = 0; i < 10'000; ++i) pair.a.Ring();
  }));
}

TEST(DoorbellTest, AttackW2ADrainedEventfdWithoutNonblockDoesNotBlockOurRead) {
  Pair pair = EventfdPair();
  ASSERT_EQ(::fcntl(pair.a.wait_fd(), F_SETFL, 0), 0);
  EXPECT_TRUE(EndsInTime([&] { static_cast<void>(pair.a.Drain()); }));
}

TEST(DoorbellTest, AttackF7F8OnlyPlainEventfdsAreAccepted) {
  EXPECT_TRUE(VerifyEventfd(CreateEventfd()->get()).ok());
  UniqueFd semaphore(::eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC));
  EXPECT_FALSE(VerifyEventfd(semaphore.get()).ok());
  UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  EXPECT_FALSE(VerifyEventfd(timer.get()).ok());
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  UniqueFd read_end(pipe_ends[0]);
  UniqueFd write_end(pipe_ends[1]);
  EXPECT_FALSE(VerifyEventfd(read_end.get()).ok());
}

}  // namespace
}  // namespace parley

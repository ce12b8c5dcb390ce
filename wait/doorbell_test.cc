#include "parley/wait/doorbell.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/ring/layout.h"

namespace parley {
namespace {

struct Pair {
  Doorbell a;
  Doorbell b;
};

std::array<UniqueFd, 2> Sockets() {
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Pair SocketPair() {
  auto sockets = Sockets();
  return {Doorbell::OfSocket(std::move(sockets[0])), Doorbell::OfSocket(std::move(sockets[1]))};
}

Pair EventfdPair() {
  UniqueFd x = *CreateEventfd();
  UniqueFd y = *CreateEventfd();
  UniqueFd x2(::dup(x.get()));
  UniqueFd y2(::dup(y.get()));
  return {Doorbell::OfEventfds(std::move(x), std::move(y)),
          Doorbell::OfEventfds(std::move(y2), std::move(x2))};
}

TEST(DoorbellTest, BothKindsSignalAndDrainInBothDirections) {
  for (const bool socket : {true, false}) {
    Pair pair = socket ? SocketPair() : EventfdPair();
    EXPECT_EQ(pair.a.Drain(), Doorbell::Drained::kQuiet);
    pair.a.Signal();
    EXPECT_EQ(pair.b.Drain(), Doorbell::Drained::kSignalled);
    EXPECT_EQ(pair.b.Drain(), Doorbell::Drained::kQuiet);
    pair.b.Signal();
    EXPECT_EQ(pair.a.Drain(), Doorbell::Drained::kSignalled);
  }
}

// Two control pages; each side writes one of them.
struct Pages {
  std::byte* page_a = nullptr;
  std::byte* page_b = nullptr;
  Pages() {
    for (std::byte** page : {&page_a, &page_b}) {
      void* made =
          ::mmap(nullptr, kControlBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
      EXPECT_NE(made, MAP_FAILED);
      *page = static_cast<std::byte*>(made);
    }
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages() {
    ::munmap(page_a, kControlBytes);
    ::munmap(page_b, kControlBytes);
  }
  // Of the ring on which a sends.
  Pair Doorbells() const {
    return {Doorbell::OfSendersFutex(OwnMemory(page_a, kControlBytes),
                                     PeerMemory(page_b, kControlBytes)),
            Doorbell::OfReceiversFutex(OwnMemory(page_b, kControlBytes),
                                       PeerMemory(page_a, kControlBytes))};
  }
};

TEST(DoorbellTest, AFutexWakesTheSleeperAndLosesNoSignal) {
  const Pages pages;
  Pair pair = pages.Doorbells();
  EXPECT_TRUE(pair.a.is_futex() && !pair.a.is_socket() && !pair.a.is_eventfd());
  EXPECT_EQ(pair.a.wait_fd(), -1);
  EXPECT_EQ(pair.a.signal_fd(), -1);
  EXPECT_EQ(pair.a.Drain(), Doorbell::Drained::kQuiet);
  for (auto& [ringer, sleeper] : {std::pair(&pair.a, &pair.b), std::pair(&pair.b, &pair.a)}) {
    const uint32_t heard = sleeper->SignalsSeen();
    EXPECT_FALSE(sleeper->Sleep(heard, Deadline::After(absl::Milliseconds(20))));
    ringer->Signal();
    EXPECT_NE(sleeper->SignalsSeen(), heard);
    // Not after its deadline either: a ring is never overlooked.
    EXPECT_TRUE(sleeper->Sleep(heard, Deadline::AtMonotonicNs(0)));
    EXPECT_FALSE(sleeper->Sleep(sleeper->SignalsSeen(), Deadline::AtMonotonicNs(0)));

    const uint32_t now = sleeper->SignalsSeen();
    std::thread ring([&, doorbell = ringer] {
      ::usleep(50'000);
      doorbell->Signal();
    });
    EXPECT_TRUE(sleeper->Sleep(now, Deadline::After(absl::Seconds(20))));
    ring.join();
  }
}

// Each counts in words of its own: two rings of one channel do not wake each other's sleepers.
TEST(DoorbellTest, FutexesOfTwoRingsAreFourWords) {
  const Pages pages;
  Pair there = pages.Doorbells();
  Pair back = {Doorbell::OfReceiversFutex(OwnMemory(pages.page_a, kControlBytes),
                                          PeerMemory(pages.page_b, kControlBytes)),
               Doorbell::OfSendersFutex(OwnMemory(pages.page_b, kControlBytes),
                                        PeerMemory(pages.page_a, kControlBytes))};
  Doorbell* const doorbells[] = {&there.a, &there.b, &back.a, &back.b};
  Doorbell* const partners[] = {&there.b, &there.a, &back.b, &back.a};
  for (std::size_t i = 0; i < 4; ++i) {
    std::array<uint32_t, 4> before = {};
    for (std::size_t j = 0; j < 4; ++j) before[j] = doorbells[j]->SignalsSeen();
    doorbells[i]->Signal();
    for (std::size_t j = 0; j < 4; ++j) {
      EXPECT_EQ(doorbells[j]->SignalsSeen() != before[j], doorbells[j] == partners[i]) << i << j;
    }
  }
}

// Our word is written and never read back: what the peer makes of it (it may have kept a writable
// mapping) changes nothing about our count.
TEST(DoorbellTest, AttackW5TheCountIsPrivateAndNotReadBack) {
  const Pages pages;
  Pair pair = pages.Doorbells();
  pair.a.Signal();
  OwnMemory(pages.page_a, kControlBytes).StoreRelease64(kDataSignalsOffset, 4711);
  pair.a.Signal();
  EXPECT_EQ(pair.b.SignalsSeen(), 2u);
}

// Each value of the word, and a deadline that has passed: no call waits, none fails.
TEST(DoorbellTest, AttackW5AFlippedWordIsOnlyAWakeUp) {
  const Pages pages;
  Pair pair = pages.Doorbells();
  OwnMemory word(pages.page_a, kControlBytes);
  for (const uint64_t value : {~uint64_t{0}, uint64_t{1} << 32, uint64_t{0x8000'0000}, uint64_t{0},
                               (uint64_t{7} << 32) | 0xffff'ffff}) {
    const uint32_t heard = pair.b.SignalsSeen();
    word.StoreRelease64(kDataSignalsOffset, value);
    EXPECT_EQ(pair.b.Sleep(heard, Deadline::AtMonotonicNs(0)),
              static_cast<uint32_t>(value) != heard);
    EXPECT_EQ(pair.b.Drain(), Doorbell::Drained::kQuiet);
  }
}

TEST(DoorbellTest, ASocketTellsThatThePeerIsGone) {
  Pair pair = SocketPair();
  pair.b = Doorbell();
  EXPECT_EQ(pair.a.Drain(), Doorbell::Drained::kPeerGone);
  pair.a.Signal();  // and raises no signal
}

TEST(DoorbellTest, RubbishOnTheSocketIsUnexpected) {
  auto sockets = Sockets();
  Doorbell doorbell = Doorbell::OfSocket(std::move(sockets[0]));
  ASSERT_EQ(::send(sockets[1].get(), "xyz", 3, 0), 3);
  EXPECT_EQ(doorbell.Drain(), Doorbell::Drained::kUnexpected);
  ASSERT_EQ(::send(sockets[1].get(), "x", 1, 0), 1);
  EXPECT_EQ(doorbell.Drain(), Doorbell::Drained::kUnexpected);
}

TEST(DoorbellTest, PromiseP3WorkAFullQueueIsDrainedInBoundedSteps) {
  auto sockets = Sockets();
  Doorbell doorbell = Doorbell::OfSocket(std::move(sockets[0]));
  int sent = 0;
  while (::send(sockets[1].get(), "\1", 1, MSG_DONTWAIT) == 1) ++sent;
  ASSERT_GT(sent, 100);
  EXPECT_EQ(doorbell.Drain(), Doorbell::Drained::kSignalled);
  int left = 0;
  char byte;
  while (::recv(doorbell.wait_fd(), &byte, 1, MSG_DONTWAIT) == 1) ++left;
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
    for (int i = 0; i < 10'000; ++i) pair.a.Signal();
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

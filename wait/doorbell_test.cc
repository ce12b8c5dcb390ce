// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/doorbell.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/os/connected_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/testing/filter.h"
#include "parley/testing/slow_files.h"
#include "parley/wait/eventfd.h"
#include "parley/wait/eventfd_doorbell.h"
#include "parley/wait/futex.h"
#include "parley/wait/futex_doorbell.h"
#include "parley/wait/layout.h"
#include "parley/wait/local_wake.h"
#include "parley/wait/socket_doorbell.h"

namespace parley {
namespace {

using internal::LocalWake;
constexpr std::size_t kPageBytes = 4096;

struct Pair {
  std::unique_ptr<Doorbell> a;
  std::unique_ptr<Doorbell> b;
};

std::array<UniqueFd, 2> Sockets() {
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// Of one connection: `a` sends, `b` receives.
struct SocketPair : Pair {
  std::array<UniqueFd, 2> sockets = Sockets();
  SocketPair() {
    a = std::move(MakeSocketDoorbells(sockets[0].get(), true, false)->send);
    b = std::move(MakeSocketDoorbells(sockets[1].get(), false, true)->receive);
  }
};

// The four ends of a channel with both rings: the first side's and the second side's.
struct Duplex {
  std::array<UniqueFd, 2> sockets = Sockets();
  SocketDoorbells one = *MakeSocketDoorbells(sockets[0].get(), true, true);
  SocketDoorbells two = *MakeSocketDoorbells(sockets[1].get(), true, true);
};

Pair EventfdPair() {
  UniqueFd x = *CreateEventfd();
  UniqueFd y = *CreateEventfd();
  UniqueFd x2(::dup(x.get()));
  UniqueFd y2(::dup(y.get()));
  return {MakeEventfdDoorbell(std::move(x), std::move(y)),
          MakeEventfdDoorbell(std::move(y2), std::move(x2))};
}

void ExpectBothWays(const Pair& pair) {
  EXPECT_EQ(pair.a->Drain(), Doorbell::Drained::kQuiet);
  pair.a->Signal();
  EXPECT_EQ(pair.b->Drain(), Doorbell::Drained::kSignalled);
  EXPECT_EQ(pair.b->Drain(), Doorbell::Drained::kQuiet);
  pair.b->Signal();
  EXPECT_EQ(pair.a->Drain(), Doorbell::Drained::kSignalled);
}

// 0 as well, in a process without a standard input.
TEST(LocalWakeTest, EachNumberIsADescriptor) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    const UniqueFd any(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (::dup2(any.get(), 0) != 0) ::_exit(1);
    internal::LocalWake wake(0);
    const auto readable = [] {
      pollfd entry = {0, POLLIN, 0};
      return ::poll(&entry, 1, 0) == 1;
    };
    wake.BeginPolledSleep();
    if (readable()) ::_exit(2);
    wake.Post(internal::LocalWake::kInterrupt);
    if (!readable()) ::_exit(3);
    wake.TakeForeignCount();
    if (readable()) ::_exit(4);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  internal::LocalWake none(-1);
  EXPECT_TRUE(none.Post(internal::LocalWake::kInterrupt));
  none.TakeForeignCount();
}

TEST(DoorbellTest, BothKindsSignalAndDrainInBothDirections) {
  ExpectBothWays(SocketPair());
  ExpectBothWays(EventfdPair());
}

// Each drain hands over what is for the other end; a sleeper of that end wakes up.
TEST(DoorbellTest, TheTwoEndsOfOneConnectionHandSignalsOver) {
  Duplex channel;
  channel.one.receive->Signal();  // free space, for the other side's sender
  EXPECT_EQ(channel.two.receive->Drain(), Doorbell::Drained::kQuiet);
  EXPECT_TRUE(channel.two.send->Sleep(Deadline::AtMonotonicNs(0)));
  EXPECT_EQ(channel.two.send->Drain(), Doorbell::Drained::kSignalled);
  EXPECT_EQ(channel.two.send->Drain(), Doorbell::Drained::kQuiet);
  EXPECT_FALSE(channel.two.send->Sleep(Deadline::AtMonotonicNs(0)));

  // Both sleep; whoever drains it, the one that it is for comes back with it.
  for (int i = 0; i < 200; ++i) {
    std::thread sleeper([&] {
      while (channel.two.send->Drain() != Doorbell::Drained::kSignalled) {
        ASSERT_TRUE(channel.two.send->Sleep(Deadline::After(absl::Seconds(20))));
      }
    });
    std::atomic<bool> done{false};
    std::thread other([&] {
      while (!done.load()) {
        static_cast<void>(channel.two.receive->Sleep(Deadline::After(absl::Milliseconds(50))));
        static_cast<void>(channel.two.receive->Drain());
      }
    });
    channel.one.receive->Signal();
    sleeper.join();
    done.store(true);
    channel.two.receive->Wake(LocalWake::kCheck);
    other.join();
    static_cast<void>(channel.two.receive->wake().Take(LocalWake::kCheck));
  }
}

// A queue full of signals for the one end drops one for the other, which learns of it all the same.
TEST(DoorbellTest, AttackW10ASignalThatFoundAFullQueueIsNotLost) {
  Duplex channel;
  for (int i = 0; i < 1000; ++i) channel.one.send->Signal();  // data: the queue is full
  channel.one.receive->Signal();                              // free space: dropped
  EXPECT_EQ(channel.two.receive->Drain(), Doorbell::Drained::kSignalled);
  EXPECT_EQ(channel.two.send->Drain(), Doorbell::Drained::kSignalled);
}

// Signals for an end that does not take them wake the other one: that is noticed, and counted.
TEST(DoorbellTest, AttackW10SignalsForTheOtherEndAgainAndAgainAreRedundant) {
  Duplex channel;
  channel.one.receive->Signal();
  EXPECT_EQ(channel.two.receive->Drain(), Doorbell::Drained::kQuiet);
  for (int i = 0; i < 3; ++i) {
    channel.one.receive->Signal();
    EXPECT_EQ(channel.two.receive->Drain(), Doorbell::Drained::kRedundant);
  }
  EXPECT_EQ(channel.two.send->Drain(), Doorbell::Drained::kSignalled);
}

// The connection is what is throttled, not the end: the one that is not throttled was woken by each
// signal for the one that is (villain: drip-in-event-loop, 28,000 a second).
TEST(DoorbellTest, AttackW13TheOtherEndOfAThrottledOneLearnsOfIt) {
  Duplex channel;
  const int64_t now_ns = MonotonicNowNs();
  channel.two.send->Throttle(now_ns + 1'000'000'000);
  channel.one.receive->Signal();
  EXPECT_EQ(channel.two.receive->Drain(), Doorbell::Drained::kThrottled);
  EXPECT_EQ(channel.two.receive->OtherThrottleEnd(now_ns), now_ns + 1'000'000'000);
  // What is for this end is for this end.
  channel.one.receive->Signal();
  channel.one.send->Signal();
  EXPECT_EQ(channel.two.receive->Drain(), Doorbell::Drained::kSignalled);
  channel.two.send->EndThrottle();
  EXPECT_EQ(channel.two.receive->OtherThrottleEnd(now_ns), 0);
  // A throttle that nobody ended has ended all the same.
  channel.two.send->Throttle(now_ns - 1);
  EXPECT_EQ(channel.two.receive->OtherThrottleEnd(now_ns), 0);
  channel.one.receive->Signal();
  EXPECT_EQ(channel.two.receive->Drain(), Doorbell::Drained::kRedundant);
  // The signal was kept for when the throttle is over.
  channel.two.send->EndThrottle();
  EXPECT_EQ(channel.two.send->Drain(), Doorbell::Drained::kSignalled);
}

// The kernel refuses descriptors from 6.16 on, and only where it was asked to: before that, a drain
// would be the last owner of a file whose release takes three seconds.
TEST(DoorbellTest, AttackF12ADrainReleasesNoneOfThePeersFiles) {
  for (const bool through_other : {false, true}) {
    Duplex channel;
    ASSERT_FALSE(RefusesRights(channel.sockets[1].get()));
    channel.one.send->Signal();
    ASSERT_TRUE(testing_support::SendWithDescriptor(
        channel.sockets[0].get(), testing_support::LingeringSocket(absl::Seconds(3)).get()));
    Doorbell& end = through_other ? *channel.two.send : *channel.two.receive;
    const int64_t before_ns = MonotonicNowNs();
    EXPECT_EQ(end.Drain(), Doorbell::Drained::kUnexpected);
    EXPECT_EQ(end.Drain(), Doorbell::Drained::kUnexpected);
    EXPECT_LT(MonotonicNowNs() - before_ns, 1'000'000'000);
    EXPECT_EQ(PeekNext(channel.sockets[1].get()), NextMessage::kWithDescriptors);
    // As the connection's owner closes it.
    ConnectedSocket(std::move(channel.sockets[1])).Reset();
    EXPECT_LT(MonotonicNowNs() - before_ns, 1'000'000'000);
  }
}

// In a child whose filter ends it at a recvmsg: how a signal is drained there.
int DrainWithoutRecvmsg(bool peer_is_supervisor) {
  auto sockets = Sockets();
  auto made = MakeSocketDoorbells(sockets[0].get(), false, true, peer_is_supervisor);
  const pid_t child = ::fork();
  if (child == 0) {
    std::array<sock_filter, 4> code = {
        sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_recvmsg, 0, 1),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog filter = {code.size(), code.data()};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
      ::_exit(2);
    }
    if (::send(sockets[1].get(), "\1", 1, MSG_DONTWAIT) != 1) ::_exit(3);
    ::_exit(made->receive->Drain() == Doorbell::Drained::kSignalled ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// The kernel is one that lets a peer send descriptors, as all are before 6.16.
TEST(DoorbellTest, AWorkerDrainsItsSupervisorsSignalsWithCallsThatItsProfileAllows) {
  EXPECT_EQ(DrainWithoutRecvmsg(/*peer_is_supervisor=*/true), 0);
  EXPECT_EQ(DrainWithoutRecvmsg(/*peer_is_supervisor=*/false), 128 + SIGSYS);
}

// Two threads, one of which saw a plain signal that the other one took: what it receives then is
// not what it saw.
TEST(DoorbellTest, AttackF12TwoThatDrainAtOnceReleaseNoneEither) {
  for (int i = 0; i < 100; ++i) {
    Duplex channel;
    ASSERT_FALSE(RefusesRights(channel.sockets[1].get()));
    std::atomic<int> ready{0};
    const auto drain = [&](Doorbell& end) {
      ready.fetch_add(1);
      while (ready.load() < 2) {
      }
      for (int n = 0; n < 50; ++n) static_cast<void>(end.Drain());
    };
    std::thread one([&] { drain(*channel.two.send); });
    std::thread two([&] { drain(*channel.two.receive); });
    for (int n = 0; n < 3; ++n) channel.one.send->Signal();
    ASSERT_TRUE(testing_support::SendWithDescriptor(channel.sockets[0].get(), STDIN_FILENO));
    one.join();
    two.join();
    for (int n = 0; n < 3; ++n) static_cast<void>(channel.two.send->Drain());
    EXPECT_EQ(PeekNext(channel.sockets[1].get()), NextMessage::kWithDescriptors) << i;
  }
}

TEST(DoorbellTest, AnInterruptEndsASleepOrTheNextOne) {
  Duplex channel;
  SocketPair simplex;
  Pair eventfds = EventfdPair();
  for (Doorbell* const doorbell : {channel.one.send.get(), channel.one.receive.get(),
                                   simplex.a.get(), simplex.b.get(), eventfds.a.get()}) {
    doorbell->Wake(LocalWake::kInterrupt);
    EXPECT_TRUE(doorbell->Sleep(Deadline::After(absl::Seconds(20))));
    EXPECT_TRUE(doorbell->wake().Take(LocalWake::kInterrupt));
    std::thread other([&] {
      ::usleep(20'000);
      doorbell->Wake(LocalWake::kInterrupt);
    });
    EXPECT_TRUE(doorbell->Sleep(Deadline::After(absl::Seconds(20))));
    other.join();
    EXPECT_TRUE(doorbell->wake().Take(LocalWake::kInterrupt));
    static_cast<void>(doorbell->Drain());
    EXPECT_FALSE(doorbell->Sleep(Deadline::AtMonotonicNs(0)));
  }
}

// Two control pages; each side writes one of them.
struct Pages {
  std::byte* page_a = nullptr;
  std::byte* page_b = nullptr;
  Pages() {
    for (std::byte** page : {&page_a, &page_b}) {
      void* made =
          ::mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
      EXPECT_NE(made, MAP_FAILED);
      *page = static_cast<std::byte*>(made);
    }
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages() {
    ::munmap(page_a, kPageBytes);
    ::munmap(page_b, kPageBytes);
  }
  // Of the ring on which a sends.
  Pair Doorbells() const {
    return {
        MakeSendersFutexDoorbell(OwnMemory(page_a, kPageBytes), PeerMemory(page_b, kPageBytes)),
        MakeReceiversFutexDoorbell(OwnMemory(page_b, kPageBytes), PeerMemory(page_a, kPageBytes))};
  }
};

TEST(DoorbellTest, AFutexWakesTheSleeperAndLosesNoSignal) {
  const Pages pages;
  Pair pair = pages.Doorbells();
  EXPECT_EQ(pair.a->kind(), Doorbell::Kind::kFutex);
  EXPECT_EQ(pair.a->descriptor(), -1);
  EXPECT_EQ(pair.a->Drain(), Doorbell::Drained::kQuiet);
  for (auto& [ringer, sleeper] : {std::pair(&pair.a, &pair.b), std::pair(&pair.b, &pair.a)}) {
    Doorbell& sleeps = **sleeper;
    sleeps.Prepare();
    EXPECT_FALSE(sleeps.Sleep(Deadline::After(absl::Milliseconds(10))));
    EXPECT_EQ(sleeps.Drain(), Doorbell::Drained::kQuiet);
    (*ringer)->Signal();
    // Not after its deadline either: a signal is never overlooked.
    EXPECT_TRUE(sleeps.Sleep(Deadline::AtMonotonicNs(0)));
    EXPECT_EQ(sleeps.Drain(), Doorbell::Drained::kSignalled);
    sleeps.Prepare();
    EXPECT_FALSE(sleeps.Sleep(Deadline::AtMonotonicNs(0)));

    std::thread ring([doorbell = ringer->get()] {
      ::usleep(50'000);
      doorbell->Signal();
    });
    const Deadline give_up = Deadline::After(absl::Seconds(20));
    while (!sleeps.Sleep(give_up)) ASSERT_FALSE(give_up.Expired());  // in slices
    ring.join();
  }
}

// Each counts in words of its own: two rings of one channel do not wake each other's sleepers.
TEST(DoorbellTest, FutexesOfTwoRingsAreFourWords) {
  const Pages pages;
  Pair there = pages.Doorbells();
  Pair back = {MakeReceiversFutexDoorbell(OwnMemory(pages.page_a, kPageBytes),
                                          PeerMemory(pages.page_b, kPageBytes)),
               MakeSendersFutexDoorbell(OwnMemory(pages.page_b, kPageBytes),
                                        PeerMemory(pages.page_a, kPageBytes))};
  Doorbell* const doorbells[] = {there.a.get(), there.b.get(), back.a.get(), back.b.get()};
  Doorbell* const partners[] = {there.b.get(), there.a.get(), back.b.get(), back.a.get()};
  for (std::size_t i = 0; i < 4; ++i) {
    for (Doorbell* const doorbell : doorbells) doorbell->Prepare();
    doorbells[i]->Signal();
    for (std::size_t j = 0; j < 4; ++j) {
      EXPECT_EQ(doorbells[j]->Sleep(Deadline::AtMonotonicNs(0)), doorbells[j] == partners[i])
          << i << j;
    }
  }
}

// Our word is written and never read back: what the peer makes of it (it may have kept a writable
// mapping) changes nothing about our count.
TEST(DoorbellTest, AttackW5TheCountIsPrivateAndNotReadBack) {
  const Pages pages;
  Pair pair = pages.Doorbells();
  pair.a->Signal();
  OwnMemory(pages.page_a, kPageBytes).StoreRelease64(kDataSignalsOffset, 4711);
  pair.a->Signal();
  EXPECT_EQ(
      PeerMemory(pages.page_a, kPageBytes).LoadAcquire64(kDataSignalsOffset).AnyValueIsAcceptable(),
      2u);
}

// Each value of the word, and a deadline that has passed: no call waits, none fails.
TEST(DoorbellTest, AttackW5AFlippedWordIsOnlyAWakeUp) {
  const Pages pages;
  Pair pair = pages.Doorbells();
  OwnMemory word(pages.page_a, kPageBytes);
  for (const uint64_t value : {~uint64_t{0}, uint64_t{1} << 32, uint64_t{0x8000'0000}, uint64_t{0},
                               (uint64_t{7} << 32) | 0xffff'ffff}) {
    const auto before = static_cast<uint32_t>(PeerMemory(pages.page_a, kPageBytes)
                                                  .LoadAcquire64(kDataSignalsOffset)
                                                  .AnyValueIsAcceptable());
    pair.b->Prepare();
    word.StoreRelease64(kDataSignalsOffset, value);
    EXPECT_EQ(pair.b->Sleep(Deadline::AtMonotonicNs(0)), static_cast<uint32_t>(value) != before);
  }
}

TEST(DoorbellTest, ASocketTellsThatThePeerIsGone) {
  SocketPair pair;
  pair.sockets[1].Reset();
  EXPECT_EQ(pair.a->Drain(), Doorbell::Drained::kPeerGone);
  pair.a->Signal();  // and raises no signal
}

TEST(DoorbellTest, RubbishOnTheSocketIsUnexpected) {
  SocketPair pair;
  ASSERT_EQ(::send(pair.sockets[1].get(), "xyz", 3, 0), 3);
  EXPECT_EQ(pair.a->Drain(), Doorbell::Drained::kUnexpected);
  // Two is free space, one would be data: there is nobody who receives on this side.
  for (const char byte : {'\0', '\1', '\3', 'x'}) {
    ASSERT_EQ(::send(pair.sockets[1].get(), &byte, 1, 0), 1);
    EXPECT_EQ(pair.a->Drain(), Doorbell::Drained::kUnexpected) << int{byte};
  }
}

TEST(DoorbellTest, PromiseP3WorkAFullQueueIsDrainedInBoundedSteps) {
  auto sockets = Sockets();
  auto made = MakeSocketDoorbells(sockets[0].get(), false, true);
  int sent = 0;
  while (::send(sockets[1].get(), "\1", 1, MSG_DONTWAIT) == 1) ++sent;
  ASSERT_GT(sent, 100);
  EXPECT_EQ(made->receive->Drain(), Doorbell::Drained::kSignalled);
  int left = 0;
  char byte;
  while (::recv(sockets[0].get(), &byte, 1, MSG_DONTWAIT) == 1) ++left;
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

  SocketPair pair;
  // The peer: clears O_NONBLOCK on its end, never reads, and has us signal more than the queue
  // holds.
  ASSERT_EQ(::fcntl(pair.sockets[1].get(), F_SETFL, 0), 0);
  EXPECT_TRUE(EndsInTime([&] {
    for (int i = 0; i < 10'000; ++i) pair.a->Signal();
  }));
}

TEST(DoorbellTest, AttackW2ADrainedEventfdWithoutNonblockDoesNotBlockOurRead) {
  UniqueFd wait = *CreateEventfd();
  const int shared = wait.get();
  auto doorbell = MakeEventfdDoorbell(std::move(wait), *CreateEventfd());
  ASSERT_EQ(::fcntl(shared, F_SETFL, 0), 0);
  EXPECT_TRUE(EndsInTime([&] { static_cast<void>(doorbell->Drain()); }));
}

TEST(DoorbellTest, AttackF7F8OnlyPlainEventfdsAreAccepted) {
  EXPECT_TRUE(VerifyEventfd(CreateEventfd()->get()).ok());
  UniqueFd semaphore(::eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC));
  // Before Linux 6.6 nothing says so.
  std::ifstream file("/proc/self/fdinfo/" + std::to_string(semaphore.get()));
  const std::string info(std::istreambuf_iterator<char>(file), {});
  ASSERT_NE(info.find("eventfd-count:"), std::string::npos);
  EXPECT_EQ(VerifyEventfd(semaphore.get()).ok(),
            info.find("eventfd-semaphore:") == std::string::npos);
  UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  EXPECT_FALSE(VerifyEventfd(timer.get()).ok());
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  UniqueFd read_end(pipe_ends[0]);
  UniqueFd write_end(pipe_ends[1]);
  EXPECT_FALSE(VerifyEventfd(read_end.get()).ok());
}

// --- each kind alike ----------------------------------------------------------------------------

enum class Bell { kSocket, kEventfd };

struct PolledDoorbellTest : ::testing::TestWithParam<Bell> {
  SocketPair sockets;
  Pair eventfds = EventfdPair();
  // Of the same channel; `b` is the end under test.
  Doorbell& a = GetParam() == Bell::kSocket ? *sockets.a : *eventfds.a;
  Doorbell& b = GetParam() == Bell::kSocket ? *sockets.b : *eventfds.b;
  // What only the end of the peer makes readable.
  std::array<UniqueFd, 2> connection = Sockets();
  std::array<UniqueFd, 2> lifeline = Sockets();

  static bool Readable(int fd, int milliseconds = 0) {
    pollfd entry = {fd, POLLIN, 0};
    return ::poll(&entry, 1, milliseconds) == 1;
  }
  std::vector<int> Polled() {
    std::vector<int> polled;
    for (const pollfd& entry : b.polled()) {
      EXPECT_EQ(entry.events, POLLIN);
      polled.push_back(entry.fd);
    }
    return polled;
  }
  // The doorbell itself, then what wakes it from this process where that is another one.
  std::vector<int> Own() {
    std::vector<int> own = {b.polled()[0].fd};
    if (b.wake().fd() != own[0]) own.push_back(b.wake().fd());
    return own;
  }
};

INSTANTIATE_TEST_SUITE_P(Kinds, PolledDoorbellTest,
                         ::testing::Values(Bell::kSocket, Bell::kEventfd), [](const auto& bell) {
                           return bell.param == Bell::kSocket ? "Socket" : "Eventfd";
                         });

TEST_P(PolledDoorbellTest, SaysWhatItIs) {
  const bool socket = GetParam() == Bell::kSocket;
  EXPECT_EQ(b.kind(), socket ? Doorbell::Kind::kSocket : Doorbell::Kind::kEventfd);
  EXPECT_TRUE(b.can_be_polled());
  EXPECT_EQ(b.OtherThrottleEnd(MonotonicNowNs()), 0);
  EXPECT_EQ(b.OtherThrottleEnd(0), 0);
  EXPECT_EQ(Polled().size(), socket ? 2u : 1u);
  EXPECT_EQ(Polled(), Own());
}

TEST_P(PolledDoorbellTest, WhatIsWatchedForTheEndIsPolledToo) {
  const int one = connection[0].get();
  const int two = lifeline[0].get();
  const int doorbell = b.polled()[0].fd;
  struct Row {
    int connection, pidfd;
    std::vector<int> more;
  };
  const Row rows[] = {{one, two, {one, two}}, {-1, two, {two}},       {one, -1, {one}},
                      {-1, -1, {}},           {doorbell, two, {two}}, {doorbell, -1, {}},
                      {one, two, {one, two}}};
  for (const Row& row : rows) {
    b.WatchForEnd(row.connection, row.pidfd);
    std::vector<int> expected = Own();
    expected.insert(expected.end(), row.more.begin(), row.more.end());
    EXPECT_EQ(Polled(), expected);
    EXPECT_LE(b.polled().size(), 4u);
    EXPECT_FALSE(b.PeerHasEnded());
    EXPECT_EQ(b.Drain(), Doorbell::Drained::kQuiet);
  }
}

TEST_P(PolledDoorbellTest, EachOfTheTwoTellsOfTheEnd) {
  for (const bool pidfd : {false, true}) {
    for (const bool slept : {false, true}) {
      std::array<UniqueFd, 2> live = Sockets();
      std::array<UniqueFd, 2> dead = Sockets();
      dead[1].Reset();
      b.WatchForEnd(pidfd ? live[0].get() : dead[0].get(), pidfd ? dead[0].get() : live[0].get());
      if (slept) {
        EXPECT_TRUE(b.Sleep(Deadline::After(absl::Seconds(20))));
      } else {
        EXPECT_TRUE(b.PeerHasEnded());
      }
      EXPECT_EQ(b.Drain(), Doorbell::Drained::kPeerGone);
      // What is watched instead of these has not ended.
      b.WatchForEnd(live[0].get(), -1);
      EXPECT_FALSE(b.PeerHasEnded());
      EXPECT_EQ(b.Drain(), Doorbell::Drained::kQuiet);
    }
  }
}

// A pidfd is readable and has no hang-up.
TEST_P(PolledDoorbellTest, ReadableIsAnEndToo) {
  b.WatchForEnd(-1, lifeline[0].get());
  EXPECT_FALSE(b.PeerHasEnded());
  ASSERT_EQ(::send(lifeline[1].get(), "x", 1, 0), 1);
  EXPECT_TRUE(b.PeerHasEnded());
  EXPECT_EQ(b.Drain(), Doorbell::Drained::kPeerGone);
}

// 0 is a descriptor, in a process without a standard input.
TEST_P(PolledDoorbellTest, DescriptorZeroIsWatched) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::dup2(lifeline[0].get(), 0) != 0) ::_exit(1);
    b.WatchForEnd(0, -1);
    if (b.PeerHasEnded()) ::_exit(2);
    if (::send(lifeline[1].get(), "x", 1, 0) != 1) ::_exit(3);
    if (!b.PeerHasEnded()) ::_exit(4);
    b.WatchForEnd(-1, 0);
    ::_exit(b.PeerHasEnded() ? 0 : 5);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

TEST_P(PolledDoorbellTest, ASleepEndsBySignalOrByDeadline) {
  const Deadline soon = Deadline::After(absl::Milliseconds(10));
  EXPECT_FALSE(b.Sleep(soon));
  EXPECT_TRUE(soon.Expired());
  EXPECT_FALSE(b.Sleep(Deadline::AtMonotonicNs(0)));
  a.Signal();
  EXPECT_TRUE(b.Sleep(Deadline::AtMonotonicNs(0)));
  EXPECT_EQ(b.Drain(), Doorbell::Drained::kSignalled);
  EXPECT_FALSE(b.Sleep(Deadline::AtMonotonicNs(0)));
  EXPECT_EQ(b.Drain(), Doorbell::Drained::kQuiet);
}

// An interrupt is no signal and no end; its descriptor is emptied.
TEST_P(PolledDoorbellTest, AWakeUpFromThisProcessIsNoSignal) {
  b.WatchForEnd(connection[0].get(), lifeline[0].get());
  for (const bool polled : {false, true}) {
    b.wake().BeginPolledSleep();
    b.Wake(LocalWake::kInterrupt);
    EXPECT_TRUE(Readable(b.wake().fd()));
    if (polled) {
      b.EndPolledSleep();
    } else {
      EXPECT_TRUE(b.Sleep(Deadline::After(absl::Seconds(20))));
    }
    EXPECT_EQ(b.Drain(), Doorbell::Drained::kQuiet);
    EXPECT_FALSE(Readable(b.wake().fd()));
    EXPECT_TRUE(b.wake().Take(LocalWake::kInterrupt));
    // And hides none.
    b.wake().BeginPolledSleep();
    b.Wake(LocalWake::kInterrupt);
    a.Signal();
    b.EndPolledSleep();
    EXPECT_EQ(b.Drain(), Doorbell::Drained::kSignalled);
    EXPECT_TRUE(b.wake().Take(LocalWake::kInterrupt));
  }
}

// Whoever is awake is not written to: after each way to sleep.
TEST_P(PolledDoorbellTest, AfterASleepAWakeUpCostsNoWrite) {
  const std::vector<short> nothing(b.polled().size(), 0);
  for (int way = 0; way < 4; ++way) {
    switch (way) {
      case 0:
        EXPECT_FALSE(b.Sleep(Deadline::AtMonotonicNs(0)));
        break;
      case 1:
        b.BeginPolledSleep();
        b.EndPolledSleep();
        break;
      case 2:
        EXPECT_TRUE(b.wake().BeginSleep());
        b.EndPolledSleep(nothing);
        break;
      default:
        break;
    }
    b.Wake(LocalWake::kInterrupt);
    EXPECT_FALSE(Readable(b.wake().fd())) << way;
    EXPECT_TRUE(b.wake().Take(LocalWake::kInterrupt));
  }
}

// A WaitSet polls for it, and hands over what it saw of each.
TEST_P(PolledDoorbellTest, WhatSomebodyElsePolledIsWhatCounts) {
  b.WatchForEnd(connection[0].get(), lifeline[0].get());
  const std::size_t count = b.polled().size();
  for (std::size_t i = 0; i < count; ++i) {
    for (const short seen : {short{POLLIN}, short{POLLHUP}, short{POLLERR}}) {
      std::vector<short> revents(count, 0);
      revents[i] = seen;
      const bool own_wake = i == 1 && b.wake().fd() == b.polled()[1].fd;
      const bool end = i == 0 ? seen != POLLIN : !own_wake;
      b.EndPolledSleep(revents);
      for (std::size_t j = 0; j < count; ++j) EXPECT_EQ(b.polled()[j].revents, revents[j]);
      EXPECT_EQ(b.Drain(), end ? Doorbell::Drained::kPeerGone : Doorbell::Drained::kQuiet)
          << i << " " << seen;
      b.EndPolledSleep(std::vector<short>(count, 0));
      EXPECT_EQ(b.Drain(), Doorbell::Drained::kQuiet);
    }
  }
}

TEST_P(PolledDoorbellTest, OneDescriptorForAnEventLoop) {
  b.WatchForEnd(connection[0].get(), lifeline[0].get());
  const int descriptor = b.descriptor();
  ASSERT_GE(descriptor, 0);
  EXPECT_NE(::fcntl(descriptor, F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(b.descriptor(), descriptor);  // made once
  EXPECT_FALSE(Readable(descriptor));
  a.Signal();
  EXPECT_TRUE(Readable(descriptor));
  EXPECT_EQ(b.Drain(), Doorbell::Drained::kSignalled);
  EXPECT_FALSE(Readable(descriptor));
  b.BeginPolledSleep();
  EXPECT_FALSE(Readable(descriptor));
  b.Wake(LocalWake::kInterrupt);
  EXPECT_TRUE(Readable(descriptor));
  b.EndPolledSleep();
  static_cast<void>(b.Drain());
  EXPECT_FALSE(Readable(descriptor));
  connection[1].Reset();
  EXPECT_TRUE(Readable(descriptor));
}

TEST_P(PolledDoorbellTest, TheDescriptorTellsOfEachEnd) {
  b.WatchForEnd(connection[0].get(), lifeline[0].get());
  ASSERT_GE(b.descriptor(), 0);
  lifeline[1].Reset();
  EXPECT_TRUE(Readable(b.descriptor()));
}

TEST_P(PolledDoorbellTest, AThrottleMakesTheDescriptorBlindUntilItEnds) {
  b.WatchForEnd(connection[0].get(), lifeline[0].get());
  const int descriptor = b.descriptor();
  ASSERT_GE(descriptor, 0);
  for (int i = 0; i < 2; ++i) {
    a.Signal();
    EXPECT_TRUE(Readable(descriptor));
    b.Throttle(Deadline::After(absl::Hours(1)).monotonic_ns());
    EXPECT_FALSE(Readable(descriptor));
    // Taken back: it sees again, and no timer is left.
    b.EndThrottle();
    EXPECT_TRUE(Readable(descriptor));
    EXPECT_EQ(b.Drain(), Doorbell::Drained::kSignalled);
    EXPECT_FALSE(Readable(descriptor));
    b.Throttle(Deadline::After(absl::Milliseconds(5)).monotonic_ns());
    EXPECT_TRUE(Readable(descriptor, 20'000));  // the timer
    b.EndThrottle();
    EXPECT_FALSE(Readable(descriptor));
    b.Throttle(MonotonicNowNs() - 1);
    EXPECT_TRUE(Readable(descriptor, 20'000));
    b.EndThrottle();
    EXPECT_FALSE(Readable(descriptor));
  }
  // The end of the peer is seen all the same.
  b.Throttle(Deadline::After(absl::Hours(1)).monotonic_ns());
  lifeline[1].Reset();
  EXPECT_TRUE(Readable(descriptor));
}

// Without a descriptor nothing has to be told to the kernel.
TEST_P(PolledDoorbellTest, AThrottleBeforeTheDescriptorIsMadeIsOneOfThisProcessAlone) {
  b.Throttle(Deadline::After(absl::Hours(1)).monotonic_ns());
  EXPECT_GT(b.wake().ThrottleEnd(MonotonicNowNs()), 0);
  b.wake().Post(LocalWake::kSignal);
  EXPECT_TRUE(b.wake().BeginSleep());
  b.wake().EndSleep();
  b.EndThrottle();
  EXPECT_EQ(b.wake().ThrottleEnd(0), 0);
  EXPECT_FALSE(b.wake().BeginSleep());
}

TEST_P(PolledDoorbellTest, EachOfItsDescriptorsIsNamed) {
  const auto named = [&] {
    std::vector<int> all;
    std::vector<int> written;
    b.AddDescriptors(all, written);
    std::set<int> every(all.begin(), all.end());
    every.erase(-1);
    return std::pair(every, std::set<int>(written.begin(), written.end()));
  };
  b.WatchForEnd(connection[0].get(), lifeline[0].get());
  auto [all, written] = named();
  const std::vector<int> polled = Polled();
  std::set<int> expected(polled.begin(), polled.end());
  if (GetParam() == Bell::kSocket) {
    EXPECT_EQ(all, expected);
    EXPECT_EQ(written, std::set<int>{b.wake().fd()});
  } else {
    // And the one that it signals.
    ASSERT_EQ(written.size(), 2u);
    EXPECT_EQ(written.count(b.wake().fd()), 1u);
    for (const int fd : written) {
      EXPECT_TRUE(VerifyEventfd(fd).ok());
      expected.insert(fd);
    }
    EXPECT_EQ(all, expected);
  }
  // An event loop's two: the epoll and its timer.
  ASSERT_GE(b.descriptor(), 0);
  const auto [later, later_written] = named();
  EXPECT_EQ(later_written, written);
  EXPECT_EQ(later.size(), all.size() + 2);
  EXPECT_EQ(later.count(b.descriptor()), 1u);
  for (const int fd : later) EXPECT_GE(::fcntl(fd, F_GETFD), 0) << fd;
  for (const int fd : all) EXPECT_EQ(later.count(fd), 1u) << fd;
}

// Each call that can fail while the descriptor is made: there is none then, and nothing is left.
TEST_P(PolledDoorbellTest, ADescriptorThatCannotBeMadeIsNone) {
  b.WatchForEnd(connection[0].get(), lifeline[0].get());
  const int next = ::dup(connection[0].get());
  const int after = ::dup(connection[0].get());
  ASSERT_EQ(after, next + 1);
  ::close(next);
  ::close(after);
  std::vector<testing::RefusedCall> calls = {{SYS_epoll_create1, EMFILE},
                                             {SYS_timerfd_create, EMFILE}};
  // Of what is to be watched: the timer, which comes second, and each that is polled.
  std::vector<int> watched = Polled();
  watched.push_back(after);
  for (const int fd : watched) {
    calls.push_back({SYS_epoll_ctl, ENOSPC, 2, ~0u, static_cast<uint32_t>(fd)});
  }
  for (const testing::RefusedCall& call : calls) {
    EXPECT_EQ(testing::InAProcessOfItsOwn([&] {
                testing::Refuse(call);
                if (b.descriptor() != -1) return 1;
                if (::fcntl(next, F_GETFD) != -1 || ::fcntl(after, F_GETFD) != -1) return 2;
                a.Signal();
                return b.Drain() == Doorbell::Drained::kSignalled ? 0 : 3;
              }),
              0)
        << call.call << " " << call.value;
  }
  EXPECT_EQ(testing::InAProcessOfItsOwn([&] { return b.descriptor() == next ? 0 : 1; }), 0);
}

// --- one kind each ------------------------------------------------------------------------------

// docs/SPEC.md: a wake-up adds 1.
TEST(DoorbellTest, AnEventfdIsSignalledByOne) {
  UniqueFd theirs = *CreateEventfd();
  const int counted = theirs.get();
  auto doorbell = MakeEventfdDoorbell(*CreateEventfd(), std::move(theirs));
  for (int signals = 1; signals <= 3; ++signals) doorbell->Signal();
  uint64_t count = 0;
  ASSERT_EQ(::read(counted, &count, sizeof(count)), static_cast<ssize_t>(sizeof(count)));
  EXPECT_EQ(count, 3u);
}

TEST(DoorbellTest, ANewEventfdIsEmptyAndClosedOnExec) {
  const UniqueFd made = *CreateEventfd();
  uint64_t count = 0;
  EXPECT_EQ(::read(made.get(), &count, sizeof(count)), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_NE(::fcntl(made.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(DoorbellTest, WithoutADescriptorLeftEachKindIsAnError) {
  EXPECT_EQ(testing::InAProcessOfItsOwn([] {
              auto sockets = Sockets();
              testing::Refuse({SYS_eventfd2, EMFILE});
              if (CreateEventfd().status().code() != absl::StatusCode::kResourceExhausted) return 1;
              for (const auto& [sends, receives] :
                   {std::pair(true, true), std::pair(true, false), std::pair(false, true)}) {
                const auto made = MakeSocketDoorbells(sockets[0].get(), sends, receives);
                if (made.status().code() != absl::StatusCode::kResourceExhausted) return 2;
              }
              // With neither direction there is nothing to make.
              return MakeSocketDoorbells(sockets[0].get(), false, false).ok() ? 0 : 3;
            }),
            0);
}

TEST(DoorbellTest, ADoorbellForEachDirectionAndNoOther) {
  for (const bool sends : {false, true}) {
    for (const bool receives : {false, true}) {
      auto sockets = Sockets();
      const auto made = MakeSocketDoorbells(sockets[0].get(), sends, receives);
      ASSERT_TRUE(made.ok());
      EXPECT_EQ(made->send != nullptr, sends);
      EXPECT_EQ(made->receive != nullptr, receives);
    }
  }
}

TEST(DoorbellTest, WhatIsNoDescriptorIsNoEventfd) {
  EXPECT_EQ(VerifyEventfd(-1).code(), absl::StatusCode::kNotFound);
  const UniqueFd made = *CreateEventfd();
  const auto code = [&](const std::vector<uint32_t>& calls, uint32_t error) {
    return static_cast<absl::StatusCode>(testing::InAProcessOfItsOwn([&] {
      for (const uint32_t call : calls) testing::Refuse({call, error});
      return static_cast<int>(VerifyEventfd(made.get()).code());
    }));
  };
  // Of these, each machine and each C library has its own.
  std::vector<uint32_t> opens = {SYS_openat};
  std::vector<uint32_t> links = {SYS_readlinkat};
#ifdef SYS_open
  opens.push_back(SYS_open);
#endif
#ifdef SYS_readlink
  links.push_back(SYS_readlink);
#endif
  EXPECT_EQ(code(links, EACCES), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code(opens, EACCES), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code({SYS_read}, EACCES), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code({SYS_read}, EIO), absl::StatusCode::kInternal);
}

// Of so many signals for the one end the other one learns from two on: one for it may have found
// the queue full. Nobody learns of what is not there.
TEST(DoorbellTest, TwoSignalsOrMoreAreHandedOver) {
  for (int signals = 0; signals <= 4; ++signals) {
    Duplex channel;
    int sent = 0;
    for (; sent < signals; ++sent) {
      // Before it is full, which the kernel decides.
      if (::send(channel.sockets[0].get(), "\1", 1, MSG_DONTWAIT) != 1) break;
    }
    ASSERT_GE(sent, std::min(signals, 2));
    EXPECT_EQ(channel.two.receive->Drain(),
              sent == 0 ? Doorbell::Drained::kQuiet : Doorbell::Drained::kSignalled);
    EXPECT_EQ(channel.two.send->Drain(),
              sent < 2 ? Doorbell::Drained::kQuiet : Doorbell::Drained::kSignalled)
        << sent;
    EXPECT_EQ(channel.two.receive->Drain(), Doorbell::Drained::kQuiet);
    EXPECT_EQ(channel.two.send->Drain(), Doorbell::Drained::kQuiet);
  }
}

// What was handed over ends the next sleep, and is forgotten by the preparation of one.
TEST(DoorbellTest, APreparationTakesWhatWasHandedOver) {
  Duplex channel;
  channel.one.receive->Signal();
  EXPECT_EQ(channel.two.receive->Drain(), Doorbell::Drained::kQuiet);
  EXPECT_TRUE(channel.two.send->wake().Has(LocalWake::kSignal));
  channel.two.send->Prepare();
  EXPECT_FALSE(channel.two.send->Sleep(Deadline::AtMonotonicNs(0)));
  EXPECT_EQ(channel.two.send->Drain(), Doorbell::Drained::kQuiet);
}

// Both directions: what is no signal of either is a violation, and nobody is woken for it.
TEST(DoorbellTest, RubbishIsUnexpectedForBothEnds) {
  const std::string rubbish[] = {
      std::string(1, '\0'),  "\3", "x", "\1\1", "\1\2", "\2\2", "\2\1", "\1x", "xyz",
      std::string(200, '\1')};
  for (const std::string& bytes : rubbish) {
    for (const bool send : {false, true}) {
      Duplex channel;
      ASSERT_EQ(::send(channel.sockets[0].get(), bytes.data(), bytes.size(), 0),
                static_cast<ssize_t>(bytes.size()));
      Doorbell& drains = send ? *channel.two.send : *channel.two.receive;
      Doorbell& other = send ? *channel.two.receive : *channel.two.send;
      EXPECT_EQ(drains.Drain(), Doorbell::Drained::kUnexpected) << bytes;
      EXPECT_FALSE(other.wake().Has(LocalWake::kSignal));
      EXPECT_EQ(other.Drain(), Doorbell::Drained::kQuiet);
    }
  }
}

// An empty message looks like the end.
TEST(DoorbellTest, AnEmptyMessageIsTheEnd) {
  SocketPair pair;
  ASSERT_EQ(::send(pair.sockets[1].get(), "", 0, 0), 0);
  EXPECT_EQ(pair.a->Drain(), Doorbell::Drained::kPeerGone);
}

// A peer that leaves without having read all: the kernel says that with an error.
TEST(DoorbellTest, APeerThatLeavesUnreadSignalsIsGone) {
  for (const bool peer_is_supervisor : {false, true}) {
    auto sockets = Sockets();
    auto made = MakeSocketDoorbells(sockets[0].get(), true, false, peer_is_supervisor);
    made->send->Signal();
    sockets[1].Reset();
    EXPECT_EQ(made->send->Drain(), Doorbell::Drained::kPeerGone);
  }
}

// A violation is not excused by a death.
TEST(DoorbellTest, RubbishBeforeTheEndIsUnexpected) {
  SocketPair pair;
  ASSERT_EQ(::send(pair.sockets[1].get(), "xyz", 3, 0), 3);
  pair.sockets[1].Reset();
  EXPECT_TRUE(pair.a->PeerHasEnded());
  EXPECT_EQ(pair.a->Drain(), Doorbell::Drained::kUnexpected);
}

TEST(DoorbellTest, AFutexSaysWhatItIs) {
  const Pages pages;
  const Pair pair = pages.Doorbells();
  for (Doorbell* const doorbell : {pair.a.get(), pair.b.get()}) {
    EXPECT_FALSE(doorbell->can_be_polled());
    EXPECT_TRUE(doorbell->polled().empty());
    EXPECT_EQ(doorbell->OtherThrottleEnd(MonotonicNowNs()), 0);
    EXPECT_EQ(doorbell->Drain(), Doorbell::Drained::kQuiet);
    std::vector<int> all;
    std::vector<int> eventfds;
    doorbell->WatchForEnd(55, 66);
    doorbell->AddDescriptors(all, eventfds);
    EXPECT_EQ(all, (std::vector<int>{55, 66}));
    EXPECT_TRUE(eventfds.empty());
  }
}

// Not shorter than asked for, as long as a slice is not over; and no sleep without need.
TEST(DoorbellTest, AFutexSleepsUntilItsDeadline) {
  const Pages pages;
  const Pair pair = pages.Doorbells();
  // Before a count was noted it is that of the start.
  EXPECT_FALSE(pair.b->Sleep(Deadline::AtMonotonicNs(0)));
  const Deadline soon = Deadline::After(absl::Milliseconds(10));
  while (!soon.Expired()) EXPECT_FALSE(pair.b->Sleep(soon));
  // In slices of kMaxFutexSleep, and no busy loop.
  const Deadline long_after = Deadline::After(absl::Hours(1));
  int slices = 0;
  for (const Deadline enough = Deadline::After(absl::Milliseconds(50)); !enough.Expired();
       ++slices) {
    EXPECT_FALSE(pair.b->Sleep(long_after));
  }
  EXPECT_LE(slices, 5);
}

TEST(DoorbellTest, AFutexLearnsOfTheEndByLookingForIt) {
  for (const bool pidfd : {false, true}) {
    const Pages pages;
    const Pair pair = pages.Doorbells();
    std::array<UniqueFd, 2> live = Sockets();
    std::array<UniqueFd, 2> dead = Sockets();
    pair.b->WatchForEnd(pidfd ? live[0].get() : dead[0].get(),
                        pidfd ? dead[0].get() : live[0].get());
    EXPECT_FALSE(pair.b->PeerHasEnded());
    EXPECT_EQ(pair.b->Drain(), Doorbell::Drained::kQuiet);
    dead[1].Reset();
    EXPECT_TRUE(pair.b->Sleep(Deadline::After(absl::Seconds(20))));
    EXPECT_EQ(pair.b->Drain(), Doorbell::Drained::kPeerGone);
    EXPECT_TRUE(pair.b->PeerHasEnded());
    // For good: nobody polls for what a later connection of this number says.
    pair.b->WatchForEnd(-1, -1);
    EXPECT_TRUE(pair.b->PeerHasEnded());
    EXPECT_EQ(pair.b->Drain(), Doorbell::Drained::kPeerGone);
  }
}

TEST(DoorbellTest, AnInterruptEndsTheNextSleepOnAFutex) {
  const Pages pages;
  const Pair pair = pages.Doorbells();
  pair.b->Prepare();
  EXPECT_FALSE(pair.b->Sleep(Deadline::AtMonotonicNs(0)));
  pair.b->Wake(LocalWake::kInterrupt);
  EXPECT_TRUE(pair.b->Sleep(Deadline::After(absl::Seconds(20))));
  EXPECT_EQ(pair.b->Drain(), Doorbell::Drained::kQuiet);
  EXPECT_TRUE(pair.b->wake().Take(LocalWake::kInterrupt));
  EXPECT_FALSE(pair.b->Sleep(Deadline::AtMonotonicNs(0)));
}

// A thread that sleeps on the word is woken, and not only let go on by its next look.
TEST(DoorbellTest, ASignalOnAFutexWakesWhoeverSleepsOnIt) {
  const Pages pages;
  const Pair pair = pages.Doorbells();
  std::atomic<bool> woken{false};
  std::thread sleeper([&] {
    woken.store(Futex::SleepWhile(PeerMemory(pages.page_a, kPageBytes), kDataSignalsOffset, 0,
                                  Deadline::After(absl::Seconds(60)).monotonic_ns()) ==
                Futex::Slept::kWoken);
  });
  // It sleeps where it can be moved to another word, and back.
  std::byte* const word = pages.page_a + kDataSignalsOffset;
  std::byte* const elsewhere = pages.page_a + 1024;
  for (const auto& [from, to] : {std::pair(word, elsewhere), std::pair(elsewhere, word)}) {
    while (::syscall(SYS_futex, from, FUTEX_REQUEUE, 0, 1, to, 0) != 1) std::this_thread::yield();
  }
  pair.a->Signal();
  sleeper.join();
  EXPECT_TRUE(woken.load());
}

}  // namespace
}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#include "parley/wait/doorbell.h"

#include <fcntl.h>
#include <linux/filter.h>
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

#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "parley/boundary/own_memory.h"
#include "parley/boundary/peer_memory.h"
#include "parley/os/connected_socket.h"
#include "parley/os/deadline.h"
#include "parley/os/unique_fd.h"
#include "parley/testing/slow_files.h"
#include "parley/wait/eventfd.h"
#include "parley/wait/eventfd_doorbell.h"
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
    wake.Empty();
    if (readable()) ::_exit(4);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  internal::LocalWake none(-1);
  EXPECT_TRUE(none.Post(internal::LocalWake::kInterrupt));
  none.Empty();
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
    CloseConnected(std::move(channel.sockets[1]));
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

}  // namespace
}  // namespace parley

// SPDX-License-Identifier: Apache-2.0

// Rows W1 to W9, W15 and W16: wake-ups too many, too few, and in the way.

#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "parley/ring/layout.h"
#include "parley/villain/case.h"
#include "parley/villain/raw_peer.h"
#include "parley/wait/layout.h"

namespace parley::villain {
namespace {

constexpr uint32_t kServed = static_cast<uint32_t>(End::kServed);
constexpr uint32_t kGone = static_cast<uint32_t>(End::kPeerGone);

RawPeer::Plan OfferingEventfds() {
  RawPeer::Plan plan;
  plan.hello.doorbells = kDoorbellEventfd | kDoorbellSocket;
  return plan;
}

void MakeBlocking(const RawPeer& peer) {
  for (const UniqueFd& fd : peer.descriptors) {
    ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) & ~O_NONBLOCK);
  }
  ::fcntl(peer.socket.fd(), F_SETFL, ::fcntl(peer.socket.fd(), F_GETFL) & ~O_NONBLOCK);
}

// Asks for a wake-up at each look, so that the victim has to ring.
void DemandRings(const RawPeer& peer, uint64_t round) {
  peer.own.Store(kReceiveEpochOffset, round);
  peer.own.Store(kSendEpochOffset, round);
}

// Takes what there is, and gives the victim something to take, so that it has much to signal.
void KeepBusy(const RawPeer& peer, uint64_t* tail) {
  peer.Drain();
  if (*tail - peer.theirs.Load(kHeadOffset) > kRingBytes - 8) return;
  peer.Data().Store(*tail % kRingBytes, RecordWord(0, TagForSize(0)));
  *tail += 8;
  peer.own.Store(kTailOffset, *tail);
}

// Fills what the victim rings (sockets: what it reads, which is all that we can fill).
void Saturate(const RawPeer& peer) {
  const uint64_t most = ~uint64_t{0} - 1;
  const char wake = 1;
  if (peer.welcome.doorbell == kDoorbellEventfd) {
    for (std::size_t i = 2; i < peer.descriptors.size(); ++i) {
      const int fd = peer.descriptors[i].get();
      ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
      static_cast<void>(!::write(fd, &most, sizeof(most)));
    }
    return;
  }
  for (const int doorbell : {peer.data_doorbell, peer.space_doorbell}) {
    for (int i = 0; i < 10'000; ++i) {
      if (::send(doorbell, &wake, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) break;
    }
  }
}

void SaturateAndBlock(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a, OfferingEventfds());
  Saturate(peer);
  MakeBlocking(peer);
  a.Mounted(peer.welcome.doorbell == kDoorbellEventfd
                ? "got eventfds: saturated them and cleared O_NONBLOCK"
                : "asked for eventfds, got sockets; filled them and cleared O_NONBLOCK");
  for (uint64_t round = 1;; ++round) {
    DemandRings(peer, round);
    peer.Drain();
    ::usleep(500);
  }
}

// The eventfds' counters taken between the victim's poll and its read.
void DrainBetween(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a, OfferingEventfds());
  if (peer.welcome.doorbell != kDoorbellEventfd) a.CannotMount("no eventfds were granted");
  MakeBlocking(peer);
  a.Mounted("rings and takes the ring back at once, with O_NONBLOCK cleared");
  const uint64_t one = 1;
  while (true) {
    for (const int doorbell : {peer.data_doorbell, peer.space_doorbell}) {
      uint64_t count = 0;
      static_cast<void>(!::write(doorbell, &one, sizeof(one)));
      // Long enough for the victim to see it, and not to take it.
      const int64_t until_ns = MonotonicNowNs() + 60'000;
      while (MonotonicNowNs() < until_ns) {
      }
      static_cast<void>(!::read(doorbell, &count, sizeof(count)));
    }
    peer.Drain();
    ::usleep(150'000);  // a victim that waits in its read by now is late
  }
}

AttackFunction Flood(bool data, bool room) {
  return [=](Attacker& a) {
    const RawPeer peer = RawPeer::Connect(a);
    a.Mounted("rings in a loop without any progress");
    while (true) {
      if (data) ::send(peer.data_doorbell, &kDataSignal, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (room) ::send(peer.space_doorbell, &kSpaceSignal, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
  };
}

void NeverRing(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  peer.Data().Store(0, RecordWord(8, TagForSize(8)));
  peer.own.Store(kTailOffset, 16);
  a.Mounted("published a record and never rings");
  Attacker::Stay();
}

// Against a peer that would rather have sockets, which have no futex to attack, as well.
RawPeer::Plan OfferingFutexes() {
  RawPeer::Plan plan;
  plan.hello.doorbells = kDoorbellFutex | kDoorbellSocket;
  return plan;
}

constexpr int kEverybody = 1 << 30;
constexpr std::size_t kFutexes =
    (kSpaceSignalsOffset + 8) / sizeof(uint32_t);  // and all before them

uint32_t* FutexesOf(const Words& words) { return static_cast<uint32_t*>(words.address()); }

long Wake(const uint32_t* futex, int count) {
  return ::syscall(SYS_futex, futex, FUTEX_WAKE, count, nullptr, nullptr, 0);
}

// Has something for the victim to take now and then, so that it waits in both directions, and takes
// what it sends; rings for neither.
void ServeSilently(const RawPeer& peer, uint64_t round) {
  if (peer.own.Load(kTailOffset) == peer.theirs.Load(kHeadOffset) && round % 64 == 0) {
    const uint64_t tail = peer.own.Load(kTailOffset);
    peer.Data().Store(tail % kRingBytes, RecordWord(8, TagForSize(8)));
    peer.own.Store(kTailOffset, tail + 16);
  }
  peer.Drain();
}

void FutexStorm(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a, OfferingFutexes());
  uint32_t* words = FutexesOf(peer.own);
  const uint32_t* theirs = FutexesOf(peer.theirs);
  a.Mounted(peer.welcome.doorbell == kDoorbellFutex
                ? "got a futex doorbell; wakes and requeues on every word that is shared"
                : "wakes and requeues futexes on every word that is shared");
  for (uint64_t round = 1;; ++round) {
    for (std::size_t i = 0; i < kFutexes; i += 2) {
      Wake(words + i, kEverybody);
      Wake(theirs + i, kEverybody);
      ::syscall(SYS_futex, words + i, FUTEX_REQUEUE, 1, kEverybody, words + (i + 2) % kFutexes, 0);
    }
    ServeSilently(peer, round);
  }
}

// Puts whoever sleeps on its words to sleep on another one, where nobody is ever woken.
void FutexKidnap(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a, OfferingFutexes());
  uint32_t* words = FutexesOf(peer.own);
  a.Mounted(
      "moves each sleeper to a word on which nobody is woken, and takes and gives in silence");
  for (uint64_t round = 1;; ++round) {
    for (const std::size_t offset : {kDataSignalsOffset, kSpaceSignalsOffset}) {
      ::syscall(SYS_futex, words + offset / 4, FUTEX_REQUEUE, 0, kEverybody, words + 512, 0);
    }
    ServeSilently(peer, round);
    ::usleep(20);
  }
}

// The word is never the one that the victim expects: it can't fall asleep.
void FutexFlip(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a, OfferingFutexes());
  a.Mounted("counts rings without end, and gives nothing");
  for (uint64_t count = 1;; ++count) {
    peer.own.Store(kDataSignalsOffset, count);
    peer.own.Store(kSpaceSignalsOffset, count);
  }
}

// A crowd asleep on the words that the victim counts its rings in, one of them such that its
// wake-ups fail, while it is made to ring for everything it does.
void FutexCrowd(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a, OfferingFutexes());
  const uint32_t* theirs = FutexesOf(peer.theirs);
  static uint32_t elsewhere = 0;
  const auto sleep = [theirs](std::size_t offset, bool failing) {
    while (true) {
      const uint32_t* futex = theirs + offset / 4;
      timespec until = {};
      ::clock_gettime(CLOCK_MONOTONIC, &until);
      until.tv_sec += 1;
      // PAIRS WITH: OwnMemory::StoreRelease64 in the victim.
      const uint32_t value = __atomic_load_n(futex, __ATOMIC_ACQUIRE);
      ::syscall(SYS_futex, futex, failing ? FUTEX_WAIT_REQUEUE_PI : FUTEX_WAIT_BITSET, value,
                &until, &elsewhere, FUTEX_BITSET_MATCH_ANY);
    }
  };
  int asleep = 0;
  for (int i = 0; i < 1000; ++i) {
    for (const std::size_t offset : {kDataSignalsOffset, kSpaceSignalsOffset}) {
      try {
        // A wake-up ends at the one that fails: none for those behind it.
        std::thread(sleep, offset, i == 500 && offset == kSpaceSignalsOffset).detach();
        ++asleep;
        // NOLINTNEXTLINE(bugprone-empty-catch): as many as there may be
      } catch (const std::system_error&) {
      }
    }
  }
  if (asleep < 100) a.CannotMount("no threads");
  a.Mounted(std::to_string(asleep) +
            " threads sleep on the victim's words, one so that waking fails");
  uint64_t tail = 0;
  for (uint64_t round = 1;; ++round) {
    DemandRings(peer, round);
    // As a peer that is busy: so the victim has to signal as often.
    KeepBusy(peer, &tail);
    peer.own.Store(kDataSignalsOffset, round);
    Wake(FutexesOf(peer.own) + kDataSignalsOffset / sizeof(uint32_t), 1);
    ::usleep(25'000);  // all of them sleep again by then
  }
}

void CloseAtOnce(Attacker& a) {
  RawPeer peer = RawPeer::Connect(a);
  a.Mounted("closed its socket under the victim's sends");
  ::shutdown(peer.space_doorbell, SHUT_RDWR);
  peer.descriptors.clear();
  ::shutdown(peer.data_doorbell, SHUT_RDWR);
  ::close(std::move(peer.socket).Release().Release());
  Attacker::Stay();
}

void ReceiveIntoUserfault(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  for (const int doorbell : {peer.data_doorbell, peer.space_doorbell}) {
    if (::fork() != 0) continue;
    void* page = PageThatNeverComes();
    while (page != nullptr) ::recv(doorbell, page, 1, 0);
    ::_exit(1);
  }
  if (peer.descriptors.size() > 2 && ::fork() == 0) {  // of a victim that signals by a pipe
    void* page = PageThatNeverComes();
    while (page != nullptr) static_cast<void>(!::read(peer.descriptors[2].get(), page, 1));
    ::_exit(1);
  }
  a.Mounted("receives wake-ups into memory that never comes, while it asks for more");
  uint64_t tail = 0;
  for (uint64_t round = 1;; ++round) {
    DemandRings(peer, round);
    KeepBusy(peer, &tail);
    ::usleep(20);
  }
}

void DieWithHeir(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  ::signal(SIGCHLD, SIG_IGN);
  a.Mounted("died; a child of it keeps the sockets open");
  if (::fork() == 0) Attacker::Stay();
  ::_exit(0);
}

void EpochLies(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  a.Mounted("claims to fall asleep at every moment, gives and takes everything");
  uint64_t tail = 0;
  for (uint64_t round = 1;; ++round) {
    DemandRings(peer, round);
    KeepBusy(peer, &tail);
  }
}

// Gives back eight bytes at a time, with a wake-up for each.
void WakeForEachByte(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  uint64_t head = 0;
  a.Mounted("gives back a record at a time, with a wake-up for each");
  while (true) {
    if (head < peer.theirs.Load(kTailOffset)) head += 72;
    peer.own.Store(kHeadOffset, head);
    ::send(peer.space_doorbell, &kSpaceSignal, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
}

}  // namespace

std::vector<Case> WakingCases() {
  const VictimSetup accept;
  VictimSetup confined;
  confined.confined = true;
  confined.attack_time = absl::Seconds(2);
  VictimSetup frugal;
  frugal.cpu_percent = 60;
  frugal.attack_time = absl::Seconds(2);
  VictimSetup futex = frugal;
  futex.futex = true;
  const auto with = [](VictimSetup setup, Flaw flaw) {
    setup.flaw = flaw;
    return setup;
  };
  VictimSetup in_set = frugal;
  in_set.style = Style::kWaitSet;
  VictimSetup longer;
  longer.attack_time = absl::Seconds(1);
  constexpr uint32_t kThrottledOrCaught = End::kPoisoned | End::kServed;
  return {
      {"saturate-and-block", "W1", "its doorbells saturated, with O_NONBLOCK cleared", accept,
       SaturateAndBlock, kServed | End::kPoisoned},
      {"drain-between", "W2", "wake-ups taken back between our poll and our read",
       with(confined, Flaw::kReadsLate), DrainBetween, kThrottledOrCaught},
      {"flood-data-doorbell", "W3", "a data doorbell rung in a loop", frugal, Flood(true, false),
       kThrottledOrCaught},
      {"flood-room-doorbell", "W3", "a room doorbell rung in a loop",
       with(frugal, Flaw::kAwaitsRoom), Flood(false, true), kThrottledOrCaught},
      {"never-ring", "W4", "data without a wake-up", with(accept, Flaw::kWaitsForSignal), NeverRing,
       kServed},
      {"futex-storm", "W5", "futex wake-ups and requeues on each shared word", futex, FutexStorm,
       kThrottledOrCaught},
      {"futex-kidnap", "W5", "our sleeper moved to a word that nobody wakes",
       with(futex, Flaw::kWaitsForSignal), FutexKidnap, kServed},
      {"futex-flip", "W5", "the word that we sleep on, changed in a loop", futex, FutexFlip,
       kThrottledOrCaught},
      {"futex-crowd", "W5", "two thousand sleepers on our words, and wake-ups that fail",
       with(futex, Flaw::kWakesAll), FutexCrowd, kServed},
      {"close-under-send", "W6", "sockets closed under our sends: SIGPIPE", accept, CloseAtOnce,
       kGone},
      {"receive-into-userfault", "W7", "our wake-ups received into memory that never comes",
       with(longer, Flaw::kSignalsByPipe), ReceiveIntoUserfault, kServed, HasUserfaultfd,
       "userfaultfd"},
      {"die-with-heir", "W8", "a death that an open socket hides", accept, DieWithHeir, kGone},
      {"epoch-lies", "W9", "a claim to be asleep, at every moment", longer, EpochLies, kServed},
      {"wake-for-each-record", "W9", "a wake-up for each record that it takes",
       with(frugal, Flaw::kAwaitsRoom), WakeForEachByte, kThrottledOrCaught},
      {"flood-wait-set", "W15", "both doorbells of one port among several rung in a loop",
       with(in_set, Flaw::kAwaitsRoom), Flood(true, true), kThrottledOrCaught},
      // The handlers' own sends may be the first to learn of it.
      {"end-in-wait-set", "W16", "an end that an open socket keeps readable, and hides", in_set,
       DieWithHeir, kGone | End::kStreamEnded},
  };
}

}  // namespace parley::villain

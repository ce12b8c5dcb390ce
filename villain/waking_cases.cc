// Rows W1 to W9: wake-ups too many, too few, and in the way.

#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "parley/ring/layout.h"
#include "parley/villain/case.h"
#include "parley/villain/raw_peer.h"

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
  for (const int bell : {peer.data_bell, peer.room_bell}) {
    for (int i = 0; i < 10'000; ++i) {
      if (::send(bell, &wake, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) break;
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
    for (const int bell : {peer.data_bell, peer.room_bell}) {
      uint64_t count = 0;
      static_cast<void>(!::write(bell, &one, sizeof(one)));
      static_cast<void>(!::read(bell, &count, sizeof(count)));
    }
    peer.Drain();
  }
}

AttackFunction Flood(bool data, bool room) {
  return [=](Attacker& a) {
    const RawPeer peer = RawPeer::Connect(a);
    a.Mounted("rings in a loop without any progress");
    const char wake = 1;
    while (true) {
      if (data) ::send(peer.data_bell, &wake, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (room) ::send(peer.room_bell, &wake, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
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

void FutexStorm(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  a.Mounted("wakes and requeues futexes on every word that is shared");
  auto* words = static_cast<uint32_t*>(peer.own.address());
  auto* theirs = static_cast<uint32_t*>(peer.theirs.address());
  while (true) {
    for (int i = 0; i < 128; i += 2) {
      ::syscall(SYS_futex, words + i, FUTEX_WAKE, 1 << 30, nullptr, nullptr, 0);
      ::syscall(SYS_futex, theirs + i, FUTEX_WAKE, 1 << 30, nullptr, nullptr, 0);
      ::syscall(SYS_futex, words + i, FUTEX_REQUEUE, 1, 1 << 20, words + ((i + 2) & 127), 0);
    }
  }
}

void CloseAtOnce(Attacker& a) {
  RawPeer peer = RawPeer::Connect(a);
  a.Mounted("closed both sockets under the victim's sends");
  ::shutdown(peer.room_bell, SHUT_RDWR);
  peer.descriptors.clear();
  ::shutdown(peer.data_bell, SHUT_RDWR);
  ::close(std::move(peer.socket).Release().Release());
  Attacker::Stay();
}

void ReceiveIntoUserfault(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  for (const int bell : {peer.data_bell, peer.room_bell}) {
    if (::fork() != 0) continue;
    void* page = PageThatNeverComes();
    while (page != nullptr) ::recv(bell, page, 1, 0);
    ::_exit(1);
  }
  a.Mounted("receives wake-ups into memory that never comes, while it asks for more");
  for (uint64_t round = 1;; ++round) {
    DemandRings(peer, round);
    peer.Drain();
    ::usleep(500);
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
  a.Mounted("claims to fall asleep at every moment, and takes everything");
  for (uint64_t round = 1;; ++round) {
    DemandRings(peer, round);
    peer.Drain();
  }
}

// Gives back eight bytes at a time, with a wake-up for each.
void WakeForEachByte(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  uint64_t head = 0;
  a.Mounted("gives back a record at a time, with a wake-up for each");
  const char wake = 1;
  while (true) {
    if (head < peer.theirs.Load(kTailOffset)) head += 72;
    peer.own.Store(kHeadOffset, head);
    ::send(peer.room_bell, &wake, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
}

}  // namespace

std::vector<Case> WakingCases() {
  const VictimSetup accept;
  VictimSetup confined;
  confined.confined = true;
  VictimSetup frugal;
  frugal.cpu_percent = 60;
  constexpr uint32_t kParkedOrCaught = End::kPoisoned | End::kServed;
  return {
      {"saturate-and-block", "W1", "its doorbells saturated, with O_NONBLOCK cleared", accept,
       SaturateAndBlock, kServed | End::kPoisoned},
      {"drain-between", "W2", "wake-ups taken back between our poll and our read", confined,
       DrainBetween, kParkedOrCaught},
      {"flood-data-bell", "W3", "a data doorbell rung in a loop", frugal, Flood(true, false),
       kParkedOrCaught},
      {"flood-room-bell", "W3", "a room doorbell rung in a loop", frugal, Flood(false, true),
       kParkedOrCaught},
      {"never-ring", "W4", "data without a wake-up", accept, NeverRing, kServed},
      {"futex-storm", "W5", "futex wake-ups and requeues on each shared word", accept, FutexStorm,
       kServed},
      {"close-under-send", "W6", "sockets closed under our sends: SIGPIPE", accept, CloseAtOnce,
       kGone},
      {"receive-into-userfault", "W7", "our wake-ups received into memory that never comes", accept,
       ReceiveIntoUserfault, kServed, HasUserfaultfd, "userfaultfd"},
      {"die-with-heir", "W8", "a death that an open socket hides", accept, DieWithHeir, kGone},
      {"epoch-lies", "W9", "a claim to be asleep, at every moment", accept, EpochLies, kServed},
      {"wake-for-each-record", "W9", "a wake-up for each record that it takes", frugal,
       WakeForEachByte, kParkedOrCaught},
  };
}

}  // namespace parley::villain

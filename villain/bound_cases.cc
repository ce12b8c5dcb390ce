// SPDX-License-Identifier: Apache-2.0

// Rows B1 to B8: numbers, identities and rates: what a peer chooses, how much one identity may
// hold, and how often. And what one half of a channel learns of what the other half found.

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "parley/handshake/listener.h"
#include "parley/ring/layout.h"
#include "parley/villain/case.h"
#include "parley/villain/raw_peer.h"
#include "parley/wait/layout.h"

namespace parley::villain {
namespace {

constexpr uint32_t kServed = static_cast<uint32_t>(End::kServed);
constexpr uint32_t kRefused = static_cast<uint32_t>(End::kRefused);
constexpr uint32_t kGone = static_cast<uint32_t>(End::kPeerGone);
constexpr uint32_t kPoisoned = static_cast<uint32_t>(End::kPoisoned);

// --- B1: numbers of the peer's -------------------------------------------------------------------

AttackFunction Asking(uint64_t capacity, uint32_t message) {
  return [=](Attacker& a) {
    RawPeer::Plan plan;
    plan.hello.send = {capacity, message};
    plan.hello.receive = {capacity, message};
    plan.refused = [&](const std::string& why) {
      a.Mounted("asked for a ring of " + std::to_string(capacity) + " bytes and messages of " +
                std::to_string(message) + "; refused: " + why);
      Attacker::Stay();
    };
    const RawPeer peer = RawPeer::Connect(a, plan);
    a.Mounted("has a ring of " + std::to_string(capacity) + " bytes and messages of " +
              std::to_string(message));
    // As long a message as there may be.
    const uint32_t size = std::min(message, peer.welcome.send.max_message_bytes);
    if (size >= 8) peer.Publish(RecordWord(size, TagForSize(size)), 8 + uint64_t{size});
    while (true) {
      peer.Drain();
      ::usleep(1000);
    }
  };
}

AttackFunction Granting(uint64_t capacity, uint32_t message) {
  return [=](Attacker& a) {
    RawHost host = RawHost::Prepare(a, {capacity, message, {}});
    if (!host.SendWelcome()) a.CannotMount("welcome not sent");
    const bool taken = host.Finish();
    a.Mounted("granted messages of " + std::to_string(message) + " bytes" +
              (taken ? ", which were taken" : "; refused"));
    Attacker::Stay();
  };
}

// --- B2: slots and Welcomes, by identity ---------------------------------------------------------

constexpr uid_t kStranger = 65534;

std::string MayBeSomebodyElse() {
  return ::geteuid() == 0 ? "" : "not root, so there is no other user to be";
}

void BecomeStranger(Attacker& a) {
  if (::setgroups(0, nullptr) != 0 || ::setresgid(kStranger, kStranger, kStranger) != 0 ||
      ::setresuid(kStranger, kStranger, kStranger) != 0) {
    a.CannotMount("cannot become another user");
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
}

// Connections that say nothing, kept at `count`: each that is closed is made again.
void HoldConnections(Attacker& a, std::size_t count, const std::string& who) {
  std::vector<UniqueFd> sockets;
  std::vector<pollfd> entries;
  while (true) {
    while (sockets.size() < count) {
      UniqueFd socket = Dial(a);
      if (!socket.ok()) a.CannotMount("the victim does not listen");
      entries.push_back({socket.get(), 0, 0});
      sockets.push_back(std::move(socket));
    }
    a.Mounted(who + " keeps " + std::to_string(count) + " silent connections");
    ::poll(entries.data(), entries.size(), 100);
    for (std::size_t i = entries.size(); i-- > 0;) {
      if (entries[i].revents == 0) continue;
      sockets.erase(sockets.begin() + static_cast<std::ptrdiff_t>(i));
      entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
}

void StrangersHoldSlots(Attacker& a) {
  BecomeStranger(a);
  HoldConnections(a, 40, "a user whom the policy refuses");
}

void OwnUserHoldsSlots(Attacker& a) { HoldConnections(a, 40, "a user whom the policy admits"); }

// Whether the first message in the queue has descriptors; it stays there.
bool CarriesDescriptors(int socket) {
  std::array<char, 64> start;
  iovec part = {start.data(), start.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(16 * sizeof(int))> control = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(socket, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0) return false;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return false;
  std::vector<int> copies((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
  std::memcpy(copies.data(), CMSG_DATA(header), copies.size() * sizeof(int));
  for (const int fd : copies) ::close(fd);
  return true;
}

// Takes the Welcome and says Accepted; false if it was refused.
bool AnswerWelcome(int socket) {
  std::array<std::byte, kMaxMessageBytes> bytes;
  const ssize_t size = ::recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
  const auto welcome = ParseWelcome(
      absl::MakeConstSpan(bytes).first(static_cast<std::size_t>(std::max<ssize_t>(size, 0))));
  if (!welcome.ok()) return false;
  const auto accepted = EncodeChannelId(MessageType::kAccepted, welcome->channel_id);
  return ::send(socket, accepted.data(), accepted.size(), MSG_NOSIGNAL) > 0;
}

// Handshakes that end when the descriptors were sent, whose message stays in the attacker's queue:
// they and their memory stay charged to the victim. As many as are granted.
constexpr int kMaxWelcomes = 32;
void HoardWelcomes(Attacker& a) {
  std::vector<UniqueFd> held;
  const std::vector<std::byte> hello = EncodeHello(HonestHello());
  int with_descriptors = 0;
  for (int i = 0; i < 120; ++i) {
    UniqueFd socket = Dial(a);
    if (!socket.ok()) break;
    ::send(socket.get(), hello.data(), hello.size(), MSG_NOSIGNAL);
    pollfd entry = {socket.get(), POLLIN, 0};
    if (::poll(&entry, 1, 1000) <= 0) continue;
    if (!AnswerWelcome(socket.get())) continue;  // nothing of the victim's is in the queue
    if (::poll(&entry, 1, 1000) <= 0) continue;
    if (CarriesDescriptors(socket.get())) ++with_descriptors;
    ::send(socket.get(), "no", 2, MSG_NOSIGNAL);  // the slot is free again
    held.push_back(std::move(socket));
    if (i == 60) a.Mounted("gives up when the descriptors were sent, which stay in its queue");
  }
  if (with_descriptors > kMaxWelcomes) {
    a.Leaked("holds " + std::to_string(with_descriptors) + " handshakes with their descriptors");
  }
  if (with_descriptors == 0) a.CannotMount("no handshake came as far as its descriptors");
  a.Mounted("could hold " + std::to_string(with_descriptors) + " handshakes with descriptors");
  Attacker::Stay();
}

void HoardAsStranger(Attacker& a) {
  BecomeStranger(a);
  HoardWelcomes(a);
}

// A wish for as much as there may be, again and again, which takes long to make; it leaves before
// it is sent what was made.
void AskForMuch(Attacker& a) {
  Hello hello = HonestHello();
  hello.send = {uint64_t{16} << 20, 4096};
  hello.receive = {uint64_t{16} << 20, 4096};
  const std::vector<std::byte> bytes = EncodeHello(hello);
  for (int welcomes = 0;;) {
    const UniqueFd socket = Dial(a);
    if (!socket.ok()) a.CannotMount("the victim does not listen");
    ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    pollfd entry = {socket.get(), POLLIN, 0};
    ::poll(&entry, 1, 500);
    if (AnswerWelcome(socket.get()) && ++welcomes == 2) {
      a.Mounted("asks for two rings of 16 MiB, accepts, leaves, and asks again");
    }
  }
}

// More connections than a process without a descriptor left can take.
void FillTable(Attacker& a) {
  std::vector<UniqueFd> sockets;
  for (int i = 0; i < 20; ++i) sockets.push_back(Dial(a));
  a.Mounted("20 connections to a victim that has no descriptor for them");
  Attacker::Stay();
}

// --- B3: what a hostile accepting side leaves behind ---------------------------------------------

// Accepts again and again, each time with the lock of the region held that the victim has to seal.
void HoldEachTry(Attacker& a) {
  auto listener = Listener::Bind(a.name);
  if (!listener.ok()) a.CannotMount(listener.status().ToString());
  for (int tries = 0; !a.until.Expired();) {
    auto peer = listener->TryAccept();
    if (!peer.ok() || !*peer) {
      ::usleep(1000);
      continue;
    }
    Attacker one{*NewNotes(), std::move(**peer).Release(), a.name, a.victim_pid, a.until};
    if (::fork() == 0) {
      const RawHost host = RawHost::Prepare(one);
      const int fd = host.descriptors[1].get();
      if (::fork() == 0) {
        void* const page = PageThatNeverComes();
        while (page != nullptr) static_cast<void>(!::pwrite(fd, page, 100, 0));
        ::_exit(1);
      }
      ::usleep(30'000);
      static_cast<void>(host.SendWelcome());
      Attacker::Stay();
    }
    if (++tries == 3) a.Mounted("holds up each try to connect at the seal");
  }
  Attacker::Stay();
}

// --- B4: who the peer is now ---------------------------------------------------------------------

// An honest daemon: its parent listens, its child serves, and the parent ends. Nobody is dead.
void ServeAsHeir(Attacker& a) {
  auto listener = Listener::Bind(a.name);
  if (!listener.ok()) a.CannotMount(listener.status().ToString());
  ::signal(SIGCHLD, SIG_IGN);
  const pid_t parent = ::getpid();
  if (::fork() != 0) {
    while (a.notes.mounted.load() == 0) ::usleep(1000);
    ::_exit(0);  // without the listener's destructor
  }
  while (true) {
    auto peer = listener->TryAccept();
    if (peer.ok() && *peer) {
      a.socket = std::move(**peer).Release();
      break;
    }
    if (a.until.Expired()) a.CannotMount("nobody connected");
    ::usleep(1000);
  }
  RawHost host = RawHost::Prepare(a);
  if (!host.SendWelcome() || !host.Finish()) a.CannotMount("no channel with an honest server");
  host.theirs = MapShared(a, host.descriptors[1].get(),
                          kControlBytes + host.welcome.send.capacity_bytes, false);
  a.Mounted("a child goes on that did not call listen(); its parent ends");
  while (::getppid() == parent) ::usleep(1000);
  while (true) {
    host.own.Store(kHeadOffset, host.theirs.Load(kTailOffset));
    ::send(host.socket.fd(), &kSpaceSignal, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    ::usleep(5000);
  }
}

// --- B5: rates -----------------------------------------------------------------------------------

// Eight bytes of free space and a wake-up at a time, in the middle of records.
void Drip(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  a.Mounted("takes eight bytes at a time, and signals each");
  uint64_t head = 0;
  std::array<char, 16> bytes;
  while (true) {
    while (::recv(peer.space_doorbell, bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
    }
    if (head != peer.theirs.Load(kTailOffset)) {
      head += 8;
      peer.own.Store(kHeadOffset, head);
    }
    ::send(peer.space_doorbell, &kSpaceSignal, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    const int64_t until_ns = MonotonicNowNs() + 20'000;
    while (MonotonicNowNs() < until_ns) {
    }
  }
}

// What an older honest peer does that publishes while it has nothing to say: a signal now and then,
// and one for free space with each twentieth.
AttackFunction SignalNowAndThen(int every_us) {
  return [=](Attacker& a) {
    const RawPeer peer = RawPeer::Connect(a);
    for (int count = 0;; ++count) {
      peer.RingData();
      if (count % 20 == 0) peer.RingBoth();
      peer.Drain();
      if (count == 2)
        a.Mounted("signals without progress, once in " + std::to_string(every_us) + " us");
      ::usleep(static_cast<useconds_t>(every_us));
    }
  };
}

// --- B6, B7: what one half learns of the other ---------------------------------------------------

void ViolateOneHalf(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  ::usleep(200'000);  // the other half waits for free space by now
  a.Mounted("sends a tail out of bounds while the other half waits for free space");
  peer.own.Store(kTailOffset, 13);
  peer.RingData();
  Attacker::Stay();
}

// Tells one half alone, by an empty message on its doorbell.
void EndOneHalf(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  ::usleep(200'000);
  a.Mounted("ends one doorbell, while the other half waits on the other");
  ::send(peer.data_doorbell, "", 0, MSG_NOSIGNAL);
  Attacker::Stay();
}

void DieSilently(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  while (peer.theirs.Load(kTailOffset) == 0 && !a.until.Expired()) ::usleep(100);
  a.Mounted("took a channel and died");
  ::_exit(0);
}

}  // namespace

std::vector<Case> BoundCases() {
  VictimSetup open;
  open.open_options = true;
  open.flaw = Flaw::kAssertsNumber;
  VictimSetup edge = open;
  edge.flaw = Flaw::kGrantsAnything;
  VictimSetup connect;
  connect.kind = VictimKind::kConnect;
  connect.flaw = Flaw::kAssertsNumber;
  VictimSetup listener;
  listener.kind = VictimKind::kListener;
  listener.client_within = absl::Seconds(3);
  listener.attack_time = absl::Seconds(1);
  VictimSetup strangers = listener;
  strangers.cpu_percent = 25;
  VictimSetup hoarded = listener;
  hoarded.client = false;  // of the same user, whose share is out
  VictimSetup shared = listener;
  shared.admits_anyone = true;
  VictimSetup large = listener;
  large.open_options = true;
  large.peak_growth_kb = 512 << 10;
  VictimSetup full;
  full.kind = VictimKind::kListener;
  full.client = false;
  full.spare_descriptors = 2;  // its listener's
  full.max_calls = 200;        // it asks again at once
  full.attack_time = absl::Seconds(1);
  VictimSetup dial;
  dial.kind = VictimKind::kDial;
  dial.handshake = absl::Milliseconds(500);
  VictimSetup dial_once = dial;
  dial.max_helpers = 4;  // of one maker: sealing/seal_shared.h
  dial_once.handshake = absl::Seconds(5);
  VictimSetup loop;
  loop.style = Style::kEventLoop;
  loop.attack_time = absl::Seconds(2);
  loop.flaw = Flaw::kAwaitsRoom;
  VictimSetup patient;
  patient.attack_time = absl::Seconds(4);
  VictimSetup halves;
  halves.style = Style::kTwoThreads;
  VictimSetup tries;
  tries.style = Style::kTry;
  return {
      {"wish-for-one-byte", "B1", "a ring for messages of one byte", open, Asking(4096, 1),
       End::kRefused | End::kServed | End::kPeerGone},
      {"wish-for-nothing", "B1", "a ring for messages of no byte", open, Asking(4096, 0),
       End::kRefused | End::kServed | End::kPeerGone},
      {"wish-for-the-edge", "B1", "a message as long as the ring allows", edge,
       Asking(4096, 4096 - 8), End::kRefused | End::kServed | End::kPeerGone},
      {"grant-of-nothing", "B1", "a grant of messages of no byte", connect, Granting(4096, 0),
       kRefused | kServed},
      {"grant-of-one-byte", "B1", "a grant of messages of one byte", connect, Granting(4096, 1),
       kRefused | kServed},
      {"strangers-hold-slots", "B2", "silent connections of a user whom the policy refuses",
       strangers, StrangersHoldSlots, kServed, MayBeSomebodyElse, "root"},
      {"silent-hold-slots", "B2", "silent connections of our own user", listener, OwnUserHoldsSlots,
       kServed},
      {"hoard-welcomes", "B2", "Welcomes that nobody takes, more than one identity may hold",
       hoarded, HoardWelcomes, kServed},
      {"hoard-welcomes-of-others", "B2", "the same by another user, beside an honest client",
       shared, HoardAsStranger, kServed, MayBeSomebodyElse, "root"},
      {"ask-for-much", "B2", "wishes whose regions take long to make", large, AskForMuch, kServed},
      {"full-table", "B2", "connections to a listener without a descriptor left", full, FillTable,
       kServed},
      {"hold-each-try", "B3", "a lock at each seal of a client that tries again", dial, HoldEachTry,
       // Refused once as many helpers hang as one peer may have hang.
       End::kTimedOut | End::kRefused, HasUserfaultfd, "userfaultfd"},
      {"heir-of-listener", "B4", "no attack: a daemon whose parent called listen() and ended",
       dial_once, ServeAsHeir, kServed},
      {"drip-in-event-loop", "B5", "eight bytes and a wake-up at a time, in an event loop", loop,
       Drip, kServed | kPoisoned},
      {"signal-now-and-then", "B5", "no attack: a signal without progress each 5 ms", patient,
       SignalNowAndThen(5'000), kServed},
      {"violation-wakes-both", "B6", "a violation that one half finds while the other waits",
       halves, ViolateOneHalf, kPoisoned},
      {"end-wakes-both", "B6", "an end that one half finds while the other waits", halves,
       EndOneHalf, kGone},
      {"death-seen-by-tries", "B7", "a death, for a caller that only makes Try calls", tries,
       DieSilently, kGone | End::kStreamEnded},
  };
}

}  // namespace parley::villain

// SPDX-License-Identifier: Apache-2.0

// Rows D1 to D9: using up our time, memory, descriptors and patience.

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "parley/ring/layout.h"
#include "parley/villain/case.h"
#include "parley/villain/raw_peer.h"

namespace parley::villain {
namespace {

constexpr uint32_t kServed = static_cast<uint32_t>(End::kServed);
constexpr uint32_t kRefused = static_cast<uint32_t>(End::kRefused);

// Publishes whatever there is room for, as fast as it can.
AttackFunction Produce(uint32_t size_bytes) {
  return [=](Attacker& a) {
    const RawPeer peer = RawPeer::Connect(a);
    const Words data = peer.Data();
    const uint64_t step = 8 + (size_bytes + 7) / 8 * 8;
    for (uint64_t at = 0; at < kRingBytes; at += step) {
      data.Store(at, RecordWord(size_bytes, TagForSize(size_bytes)));
    }
    a.Mounted("keeps the ring full of records of " + std::to_string(size_bytes) + " bytes");
    uint64_t tail = 0;
    while (true) {
      const uint64_t full = (peer.theirs.Load(kHeadOffset) + kRingBytes) / step * step;
      if (full > tail) tail = full;
      peer.own.Store(kTailOffset, tail);
      peer.Drain();
      peer.RingData();
    }
  };
}

void NeverDrain(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  a.Mounted("takes nothing");
  Attacker::Stay();
}

AttackFunction HelloAsking(uint64_t capacity, uint32_t message) {
  return [=](Attacker& a) {
    Hello hello = HonestHello();
    hello.send = {capacity, message};
    hello.receive = {capacity, message};
    const std::vector<std::byte> bytes = EncodeHello(hello);
    ::send(a.socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    a.Mounted("asked for rings of " + std::to_string(capacity) + " bytes");
    Attacker::Stay();
  };
}

void GrantHuge(Attacker& a) {
  RawHost host = RawHost::Prepare(a);
  host.welcome.send = {kMaxCapacityBytes, 1 << 20};
  host.welcome.receive = {kMaxCapacityBytes, 1 << 20};
  host.descriptors[0] = MakeMemfd(kControlBytes + kMaxCapacityBytes, 0, true);
  if (!host.SendWelcome()) a.CannotMount("welcome not sent");
  a.Mounted("granted rings of a gibibyte");
  Attacker::Stay();
}

// Connections that never say anything, or only the beginning, as many as are taken.
void HalfOpen(Attacker& a) {
  std::vector<UniqueFd> held;
  for (int i = 0; i < 64; ++i) {
    held.push_back(Dial(a));
    if (!held.back().ok()) a.CannotMount("the victim does not listen");
    if (i % 2 == 0) {
      const std::vector<std::byte> hello = EncodeHello(HonestHello());
      ::send(held.back().get(), hello.data(), hello.size(), MSG_NOSIGNAL);
    }
    if (i == 40) a.Mounted("holds half-open handshakes, and goes on to open more");
  }
  Attacker::Stay();
}

void Provoke(Attacker& a) {
  int count = 0;
  while (true) {
    const UniqueFd socket = Dial(a);
    if (!socket.ok()) a.CannotMount("the victim does not listen");
    ::send(socket.get(), "rubbish", 7, MSG_NOSIGNAL);
    if (++count == 100) a.Mounted("sends rubbish, again and again: who counts the log lines?");
  }
}

void ConnectAndLeave(Attacker& a) {
  int count = 0;
  while (true) {
    if (!Dial(a).ok()) a.CannotMount("the victim does not listen");
    if (++count == 200) a.Mounted("connects and leaves in a loop");
  }
}

// Completes one handshake after the other and then does nothing with them.
void HoardChannels(Attacker& a) {
  if (::fork() == 0) {
    while (true) {
      Attacker mine{a.notes, Dial(a), a.name, a.victim_pid, a.until};
      if (!mine.socket.ok()) continue;
      if (::fork() != 0) {
        ::usleep(3000);
        continue;
      }
      RawPeer::Connect(mine);
      a.Mounted("completes handshakes and hoards the channels");
      Attacker::Stay();
    }
  }
  while (!a.until.Expired()) ::usleep(10'000);
  Attacker::Stay();
}

void FillQueues(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  int sent = 0;
  for (int i = 0; i < 100'000; ++i) {
    const char wake = i % 2 == 0 ? kDataSignal : kSpaceSignal;
    if (::send(peer.data_doorbell, &wake, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) break;
    ++sent;
  }
  a.Mounted("queued " + std::to_string(sent) + " wake-ups at once");
  Attacker::Stay();
}

void PlayHonest(Attacker& a) {
  Hello hello = HonestHello();
  const std::vector<std::byte> bytes = EncodeHello(hello);
  ::send(a.socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  std::array<std::byte, kMaxMessageBytes> buffer;
  const ssize_t got = ::recv(a.socket.get(), buffer.data(), buffer.size(), 0);
  if (got > 0) {
    const auto welcome =
        ParseWelcome(absl::MakeConstSpan(buffer).first(static_cast<std::size_t>(got)));
    if (welcome.ok()) {
      const auto accepted = EncodeChannelId(MessageType::kAccepted, welcome->channel_id);
      ::send(a.socket.get(), accepted.data(), accepted.size(), MSG_NOSIGNAL);
    }
  }
  a.Mounted("asked for a channel when the victim has hardly a descriptor left");
  Attacker::Stay();
}

void NeverAccepted(Attacker& a) {
  RawPeer::Plan plan;
  plan.say_accepted = false;
  const RawPeer peer = RawPeer::Connect(a, plan);
  a.Mounted("took the welcome and never answers");
  Attacker::Stay();
}

void WelcomeTheExhausted(Attacker& a) {
  RawHost host = RawHost::Prepare(a);
  if (!host.SendWelcome()) a.CannotMount("welcome not sent");
  a.Mounted("sent descriptors to a victim that has room for one");
  Attacker::Stay();
}

}  // namespace

std::vector<Case> DenialCases() {
  const VictimSetup accept;
  const auto flawed = [](Flaw flaw) {
    VictimSetup setup;
    setup.flaw = flaw;
    return setup;
  };
  VictimSetup connect;
  connect.kind = VictimKind::kConnect;
  VictimSetup listener;
  listener.kind = VictimKind::kListener;
  listener.handshake = absl::Milliseconds(300);
  VictimSetup quick;
  quick.handshake = absl::Milliseconds(300);
  VictimSetup poor;
  poor.spare_descriptors = 2;
  VictimSetup poor_connect = connect;
  poor_connect.spare_descriptors = 1;
  return {
      {"empty-records", "D1", "a ring full of empty records, for ever", flawed(Flaw::kTakesAll),
       Produce(0), kServed},
      {"never-drain", "D2", "a peer that takes nothing", flawed(Flaw::kWaitsForSignal), NeverDrain,
       kServed},
      {"huge-ring", "D3", "a wish for rings of a gibibyte", accept,
       HelloAsking(kMaxCapacityBytes, 1 << 20), kRefused},
      {"absurd-ring", "D3", "a wish for rings of 2^63 bytes", accept,
       HelloAsking(uint64_t{1} << 63, 0xffff'ffff), kRefused},
      {"huge-grant", "D3", "a gibibyte that nobody asked for", connect, GrantHuge, kRefused},
      {"half-open", "D4", "half-open handshakes, more than there is room for", listener, HalfOpen,
       kServed},
      {"silent", "D4", "a connection that never says anything", quick,
       [](Attacker& a) {
         a.Mounted("says nothing");
         Attacker::Stay();
       },
       static_cast<uint32_t>(End::kTimedOut)},
      {"provoke-logs", "D5", "refusals in a loop, for the log lines", listener, Provoke, kServed},
      {"keep-up", "D6", "a producer that is always one record ahead", flawed(Flaw::kTakesAll),
       Produce(56), kServed},
      {"no-descriptor-left", "D7", "a handshake when our table is full", poor, PlayHonest,
       kRefused},
      {"descriptors-to-the-full", "D7", "descriptors for a full table", poor_connect,
       WelcomeTheExhausted, kRefused},
      {"fill-queues", "D8", "every wake-up that the queues hold, at once",
       flawed(Flaw::kSignalIsRecord), FillQueues, End::kServed | End::kPoisoned},
      {"connect-and-leave", "D9", "connections that end at once, in a loop", listener,
       ConnectAndLeave, kServed},
      {"hoard-channels", "D9", "completed handshakes, hoarded", listener, HoardChannels, kServed},
      {"never-accepted", "D10", "a peer that takes the welcome and never answers", quick,
       NeverAccepted, static_cast<uint32_t>(End::kTimedOut)},
  };
}

}  // namespace parley::villain

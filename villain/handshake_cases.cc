// SPDX-License-Identifier: Apache-2.0

// Rows H1 to H8: who is there, and the order of things.

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "parley/ring/layout.h"
#include "parley/villain/case.h"
#include "parley/villain/raw_peer.h"

namespace parley::villain {
namespace {

constexpr uint32_t kServed = static_cast<uint32_t>(End::kServed);
constexpr uint32_t kRefused = static_cast<uint32_t>(End::kRefused);
constexpr uint32_t kGone = static_cast<uint32_t>(End::kPeerGone);
constexpr uint32_t kTimedOut = static_cast<uint32_t>(End::kTimedOut);

void SendBytes(Attacker& a, int socket, const std::vector<std::byte>& bytes) {
  if (::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) a.CannotMount("not sent");
}

// Sends `bytes` as the first message.
AttackFunction First(const std::vector<std::byte>& bytes, const char* what) {
  return [=](Attacker& a) {
    SendBytes(a, a.socket.get(), bytes);
    a.Mounted(what);
    Attacker::Stay();
  };
}

std::vector<std::byte> HelloBut(const std::function<void(Hello&)>& change) {
  Hello hello = HonestHello();
  change(hello);
  return EncodeHello(hello);
}

std::vector<std::byte> HelloWithByte(std::size_t at, int value) {
  std::vector<std::byte> bytes = EncodeHello(HonestHello());
  bytes[at] = static_cast<std::byte>(value);
  return bytes;
}

// A hello with credentials of another process in its control message: root may claim any.
void SendClaim(Attacker& a, int socket, const ucred& claimed) {
  std::vector<std::byte> hello = EncodeHello(HonestHello());
  iovec part = {hello.data(), hello.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_CREDENTIALS;
  header->cmsg_len = CMSG_LEN(sizeof(ucred));
  std::memcpy(CMSG_DATA(header), &claimed, sizeof(claimed));
  if (::sendmsg(socket, &message, MSG_NOSIGNAL) < 0) a.CannotMount("claim not sent");
}

// If the claim counted, the death of the claimant would not be seen.
void ForgeCredentials(Attacker& a) {
  const ucred claimed = {::geteuid() == 0 ? 1 : ::getpid(), ::geteuid(), ::getegid()};
  RawPeer::Plan plan;
  plan.send_hello = [&](int socket) { SendClaim(a, socket, claimed); };
  const RawPeer peer = RawPeer::Connect(a, plan);
  a.Mounted("claimed to be process " + std::to_string(claimed.pid) + ", then died");
  ::signal(SIGCHLD, SIG_IGN);
  if (::fork() == 0) Attacker::Stay();
  ::_exit(0);
}

// The process that was identified ends in the handshake; another one goes on with its socket.
void GoOnAfterDeath(Attacker& a) {
  ::signal(SIGCHLD, SIG_IGN);
  if (::fork() != 0) ::_exit(0);
  ::usleep(5000);
  a.Mounted("the identified process is dead; a child of it says hello on its socket");
  Hello hello;
  hello.roles = kRoleSends | kRoleReceives;
  hello.doorbells = kDoorbellSocket;
  const std::vector<std::byte> message = EncodeHello(hello);
  // It may be refused before this arrives.
  static_cast<void>(SendRaw(a.socket.get(), message.data(), message.size(), {}));
  Attacker::Stay();
}

void MappedWithForeignId(Attacker& a) {
  RawPeer::Plan plan;
  plan.say_mapped = false;
  const RawPeer peer = RawPeer::Connect(a, plan);
  ChannelId id = peer.welcome.channel_id;
  id[0] ^= 1;
  SendBytes(a, peer.socket.fd(), EncodeChannelId(MessageType::kMapped, id));
  a.Mounted("said \"mapped\" for another channel");
  Attacker::Stay();
}

void ReadyWithForeignId(Attacker& a) {
  RawHost host = RawHost::Prepare(a);
  if (!host.SendWelcome()) a.CannotMount("welcome not sent");
  ChannelId id = host.welcome.channel_id;
  id[1] ^= 1;
  SendBytes(a, host.socket.fd(), EncodeChannelId(MessageType::kReady, id));
  a.Mounted("said \"ready\" for another channel");
  Attacker::Stay();
}

void HelloAgain(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  SendBytes(a, peer.socket.fd(), EncodeHello(HonestHello()));
  a.Mounted("another hello when all was agreed");
  Attacker::Stay();
}

void RewriteGeometry(Attacker& a) {
  const RawPeer peer = RawPeer::Connect(a);
  for (std::size_t at = 16; at < kControlBytes; at += 8) {
    if (at % 128 >= 16 || at >= 384) peer.own.Store(at, 0x7fff'ffff);
  }
  a.Mounted("wrote where a geometry might be shared");
  Attacker::Stay();
}

AttackFunction WelcomeBut(const std::function<void(RawHost&)>& change, const char* what) {
  return [=](Attacker& a) {
    RawHost host = RawHost::Prepare(a);
    change(host);
    if (!host.SendWelcome()) a.CannotMount("welcome not sent");
    a.Mounted(what);
    Attacker::Stay();
  };
}

void StopAfterWelcome(Attacker& a) {
  RawPeer::Plan plan;
  plan.say_mapped = false;
  const RawPeer peer = RawPeer::Connect(a, plan);
  a.Mounted("took the welcome and stopped");
  ::raise(SIGSTOP);
}

void WelcomeThenNothing(Attacker& a) {
  RawHost host = RawHost::Prepare(a);
  if (!host.SendWelcome()) a.CannotMount("welcome not sent");
  a.Mounted("sent the welcome and never says \"ready\"");
  Attacker::Stay();
}

}  // namespace

std::vector<Case> HandshakeCases() {
  const VictimSetup accept;
  VictimSetup connect;
  connect.kind = VictimKind::kConnect;
  VictimSetup shared_geometry;
  shared_geometry.flaw = Flaw::kGeometryIsShared;
  VictimSetup quick;
  quick.handshake = absl::Milliseconds(300);
  VictimSetup quick_connect = connect;
  quick_connect.handshake = absl::Milliseconds(300);
  const ChannelId some_id = {1, 2};
  std::vector<std::byte> longer = EncodeHello(HonestHello());
  longer.resize(longer.size() + 5000);
  return {
      {"forged-credentials", "H1", "credentials of another process with the hello", accept,
       ForgeCredentials, kGone},
      {"unknown-version", "H2", "only versions that do not exist yet", accept,
       First(HelloBut([](Hello& h) { h.version_min = h.version_max = 9; }), "offered version 9"),
       kRefused},
      {"unknown-feature", "H2", "a feature bit that has no meaning yet", accept,
       First(HelloBut([](Hello& h) { h.features = 1u << 31; }), "asked for feature 31"), kRefused},
      {"wrong-magic", "H2", "another protocol", accept,
       First(HelloWithByte(0, 0x7f), "changed the first byte"), kRefused},
      {"reserved-not-zero", "H2", "a reserved field in use", accept,
       First(HelloWithByte(46, 1), "set a reserved byte"), kRefused},
      {"unknown-role", "H2", "a role that has no meaning", accept,
       First(HelloBut([](Hello& h) { h.roles = 0xf; }), "set all role bits"), kRefused},
      {"foreign-id", "H3", "\"mapped\" for another channel", accept, MappedWithForeignId, kRefused},
      {"foreign-ready", "H3", "\"ready\" for another channel", connect, ReadyWithForeignId,
       kRefused},
      {"both-produce", "H4", "both ends think that they are the producer", accept,
       First(HelloBut([](Hello& h) {
               h.roles = kRoleSends;
               h.receive = {};
             }),
             "offered to send only"),
       kRefused},
      {"roles-changed", "H4", "a welcome with other roles than the hello's", connect,
       WelcomeBut([](RawHost& h) { h.welcome.roles = kRoleSends; }, "changed the roles"), kRefused},
      {"hello-again", "H5", "a second hello once all is agreed", accept, HelloAgain,
       static_cast<uint32_t>(End::kPoisoned)},
      {"rewrite-geometry", "H5", "numbers where a geometry might be shared", shared_geometry,
       RewriteGeometry, kServed},
      {"mapped-first", "H6", "\"mapped\" before any hello", accept,
       First(EncodeChannelId(MessageType::kMapped, some_id), "began with \"mapped\""), kRefused},
      {"ready-first", "H6", "\"ready\" from the wrong side", accept,
       First(EncodeChannelId(MessageType::kReady, some_id), "began with \"ready\""), kRefused},
      {"hello-too-long", "H6", "a hello longer than any message", accept,
       First(longer, "5000 bytes too many"), kRefused},
      {"doorbell-not-offered", "H6", "a doorbell that was not offered", connect,
       WelcomeBut([](RawHost& h) { h.welcome.doorbell = kDoorbellEventfd; },
                  "chose eventfds, which were not offered"),
       kRefused},
      {"go-on-after-death", "H7", "another process goes on with a dead one's socket", accept,
       GoOnAfterDeath, kGone},
      {"stop-after-welcome", "H8", "a peer that is stopped half-way", quick, StopAfterWelcome,
       kTimedOut},
      {"no-welcome", "H8", "an accepting side that never answers", quick_connect,
       [](Attacker& a) {
         // Not before the victim has spoken: a program that never connects was never attacked.
         const RawHost host = RawHost::Prepare(a);
         a.Mounted("took the hello and says nothing");
         Attacker::Stay();
       },
       kTimedOut},
      {"no-ready", "H8", "an accepting side that stops before \"ready\"", quick_connect,
       WelcomeThenNothing, kTimedOut},
  };
}

}  // namespace parley::villain

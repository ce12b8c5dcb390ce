// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_HANDSHAKE_IDENTITY_H_
#define PARLEY_HANDSHAKE_IDENTITY_H_

// Who is at the other end of a channel, by the kernel's word (identify_peer.h), and whom we admit.
//
// Trust: SO_PEERCRED and SO_PEERPIDFD name who connected (asked by the accepting side), who called
// listen (asked by the connecting side), or who made the pair (asked at either end of one). Only
// the first is certainly the process at the other end: a daemon forks after it listens, an upgraded
// one inherits the listening socket, a launcher makes a pair and leaves. So only an accepted
// connection has a process descriptor from the kernel, and nothing but a process descriptor ends a
// channel. A client has to connect in the process that uses the channel. A spawned worker's comes
// from its spawn, handed in by the caller. No pid that the peer names is ever used.
// Threads: any.
//
//   AcceptOptions options;
//   options.policy = PeerPolicy::Uid(33);

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>

#include "parley/os/unique_fd.h"

namespace parley {

// Of a channel: random, and the same at both ends.
using ChannelId = std::array<uint64_t, 2>;

struct PeerIdentity {
  pid_t pid = 0;  // 0: unknown
  uid_t uid = 0;
  gid_t gid = 0;
  // The peer's process: readable when it has ended. Empty where it is not certain who that is,
  // where the kernel can't say (before 6.5), or where it is this process itself.
  UniqueFd pidfd;
  // Whether the socket is a socketpair of our own making, so that the three numbers are ours.
  bool own_pair = false;
};

// Whom to admit. All conditions that are set must hold.
class PeerPolicy {
 public:
  // The same effective user as ours is when the peer is judged: the default of an accepting side.
  // Never the user id that stands for all those without one in our user namespace (65534, usually).
  static PeerPolicy SameUser();
  // The same, or root: the default of a connecting side towards a listener.
  static PeerPolicy SameUserOrRoot();
  // Anybody who can open the socket.
  static PeerPolicy Anyone() { return PeerPolicy(); }
  // These two, too, never admit the id that stands for those without one here.
  static PeerPolicy Uid(uid_t uid);
  static PeerPolicy Gid(gid_t gid);
  // The process of `pidfd`, which lives: a number could be another's by now. For an accepted
  // connection (Linux 6.5) or a peer whose pidfd the caller handed in; admits nobody otherwise.
  static PeerPolicy Pid(UniqueFd pidfd);
  // Called on the accepting thread, with everything the kernel said. It must not use or end the
  // listener that asks.
  static PeerPolicy Predicate(std::function<bool(const PeerIdentity&)> admits);

  PeerPolicy And(PeerPolicy other) const;
  bool Admits(const PeerIdentity& identity) const;

  // The mode that a listener's socket file needs for those whom this admits: 0666 where another
  // user id or a group is named, which the policy then checks; else 0600. Anyone and Predicate
  // leave it at 0600: how far to open the file is the caller's to say
  // (ServerLimits::socket_file_mode).
  mode_t socket_file_mode() const { return mode_; }

 private:
  std::function<bool(const PeerIdentity&)> admits_;  // empty: everyone
  mode_t mode_ = 0600;
};

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_IDENTITY_H_

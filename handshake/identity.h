#ifndef PARLEY_HANDSHAKE_IDENTITY_H_
#define PARLEY_HANDSHAKE_IDENTITY_H_

// Who is at the other end of a socket, by the kernel's word, and whom we admit.
//
// Trust: SO_PEERCRED says who called connect or listen, or who made the socketpair. A socketpair's
// creator is the supervisor itself, so for a spawned worker the identity comes from its pidfd,
// handed in by whoever spawned it. No pid that the peer names is ever used.
// Threads: any.
//
//   AcceptOptions options;
//   options.policy = PeerPolicy::Uid(33);

#include <sys/types.h>

#include <functional>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "parley/os/unique_fd.h"

namespace parley {

struct PeerIdentity {
  pid_t pid = 0;  // 0: unknown
  uid_t uid = 0;
  gid_t gid = 0;
  // The peer's process: readable when it has ended. Empty where the kernel can't say (before 6.5)
  // or where the socket is our own socketpair and no pidfd was handed in.
  UniqueFd pidfd;
  // Whether the socket is a socketpair of our own making, so that the three numbers are ours.
  bool own_pair = false;
};

// What the kernel says of `socket`. `known_pidfd`: the peer's, from its spawn; duplicated. -1:
// none.
absl::StatusOr<PeerIdentity> IdentifyPeer(int socket, int known_pidfd = -1);

// Whom to admit. All conditions that are set must hold.
class PeerPolicy {
 public:
  // The same effective user as ours: the default.
  static PeerPolicy SameUser();
  // Anybody who can open the socket.
  static PeerPolicy Anyone() { return PeerPolicy(); }
  static PeerPolicy Uid(uid_t uid);
  static PeerPolicy Gid(gid_t gid);
  static PeerPolicy Pid(pid_t pid);
  // Called on the accepting thread, with everything the kernel said.
  static PeerPolicy Predicate(std::function<bool(const PeerIdentity&)> admits);

  PeerPolicy And(PeerPolicy other) const;
  bool Admits(const PeerIdentity& identity) const;

 private:
  std::function<bool(const PeerIdentity&)> admits_;  // empty: everyone
};

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_IDENTITY_H_

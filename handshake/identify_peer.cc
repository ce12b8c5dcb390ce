// SPDX-License-Identifier: Apache-2.0
#include "parley/handshake/identify_peer.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "parley/os/errors.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // Linux 6.5
#endif

namespace parley {

absl::StatusOr<PeerIdentity> IdentifyPeer(int socket, int known_pidfd, PeerSocket::Origin origin) {
  ucred credentials = {};
  socklen_t length = sizeof(credentials);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    return ErrnoStatus(errno, "ask who the peer is");
  }
  PeerIdentity identity;
  identity.pid = credentials.pid;
  identity.uid = credentials.uid;
  identity.gid = credentials.gid;
  identity.own_pair = credentials.pid == ::getpid();
  if (known_pidfd >= 0) {
    identity.pidfd.Reset(::fcntl(known_pidfd, F_DUPFD_CLOEXEC, 3));
    if (!identity.pidfd.ok()) return ErrnoStatus(errno, "keep the peer's process descriptor");
  } else if (origin == PeerSocket::Origin::kAccepted && !identity.own_pair) {
    int pidfd = -1;
    length = sizeof(pidfd);
    // Close-on-exec by itself. An older kernel, or a peer that is gone: there is none, then. But
    // want of descriptors or memory passes, and a death that is not seen would stay.
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) == 0) {
      identity.pidfd.Reset(pidfd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
      return ErrnoStatus(errno, "keep the peer's process descriptor");
    }
  }
  return identity;
}

}  // namespace parley

// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_OS_CONNECTED_SOCKET_H_
#define PARLEY_OS_CONNECTED_SOCKET_H_

// A connected AF_UNIX socket whose queue the peer fills: what may be received from it and closed in
// a thread that has a deadline.
//
// A message in the queue can carry descriptors (SCM_RIGHTS). Whoever takes the message out of the
// queue without installing them, or closes the socket, releases those files, and a release takes as
// long as the peer wishes (disposal.h). Two defences:
//   1. SO_PASSRIGHTS off (Linux 6.16): the kernel refuses such a message where it is sent. Accepted
//      sockets inherit it from the listening one, so there is no moment in which it is on.
//   2. Without that: look before each receive (PeekNext), never receive such a message, and close
//      the socket through DisposeOf.
// The rule that holds the two together: code of ours switches SO_PASSRIGHTS off only while nothing
// with descriptors can be queued, or refuses the peer at once. So "off" proves "clean".
//
// Trust: the peer queues what it likes, at any moment until RefuseRights or StopReceiving.
// Threads: as the descriptor.
// System calls: as each function says; none of them waits.
//
//   ConnectedSocket socket(std::move(fd));
//   if (PeekNext(socket.get()) == NextMessage::kWithDescriptors) return Violation();

#include <sys/types.h>
#include <unistd.h>

#include <utility>

#include "parley/os/unique_fd.h"

namespace parley {

// SO_PASSRIGHTS. Allow and Refuse: whether the kernel knows it. One system call each.
bool RefuseRights(int socket);
bool AllowRights(int socket);
// True if it is off: nothing with descriptors is in the queue, now or later.
bool RefusesRights(int socket);

// True if a message with descriptors could be in the queue, so that each receive needs a look.
bool MayBringRights(int socket);

enum class NextMessage {
  kNone,             // nothing there
  kPlain,            // one without descriptors
  kWithDescriptors,  // one with descriptors (or with credentials that nobody asked for)
  kEnd,              // the end, or an empty message
};
// What the next receive would take. Releases nothing, and takes note of a pending ECONNRESET, so
// that what the peer sent before it can still be received. One system call, two after a reset.
NextMessage PeekNext(int socket);

// Closes a listening one, in place or through DisposeOfAndAwait, as ~ConnectedSocket does: others
// may take its name afterwards. Where its queue hangs: 8 ms more. Where it would be parked it goes
// on listening, for nobody: another process may have a copy and use it.
void CloseListening(UniqueFd socket);

// The peer can queue nothing more, and what it has queued is dropped, so that closing the socket
// does not turn what we sent into ECONNRESET. For a socket that no other process of ours uses. A
// message with descriptors stays, as does more than a peer without privileges can queue. At most
// 320 receives.
void StopReceiving(int socket);

// Owns one, in the process that made this object. At the end it is closed: in place where that
// releases nothing of the peer's or this process confined itself, and through DisposeOf otherwise.
// Where it would be parked it is shut down first, so that the peer sees the end at once: one walk
// over those who wait for the peer's socket, as in a close. Not by a forked child: it has a copy.
class ConnectedSocket {
 public:
  ConnectedSocket() = default;
  explicit ConnectedSocket(UniqueFd fd) : fd_(std::move(fd)), owner_(::getpid()) {}
  ConnectedSocket(ConnectedSocket&& other) noexcept = default;
  ConnectedSocket& operator=(ConnectedSocket&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::move(other.fd_);
      owner_ = other.owner_;
    }
    return *this;
  }
  ~ConnectedSocket() { Reset(); }
  ConnectedSocket(const ConnectedSocket&) = delete;
  ConnectedSocket& operator=(const ConnectedSocket&) = delete;

  bool ok() const { return fd_.ok(); }
  int get() const { return fd_.get(); }
  UniqueFd Release() { return std::move(fd_); }
  void Reset();

 private:
  UniqueFd fd_;
  pid_t owner_ = 0;
};

}  // namespace parley

#endif  // PARLEY_OS_CONNECTED_SOCKET_H_

// SPDX-License-Identifier: Apache-2.0
#include "parley/os/connected_socket.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "parley/os/disposal.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83  // Linux 6.16
#endif

namespace parley {
namespace {

// Of what a peer without privileges can queue: its send buffer, 278 of the smallest messages.
constexpr int kMaxDrained = 320;

bool SetPassRights(int socket, int on) {
  return ::setsockopt(socket, SOL_SOCKET, SO_PASSRIGHTS, &on, sizeof(on)) == 0;
}

// Where it is closed here, and the peer's files with it.
bool MayReleaseRights(int socket) { return !DisposesInPlace() && !RefusesRights(socket); }

}  // namespace

bool RefuseRights(int socket) { return SetPassRights(socket, 0); }
bool AllowRights(int socket) { return SetPassRights(socket, 1); }

bool RefusesRights(int socket) {
  int on = 1;
  socklen_t length = sizeof(on);
  return ::getsockopt(socket, SOL_SOCKET, SO_PASSRIGHTS, &on, &length) == 0 && on == 0;
}

bool MayBringRights(int socket) {
  int on = 1;
  socklen_t length = sizeof(on);
  if (::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &on, &length) != 0 || on != AF_UNIX) return false;
  return !RefusesRights(socket);
}

NextMessage PeekNext(int socket) {
  for (int tries = 0; tries < 4; ++tries) {
    char byte = 0;
    iovec data = {&byte, sizeof(byte)};
    msghdr header = {};  // no control buffer: nothing is installed, and the queue keeps its files
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    const ssize_t got = ::recvmsg(socket, &header, MSG_PEEK | MSG_DONTWAIT);
    if (got >= 0) {
      if ((header.msg_flags & MSG_CTRUNC) != 0) return NextMessage::kWithDescriptors;
      return got == 0 ? NextMessage::kEnd : NextMessage::kPlain;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return NextMessage::kNone;
    // A reset is told once, before what was queued ahead of it.
    if (errno != EINTR && errno != ECONNRESET) return NextMessage::kEnd;
  }
  return NextMessage::kNone;
}

void ConnectedSocket::Reset() {
  if (!fd_.ok()) return;
  const int error = errno;
  if (MayReleaseRights(fd_.get()) && !TryDisposeOf(fd_)) {
    if (owner_ == ::getpid()) ::shutdown(fd_.get(), SHUT_RDWR);
    DisposeOf(std::move(fd_));
  }
  fd_.Reset();
  errno = error;
}

void CloseListening(UniqueFd socket) {
  if (!socket.ok()) return;
  const int error = errno;
  if (MayReleaseRights(socket.get())) DisposeOfAndAwait(std::move(socket));
  errno = error;
}

void StopReceiving(int socket) {
  if (::shutdown(socket, SHUT_RD) != 0) return;
  const bool clean = RefusesRights(socket);
  int ends = 0;
  for (int i = 0; i < kMaxDrained && ends < 2; ++i) {
    if (!clean && PeekNext(socket) == NextMessage::kWithDescriptors) return;
    char byte = 0;
    const ssize_t got = ::recv(socket, &byte, sizeof(byte), MSG_DONTWAIT);
    // An empty message looks like the end: twice in a row is the end, or a peer that asks for its
    // reset.
    ends = got > 0 ? 0 : ends + 1;
  }
}

}  // namespace parley

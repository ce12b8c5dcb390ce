// SPDX-License-Identifier: Apache-2.0
#ifndef PARLEY_WAIT_SOCKET_DOORBELL_H_
#define PARLEY_WAIT_SOCKET_DOORBELL_H_

// The doorbells of a channel's two rings on its one connection: a byte of value 1 signals data, a
// byte of value 2 signals free space. So a side receives on no socket but the connection, which it
// made, accepted or was given by its supervisor: the peer could hold the lock of another one for
// ever (attack W12).
//
// Both ends of this side poll the connection, in one thread or in two. The one that drains a signal
// for the other hands it over, through a flag and an eventfd that this process keeps to itself.
//
// No signal is lost although the queue is short and both kinds share it. The queue holds two
// messages at least; a signal is dropped only where it is full.
//   1. At that moment two messages or more are there, and our ends are the only ones to take them.
//   2. If the end for which the signal was takes any of them, it polls its ring after that.
//   3. Else the other end takes them all. One drain takes two or more, or it takes one and finds
// the
//      queue empty, which contradicts 1.
//   4. A drain that took two or more hands a signal over to the other end, after the moment of 1.
//
// A throttle is of the connection: while one end is throttled, a drain of the other that brings
// signals for that one alone says so (kThrottled), and the caller stays away from the connection as
// long. Else the one end would be woken by each signal that the other is throttled for (W13).
//
// Trust: the peer sends too much, rubbish, empty messages or descriptors. Rubbish is kUnexpected;
// descriptors are not installed, as there is no control buffer. From Linux 6.16 on the kernel
// refuses them (PeerSocket::RefuseDescriptors). Before that a message that brings some is
// kUnexpected and stays in the queue, as a receive would release the peer's files in this thread
// (F12). So each receive is preceded by a look then, under a lock that both ends hold for a drain.

#include <memory>

#include "absl/status/statusor.h"
#include "parley/wait/doorbell.h"

namespace parley {

struct SocketDoorbells {
  std::unique_ptr<Doorbell> send;     // null without that direction
  std::unique_ptr<Doorbell> receive;  // null without that direction
};

// `socket`: the connection, on which only signals are sent from now on; outlives these, which do
// not own it. Its queue is made as short as the kernel allows. An eventfd is made for each end.
// Where the kernel lets a peer send descriptors (before Linux 6.16) each message is peeked at
// first, with one more call; not where the peer is our supervisor, whom a worker trusts.
absl::StatusOr<SocketDoorbells> MakeSocketDoorbells(int socket, bool sends, bool receives,
                                                    bool peer_is_supervisor = false);

}  // namespace parley

#endif  // PARLEY_WAIT_SOCKET_DOORBELL_H_

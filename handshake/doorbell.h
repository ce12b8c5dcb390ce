#ifndef PARLEY_HANDSHAKE_DOORBELL_H_
#define PARLEY_HANDSHAKE_DOORBELL_H_

// A wake-up between the two processes; it carries no data.
//
// Each ring has one doorbell with two ends: the consumer's end is rung when there is data, the
// producer's when there is room. Two kinds, chosen in the handshake:
//
//   socket    a SEQPACKET pair; each side rings by sending one byte on its own end. Nothing that
//             the peer does to its end can make ours wait. The default.
//   eventfd   two eventfds, shared by both sides. Cheaper to ring, but a peer that may clear
//             O_NONBLOCK and saturate the counter makes our write wait for ever: only for a peer
//             under our system call filter, or one that the caller declares trusted.
//
// Trust: the peer rings too often, never, or with rubbish; it fills our queue or never reads its
// own. Each call here is at most a fixed number of system calls, none of which waits (with the
// socket, whatever the peer does; with the eventfd, as long as the peer can't change its flags).
// Threads: Ring from the thread that uses the ring's end; Drain from the one that waits.
//
//   if (bell.Drain() == Doorbell::Drained::kPeerGone) ...

#include <utility>

#include "absl/status/statusor.h"
#include "parley/os/unique_fd.h"

namespace parley {

class Doorbell {
 public:
  enum class Drained {
    kRung,        // there was at least one wake-up
    kQuiet,       // there was none
    kPeerGone,    // the peer's end is closed
    kUnexpected,  // something that is no wake-up: a violation
  };

  Doorbell() = default;
  // Our end of a socket doorbell: a connected SEQPACKET socket, on which no more messages than
  // wake-ups are sent from now on: its queue is made as small as the kernel allows.
  static Doorbell OfSocket(UniqueFd socket);
  // Our end of an eventfd doorbell: the one we wait on and the one we ring.
  static Doorbell OfEventfds(UniqueFd wait, UniqueFd ring);

  // Wakes the other end. One system call; a full queue means that it has wake-ups enough.
  void Ring() const;
  // Takes the pending wake-ups, at most eight system calls (eventfd: one).
  Drained Drain() const;
  // What poll and epoll watch for POLLIN.
  int wait_fd() const { return wait_.get(); }
  // What Ring writes to; with the socket, the same.
  int ring_fd() const { return ring_.ok() ? ring_.get() : wait_.get(); }
  bool is_socket() const { return !ring_.ok(); }

 private:
  Doorbell(UniqueFd wait, UniqueFd ring) : wait_(std::move(wait)), ring_(std::move(ring)) {}
  UniqueFd wait_;
  UniqueFd ring_;  // not ok: wait_ is a socket, and is rung as well
};

// A new non-blocking, close-on-exec eventfd.
absl::StatusOr<UniqueFd> CreateEventfd();

// Connecting side: that a descriptor from the supervisor really is a plain eventfd (no semaphore,
// whose counter one read does not empty). Reads its entry in /proc/self.
absl::Status VerifyEventfd(int fd);

}  // namespace parley

#endif  // PARLEY_HANDSHAKE_DOORBELL_H_
